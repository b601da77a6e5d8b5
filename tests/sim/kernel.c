/* System calls and the poller, as the router's real splicing sees them: the linker puts these in their place (--wrap).
 * Pipes are short of room, and at times there are none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "kernel.h"
#include "memory.h"
#include "proto/host/poller.h"
#include "tcp.h"
#include "world.h"

enum { PIPE_FIRST = 3 << 20, NOWHERE = PIPE_FIRST - 1, PIPE_ROOM = 64 << 10, SHORT = 64 };

struct pipe_here {
  uint8_t bytes[512]; /* a real one has more; what matters is that it is full at times */
  size_t head, count;
  bool open[2];
};

ssize_t __wrap_splice(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned flags);
ssize_t __wrap_recv(int fd, void *out, size_t size, int flags);
ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_close(int fd);
int __wrap_open(const char *path, int flags, ...);
int __wrap_pipe2(int fds[2], int flags);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static struct pipe_here *pipe_of(int fd)
{
  const struct world *w = memory_world();
  return fd >= PIPE_FIRST ? w->pipes[(fd - PIPE_FIRST) / 2] : NULL;
}

static ssize_t answer(long n)
{
  if (n >= 0)
    return n;
  errno = n == TCP_AGAIN ? EAGAIN : ECONNRESET;
  return -1;
}

/* ---- Sockets ---- */

ssize_t __wrap_recv(int fd, void *out, size_t size, int flags)
{
  return answer(tcp_receive(tcp_of(memory_world(), fd), flags & MSG_TRUNC ? NULL : out, size, flags & MSG_PEEK));
}

ssize_t __wrap_send(int fd, const void *bytes, size_t size, int flags)
{
  (void)flags;
  return answer(tcp_send(tcp_of(memory_world(), fd), bytes, size));
}

int __wrap_shutdown(int fd, int how)
{
  (void)how;
  struct tcp_end *e = tcp_of(memory_world(), fd);
  if (e->reset_in)
    return (int)answer(TCP_BROKEN);
  tcp_half_close(e);
  return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
  (void)level, (void)size;
  if (name == SO_LINGER)
    tcp_of(memory_world(), fd)->resets = ((const struct linger *)value)->l_onoff;
  return 0;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
  (void)level, (void)name, (void)size;
  int error = tcp_of(memory_world(), fd)->reset_in ? ECONNRESET : 0;
  memcpy(value, &error, sizeof error);
  return 0;
}

/* ---- Pipes ---- */

int __wrap_pipe2(int fds[2], int flags)
{
  struct world *w = memory_world();
  (void)flags;
  if (chance(w, 100)) {
    errno = EMFILE;
    return -1;
  }
  if (w->pipe_count == w->pipe_room) {
    size_t room = w->pipe_room > 0 ? 2 * w->pipe_room : 8;
    struct pipe_here **all = world_alloc(w, room * sizeof(struct pipe_here *));
    for (size_t i = 0; i < w->pipe_count; i++)
      all[i] = w->pipes[i];
    w->pipes = all;
    w->pipe_room = room;
  }
  struct pipe_here *p = world_alloc(w, sizeof *p);
  p->open[0] = p->open[1] = true;
  w->descriptors_open += 2;
  w->pipes[w->pipe_count] = p;
  fds[0] = PIPE_FIRST + 2 * (int)w->pipe_count++;
  fds[1] = fds[0] + 1;
  return 0;
}

static ssize_t fill(struct tcp_end *from, struct pipe_here *p, size_t size)
{
  uint8_t bytes[sizeof p->bytes];
  size_t room = sizeof p->bytes - p->count;
  if (room == 0)
    return answer(TCP_AGAIN);
  size_t most = size < room ? size : room;
  /* Few bytes at a time come only from a socket that has no more. */
  if (most > SHORT && chance(from->w, 200))
    most = SHORT + roll(from->w, most - SHORT);
  long n = tcp_receive(from, bytes, most, false);
  for (long i = 0; i < n; i++)
    p->bytes[(p->head + p->count++) % sizeof p->bytes] = bytes[i];
  return answer(n);
}

static ssize_t drain(struct pipe_here *p, struct tcp_end *to, size_t size)
{
  uint8_t bytes[sizeof p->bytes];
  size_t most = size < p->count ? size : p->count;
  if (most == 0)
    return answer(TCP_AGAIN);
  for (size_t i = 0; i < most; i++)
    bytes[i] = p->bytes[(p->head + i) % sizeof p->bytes];
  long n = tcp_send(to, bytes, most);
  if (n > 0) {
    p->head = (p->head + (size_t)n) % sizeof p->bytes;
    p->count -= (size_t)n;
  }
  return answer(n);
}

ssize_t __wrap_splice(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned flags)
{
  const struct world *w = memory_world();
  (void)at, (void)there, (void)flags;
  return pipe_of(to) != NULL ? fill(tcp_of(w, from), pipe_of(to), size) : drain(pipe_of(from), tcp_of(w, to), size);
}

int __wrap_fcntl(int fd, int command, ...)
{
  (void)fd;
  return command == F_GETPIPE_SZ || command == F_SETPIPE_SZ ? PIPE_ROOM : 0;
}

int __wrap_fcntl64(int fd, int command, ...)
{
  return __wrap_fcntl(fd, command);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
  va_list rest;
  (void)request;
  va_start(rest, request);
  *va_arg(rest, int *) = (int)pipe_of(fd)->count;
  va_end(rest);
  return 0;
}

/* Of files there is /dev/null only. */
int __wrap_open(const char *path, int flags, ...)
{
  (void)path, (void)flags;
  return NOWHERE;
}

int __wrap_close(int fd)
{
  struct world *w = memory_world();
  if (fd == NOWHERE)
    return 0;
  struct pipe_here *p = pipe_of(fd);
  if (p == NULL) {
    tcp_close(tcp_of(w, fd));
    return 0;
  }
  if (!p->open[fd & 1])
    broken(w, "a pipe is closed twice");
  p->open[fd & 1] = false;
  w->descriptors_open--;
  return 0;
}

/* ---- The poller ---- */

/* A call of `ready` that is due, unless the watch is removed before. */
struct again {
  struct poller *poller;
  struct poller_watch *watch; /* NULL: not any more */
  struct again *next;
};

struct poller {
  struct world *w;
  struct again *agains;
};

struct poller *kernel_poller(struct world *w)
{
  struct poller *p = world_alloc(w, sizeof *p);
  p->w = w;
  return p;
}

static void told(struct tcp_end *e, unsigned news)
{
  struct poller_watch *watch = e->user;
  watch->ready(watch, news);
}

int poller_add(struct poller *p, int fd, uint32_t events, struct poller_watch *w)
{
  struct tcp_end *e = tcp_of(p->w, fd);
  (void)events;
  e->user = w;
  e->told = told;
  tcp_tell(e);
  return 0;
}

int poller_hand_over(struct poller *p, int fd, uint32_t events, struct poller_watch *from, struct poller_watch *to)
{
  (void)from;
  return poller_add(p, fd, events, to);
}

void poller_remove(struct poller *p, int fd, struct poller_watch *w)
{
  (void)fd;
  for (size_t i = 0; i < p->w->tcp_count; i++)
    if (p->w->tcps[i]->user == w)
      p->w->tcps[i]->told = NULL;
  for (struct again *a = p->agains; a != NULL; a = a->next)
    if (a->watch == w)
      a->watch = NULL;
}

static void run_again(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct again *a = subject;
  struct again **at = &a->poller->agains;
  while (*at != a)
    at = &(*at)->next;
  *at = a->next;
  if (a->watch != NULL)
    a->watch->ready(a->watch, 0);
}

void poller_again(struct poller *p, struct poller_watch *w)
{
  for (struct again *a = p->agains; a != NULL; a = a->next)
    if (a->watch == w)
      return;
  struct again *a = world_alloc(p->w, sizeof *a);
  *a = (struct again){.poller = p, .watch = w, .next = p->agains};
  p->agains = a;
  world_after(p->w, roll(p->w, 20), run_again, a, 0);
}
