/* Most have said it by the time that they are accepted, and are told apart without being kept. The others are watched
 * edge-triggered: each time that something comes, all that there is by then is looked at again. */
#include "strangers.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "proto/wire/raw.h"

enum { EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET };

enum sort { SORT_LATER, SORT_GRPC, SORT_RAW, SORT_CLOSE };

struct stranger {
  struct poller_watch watch;
  struct poller_deadline late;
  struct strangers *all;
  int fd;
  bool raw_only;
  struct stranger *prev, *next;
};

/* What stands on a connection. */
struct found {
  enum sort sort;
  size_t whole; /* SORT_RAW: so much is the preamble */
  uint8_t bytes[RAW_PREAMBLE_MAX];
};

static enum sort bytes_sort(struct found *f, size_t size, bool raw_only)
{
  if (!raw_can_begin(f->bytes, size))
    return raw_only ? SORT_CLOSE : SORT_GRPC;
  int whole = raw_preamble_size(f->bytes, size);
  if (whole < 0)
    return SORT_CLOSE;
  f->whole = (size_t)whole;
  return whole == 0 || size < f->whole ? SORT_LATER : SORT_RAW;
}

static void fd_sort(struct found *f, const struct strangers *all, int fd, bool raw_only)
{
  ssize_t size = recv(fd, f->bytes, sizeof f->bytes, MSG_PEEK);
  if (size < 0)
    f->sort = errno == EAGAIN || errno == EINTR ? SORT_LATER : SORT_CLOSE;
  else if (size == 0)
    f->sort = SORT_CLOSE;
  else
    f->sort = all->config.raw != NULL ? bytes_sort(f, (size_t)size, raw_only) : SORT_GRPC;
}

static void is_grpc(const struct strangers *all, int fd)
{
  static const struct linger in_order = {.l_onoff = 0};
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &in_order, sizeof in_order);
  all->config.grpc(fd, all->config.arg);
}

static void stranger_forget(struct stranger *s)
{
  struct strangers *all = s->all;
  poller_deadline_clear(&all->delay, &s->late);
  DL_DELETE(all->oldest, s); /* NOLINT(clang-analyzer-core.NullDereference): what is in a list has neighbours */
  all->count--;
  free(s);
}

static void stranger_close(struct stranger *s)
{
  poller_remove(s->all->poller, -1, &s->watch);
  close(s->fd);
  stranger_forget(s);
}

static void stranger_is_grpc(struct stranger *s)
{
  struct strangers *all = s->all;
  int fd = s->fd;
  poller_remove(all->poller, fd, &s->watch);
  stranger_forget(s);
  is_grpc(all, fd);
}

static void stranger_is_raw(struct stranger *s, const struct found *f)
{
  struct strangers *all = s->all;
  all->config.raw(s->fd, &s->watch, f->bytes, f->whole, all->config.arg);
  stranger_forget(s);
}

static void on_ready(struct poller_watch *w, uint32_t events)
{
  struct stranger *s = (struct stranger *)((char *)w - offsetof(struct stranger, watch));
  struct found f;
  fd_sort(&f, s->all, s->fd, s->raw_only);
  switch (f.sort) {
  case SORT_GRPC:
    stranger_is_grpc(s);
    break;
  case SORT_RAW:
    stranger_is_raw(s, &f);
    break;
  case SORT_LATER:
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
      stranger_close(s);
    break;
  case SORT_CLOSE:
    stranger_close(s);
    break;
  }
}

static void on_late(struct poller_deadline *d)
{
  stranger_close((struct stranger *)((char *)d - offsetof(struct stranger, late)));
}

void strangers_open(struct strangers *all, struct poller *p, const struct strangers_config *config)
{
  *all = (struct strangers){.config = *config, .poller = p, .delay = {.ms = config->ms, .due = on_late}};
  poller_delay_add(p, &all->delay);
}

void strangers_close(struct strangers *all)
{
  while (strangers_drop_oldest(all))
    ;
  poller_delay_remove(all->poller, &all->delay);
}

bool strangers_drop_oldest(struct strangers *all)
{
  if (all->oldest == NULL)
    return false;
  stranger_close(all->oldest); /* NOLINT(clang-analyzer-unix.Malloc): the same */
  return true;
}

static void stranger_keep(struct strangers *all, int fd, bool raw_only)
{
  if (all->count >= all->config.max)
    strangers_drop_oldest(all);
  struct stranger *s = calloc(1, sizeof *s);
  if (s == NULL || poller_add(all->poller, fd, EVENTS, &s->watch) != 0) {
    free(s);
    close(fd);
    return;
  }
  s->watch.ready = on_ready;
  s->all = all;
  s->fd = fd;
  s->raw_only = raw_only;
  /* The analyzer takes what was just freed for still in the list. */
  DL_APPEND(all->oldest, s); /* NOLINT(clang-analyzer-unix.Malloc) */
  all->count++;
  poller_deadline_set(&all->delay, &s->late);
}

void strangers_add(struct strangers *all, int fd, bool raw_only)
{
  struct found f;
  fd_sort(&f, all, fd, raw_only);
  switch (f.sort) {
  case SORT_GRPC:
    is_grpc(all, fd);
    break;
  case SORT_RAW:
    all->config.raw(fd, NULL, f.bytes, f.whole, all->config.arg);
    break;
  case SORT_LATER:
    stranger_keep(all, fd, raw_only);
    break;
  case SORT_CLOSE:
    close(fd);
    break;
  }
}
