#include "nest.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

#include "poller.h"

struct nest {
  struct poller *poller;
  uv_poll_t poll;
  uv_idle_t going_on; /* active while the next turn is due at once */
  int open_handles;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void take_turn(struct nest *n);

static void go_on(uv_idle_t *idle)
{
  take_turn(idle->data);
}

static void take_turn(struct nest *n)
{
  poller_turn(n->poller, 0);
  if (!poller_goes_on(n->poller))
    uv_idle_stop(&n->going_on);
  else if (!uv_is_closing((uv_handle_t *)&n->going_on))
    uv_idle_start(&n->going_on, go_on);
}

static void ready(uv_poll_t *poll, int status, int events)
{
  (void)status, (void)events;
  take_turn(poll->data);
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
  n->poll.data = n->going_on.data = n;
  uv_idle_init(loop, &n->going_on);
  uv_poll_start(&n->poll, UV_READABLE, ready);
  n->open_handles = 2;
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
  uv_close((uv_handle_t *)&n->going_on, handle_closed);
}
