#include "fixture_proto_line.h"

#include <stdlib.h>
#include <string.h>

#include "holds.h"

enum {
  TICK = 500, /* microseconds */
  ACKS = 1 << 12,
  PACKETS = 1 << 16,
  ROUNDS = 10, /* for which BBR remembers the rate */
  PHASES = 8,
  HISTOGRAM = 20000, /* of 100 us */
};

struct packet {
  uint32_t sender;
  bool lost;
  uint64_t sent_at, delivered, delivered_at; /* of the sender, when it was sent */
};

/* What arrives back in one tick. */
struct acks {
  struct packet *all;
  size_t count, room;
};

struct sender {
  enum line_kind kind;
  bool ours, over;
  double app, app_credit;                 /* bytes per second, bytes */
  double pace_credit;                     /* packets */
  uint64_t sent, delivered, delivered_at; /* packets */
  uint64_t in_flight;
  double srtt, least, ever_least; /* BBR forgets its own */
  uint64_t least_at;
  double window; /* packets */

  double rates[ROUNDS], full; /* packets per microsecond */
  uint64_t rounds, round_ends;
  unsigned full_rounds, phase;
  enum { STARTUP, DRAIN, PROBE, LEAST } state;
  uint64_t phase_at, least_until;

  double threshold;
  uint64_t cut_until;

  struct pacing_stream paced;
  uint64_t delivered_mark;
};

struct line {
  uint64_t rate, rtt, queue_us, now;
  unsigned loss;
  bool controlled;
  uint32_t random;
  double credit; /* packets */
  struct packet *queue;
  size_t first, last;
  struct acks acks[ACKS];
  struct sender senders[LINE_SENDERS];
  size_t count;
  struct pacing pacing;
  uint32_t histogram[HISTOGRAM];
};

static uint32_t draw(struct line *l)
{
  l->random = l->random * 1664525 + 1013904223;
  return l->random >> 8;
}

static double packets_per_us(uint64_t rate)
{
  return (double)rate / LINE_PACKET / 1e6;
}

struct line *line_open(uint64_t rate, uint64_t rtt_us, uint64_t queue_us)
{
  struct line *l = calloc(1, sizeof *l);
  holds(l != NULL);
  l->queue = calloc(PACKETS, sizeof *l->queue);
  holds(l->queue != NULL);
  l->rate = rate;
  l->rtt = rtt_us;
  l->queue_us = queue_us;
  l->random = 1;
  l->controlled = true;
  l->now = TICK;
  return l;
}

void line_close(struct line *l)
{
  for (size_t i = 0; i < ACKS; i++)
    free(l->acks[i].all);
  free(l->queue);
  free(l);
}

void line_set_rate(struct line *l, uint64_t rate)
{
  l->rate = rate;
}

void line_set_rtt(struct line *l, uint64_t rtt_us)
{
  l->rtt = rtt_us;
}

void line_set_loss(struct line *l, unsigned of_10000)
{
  l->loss = of_10000;
}

void line_control(struct line *l, bool on)
{
  l->controlled = on;
}

size_t line_add(struct line *l, enum line_kind kind, bool ours, uint64_t rate)
{
  holds(l->count < LINE_SENDERS);
  l->senders[l->count] = (struct sender){
      .kind = kind,
      .ours = ours,
      .app = (double)rate,
      .window = 10,
      .threshold = 1e9,
      .delivered_at = l->now,
      .phase = (unsigned)(2 + l->count % (PHASES - 2)), /* they probe at different times */
  };
  return l->count++;
}

void line_stop(struct line *l, size_t sender)
{
  l->senders[sender].over = true;
}

uint64_t line_paced(const struct line *l, size_t sender)
{
  return l->senders[sender].paced.rate;
}

/* ---- BBR ---- */

static double highest(const struct sender *s)
{
  double most = 0;
  for (size_t i = 0; i < ROUNDS; i++)
    most = s->rates[i] > most ? s->rates[i] : most;
  return most;
}

static double path_holds(const struct sender *s)
{
  return highest(s) * s->least;
}

static double gain(const struct sender *s)
{
  static const double gains[PHASES] = {1.25, 0.75, 1, 1, 1, 1, 1, 1};
  return s->state == STARTUP ? 2.89 : s->state == DRAIN ? 0.35 : s->state == LEAST ? 1 : gains[s->phase];
}

static void end_round(struct sender *s)
{
  s->round_ends = s->sent;
  s->rounds++;
  if (s->state == STARTUP) {
    s->full_rounds = highest(s) > s->full * 1.25 ? 0 : s->full_rounds + 1;
    s->full = highest(s) > s->full ? highest(s) : s->full;
    if (s->full_rounds >= 3)
      s->state = DRAIN;
  }
  s->rates[s->rounds % ROUNDS] = 0;
}

static void next_phase(struct line *l, struct sender *s)
{
  double full = path_holds(s);
  double passed = (double)(l->now - s->phase_at);
  if (s->state == DRAIN && (double)s->in_flight <= full) {
    s->state = PROBE;
    s->phase_at = l->now;
  } else if (s->state == PROBE &&
             (s->phase == 0 ? passed > s->least && (double)s->in_flight >= 1.25 * full
                            : passed > s->least || (s->phase == 1 && (double)s->in_flight <= full))) {
    s->phase = (s->phase + 1) % PHASES;
    s->phase_at = l->now;
  } else if (s->state == PROBE && l->now - s->least_at > 10 * SECOND) {
    s->state = LEAST;
    s->least_until = 0;
  } else if (s->state == LEAST && s->least_until == 0 && s->in_flight <= 4) {
    s->least_until = l->now + 200 * MS;
    s->least = 1e9;
  } else if (s->state == LEAST && s->least_until != 0 && l->now >= s->least_until) {
    s->state = PROBE;
    s->least_at = l->now;
    s->phase_at = l->now;
  }
}

static void bbr_acked(struct line *l, struct sender *s, const struct packet *p)
{
  double rate = (double)(s->delivered - p->delivered) / (double)(l->now - p->delivered_at);
  double *best = &s->rates[s->rounds % ROUNDS];
  if (s->app == 0 || rate > highest(s))
    *best = rate > *best ? rate : *best;
  if (p->delivered >= s->round_ends)
    end_round(s);
  next_phase(l, s);
  double full = s->state == STARTUP ? 2.89 * path_holds(s) : 2 * path_holds(s) + 3;
  double least = s->state == STARTUP ? 10 : 4;
  s->window = s->state != LEAST && full > least ? full : least;
}

/* ---- Reno ---- */

static void reno_acked(struct sender *s)
{
  s->window += s->window < s->threshold ? 1 : 1 / s->window;
}

static void reno_lost(const struct line *l, struct sender *s, const struct packet *p)
{
  if (p->sent_at < s->cut_until)
    return; /* in the same flight */
  s->window = s->window > 4 ? s->window / 2 : 2;
  s->threshold = s->window;
  s->cut_until = l->now;
}

/* ---- All ---- */

static void acked(struct line *l, const struct packet *p)
{
  struct sender *s = &l->senders[p->sender];
  s->in_flight--;
  if (p->lost) {
    if (s->kind == LINE_RENO)
      reno_lost(l, s, p);
    return;
  }
  double rtt = (double)(l->now - p->sent_at);
  s->srtt = s->srtt == 0 ? rtt : s->srtt + (rtt - s->srtt) / 8;
  if (s->least == 0 || rtt <= s->least) {
    s->least = rtt;
    s->least_at = l->now;
  }
  if (s->ever_least == 0 || rtt < s->ever_least)
    s->ever_least = rtt;
  s->delivered++;
  s->delivered_at = l->now;
  if (s->kind == LINE_BBR)
    bbr_acked(l, s, p);
  else if (s->kind == LINE_RENO)
    reno_acked(s);
}

static void take_acks(struct line *l)
{
  struct acks *a = &l->acks[l->now / TICK % ACKS];
  for (size_t i = 0; i < a->count; i++)
    acked(l, &a->all[i]);
  a->count = 0;
}

static void ack_at(struct line *l, uint64_t at, const struct packet *p)
{
  holds(at / TICK - l->now / TICK < ACKS);
  struct acks *a = &l->acks[at / TICK % ACKS];
  if (a->count == a->room) {
    a->room = a->room ? 2 * a->room : 16;
    a->all = realloc(a->all, a->room * sizeof *a->all);
    holds(a->all != NULL);
  }
  a->all[a->count++] = *p;
}

static double waits_us(const struct line *l)
{
  return (double)(l->last - l->first) / packets_per_us(l->rate);
}

static void send_one(struct line *l, size_t number)
{
  struct sender *s = &l->senders[number];
  struct packet p = {(uint32_t)number, false, l->now, s->delivered, s->delivered_at};
  if (s->in_flight == 0)
    p.delivered_at = s->delivered_at = l->now;
  s->sent++;
  s->in_flight++;
  p.lost = waits_us(l) >= (double)l->queue_us || l->last - l->first >= PACKETS;
  if (p.lost)
    ack_at(l, l->now + l->rtt + (uint64_t)waits_us(l), &p);
  else
    l->queue[l->last++ % PACKETS] = p;
}

static void send_some(struct line *l, size_t number)
{
  struct sender *s = &l->senders[number];
  double pace = 1e9; /* packets per tick */
  if (s->over)
    return;
  if (s->kind == LINE_FIXED)
    pace = packets_per_us((uint64_t)s->app) * TICK;
  else if (s->kind == LINE_BBR)
    pace = highest(s) > 0 ? gain(s) * highest(s) * 0.99 * TICK : 2.89 * 10 / MS * TICK;
  if (s->ours && l->controlled && s->paced.rate > 0 && packets_per_us(s->paced.rate) * TICK < pace)
    pace = packets_per_us(s->paced.rate) * TICK;
  s->pace_credit += pace < 0.2 ? pace * (draw(l) % 2000) / 1000 : pace; /* slow ones not all at once */
  s->pace_credit = s->pace_credit < pace + 2 ? s->pace_credit : pace + 2;
  s->app_credit += s->app / LINE_PACKET / 1e6 * TICK;
  while (s->pace_credit >= 1 && (s->kind == LINE_FIXED || (double)s->in_flight < s->window) &&
         (s->app == 0 || s->app_credit >= 1)) {
    send_one(l, number);
    s->pace_credit--;
    s->app_credit--;
  }
}

static void carry(struct line *l)
{
  l->credit += packets_per_us(l->rate) * TICK;
  while (l->credit >= 1 && l->first < l->last) {
    l->credit--;
    struct packet p = l->queue[l->first++ % PACKETS];
    p.lost = draw(l) % 10000 < l->loss;
    ack_at(l, l->now + l->rtt, &p);
  }
  if (l->first == l->last)
    l->credit = l->credit < 1 ? l->credit : 1;
}

static void look(struct line *l)
{
  struct pacing_stream *streams[LINE_SENDERS];
  size_t count = 0;
  for (size_t i = 0; i < l->count; i++) {
    struct sender *s = &l->senders[i];
    if (!s->ours || s->over)
      continue;
    s->paced.acked = s->delivered * LINE_PACKET;
    s->paced.rtt = (uint32_t)s->srtt;
    s->paced.rtt_least = (uint32_t)s->ever_least;
    streams[count++] = &s->paced;
  }
  pacing_look(&l->pacing, streams, count, l->now);
}

static double of_histogram(const struct line *l, double part)
{
  uint64_t all = 0, passed = 0;
  size_t i = 0;
  for (size_t k = 0; k < HISTOGRAM; k++)
    all += l->histogram[k];
  while (i < HISTOGRAM && (double)(passed += l->histogram[i]) < part * (double)all)
    i++;
  return (double)i * 100;
}

static struct line_figures count(const struct line *l, uint64_t us)
{
  struct line_figures f = {.least = 1e18, .queue50 = of_histogram(l, 0.5), .queue90 = of_histogram(l, 0.9)};
  for (size_t i = 0; i < l->count; i++) {
    const struct sender *s = &l->senders[i];
    double rate = (double)(s->delivered - s->delivered_mark) * LINE_PACKET * 1e6 / (double)us;
    *(s->ours ? &f.ours : &f.others) += rate;
    if (s->ours && !s->over) {
      f.least = rate < f.least ? rate : f.least;
      f.most = rate > f.most ? rate : f.most;
    }
  }
  return f;
}

struct line_figures line_run(struct line *l, uint64_t us)
{
  memset(l->histogram, 0, sizeof l->histogram);
  for (size_t i = 0; i < l->count; i++)
    l->senders[i].delivered_mark = l->senders[i].delivered;
  for (uint64_t end = l->now + us; l->now < end; l->now += TICK) {
    take_acks(l);
    size_t shift = l->now / TICK;
    for (size_t i = 0; i < l->count; i++)
      send_some(l, (i + shift) % l->count);
    carry(l);
    size_t waits = (size_t)(waits_us(l) / 100);
    l->histogram[waits < HISTOGRAM ? waits : HISTOGRAM - 1]++;
    if (l->now % PACING_EVERY_US == 0)
      look(l);
  }
  return count(l, us);
}
