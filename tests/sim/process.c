#include "process.h"

#include "carry/net/address.h"
#include "carry/tunnel/tunnels_internal.h"
#include "host.h"
#include "judge.h"
#include "line.h"
#include "name.h"
#include "pump.h"
#include "side.h"

enum { RECONNECT_US = 2000000 };

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

static void reach_router(struct world *w, void *subject, uint64_t arg);

static void connect_later(struct process *p, uint64_t us)
{
  if (p->link.trying)
    return;
  p->link.trying = true;
  world_after(p->w, us, reach_router, p, 0);
}

static struct process *process_of(const struct world *w, enum process_role role)
{
  return role == ROLE_FORWARD ? w->forward : role == ROLE_SERVICE ? w->service : w->stranger;
}

/* The router tells who is there that this member is over for good. */
static void tell_lost(struct process *p, uint32_t member)
{
  uint8_t name[HEADER_MEMBER_SIZE];
  name_put(member, name);
  tunnels_peer_lost(p->tunnels, name);
  for (const struct side *s = p->sides; s != NULL; s = s->next_side)
    if (s->machine.established && memcmp(s->tunnel->member, name, sizeof name) == 0)
      broken(p->w, "%s: goes on, though the other side is over for good", s->name);
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
static void reach_router(struct world *w, void *subject, uint64_t arg)
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
  p->link.counter = 0;
  p->link.window = (struct raw_window){0};
  memset(p->link.used, 0, sizeof p->link.used);
  if (p->role == ROLE_SERVICE)
    instance_register(w, i, p->link.registration);
  world_after(w, roll(w, 100 * MS), joined, p, p->link.registration);
  tunnels_renew(p->tunnels);
  if (former == NULL)
    tunnels_way_changed(p->tunnels);
}

static void lose(struct process *p, uint64_t down_us)
{
  if (p->link.instance == NULL || p->dead)
    return;
  TRACE(p->w, "%s: not connected any more", process_name(p));
  p->link.instance = NULL;
  tunnels_way_changed(p->tunnels);
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
  tunnels_renew(p->tunnels);
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

/* ---- Those who come ---- */

struct side *process_find(const struct process *p, uint64_t id)
{
  uint8_t name[HEADER_CONNECTION_SIZE];
  name_put(id, name);
  struct side *s = p->sides;
  while (s != NULL && memcmp(s->tunnel->connection, name, sizeof name) != 0)
    s = s->next_side;
  return s;
}

static void take(struct line *l, const struct label *label)
{
  static const struct address address;
  static const struct tunnels_target target = {.address = &address};
  struct process *p = l->stream->client;
  struct side *s = process_find(p, label->connection);
  struct header h = pump_header(label);
  TRACE(p->w, "S: stream %llu asks for %llx, epoch %llu%s", (unsigned long long)l->stream->number,
        (unsigned long long)label->connection, (unsigned long long)label->epoch,
        label->established ? ", established" : "");
  if (p->w->plan.original != ORIGINAL_NOBODY) {
    p->next_connection = label->connection;
    tunnels_accept_original(p->tunnels, pump_stream_of(l), PROCESS_SERVICE, &target);
    return;
  }
  judge_attempt(s);
  tunnels_accept(p->tunnels, pump_stream_of(l), &h, &target);
  judge_attempted(s, label);
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
    .header = take, .original = parked_word, .reset = parked_word, .refused = parked_word, .ended = parked_ended};

void process_parked(struct stream *s)
{
  line_parked(s, &parked_events, NULL);
}

void process_forward(struct process *p, struct application *a, uint64_t connection)
{
  p->next_connection = connection;
  tunnels_forward(p->tunnels, PROCESS_SERVICE, application_descriptor(a), "an application", NULL);
}

/* ---- Life ---- */

static void opened(struct tunnel *t, void *arg)
{
  side_opened(arg, t);
}

static void closed(struct tunnel *t, void *arg)
{
  (void)arg;
  side_closed(t);
}

static void failed(struct tunnel *t, const char *what, void *arg)
{
  const struct process *p = arg;
  (void)t;
  TRACE(p->w, "%s: \"%s\"", process_name(p), what);
}

static const struct tunnels_events events_of_tunnels = {.opened = opened, .closed = closed, .failed = failed};

static struct process *start(struct world *w, enum process_role role)
{
  const struct tunnels_options options = {.dial_ms = w->plan.dial_ms, .hold_ms = w->plan.hold_ms};
  struct process *p = world_alloc(w, sizeof *p);
  p->w = w;
  p->role = role;
  p->stock.budget = w->plan.budget;
  p->member = ++w->members;
  p->loop.data = p;
  p->lookups.loop = &p->loop;
  p->pumps = world_alloc(w, sizeof *p->pumps);
  p->pumps->process = p;
  host_start(p);
  if (tunnels_open(&p->tunnels, &p->lookups, &p->host, p->pumps, &options, &events_of_tunnels, p) != 0)
    broken(w, "%s does not start", process_name(p));
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

static void all_closed(void *arg)
{
  struct process *p = arg;
  p->dead = true;
}

void processes_end(struct world *w)
{
  bool crashed = false;
  for (struct process *p = w->processes; p != NULL; p = p->older) {
    crashed |= p->dead;
    if (!p->dead)
      tunnels_close(p->tunnels, all_closed, p);
  }
  while (world_next(w))
    ;
  for (struct process *p = w->processes; p != NULL; p = p->older)
    if (!p->dead)
      broken(w, "%s: its tunnels do not close", process_name(p));
  if (!crashed && w->blocks != 0)
    broken(w, "%lld blocks of memory are lost", (long long)w->blocks);
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
