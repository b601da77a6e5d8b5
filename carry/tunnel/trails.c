/* What comes within a moment goes in one call. What does not fit is left out: a loop goes on, and comes again.
 */
#include "trails.h"

#include <stddef.h>

#include "carry_host.h"
#include "hops.h"
#include "tunnels_internal.h"

enum { DELAY_MS = 10 };

static void release(struct trails *t)
{
  if (t->timer_closed && t->question == NULL)
    t->closed(t->tunnels);
}

static void judge(struct trails *t, const uint32_t *hops, size_t count)
{
  for (size_t i = 0; i < count && i < t->asked.count; i++) {
    struct hops *h = hops_find(t->tunnels->dialled, t->asked.dialled[i]);

    if (h == NULL || h->count >= hops[i])
      continue;
    h->count = hops[i];
    if (h->count > HOPS_MAX)
      tunnel_end_loop((struct tunnel *)((char *)h - offsetof(struct tunnel, hops)));
  }
}

static void ask(struct trails *t);

static void answered(const uint32_t *hops, size_t count, void *arg)
{
  struct trails *t = arg;

  t->question = NULL;
  if (t->closed != NULL) {
    release(t);
    return;
  }
  judge(t, hops, count);
  ask(t);
}

static void on_due(uv_timer_t *timer)
{
  struct trails *t = timer->data;
  const struct carry_host *host = t->tunnels->host;
  struct carry_way way = host->way(host);

  t->due = false;
  t->asked = t->next;
  t->next.count = 0;
  if (!way.up || way.original)
    return;
  if (host->trace(host, &t->question, t->asked.origins, t->asked.dialled, t->asked.count, answered, t) != 0)
    t->question = NULL;
}

static void ask(struct trails *t)
{
  if (t->due || t->question != NULL || t->next.count == 0)
    return;
  t->due = true;
  uv_timer_start(&t->timer, on_due, DELAY_MS, 0);
}

void trails_add(struct trails *t, uint64_t origin, uint64_t dialled)
{
  struct trails_batch *b = &t->next;

  if (origin == 0 || dialled == 0 || b->count == TRAILS_BATCH)
    return;
  b->origins[b->count] = origin;
  b->dialled[b->count++] = dialled;
  ask(t);
}

void trails_open(struct trails *t, struct tunnels *ts)
{
  *t = (struct trails){.tunnels = ts};
  uv_timer_init(ts->loop, &t->timer);
  t->timer.data = t;
}

static void on_timer_closed(uv_handle_t *timer)
{
  struct trails *t = timer->data;

  t->timer_closed = true;
  release(t);
}

void trails_close(struct trails *t, void (*closed)(struct tunnels *ts))
{
  t->closed = closed;
  if (t->question != NULL)
    t->tunnels->host->cancel(t->question);
  uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}
