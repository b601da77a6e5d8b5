/* A round trip that stays longer than the least one says that a queue stands. Then the line is full, and what arrives
 * meanwhile is what it carries. So the sum of all rates becomes a little less than that, after a while with much less,
 * in which the line goes on at full speed out of the queue. Without a queue the sum grows again: slowly where the line
 * was full before, and beyond that faster and faster, so that it soon follows a line that became faster.
 *
 * The queue may be another's. Its owner takes what we give up, if we give it up for long: so the sum stays above half
 * of what was carried before, and when cuts have not helped we leave the streams to TCP's own judgement, and try again
 * later. But a line that carries much less than it is asked to is a slower one: there is nothing to be defended.
 *
 * Loss says nothing here, and what is lost is not counted: a line that loses packets has a queue, or it has none.
 */
#include "pacing.h"

#define SECOND UINT64_C(1000000)

enum {
  QUEUE_LOOKS = 4,      /* a queue that is seen so often, */
  QUEUE_ROUNDS = 2,     /* and for so many round trips, stands */
  QUEUE_PART = 8,       /* it is one if it is longer than this part of the round trip */
  QUEUE_US = 1000,      /* and this */
  CARRIES_PERCENT = 99, /* what of the line's rate is used */
  DRAINS_PERCENT = 75,  /* and of that while the queue drains */
  DRAIN_TIMES = 3,      /* as long as the queue is, so it takes */
  HOLD_ROUNDS = 2,
  MEAN_BYTES = 24 << 10, /* of which TCP's mean of the round trip is */
  STEP_FIRST = 2,        /* thousandths */
  STEP_FREE = 8,         /* once the line carries more than before */
  STEP_MORE = 2,
  NEAR_PERCENT = 96, /* of what it carried while a queue stood */
  FREE_PERCENT = 102,
  VAIN_MAX = 6,
  SMOOTH = 4,         /* a look counts for one part of so many */
  PEAK_DECAY = 32,    /* so does it in the most that was carried */
  BEFORE_DECAY = 256, /* and in what was carried before a queue */
  RATE_MIN = 4 << 10, /* bytes per second of a stream */
  CAP_PART = 4,
  DIFFERS_PART = 128,
  CAP_DECAY = 64,      /* of the peak, at each look */
  CAP_HALF_ROUNDS = 3, /* without growth, */
  CAP_US = 75000,      /* and no less, so that two looks agree */
};

#define DRAIN_MAX SECOND
#define LEAST_AGE (60 * SECOND)
#define SOON (SECOND / 100) /* less says nothing of a rate */
#define PAUSE (2 * SECOND)  /* between looks: what was known is old */
#define PATIENCE_MIN (10 * SECOND)
#define PATIENCE_MAX (40 * SECOND)
#define RATE_MAX UINT64_C(100000000000)
#define BYTES_MAX (UINT64_C(1) << 40)

static uint64_t min_of(uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

static uint64_t percent(uint64_t of, uint64_t percent)
{
  return of * percent / 100;
}

/* What all streams tell together. */
struct look {
  uint64_t us;    /* since the last one */
  uint64_t acked; /* bytes, since then */
  uint64_t rtt;   /* the shortest: acks that are held back make others longer, where streams are slow */
  uint64_t least; /* of all; 0: not known */
};

static uint64_t rate_of(uint64_t bytes, uint64_t us)
{
  return min_of(min_of(bytes, BYTES_MAX) * SECOND / max_of(us, 1), RATE_MAX);
}

static uint64_t smoothed(uint64_t was, uint64_t is)
{
  return was + is / SMOOTH - was / SMOOTH;
}

/* ---- One stream ---- */

uint64_t pacing_cap(struct pacing_cap *c, uint64_t rate, uint64_t rtt_least, uint64_t now)
{
  c->peak = max_of(min_of(rate, RATE_MAX), c->peak - c->peak / CAP_DECAY);
  c->former = min_of(c->former, c->peak);
  if (c->peak > c->former + c->former / CAP_PART) {
    c->former = c->peak;
    c->grown_at = now;
  }
  if (rtt_least < PACING_RTT_MIN_US || now - c->grown_at < max_of(CAP_HALF_ROUNDS * rtt_least / 2, CAP_US))
    return 0;
  return max_of(c->peak + c->peak / CAP_PART, RATE_MIN);
}

bool pacing_differs(uint64_t set, uint64_t rate)
{
  if (set == 0 || rate == 0)
    return set != rate;
  return set > rate ? set - rate > set / DIFFERS_PART : rate - set > set / DIFFERS_PART;
}

/* ---- What there is to see ---- */

static uint64_t look_at_stream(struct pacing_stream *s, uint64_t former_look, uint64_t now)
{
  bool known = s->looked_at != 0 && s->looked_at == former_look && s->acked >= s->acked_before;
  uint64_t acked = known ? s->acked - s->acked_before : 0;
  uint64_t carried = rate_of(acked, now - former_look);
  s->carried = !known ? 0 : s->carried == 0 ? carried : smoothed(s->carried, carried);
  s->latest = carried;
  s->fresh = !known;
  s->acked_before = s->acked;
  s->looked_at = now;
  return acked;
}

static struct look look_at_all(const struct pacing *p, struct pacing_stream *const streams[], size_t count,
                               uint64_t now)
{
  struct look l = {.us = now - p->looked_at};
  for (size_t i = 0; i < count; i++) {
    const struct pacing_stream *s = streams[i];
    uint64_t acked = look_at_stream(streams[i], p->looked_at, now);
    l.acked += acked;
    if (acked > 0 && (l.rtt == 0 || s->rtt < l.rtt))
      l.rtt = s->rtt;
    if (s->rtt_least > 0 && (l.least == 0 || s->rtt_least < l.least))
      l.least = s->rtt_least;
  }
  return l;
}

static void remember_least(struct pacing *p, uint64_t least, uint64_t now)
{
  if (least == 0 || (p->least != 0 && least > p->least && now - p->least_at < LEAST_AGE))
    return;
  p->least = least;
  p->least_at = now;
}

/* ---- The sum ---- */

static void watch(struct pacing *p)
{
  p->phase = PACING_WATCHES;
  p->step = STEP_FIRST;
  p->queue.looks = 0;
}

static void begin(struct pacing *p)
{
  p->sum = p->carried = p->peak = p->before = p->line = 0;
  p->vain = 0;
  p->patience = PATIENCE_MIN;
  watch(p);
}

static void give_way(struct pacing *p, uint64_t now)
{
  p->phase = PACING_YIELDS;
  p->until = now + p->patience;
  p->patience = min_of(2 * p->patience, PATIENCE_MAX);
  p->sum = p->before = 0;
  p->vain = 0;
}

/* `standing` microseconds, while `carried` passes. That may be little for a moment, after many losses: so it counts for
 * no less than half of what was carried lately. */
static void cut(struct pacing *p, uint64_t carried, uint64_t standing, uint64_t now)
{
  uint64_t asked = p->sum > 0 ? p->sum : max_of(p->before, carried);
  bool sudden = carried < p->peak / 2, slower = sudden || carried < asked / 4 * 3;
  carried = max_of(carried, p->peak / 2);
  p->line = carried;
  if (slower)
    p->before = carried;
  if (p->vain == 0 || slower)
    p->floor = max_of(p->before, carried) / 2;
  uint64_t sum = percent(min_of(carried, asked), CARRIES_PERCENT);
  p->vain += !sudden;
  if (sum < p->floor || p->vain > VAIN_MAX) {
    give_way(p, now);
    return;
  }
  p->sum = max_of(sum, 1);
  p->phase = PACING_DRAINS;
  p->until = now + min_of(DRAIN_TIMES * standing, DRAIN_MAX);
}

static void see_queue(struct pacing *p, const struct look *l, uint64_t now)
{
  if (p->queue.looks++ == 0) {
    p->queue.since = now - l->us;
    p->queue.acked = p->queue.us = 0;
    return;
  }
  p->queue.acked += l->acked;
  p->queue.us += l->us;
  if (p->queue.looks >= QUEUE_LOOKS && now - p->queue.since >= QUEUE_ROUNDS * p->least)
    cut(p, rate_of(p->queue.acked, p->queue.us), l->rtt - p->least, now);
}

/* What the line carried before, or about that. */
static bool is_near_full(const struct pacing *p)
{
  return p->sum >= percent(p->line, NEAR_PERCENT) && p->sum <= percent(p->line, FREE_PERCENT);
}

/* Only what is used. Where the line is soon full all steps are small: until the queue is seen, it grows, too. */
static void grow(struct pacing *p)
{
  if (p->carried < p->sum / 4 * 3) {
    p->step = STEP_FIRST;
    return;
  }
  p->sum += p->sum * p->step / 1000;
  if (is_near_full(p))
    p->step = STEP_FIRST;
  else
    p->step = p->sum > p->line && p->step < STEP_FREE ? STEP_FREE : p->step + STEP_MORE;
}

static void see_no_queue(struct pacing *p)
{
  p->queue.looks = 0;
  if (p->vain > 0)
    p->patience = PATIENCE_MIN;
  p->vain = 0;
  p->before = max_of(p->carried, p->before - p->before / BEFORE_DECAY);
  if (p->sum > 0)
    grow(p);
}

/* How long it takes until the round trip tells what came of a change: TCP's mean is one of packets. */
static uint64_t until_known(const struct pacing *p, const struct look *l, size_t count)
{
  uint64_t mean = MEAN_BYTES * SECOND * count / max_of(p->sum, 1);
  return HOLD_ROUNDS * max_of(l->rtt, p->least) + min_of(mean, SECOND);
}

static void judge(struct pacing *p, const struct look *l, size_t count, uint64_t now)
{
  uint64_t allowed = p->least / QUEUE_PART + QUEUE_US;
  bool queue = l->rtt > p->least + allowed;
  if (p->phase == PACING_DRAINS && (now >= p->until || l->rtt <= p->least + allowed / 2)) {
    p->phase = PACING_HOLDS;
    p->until = now + until_known(p, l, count);
  } else if (p->phase != PACING_WATCHES && now >= p->until) {
    watch(p);
  }
  if (p->phase != PACING_WATCHES)
    return;
  if (queue)
    see_queue(p, l, now);
  else
    see_no_queue(p);
}

/* ---- The shares ---- */

/* Who carries less than most of an even share is not held back, and the others have what it leaves. */
static bool is_light(const struct pacing_stream *s, uint64_t share)
{
  return !s->fresh && s->carried < share / 4 * 3;
}

static void share_out(const struct pacing *p, struct pacing_stream *const streams[], size_t count, uint64_t now)
{
  uint64_t even = p->sum / max_of(count, 1), light = 0;
  size_t heavy = 0;
  for (size_t i = 0; i < count; i++)
    if (is_light(streams[i], even))
      light += streams[i]->carried;
    else
      heavy++;
  uint64_t share = (p->sum - min_of(light, p->sum)) / max_of(heavy, 1);
  if (p->phase == PACING_DRAINS)
    share = percent(share, DRAINS_PERCENT);
  for (size_t i = 0; i < count; i++) {
    bool free = p->sum == 0 || is_light(streams[i], even);
    uint64_t seen = max_of(streams[i]->delivery, streams[i]->latest);
    uint64_t most = pacing_cap(&streams[i]->cap, seen, p->least, now);
    streams[i]->rate = free ? most : min_of(max_of(share, RATE_MIN), most > 0 ? most : RATE_MAX);
  }
}

void pacing_look(struct pacing *p, struct pacing_stream *const streams[], size_t count, uint64_t now)
{
  if (now - p->looked_at < SOON)
    return;
  if (p->looked_at == 0 || now - p->looked_at > PAUSE)
    begin(p);
  struct look l = look_at_all(p, streams, count, now);
  remember_least(p, l.least, now);
  if (p->least < PACING_RTT_MIN_US) {
    begin(p);
  } else if (l.acked > 0 && p->looked_at != 0) {
    uint64_t carried = rate_of(l.acked, l.us);
    p->carried = p->carried == 0 ? carried : smoothed(p->carried, carried);
    p->peak = max_of(p->carried, p->peak - p->peak / PEAK_DECAY);
    judge(p, &l, count, now);
  }
  p->looked_at = now;
  share_out(p, streams, count, now);
}
