/* The hash is FNV-1a of the addresses as they are written on the wire: the dialling end first, then the listener. It
 * is no secret, and needs no more care than it takes to tell the connections of a few machines from each other: one
 * that is mistaken for another counts one hop too many.
 *
 * The client's end of a unix socket has no address unless it is bound, which dial.c does.
 */
#include "hops.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

union endpoint_name {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_un path;
};

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
  const uint8_t *at = bytes;

  for (size_t i = 0; i < size; i++)
    hash = (hash ^ at[i]) * 0x100000001b3u;
  return hash;
}

static bool mix_name(uint64_t *hash, const union endpoint_name *name, socklen_t size)
{
  size_t path = size > offsetof(struct sockaddr_un, sun_path) ? size - offsetof(struct sockaddr_un, sun_path) : 0;

  switch (name->any.sa_family) {
  case AF_INET:
    *hash = mix(mix(*hash, &name->v4.sin_addr, sizeof name->v4.sin_addr), &name->v4.sin_port, sizeof(in_port_t));
    return true;
  case AF_INET6:
    *hash = mix(mix(*hash, &name->v6.sin6_addr, sizeof name->v6.sin6_addr), &name->v6.sin6_port, sizeof(in_port_t));
    return true;
  case AF_UNIX:
    /* The name of a bound client begins with a zero, a path ends in one. */
    *hash = mix(*hash, name->path.sun_path, name->path.sun_path[0] != '\0' ? strnlen(name->path.sun_path, path) : path);
    return path > 0;
  default:
    return false;
  }
}

typedef int (*name_cb)(int fd, struct sockaddr *name, socklen_t *size);

struct end {
  union endpoint_name name; /* all zero: unknown */
  socklen_t size;
};

static struct end end_of(int fd, name_cb name_of)
{
  struct end e = {.size = sizeof e.name};
  if (name_of(fd, &e.name.any, &e.size) != 0)
    memset(&e, 0, sizeof e);
  return e;
}

static uint64_t recognise(const struct end *dialler, const struct end *listener)
{
  uint64_t hash = 0xcbf29ce484222325u;
  return mix_name(&hash, &dialler->name, dialler->size) && mix_name(&hash, &listener->name, listener->size) ? hash : 0;
}

uint64_t hops_accepted(int fd, struct end_addresses *ends)
{
  struct end dialler = end_of(fd, getpeername), listener = end_of(fd, getsockname);
  if (ends != NULL)
    *ends = (struct end_addresses){.client = end_address_of(&dialler.name.any),
                                   .client_at = end_address_of(&listener.name.any)};
  return recognise(&dialler, &listener);
}

void hops_dialled(struct hops **table, struct hops *h, int fd)
{
  struct end dialler = end_of(fd, getsockname), listener = end_of(fd, getpeername);
  struct hops *former;

  h->socket = recognise(&dialler, &listener);
  former = hops_find(*table, h->socket);
  if (former != NULL) /* its socket is closed, since the port was taken anew */
    hops_forget(table, former);
  if (h->socket == 0)
    return;
  HASH_ADD(hh, *table, socket, sizeof h->socket, h);
}

void hops_forget(struct hops **table, struct hops *h)
{
  if (h->hh.tbl == NULL)
    return;
  HASH_DEL(*table, h);
  h->hh.tbl = NULL;
}

struct hops *hops_find(struct hops *table, uint64_t socket)
{
  struct hops *found;

  HASH_FIND(hh, table, &socket, sizeof socket, found);
  return found;
}

unsigned hops_through(struct hops *table, uint64_t socket)
{
  const struct hops *by = hops_find(table, socket);

  return by != NULL ? by->count + 1 : 0;
}
