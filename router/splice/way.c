/* Little is read and written: two calls for a message, and what the socket does not take is kept until it does, a piece
 * at most. Once a piece is full, a pipe is taken, and given back after a few small fillings. It is filled only when it
 * is empty and the other side was not found full: so it is out of the pool only while it has bytes in it, and one that
 * does not read holds back the sender in the kernel, with one pipe at most between them. Where there is no pipe, as
 * much is looked at (MSG_PEEK) as may be written, and what was written is then taken away (MSG_TRUNC, which copies
 * nothing).
 *
 * Sockets are watched for edges, so each end remembers what was said of it until a call says otherwise. One that gave
 * less than was asked for has no more, and one that took less than it was given is full: neither is asked again before
 * its next edge.
 */
#include "way.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "proto/host/pipes.h"

enum {
  FILLINGS_MAX = 2, /* of a pipe in a turn: then the others have theirs */
  FEW_MAX = 4,
};

struct kept {
  size_t at, size;
  uint8_t bytes[];
};

/* -errno in place of errno. */
static ssize_t told(ssize_t n)
{
  return n >= 0 ? n : -errno;
}

static enum way_went refused(bool *able, ssize_t error)
{
  if (error != -EAGAIN)
    return WAY_BROKE;
  *able = false;
  return WAY_WAITS;
}

/* All that there was has been read. */
static void has_no_more(struct end *from)
{
  if (from->hung)
    from->drained = true;
  else
    from->readable = false;
}

static void took(struct ways *ws, struct end *to, size_t bytes, uint64_t *counter)
{
  *counter += bytes;
  if (paced_due(&to->paced, bytes))
    pacer_look(ws->pacer, &to->paced, to->fd);
}

/* ---- Reading and writing ---- */

/* What was written, and the end is found full if that is not all; or a negative errno. `more`: the end follows at once,
 * so that both go out in one segment. */
static ssize_t write_some(struct end *to, const uint8_t *bytes, size_t size, bool more)
{
  ssize_t n = told(send(to->fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0)));
  if (n == -EAGAIN)
    n = 0;
  if (n >= 0 && (size_t)n < size)
    to->writable = false;
  return n;
}

/* What the socket does not take is kept. */
static bool say(struct ways *ws, struct end *to, const uint8_t *bytes, size_t size, bool more)
{
  ssize_t n = write_some(to, bytes, size, more);
  if (n < 0)
    return false;
  took(ws, to, (size_t)n, &ws->copied);
  size_t left = size - (size_t)n;
  if (left == 0)
    return true;
  to->kept = malloc(sizeof *to->kept + left);
  if (to->kept == NULL)
    return false;
  to->kept->at = 0;
  to->kept->size = left;
  memcpy(to->kept->bytes, bytes + n, left);
  return true;
}

static enum way_went write_kept(struct ways *ws, struct end *to)
{
  struct kept *k = to->kept;
  ssize_t n = write_some(to, k->bytes + k->at, k->size - k->at, false);
  if (n < 0)
    return WAY_BROKE;
  took(ws, to, (size_t)n, &ws->copied);
  k->at += (size_t)n;
  if (k->at < k->size)
    return WAY_WAITS;
  free(k);
  to->kept = NULL;
  return WAY_WENT;
}

/* The last of the two is passed on by the close that follows. */
static enum way_went pass_end(struct end *from, struct end *to)
{
  from->ended = true;
  if (!to->passed && shutdown(to->fd, SHUT_WR) != 0)
    return WAY_BROKE;
  from->passed = true;
  return WAY_WAITS;
}

static enum way_went pass_little(struct ways *ws, struct end *from, struct end *to)
{
  ssize_t n = told(recv(from->fd, ws->buffer, ws->piece, MSG_DONTWAIT));
  if (n == 0)
    return pass_end(from, to);
  if (n < 0)
    return refused(&from->readable, n);
  if ((size_t)n < ws->piece)
    has_no_more(from);
  else
    from->much = true;
  return say(ws, to, ws->buffer, (size_t)n, from->drained) ? WAY_WENT : WAY_BROKE;
}

bool way_begin(struct ways *ws, struct end *from, struct end *to, const void *first, size_t size)
{
  if (size > sizeof ws->buffer - ws->piece)
    return say(ws, to, first, size, false);
  memcpy(ws->buffer, first, size);
  ssize_t n = told(recv(from->fd, ws->buffer + size, ws->piece, MSG_DONTWAIT));
  if (n < 0 && n != -EAGAIN)
    return false;
  from->much = n > 0 && (size_t)n == ws->piece;
  return say(ws, to, ws->buffer, size + (n > 0 ? (size_t)n : 0), false);
}

/* ---- Pipes, and copies without one ---- */

static enum way_went drain(struct ways *ws, struct end *from, struct end *to)
{
  ssize_t n = pipe_drain(from->pipe, to->fd, from->pipe->held);
  if (n <= 0)
    return n == 0 ? WAY_BROKE : refused(&to->writable, n);
  took(ws, to, (size_t)n, &ws->spliced);
  return WAY_WENT;
}

static void came(const struct ways *ws, struct end *from, size_t bytes)
{
  from->few = bytes < ws->piece ? from->few + 1 : 0;
  if (from->few < FEW_MAX)
    return;
  from->few = 0;
  from->much = false;
}

static enum way_went fill(const struct ways *ws, struct end *from, struct end *to)
{
  ssize_t n = pipe_fill(from->pipe, from->fd, from->pipe->size);
  if (n == 0)
    return pass_end(from, to);
  if (n < 0)
    return refused(&from->readable, n);
  if (pipe_has_room_after(from->pipe, (size_t)n))
    has_no_more(from);
  came(ws, from, (size_t)n);
  return WAY_WENT;
}

static enum way_went copy(struct ways *ws, struct end *from, struct end *to)
{
  ssize_t n = told(recv(from->fd, ws->buffer, sizeof ws->buffer, MSG_PEEK | MSG_DONTWAIT));
  if (n == 0)
    return pass_end(from, to);
  if (n < 0)
    return refused(&from->readable, n);
  ssize_t sent = write_some(to, ws->buffer, (size_t)n, false);
  if (sent <= 0)
    return sent == 0 ? WAY_WAITS : WAY_BROKE;
  if (recv(from->fd, ws->buffer, (size_t)sent, MSG_TRUNC | MSG_DONTWAIT) != sent)
    return WAY_BROKE;
  took(ws, to, (size_t)sent, &ws->copied);
  if ((size_t)n < sizeof ws->buffer && sent == n)
    has_no_more(from);
  came(ws, from, (size_t)n);
  return WAY_WENT;
}

static void give_pipe(struct end *e)
{
  pipes_give(e->pipe);
  e->pipe = NULL;
}

static enum way_went pass_much(struct ways *ws, struct end *from, struct end *to)
{
  if (from->pipe == NULL)
    from->pipe = pipes_take(ws->pipes);
  return from->pipe != NULL ? fill(ws, from, to) : copy(ws, from, to);
}

/* ---- A turn ---- */

/* What is on its way to `to` goes first. */
static enum way_went step(struct ways *ws, struct end *from, struct end *to)
{
  if (!to->writable)
    return WAY_WAITS;
  if (to->kept != NULL)
    return write_kept(ws, to);
  if (from->pipe != NULL && from->pipe->held > 0)
    return drain(ws, from, to);
  if (!from->readable || from->ended)
    return WAY_WAITS;
  if (from->drained)
    return pass_end(from, to);
  return from->much ? pass_much(ws, from, to) : pass_little(ws, from, to);
}

/* A filling and what takes it out again are two steps. */
enum way_went way_go(struct ways *ws, struct end *from, struct end *to)
{
  enum way_went last = WAY_WENT;
  for (int i = 0; i < 2 * FILLINGS_MAX && last == WAY_WENT; i++)
    last = step(ws, from, to);
  if (from->pipe != NULL && from->pipe->held == 0)
    give_pipe(from);
  return last;
}

void way_forget(struct end *e)
{
  give_pipe(e);
  free(e->kept);
  pacer_forget(&e->paced);
}
