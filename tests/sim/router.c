/* Each stream has a way up and a way down, in order, with a delay of its own. What passes is a packet, and each packet
 * an event; nothing of a stream that is cut arrives any more. A stream of the service is there when somebody needs it:
 * whether it was parked or asked for makes no difference here.
 */
#include "router_internal.h"

#include <stdlib.h>

#include "kernel.h"
#include "process.h"
#include "raw.h"
#include "router/splice/splice.h"

enum {
  PIECE = 96,         /* of what the router copies without a pipe */
  DIAL_US = 10000000, /* how long who dials or attaches waits for the service */
  LATELY_US = 15000000,
  LIVE_ROOM_MIN = 64,
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

void router_tell_end(struct stream *s, enum stream_end end)
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
    router_tell_end(s, p->end);
  else if (!s->closed)
    s->events->message(s, p->message);
}

void router_notice_loss(struct world *w, void *subject, uint64_t arg)
{
  (void)arg, (void)w;
  struct stream *s = subject;
  if (s->raw != NULL)
    raw_abandon(s);
  router_tell_end(s, STREAM_LOST);
}

/* ---- At the router ---- */

/* One that is one of a pair takes the other with it. */
static void finish_raw(struct stream *s, enum stream_end end)
{
  s->finished = true;
  s->waiting = false;
  if (s->partner != NULL)
    raw_end(s);
  else
    raw_refuse(s, end);
}

void router_raw_over(struct stream *s)
{
  s->finished = true;
  s->waiting = false;
}

void router_finish(struct stream *s, enum stream_end end)
{
  if (s->finished)
    return;
  if (s->raw != NULL) {
    finish_raw(s, end);
    return;
  }
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
  if (s->raw != NULL) {
    raw_router_notices(s);
    return;
  }
  s->finished = true;
  s->waiting = false;
  if (s->partner == NULL)
    return;
  if (chance(s->w, 200)) /* with the stream goes what was on its way */
    stream_cut(s->partner, roll(s->w, 10 * MS), 0);
  router_finish(s->partner, STREAM_LOST);
}

void router_notices(struct world *w, void *subject, uint64_t arg)
{
  (void)arg, (void)w;
  struct stream *s = subject;
  if (s->instance->alive)
    router_loses(s);
  else if (s->raw != NULL)
    raw_vanish(s);
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
  router_finish(s, STREAM_OK);
  router_finish(to, STREAM_OK);
}

/* Forgets those that do not matter any more. */
void router_sweep(struct router *r)
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
    router_sweep(r);
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
static struct stream *to_service(struct world *w, struct instance *i, const struct label *label, bool raw)
{
  struct message first = {.has_label = true, .label = *label};
  struct stream *s = new_stream(w, w->service, i);
  s->began = true;
  s->cut = w->service->link.instance != i || w->service->link.registration != i->registration;
  if (raw)
    raw_parked(s);
  if (raw && s->cut)
    raw_cut(s);
  process_parked(s);
  TRACE(w, "R: connection %llx epoch %llu of %u goes to stream %llu%s", (unsigned long long)label->connection,
        (unsigned long long)label->epoch, label->member, (unsigned long long)s->number, s->cut ? ", a dead one" : "");
  if (!raw)
    carry_down(s, pack(s, PACKET_MESSAGE, copied(w, &first)));
  return s;
}

static struct splices *splices_of(struct world *w, struct instance *i)
{
  const struct splice_limits limits = {.piece = PIECE, .pipe_bytes = w->plan.pipe_bytes, .pipes_idle = 2};
  if (i->splices == NULL && splices_open(&i->splices, kernel_poller(w), &limits) != 0)
    broken(w, "no splices");
  return i->splices;
}

void router_pair(struct stream *f)
{
  struct world *w = f->w;
  struct instance *i = f->instance;
  f->waiting = false;
  bool original = w->plan.original != ORIGINAL_NOBODY;
  if (!original && chance(w, w->quiet ? 0 : w->plan.twice))
    router_forge(w, &f->label, roll(w, 20 * SECOND));
  struct stream *s = to_service(w, i, &f->label, f->raw != NULL);
  f->partner = s;
  s->partner = f;
  if (w->plan.original == ORIGINAL_SERVICE)
    carry_down(f, pack(f, PACKET_MESSAGE, copied(w, &(struct message){.original = true})));
  if (s->cut)
    world_after(w, roll(w, 5 * SECOND), router_notices, s, 0);
  if (f->raw != NULL)
    raw_pair(f, s, splices_of(w, i), &f->label);
  for (struct packet *p = f->early; p != NULL; p = p->next)
    pass(f, p);
}

/* Whom it asks for. */
bool router_is_there(const struct instance *i, const struct label *label)
{
  return i->registration != 0 && (!label->attach || label->to == i->member);
}

static void pair_late(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct stream *f = subject;
  if (!f->instance->alive || f->finished || !f->waiting)
    return;
  if (router_is_there(f->instance, &f->label))
    router_pair(f);
}

static void give_up(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct stream *f = subject;
  if (f->waiting && !f->finished && f->instance->alive)
    router_finish(f, STREAM_FAILED);
}

/* Somebody dials, or attaches. */
void router_arrived(struct stream *f, const struct label *label)
{
  struct world *w = f->w;
  struct instance *i = f->instance;
  f->began = true;
  f->label = *label;
  bool lately = f->label.attach || w->now - i->since < DIAL_US || (i->was_there && w->now - i->left_at < LATELY_US);
  if (f->label.member != process_member(f->client)) { /* whose key it does not know */
    router_finish(f, STREAM_FAILED);
    return;
  }
  if (f->raw != NULL && !i->draining && chance(w, w->plan.unimplemented)) {
    f->client->link.grpc_until = w->now + 30 * SECOND;
    router_finish(f, STREAM_LOST);
  } else if (i->draining) {
    router_finish(f, STREAM_LOST);
  } else if (router_is_there(i, &f->label)) {
    f->waiting = true;
    if (chance(w, w->quiet ? 0 : w->plan.slow))
      world_after(w, roll(w, 20 * SECOND), pair_late, f, 0);
    else
      router_pair(f);
  } else if (lately) {
    f->waiting = true;
    world_after(w, DIAL_US, give_up, f, 0);
  } else {
    router_finish(f, STREAM_FAILED);
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
    router_arrived(s, &p->message->label);
  } else if (s->partner != NULL) {
    pass(s, p);
  } else {
    *s->early_end = p;
    s->early_end = &p->next;
  }
}

/* ---- For clients ---- */

struct stream *stream_open(struct process *p, const struct message *first, bool raw, const struct stream_events *events,
                           void *owner)
{
  struct world *w = p->w;
  struct stream *s = new_stream(w, p, p->link.instance);
  s->events = events;
  s->owner = owner;
  if (s->instance == NULL || !s->instance->alive) {
    s->cut = true;
    world_after(w, 1 + roll(w, SECOND), router_notice_loss, s, 0);
  }
  if (raw)
    raw_dial(s, &first->label);
  else
    carry_up(s, pack(s, PACKET_MESSAGE, copied(w, first)));
  bool dead = s->cut;
  if (!dead && first->label.established && !w->quiet && chance(w, w->plan.mute)) {
    s->cut = true;
    world_after(w, DIAL_US, router_notices, s, 0);
  }
  if (raw && s->cut)
    raw_cut(s);
  if (raw && dead)
    raw_vanish(s);
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
  if (s->raw != NULL) {
    s->over = m->half_close;
    raw_send(s, m);
    return;
  }
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
  if (s->raw != NULL)
    raw_abandon(s);
  if (s->raw != NULL || s->instance == NULL)
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
  world_after(s->w, 0, router_notice_loss, s, 0);
}

void stream_close(struct stream *s)
{
  if (s->closed)
    broken(s->w, "a stream is closed twice");
  if (!s->ended)
    cancelled(s);
  s->closed = true;
}

struct stream *router_to_service(struct world *w, struct instance *i, const struct label *label)
{
  return to_service(w, i, label, false);
}
