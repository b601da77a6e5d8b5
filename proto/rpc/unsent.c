/* gRPC does not tell its descriptors, but whom a stream is connected with. Others may be connected with the same peer:
 * a second channel, or a target that has the router's address. So a client's socket has a mark, too. The descriptor
 * with that peer and that mark is looked for once among all that this process has open, and again when it has become
 * another's. gRPC's threads may close it at any moment: the option then falls on a newer socket, where it does no harm.
 *
 * The kernel's rate is that of the last flight which was not held back by us, or of one that was and was faster still.
 * So a rate that was held back says what the path takes at least: the bound may grow for it, never shrink. It shrinks
 * by half at most each time, so that a single slow flight does not throttle the next.
 */
#include "unsent.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/tcp.h> /* glibc's own is older than the rate */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/host/congestion.h"

enum { QUEUE_PER_SECOND = 250, /* a queue of 4 ms */ AGAIN_US = 1000000 };

uint32_t unsent_bound(uint32_t now, uint64_t rate, bool limited)
{
  if (now == 0)
    now = UNSENT_START;
  uint64_t want = rate / QUEUE_PER_SECOND;
  if (rate == 0 || (limited && want < now))
    return now;
  want = want < UNSENT_MIN ? UNSENT_MIN : want > UNSENT_MAX ? UNSENT_MAX : want;
  if (want < now / 2)
    want = now / 2;
  uint64_t change = want > now ? want - now : now - want;
  return change > now / 4 || want == UNSENT_MIN || want == UNSENT_MAX ? (uint32_t)want : now;
}

/* ---- Sockets ---- */

static bool is_marked(int fd, unsigned mark)
{
  unsigned its = 0;
  socklen_t size = sizeof its;
  return mark == 0 || (getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &its, &size) == 0 && its == mark);
}

static bool connected_with(int fd, const struct peer_name *peer)
{
  union {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
    struct sockaddr_storage room;
  } name = {.room = {0}};
  socklen_t size = sizeof name;
  struct peer_name its;
  if (getpeername(fd, &name.any, &size) != 0)
    return false;
  if (name.any.sa_family == AF_INET) {
    peer_name_map(its.address, &name.ipv4.sin_addr);
    its.port = ntohs(name.ipv4.sin_port);
  } else if (name.any.sa_family == AF_INET6) {
    memcpy(its.address, &name.ipv6.sin6_addr, sizeof its.address);
    its.port = ntohs(name.ipv6.sin6_port);
  } else {
    return false;
  }
  return its.port == peer->port && memcmp(its.address, peer->address, sizeof its.address) == 0;
}

/* The descriptor, or -1. `peer` NULL: whoever it is. */
static int look_for(const struct peer_name *peer, unsigned mark)
{
  DIR *open = opendir("/proc/self/fd");
  const struct dirent *entry;
  int found = -1;
  while (open && found < 0 && (entry = readdir(open))) {
    char *end;
    unsigned long fd = strtoul(entry->d_name, &end, 10);
    if (end != entry->d_name && (!peer || connected_with((int)fd, peer)) && is_marked((int)fd, mark))
      found = (int)fd;
  }
  if (open)
    closedir(open);
  return found;
}

int unsent_socket(unsigned mark, int guess)
{
  return guess >= 0 && is_marked(guess, mark) ? guess : look_for(NULL, mark);
}

static bool same(const struct peer_name *a, const struct peer_name *b)
{
  return a->port == b->port && memcmp(a->address, b->address, sizeof a->address) == 0;
}

/* False: there is no such connection. */
static bool find(struct unsent *u, const struct peer_name *peer)
{
  if (u->bound != 0 && same(&u->peer, peer) && connected_with(u->fd, peer) && is_marked(u->fd, u->mark))
    return true;
  u->bound = 0;
  u->pace = 0;
  u->cap = (struct pacing_cap){0};
  u->peer = *peer;
  u->fd = look_for(peer, u->mark);
  if (u->fd < 0)
    return false;
  congestion_choose_late(u->fd);
  return true;
}

static void pace(struct unsent *u, const struct tcp_info *info, uint64_t now_us)
{
  uint64_t most = pacing_cap(&u->cap, info->tcpi_delivery_rate, info->tcpi_min_rtt, now_us);
  if (!pacing_differs(u->pace, most))
    return;
  u->pace = most;
  congestion_pace(u->fd, most);
}

/* False: the kernel does not know how. */
static bool follow(struct unsent *u, uint64_t now_us)
{
  struct tcp_info info;
  socklen_t size = sizeof info;
  memset(&info, 0, sizeof info);
  if (getsockopt(u->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return false;
  pace(u, &info, now_us);
  uint32_t bound = unsent_bound(u->bound, info.tcpi_delivery_rate, info.tcpi_delivery_rate_app_limited);
  if (bound != u->bound && setsockopt(u->fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, sizeof bound) != 0)
    return false;
  u->bound = bound;
  return true;
}

bool unsent_due(const struct unsent *u, uint64_t now_us)
{
  return now_us >= atomic_load_explicit(&u->next, memory_order_relaxed);
}

void unsent_follow(struct unsent *u, const char *peer, uint64_t now_us)
{
  struct peer_name who;
  if (!unsent_due(u, now_us) || atomic_exchange_explicit(&u->busy, true, memory_order_acquire))
    return;
  /* Until gRPC is connected, the peer is a name. */
  bool soon = !peer_name_parse(&who, peer) || (find(u, &who) && follow(u, now_us));
  atomic_store_explicit(&u->next, now_us + (soon ? UNSENT_EVERY_US : AGAIN_US), memory_order_relaxed);
  atomic_store_explicit(&u->busy, false, memory_order_release);
}
