#include "process.h"

#include <string.h>

#include "judge.h"
#include "line.h"
#include "side.h"

enum { RECONNECT_US = 2000000, FAREWELL_US = 2000000 };

const char *process_name(const struct process *p)
{
  static const char *const names[] = {[ROLE_FORWARD] = "F", [ROLE_SERVICE] = "S", [ROLE_STRANGER] = "M"};
  return names[p->role];
}

uint32_t process_member(const struct process *p)
{
  return p->member;
}

/* ---- The link ---- */

static void step_all(struct process *p, enum connection_event event)
{
  for (struct side *s = p->sides, *next; s != NULL; s = next) {
    next = s->next_side;
    if (s->machine.role == CONNECTION_FORWARD)
      side_step(s, event);
  }
}

static void connect(struct world *w, void *subject, uint64_t arg);

static void connect_later(struct process *p, uint64_t us)
{
  if (p->link.trying)
    return;
  p->link.trying = true;
  world_after(p->w, us, connect, p, 0);
}

static struct process *process_of(const struct world *w, enum process_role role)
{
  return role == ROLE_FORWARD ? w->forward : role == ROLE_SERVICE ? w->service : w->stranger;
}

/* The router tells who is there that this member is over for good. */
static void tell_lost(struct process *p, uint32_t member)
{
  for (struct side *s = p->sides, *next; s != NULL; s = next) {
    next = s->next_side;
    if (!s->machine.established || s->other != member)
      continue;
    side_step(s, CONNECTION_PEER_LOST);
    if (!s->gone)
      broken(p->w, "%s: goes on, though the other side is over for good", s->name);
  }
}

/* A process has joined: it hears of those who are lost, and others hear of whom it follows. */
static void joined(struct world *w, void *subject, uint64_t arg)
{
  const struct process *p = subject;
  if (p->dead || p->link.registration != arg)
    return;
  for (enum process_role role = 0; role < ROLES; role++) {
    struct process *q = process_of(w, role);
    if (q == p || q->link.instance != p->link.instance)
      continue;
    if (p->former != 0)
      tell_lost(q, p->former);
    if (q->former != 0)
      tell_lost(process_of(w, p->role), q->former);
  }
}

/* It connects, or moves to a newer router: then the services are there before the streams are told. */
static void connect(struct world *w, void *subject, uint64_t arg)
{
  (void)arg;
  struct process *p = subject;
  struct instance *i = router_newest(w), *former = p->link.instance;
  p->link.trying = false;
  if (p->dead)
    return;
  if (i == NULL) {
    connect_later(p, 1 + roll(w, w->quiet ? SECOND : RECONNECT_US));
    return;
  }
  if (i == former)
    return;
  TRACE(w, "%s: connected%s", process_name(p), former != NULL ? " with a newer router" : "");
  p->link.instance = i;
  p->link.registration = ++w->registrations;
  if (p->role == ROLE_SERVICE)
    instance_register(w, i, p->link.registration);
  world_after(w, roll(w, 100 * MS), joined, p, p->link.registration);
  step_all(p, former == NULL ? CONNECTION_ROUTER_UP : CONNECTION_RENEW);
}

static void lose(struct process *p, uint64_t down_us)
{
  if (p->link.instance == NULL || p->dead)
    return;
  TRACE(p->w, "%s: not connected any more", process_name(p));
  p->link.instance = NULL;
  step_all(p, CONNECTION_ROUTER_DOWN);
  connect_later(p, down_us);
}

static void notice(struct world *w, void *subject, uint64_t arg)
{
  struct process *p = subject;
  if (p->link.registration == arg)
    lose(p, 1 + roll(w, w->quiet ? SECOND : RECONNECT_US));
}

void processes_lose(struct world *w, struct instance *i)
{
  struct process *all[] = {w->forward, w->service, w->stranger};
  for (size_t k = 0; k < 3; k++)
    if (all[k]->link.instance == i)
      world_after(w, chance(w, 200) ? roll(w, 15 * SECOND) : roll(w, 20 * MS), notice, all[k],
                  all[k]->link.registration);
}

void processes_drain(struct world *w, struct instance *i)
{
  struct process *all[] = {w->forward, w->service, w->stranger};
  for (size_t k = 0; k < 3; k++)
    if (all[k]->link.instance == i)
      connect_later(all[k], 1 + roll(w, 500 * MS));
}

void process_renew(struct process *p)
{
  TRACE(p->w, "%s: renews its streams", process_name(p));
  step_all(p, CONNECTION_RENEW);
}

struct lost {
  struct process *process;
  struct instance *instance;
  uint64_t registration, down_us;
};

static void process_notices(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct lost *l = subject;
  if (l->process->link.registration == l->registration)
    lose(l->process, l->down_us);
}

static void router_notices(struct world *w, void *subject, uint64_t arg)
{
  (void)arg;
  struct lost *l = subject;
  instance_unregister(w, l->instance, l->registration);
}

void process_cut(struct process *p, uint64_t own_us, uint64_t router_us, uint64_t down_us)
{
  struct world *w = p->w;
  if (p->link.instance == NULL)
    return;
  struct lost *l = world_alloc(w, sizeof *l);
  *l = (struct lost){p, p->link.instance, p->link.registration, 1 + down_us};
  TRACE(w, "%s: the network is gone", process_name(p));
  router_cut_process(w, p, own_us, router_us);
  world_after(w, roll(w, own_us), process_notices, l, 0);
  if (p->role == ROLE_SERVICE)
    world_after(w, roll(w, router_us), router_notices, l, 0);
}

/* ---- Last words ---- */

static void farewell_over(struct line *l)
{
  struct process *p = l->stream->client;
  line_close(l);
  p->farewells--;
}

static void on_ended(struct line *l, enum stream_end end)
{
  (void)end;
  farewell_over(l);
}

static void on_header(struct line *l, const struct label *h)
{
  (void)l, (void)h;
}

static void on_word(struct line *l)
{
  (void)l;
}

static const struct line_events farewell_events = {
    .header = on_header, .reset = on_word, .refused = on_word, .ended = on_ended};

static void farewell_late(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct line *l = subject;
  if (!l->closed)
    farewell_over(l);
}

void process_farewell(struct process *p, struct line *l)
{
  p->farewells++;
  line_hand_over(l, &farewell_events, NULL);
  world_after(p->w, FAREWELL_US, farewell_late, l, 0);
}

/* ---- Tombstones ---- */

struct name {
  uint8_t bytes[HEADER_CONNECTION_SIZE];
};

_Static_assert(HEADER_MEMBER_SIZE == HEADER_CONNECTION_SIZE, "a name serves for both");

static struct name name_of(uint64_t number)
{
  struct name n = {{0}};
  memcpy(n.bytes, &number, sizeof number);
  return n;
}

void process_bury(struct side *s)
{
  struct tomb t = {.received = flow_received(&s->flow),
                   .reset = s->machine.reset || s->machine.reset_heard,
                   .code = "",
                   .reason = ""};
  memcpy(t.connection, name_of(s->id).bytes, sizeof t.connection);
  memcpy(t.member, name_of(s->other).bytes, sizeof t.member);
  tombs_add(s->process->tombs, &t, world_ms(s->w));
  if (s->pair != NULL)
    s->pair->buried_at = s->w->now;
}

static void answer_from_tomb(struct process *p, struct line *l, const struct label *h, const struct tomb *t)
{
  if (memcmp(name_of(h->member).bytes, t->member, sizeof t->member) != 0) {
    line_say_refused(l);
  } else {
    line_answer(l, &(struct label){.answer = true,
                                   .member = p->member,
                                   .connection = h->connection,
                                   .epoch = h->epoch,
                                   .limit = 1,
                                   .received = t->received});
    if (t->reset)
      line_say_reset(l);
    else
      line_half_close(l);
  }
  process_farewell(p, l);
}

/* ---- Those who come ---- */

struct side *process_find(const struct process *p, uint64_t id)
{
  struct side *s = p->sides;
  while (s != NULL && s->id != id)
    s = s->next_side;
  return s;
}

static void accept(struct line *l, const struct label *h)
{
  struct process *p = l->stream->client;
  struct side *s = process_find(p, h->connection);
  const struct tomb *t = s == NULL ? tombs_find(p->tombs, name_of(h->connection).bytes, world_ms(p->w)) : NULL;
  TRACE(p->w, "S: stream %llu asks for %llx, epoch %llu%s", (unsigned long long)l->stream->number,
        (unsigned long long)h->connection, (unsigned long long)h->epoch, h->established ? ", established" : "");
  judge_attempt(s);
  if (s != NULL) {
    side_attach(s, l, h);
  } else if (t != NULL) {
    answer_from_tomb(p, l, h, t);
  } else if (h->established) {
    line_say_reset(l);
    process_farewell(p, l);
  } else {
    side_start_service(p, l, h);
  }
  judge_attempted(s, h);
}

static void parked_word(struct line *l)
{
  broken(l->stream->w, "a parked stream is told something before its header");
}

static void parked_ended(struct line *l, enum stream_end end)
{
  (void)end;
  line_close(l);
}

static const struct line_events parked_events = {
    .header = accept, .reset = parked_word, .refused = parked_word, .ended = parked_ended};

void process_parked(struct stream *s)
{
  line_parked(s, &parked_events, NULL);
}

/* ---- Life ---- */

static struct process *start(struct world *w, enum process_role role)
{
  struct process *p = world_alloc(w, sizeof *p);
  p->w = w;
  p->role = role;
  p->stock.budget = w->plan.budget;
  p->member = ++w->members;
  p->times = (struct connection_times){.dial = w->plan.dial_ms, .hold = w->plan.hold_ms};
  p->tombs = tombs_open();
  p->older = w->processes;
  w->processes = p;
  connect_later(p, chance(w, 300) ? roll(w, 2 * SECOND) : 0);
  return p;
}

void processes_start(struct world *w)
{
  w->forward = start(w, ROLE_FORWARD);
  w->service = start(w, ROLE_SERVICE);
  w->stranger = start(w, ROLE_STRANGER);
}

void processes_end(struct world *w)
{
  for (struct process *p = w->processes; p != NULL; p = p->older)
    tombs_close(p->tombs);
}

void process_crash(struct process *p)
{
  struct world *w = p->w;
  TRACE(w, "%s: crashes", process_name(p));
  judge_crash(p);
  uint64_t router_us = 1 + roll(w, chance(w, 300) ? 15 * SECOND : 5 * MS);
  router_cut_process(w, p, 1, router_us);
  process_cut(p, 1, router_us, 0);
  p->dead = true;
  while (p->sides != NULL)
    side_vanish(p->sides);
  struct process *follower = start(w, p->role);
  follower->former = w->plan.stateless ? 0 : p->member;
  if (p->role == ROLE_FORWARD)
    w->forward = follower;
  else
    w->service = follower;
}
