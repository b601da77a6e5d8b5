/* Each attempt is one stream. What it may not bring about is checked where it would show: in judge.c for the connection
 * that it names, here for what it is answered. A replay is the router's, since only F can say that it is F.
 */
#include "attack.h"

#include "carry/tunnel/tombs.h"

#include "flow.h"
#include "judge.h"
#include "line.h"

enum attempt {
  ATTEMPT_GUESS,     /* an id of nobody's: as a new connection, or as one that is established */
  ATTEMPT_STOLEN,    /* an id of F's, by the stranger */
  ATTEMPT_DISGUISED, /* with F's member, too, whose key is not known */
  ATTEMPT_REPLAY,    /* what F said before, once more */
  ATTEMPT_BENT,      /* F's next header, with a place to go on from that cannot be */
  ATTEMPT_FORGED,    /* a connection of its own: acks, offsets, ends, whatever */
  ATTEMPTS,
};

enum { FORGED_MAX = 6, PATIENCE_US = 300000 };

struct attacker {
  struct world *w;
  enum attempt attempt;
  struct line *line;
  struct label label;
};

/* ---- What it is answered ---- */

static void leave(struct attacker *a)
{
  if (a->line != NULL)
    line_close(a->line);
  a->line = NULL;
}

static void on_header(struct line *l, const struct label *h)
{
  (void)h;
  struct attacker *a = l->owner;
  bool own = a->attempt == ATTEMPT_FORGED || (a->attempt == ATTEMPT_GUESS && !a->label.established);
  if (!own)
    broken(a->w, "the stranger takes part in a connection");
  a->w->outcomes.own++;
}

static void on_reset(struct line *l)
{
  struct attacker *a = l->owner;
  a->w->outcomes.reset++;
  leave(a);
}

static void on_refused(struct line *l)
{
  struct attacker *a = l->owner;
  a->w->outcomes.refused++;
  leave(a);
}

static void on_ended(struct line *l, enum stream_end end)
{
  struct attacker *a = l->owner;
  a->w->outcomes.ended += end != STREAM_OK;
  leave(a);
}

static const struct line_events stranger_events = {
    .header = on_header, .original = on_reset, .reset = on_reset, .refused = on_refused, .ended = on_ended};

static void lose_patience(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  leave(subject);
}

/* ---- What it says ---- */

/* More than anybody sends in the meantime. */
#define FAR UINT64_C(1000000000)

/* Near what is there, or far from it. */
static uint64_t bend(struct world *w, uint64_t at)
{
  switch (roll(w, 6)) {
  case 0:
    return at;
  case 1:
    return at + 1 + roll(w, 10);
  case 2:
    return at - 1 - roll(w, 10);
  case 3:
    return 0;
  case 4:
    return UINT64_MAX - roll(w, 3);
  default:
    return roll(w, UINT64_C(1) << 40);
  }
}

static void say_forged(struct attacker *a)
{
  struct world *w = a->w;
  for (uint64_t n = roll(w, FORGED_MAX); n > 0 && stream_can_send(a->line->stream); n--) {
    struct message m = {.content.origin = UINT32_MAX};
    m.content.size = (uint32_t)roll(w, chance(w, 100) ? 2 << 20 : 2000);
    m.has_window = chance(w, 200);
    m.window = bend(w, WINDOW_MIN);
    m.eof = chance(w, 200);
    m.has_offset = chance(w, 400);
    m.offset = bend(w, 0);
    m.has_ack = chance(w, 400);
    m.ack.taken = bend(w, 0);
    m.ack.messages = bend(w, 0);
    m.ack.queued = bend(w, 0);
    m.ack.limit = bend(w, WINDOW_MIN);
    m.has_reset = chance(w, 50);
    m.half_close = chance(w, 50);
    stream_send(a->line->stream, &m);
  }
}

static void try(struct world *w, enum attempt attempt, const struct label *label)
{
  struct attacker *a = world_alloc(w, sizeof *a);
  if (w->stranger->link.instance == NULL)
    return;
  w->attacked++;
  *a = (struct attacker){.w = w, .attempt = attempt, .label = *label};
  a->line = line_open(w->stranger, label, chance(w, w->plan.raw), &stranger_events, a);
  world_after(w, roll(w, attempt == ATTEMPT_FORGED ? PATIENCE_US : 10 * PATIENCE_US), lose_patience, a, 0);
  if (attempt == ATTEMPT_FORGED)
    say_forged(a);
}

/* S knows it, and will for a while. */
static struct pair *pick_victim(struct world *w)
{
  struct pair *p = &w->pairs[roll(w, w->plan.pairs)];
  bool known = p->service != NULL && (!p->service->gone || w->now < p->buried_at + TOMBS_MS * MS / 2);
  return known ? p : NULL;
}

static void steal(struct world *w, enum attempt attempt)
{
  struct pair *p = pick_victim(w);
  if (p == NULL)
    return;
  const struct side *s = p->service;
  struct label h = {.connection = p->id, .to = process_member(w->service)};
  h.member = process_member(attempt == ATTEMPT_STOLEN ? w->stranger : w->forward);
  h.attach = chance(w, 500);
  h.established = chance(w, 500);
  h.epoch = bend(w, s->machine.epoch);
  h.received = chance(w, 500) ? s->flow->out.acked - s->flow->base : bend(w, s->flow->out.added - s->flow->base);
  h.limit = bend(w, WINDOW_MIN);
  try(w, attempt, &h);
}

static void repeat(struct world *w, bool bent)
{
  struct pair *p = pick_victim(w);
  if (p == NULL || !p->forward->opened_any || p->service->gone)
    return;
  struct label h = p->forward->opened;
  const struct flow *flow = p->service->flow;
  if (bent) {
    h.epoch = p->service->machine.epoch + 1;
    h.established = h.attach = true;
    h.to = process_member(w->service);
    h.received =
        chance(w, 500) ? flow->out.added - flow->base + FAR + roll(w, 10) : UINT64_MAX - flow->base - roll(w, 10);
  } else if (h.epoch > p->service->machine.epoch) {
    return; /* it is on its way */
  }
  if (router_forge(w, &h, roll(w, PATIENCE_US)) == NULL)
    return;
  w->attacked++;
  w->outcomes.replayed++;
}

static void guess(struct world *w, enum attempt attempt)
{
  struct label h = {.member = process_member(w->stranger), .to = process_member(w->service)};
  h.connection = roll(w, UINT64_C(1) << 50) << 8 | 0x80;
  h.established = h.attach = attempt == ATTEMPT_GUESS && chance(w, 500);
  h.epoch = roll(w, 3);
  h.limit = bend(w, WINDOW_MIN);
  try(w, attempt, &h);
}

/* One more, if there is somebody whom it could be made on. */
static void attack(struct world *w, void *subject, uint64_t arg)
{
  (void)subject, (void)arg;
  enum attempt attempt = (enum attempt)roll(w, ATTEMPTS);
  switch (attempt) {
  case ATTEMPT_STOLEN:
  case ATTEMPT_DISGUISED:
    steal(w, attempt);
    break;
  case ATTEMPT_REPLAY:
  case ATTEMPT_BENT:
    repeat(w, attempt == ATTEMPT_BENT);
    break;
  default:
    guess(w, attempt);
  }
  if (w->attacked < w->plan.attacks)
    world_after(w, 1 + roll(w, 2 * MS), attack, NULL, 0);
}

void attack_start(struct world *w)
{
  world_after(w, 0, attack, NULL, 0);
}
