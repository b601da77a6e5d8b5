#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "proto/host/home.h"
#include "raw_internal.h"

enum { PIPE_BYTES = 16 << 20, PIPES_IDLE = 4 };

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

int raw_set_open(struct raw_set **out, struct home *home)
{
  struct raw_set *set = calloc(1, sizeof *set);
  if (set == NULL)
    return -ENOMEM;
  set->carver.pool = slab_pool_create(SLAB_SMALL);
  if (set->carver.pool == NULL) {
    free(set);
    return -ENOMEM;
  }
  if (pipes_open(&set->pipes, PIPE_BYTES, PIPES_IDLE) != 0)
    set->pipes = NULL; /* all is copied */
  set->home = home;
  set->poller = home_poller(home);
  int error = pacer_open(&set->pacer, set->poller);
  if (error != 0) {
    slab_pool_release(set->carver.pool);
    free(set);
    return error;
  }
  set->thread = pthread_self();
  set->connecting = (struct poller_delay){.ms = RAW_CONNECT_MS, .due = deadline_passed};
  poller_delay_add(set->poller, &set->connecting);
  set->refill = (struct poller_delay){.ms = RAW_REFILL_MS, .due = raw_line_refill};
  poller_delay_add(set->poller, &set->refill);
  *out = set;
  return 0;
}

/* What was under way to the loop has come before this. */
static void closed_on_loop(struct errand *e)
{
  struct raw_set *set = (struct raw_set *)((char *)e - offsetof(struct raw_set, errand));
  void (*closed)(void *) = set->closed;
  void *closed_arg = set->closed_arg;
  slab_carver_close(&set->carver);
  slab_pool_release(set->carver.pool);
  if (set->pipes != NULL)
    pipes_close(set->pipes);
  free(set);
  closed(closed_arg);
}

void raw_set_close(struct raw_set *set, void (*closed)(void *arg), void *arg)
{
  set->closed = closed;
  set->closed_arg = arg;
  poller_delay_remove(set->poller, &set->connecting);
  poller_delay_remove(set->poller, &set->refill);
  pacer_close(set->pacer);
  set->errand.run = closed_on_loop;
  home_send(set->home, &set->errand);
}
