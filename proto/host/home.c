/* A poller's errands are the way to its thread; and the poller is nested in the loop, or the loop in it. */
#include "home.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "nest.h"
#include "poller.h"

struct home {
  struct nest *nest;
  struct poller *poller;
  pthread_t thread;
  struct errand closing;
  void (*closed)(void *arg);
  void *closed_arg;
};

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
  h->poller = nest_poller(h->nest);
  h->thread = pthread_self();
  *out = h;
  return 0;
}

struct poller *home_poller(struct home *h)
{
  return h->poller;
}

void home_run(struct home *h)
{
  nest_run(h->nest);
}

void home_send(struct home *h, struct errand *e)
{
  if (pthread_equal(pthread_self(), h->thread))
    poller_post_here(h->poller, e);
  else
    poller_post(h->poller, e);
}

static void nest_closed(void *arg)
{
  struct home *h = arg;
  void (*closed)(void *) = h->closed;
  void *closed_arg = h->closed_arg;
  free(h);
  closed(closed_arg);
}

/* What runs before this may have sent more: the poller lets that run, too. */
static void close_nest(struct errand *e)
{
  struct home *h = (struct home *)((char *)e - offsetof(struct home, closing));
  nest_close(h->nest, nest_closed, h);
}

void home_close(struct home *h, void (*closed)(void *arg), void *arg)
{
  h->closed = closed;
  h->closed_arg = arg;
  h->closing.run = close_nest;
  home_send(h, &h->closing);
}
