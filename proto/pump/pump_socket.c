/* What the kernel is to do with a socket by itself. Each option is a system call: what only matters to sockets that
 * live, or carry much, is set when they do.
 *
 * As long as no end was said, the socket's end is a reset: a process that is killed must not make half a transfer look
 * like a whole one. Before an orderly end that is taken back, since such a close throws away what is unsent.
 *
 * A peer whose machine vanished is noticed by the kernel's keepalive while nothing is under way, and by us when
 * something is. TCP_USER_TIMEOUT is of no use: it also ends a peer that answers, but does not read for as long.
 */
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "pump_internal.h"

enum {
  PROBES = 3,
  PROBES_PER_IDLE = 6,  /* between two of them there is that part of the idle time */
  UNANSWERED_ENOUGH = 3 /* repetitions or probes: one that was lost is no sign */
};

/* Of what the kernel has not sent yet. */
enum { KERNEL_ALL = 32 << 20, KERNEL_MIN = 128 << 10, KERNEL_MAX = 1 << 20 };

static void set(int fd, int level, int name, int value)
{
  setsockopt(fd, level, name, &value, sizeof value); /* a unix socket has none of it */
}

static int probe_every_s(unsigned idle_s)
{
  return idle_s > PROBES_PER_IDLE ? (int)idle_s / PROBES_PER_IDLE : 1;
}

void pump_socket_reset_on_close(int fd, bool reset)
{
  struct linger linger = {.l_onoff = reset, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
}

/* A socket whose peer does not read would keep megabytes in the kernel, which has so much for all sockets of the
 * machine, and slows all of them down when it is used up. */
void pump_socket_bound_unsent(int fd, size_t sockets)
{
  size_t share = KERNEL_ALL / sockets;
  set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT,
      share > KERNEL_MAX   ? KERNEL_MAX
      : share < KERNEL_MIN ? KERNEL_MIN
                           : (int)share);
}

void pump_socket_begin(int fd)
{
  set(fd, SOL_SOCKET, SO_OOBINLINE, 1); /* or urgent bytes would be left out of the stream */
  pump_socket_reset_on_close(fd, true);
}

void pump_socket_ask_peer(int fd, unsigned keepalive_s)
{
  if (keepalive_s == 0)
    return;
  set(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)keepalive_s);
  set(fd, IPPROTO_TCP, TCP_KEEPINTVL, probe_every_s(keepalive_s));
  set(fd, IPPROTO_TCP, TCP_KEEPCNT, PROBES);
  set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
}

bool pump_socket_has_all(int fd)
{
  int left = 0;
  return ioctl(fd, SIOCOUTQ, &left) == 0 && left == 0;
}

/* A peer that has no room answers probes, each of which sets the count back. */
bool pump_socket_is_abandoned(int fd, unsigned keepalive_s)
{
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  if (keepalive_s == 0 || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return false;
  uint64_t patience_ms = 1000 * ((uint64_t)keepalive_s + (uint64_t)PROBES * (uint64_t)probe_every_s(keepalive_s));
  unsigned unanswered = (unsigned)info.tcpi_retransmits + info.tcpi_probes;
  return unanswered >= UNANSWERED_ENOUGH && info.tcpi_last_ack_recv >= patience_ms;
}
