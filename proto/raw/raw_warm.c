/* A connection that is up, on which a greeting has told the router whose it is. Whatever else comes on it is its end:
 * the router says nothing to a greeting. TCP's keepalive finds those that a firewall has forgotten.
 */
#include <unistd.h>

#include "raw_internal.h"

enum { IDLE_S = 30 };

static void greet(struct raw_warm *w)
{
  uint8_t bytes[RAW_PREAMBLE_MAX];
  uint64_t counter;
  size_t size = raw_line_seal(w->line, NULL, 0, bytes, &counter);
  w->greeted = send(w->fd, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
  if (!w->greeted)
    raw_warm_close(w);
}

static void ready(struct poller_watch *watch, uint32_t events)
{
  struct raw_warm *w = (struct raw_warm *)watch;
  if (events & ~(uint32_t)EPOLLOUT)
    raw_warm_close(w);
  else if (!w->greeted) {
    raw_socket_connected(w->fd);
    greet(w);
  }
}

void raw_warm_init(struct raw_warm *w, struct raw_line *l)
{
  *w = (struct raw_warm){.watch.ready = ready, .line = l, .fd = -1};
}

void raw_warm_fill(struct raw_warm *w)
{
  if (w->fd >= 0)
    return;
  w->fd = raw_socket_connect(&w->line->options.address);
  if (w->fd < 0)
    return;
  if (!w->line->near)
    raw_socket_watch_peer(w->fd, IDLE_S);
  if (poller_add(w->line->set->poller, w->fd, RAW_EVENTS, &w->watch) != 0)
    raw_warm_close(w);
  else if (w->line->near)
    greet(w);
}

void raw_warm_close(struct raw_warm *w)
{
  if (w->fd < 0)
    return;
  poller_remove(w->line->set->poller, -1, &w->watch);
  close(w->fd);
  w->fd = -1;
  w->greeted = false;
}

int raw_warm_take(struct raw_warm *w, struct poller_watch *to)
{
  int fd = w->fd;
  if (!w->greeted || poller_hand_over(w->line->set->poller, fd, RAW_EVENTS, &w->watch, to) != 0)
    return -1;
  w->fd = -1;
  w->greeted = false;
  return fd;
}
