/* A new pipe gets a quarter of the budget that is left, at most: so the first ones are large, and when many connections
 * hold theirs, the next ones are smaller until a copy is as good. The kernel has bounds of its own, on descriptors and
 * on what a user without privileges may have in all pipes of all processes; what it refuses is asked for in a smaller
 * size, and if it refuses that, too, not again for a while.
 */
#include "pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bug.h"

enum {
  SHARE = 4,
  REFUSED_PAUSE = 256, /* so many are not asked for after one was refused, unless one is given back before */
};

struct pipes {
  int nowhere; /* /dev/null */
  pthread_mutex_t lock;
  size_t budget, idle_most, bytes, taken, idle_count;
  struct pooled_pipe *idle;
  unsigned pause;
  uint64_t made, refused;
  bool closed;
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
  *p = (struct pooled_pipe){.of = ps, .in = fds[1], .out = fds[0], .size = resize(fds[1], wanted)};
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

/* A signal may interrupt it, although it never waits. */
static ssize_t move(int from, int to, size_t most)
{
  ssize_t n;
  do
    n = splice(from, NULL, to, NULL, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  while (n < 0 && errno == EINTR);
  return n >= 0 ? n : -errno;
}

static bool is_error(ssize_t n)
{
  return n < 0 && n != -EAGAIN;
}

ssize_t pipe_fill(struct pooled_pipe *p, int fd, size_t most)
{
  ssize_t n = move(fd, p->in, most);
  p->spoiled |= is_error(n);
  if (n > 0)
    p->held += (size_t)n;
  return n;
}

ssize_t pipe_drain(struct pooled_pipe *p, int fd, size_t most)
{
  ssize_t n = move(p->out, fd, most < p->held ? most : p->held);
  p->spoiled |= is_error(n);
  if (n > 0)
    p->held -= (size_t)n;
  return n;
}

/* Each piece has a page of the pipe to itself, be it one byte. */
bool pipe_has_room_after(const struct pooled_pipe *p, size_t bytes)
{
  return bytes < p->slots;
}

ssize_t pipe_share(struct pooled_pipe *p, struct pooled_pipe *with, size_t size)
{
  ssize_t n = tee(p->out, with->in, size, SPLICE_F_NONBLOCK);
  if (n < 0)
    return -errno; /* and nothing was shared */
  with->held += (size_t)n;
  return n;
}

static ssize_t copy_out(int fd, void *out, size_t size)
{
  ssize_t n = read(fd, out, size);
  return n >= 0 ? n : -errno;
}

/* What it holds is there at once: where less comes, the count was wrong. */
static int take_all(struct pooled_pipe *p, void *out, size_t size)
{
  for (size_t done = 0; done < size;) {
    ssize_t n =
        out != NULL ? copy_out(p->out, (uint8_t *)out + done, size - done) : move(p->out, p->of->nowhere, size - done);
    if (n <= 0) {
      p->spoiled = true;
      return n < 0 ? (int)n : -EIO;
    }
    done += (size_t)n;
    p->held -= (size_t)n;
  }
  return 0;
}

int pipe_read(struct pooled_pipe *p, void *out, size_t size)
{
  return take_all(p, out, size);
}

int pipe_forget(struct pooled_pipe *p, size_t size)
{
  return take_all(p, NULL, size);
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

static struct pooled_pipe *take_idle(struct pipes *ps)
{
  struct pooled_pipe *p = ps->idle;
  ps->idle = p->next;
  ps->idle_count--;
  return p;
}

static struct pooled_pipe *take_new(struct pipes *ps)
{
  size_t size = size_wanted(ps);
  if (size < PIPE_SIZE_LEAST)
    return NULL;
  if (ps->pause > 0) {
    ps->pause--;
    return NULL;
  }
  struct pooled_pipe *p = make(ps, size);
  if (p == NULL) {
    ps->pause = REFUSED_PAUSE;
    ps->refused++;
    return NULL;
  }
  ps->made++;
  return p;
}

struct pooled_pipe *pipes_take(struct pipes *ps)
{
  pthread_mutex_lock(&ps->lock);
  struct pooled_pipe *p = ps->idle != NULL ? take_idle(ps) : take_new(ps);
  ps->taken += p != NULL;
  pthread_mutex_unlock(&ps->lock);
  return p;
}

static void destroy(struct pipes *ps)
{
  while (ps->idle != NULL)
    discard(ps, take_idle(ps));
  close(ps->nowhere);
  pthread_mutex_destroy(&ps->lock);
  free(ps);
}

void pipes_give(struct pooled_pipe *p)
{
  if (p == NULL)
    return;
  struct pipes *ps = p->of;
  pthread_mutex_lock(&ps->lock);
  ps->taken--;
  ps->pause = 0;
  if (p->held > 0 || p->spoiled || ps->closed || ps->idle_count >= ps->idle_most) {
    discard(ps, p);
  } else {
    check_empty(p);
    p->next = ps->idle;
    ps->idle = p;
    ps->idle_count++;
  }
  bool last = ps->closed && ps->taken == 0;
  pthread_mutex_unlock(&ps->lock);
  if (last)
    destroy(ps);
}

void pipes_stats(struct pipes *ps, struct pipes_stats *out)
{
  pthread_mutex_lock(&ps->lock);
  *out = (struct pipes_stats){
      .taken = ps->taken, .idle = ps->idle_count, .bytes = ps->bytes, .made = ps->made, .refused = ps->refused};
  pthread_mutex_unlock(&ps->lock);
}

int pipes_open(struct pipes **out, size_t budget, size_t idle_most)
{
  struct pipes *ps = calloc(1, sizeof *ps);
  int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
  int error = ps == NULL ? -ENOMEM : nowhere < 0 ? -errno : 0;
  if (error != 0) {
    if (nowhere >= 0)
      close(nowhere);
    free(ps);
    return error;
  }
  pthread_mutex_init(&ps->lock, NULL); /* a default mutex: on Linux it cannot fail */
  ps->nowhere = nowhere;
  ps->budget = budget;
  ps->idle_most = idle_most;
  *out = ps;
  return 0;
}

void pipes_close(struct pipes *ps)
{
  pthread_mutex_lock(&ps->lock);
  ps->closed = true;
  bool last = ps->taken == 0;
  pthread_mutex_unlock(&ps->lock);
  if (last)
    destroy(ps);
}
