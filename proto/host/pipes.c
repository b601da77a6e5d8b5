/* A new pipe gets a quarter of the budget that is left, at most: so the first ones are large, and when many connections
 * hold theirs, the next ones are smaller until a copy is as good. The kernel has bounds of its own, on descriptors and
 * on what a user without privileges may have in all pipes of all processes; what it refuses is asked for in a smaller
 * size, and if it refuses that, too, not again for a while.
 */
#include "pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bug.h"

enum {
  SHARE = 4,
  REFUSED_PAUSE = 256, /* so many are not asked for after one was refused, unless one is given back before */
};

struct pipes {
  size_t budget, idle_most, bytes, taken, idle_count;
  struct pooled_pipe *idle;
  unsigned pause;
  uint64_t made, refused;
};

/* ---- One pipe ---- */

static size_t size_of(int fd)
{
  int size = fcntl(fd, F_GETPIPE_SZ);
  return size > 0 ? (size_t)size : 0;
}

static size_t resize(int fd, size_t wanted)
{
  for (size_t size = wanted; size >= PIPE_SIZE_LEAST; size /= SHARE)
    if (size == size_of(fd) || fcntl(fd, F_SETPIPE_SZ, (int)size) >= 0)
      break;
  return size_of(fd);
}

static void discard(struct pipes *ps, struct pooled_pipe *p)
{
  ps->bytes -= p->size;
  close(p->in);
  close(p->out);
  free(p);
}

static struct pooled_pipe *make(struct pipes *ps, size_t wanted)
{
  struct pooled_pipe *p = calloc(1, sizeof *p);
  int fds[2];
  if (p == NULL || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
    free(p);
    return NULL;
  }
  *p = (struct pooled_pipe){.in = fds[1], .out = fds[0], .size = resize(fds[1], wanted)};
  p->slots = p->size / (size_t)sysconf(_SC_PAGESIZE);
  ps->bytes += p->size;
  if (p->size >= PIPE_SIZE_LEAST)
    return p;
  discard(ps, p);
  return NULL;
}

static void check_empty(const struct pooled_pipe *p)
{
#ifdef MM_STRICT
  int bytes = 0;
  if (ioctl(p->out, FIONREAD, &bytes) != 0 || bytes != 0)
    bug_found();
#endif
  (void)p;
}

static ssize_t count(struct pooled_pipe *p, ssize_t moved)
{
  if (moved >= 0)
    return moved;
  int error = errno;
  p->spoiled |= error != EAGAIN;
  return -error;
}

ssize_t pipe_fill(struct pooled_pipe *p, int fd, size_t most)
{
  ssize_t n = count(p, splice(fd, NULL, p->in, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
  if (n > 0)
    p->held += (size_t)n;
  return n;
}

ssize_t pipe_drain(struct pooled_pipe *p, int fd, size_t most)
{
  ssize_t n =
      count(p, splice(p->out, NULL, fd, NULL, most < p->held ? most : p->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
  if (n > 0)
    p->held -= (size_t)n;
  return n;
}

/* Each piece has a page of the pipe to itself, be it one byte. */
bool pipe_has_room_after(const struct pooled_pipe *p, size_t bytes)
{
  return bytes < p->slots;
}

/* ---- The pool ---- */

static size_t size_wanted(const struct pipes *ps)
{
  size_t left = ps->budget > ps->bytes ? ps->budget - ps->bytes : 0;
  size_t size = PIPE_SIZE_MOST;
  while (size > left / SHARE)
    size /= SHARE;
  return size;
}

struct pooled_pipe *pipes_take(struct pipes *ps)
{
  struct pooled_pipe *p = ps->idle;
  if (p != NULL) {
    ps->idle = p->next;
    ps->idle_count--;
    ps->taken++;
    return p;
  }
  size_t size = size_wanted(ps);
  if (size < PIPE_SIZE_LEAST)
    return NULL;
  if (ps->pause > 0) {
    ps->pause--;
    return NULL;
  }
  p = make(ps, size);
  if (p == NULL) {
    ps->pause = REFUSED_PAUSE;
    ps->refused++;
    return NULL;
  }
  ps->taken++;
  ps->made++;
  return p;
}

void pipes_give(struct pipes *ps, struct pooled_pipe *p)
{
  ps->taken--;
  ps->pause = 0;
  if (p->held > 0 || p->spoiled || ps->idle_count >= ps->idle_most) {
    discard(ps, p);
    return;
  }
  check_empty(p);
  p->next = ps->idle;
  ps->idle = p;
  ps->idle_count++;
}

void pipes_stats(const struct pipes *ps, struct pipes_stats *out)
{
  *out = (struct pipes_stats){
      .taken = ps->taken, .idle = ps->idle_count, .bytes = ps->bytes, .made = ps->made, .refused = ps->refused};
}

int pipes_open(struct pipes **out, size_t budget, size_t idle_most)
{
  struct pipes *ps = calloc(1, sizeof *ps);
  if (ps == NULL)
    return -ENOMEM;
  ps->budget = budget;
  ps->idle_most = idle_most;
  *out = ps;
  return 0;
}

void pipes_close(struct pipes *ps)
{
  for (struct pooled_pipe *p = ps->idle, *next; p != NULL; p = next) {
    next = p->next;
    discard(ps, p);
  }
  free(ps);
}
