/* The one place that casts between sockaddr_storage and its kinds. */
#include "endpoints.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

void endpoints_add(struct endpoints *out, const struct endpoint *e)
{
  for (unsigned i = 0; i < out->count; i++)
    if (out->at[i].size == e->size && memcmp(&out->at[i].bytes, &e->bytes, e->size) == 0)
      return;
  if (out->count < ENDPOINTS_MAX)
    out->at[out->count++] = *e;
}

void endpoints_add_v4(struct endpoints *out, const struct in_addr *ip, uint16_t port)
{
  struct endpoint e = {.size = sizeof(struct sockaddr_in)};
  struct sockaddr_in *sin = (struct sockaddr_in *)&e.bytes;

  sin->sin_family = AF_INET;
  sin->sin_addr = *ip;
  sin->sin_port = htons(port);
  endpoints_add(out, &e);
}

void endpoints_add_v6(struct endpoints *out, const struct in6_addr *ip, uint32_t scope, uint16_t port)
{
  struct endpoint e = {.size = sizeof(struct sockaddr_in6)};
  struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&e.bytes;

  sin6->sin6_family = AF_INET6;
  sin6->sin6_addr = *ip;
  sin6->sin6_scope_id = scope;
  sin6->sin6_port = htons(port);
  endpoints_add(out, &e);
}

void endpoints_add_unix(struct endpoints *out, const char *path)
{
  struct endpoint e = {.size = sizeof(struct sockaddr_un)};
  struct sockaddr_un *un = (struct sockaddr_un *)&e.bytes;

  un->sun_family = AF_UNIX;
  snprintf(un->sun_path, sizeof un->sun_path, "%s", path);
  endpoints_add(out, &e);
}

void endpoint_set_port(struct endpoint *e, uint16_t port)
{
  if (e->bytes.ss_family == AF_INET6)
    ((struct sockaddr_in6 *)&e->bytes)->sin6_port = htons(port);
  else if (e->bytes.ss_family == AF_INET)
    ((struct sockaddr_in *)&e->bytes)->sin_port = htons(port);
}

const char *endpoint_path(const struct endpoint *e)
{
  return ((const struct sockaddr_un *)&e->bytes)->sun_path;
}

const char *endpoint_text(const struct endpoint *e, char out[ENDPOINT_TEXT_MAX])
{
  out[0] = '\0';
  if (e->bytes.ss_family == AF_INET6)
    inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)&e->bytes)->sin6_addr, out, ENDPOINT_TEXT_MAX);
  else if (e->bytes.ss_family == AF_INET)
    inet_ntop(AF_INET, &((const struct sockaddr_in *)&e->bytes)->sin_addr, out, ENDPOINT_TEXT_MAX);
  else
    snprintf(out, ENDPOINT_TEXT_MAX, "%s", endpoint_path(e));
  return out;
}
