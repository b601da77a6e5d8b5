/* Binds and listens as gRPC does, only to see what the kernel answers. */
#include "rpc_bind.h"

#include <errno.h>
#include <netdb.h>
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
