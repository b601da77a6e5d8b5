/* Routers come, drain and go, and so do the streams that they have. */
#include "router_internal.h"

#include "process.h"
#include "raw.h"
#include "router/splice/splice.h"

/* ---- For links ---- */

struct instance *router_newest(struct world *w)
{
  struct instance *i = w->router->newest;
  return i != NULL && i->alive && !i->draining ? i : NULL;
}

bool instance_is_alive(const struct instance *i)
{
  return i->alive;
}

void instance_register(struct world *w, struct instance *i, uint64_t registration)
{
  struct router *r = w->router;
  i->registration = registration;
  i->member = process_member(w->service);
  for (size_t k = 0; k < r->count;) {
    struct stream *f = r->live[k];
    if (f->instance == i && f->waiting && router_is_there(i, &f->label)) {
      router_pair(f);
      k = 0; /* there are others now, and some may be gone */
    } else {
      k++;
    }
  }
}

void instance_unregister(struct world *w, struct instance *i, uint64_t registration)
{
  if (i->registration != registration)
    return;
  i->registration = 0;
  i->was_there = true;
  i->left_at = w->now;
}

/* ---- Faults ---- */

void stream_cut(struct stream *s, uint64_t client_us, uint64_t router_us)
{
  struct world *w = s->w;
  if (s->cut)
    return;
  TRACE(w, "stream %llu of %s is cut", (unsigned long long)s->number, process_name(s->client));
  s->cut = true;
  if (s->raw != NULL)
    raw_cut(s);
  world_after(w, client_us, router_notice_loss, s, 0);
  world_after(w, router_us, router_notices, s, 0);
}

struct stream *router_pick(struct world *w)
{
  router_sweep(w->router);
  return w->router->count > 0 ? w->router->live[roll(w, w->router->count)] : NULL;
}

void router_cut_process(struct world *w, struct process *p, uint64_t client_us, uint64_t router_us)
{
  struct router *r = w->router;
  router_sweep(r);
  for (size_t k = 0; k < r->count; k++) {
    if (r->live[k]->client != p || r->live[k]->cut)
      continue;
    uint64_t client_here = roll(w, client_us), router_here = roll(w, router_us);
    stream_cut(r->live[k], client_here, router_here);
  }
}

static struct instance *new_instance(struct world *w)
{
  struct router *r = w->router;
  struct instance *i = world_alloc(w, sizeof *i);
  i->alive = true;
  i->since = w->now;
  r->newest = i;
  if (r->instances == INSTANCES_MAX)
    broken(w, "too many routers");
  r->all[r->instances++] = i;
  TRACE(w, "R: router %zu is there", r->instances);
  return i;
}

static void come_up(struct world *w, void *subject, uint64_t arg)
{
  (void)subject, (void)arg;
  if (router_newest(w) == NULL)
    new_instance(w);
}

static void stop(struct world *w, void *subject, uint64_t arg)
{
  struct router *r = w->router;
  struct instance *i = subject;
  if (!i->alive)
    return;
  TRACE(w, "R: a router %s", arg > 0 ? "is done with draining" : "is killed");
  i->alive = false;
  router_sweep(r);
  if (i->splices != NULL)
    splices_close(i->splices);
  i->splices = NULL;
  for (size_t k = 0; k < r->count; k++) {
    struct stream *s = r->live[k];
    if (s->instance != i)
      continue;
    if (s->raw != NULL)
      raw_vanish(s);
    if (s->cut)
      continue;
    s->cut = true;
    if (s->raw != NULL)
      raw_cut(s);
    world_after(w, chance(w, 200) ? roll(w, 15 * SECOND) : roll(w, 20 * MS), router_notice_loss, s, 0);
  }
  processes_lose(w, i);
}

void router_kill(struct world *w, uint64_t down_us)
{
  struct router *r = w->router;
  for (size_t k = 0; k < r->instances; k++)
    stop(w, r->all[k], 0);
  world_after(w, down_us, come_up, NULL, 0);
}

void router_drain(struct world *w, uint64_t drain_us)
{
  struct instance *i = router_newest(w);
  if (i == NULL)
    return;
  TRACE(w, "R: the router drains");
  i->draining = true;
  for (size_t k = 0; k < w->router->count; k++)
    if (w->router->live[k]->instance == i && w->router->live[k]->waiting)
      router_finish(w->router->live[k], STREAM_LOST);
  new_instance(w);
  processes_drain(w, i);
  world_after(w, drain_us, stop, i, 1);
}

void router_end_streams(struct world *w)
{
  struct router *r = w->router;
  router_sweep(r);
  for (size_t k = 0; k < r->count; k++) {
    struct stream *s = r->live[k];
    if (s->began && !s->finished && s->partner != NULL) {
      router_finish(s->partner, STREAM_LOST);
      router_finish(s, STREAM_LOST);
    }
  }
}

struct stream *router_forge(struct world *w, const struct label *label, uint64_t lost_us)
{
  struct instance *i = w->service->link.instance;
  if (i == NULL || !i->alive || i->registration != w->service->link.registration)
    return NULL;
  struct stream *s = router_to_service(w, i, label);
  s->finished = true;
  if (chance(w, 500))
    s->last_down = w->now + roll(w, 10 * SECOND); /* what follows is late, what comes first is not */
  world_after(w, lost_us, router_notice_loss, s, 0);
  return s;
}

void router_start(struct world *w)
{
  w->router = world_alloc(w, sizeof *w->router);
  new_instance(w);
}

void router_end(struct world *w)
{
  struct router *r = w->router;
  for (size_t k = 0; k < r->instances; k++)
    if (r->all[k]->splices != NULL)
      splices_close(r->all[k]->splices);
  if (w->descriptors_open != 0)
    broken(w, "the router leaves %zu descriptors open", w->descriptors_open);
}
