/* The handshake has timed a round trip. Later ones count only if they are shorter: a queue does not make a peer a far
 * one. Changing the algorithm of a connection costs it nothing.
 */
#include "congestion.h"

#include <arpa/inet.h>
#include <linux/tcp.h> /* glibc's own is older than the least round trip */
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

const char *congestion_wanted(uint32_t rtt_us)
{
  return rtt_us < CONGESTION_NEAR_US ? "reno" : "bbr";
}

static bool is_loopback(const struct sockaddr *peer)
{
  enum { FIRST = 127 };
  if (peer->sa_family == AF_INET)
    return ntohl(((const struct sockaddr_in *)peer)->sin_addr.s_addr) >> 24 == FIRST;
  if (peer->sa_family != AF_INET6)
    return false;
  const struct in6_addr *a = &((const struct sockaddr_in6 *)peer)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(a) || (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == FIRST);
}

/* UINT32_MAX: not known; then it is no near one. False: this is no TCP socket. */
static bool least_round_trip(int fd, uint32_t *us)
{
  struct tcp_info info;
  socklen_t size = sizeof info;
  memset(&info, 0, sizeof info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return false;
  *us = info.tcpi_min_rtt != 0 ? info.tcpi_min_rtt : info.tcpi_rtt;
  return true;
}

static bool set(int fd, const char *algorithm)
{
  return setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, algorithm, (socklen_t)strlen(algorithm)) == 0;
}

/* As a new socket has it. */
static void set_machines_own(int fd)
{
  enum { NAME_MAX_SIZE = 16 }; /* the kernel's TCP_CA_NAME_MAX */
  char own[NAME_MAX_SIZE + 1] = "";
  socklen_t size = NAME_MAX_SIZE;
  int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fresh < 0)
    return;
  if (getsockopt(fresh, IPPROTO_TCP, TCP_CONGESTION, own, &size) == 0)
    set(fd, own);
  close(fresh);
}

void congestion_begin(int fd)
{
  set(fd, congestion_wanted(0));
}

void congestion_choose_late(int fd)
{
  uint32_t us = 0;
  if (least_round_trip(fd, &us) && !set(fd, congestion_wanted(us)) && us >= CONGESTION_NEAR_US)
    set_machines_own(fd);
}

void congestion_choose(int fd, const struct sockaddr *peer)
{
  if (!is_loopback(peer))
    congestion_choose_late(fd);
}

void congestion_pace(int fd, uint64_t rate)
{
  uint64_t most = rate > 0 ? rate : UINT64_MAX;
  (void)setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &most, sizeof most);
}
