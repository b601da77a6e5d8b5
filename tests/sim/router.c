/* Each stream has a way up and a way down, in order, with a delay of its own. What passes is a packet, and each packet
 * an event; nothing of a stream that is cut arrives any more. A stream of the service is there when somebody needs it:
 * whether it was parked or asked for makes no difference here.
 */
#include "router.h"

#include <stdlib.h>

#include "process.h"

enum {
  DIAL_US = 10000000, /* how long who dials or attaches waits for the service */
  LATELY_US = 15000000,
  LIVE_ROOM_MIN = 64,
  INSTANCES_MAX = 256,
};

struct instance {
  bool alive, draining;
  uint64_t since;
  uint64_t registration; /* of the service; 0: it is not there */
  uint32_t member;       /* whose that is */
  uint64_t left_at;
  bool was_there;
};

struct router {
  struct instance *newest;
  struct instance *all[INSTANCES_MAX];
  size_t instances;
  uint64_t streams;
  struct stream **live; /* those that may still matter, and some that do not */
  size_t count, room;
};

enum packet_kind { PACKET_MESSAGE, PACKET_CANCEL, PACKET_END };

struct packet {
  struct stream *stream;
  struct packet *next;
  const struct message *message;
  enum packet_kind kind;
  enum stream_end end;
};

/* ---- The way ---- */

static uint64_t arrival(struct stream *s, uint64_t *last)
{
  uint64_t at = s->w->now + 1 + roll(s->w, s->w->quiet && s->delay > 20 * MS ? 20 * MS : s->delay);
  *last = at > *last ? at : *last + 1;
  return *last;
}

static void deliver_up(struct world *w, void *subject, uint64_t arg);
static void deliver_down(struct world *w, void *subject, uint64_t arg);

static struct packet *pack(struct stream *s, enum packet_kind kind, const struct message *m)
{
  struct packet *p = world_alloc(s->w, sizeof *p);
  p->stream = s;
  p->kind = kind;
  p->message = m;
  return p;
}

static void carry_up(struct stream *s, struct packet *p)
{
  if (!s->cut)
    world_at(s->w, arrival(s, &s->last_up), deliver_up, p, 0);
}

static void carry_down(struct stream *s, struct packet *p)
{
  if (!s->cut)
    world_at(s->w, arrival(s, &s->last_down), deliver_down, p, 0);
}

static const struct message *copied(struct world *w, const struct message *m)
{
  struct message *copy = world_alloc(w, sizeof *copy);
  *copy = *m;
  return copy;
}

/* ---- At the client ---- */

static void tell_end(struct stream *s, enum stream_end end)
{
  if (s->ended)
    return;
  s->ended = s->over = true;
  TRACE(s->w, "%s: stream %llu ends: %s", process_name(s->client), (unsigned long long)s->number,
        end == STREAM_OK     ? "OK"
        : end == STREAM_LOST ? "lost"
                             : "failed");
  if (!s->closed)
    s->events->ended(s, end);
}

static void deliver_down(struct world *w, void *subject, uint64_t arg)
{
  (void)arg, (void)w;
  struct packet *p = subject;
  struct stream *s = p->stream;
  if (s->cut || s->ended)
    return;
  if (p->kind == PACKET_END)
    tell_end(s, p->end);
  else if (!s->closed)
    s->events->message(s, p->message);
}

static void notice_loss(struct world *w, void *subject, uint64_t arg)
{
  (void)arg, (void)w;
  tell_end(subject, STREAM_LOST);
}

/* ---- At the router ---- */

static void finish(struct stream *s, enum stream_end end)
{
  if (s->finished)
    return;
  struct packet *p = pack(s, PACKET_END, NULL);
  s->finished = true;
  s->waiting = false;
  p->end = end;
  carry_down(s, p);
}

/* Its client is gone, or the way to it. */
static void router_loses(struct stream *s)
{
  if (s->finished)
    return;
  s->finished = true;
  s->waiting = false;
  if (s->partner == NULL)
    return;
  if (chance(s->w, 200)) /* with the stream goes what was on its way */
    stream_cut(s->partner, roll(s->w, 10 * MS), 0);
  finish(s->partner, STREAM_LOST);
}

static void router_notices(struct world *w, void *subject, uint64_t arg)
{
  (void)arg, (void)w;
  struct stream *s = subject;
  if (s->instance->alive)
    router_loses(s);
}

static const struct message *garbled(struct stream *s, const struct message *m)
{
  struct message *bad;
  if (!m->has_label || s->w->quiet || !chance(s->w, s->w->plan.garbled))
    return m;
  bad = world_alloc(s->w, sizeof *bad);
  *bad = *m;
  if (chance(s->w, 500))
    bad->label.epoch++;
  else
    bad->label.received += UINT64_C(1) << 40;
  return bad;
}

static void pass(struct stream *s, struct packet *p)
{
  struct stream *to = s->partner;
  if (to->finished)
    return;
  carry_down(to, pack(to, PACKET_MESSAGE, garbled(s, p->message)));
  s->half_closed |= p->message->half_close;
  bool both = s->half_closed && to->half_closed;
  /* In the first version one end ends both. */
  if (!both && !(s->half_closed && s->w->plan.original != ORIGINAL_NOBODY))
    return;
  finish(s, STREAM_OK);
  finish(to, STREAM_OK);
}

/* Forgets those that do not matter any more. */
static void sweep(struct router *r)
{
  size_t kept = 0;
  for (size_t k = 0; k < r->count; k++) {
    struct stream *s = r->live[k];
    if (!s->cut && !(s->finished && (s->ended || s->closed)))
      r->live[kept++] = s;
  }
  r->count = kept;
}

static struct stream *new_stream(struct world *w, struct process *client, struct instance *i)
{
  struct router *r = w->router;
  struct stream *s = world_alloc(w, sizeof *s);
  s->w = w;
  s->number = ++r->streams;
  s->client = client;
  s->instance = i;
  s->early_end = &s->early;
  s->delay = chance(w, w->quiet ? 0 : w->plan.slow) ? roll(w, 8 * SECOND) : 1 + roll(w, w->plan.delay_us);
  if (r->count == r->room)
    sweep(r);
  if (2 * r->count >= r->room) {
    size_t room = r->room > 0 ? 2 * r->room : LIVE_ROOM_MIN;
    struct stream **live = world_alloc(w, room * sizeof(struct stream *));
    for (size_t k = 0; k < r->count; k++)
      live[k] = r->live[k];
    r->live = live;
    r->room = room;
  }
  r->live[r->count++] = s;
  return s;
}

/* A stream of the service, on which this label arrives. If the router has not noticed yet that the service is gone, it
 * leads nowhere. */
static struct stream *to_service(struct world *w, struct instance *i, const struct label *label)
{
  struct message first = {.has_label = true, .label = *label};
  struct stream *s = new_stream(w, w->service, i);
  s->began = true;
  s->cut = w->service->link.instance != i || w->service->link.registration != i->registration;
  process_parked(s);
  TRACE(w, "R: connection %llx epoch %llu of %u goes to stream %llu%s", (unsigned long long)label->connection,
        (unsigned long long)label->epoch, label->member, (unsigned long long)s->number, s->cut ? ", a dead one" : "");
  carry_down(s, pack(s, PACKET_MESSAGE, copied(w, &first)));
  return s;
}

static void pair(struct stream *f)
{
  struct world *w = f->w;
  struct instance *i = f->instance;
  f->waiting = false;
  bool original = w->plan.original != ORIGINAL_NOBODY;
  if (!original && chance(w, w->quiet ? 0 : w->plan.twice))
    router_forge(w, &f->label, roll(w, 20 * SECOND));
  struct stream *s = to_service(w, i, &f->label);
  f->partner = s;
  s->partner = f;
  if (w->plan.original == ORIGINAL_SERVICE)
    carry_down(f, pack(f, PACKET_MESSAGE, copied(w, &(struct message){.original = true})));
  if (s->cut)
    world_after(w, roll(w, 5 * SECOND), router_notices, s, 0);
  for (struct packet *p = f->early; p != NULL; p = p->next)
    pass(f, p);
}

/* Whom it asks for. */
static bool is_there(const struct instance *i, const struct label *label)
{
  return i->registration != 0 && (!label->attach || label->to == i->member);
}

static void pair_late(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct stream *f = subject;
  if (!f->instance->alive || f->finished || !f->waiting)
    return;
  if (is_there(f->instance, &f->label))
    pair(f);
}

static void give_up(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct stream *f = subject;
  if (f->waiting && !f->finished && f->instance->alive)
    finish(f, STREAM_FAILED);
}

/* Somebody dials, or attaches. */
static void arrived(struct stream *f, const struct message *m)
{
  struct world *w = f->w;
  struct instance *i = f->instance;
  f->label = m->label;
  bool lately = f->label.attach || w->now - i->since < DIAL_US || (i->was_there && w->now - i->left_at < LATELY_US);
  if (f->label.member != process_member(f->client)) { /* whose key it does not know */
    finish(f, STREAM_FAILED);
    return;
  }
  if (i->draining) {
    finish(f, STREAM_LOST);
  } else if (is_there(i, &f->label)) {
    f->waiting = true;
    if (chance(w, w->quiet ? 0 : w->plan.slow))
      world_after(w, roll(w, 20 * SECOND), pair_late, f, 0);
    else
      pair(f);
  } else if (lately) {
    f->waiting = true;
    world_after(w, DIAL_US, give_up, f, 0);
  } else {
    finish(f, STREAM_FAILED);
  }
}

static void deliver_up(struct world *w, void *subject, uint64_t arg)
{
  (void)arg, (void)w;
  struct packet *p = subject;
  struct stream *s = p->stream;
  if (s->cut || !s->instance->alive || s->finished)
    return;
  if (p->kind == PACKET_CANCEL) {
    router_loses(s);
  } else if (!s->began) {
    s->began = true;
    arrived(s, p->message);
  } else if (s->partner != NULL) {
    pass(s, p);
  } else {
    *s->early_end = p;
    s->early_end = &p->next;
  }
}

/* ---- For clients ---- */

struct stream *stream_open(struct process *p, const struct message *first, const struct stream_events *events,
                           void *owner)
{
  struct world *w = p->w;
  struct stream *s = new_stream(w, p, p->link.instance);
  s->events = events;
  s->owner = owner;
  if (s->instance == NULL || !s->instance->alive) {
    s->cut = true;
    world_after(w, 1 + roll(w, SECOND), notice_loss, s, 0);
  }
  carry_up(s, pack(s, PACKET_MESSAGE, copied(w, first)));
  if (first->label.established && !w->quiet && chance(w, w->plan.mute))
    s->cut = true;
  return s;
}

static void send_done(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct stream *s = subject;
  s->busy = false;
  if (!s->closed && !s->over)
    s->events->ready(s);
}

bool stream_can_send(const struct stream *s)
{
  return !s->closed && !s->over && !s->busy;
}

void stream_send(struct stream *s, const struct message *m)
{
  if (!stream_can_send(s))
    broken(s->w, "something is said on a stream that takes nothing");
  carry_up(s, pack(s, PACKET_MESSAGE, copied(s->w, m)));
  if (m->half_close) {
    s->over = true;
  } else if (chance(s->w, s->w->plan.busy)) {
    s->busy = true;
    world_after(s->w, 1 + roll(s->w, 20 * MS), send_done, s, 0);
  }
}

static void cancelled(struct stream *s)
{
  s->over = true;
  if (s->instance == NULL)
    return;
  if (chance(s->w, 500)) /* it overtakes what is on its way */
    s->last_up = 0;
  carry_up(s, pack(s, PACKET_CANCEL, NULL));
}

void stream_cancel(struct stream *s)
{
  if (s->ended)
    return;
  cancelled(s);
  world_after(s->w, 0, notice_loss, s, 0);
}

void stream_close(struct stream *s)
{
  if (s->closed)
    broken(s->w, "a stream is closed twice");
  if (!s->ended)
    cancelled(s);
  s->closed = true;
}

/* ---- For links ---- */

struct instance *router_newest(struct world *w)
{
  struct instance *i = w->router->newest;
  return i != NULL && i->alive && !i->draining ? i : NULL;
}

void instance_register(struct world *w, struct instance *i, uint64_t registration)
{
  struct router *r = w->router;
  i->registration = registration;
  i->member = process_member(w->service);
  for (size_t k = 0; k < r->count;) {
    struct stream *f = r->live[k];
    if (f->instance == i && f->waiting && is_there(i, &f->label)) {
      pair(f);
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
  world_after(w, client_us, notice_loss, s, 0);
  world_after(w, router_us, router_notices, s, 0);
}

struct stream *router_pick(struct world *w)
{
  sweep(w->router);
  return w->router->count > 0 ? w->router->live[roll(w, w->router->count)] : NULL;
}

void router_cut_process(struct world *w, struct process *p, uint64_t client_us, uint64_t router_us)
{
  struct router *r = w->router;
  sweep(r);
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
  sweep(r);
  for (size_t k = 0; k < r->count; k++) {
    struct stream *s = r->live[k];
    if (s->instance != i || s->cut)
      continue;
    s->cut = true;
    world_after(w, chance(w, 200) ? roll(w, 15 * SECOND) : roll(w, 20 * MS), notice_loss, s, 0);
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
      finish(w->router->live[k], STREAM_LOST);
  new_instance(w);
  processes_drain(w, i);
  world_after(w, drain_us, stop, i, 1);
}

void router_end_streams(struct world *w)
{
  struct router *r = w->router;
  sweep(r);
  for (size_t k = 0; k < r->count; k++) {
    struct stream *s = r->live[k];
    if (s->began && !s->finished && s->partner != NULL) {
      finish(s->partner, STREAM_LOST);
      finish(s, STREAM_LOST);
    }
  }
}

struct stream *router_forge(struct world *w, const struct label *label, uint64_t lost_us)
{
  struct instance *i = w->service->link.instance;
  if (i == NULL || !i->alive || i->registration != w->service->link.registration)
    return NULL;
  struct stream *s = to_service(w, i, label);
  s->finished = true;
  if (chance(w, 500))
    s->last_down = w->now + roll(w, 10 * SECOND); /* what follows is late, what comes first is not */
  world_after(w, lost_us, notice_loss, s, 0);
  return s;
}

void router_start(struct world *w)
{
  w->router = world_alloc(w, sizeof *w->router);
  new_instance(w);
}
