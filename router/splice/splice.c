/* A way is one direction of a pair: from one socket, through a pipe, to the other. Both sockets are watched for edges,
 * so each remembers what was said of it until a call says otherwise.
 *
 * A pipe is filled only when it is empty and the other side was not found full: so it is out of the pool only while it
 * has bytes in it, and one that does not read holds back the sender in the kernel, with one pipe at most between them.
 * Without a pipe as much is looked at (MSG_PEEK) as may be written, and what was written is then taken away (MSG_TRUNC,
 * which copies nothing): nothing has to be kept.
 *
 * SO_LINGER makes each close a reset until both ways are through: so is the end of a router that is killed.
 */
#include "splice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>

#include "proto/flow/pacer.h"
#include "proto/host/pipes.h"

enum {
  FILLINGS_MAX = 2, /* of a pipe in a turn: then the others have theirs */
  COPY_SIZE = 128 << 10,
  WATCHED = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (int)EPOLLET,
};

/* What is to be written before anything else, because the socket did not take it at once. */
struct first {
  size_t at, size;
  uint8_t bytes[];
};

/* A socket, and the way that begins there. */
struct end {
  struct poller_watch watch;
  int fd;
  bool is_second;
  bool readable, writable; /* as far as is known */
  bool hung;               /* its end has come in: it may be behind what is read, where no edge tells of it */
  bool ended, passed;      /* its end was read; and passed on */
  struct pooled_pipe *pipe;
  struct first *first; /* to be written here */
  struct paced paced;
};

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
  struct pipes *pipes;
  struct pacer *pacer;
  struct splice *pairs;
  size_t count;
  uint64_t spliced, copied, begun;
  uint8_t buffer[COPY_SIZE];
};

enum step { WENT, WAITS, BROKE };

/* ---- Ends of pairs ---- */

static void linger(int fd, bool resets)
{
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = resets}, sizeof(struct linger));
}

static void give_pipe(struct splices *ss, struct end *e)
{
  if (e->pipe != NULL)
    pipes_give(ss->pipes, e->pipe);
  e->pipe = NULL;
}

static void end_close(struct splices *ss, struct end *e, bool orderly)
{
  poller_remove(ss->poller, -1, &e->watch);
  give_pipe(ss, e);
  free(e->first);
  pacer_forget(&e->paced);
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

/* ---- One step of a way ---- */

static enum step refused(bool *able, ssize_t error)
{
  if (error != -EAGAIN)
    return BROKE;
  *able = false;
  return WAITS;
}

/* -errno in place of errno. */
static ssize_t told(ssize_t n)
{
  return n >= 0 ? n : -errno;
}

static enum step write_first(struct end *to)
{
  struct first *f = to->first;
  ssize_t n = told(send(to->fd, f->bytes + f->at, f->size - f->at, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (n < 0)
    return refused(&to->writable, n);
  f->at += (size_t)n;
  if (f->at < f->size)
    return WENT;
  free(f);
  to->first = NULL;
  return WENT;
}

static void took(struct splices *ss, struct end *to, ssize_t n, uint64_t *counter)
{
  *counter += (uint64_t)n;
  if (paced_due(&to->paced, (size_t)n))
    pacer_look(ss->pacer, &to->paced, to->fd);
}

static enum step drain(struct splices *ss, struct end *from, struct end *to)
{
  ssize_t n = pipe_drain(from->pipe, to->fd, from->pipe->held);
  if (n <= 0)
    return n == 0 ? BROKE : refused(&to->writable, n);
  took(ss, to, n, &ss->spliced);
  return WENT;
}

static enum step pass_end(struct end *from, struct end *to)
{
  from->ended = true;
  if (shutdown(to->fd, SHUT_WR) != 0)
    return BROKE;
  from->passed = true;
  return WAITS;
}

static enum step fill(struct end *from, struct end *to)
{
  ssize_t n = pipe_fill(from->pipe, from->fd, from->pipe->size);
  if (n == 0)
    return pass_end(from, to);
  if (n < 0)
    return refused(&from->readable, n);
  if (pipe_has_room_after(from->pipe, (size_t)n) && !from->hung)
    from->readable = false;
  return WENT;
}

static enum step copy(struct splices *ss, struct end *from, struct end *to)
{
  ssize_t n = told(recv(from->fd, ss->buffer, sizeof ss->buffer, MSG_PEEK | MSG_DONTWAIT));
  if (n == 0)
    return pass_end(from, to);
  if (n < 0)
    return refused(&from->readable, n);
  ssize_t sent = told(send(to->fd, ss->buffer, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL));
  if (sent < 0)
    return refused(&to->writable, sent);
  if (recv(from->fd, ss->buffer, (size_t)sent, MSG_TRUNC | MSG_DONTWAIT) != sent)
    return BROKE;
  took(ss, to, sent, &ss->copied);
  if ((size_t)n < sizeof ss->buffer && sent == n && !from->hung)
    from->readable = false;
  return WENT;
}

/* What is on its way to `to` goes first. */
static enum step step(struct splices *ss, struct end *from, struct end *to)
{
  if (!to->writable)
    return WAITS;
  if (to->first != NULL)
    return write_first(to);
  if (from->pipe != NULL && from->pipe->held > 0)
    return drain(ss, from, to);
  if (!from->readable || from->ended)
    return WAITS;
  if (from->pipe == NULL)
    from->pipe = pipes_take(ss->pipes);
  return from->pipe != NULL ? fill(from, to) : copy(ss, from, to);
}

/* A filling and what takes it out again are two steps. */
static enum step move(struct splices *ss, struct end *from, struct end *to)
{
  enum step last = WENT;
  for (int i = 0; i < 2 * FILLINGS_MAX && last == WENT; i++)
    last = step(ss, from, to);
  if (from->pipe != NULL && from->pipe->held == 0)
    give_pipe(ss, from);
  return last;
}

/* ---- Pairs ---- */

static void pair_go(struct splice *s)
{
  enum step there = s->failed ? BROKE : move(s->of, &s->ends[0], &s->ends[1]);
  enum step back = there == BROKE ? BROKE : move(s->of, &s->ends[1], &s->ends[0]);
  if (there == BROKE || back == BROKE)
    pair_over(s, false);
  else if (s->ends[0].passed && s->ends[1].passed)
    pair_over(s, true);
  else if (there == WENT || back == WENT)
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

static int keep_first(struct end *e, const uint8_t *bytes, size_t size)
{
  e->first = malloc(sizeof *e->first + size);
  if (e->first == NULL)
    return -ENOMEM;
  e->first->at = 0;
  e->first->size = size;
  memcpy(e->first->bytes, bytes, size);
  return 0;
}

/* A failure to write is told by the pair's end. */
static int begin(struct splice *s, struct end *e, const struct splice_side *side)
{
  e->watch.ready = ready;
  e->fd = side->fd;
  if (!side->resets)
    linger(e->fd, true);
  if (side->first_size == 0)
    return 0;
  ssize_t n = told(send(e->fd, side->first, side->first_size, MSG_DONTWAIT | MSG_NOSIGNAL));
  s->failed |= n < 0 && n != -EAGAIN;
  size_t sent = n > 0 ? (size_t)n : 0;
  return sent == side->first_size ? 0 : keep_first(e, (const uint8_t *)side->first + sent, side->first_size - sent);
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
  int error = 0;
  for (int i = 0; i < 2 && error == 0; i++)
    error = begin(s, &s->ends[i], &sides[i]);
  if (error == 0)
    error = watch(ss->poller, &sides[0], &s->ends[0]);
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
    free(s->ends[i].first);
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
  int error = pipes_open(&ss->pipes, limits->pipe_bytes, limits->pipes_idle);
  if (error != 0)
    goto fail;
  error = pacer_open(&ss->pacer, p);
  if (error != 0)
    goto fail_pipes;
  *out = ss;
  return 0;

fail_pipes:
  pipes_close(ss->pipes);
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
  pacer_close(ss->pacer);
  pipes_close(ss->pipes);
  free(ss);
}

void splices_stats(const struct splices *ss, struct splice_stats *out)
{
  struct pipes_stats pipes;
  pipes_stats(ss->pipes, &pipes);
  *out = (struct splice_stats){.pairs = ss->count,
                               .pipes = pipes.taken + pipes.idle,
                               .pipe_bytes = pipes.bytes,
                               .spliced = ss->spliced,
                               .copied = ss->copied,
                               .begun = ss->begun};
}
