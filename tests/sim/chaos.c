#include "chaos.h"

#include "carry/tunnel/tunnels_internal.h"
#include "judge.h"

enum fault {
  FAULT_STREAM,     /* one stream breaks */
  FAULT_STREAM_END, /* the router ends the streams that there are */
  FAULT_NETWORK_F,
  FAULT_NETWORK_S,
  FAULT_HOLE, /* packets vanish, which is noticed late */
  FAULT_KILL,
  FAULT_OUTAGE, /* no router for long */
  FAULT_DRAIN,
  FAULT_RENEW,
  FAULT_REPLAY, /* an older header comes once more */
  FAULT_USER,   /* cuts a connection */
  FAULT_END,    /* a daemon ends one, as it does when it ends itself */
  FAULT_CRASH_F,
  FAULT_CRASH_S,
  FAULTS,
};

enum { CRASHES_MAX = 2 };

_Static_assert(FAULTS <= sizeof((struct plan){0}.faults) / sizeof(unsigned), "each has a weight");

/* ---- The plan ---- */

static uint64_t one_of(struct world *w, const uint64_t *values, size_t count)
{
  return values[roll(w, count)];
}

#define ONE_OF(w, ...)                                                                                                 \
  one_of(w, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void draw_faults(struct world *w)
{
  struct plan *p = &w->plan;
  for (unsigned i = 0; i < FAULTS; i++)
    p->faults[i] = chance(w, 500) ? (unsigned)roll(w, 10) : 0;
  /* What ends a connection is rare, or it hides the rest. */
  for (unsigned i = FAULT_USER; i < FAULTS; i++)
    p->faults[i] = chance(w, 150) ? 1 : 0;
  p->faults[FAULT_OUTAGE] = chance(w, 100) ? 1 : 0;
}

static void draw_gentle(struct world *w)
{
  struct plan *p = &w->plan;
  for (unsigned i = 0; i < FAULTS; i++)
    p->faults[i] = i == FAULT_DRAIN || i == FAULT_RENEW;
  p->gentle = true;
  p->slow = p->garbled = p->twice = p->mute = p->replays = p->unimplemented = p->no_memory = p->attach_fails =
      p->no_room = 0;
  p->delay_us = ONE_OF(w, 2, 200, 200, 200) * MS;
  p->chaos_us = ONE_OF(w, 2, 5, 20) * SECOND;
  p->chaos_step_us = ONE_OF(w, 500, 3000) * MS;
  p->drain_us = 5 * SECOND;
  p->hold_ms = 600000;
  p->dial_ms = 10000;
}

static void draw_plan(struct world *w)
{
  struct plan *p = &w->plan;
  p->pairs = 1 + (unsigned)roll(w, 4);
  p->dial_ms = ONE_OF(w, 1000, 10000, 10000);
  p->hold_ms = ONE_OF(w, 3000, 60000, 600000, 600000);
  p->target_ms = ONE_OF(w, 1, 30, 30, 3000);
  p->delay_us = ONE_OF(w, 200, 2000, 20000, 20000, 200000);
  p->slow = (unsigned)ONE_OF(w, 0, 0, 30, 300);
  p->busy = (unsigned)ONE_OF(w, 0, 50, 300);
  p->late_loop = (unsigned)ONE_OF(w, 0, 100, 500);
  p->garbled = (unsigned)ONE_OF(w, 0, 0, 0, 100);
  p->mute = (unsigned)ONE_OF(w, 0, 0, 0, 100);
  p->no_memory = (unsigned)ONE_OF(w, 0, 0, 0, 50);
  p->attach_fails = (unsigned)ONE_OF(w, 0, 0, 0, 50);
  p->no_room = (unsigned)ONE_OF(w, 0, 0, 0, 200);
  p->stream_age_ms = ONE_OF(w, 0, 0, 0, 30000);
  p->twice = (unsigned)ONE_OF(w, 0, 0, 100);
  p->raw = (unsigned)ONE_OF(w, 0, 0, 500, 1000);
  p->unimplemented = (unsigned)ONE_OF(w, 0, 0, 0, 200);
  p->replays = (unsigned)ONE_OF(w, 0, 0, 200);
  p->tcp_room = ONE_OF(w, 300, 2000, 20000);
  p->pipe_bytes = ONE_OF(w, 0, 1 << 20, 16 << 20);
  p->target_refuses = (unsigned)ONE_OF(w, 0, 0, 0, 200);
  p->no_token = (unsigned)ONE_OF(w, 0, 0, 0, 200);
  p->chaos_us = ONE_OF(w, 1, 2, 5, 10, 20, 40) * SECOND;
  p->chaos_step_us = ONE_OF(w, 10, 50, 200, 500, 2000) * MS;
  p->drain_us = ONE_OF(w, 1, 20) * SECOND;
  if (p->chaos_us / p->chaos_step_us > 60)
    p->chaos_us = 60 * p->chaos_step_us;
  p->budget = ONE_OF(w, NEVER / 4, NEVER / 4, 0, 1000, 300000, 2000000);
  p->heavy = chance(w, 100);
  p->stateless = chance(w, 300);
  draw_faults(w);
  if (chance(w, 200))
    draw_gentle(w);
  else if (chance(w, 150))
    p->original = chance(w, 500) ? ORIGINAL_ROUTER : ORIGINAL_SERVICE;
  if (p->original != ORIGINAL_NOBODY)
    p->raw = 0;
}

/* Nothing fails, so that all that happens to a connection is the stranger's doing. */
static void draw_attacked(struct world *w)
{
  struct plan *p = &w->plan;
  draw_gentle(w);
  p->faults[FAULT_DRAIN] = 0;
  p->target_refuses = 0;
  p->original = ORIGINAL_NOBODY;
  p->delay_us = ONE_OF(w, 200, 2000, 20000);
  p->chaos_us = 2 * SECOND;
}

/* ---- The connections ---- */

static uint64_t draw_base(struct world *w)
{
  uint64_t before = roll(w, 40);
  return ONE_OF(w, 0, 0, 1, (UINT64_C(1) << 32) - before, (UINT64_C(1) << 31) - before, (UINT64_C(1) << 63) - before,
                (UINT64_C(1) << 63) - 1);
}

static struct application draw_application(struct world *w, unsigned index, unsigned end, uint64_t scale)
{
  struct application a = {.w = w, .origin = 2 * index + end, .other = 2 * index + !end, .step = scale * 2};
  a.pause_us = ONE_OF(w, 5 * MS, 100 * MS, w->plan.chaos_us / 10, w->plan.chaos_us / 10);
  uint64_t messages = ONE_OF(w, 0, 1, 10, 60, 60);
  a.will_send = roll(w, messages * scale + 1);
  a.habit = HABIT_ENDS;
  if (chance(w, 300))
    a.habit = HABIT_ENDS_AFTER;
  else if (chance(w, 80))
    a.habit = HABIT_RESETS;
  else if (chance(w, 50))
    a.habit = HABIT_CLOSES;
  return a;
}

static void begin(struct world *w, void *subject, uint64_t arg)
{
  (void)arg;
  struct pair *p = subject;
  process_forward(w->forward, &p->forward->application, p->id);
}

static void draw_pair(struct world *w, struct pair *p, unsigned index)
{
  uint64_t scale = w->plan.heavy ? 100000 : ONE_OF(w, 1, 1, 7, 300, 5000, 100000);
  p->w = w;
  p->index = index;
  p->id = (roll(w, UINT64_C(1) << 50) << 8) + index + 1;
  p->forward = world_alloc(w, sizeof *p->forward);
  p->forward->application = draw_application(w, index, 0, scale);
  p->target = draw_application(w, index, 1, scale);
  if (p->forward->application.habit == HABIT_ENDS_AFTER && p->target.habit == HABIT_ENDS_AFTER)
    p->target.habit = HABIT_ENDS; /* or both would wait for ever */
  /* In the first version nobody can tell a stuck one that it is over. */
  if (chance(w, 100) && w->plan.original == ORIGINAL_NOBODY) {
    bool end = chance(w, 500);
    p->forward->application.habit = end ? HABIT_STUCK : HABIT_GIVES_UP;
    p->target.habit = end ? HABIT_GIVES_UP : HABIT_STUCK;
  }
  for (unsigned i = 0; i < 2; i++) {
    p->bases[i] = draw_base(w);
    p->limits[i] = scale < 300 ? ONE_OF(w, 1, 2, 300, 700, 4000, 1 << 20) : ONE_OF(w, 4000, WINDOW_MIN, 1 << 20);
    if (w->plan.heavy)
      p->limits[i] = 16 << 20;
    else if (scale > 1000)
      p->limits[i] = ONE_OF(w, WINDOW_MIN, 1 << 20, 16 << 20);
    p->read_sizes[i] = 1 + scale / 4 + roll(w, 2 * scale);
  }
  world_after(w, chance(w, 300) ? roll(w, w->plan.chaos_us + SECOND) : 0, begin, p, 0);
}

void chaos_plan(struct world *w, uint64_t attacks)
{
  draw_plan(w);
  w->plan.attacks = attacks;
  if (attacks > 0)
    draw_attacked(w);
  w->pairs = world_alloc(w, w->plan.pairs * sizeof *w->pairs);
  for (unsigned i = 0; i < w->plan.pairs; i++)
    draw_pair(w, &w->pairs[i], i);
}

/* ---- The faults ---- */

static struct side *pick_side(struct world *w)
{
  struct pair *p = &w->pairs[roll(w, w->plan.pairs)];
  struct side *s = chance(w, 500) ? p->forward : p->service;
  return s != NULL && s->w != NULL ? s : NULL;
}

static struct side *pick_doomed(struct world *w, const char *why)
{
  struct side *s = pick_side(w);
  if (s == NULL || s->gone)
    return NULL;
  judge_excuse(s, why);
  return s;
}

static void cut_connection(struct world *w)
{
  struct side *s = pick_doomed(w, "a user cut it");
  if (s != NULL)
    tunnel_cut(s->tunnel);
}

static void end_connection(struct world *w)
{
  struct side *s = pick_doomed(w, "a daemon ended it");
  if (s != NULL)
    tunnel_end(s->tunnel, "as simulated");
}

static void cut_one(struct world *w)
{
  struct stream *s = router_pick(w);
  uint64_t client_us = chance(w, 300) ? roll(w, 15 * SECOND) : roll(w, 2 * MS);
  uint64_t router_us = chance(w, 300) ? roll(w, 15 * SECOND) : roll(w, 2 * MS);
  if (s != NULL)
    stream_cut(s, client_us, router_us);
}

static void cut_network(struct world *w, struct process *p, bool hole)
{
  uint64_t most = hole ? 15 * SECOND : 5 * MS;
  uint64_t own_us = 1 + roll(w, most);
  uint64_t router_us = 1 + roll(w, chance(w, 300) ? 15 * SECOND : most);
  process_cut(p, own_us, router_us, roll(w, 5 * SECOND));
}

static void replay(struct world *w)
{
  struct pair *p = &w->pairs[roll(w, w->plan.pairs)];
  struct side *f = p->forward;
  if (f->w == NULL || !f->opened_any || f->gone || w->plan.original != ORIGINAL_NOBODY) /* a token is good once */
    return;
  struct label h = f->opened;
  if (!h.attach || h.to == process_member(w->service))
    router_forge(w, &h, roll(w, 5 * SECOND));
}

static bool all_moved(struct world *w)
{
  const struct instance *i = router_newest(w);
  return i != NULL && w->forward->link.instance == i && w->service->link.instance == i;
}

static void strike(struct world *w, enum fault fault)
{
  switch (fault) {
  case FAULT_STREAM:
    cut_one(w);
    break;
  case FAULT_STREAM_END:
    router_end_streams(w);
    break;
  case FAULT_NETWORK_F:
    cut_network(w, w->forward, false);
    break;
  case FAULT_NETWORK_S:
    cut_network(w, w->service, false);
    break;
  case FAULT_HOLE:
    cut_network(w, chance(w, 500) ? w->forward : w->service, true);
    break;
  case FAULT_KILL:
    router_kill(w, roll(w, 3 * SECOND));
    break;
  case FAULT_OUTAGE:
    router_kill(w, roll(w, 20 * SECOND));
    break;
  case FAULT_DRAIN:
    if (w->plan.gentle && !all_moved(w)) /* who is not even there yet cannot move on */
      break;
    if (chance(w, 500)) /* and there are other reasons to move */
      process_renew(w->forward);
    router_drain(w, 3 * SECOND + roll(w, w->plan.drain_us));
    break;
  case FAULT_RENEW:
    process_renew(w->forward);
    break;
  case FAULT_REPLAY:
    replay(w);
    break;
  case FAULT_USER:
    cut_connection(w);
    break;
  case FAULT_CRASH_F:
  case FAULT_CRASH_S:
    if (w->members < ROLES + CRASHES_MAX)
      process_crash(fault == FAULT_CRASH_F ? w->forward : w->service);
    break;
  default:
    end_connection(w);
  }
}

static enum fault pick(struct world *w)
{
  unsigned sum = 0, i = 0;
  for (unsigned k = 0; k < FAULTS; k++)
    sum += w->plan.faults[k];
  uint64_t rest = roll(w, sum);
  for (; i < FAULTS - 1 && rest >= w->plan.faults[i]; i++)
    rest -= w->plan.faults[i];
  return sum > 0 ? (enum fault)i : FAULTS;
}

static void chaos(struct world *w, void *subject, uint64_t arg)
{
  (void)subject, (void)arg;
  if (w->now >= w->plan.chaos_us) {
    TRACE(w, "-- from now on all is quiet");
    w->quiet = true;
    w->quiet_at = w->now;
    for (unsigned i = 0; i < w->plan.pairs; i++) {
      application_go_on(&w->pairs[i].forward->application);
      if (w->pairs[i].service != NULL)
        application_go_on(&w->pairs[i].service->application);
    }
    return;
  }
  enum fault fault = pick(w);
  if (fault != FAULTS)
    strike(w, fault);
  world_after(w, roll(w, 2 * w->plan.chaos_step_us), chaos, NULL, 0);
}

void chaos_start(struct world *w)
{
  world_after(w, roll(w, 2 * w->plan.chaos_step_us), chaos, NULL, 0);
}
