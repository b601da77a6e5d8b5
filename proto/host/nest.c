/* What is ready makes the poller's own epoll ready, which the loop waits for. What is done by the clock does not: so
 * before the loop waits, it is asked for how long it may.
 */
#include "nest.h"

#include <errno.h>
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
  int wait_ms = poller_wait_ms(n->poller);
  if (wait_ms < 0)
    uv_timer_stop(&n->clock);
  else
    uv_timer_start(&n->clock, time_came, (uint64_t)wait_ms, 0);
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
