/* A hash of queues, each of which is there as long as somebody is in it. */
#include "waiting.h"

#include <errno.h>
#include <stdlib.h>

#include <utlist.h>

#include "dial.h"
#include "router/door/table.h"

struct waiting_queue {
  struct goal goal;
  struct dial *dials; /* oldest first */
  size_t count;
  UT_hash_handle hh;
};

struct waiting {
  struct waiting_queue *by_goal;
  size_t max, count;
};

struct waiting *waiting_open(size_t max)
{
  struct waiting *w = calloc(1, sizeof *w);
  if (w)
    w->max = max;
  return w;
}

void waiting_close(struct waiting *w)
{
  free(w);
}

static struct waiting_queue *find(const struct waiting *w, const struct goal *g)
{
  struct waiting_queue *q;
  HASH_FIND(hh, w->by_goal, g, sizeof *g, q);
  return q;
}

static struct waiting_queue *queue_add(struct waiting *w, const struct goal *g)
{
  struct waiting_queue *q = calloc(1, sizeof *q);
  if (!q)
    return NULL;
  q->goal = *g;
  HASH_ADD(hh, w->by_goal, goal, sizeof q->goal, q);
  if (q->hh.tbl)
    return q;
  free(q);
  return NULL;
}

int waiting_add(struct waiting *w, struct dial *d, const struct goal *g)
{
  if (w->count >= w->max)
    return -ENOSPC;
  struct waiting_queue *q = find(w, g);
  if (!q)
    q = queue_add(w, g);
  if (!q)
    return -ENOMEM;
  DL_APPEND(q->dials, d);
  d->queue = q;
  q->count++;
  w->count++;
  return 0;
}

void waiting_remove(struct waiting *w, struct dial *d)
{
  struct waiting_queue *q = d->queue;
  DL_DELETE(q->dials, d); /* NOLINT(clang-analyzer-core.NullDereference): what is in a list has neighbours */
  d->queue = NULL;
  q->count--;
  w->count--;
  if (q->dials)
    return;
  HASH_DEL(w->by_goal, q); /* NOLINT(clang-analyzer-core.NullDereference) */
  free(q);
}

struct dial *waiting_first(const struct waiting *w, const struct goal *g)
{
  const struct waiting_queue *q = find(w, g);
  return q ? q->dials : NULL;
}

size_t waiting_count(const struct waiting *w, const struct goal *g)
{
  const struct waiting_queue *q = find(w, g);
  return q ? q->count : 0;
}

struct dial *waiting_any(const struct waiting *w)
{
  return w->by_goal ? w->by_goal->dials : NULL;
}
