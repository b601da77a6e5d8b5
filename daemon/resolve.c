/* getaddrinfo runs in libuv's thread pool, and cannot be stopped once it has begun: who loses interest forgets the
 * request, which then frees itself whenever the resolver returns. Short of descriptors, glibc cannot ask, and says that
 * the name does not exist; so a failure is looked at twice.
 */
#include "resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "address.h"

struct resolve {
  uv_getaddrinfo_t request;
  struct address address;
  resolve_cb done; /* NULL: forgotten */
  void *arg;
};

static const struct {
  int uv;
  int eai;
} eai_codes[] = {
    {UV_EAI_ADDRFAMILY, EAI_ADDRFAMILY}, {UV_EAI_AGAIN, EAI_AGAIN},     {UV_EAI_FAIL, EAI_FAIL},
    {UV_EAI_FAMILY, EAI_FAMILY},         {UV_EAI_MEMORY, EAI_MEMORY},   {UV_EAI_NODATA, EAI_NODATA},
    {UV_EAI_NONAME, EAI_NONAME},         {UV_EAI_SERVICE, EAI_SERVICE},
};

static void add_v4(struct endpoints *out, const struct in_addr *ip, uint16_t port)
{
  struct endpoint *e = &out->at[out->count++];
  struct sockaddr_in *sin = (struct sockaddr_in *)&e->bytes;

  memset(e, 0, sizeof(*e));
  sin->sin_family = AF_INET;
  sin->sin_addr = *ip;
  sin->sin_port = htons(port);
  e->size = sizeof(*sin);
}

static void add_v6(struct endpoints *out, const struct in6_addr *ip, uint16_t port)
{
  struct endpoint *e = &out->at[out->count++];
  struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&e->bytes;

  memset(e, 0, sizeof(*e));
  sin6->sin6_family = AF_INET6;
  sin6->sin6_addr = *ip;
  sin6->sin6_port = htons(port);
  e->size = sizeof(*sin6);
}

static void add_unix(struct endpoints *out, const char *path)
{
  struct endpoint *e = &out->at[out->count++];
  struct sockaddr_un *un = (struct sockaddr_un *)&e->bytes;

  memset(e, 0, sizeof(*e));
  un->sun_family = AF_UNIX;
  memcpy(un->sun_path, path, strlen(path) + 1);
  e->size = sizeof(*un);
}

bool resolve_literal(const struct address *a, struct endpoints *out)
{
  struct in_addr v4;
  struct in6_addr v6;

  out->count = 0;
  if (a->kind == ADDRESS_UNIX)
    add_unix(out, a->path);
  else if (inet_pton(AF_INET, a->host, &v4) == 1)
    add_v4(out, &v4, a->port);
  else if (inet_pton(AF_INET6, a->host, &v6) == 1)
    add_v6(out, &v6, a->port);
  return out->count == 1;
}

static bool last_is_new(const struct endpoints *found)
{
  const struct endpoint *last = &found->at[found->count - 1];

  for (unsigned i = 0; i + 1 < found->count; i++)
    if (found->at[i].size == last->size && memcmp(&found->at[i].bytes, &last->bytes, last->size) == 0)
      return false;
  return true;
}

/* The port is put in here: getaddrinfo would want it as text. */
static void collect(const struct addrinfo *list, uint16_t port, struct endpoints *found)
{
  found->count = 0;
  for (const struct addrinfo *ai = list; ai != NULL && found->count < ENDPOINTS_MAX; ai = ai->ai_next) {
    if (ai->ai_family == AF_INET)
      add_v4(found, &((const struct sockaddr_in *)(const void *)ai->ai_addr)->sin_addr, port);
    else if (ai->ai_family == AF_INET6)
      add_v6(found, &((const struct sockaddr_in6 *)(const void *)ai->ai_addr)->sin6_addr, port);
    else
      continue;
    if (!last_is_new(found))
      found->count--;
  }
}

static int shortage(void)
{
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS ? -errno : 0;
  close(fd);
  return 0;
}

static int explain(int status, const char *host, char why[RESOLVE_WHY_MAX])
{
  const char *reason = NULL;
  int error = shortage();

  if (error == 0 && status == UV_EAI_MEMORY)
    error = -ENOMEM;
  for (size_t i = 0; error == 0 && i < sizeof(eai_codes) / sizeof(eai_codes[0]); i++)
    if (eai_codes[i].uv == status) {
      error = -EADDRNOTAVAIL;
      reason = gai_strerror(eai_codes[i].eai);
    }
  if (error == 0) /* EAI_SYSTEM comes as an errno, whatever has no counterpart as a number of libuv's own */
    error = status > -1000 && status < 0 ? status : -EADDRNOTAVAIL;
  if (reason == NULL)
    reason = strerror(-error);
  snprintf(why, RESOLVE_WHY_MAX, "%s does not resolve: %s", host, reason);
  return error;
}

/* localhost, and all below it, is this machine, also where no hosts file says so (RFC 6761). */
static bool is_localhost(const char *host)
{
  size_t size = strlen(host), want = strlen("localhost");

  if (size < want || strcasecmp(host + size - want, "localhost") != 0)
    return false;
  return size == want || host[size - want - 1] == '.';
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
  struct resolve *r = request->data;
  char why[RESOLVE_WHY_MAX] = "";
  struct endpoints found = {0};
  int error = 0;

  if (r->done != NULL) {
    if (status == 0)
      collect(list, r->address.port, &found);
    if (found.count == 0 && is_localhost(r->address.host)) {
      add_v4(&found, &(struct in_addr){.s_addr = htonl(INADDR_LOOPBACK)}, r->address.port);
      add_v6(&found, &in6addr_loopback, r->address.port);
    }
    if (found.count == 0)
      error = explain(status != 0 ? status : UV_EAI_NODATA, r->address.host, why);
    r->done(error, why, &found, r->arg);
  }
  uv_freeaddrinfo(list);
  free(r);
}

int resolve_start(struct resolve **out, struct uv_loop_s *loop, const struct address *a, resolve_cb done, void *arg)
{
  const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
  struct resolve *r = calloc(1, sizeof(*r));
  int rc;

  if (r == NULL)
    return -ENOMEM;
  r->address = *a;
  r->done = done;
  r->arg = arg;
  r->request.data = r;
  rc = uv_getaddrinfo(loop, &r->request, on_resolved, r->address.host, NULL, &hints);
  if (rc != 0) {
    free(r);
    return rc;
  }
  *out = r;
  return 0;
}

void resolve_forget(struct resolve *r)
{
  r->done = NULL;
  uv_cancel((uv_req_t *)&r->request);
}
