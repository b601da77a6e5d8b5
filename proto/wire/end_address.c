/* What is no address of the two families is unknown: an end that cannot be told must not be told wrongly. */
#include "end_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static struct end_address of_v4(const void *address, in_port_t port)
{
  struct end_address e = {.size = END_ADDRESS_V4};
  memcpy(e.bytes, address, sizeof(struct in_addr));
  memcpy(e.bytes + sizeof(struct in_addr), &port, sizeof port);
  return e;
}

static struct end_address of_v6(const struct in6_addr *address, in_port_t port)
{
  struct end_address e = {.size = END_ADDRESS_V6};
  if (IN6_IS_ADDR_V4MAPPED(address))
    return of_v4(&address->s6_addr[12], port);
  memcpy(e.bytes, address, sizeof *address);
  memcpy(e.bytes + sizeof *address, &port, sizeof port);
  return e;
}

struct end_address end_address_of(const struct sockaddr *name)
{
  if (name->sa_family == AF_INET) {
    const struct sockaddr_in *v4 = (const void *)name;
    return of_v4(&v4->sin_addr, v4->sin_port);
  }
  if (name->sa_family == AF_INET6) {
    const struct sockaddr_in6 *v6 = (const void *)name;
    return of_v6(&v6->sin6_addr, v6->sin6_port);
  }
  return (struct end_address){0};
}

/* -1: it is none. */
static int port_read(const char *text)
{
  size_t size = strlen(text);
  if (size < 1 || size > 5 || strspn(text, "0123456789") != size)
    return -1;
  long port = strtol(text, NULL, 10);
  return port <= UINT16_MAX ? (int)port : -1;
}

struct end_address end_address_parse(const char *text)
{
  const struct end_address unknown = {0};
  char host[INET6_ADDRSTRLEN];
  const char *colon = strrchr(text, ':');
  int port = colon != NULL ? port_read(colon + 1) : -1;
  if (port < 0)
    return unknown;
  bool v6 = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
  size_t size = (size_t)(colon - text) - (v6 ? 2 : 0);
  if (size >= sizeof host)
    return unknown;
  memcpy(host, text + v6, size);
  host[size] = '\0';
  struct in_addr v4_address;
  struct in6_addr v6_address;
  if (!v6 && inet_pton(AF_INET, host, &v4_address) == 1)
    return of_v4(&v4_address, htons((uint16_t)port));
  if (v6 && inet_pton(AF_INET6, host, &v6_address) == 1)
    return of_v6(&v6_address, htons((uint16_t)port));
  return unknown;
}
