/* A socket of IPv6 for the address of all also takes what comes by IPv4, whose addresses it then shows as IPv6's. Where
 * there is no IPv6, one of IPv4 stands in for it. */
#include "listening.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/host/congestion.h"

union name {
  struct sockaddr any;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
};

static bool is_of_all(const union name *n)
{
  if (n->any.sa_family == AF_INET)
    return n->v4.sin_addr.s_addr == htonl(INADDR_ANY);
  return IN6_IS_ADDR_UNSPECIFIED(&n->v6.sin6_addr);
}

static void port_set(union name *n, int port)
{
  if (n->any.sa_family == AF_INET)
    n->v4.sin_port = htons((uint16_t)port);
  else
    n->v6.sin6_port = htons((uint16_t)port);
}

static int port_get(const union name *n)
{
  return ntohs(n->any.sa_family == AF_INET ? n->v4.sin_port : n->v6.sin6_port);
}

/* `both`: of IPv6, and also for IPv4. */
static int fd_listen(int fd, const union name *n, bool both)
{
  static const int on = 1, off = 0;
  static const struct linger resets = {.l_onoff = 1, .l_linger = 0};
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &resets, sizeof resets) != 0 ||
      (both && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) != 0))
    return -errno;
  congestion_begin(fd);
  socklen_t size = n->any.sa_family == AF_INET ? sizeof n->v4 : sizeof n->v6;
  return bind(fd, &n->any, size) == 0 && listen(fd, SOMAXCONN) == 0 ? 0 : -errno;
}

/* The descriptor, or a negative errno. */
static int socket_listen(const union name *n, bool both)
{
  int fd = socket(n->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0)
    return -errno;
  int error = fd_listen(fd, n, both);
  if (!error)
    return fd;
  close(fd);
  return error;
}

static int of_all_listen(int port)
{
  const union name v6 = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)}};
  const union name v4 = {.v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)}};
  int fd = socket_listen(&v6, true);
  return fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL ? socket_listen(&v4, false) : fd;
}

/* Those of one host share the port that the first was given. */
static int listening_add(struct listening *l, const struct addrinfo *a)
{
  union name n;
  socklen_t size = sizeof n;
  if (l->count == LISTENING_MAX || a->ai_addrlen > sizeof n)
    return -EINVAL;
  memcpy(&n, a->ai_addr, a->ai_addrlen);
  if (port_get(&n) == 0)
    port_set(&n, l->port);
  int fd = is_of_all(&n) ? of_all_listen(port_get(&n)) : socket_listen(&n, false);
  if (fd < 0)
    return fd;
  if (getsockname(fd, &n.any, &size) == 0)
    l->port = port_get(&n);
  l->fds[l->count++] = fd;
  return 0;
}

/* Frees `found` by freeaddrinfo. */
static int resolve(const char *address, struct addrinfo **found)
{
  const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
  const char *colon = strrchr(address, ':');
  if (colon == NULL)
    return -EINVAL;
  bool bracketed = address[0] == '[' && colon > address + 1 && colon[-1] == ']';
  char *host = strndup(address + (bracketed ? 1 : 0), (size_t)(colon - address) - (bracketed ? 2 : 0));
  if (host == NULL)
    return -ENOMEM;
  int error = getaddrinfo(host, colon + 1, &hints, found);
  free(host);
  if (error == EAI_MEMORY)
    return -ENOMEM;
  return error ? -EADDRNOTAVAIL : 0;
}

int listening_open(struct listening *out, const char *address)
{
  struct addrinfo *found = NULL;
  struct listening l = {.count = 0};
  int error = resolve(address, &found), first = 0;
  if (error)
    return error;
  for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
    error = listening_add(&l, a);
    first = first ? first : error;
  }
  freeaddrinfo(found);
  if (l.count == 0)
    return first;
  *out = l;
  return 0;
}

void listening_leave(const struct listening *l)
{
  for (size_t i = 0; i < l->count; i++)
    (void)shutdown(l->fds[i], SHUT_RD);
}

void listening_close(struct listening *l)
{
  for (size_t i = 0; i < l->count; i++)
    close(l->fds[i]);
  l->count = 0;
}
