/* An inbox, which the loop looks into after each turn. It is woken when the inbox was empty; but what its own thread
 * puts there needs no waking, only that the loop does not sleep before.
 */
#include "home.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <uv.h>

#include "nest.h"

enum { TURNS_MAX = 8 };

struct home {
  pthread_mutex_t lock;
  struct errands inbox;
  pthread_t thread;
  struct nest *nest;
  uv_async_t async;
  uv_check_t turned;
  uv_idle_t awake; /* active while the loop's own thread has put something into the inbox */
  unsigned open_parts;
  bool closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void stay_awake(uv_idle_t *idle)
{
  (void)idle;
}

void home_send(struct home *h, struct errand *e)
{
  pthread_mutex_lock(&h->lock);
  bool was_empty = h->inbox.first == NULL;
  errands_add(&h->inbox, e);
  if (was_empty && pthread_equal(pthread_self(), h->thread))
    uv_idle_start(&h->awake, stay_awake);
  else if (was_empty)
    uv_async_send(&h->async);
  pthread_mutex_unlock(&h->lock);
}

/* False: nothing was there. */
static bool serve(struct home *h)
{
  pthread_mutex_lock(&h->lock);
  struct errand *first = errands_take(&h->inbox);
  pthread_mutex_unlock(&h->lock);
  errands_run(first);
  return first != NULL;
}

static void one_closed(struct home *h)
{
  if (--h->open_parts > 0)
    return;
  void (*closed)(void *arg) = h->closed;
  void *arg = h->closed_arg;
  pthread_mutex_destroy(&h->lock);
  free(h);
  closed(arg);
}

static void handle_closed(uv_handle_t *handle)
{
  one_closed(handle->data);
}

static void nest_closed(void *arg)
{
  one_closed(arg);
}

static void async_woken(uv_async_t *async)
{
  (void)async;
}

/* What is put there meanwhile is served at once, but not before the sockets for ever. */
static void loop_turned(uv_check_t *check)
{
  struct home *h = check->data;
  bool closing = h->closing;
  int turns = 0;
  while (turns < TURNS_MAX && serve(h))
    turns++;
  if (turns < TURNS_MAX)
    uv_idle_stop(&h->awake);
  if (!closing || turns == TURNS_MAX)
    return;
  uv_close((uv_handle_t *)&h->async, handle_closed);
  uv_close((uv_handle_t *)&h->turned, handle_closed);
  uv_close((uv_handle_t *)&h->awake, handle_closed);
  nest_close(h->nest, nest_closed, h);
}

int home_open(struct home **out, struct uv_loop_s *loop)
{
  struct home *h = calloc(1, sizeof *h);
  if (h == NULL)
    return -ENOMEM;
  int error = nest_open(&h->nest, loop);
  if (error != 0) {
    free(h);
    return error;
  }
  error = uv_async_init(loop, &h->async, async_woken);
  if (error != 0) {
    nest_close(h->nest, free, h);
    return error;
  }
  pthread_mutex_init(&h->lock, NULL); /* a default mutex: on Linux it cannot fail */
  errands_start(&h->inbox);
  h->thread = pthread_self();
  h->async.data = h;
  uv_check_init(loop, &h->turned);
  h->turned.data = h;
  uv_check_start(&h->turned, loop_turned);
  uv_idle_init(loop, &h->awake);
  h->awake.data = h;
  h->open_parts = 4;
  *out = h;
  return 0;
}

struct poller *home_poller(struct home *h)
{
  return nest_poller(h->nest);
}

void home_close(struct home *h, void (*closed)(void *arg), void *arg)
{
  h->closed = closed;
  h->closed_arg = arg;
  h->closing = true;
  uv_async_send(&h->async);
}
