#include "judge.h"

#include "carry/tunnel/farewells.h"
#include "carry/tunnel/tombs.h"
#include "carry/tunnel/tunnels_internal.h"

/* After the last fault each side finds the other one within this time, if that is still there: a router is back within
 * 21 s, one that drains is gone after 25 s, who is connected with a dead one notices after 15 s, a stream is given up
 * after 15 s, and opened after 1 s. */
#define FOUND_US (100 * SECOND)

enum { USES_MAX = 12, OPENS_MAX = 8, LASTING_MS = 1000, DIALS_MS = 60000 };

void judge_excuse(struct side *s, const char *why)
{
  s->own_doing = true;
  if (s->pair == NULL || s->pair->excused)
    return;
  s->pair->excused = true;
  s->pair->excuse = why;
  TRACE(s->w, "%s: need not end well: %s", s->name, why);
}

void judge_reset(const struct side *s)
{
  if (s->pair != NULL && s->w->quiet && s->pair->reset_at == 0)
    s->pair->reset_at = s->w->now;
}

static bool is_over(const struct side *s)
{
  return s == NULL || s->gone;
}

void judge_crash(struct process *p)
{
  struct world *w = p->w;
  for (unsigned i = 0; i < w->plan.pairs; i++) {
    struct pair *pair = &w->pairs[i];
    bool begun = pair->forward->w != NULL, over = is_over(pair->forward) && is_over(pair->service);
    /* A dial that is late reaches the next process of S, which knows nothing of it. */
    if (!begun || (over && p->role == ROLE_FORWARD))
      continue;
    pair->crashed = true;
    judge_excuse(pair->forward, "a daemon crashed");
    pair->targets = 0;
  }
}

/* ---- Attempts ---- */

void judge_attempt(struct side *s)
{
  if (s == NULL || s->pair == NULL)
    return;
  s->pair->before = s->tunnel->machine;
  s->pair->current = side_current(s);
  s->attach_failed = false;
}

static bool is_same(const struct connection *a, const struct connection *b)
{
  return a->state == b->state && a->epoch == b->epoch && a->has_current == b->has_current &&
         a->has_next == b->has_next && a->reset == b->reset && a->reset_heard == b->reset_heard &&
         a->local_eof == b->local_eof && a->remote_eof == b->remote_eof && a->shaky_since == b->shaky_since &&
         a->current_at == b->current_at && connection_deadline(a) == connection_deadline(b);
}

void judge_attempted(struct side *s, const struct label *h)
{
  struct pair *p = s != NULL ? s->pair : NULL;
  if (p == NULL || s->gone)
    return;
  bool accepted = side_current(s) != p->current || s->attach_failed;
  if (!accepted && !is_same(&s->tunnel->machine, &p->before))
    broken(s->w, "%s: a refused stream changes something", s->name);
  if (accepted && h->epoch <= p->before.epoch)
    broken(s->w, "%s: accepted epoch %llu after %llu", s->name, (unsigned long long)h->epoch,
           (unsigned long long)p->before.epoch);
  if (accepted && h->member != p->forward->process->member)
    broken(s->w, "%s: accepted a stream of another member", s->name);
}

/* ---- Steps ---- */

static bool may_follow(enum connection_state from, enum connection_state to)
{
  static const bool may[][CONNECTION_GONE + 1] = {
      [CONNECTION_WAITING] = {[CONNECTION_ASKING] = true, [CONNECTION_OPENING] = true, [CONNECTION_GONE] = true},
      [CONNECTION_ASKING] = {[CONNECTION_OPENING] = true, [CONNECTION_GONE] = true},
      [CONNECTION_OPENING] = {[CONNECTION_OPEN] = true, [CONNECTION_CLOSING] = true, [CONNECTION_GONE] = true},
      [CONNECTION_OPEN] = {[CONNECTION_CLOSING] = true, [CONNECTION_GONE] = true},
      [CONNECTION_CLOSING] = {[CONNECTION_GONE] = true},
      [CONNECTION_GONE] = {0},
  };
  return from == to || may[from][to];
}

static const struct side *partner(const struct side *s)
{
  return s->machine.role == CONNECTION_FORWARD ? s->pair->service : s->pair->forward;
}

static bool lives(const struct side *s)
{
  return s != NULL && !s->gone;
}

/* S may not hold for longer who has never heard of it. */
static uint64_t dials(const struct side *s)
{
  uint64_t hold = s->machine.times->hold;
  return hold > DIALS_MS ? DIALS_MS : hold;
}

/* It was without a stream for too long: not if the other side was there to be found. */
static void held_too_long(struct side *s, const struct connection *before)
{
  struct world *w = s->w;
  bool service = s->machine.role == CONNECTION_SERVICE;
  uint64_t hold = service && !before->heard ? dials(s) : before->times->hold;
  if (before->has_current || world_ms(w) < s->good_at + hold)
    broken(w, "%s: given up too early", s->name);
  if (service && s->pair->forward->machine.other == CONNECTION_UNKNOWN &&
      world_ms(w) > s->good_at + dials(s) + LASTING_MS)
    broken(w, "%s: held for somebody who has never heard of it", s->name);
  if (w->quiet && w->now > w->quiet_at + FOUND_US && lives(partner(s)) && !s->pair->crashed)
    broken(w, "%s: given up, though the other side is there", s->name);
  if (partner(s) != NULL && !lives(partner(s))) /* what that one did needs a reason of its own */
    return;
  s->pair->held = true;
  judge_excuse(s, "the connection had no stream for too long");
}

static void nobody_answered(struct side *s)
{
  if (world_ms(s->w) < s->began_at + s->machine.times->dial)
    broken(s->w, "%s: did not wait for an answer", s->name);
  judge_excuse(s, "nobody answered in time");
}

/* A way that lasted counts until it is lost, over however many streams it went. */
void judge_streams(struct side *s)
{
  uint64_t now = world_ms(s->w);
  bool has = side_current(s) != NULL;
  if (has && !s->had_stream)
    s->stream_since = now;
  if (!has && s->had_stream && (!s->lost_stream || now >= s->stream_since + LASTING_MS))
    s->good_at = now;
  s->lost_stream |= !has && s->had_stream;
  s->had_stream = has;
}

void judge_step(struct side *s, const struct connection *before, enum connection_event event)
{
  struct world *w = s->w;
  const struct connection *c = &s->machine;
  s->reasons += event == CONNECTION_RENEW || event == CONNECTION_ROUTER_UP;
  if (!may_follow(before->state, c->state))
    broken(w, "%s: from state %d to state %d", s->name, before->state, c->state);
  if (s->pair == NULL)
    return;
  bool ended = c->state == CONNECTION_GONE || c->state == CONNECTION_CLOSING;
  bool alive = before->state != CONNECTION_GONE && before->state != CONNECTION_CLOSING;
  bool late = s->pair->reset_at != 0 && w->now > s->pair->reset_at + FOUND_US;
  if (alive && ended && late && !s->pair->crashed)
    broken(w, "%s: hears late of a reset", s->name);
  if (event == CONNECTION_TIME && world_ms(w) >= before->hold_until && c->state == CONNECTION_GONE)
    held_too_long(s, before);
  else if (event == CONNECTION_TIME && alive && ended && world_ms(w) >= before->dial_until)
    nobody_answered(s);
  else if (event == CONNECTION_MISANSWERED && alive)
    judge_excuse(s, "the answer was wrong");
  else if (event == CONNECTION_STREAM_FAILED && !before->established)
    judge_excuse(s, "the router knew nobody");
  /* S lets go of the former stream as soon as it has the next one, whose answer may come a little later. */
  bool bare = before->has_current && !before->has_next && !c->has_current;
  if (w->plan.gentle && c->state == CONNECTION_OPEN && c->role == CONNECTION_FORWARD && before->established && bare)
    broken(w, "%s: without a stream, though all cuts were planned", s->name);
}

/* With a back-off from 50 ms on, and one at once. What makes a new one of use is a reason of its own. */
void judge_open(struct side *s)
{
  if (s->w->now > s->hurry_since + SECOND) {
    s->hurry_since = s->w->now;
    s->hurry = s->reasons = 0;
  }
  if (++s->hurry > OPENS_MAX + s->reasons)
    broken(s->w, "%s: opens %u streams in a second", s->name, s->hurry);
}

void judge_use(struct side *s)
{
  struct world *w = s->w;
  if (!w->quiet || s->pair == NULL || s->machine.role == CONNECTION_SERVICE)
    return;
  if (++s->pair->uses > USES_MAX)
    broken(w, "%s: goes on again and again, and does not come to an end", s->name);
}

/* ---- The end ---- */

static bool well(const struct side *s)
{
  return s != NULL && s->application.over && !s->application.saw_reset;
}

static bool had_all_of(const struct application *a, const struct application *other)
{
  return other->ends && a->taken == other->will_send;
}

/* A dial that was late may have begun a connection of its own at S, which is not F's. */
static bool had_all_of_some(const struct application *a, const struct side *service)
{
  while (service != NULL && !had_all_of(a, &service->application))
    service = service->former;
  return service != NULL;
}

/* One end ends both: what comes after one's own end may be lost, but a loss is no end. */
static void check_original(const struct side *s, const struct application *other)
{
  const struct application *a = &s->application;
  bool forward = s == s->pair->forward;
  if (a->ends || s->pair->crashed)
    return;
  if (forward ? !had_all_of_some(a, s->pair->service) : !had_all_of(a, other))
    broken(s->w, "%s: saw the end after %llu of %llu bytes, and did not end itself", s->name,
           (unsigned long long)a->taken, (unsigned long long)other->will_send);
}

static void check_side(const struct side *s, const struct application *other)
{
  const struct application *a = &s->application;
  if (!s->gone)
    broken(s->w, "%s: is still there", s->name);
  if (s->gave_socket && !a->over)
    broken(s->w, "%s: its socket is open for ever", s->name);
  if (!a->saw_end)
    return;
  if (s->w->plan.original != ORIGINAL_NOBODY) {
    check_original(s, other);
    return;
  }
  if ((!other->ends && !s->pair->crashed) || a->taken != other->will_send)
    broken(s->w, "%s: saw the end after %llu of %llu bytes", s->name, (unsigned long long)a->taken,
           (unsigned long long)other->will_send);
}

static void check_pair(const struct pair *p)
{
  struct side *f = p->forward, *s = p->service;
  check_side(f, s != NULL ? &s->application : &p->target);
  if (s != NULL)
    check_side(s, &f->application);
  if (p->crashed || p->w->plan.original != ORIGINAL_NOBODY)
    return;
  if (!p->excused && !(well(f) && well(s)))
    broken(p->w, "connection %u did not end well, and nobody is to blame", p->index);
  bool ended = f->ended || (s != NULL && s->ended);
  if (well(f) && !well(s) && !p->held && !ended && !(s != NULL && s->own_doing))
    broken(p->w, "connection %u ended well at F only (%s)", p->index, p->excuse);
  if (well(s) && !well(f) && !p->held && !ended && !f->own_doing)
    broken(p->w, "connection %u ended well at S only (%s)", p->index, p->excuse);
}

static void check_sockets(const struct world *w)
{
  for (size_t i = 0; i < w->socket_count; i++)
    if (!w->sockets[i]->over)
      broken(w, "%s: a socket of its application is left open", w->sockets[i]->name);
}

void judge_end(struct world *w)
{
  if (w->now > w->quiet_at + 2 * w->plan.hold_ms * MS + 2 * FOUND_US)
    broken(w, "it took too long");
  for (unsigned i = 0; i < w->plan.pairs; i++)
    check_pair(&w->pairs[i]);
  check_sockets(w);
  if (farewells_count(w->service->tunnels->farewells) != 0)
    broken(w, "last words are still being said");
  if (router_pick(w) != NULL)
    broken(w, "there are still streams");
  w->now += TOMBS_MS * MS;
  if (tombs_find(w->service->tunnels->tombs, (const uint8_t[HEADER_CONNECTION_SIZE]){0}, world_ms(w)) != NULL ||
      tombs_count(w->service->tunnels->tombs) != 0)
    broken(w, "there are still tombstones");
}
