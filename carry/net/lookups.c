/* One after the other is opened, and closed in reverse. */
#include "lookups.h"

#include <errno.h>
#include <stdlib.h>

#include "names.h"
#include "workers.h"

enum { TARGET_THREADS = 16, LISTENER_THREADS = 8 };

struct closing {
  struct lookups lookups; /* first: it is what the others see */
  void (*closed)(void *arg);
  void *arg;
};

static void close_next(void *arg)
{
  struct closing *c = arg;
  struct lookups *l = &c->lookups;
  struct workers *listeners = l->listeners, *targets = l->targets;
  struct names *names = l->names;
  void (*closed)(void *) = c->closed;
  void *closed_arg = c->arg;

  if (listeners != NULL) {
    l->listeners = NULL;
    workers_close(listeners, close_next, c);
  } else if (targets != NULL) {
    l->targets = NULL;
    workers_close(targets, close_next, c);
  } else if (names != NULL) {
    l->names = NULL;
    names_close(names, close_next, c);
  } else {
    free(c);
    if (closed != NULL)
      closed(closed_arg);
  }
}

int lookups_open(struct lookups **out, struct uv_loop_s *loop)
{
  struct closing *c = calloc(1, sizeof *c);
  int error;

  if (c == NULL)
    return -ENOMEM;
  c->lookups.loop = loop;
  error = names_open(&c->lookups.names, loop);
  if (error == 0)
    error = workers_open(&c->lookups.targets, loop, TARGET_THREADS);
  if (error == 0)
    error = workers_open(&c->lookups.listeners, loop, LISTENER_THREADS);
  if (error != 0)
    close_next(c);
  else
    *out = &c->lookups;
  return error;
}

void lookups_close(struct lookups *l, void (*closed)(void *arg), void *arg)
{
  struct closing *c = (struct closing *)l;

  c->closed = closed;
  c->arg = arg;
  close_next(c);
}
