/* Events of both sockets are noted, and the pair goes once at the end of the turn: one way, then the other.
 *
 * SO_LINGER makes each close a reset until both ways are through: so is the end of a router that is killed.
 */
#include "splice.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "proto/host/pipes.h"
#include "way.h"

enum { WATCHED = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (int)EPOLLET };

struct splice {
  struct end ends[2];
  struct splices *of;
  void (*over)(void *arg, bool orderly);
  void *arg;
  bool failed; /* and its end is to be told in the next turn */
  struct splice *prev, *next;
};

struct splices {
  struct poller *poller;
  struct splice *pairs;
  size_t count;
  uint64_t begun;
  struct ways ways;
};

/* ---- Ends of pairs ---- */

static void linger(int fd, bool resets)
{
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = resets}, sizeof(struct linger));
}

static void end_close(struct splices *ss, struct end *e, bool orderly)
{
  poller_remove(ss->poller, -1, &e->watch);
  way_forget(e);
  if (orderly)
    linger(e->fd, false);
  close(e->fd);
}

static void pair_close(struct splice *s, bool orderly)
{
  struct splices *ss = s->of;
  for (int i = 0; i < 2; i++)
    end_close(ss, &s->ends[i], orderly);
  DL_DELETE(ss->pairs, s);
  ss->count--;
  free(s);
}

static void pair_over(struct splice *s, bool orderly)
{
  void (*over)(void *, bool) = s->over;
  void *arg = s->arg;
  pair_close(s, orderly);
  over(arg, orderly);
}

void splice_cut(struct splice *s)
{
  pair_over(s, false);
}

/* ---- Pairs ---- */

static void pair_go(struct splice *s)
{
  enum way_went there = s->failed ? WAY_BROKE : way_go(&s->of->ways, &s->ends[0], &s->ends[1]);
  enum way_went back = there == WAY_BROKE ? WAY_BROKE : way_go(&s->of->ways, &s->ends[1], &s->ends[0]);
  if (there == WAY_BROKE || back == WAY_BROKE)
    pair_over(s, false);
  else if (s->ends[0].passed && s->ends[1].passed)
    pair_over(s, true);
  else if (there == WAY_WENT || back == WAY_WENT)
    poller_again(s->of->poller, &s->ends[0].watch);
}

static bool has_error(int fd)
{
  int error = 0;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}) != 0 || error != 0;
}

/* Events are noted, and the pair goes once at the end of the turn, whatever was told of both. */
static void ready(struct poller_watch *w, uint32_t events)
{
  struct end *e = (struct end *)w;
  struct splice *s = (struct splice *)(e - e->is_second);
  if (events == 0) {
    pair_go(s);
    return;
  }
  e->readable |= (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0;
  e->hung |= (events & (EPOLLRDHUP | EPOLLHUP)) != 0;
  e->writable |= (events & (EPOLLOUT | EPOLLHUP)) != 0;
  s->failed |= (events & EPOLLERR) && has_error(e->fd);
  poller_again(s->of->poller, &s->ends[0].watch);
}

/* The poller tells anew what is true of a descriptor that it is given: nothing is missed that came before. */
static int watch(struct poller *p, const struct splice_side *side, struct end *e)
{
  if (side->watched == NULL)
    return poller_add(p, side->fd, WATCHED, &e->watch);
  return poller_hand_over(p, side->fd, WATCHED, side->watched, &e->watch);
}

static void begin(struct end *e, const struct splice_side *side)
{
  e->watch.ready = ready;
  e->fd = side->fd;
  if (!side->resets)
    linger(e->fd, true);
}

/* A failure is told by the pair's end. */
static void say_first(struct splice *s, const struct splice_side sides[2])
{
  for (int i = 0; i < 2; i++)
    if (sides[i].first_size > 0)
      s->failed |= !way_begin(&s->of->ways, &s->ends[!i], &s->ends[i], sides[i].first, sides[i].first_size);
}

int splice_start(struct splices *ss, struct splice **out, const struct splice_side sides[2],
                 void (*over)(void *arg, bool orderly), void *arg)
{
  struct splice *s = calloc(1, sizeof *s);
  if (s == NULL)
    return -ENOMEM;
  s->of = ss;
  s->over = over;
  s->arg = arg;
  s->ends[1].is_second = true;
  for (int i = 0; i < 2; i++)
    begin(&s->ends[i], &sides[i]);
  say_first(s, sides);
  int error = watch(ss->poller, &sides[0], &s->ends[0]);
  if (error != 0)
    goto fail;
  error = watch(ss->poller, &sides[1], &s->ends[1]);
  if (error != 0)
    goto fail_watched;
  if (s->failed)
    poller_again(ss->poller, &s->ends[0].watch);
  DL_APPEND(ss->pairs, s);
  ss->count++;
  ss->begun++;
  *out = s;
  return 0;

fail_watched:
  poller_remove(ss->poller, sides[0].fd, &s->ends[0].watch);
fail:
  for (int i = 0; i < 2; i++)
    way_forget(&s->ends[i]);
  free(s);
  return error;
}

/* ---- All of them ---- */

int splices_open(struct splices **out, struct poller *p, const struct splice_limits *limits)
{
  struct splices *ss = calloc(1, sizeof *ss);
  if (ss == NULL)
    return -ENOMEM;
  ss->poller = p;
  ss->ways.piece = limits->piece < sizeof ss->ways.buffer ? limits->piece : sizeof ss->ways.buffer;
  int error = pipes_open(&ss->ways.pipes, limits->pipe_bytes, limits->pipes_idle);
  if (error != 0)
    goto fail;
  error = pacer_open(&ss->ways.pacer, p);
  if (error != 0)
    goto fail_pipes;
  *out = ss;
  return 0;

fail_pipes:
  pipes_close(ss->ways.pipes);
fail:
  free(ss);
  return error;
}

void splices_close(struct splices *ss)
{
  struct splice *s, *next;
  DL_FOREACH_SAFE(ss->pairs, s, next)
  {
    pair_close(s, false);
  }
  pacer_close(ss->ways.pacer);
  pipes_close(ss->ways.pipes);
  free(ss);
}

void splices_stats(const struct splices *ss, struct splice_stats *out)
{
  struct pipes_stats pipes;
  pipes_stats(ss->ways.pipes, &pipes);
  *out = (struct splice_stats){.pairs = ss->count,
                               .pipes = pipes.taken + pipes.idle,
                               .pipe_bytes = pipes.bytes,
                               .spliced = ss->ways.spliced,
                               .copied = ss->ways.copied,
                               .begun = ss->begun};
}
