/* A socket is one of its peer's as long as something arrives there. What TCP calls acked waits for what was lost;
 * what arrived behind that has been acked selectively, and is counted, too: else each loss would look like a pause, and
 * then like a burst.
 */
#include "pacer.h"

#include <errno.h>
#include <linux/tcp.h> /* glibc's own is older than the least round trip */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <utlist.h>

#include "pacing.h"
#include "proto/host/congestion.h"
#include "proto/host/poller.h"

enum { QUIET_MAX = 20 /* looks at which next to nothing had arrived */ };

struct peer;

struct pacer_socket {
  struct pacing_stream stream; /* first: see look_at */
  struct paced *of;
  struct peer *peer;
  int fd;
  uint64_t set; /* bytes per second that the kernel was told */
  unsigned quiet;
  struct pacer_socket *prev, *next; /* of the peer */
};

struct peer {
  struct pacer *pacer;
  struct sockaddr_storage address; /* without the port */
  struct pacing pacing;
  struct pacer_socket *sockets;
  size_t count;
  struct peer *prev, *next;
};

struct pacer {
  struct poller *poller;
  struct poller_delay delay;
  struct poller_deadline deadline;
  struct peer *peers;
  size_t count;                /* of all sockets */
  struct pacing_stream **list; /* room for them */
  size_t room;
};

static uint64_t now_us(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- Sockets come and go ---- */

/* False: it is no TCP socket, or has no peer. */
static bool peer_of(int fd, struct sockaddr_storage *out)
{
  socklen_t size = sizeof *out;
  memset(out, 0, sizeof *out);
  if (getpeername(fd, (struct sockaddr *)out, &size) != 0)
    return false;
  if (out->ss_family == AF_INET)
    ((struct sockaddr_in *)out)->sin_port = 0;
  else if (out->ss_family == AF_INET6)
    ((struct sockaddr_in6 *)out)->sin6_port = 0;
  else
    return false;
  return true;
}

static struct peer *peer_get(struct pacer *p, int fd)
{
  struct sockaddr_storage address;
  struct peer *peer;
  if (!peer_of(fd, &address))
    return NULL;
  DL_FOREACH(p->peers, peer)
  {
    if (memcmp(&peer->address, &address, sizeof address) == 0)
      return peer;
  }
  peer = calloc(1, sizeof *peer);
  if (peer == NULL)
    return NULL;
  peer->pacer = p;
  peer->address = address;
  DL_APPEND(p->peers, peer);
  return peer;
}

static void peer_put(struct peer *peer)
{
  if (peer->count > 0)
    return;
  DL_DELETE(peer->pacer->peers, peer);
  free(peer);
}

static bool make_room(struct pacer *p)
{
  if (p->count < p->room)
    return true;
  size_t room = p->room > 0 ? 2 * p->room : 16;
  struct pacing_stream **list = realloc(p->list, room * sizeof(void *));
  if (list == NULL)
    return false;
  p->list = list;
  p->room = room;
  return true;
}

/* False: there is no such TCP connection. */
static bool measure(int fd, struct pacing_stream *out)
{
  struct tcp_info info;
  socklen_t size = sizeof info;
  memset(&info, 0, sizeof info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
    return false;
  uint64_t acked = info.tcpi_bytes_acked + (uint64_t)info.tcpi_sacked * info.tcpi_snd_mss;
  if (acked > out->acked)
    out->acked = acked;
  out->rtt = info.tcpi_rtt;
  out->rtt_least = info.tcpi_min_rtt;
  out->delivery = info.tcpi_delivery_rate;
  return true;
}

void pacer_look(struct pacer *p, struct paced *s, int fd)
{
  struct pacing_stream stream = {0};
  if (s->socket != NULL || !measure(fd, &stream) || stream.rtt_least < PACING_RTT_MIN_US || !make_room(p))
    return;
  struct pacer_socket *one = calloc(1, sizeof *one);
  struct peer *peer = one != NULL ? peer_get(p, fd) : NULL;
  if (peer == NULL) {
    free(one);
    return;
  }
  one->stream = stream;
  one->of = s;
  one->peer = peer;
  one->fd = fd;
  DL_APPEND(peer->sockets, one);
  peer->count++;
  if (p->count++ == 0)
    poller_deadline_set(&p->delay, &p->deadline);
  s->socket = one;
}

void pacer_forget(struct paced *s)
{
  struct pacer_socket *one = s->socket;
  if (one == NULL)
    return;
  DL_DELETE(one->peer->sockets, one);
  one->peer->count--;
  one->peer->pacer->count--;
  peer_put(one->peer);
  free(one);
  s->socket = NULL;
}

/* ---- Looks ---- */

static void set_rate(struct pacer_socket *one, uint64_t rate)
{
  if (!pacing_differs(one->set, rate))
    return;
  one->set = rate;
  congestion_pace(one->fd, rate);
}

/* It is looked at again when it has sent much again. */
static void leave(struct pacer_socket *one)
{
  struct paced *s = one->of;
  set_rate(one, 0);
  pacer_forget(s);
  atomic_store_explicit(&s->sent, 0, memory_order_relaxed);
}

/* Unless it is much of what it may send. */
static bool is_little(const struct pacer_socket *one, uint64_t bytes)
{
  uint64_t may = one->set * PACING_EVERY_US / 1000000;
  return bytes < PACING_BULK && (may == 0 || bytes < may / 4);
}

/* The peer is held meanwhile. */
static void look_at(struct peer *peer, uint64_t now)
{
  struct pacing_stream **list = peer->pacer->list;
  struct pacer_socket *one, *next;
  size_t count = 0;
  peer->count++;
  DL_FOREACH_SAFE(peer->sockets, one, next)
  {
    uint64_t before = one->stream.acked;
    bool there = measure(one->fd, &one->stream);
    one->quiet = is_little(one, one->stream.acked - before) ? one->quiet + 1 : 0;
    if (there && one->quiet < QUIET_MAX)
      list[count++] = &one->stream;
    else
      leave(one);
  }
  pacing_look(&peer->pacing, list, count, now);
  for (size_t i = 0; i < count; i++)
    set_rate((struct pacer_socket *)list[i], list[i]->rate);
  peer->count--;
  peer_put(peer);
}

static void due(struct poller_deadline *d)
{
  struct pacer *p = (struct pacer *)((char *)d - offsetof(struct pacer, deadline));
  struct peer *peer, *next;
  uint64_t now = now_us();
  DL_FOREACH_SAFE(p->peers, peer, next)
  {
    look_at(peer, now);
  }
  if (p->count > 0)
    poller_deadline_set(&p->delay, &p->deadline);
}

/* ---- All of them ---- */

int pacer_open(struct pacer **out, struct poller *poller)
{
  struct pacer *p = calloc(1, sizeof *p);
  if (p == NULL)
    return -ENOMEM;
  p->poller = poller;
  p->delay = (struct poller_delay){.ms = PACING_EVERY_US / 1000, .due = due};
  poller_delay_add(poller, &p->delay);
  *out = p;
  return 0;
}

void pacer_close(struct pacer *p)
{
  struct peer *peer, *next;
  DL_FOREACH_SAFE(p->peers, peer, next)
  {
    peer->count++;
    while (peer->sockets != NULL)
      pacer_forget(peer->sockets->of);
    peer->count--;
    peer_put(peer);
  }
  poller_delay_remove(p->poller, &p->delay);
  free(p->list);
  free(p);
}
