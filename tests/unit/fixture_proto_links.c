#include "fixture_proto_links.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "holds.h"

/* Sequences begin at `start`. */
struct links *links_create_at(struct links_path path, uint64_t limit, uint64_t start)
{
  struct links *w = calloc(1, sizeof *w);
  ck_assert_ptr_nonnull(w);
  w->path = path;
  w->tick = path.rtt / 100;
  w->budget = FOREVER;
  w->offered = FOREVER;
  w->message_max = FOREVER;
  w->local = 128 << 10;
  w->random = 1;
  w->flight_max = FIRST_FLIGHT;
  window_start(&w->window, WINDOW_MAX);
  window_limit(&w->window, limit);
  acks_start(&w->acks);
  w->limit = limit;
  w->window.sent = w->window.acked = w->acks.taken = w->acks.said = start;
  w->window.grown_at = start;
  w->start = start;
  return w;
}

struct links *links_create(struct links_path path)
{
  return links_create_at(path, WINDOW_MAX, 0);
}

uint32_t links_draw(struct links *w)
{
  w->random = w->random * 1664525 + 1013904223;
  return w->random >> 8;
}

static uint64_t least(uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static uint64_t greatest(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* Even a window of nothing lets a message of one byte pass. */
static uint64_t most(uint64_t size)
{
  return greatest(size, 1 + WINDOW_MESSAGE_COST);
}

uint64_t links_under_way(const struct window *w)
{
  return w->sent - w->acked + WINDOW_MESSAGE_COST * (w->sent_messages - w->acked_messages);
}

/* What flows at `rate` in a tick; the fraction is kept. */
static uint64_t flow(const struct links *w, uint64_t *credit, uint64_t rate, uint64_t there)
{
  *credit += rate * w->tick;
  uint64_t bytes = least(*credit / SECOND, there);
  *credit = bytes == there ? 0 : *credit - bytes * SECOND;
  return bytes;
}

static void say(struct links *w)
{
  if (!acks_due(&w->acks, w->now))
    return;
  w->said[w->said_last % RING].ack = acks_say(&w->acks, w->arrived - w->taken, w->now);
  w->said[w->said_last++ % RING].at = w->now + w->path.rtt / 2;
  w->acks_said++;
}

static void receive(struct links *w)
{
  uint64_t tick = w->now / w->tick;
  uint64_t bytes = w->arriving[tick % RING];
  w->arriving[tick % RING] = 0;
  if (bytes > 0 && links_draw(w) % 10000 < w->path.loss * bytes / SEGMENT && w->stalled_until <= w->now)
    w->stalled_until = w->now + w->path.rtt;
  w->behind_stall += bytes;
  if (w->stalled_until <= w->now) {
    w->arrived_bytes += w->behind_stall;
    w->behind_stall = 0;
  }
  while (w->next < w->last && w->ends[w->next % MESSAGES] <= w->arrived_bytes)
    w->arrived = w->ends[w->next++ % MESSAGES];
  if (!w->unlimited)
    holds(w->arrived - w->taken + WINDOW_MESSAGE_COST * (w->next - w->first) <= most(w->limit));
  w->queued_max = greatest(w->queued_max, w->arrived - w->taken);

  uint64_t room = flow(w, &w->read_credit, w->path.reader, w->arrived - w->taken);
  while (room > 0) {
    uint64_t piece = least(room, w->ends[w->first % MESSAGES] - w->taken);
    w->taken += piece;
    room -= piece;
    bool whole = w->taken == w->ends[w->first % MESSAGES];
    w->first += whole;
    acks_taken(&w->acks, piece, whole, w->now);
    say(w);
  }
  say(w);
}

static void carry(struct links *w)
{
  uint64_t tick = w->now / w->tick;
  uint64_t confirmed = w->confirmed[tick % RING];
  w->confirmed[tick % RING] = 0;
  w->in_flight -= confirmed;
  uint64_t full = w->path.rate * w->path.rtt / SECOND + w->path.queue;
  w->flight_max = w->flight_max < full ? least(w->flight_max + confirmed, full) : full;

  uint64_t enters = w->flight_max > w->in_flight ? least(w->flight_max - w->in_flight, w->waiting) : 0;
  w->waiting -= enters;
  w->in_flight += enters;
  w->in_queue += enters;
  uint64_t leaves = flow(w, &w->credit, w->path.rate, w->in_queue);
  w->in_queue -= leaves;
  uint64_t at = tick + w->path.rtt / 2 / w->tick + 1;
  w->arriving_last = greatest(w->arriving_last, at); /* a shorter route does not overtake */
  w->arriving[w->arriving_last % RING] += leaves;
  w->confirmed[(w->arriving_last + w->path.rtt / 2 / w->tick) % RING] += leaves;
}

static void hear(struct links *w)
{
  for (; w->said_first < w->said_last && w->said[w->said_first % RING].at <= w->now; w->said_first++) {
    struct ack ack = w->said[w->said_first % RING].ack;
    uint64_t size = w->window.size;
    uint64_t had = size > WINDOW_MIN ? size - WINDOW_MIN : 0;
    holds(window_acked(&w->window, &ack, w->budget > had ? w->budget - had : 0, w->now) == 0);
    w->size_max = greatest(w->size_max, w->window.size);
  }
}

static void send_on(struct links *w)
{
  while (w->offered > 0 && w->waiting < w->local && w->last - w->first < MESSAGES) {
    uint64_t room = w->unlimited ? 64 << 10 : window_room(&w->window);
    uint64_t bytes = least(least(room, window_message(&w->window)), least(w->offered, w->message_max));
    if (bytes == 0)
      return;
    window_sent(&w->window, bytes, w->now);
    uint64_t cost = links_under_way(&w->window);
    if (!w->unlimited)
      holds(cost <= most(w->window.size));
    w->cost_max = greatest(w->cost_max, cost);
    w->ends[w->last++ % MESSAGES] = w->window.sent - w->start;
    w->waiting += bytes;
    w->messages_sent++;
    if (w->offered != FOREVER)
      w->offered -= bytes;
  }
}

/* Returns what the receiver took meanwhile. */
uint64_t links_run(struct links *w, uint64_t us)
{
  uint64_t taken = w->taken;
  for (uint64_t end = w->now + us; w->now < end; w->now += w->tick) {
    if (w->now % SECOND == 0 && w->now > 0)
      window_rest(&w->window, w->now);
    hear(w);
    send_on(w);
    carry(w);
    receive(w);
  }
  return w->taken - taken;
}

uint64_t links_bdp(const struct links_path *p)
{
  return p->rate * p->rtt / SECOND;
}

const struct links_path links_paths[LINKS_PATHS] = {
    {.rate = 500 * MBIT, .rtt = 100000, .queue = 3 << 20, .reader = FAST},
    {.rate = 100 * MBIT, .rtt = 40000, .queue = 256 << 10, .reader = FAST},
    {.rate = 10 * MBIT, .rtt = 80000, .queue = 100 << 10, .reader = FAST},
};
