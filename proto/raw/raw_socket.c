/* A raw stream ends in order only if that was said. Whatever else ends it is a reset, also when the process is killed:
 * so that is what a close does from the beginning. Nothing is set that would end a connection whose other end does not
 * read: TCP_USER_TIMEOUT would.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "proto/host/congestion.h"
#include "raw_internal.h"

enum { PROBE_S = 5, PROBES = 3 };

static void set(int fd, int level, int option, int value)
{
  setsockopt(fd, level, option, &value, sizeof value);
}

static socklen_t address_size(const struct sockaddr_storage *a)
{
  return a->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
}

bool raw_socket_is_near(const struct sockaddr_storage *a)
{
  if (a->ss_family == AF_INET)
    return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
  return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

int raw_socket_connect(const struct sockaddr_storage *address)
{
  int fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  congestion_begin(fd);
  raw_socket_reset_on_close(fd, true);
  if (connect(fd, (const struct sockaddr *)address, address_size(address)) != 0 && errno != EINPROGRESS) {
    int error = -errno;
    close(fd);
    return error;
  }
  return fd;
}

void raw_socket_connected(int fd)
{
  congestion_choose_late(fd);
}

void raw_socket_reset_on_close(int fd, bool reset)
{
  const struct linger linger = {.l_onoff = reset};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

void raw_socket_watch_peer(int fd, unsigned idle_s)
{
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)idle_s);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, PROBE_S);
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

int raw_socket_error(int fd)
{
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}
