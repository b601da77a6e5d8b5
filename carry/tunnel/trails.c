/* What comes within a moment goes in one call, a shorter one if a target waits for the answer. What does not fit is
 * left out: a loop goes on, and comes again.
 *
 * An origin for which nothing was dialled yet is asked for with a zero, which the router does not remember.
 */
#include "trails.h"

#include <stdlib.h>
#include <utlist.h>

#include "carry/net/address.h"
#include "carry_host.h"
#include "tunnels_internal.h"

enum {
  DELAY_MS = 100,
  HELD_DELAY_MS = 10,
  FROM = 8 /* a loop has many at once: what few do costs the router nothing */
};

struct trails_held {
  struct tunnel *tunnel;
  struct address target;
  bool asked;
  struct trails_held *prev, *next;
};

static void release(struct trails *t)
{
  if (t->timer_closed && t->question == NULL)
    t->closed(t->tunnels);
}

/* ---- Those that wait ---- */

static struct tunnel *held_by(const struct trails *t, uint64_t origin)
{
  struct trails_held *h;

  DL_FOREACH(t->held, h)
  {
    if (h->asked && h->tunnel->origin == origin)
      return h->tunnel;
  }
  return NULL;
}

static void let_go(struct trails *t)
{
  struct trails_held *h;

  while ((h = t->held) != NULL && (h->asked || caution_may_dial(&t->caution, uv_now(t->tunnels->loop)))) {
    struct tunnel *tunnel = h->tunnel;
    DL_DELETE(t->held, h);
    tunnel->held = NULL;
    tunnel_dial_now(tunnel, &h->target);
    free(h);
  }
}

static void give_up(struct trails *t)
{
  caution_unanswered(&t->caution);
  let_go(t);
}

/* ---- Questions and answers ---- */

/* The most hops of any. */
static unsigned judge(struct trails *t, const uint32_t *hops, size_t count)
{
  unsigned most = 0;

  for (size_t i = 0; i < count && i < t->asked.count; i++) {
    struct hops *h = hops_find(t->tunnels->dialled, t->asked.dialled[i]);
    struct tunnel *waits = t->asked.dialled[i] == 0 ? held_by(t, t->asked.origins[i]) : NULL;

    if (waits != NULL)
      h = &waits->hops;
    if (hops[i] > most)
      most = hops[i];
    if (h == NULL || h->count >= hops[i])
      continue;
    h->count = hops[i];
    if (h->count > HOPS_MAX && waits == NULL)
      tunnel_end_loop((struct tunnel *)((char *)h - offsetof(struct tunnel, hops)));
  }
  return most;
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
  if (count > 0) {
    caution_answered(&t->caution, judge(t, hops, count), t->next.count, uv_now(t->tunnels->loop));
    let_go(t);
  } else {
    give_up(t);
  }
  ask(t);
}

static void batch_add(struct trails_batch *b, uint64_t origin, uint64_t dialled)
{
  if (b->count == TRAILS_BATCH)
    return;
  b->origins[b->count] = origin;
  b->dialled[b->count++] = dialled;
}

static void ask_for_held(struct trails *t)
{
  for (struct trails_held *h = t->held; h != NULL && t->asked.count < TRAILS_BATCH; h = h->next) {
    batch_add(&t->asked, h->tunnel->origin, 0);
    h->asked = true;
  }
}

static void on_due(uv_timer_t *timer)
{
  struct trails *t = timer->data;
  const struct carry_host *host = t->tunnels->host;
  struct carry_way way = host->way(host);

  t->due = false;
  t->asked = t->next;
  t->next.count = 0;
  if (!way.up || way.original) {
    give_up(t);
    return;
  }
  ask_for_held(t);
  if (host->trace(host, &t->question, t->asked.origins, t->asked.dialled, t->asked.count, answered, t) != 0) {
    t->question = NULL;
    give_up(t);
  }
}

static void ask(struct trails *t)
{
  bool hurries = t->held != NULL;

  if (t->question != NULL || (t->next.count == 0 && !hurries) || (t->due && (t->hurries || !hurries)))
    return;
  t->due = true;
  t->hurries = hurries;
  uv_timer_start(&t->timer, on_due, hurries ? HELD_DELAY_MS : DELAY_MS, 0);
}

void trails_add(struct trails *t, const struct tunnel *tunnel)
{
  if (t->tunnels->served < FROM || tunnel->origin == 0 || tunnel->hops.socket == 0)
    return;
  caution_dialled(&t->caution);
  batch_add(&t->next, tunnel->origin, tunnel->hops.socket);
  ask(t);
}

bool trails_hold(struct trails *t, struct tunnel *tunnel, const struct address *target)
{
  struct trails_held *h;

  if (t->tunnels->served < FROM || tunnel->origin == 0 || caution_may_dial(&t->caution, uv_now(t->tunnels->loop)))
    return false;
  h = malloc(sizeof *h);
  if (h == NULL)
    return false;
  *h = (struct trails_held){.tunnel = tunnel, .target = *target};
  tunnel->held = h;
  DL_APPEND(t->held, h);
  ask(t);
  return true;
}

void trails_forget(struct trails *t, struct tunnel *tunnel)
{
  if (tunnel->held == NULL)
    return;
  DL_DELETE(t->held, tunnel->held);
  free(tunnel->held);
  tunnel->held = NULL;
}

/* ---- Its beginning and its end ---- */

void trails_open(struct trails *t, struct tunnels *ts)
{
  *t = (struct trails){.tunnels = ts};
  caution_start(&t->caution);
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
