#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "proto/host/home.h"
#include "proto/host/nest.h"
#include "raw_internal.h"

static void deadline_passed(struct poller_deadline *one)
{
  struct raw_deadline *d = (struct raw_deadline *)((char *)one - offsetof(struct raw_deadline, deadline));
  d->passed(d);
}

void raw_deadline_set(struct raw_set *set, struct raw_deadline *d)
{
  poller_deadline_set(&set->connecting, &d->deadline);
}

void raw_deadline_clear(struct raw_set *set, struct raw_deadline *d)
{
  poller_deadline_clear(&set->connecting, &d->deadline);
}

int raw_set_open(struct raw_set **out, struct uv_loop_s *loop, struct home *home)
{
  struct raw_set *set = calloc(1, sizeof *set);
  if (set == NULL)
    return -ENOMEM;
  set->carver.pool = slab_pool_create();
  int error = set->carver.pool != NULL ? nest_open(&set->nest, loop) : -ENOMEM;
  if (error != 0) {
    if (set->carver.pool != NULL)
      slab_pool_release(set->carver.pool);
    free(set);
    return error;
  }
  set->home = home;
  set->poller = nest_poller(set->nest);
  set->thread = pthread_self();
  set->connecting = (struct poller_delay){.ms = RAW_CONNECT_MS, .due = deadline_passed};
  poller_delay_add(set->poller, &set->connecting);
  *out = set;
  return 0;
}

static void nest_closed(void *arg)
{
  struct raw_set *set = arg;
  void (*closed)(void *) = set->closed;
  void *closed_arg = set->closed_arg;
  slab_carver_close(&set->carver);
  slab_pool_release(set->carver.pool);
  free(set);
  closed(closed_arg);
}

void raw_set_close(struct raw_set *set, void (*closed)(void *arg), void *arg)
{
  set->closed = closed;
  set->closed_arg = arg;
  poller_delay_remove(set->poller, &set->connecting);
  nest_close(set->nest, nest_closed, set);
}
