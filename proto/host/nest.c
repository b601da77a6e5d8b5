/* What is ready makes the poller's own epoll ready, which the loop waits for. What is done by the clock does not: so
 * before the loop waits, it is asked for how long it may.
 *
 * The other way round the loop's epoll lies in the poller's. The loop runs when that is ready, when one of its timers
 * is due, or when it has something to do without waiting; all of which libuv tells for loops that are nested.
 */
#include "nest.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <uv.h>

#include "poller.h"

struct nest {
  struct poller *poller;
  uv_poll_t poll;
  uv_prepare_t before;
  uv_timer_t clock;
  int open_handles;
  void (*closed)(void *arg);
  void *closed_arg;
  struct poller_watch loop; /* while the loop is nested in the poller */
  bool loop_is_due;
  bool *gone; /* NULL, or where the one that runs it looks */
};

static void ready(uv_poll_t *poll, int status, int events)
{
  (void)status, (void)events;
  poller_turn(((struct nest *)poll->data)->poller, 0);
}

static void time_came(uv_timer_t *clock)
{
  poller_turn(((struct nest *)clock->data)->poller, 0);
}

static void loop_waits(uv_prepare_t *before)
{
  struct nest *n = before->data;
  if (n->gone != NULL)
    return;
  int wait_ms = poller_wait_ms(n->poller);
  if (wait_ms < 0)
    uv_timer_stop(&n->clock);
  else
    uv_timer_start(&n->clock, time_came, (uint64_t)wait_ms, 0);
}

static void loop_ready(struct poller_watch *w, uint32_t events)
{
  (void)events;
  ((struct nest *)((char *)w - offsetof(struct nest, loop)))->loop_is_due = true;
}

/* Until the loop has something to do: its descriptors, a timer, or what it does at once. A timer that is started by
 * what is served begins now, and not when the wait did. */
static void take_turns(struct nest *n, uv_loop_t *loop)
{
  n->loop_is_due = false;
  int wait_ms = uv_backend_timeout(loop);
  do {
    poller_wait(n->poller, wait_ms);
    uv_update_time(loop);
    poller_serve(n->poller);
    wait_ms = uv_backend_timeout(loop);
  } while (!n->loop_is_due && wait_ms != 0);
}

void nest_run(struct nest *n)
{
  uv_loop_t *loop = n->poll.loop;
  bool gone = false;
  if (uv_is_closing((uv_handle_t *)&n->poll))
    return;
  n->loop.ready = loop_ready;
  uv_poll_stop(&n->poll);
  if (poller_add(n->poller, uv_backend_fd(loop), EPOLLIN, &n->loop) != 0) {
    uv_poll_start(&n->poll, UV_READABLE, ready);
    return;
  }
  n->gone = &gone;
  uv_timer_stop(&n->clock);
  while (uv_run(loop, UV_RUN_NOWAIT) != 0 && !gone)
    take_turns(n, loop);
  if (gone)
    return;
  n->gone = NULL;
  poller_remove(n->poller, uv_backend_fd(loop), &n->loop);
  uv_poll_start(&n->poll, UV_READABLE, ready);
}

struct poller *nest_poller(struct nest *n)
{
  return n->poller;
}

int nest_open(struct nest **out, struct uv_loop_s *loop)
{
  struct nest *n = calloc(1, sizeof *n);
  if (n == NULL)
    return -ENOMEM;
  int error = poller_open(&n->poller);
  if (error == 0) {
    error = uv_poll_init(loop, &n->poll, poller_fd(n->poller));
    if (error != 0)
      poller_close(n->poller);
  }
  if (error != 0) {
    free(n);
    return error;
  }
  uv_prepare_init(loop, &n->before);
  uv_timer_init(loop, &n->clock);
  n->poll.data = n->before.data = n->clock.data = n;
  uv_poll_start(&n->poll, UV_READABLE, ready);
  uv_prepare_start(&n->before, loop_waits);
  n->open_handles = 3;
  *out = n;
  return 0;
}

static void handle_closed(uv_handle_t *handle)
{
  struct nest *n = handle->data;
  if (--n->open_handles > 0)
    return;
  void (*closed)(void *arg) = n->closed;
  void *arg = n->closed_arg;
  poller_close(n->poller);
  if (n->gone != NULL)
    *n->gone = true;
  free(n);
  closed(arg);
}

void nest_close(struct nest *n, void (*closed)(void *arg), void *arg)
{
  n->closed = closed;
  n->closed_arg = arg;
  uv_close((uv_handle_t *)&n->poll, handle_closed);
  uv_close((uv_handle_t *)&n->before, handle_closed);
  uv_close((uv_handle_t *)&n->clock, handle_closed);
}
