/* Binds and listens as gRPC does, only to see what the kernel answers.
 *
 * gRPC stops listening only when it also lets go of the calls that come on live connections, with a status that says
 * nothing. A listener that is shut down is none any more for the kernel, whatever gRPC believes; it is closed later.
 */
#include "rpc_bind.h"

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int try_bind(const struct addrinfo *a)
{
  int on = 1;
  int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
  if (fd < 0)
    return -errno;
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  int error = bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 1) < 0 ? -errno : 0;
  close(fd);
  return error;
}

int rpc_bind_error(const char *address)
{
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
  struct addrinfo *found = NULL;
  char *copy = strdup(address);
  if (!copy)
    return -ENOMEM;
  char *colon = strrchr(copy, ':');
  int error = -EINVAL;
  if (colon) {
    char *host = copy;
    *colon = '\0';
    if (host[0] == '[' && colon > host + 1 && colon[-1] == ']') {
      host++;
      colon[-1] = '\0';
    }
    error = getaddrinfo(host, colon + 1, &hints, &found) == 0 ? 0 : -EADDRNOTAVAIL;
  }
  for (const struct addrinfo *a = found; a && !error; a = a->ai_next)
    error = try_bind(a);
  if (found)
    freeaddrinfo(found);
  free(copy);
  return error;
}

static bool listens_at(int fd, uint16_t port)
{
  union {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_storage room;
  } name = {.room = {0}};
  socklen_t size = sizeof name;
  int listens = 0;
  socklen_t listens_size = sizeof listens;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) != 0 || !listens)
    return false;
  if (getsockname(fd, &name.any, &size) != 0)
    return false;
  if (name.any.sa_family == AF_INET)
    return ntohs(name.ipv4.sin_port) == port;
  return name.any.sa_family == AF_INET6 && ntohs(name.ipv6.sin6_port) == port;
}

int rpc_bind_release(uint16_t port)
{
  DIR *open = opendir("/proc/self/fd");
  const struct dirent *entry;
  int error = -ENOENT;
  if (!open)
    return -errno;
  while ((entry = readdir(open))) {
    char *end;
    unsigned long fd = strtoul(entry->d_name, &end, 10);
    if (end == entry->d_name || !listens_at((int)fd, port))
      continue;
    error = shutdown((int)fd, SHUT_RD) == 0 ? 0 : -errno;
  }
  closedir(open);
  return error;
}
