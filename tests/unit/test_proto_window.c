/* The window and the acks, over simulated links: what is sent enters a transport that starts slowly and fills the
 * bottleneck's queue, as TCP does; the receiver gets whole messages, reads them at its own pace, and says acks. Time
 * passes in ticks, so that every run is the same.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "holds.h"
#include "proto/flow/window.h"

#include "runner.h"

enum {
  RING = 1 << 13, /* ticks */
  MESSAGES = 1 << 17,
  SEGMENT = 1448,
  FIRST_FLIGHT = 10 * SEGMENT,
};

#define SECOND UINT64_C(1000000)
#define FOREVER UINT64_MAX
#define MBIT UINT64_C(125000)
#define FAST (80000 * MBIT)

struct path {
  uint64_t rate;   /* bytes per second */
  uint64_t rtt;    /* microseconds, without queues */
  uint64_t queue;  /* bytes, at the bottleneck */
  uint64_t reader; /* bytes per second that the receiving socket takes */
  unsigned loss;   /* of 10,000 segments; what follows waits a round trip */
};

struct world {
  struct path path;
  struct window window;
  struct acks acks;
  uint64_t now, tick;   /* microseconds */
  uint64_t limit;       /* what the receiver is ready to queue */
  uint64_t budget;      /* what the window may have beyond what it starts with */
  uint64_t offered;     /* bytes that the sending socket still has */
  uint64_t message_max; /* of what one read of it gives */
  uint64_t local;       /* how much the transport takes beyond what is in flight */
  bool unlimited;       /* no window: to compare */
  uint64_t start;       /* offset of the first byte */
  uint32_t random;

  uint64_t waiting, in_flight, flight_max, in_queue; /* the transport's */
  uint64_t credit, read_credit;                      /* of the bottleneck and the reader, in millionths of a byte */
  uint64_t arriving[RING], confirmed[RING];          /* by tick */
  uint64_t arriving_last;
  uint64_t stalled_until, behind_stall;

  uint64_t ends[MESSAGES];    /* offset of the end of each that is not taken */
  uint64_t first, last, next; /* to be taken, to be sent; next to arrive */
  uint64_t arrived_bytes, arrived, taken;

  struct {
    struct ack ack;
    uint64_t at;
  } said[RING];
  uint64_t said_first, said_last;

  uint64_t size_max, cost_max, queued_max, acks_said, messages_sent;
};

/* Sequences begin at `start`. */
static struct world *world_create_at(struct path path, uint64_t limit, uint64_t start)
{
  struct world *w = calloc(1, sizeof *w);
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

static struct world *world_create(struct path path)
{
  return world_create_at(path, WINDOW_MAX, 0);
}

static uint32_t draw(struct world *w)
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

static uint64_t under_way(const struct window *w)
{
  return w->sent - w->acked + WINDOW_MESSAGE_COST * (w->sent_messages - w->acked_messages);
}

/* What flows at `rate` in a tick; the fraction is kept. */
static uint64_t flow(const struct world *w, uint64_t *credit, uint64_t rate, uint64_t there)
{
  *credit += rate * w->tick;
  uint64_t bytes = least(*credit / SECOND, there);
  *credit = bytes == there ? 0 : *credit - bytes * SECOND;
  return bytes;
}

static void say(struct world *w)
{
  if (!acks_due(&w->acks, w->now))
    return;
  w->said[w->said_last % RING].ack = acks_say(&w->acks, w->arrived - w->taken, w->now);
  w->said[w->said_last++ % RING].at = w->now + w->path.rtt / 2;
  w->acks_said++;
}

static void receive(struct world *w)
{
  uint64_t tick = w->now / w->tick;
  uint64_t bytes = w->arriving[tick % RING];
  w->arriving[tick % RING] = 0;
  if (bytes > 0 && draw(w) % 10000 < w->path.loss * bytes / SEGMENT && w->stalled_until <= w->now)
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

static void carry(struct world *w)
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

static void hear(struct world *w)
{
  for (; w->said_first < w->said_last && w->said[w->said_first % RING].at <= w->now; w->said_first++) {
    struct ack ack = w->said[w->said_first % RING].ack;
    uint64_t size = w->window.size;
    uint64_t had = size > WINDOW_MIN ? size - WINDOW_MIN : 0;
    holds(window_acked(&w->window, &ack, w->budget > had ? w->budget - had : 0, w->now) == 0);
    w->size_max = greatest(w->size_max, w->window.size);
  }
}

static void send_on(struct world *w)
{
  while (w->offered > 0 && w->waiting < w->local && w->last - w->first < MESSAGES) {
    uint64_t room = w->unlimited ? 64 << 10 : window_room(&w->window);
    uint64_t bytes = least(least(room, window_message(&w->window)), least(w->offered, w->message_max));
    if (bytes == 0)
      return;
    window_sent(&w->window, bytes, w->now);
    uint64_t cost = under_way(&w->window);
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
static uint64_t run(struct world *w, uint64_t us)
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

static uint64_t bdp(const struct path *p)
{
  return p->rate * p->rtt / SECOND;
}

static const struct path paths[] = {
    {.rate = 500 * MBIT, .rtt = 100000, .queue = 3 << 20, .reader = FAST},
    {.rate = 100 * MBIT, .rtt = 40000, .queue = 256 << 10, .reader = FAST},
    {.rate = 10 * MBIT, .rtt = 80000, .queue = 100 << 10, .reader = FAST},
};
enum { PATHS = sizeof paths / sizeof *paths };

/* ---- Long links ---- */

START_TEST(starts_as_fast_as_without_a_window)
{
  struct world *w = world_create(paths[_i]), *bare = world_create(paths[_i]);
  bare->unlimited = true;
  for (int i = 0; i < 30; i++) {
    run(w, SECOND / 10);
    run(bare, SECOND / 10);
    ck_assert_uint_ge(w->taken + paths[_i].rate / 200, bare->taken);
  }
  free(w);
  free(bare);
}
END_TEST

START_TEST(fills_the_path)
{
  struct world *w = world_create(paths[_i]);
  run(w, 2 * SECOND);
  ck_assert_uint_ge(run(w, 15 * SECOND), 15 * paths[_i].rate * 98 / 100);
  free(w);
}
END_TEST

/* Whatever the window allows is taken from the sender at once: it alone bounds what is under way. */
START_TEST(does_not_flood_a_full_path)
{
  struct world *w = world_create(paths[_i]);
  w->local = FOREVER;
  run(w, 15 * SECOND);
  ck_assert_uint_le(w->size_max, greatest(10 * bdp(&paths[_i]), WINDOW_MIN));
  w->size_max = 0;
  ck_assert_uint_ge(run(w, 20 * SECOND), 20 * paths[_i].rate * 98 / 100);
  ck_assert_uint_le(w->size_max, greatest(5 * bdp(&paths[_i]), WINDOW_MIN));
  free(w);
}
END_TEST

START_TEST(is_not_shrunk_by_loss)
{
  struct path path = paths[0];
  path.loss = 1;
  struct world *w = world_create(path);
  run(w, 3 * SECOND);
  ck_assert_uint_ge(run(w, 30 * SECOND), 30 * path.rate * 95 / 100);
  ck_assert_uint_ge(w->window.size, 2 * bdp(&path));
  free(w);
}
END_TEST

struct change {
  unsigned rtt_by, rate_by, rate_of; /* the round trip is longer by, the rate by / of */
};

START_TEST(recovers_when_the_route_changes)
{
  static const struct change changes[] = {{4, 1, 1}, {1, 1, 4}, {1, 4, 1}, {4, 1, 4}, {4, 2, 1}};
  const struct change *c = &changes[_i];
  struct world *w = world_create(paths[1]);
  run(w, 5 * SECOND);
  w->path.rtt *= c->rtt_by;
  w->path.rate = w->path.rate * c->rate_by / c->rate_of;
  run(w, 25 * SECOND);
  w->size_max = 0;
  ck_assert_uint_ge(run(w, 10 * SECOND), 10 * w->path.rate * 95 / 100);
  ck_assert_uint_le(w->size_max, greatest(5 * bdp(&w->path), WINDOW_MIN));
  w->path = paths[1];
  run(w, 25 * SECOND);
  ck_assert_uint_ge(run(w, 10 * SECOND), 10 * w->path.rate * 95 / 100);
  free(w);
}
END_TEST

/* Short questions and answers see a longer route too, without being held back. */
START_TEST(measures_the_round_trip)
{
  struct world *w = world_create(paths[1]);
  for (int rtt = 40000; rtt <= 160000; rtt *= 2) {
    w->path.rtt = (uint64_t)rtt;
    for (int i = 0; i < 15; i++) {
      w->offered = 64;
      ck_assert_uint_eq(run(w, SECOND), 64);
    }
    ck_assert_uint_ge(window_rtt(&w->window), (uint64_t)rtt);
    ck_assert_uint_le(window_rtt(&w->window), (uint64_t)rtt + 2000);
  }
  free(w);
}
END_TEST

START_TEST(measures_the_rate)
{
  struct world *w = world_create(paths[_i]);
  ck_assert_uint_eq(window_rate(&w->window), 0);
  ck_assert_uint_le(window_message(&w->window), 64 << 10);
  run(w, 10 * SECOND);
  uint64_t rate = paths[_i].rate;
  ck_assert_uint_ge(window_rate(&w->window), rate * 95 / 100);
  ck_assert_uint_le(window_rate(&w->window), rate * 110 / 100);
  ck_assert_uint_ge(window_message(&w->window), greatest(rate * 95 / 100 / 500, WINDOW_MESSAGE_MIN));

  /* What an application sends slowly says nothing about the path. */
  w->offered = 0;
  run(w, SECOND);
  for (int i = 0; i < 20; i++) {
    w->offered = 100;
    run(w, SECOND);
  }
  ck_assert_uint_ge(window_rate(&w->window), rate * 90 / 100);

  w->path.rate /= 4;
  w->offered = FOREVER;
  run(w, 10 * SECOND);
  ck_assert_uint_le(window_rate(&w->window), rate * 30 / 100);
  free(w);
}
END_TEST

/* ---- Slow receivers ---- */

START_TEST(stays_small_before_a_stalled_receiver)
{
  struct path path = paths[_i];
  path.reader = 0;
  struct world *w = world_create(path);
  w->local = FOREVER;
  run(w, 10 * SECOND);
  ck_assert_uint_eq(w->window.size, WINDOW_MIN);
  ck_assert_uint_le(w->queued_max, WINDOW_MIN);
  w->path.reader = FAST;
  run(w, 5 * SECOND);
  ck_assert_uint_ge(run(w, 5 * SECOND), 5 * path.rate * 95 / 100);

  uint64_t size = w->window.size;
  w->path.reader = 0;
  run(w, 10 * SECOND);
  ck_assert_uint_le(w->queued_max, size);
  ck_assert_uint_le(w->window.size, size);
  w->path.reader = FAST;
  run(w, 5 * SECOND);
  ck_assert_uint_ge(run(w, 5 * SECOND), 5 * path.rate * 95 / 100);
  free(w);
}
END_TEST

START_TEST(stays_small_before_a_slow_receiver)
{
  struct path path = paths[0];
  path.reader = 10 * MBIT;
  struct world *w = world_create(path);
  w->local = FOREVER;
  ck_assert_uint_ge(run(w, 30 * SECOND), 28 * path.reader);
  ck_assert_uint_le(w->size_max, 1 << 20);
  free(w);
}
END_TEST

/* ---- Small windows ---- */

START_TEST(lives_without_a_budget)
{
  struct world *w = world_create(paths[_i]);
  w->budget = 0;
  run(w, 2 * SECOND);
  uint64_t possible = least(paths[_i].rate, WINDOW_MIN * SECOND / paths[_i].rtt);
  ck_assert_uint_ge(run(w, 15 * SECOND), 15 * possible * 80 / 100);
  ck_assert_uint_eq(w->size_max, WINDOW_MIN);
  w->budget = 1000;
  run(w, 5 * SECOND);
  ck_assert_uint_le(w->size_max, WINDOW_MIN + 1000);
  free(w);
}
END_TEST

START_TEST(keeps_moving_with_any_limit)
{
  static const uint64_t limits[] = {1, 2, 255, 256, 257, 258, 300, 513, 1024, 4096, 16383, 262143};
  struct world *w = world_create_at(paths[1], limits[_i], 0);
  w->offered = 100;
  ck_assert_uint_eq(run(w, 10 * SECOND), 100);
  ck_assert_uint_le(w->size_max, limits[_i]);
  free(w);
}
END_TEST

START_TEST(counts_what_a_message_costs)
{
  struct world *w = world_create(paths[1]);
  w->message_max = 1;
  w->path.reader = 0;
  run(w, 5 * SECOND);
  ck_assert_uint_le(w->messages_sent, WINDOW_MIN / (1 + WINDOW_MESSAGE_COST));
  ck_assert_uint_ge(w->messages_sent, WINDOW_MIN / (1 + WINDOW_MESSAGE_COST) * 9 / 10);
  w->path.reader = FAST;
  ck_assert_uint_ge(run(w, 5 * SECOND), 50000);
  free(w);
}
END_TEST

/* Within the machine: 200 us, 3 GB/s. */
START_TEST(acks_are_cheap)
{
  struct path path = {.rate = 24000 * MBIT, .rtt = 200, .queue = 4 << 20, .reader = FAST};
  struct world *w = world_create(path);
  w->local = 4 << 20;
  run(w, 2000);
  ck_assert_uint_ge(window_message(&w->window), 64 << 10);
  run(w, SECOND / 5);
  uint64_t said = w->acks_said;
  ck_assert_uint_ge(run(w, SECOND), path.rate * 95 / 100);
  ck_assert_uint_le(w->acks_said - said, 3000);
  free(w);
}
END_TEST

START_TEST(offsets_may_be_large)
{
  static const uint64_t starts[] = {UINT32_MAX - 1000, INT64_MAX - UINT64_C(1000), UINT64_MAX - (UINT64_C(1) << 33)};
  struct world *w = world_create(paths[0]), *far = world_create_at(paths[0], WINDOW_MAX, starts[_i]);
  run(w, 10 * SECOND);
  run(far, 10 * SECOND);
  ck_assert_uint_eq(w->taken, far->taken);
  ck_assert_uint_eq(w->window.size, far->window.size);
  ck_assert_uint_eq(w->window.rate, far->window.rate);
  free(w);
  free(far);
}
END_TEST

/* Everything changes at any time; all arrives, and the bounds, which every step checks, hold. */
START_TEST(any_schedule)
{
  uint32_t seed = (uint32_t)_i * 7919 + 1;
  struct world *w = world_create_at(paths[seed % PATHS], 1 + (seed * 104729) % WINDOW_MAX, 0);
  w->random = seed;
  w->offered = 0;
  uint64_t offered = 0;
  for (int i = 0; i < 300; i++) {
    static const uint64_t readers[] = {0, 1000, MBIT, 50 * MBIT, FAST, FAST};
    uint64_t more = draw(w) % 4 == 0 ? UINT64_C(1) << draw(w) % 24 : 0;
    offered += more;
    w->offered += more;
    w->message_max = draw(w) % 8 == 0 ? 1 + draw(w) % 1000 : FOREVER;
    w->path.reader = readers[draw(w) % 6];
    w->path.loss = draw(w) % 8 == 0 ? draw(w) % 100 : 0;
    w->path.rtt = 1000 + draw(w) % 199000;
    w->path.rate = MBIT + draw(w) % (100 * MBIT);
    w->budget = draw(w) % 3 == 0 ? 0 : draw(w) % WINDOW_MAX;
    w->local = draw(w) % 2 == 0 ? FOREVER : 128 << 10;
    run(w, draw(w) % 50000);
    if (draw(w) % 16 == 0)
      window_rest(&w->window, w->now);
  }
  w->path = paths[1];
  w->message_max = FOREVER;
  for (uint64_t bound = w->now + 600 * SECOND; w->taken < offered && w->now < bound;)
    run(w, SECOND);
  ck_assert_msg(w->taken == offered, "seed %u: %llu of %llu", seed, (unsigned long long)w->taken,
                (unsigned long long)offered);
  run(w, SECOND);
  ck_assert_uint_eq(under_way(&w->window), 0);
  free(w);
}
END_TEST

/* ---- One by one ---- */

START_TEST(refuses_acks_that_cannot_be)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  window_sent(&w, 1000, 0);
  window_sent(&w, 1000, 0);
  struct ack ack = {.taken = 1500, .messages = 1};
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 10), 0);
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 20), 0);
  static const struct ack wrong[] = {
      {.taken = 2001, .messages = 1}, {.taken = FOREVER, .messages = 1},    {.taken = 1499, .messages = 1},
      {.taken = 0, .messages = 1},    {.taken = 1500, .messages = 3},       {.taken = 1500, .messages = 0},
      {.taken = 2000, .messages = 3}, {.taken = 1500, .messages = FOREVER},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct window before = w;
    ck_assert_int_eq(window_acked(&w, &wrong[i], FOREVER, 30), -EPROTO);
    ck_assert_mem_eq(&before, &w, sizeof w);
  }
  ck_assert_uint_eq(window_unacked(&w), 500);
  ack = (struct ack){.taken = 2000, .messages = 2};
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 40), 0);
  ck_assert_uint_eq(window_unacked(&w), 0);
}
END_TEST

/* Nonsense about the time spoils figures, not the window. */
START_TEST(survives_times_that_cannot_be)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  for (uint64_t i = 1; i < 1000; i++) {
    uint64_t bytes = window_room(&w);
    ck_assert_uint_ge(bytes, 1);
    window_sent(&w, bytes, i % 3 == 0 ? FOREVER : i);
    struct ack ack = {w.sent, w.sent_messages, i % 5 == 0 ? FOREVER : 0, i % 2 == 0 ? UINT32_MAX : 0, 0};
    ck_assert_int_eq(window_acked(&w, &ack, FOREVER, i % 7 == 0 ? 0 : i), 0);
    window_rest(&w, i % 11 == 0 ? FOREVER : 0);
    ck_assert_uint_ge(w.size, WINDOW_MIN);
    ck_assert_uint_le(w.size, WINDOW_MAX);
  }
}
END_TEST

START_TEST(does_not_grow_before_the_limit_is_known)
{
  struct world *w = world_create(paths[1]);
  window_start(&w->window, WINDOW_MAX);
  run(w, 3 * SECOND);
  ck_assert_uint_eq(w->window.size, WINDOW_MIN);
  window_limit(&w->window, 400000);
  run(w, 3 * SECOND);
  ck_assert_uint_eq(w->window.size, 400000);
  window_limit(&w->window, 300000);
  ck_assert_uint_eq(w->window.size, 300000);
  free(w);

  struct window small;
  window_start(&small, 1000);
  window_limit(&small, WINDOW_MAX);
  ck_assert_uint_eq(small.size, 1000);
}
END_TEST

/* What a receiver is ready to queue changes with what it has of its budget. */
START_TEST(an_ack_says_the_limit)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, UINT64_C(2) * WINDOW_MIN);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 0);
  struct ack ack = {.taken = w.sent - 1000, .messages = w.sent_messages - 1, .limit = UINT64_C(4) * WINDOW_MIN};
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 100), 0);
  ck_assert_uint_eq(w.max, UINT64_C(4) * WINDOW_MIN);
  ck_assert_uint_eq(w.size, UINT64_C(2) * WINDOW_MIN);
  ck_assert_uint_eq(window_meant(&w), UINT64_C(2) * WINDOW_MIN);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 100);
  ack.limit = WINDOW_MIN;
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 200), 0);
  ck_assert_uint_eq(w.size, WINDOW_MIN);
  ck_assert_uint_eq(window_room(&w), 0);
  ck_assert_uint_gt(window_meant(&w), WINDOW_MIN); /* so much is under way still */
  ack = (struct ack){.taken = w.sent, .messages = w.sent_messages};
  ck_assert_int_eq(window_acked(&w, &ack, 0, 300), 0);
  ck_assert_uint_eq(w.max, WINDOW_MIN); /* it says nothing of it */
  ck_assert_uint_eq(window_meant(&w), WINDOW_MIN);
}
END_TEST

START_TEST(grants_what_there_is)
{
  enum { MORE = 100000 };
  static const struct {
    uint64_t said, queued, promised, most, left, granted;
  } rows[] = {
      {0, 0, 0, WINDOW_MAX, 0, WINDOW_MIN},
      {WINDOW_MIN, WINDOW_MIN, 0, WINDOW_MAX, 0, WINDOW_MIN},
      {WINDOW_MIN + MORE, 0, MORE, WINDOW_MAX, 0, WINDOW_MIN + MORE},
      {0, WINDOW_MIN + MORE, MORE, WINDOW_MAX, 10, WINDOW_MIN + MORE + 5},
      {0, 0, 0, WINDOW_MAX, UINT64_C(2) * MORE, WINDOW_MIN + MORE},
      {0, 0, 0, WINDOW_MIN + 10, UINT64_C(2) * MORE, WINDOW_MIN + 10},
      {0, 0, 0, 1000, 0, 1000},
      {0, 0, 0, WINDOW_MAX, FOREVER, WINDOW_MAX},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ck_assert_uint_eq(window_promised(rows[i].said, rows[i].queued), rows[i].promised);
    ck_assert_uint_eq(window_grant(rows[i].most, rows[i].promised, rows[i].left), rows[i].granted);
  }
}
END_TEST

static int ack_more(struct window *w, uint64_t bytes, uint64_t queued, uint64_t now)
{
  struct ack ack = {.taken = w->acked + bytes, .messages = w->acked_messages, .queued = queued};
  return window_acked(w, &ack, FOREVER, now);
}

START_TEST(grows_when_it_might_hold_back)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 0);
  ck_assert_int_eq(ack_more(&w, WINDOW_MIN / 4 - 1000, 0, 100), 0);
  ck_assert_uint_eq(w.size, WINDOW_MIN);
  ck_assert_int_eq(ack_more(&w, 1000, WINDOW_MIN / 4, 100), 0); /* not into a far backlog */
  ck_assert_uint_eq(w.size, WINDOW_MIN);
  ck_assert_int_eq(ack_more(&w, 1, 0, 100), 0);
  ck_assert_uint_eq(w.size, UINT64_C(2) * WINDOW_MIN);

  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 100);
  ck_assert_int_eq(ack_more(&w, WINDOW_MIN / 2 - 1, 0, 200), 0);
  ck_assert_uint_eq(w.size, UINT64_C(2) * WINDOW_MIN);
  ck_assert_int_eq(ack_more(&w, 1, 0, 200), 0);
  ck_assert_uint_gt(w.size, UINT64_C(2) * WINDOW_MIN);
}
END_TEST

START_TEST(does_not_grow_unused)
{
  struct world *w = world_create(paths[1]);
  for (int i = 0; i < 100; i++) {
    w->offered = 60000;
    run(w, SECOND / 10);
  }
  ck_assert_uint_eq(w->size_max, WINDOW_MIN);
  free(w);
}
END_TEST

START_TEST(gives_back_what_it_does_not_use)
{
  struct world *w = world_create(paths[0]);
  run(w, 3 * SECOND);
  ck_assert_uint_eq(w->window.size, WINDOW_MAX);
  w->offered = 0;
  run(w, SECOND);
  w->path.reader = 0;
  w->offered = 2 << 20;
  run(w, 10 * SECOND);
  ck_assert_uint_ge(under_way(&w->window), 2 << 20);
  ck_assert_uint_eq(w->window.size, under_way(&w->window));
  w->path.reader = FAST;
  for (int i = 0; i < 10; i++) {
    w->offered = 1000;
    run(w, SECOND);
  }
  ck_assert_uint_eq(w->window.size, WINDOW_MIN);
  w->offered = FOREVER;
  run(w, 2 * SECOND);
  ck_assert_uint_ge(run(w, 5 * SECOND), 5 * paths[0].rate * 95 / 100);
  free(w);
}
END_TEST

START_TEST(no_message_is_large_for_the_window)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  ck_assert_uint_eq(window_room(&w), WINDOW_MIN / 4 - WINDOW_MESSAGE_COST);
  uint64_t room, last = 0, sent = 0;
  while ((room = window_room(&w)) > 0) {
    window_sent(&w, room, 0);
    sent += room + WINDOW_MESSAGE_COST;
    last = room;
  }
  ck_assert_uint_eq(sent, WINDOW_MIN);
  ck_assert_uint_ge(last, 4096);
  ck_assert_int_eq(ack_more(&w, 4096, 0, 1000), 0);
  ck_assert_uint_eq(window_room(&w), 0); /* not worth a message */
  ck_assert_int_eq(ack_more(&w, WINDOW_MESSAGE_COST, 0, 1000), 0);
  ck_assert_uint_eq(window_room(&w), 4096);

  window_start(&w, 4000);
  window_sent(&w, window_room(&w), 0);
  ck_assert_uint_eq(window_room(&w), 1000 - WINDOW_MESSAGE_COST);
}
END_TEST

START_TEST(rests_no_sooner_than_acks_can_come)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 0);
  ck_assert_int_eq(ack_more(&w, w.sent, 0, 3 * SECOND), 0);
  uint64_t size = w.size;
  ck_assert_uint_gt(size, WINDOW_MIN);
  for (uint64_t at = 4; at < 8; at++)
    window_rest(&w, at * SECOND);
  ck_assert_uint_eq(w.size, size);
  window_rest(&w, 30 * SECOND);
  ck_assert_uint_lt(w.size, size);
}
END_TEST

/* The acks of what was under way tell nothing of the path when another stream goes on: how long they were on their way,
 * nor how fast it took what they tell. */
START_TEST(measures_anew_on_another_stream)
{
  enum { RTT = 1000, AWAY = 5000000 };
  const uint64_t portion = 10000;
  struct window w;
  uint64_t now = SECOND;
  struct ack ack = {0};
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  window_sent(&w, portion, now); /* there is always something under way */
  for (int i = 0; i < 100; i++, now += RTT) {
    window_sent(&w, portion, now);
    ack.taken += portion;
    ack.messages++;
    ck_assert_int_eq(window_acked(&w, &ack, FOREVER, now + RTT), 0);
  }
  uint64_t rate = window_rate(&w), rtt = window_rtt(&w);
  ck_assert_uint_gt(rate, 0);
  ck_assert_uint_gt(rtt, RTT / 2);
  for (int i = 0; i < 19; i++)
    window_sent(&w, portion, now);
  uint64_t size = w.size;
  now += AWAY;
  window_resume(&w);
  ck_assert_uint_eq(window_unacked(&w), 20 * portion);
  ck_assert_uint_eq(w.size, size);
  ack.taken += 19 * portion;
  ack.messages += 19;
  ck_assert_int_eq(window_acked(&w, &ack, 0, now + 1), 0);
  ck_assert_uint_eq(window_rate(&w), rate);
  ck_assert_uint_eq(window_rtt(&w), rtt);
  ck_assert_uint_eq(window_unacked(&w), portion);
  window_sent(&w, portion, now + 2);
  ack.taken += 2 * portion;
  ack.messages += 2;
  ck_assert_int_eq(window_acked(&w, &ack, 0, now + 2 + RTT / 2), 0);
  ck_assert_uint_eq(window_rtt(&w), RTT / 2);
}
END_TEST

/* ---- Acks ---- */

START_TEST(ack_after_a_delay)
{
  struct acks a;
  acks_start(&a);
  ck_assert(!acks_any(&a));
  ck_assert(!acks_due(&a, FOREVER));
  acks_taken(&a, 1, 0, 1000);
  ck_assert(acks_any(&a));
  ck_assert(!acks_due(&a, 1000 + ACKS_DELAY_US - 1));
  acks_taken(&a, 10, 1, 4000);
  ck_assert(acks_due(&a, 1000 + ACKS_DELAY_US));
  ck_assert(!acks_due(&a, 0)); /* another thread's clock, read earlier */
  struct ack ack = acks_say(&a, 77, 7000);
  ck_assert_uint_eq(ack.taken, 11);
  ck_assert_uint_eq(ack.messages, 1);
  ck_assert_uint_eq(ack.queued, 77);
  ck_assert_uint_eq(ack.held_us, 3000);
  ck_assert(!acks_any(&a));
  ck_assert(!acks_due(&a, FOREVER));
  acks_taken(&a, 1, 0, 20000);
  ck_assert(!acks_due(&a, 20000));
  ck_assert_uint_eq(acks_say(&a, 0, 19999).held_us, 0);
}
END_TEST

/* Of nothing, so that the other side knows that it was heard. */
START_TEST(ack_as_a_greeting)
{
  struct acks a;
  acks_start(&a);
  acks_greet(&a, 1000);
  ck_assert(acks_any(&a) && !acks_unsaid(&a));
  ck_assert(!acks_due(&a, 1000 + ACKS_GREETING_US - 1));
  ck_assert(acks_due(&a, 1000 + ACKS_GREETING_US));
  struct ack ack = acks_say(&a, 0, 5000000);
  ck_assert_uint_eq(ack.taken + ack.messages + ack.held_us, 0);
  ck_assert(!acks_any(&a) && !acks_due(&a, FOREVER));

  acks_greet(&a, 5000000);
  acks_taken(&a, 1, 1, 5000100); /* an ack of something is one, too */
  ck_assert(acks_unsaid(&a) && acks_due(&a, 5000100 + ACKS_DELAY_US));
  ck_assert_uint_eq(acks_say(&a, 0, 5006000).held_us, 5900);
  ck_assert(!acks_any(&a));

  acks_greet(&a, 6000000);
  acks_restart(&a); /* who goes on with it says so */
  acks_say(&a, 0, 6000000);
  ck_assert(!acks_any(&a) && !acks_due(&a, FOREVER));
}
END_TEST

/* On another stream. */
START_TEST(ack_again)
{
  struct acks a;
  acks_start(&a);
  acks_restart(&a);
  ck_assert(!acks_any(&a));
  acks_taken(&a, 10, 1, 8000);
  ck_assert(!acks_due(&a, 8000));
  acks_say(&a, 0, 8000);
  acks_restart(&a);
  ck_assert(acks_any(&a));
  ck_assert(acks_due(&a, 8001));
  struct ack ack = acks_say(&a, 0, 9000);
  ck_assert_uint_eq(ack.taken, 10);
  ck_assert_uint_eq(ack.messages, 1);
  ck_assert_uint_eq(ack.held_us, 1000);
  ck_assert(!acks_any(&a));
}
END_TEST

/* Two of the largest messages lately; no message has more than a quarter of the window. */
START_TEST(ack_after_a_step)
{
  struct acks a;
  acks_start(&a);
  acks_taken(&a, 30000, 1, 0);
  acks_taken(&a, 30000, 1, 0);
  ck_assert(!acks_due(&a, 0));
  acks_taken(&a, 30000, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_say(&a, 0, 0);

  acks_taken(&a, 1 << 20, 1, 0);
  ck_assert(!acks_due(&a, 0));
  acks_taken(&a, 1 << 20, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_say(&a, 0, 0);
  for (int i = 1; i <= 31; i++) { /* two in pieces */
    acks_taken(&a, 64 << 10, i == 16, 0);
    ck_assert(!acks_due(&a, 0));
  }
  acks_taken(&a, 64 << 10, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_say(&a, 0, 0);

  for (int i = 0; i < 100; i++) { /* the large ones are long ago */
    acks_taken(&a, 64 << 10, 1, 0);
    acks_say(&a, 0, 0);
  }
  acks_taken(&a, 64 << 10, 1, 0);
  acks_taken(&a, 64 << 10, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_taken(&a, 1 << 20, 1, 0);
  acks_say(&a, 0, 0);

  acks_taken(&a, 64 << 10, 1, SECOND); /* after a pause */
  acks_taken(&a, 64 << 10, 1, SECOND);
  ck_assert(acks_due(&a, SECOND));
  acks_say(&a, 0, SECOND);

  for (int i = 0; i < 255; i++)
    acks_taken(&a, 1, 1, 2 * SECOND);
  ck_assert(!acks_due(&a, 2 * SECOND));
  acks_taken(&a, 1, 1, 2 * SECOND);
  ck_assert(acks_due(&a, 2 * SECOND)); /* of what they cost */

  acks_taken(&a, 64 << 20, 1, 2 * SECOND);
  ck_assert(acks_due(&a, 2 * SECOND));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("window");
  TCase *links = tcase_create("links");
  tcase_set_timeout(links, 60);
  tcase_add_loop_test(links, starts_as_fast_as_without_a_window, 0, PATHS);
  tcase_add_loop_test(links, fills_the_path, 0, PATHS);
  tcase_add_loop_test(links, does_not_flood_a_full_path, 0, PATHS);
  tcase_add_test(links, is_not_shrunk_by_loss);
  tcase_add_loop_test(links, recovers_when_the_route_changes, 0, 5);
  tcase_add_test(links, measures_the_round_trip);
  tcase_add_loop_test(links, measures_the_rate, 0, PATHS);
  tcase_add_loop_test(links, stays_small_before_a_stalled_receiver, 0, PATHS);
  tcase_add_test(links, stays_small_before_a_slow_receiver);
  tcase_add_loop_test(links, lives_without_a_budget, 0, PATHS);
  tcase_add_loop_test(links, keeps_moving_with_any_limit, 0, 12);
  tcase_add_test(links, counts_what_a_message_costs);
  tcase_add_test(links, acks_are_cheap);
  tcase_add_loop_test(links, offsets_may_be_large, 0, 3);
  tcase_add_loop_test(links, any_schedule, 0, 25);
  suite_add_tcase(suite, links);

  TCase *window = tcase_create("window");
  tcase_add_test(window, refuses_acks_that_cannot_be);
  tcase_add_test(window, survives_times_that_cannot_be);
  tcase_add_test(window, does_not_grow_before_the_limit_is_known);
  tcase_add_test(window, grows_when_it_might_hold_back);
  tcase_add_test(window, an_ack_says_the_limit);
  tcase_add_test(window, grants_what_there_is);
  tcase_add_test(window, does_not_grow_unused);
  tcase_add_test(window, gives_back_what_it_does_not_use);
  tcase_add_test(window, rests_no_sooner_than_acks_can_come);
  tcase_add_test(window, no_message_is_large_for_the_window);
  suite_add_tcase(suite, window);

  TCase *acks = tcase_create("acks");
  tcase_add_test(acks, measures_anew_on_another_stream);
  tcase_add_test(acks, ack_after_a_delay);
  tcase_add_test(acks, ack_as_a_greeting);
  tcase_add_test(acks, ack_again);
  tcase_add_test(acks, ack_after_a_step);
  suite_add_tcase(suite, acks);
  return suite;
}
