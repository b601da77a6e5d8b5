/* The sender. The window is credit: it bounds what memory a direction may take on its way, and should never be what
 * holds a path back. So it doubles when it might soon do so, up to a few times what the path carries in a round trip:
 * on a full path a larger window only makes longer queues. The rate at which bytes are acked tells what the path
 * carries; the round trip is measured on one message at a time.
 *
 * The least round trip is the one without queues. A route may become longer, and a long transfer over a full path never
 * sees the path without the queue that it makes itself. So when no round trip was nearly as short as the least for ten
 * seconds, the sender waits until less is under way than the path needs to be full, and times a message then. That
 * costs half a round trip of transfer. It is also when a window comes down that became too large because the path
 * became slower. Loss is no reason to shrink: the transport deals with that.
 *
 * The receiver. It must be able to queue what it grants, even if its sockets take nothing. So it keeps to its budget by
 * granting less, and never by leaving messages unread: acks, ends and resets would have to wait behind them. Each
 * connection starts with the same window; beyond that each is granted half of what is left of the budget, which is
 * therefore never used up. A sender says how much of its grant it means to use, so that idle ones cost nothing.
 *
 * A message has at most a quarter of the sender's window. So one ack for every two of the largest recent messages comes
 * before the window is used up, and costs little beside them. Slower data is acked after a delay. A side that was
 * answered acks even if no data came yet, to show that it has heard the answer. That is in no hurry: most have
 * something else to say by then.
 */
#include "window.h"

#include <errno.h>

#define SECOND UINT64_C(1000000)

enum {
  ROOM_MIN = 4 << 10,          /* a smaller message is not worth it while others are under way */
  MESSAGE_UNKNOWN = 12 << 10,  /* its size before the rate is known: goes in the first flight of a TCP connection */
  MESSAGE_US = 2000,           /* how long a message takes */
  RTT_FLOOR_US = 250,          /* on one machine, where a larger window would only leave the caches */
  CEILING = 4,                 /* the window, in what the path carries in a round trip */
  RATE_INTERVAL_MIN_US = 5000, /* a round trip, but never less than this */
  RATE_DECAY = 8,              /* a lower rate counts for one part of so many */
  RTT_NEAR = 8,                /* a round trip is as short as the least if it is not longer by one part of so many */
  ACKS_STEP_MIN = 64 << 10,
  ACKS_STEP_MAX = 4 << 20,
  ACKS_IDLE_US = 200000,
};

#define RTT_AGE (10 * SECOND)
#define RTT_MAX (60 * SECOND)
#define RATE_MAX UINT64_C(100000000000)
#define BYTES_MAX (UINT64_C(1) << 43)

static uint64_t min_of(uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* The clock is read on two threads before they meet: it may seem to go back a little. */
static uint64_t passed_since(uint64_t then, uint64_t now)
{
  return now > then ? now - then : 0;
}

/* ---- The sender ---- */

void window_start(struct window *w, uint64_t max)
{
  *w = (struct window){.own_max = max};
  window_limit(w, 0);
  w->size = w->max;
}

void window_limit(struct window *w, uint64_t limit)
{
  w->max = min_of(w->own_max, limit > 0 ? limit : WINDOW_MIN);
  w->size = min_of(w->size, w->max);
}

static uint64_t cost(const struct window *w)
{
  return w->sent - w->acked + WINDOW_MESSAGE_COST * (w->sent_messages - w->acked_messages);
}

static uint64_t floor_of(const struct window *w)
{
  return min_of(WINDOW_MIN, w->max);
}

static uint64_t carried(const struct window *w, uint64_t us)
{
  return w->rate * us / SECOND;
}

/* UINT64_MAX while it is not known. */
static uint64_t ceiling(const struct window *w)
{
  return w->rate > 0 && w->rtt > 0
             ? (w->interval.rising ? 2 * CEILING : CEILING) * carried(w, max_of(w->rtt, RTT_FLOOR_US))
             : UINT64_MAX;
}

uint64_t window_room(const struct window *w)
{
  uint64_t under_way = cost(w);
  uint64_t size = w->drain > 0 ? min_of(w->size, w->drain) : w->size;
  uint64_t room = min_of(size > under_way ? size - under_way : 0, w->size / 4);
  room = room > WINDOW_MESSAGE_COST ? room - WINDOW_MESSAGE_COST : 0;
  if (under_way == 0)
    return max_of(room, 1);
  return room >= min_of(ROOM_MIN, w->size / 8) ? room : 0;
}

void window_sent(struct window *w, uint64_t bytes, uint64_t now)
{
  if (cost(w) == 0) {
    w->interval.idle = true;
    w->interval.acked = w->acked;
    w->interval.since = now;
  }
  bool alone = cost(w) == 0 || w->drain > 0;
  w->sent += bytes;
  w->sent_messages++;
  w->rested.peak = max_of(w->rested.peak, cost(w));
  if (w->timed.running)
    return;
  w->timed.running = true;
  w->timed.alone = alone;
  w->timed.end = w->sent;
  w->timed.since = now;
}

static bool is_rtt_old(const struct window *w, uint64_t now)
{
  return passed_since(w->rtt_seen, now) > RTT_AGE;
}

static void time_round_trip(struct window *w, const struct ack *ack, uint64_t now)
{
  if (!w->timed.running || w->acked < w->timed.end)
    return;
  w->timed.running = false;
  uint64_t passed = passed_since(w->timed.since, now);
  if (passed <= ack->held_us)
    return;
  uint64_t rtt = min_of(passed - ack->held_us, RTT_MAX);
  bool least = w->rtt == 0 || rtt < w->rtt || (w->timed.alone && is_rtt_old(w, now));
  if (least || rtt <= w->rtt + w->rtt / RTT_NEAR)
    w->rtt_seen = now;
  if (least)
    w->rtt = rtt;
  if (w->drain == 0)
    return;
  w->drain = 0;
  w->size = min_of(w->size, max_of(ceiling(w), max_of(floor_of(w), cost(w))));
}

static void begin_interval(struct window *w, uint64_t now)
{
  w->interval.idle = cost(w) == 0 || w->drain > 0;
  w->interval.acked = w->acked;
  w->interval.since = now;
}

static void measure_rate(struct window *w, uint64_t now)
{
  w->interval.idle |= cost(w) == 0 || w->drain > 0;
  uint64_t us = passed_since(w->interval.since, now);
  if (w->rtt == 0 || us < max_of(w->rtt, w->rate > 0 ? RATE_INTERVAL_MIN_US : 0))
    return;
  uint64_t rate = min_of(min_of(w->acked - w->interval.acked, BYTES_MAX) * SECOND / us, RATE_MAX);
  w->interval.rising = rate > w->rate + w->rate / 4;
  if (rate > w->rate)
    w->rate = rate;
  else if (!w->interval.idle)
    w->rate -= (w->rate - rate) / RATE_DECAY;
  begin_interval(w, now);
}

static void grow(struct window *w, uint64_t was_under_way, const struct ack *ack, uint64_t budget)
{
  bool held_back = was_under_way > w->size / 2;
  if (!held_back || w->acked - w->grown_at < w->size / 4 || ack->queued >= w->size / 4)
    return;
  uint64_t size = min_of(min_of(2 * w->size, ceiling(w)), w->max);
  if (size <= w->size || budget == 0)
    return;
  w->size += min_of(size - w->size, budget);
  w->grown_at = w->acked;
}

static void drain(struct window *w, uint64_t now)
{
  bool will_be_known = w->timed.running && w->timed.alone;
  if (w->drain > 0 || w->rtt == 0 || w->rate == 0 || will_be_known || !is_rtt_old(w, now))
    return;
  w->drain = max_of(carried(w, w->rtt) / 2, ROOM_MIN);
  w->timed.running = false;
  w->interval.idle = true;
}

int window_acked(struct window *w, const struct ack *ack, uint64_t budget, uint64_t now)
{
  if (ack->taken < w->acked || ack->taken > w->sent || ack->messages < w->acked_messages ||
      ack->messages > w->sent_messages)
    return -EPROTO;
  uint64_t was_under_way = cost(w);
  w->acked = ack->taken;
  w->acked_messages = ack->messages;
  if (ack->limit > 0)
    window_limit(w, ack->limit);
  time_round_trip(w, ack, now);
  if (w->resumed)
    begin_interval(w, now);
  else
    measure_rate(w, now);
  w->resumed = false;
  grow(w, was_under_way, ack, budget);
  drain(w, now);
  return 0;
}

void window_resume(struct window *w)
{
  w->timed.running = false;
  w->resumed = cost(w) > 0;
}

void window_rest(struct window *w, uint64_t now)
{
  if (passed_since(w->rested.at, now) < 2 * w->rtt)
    return;
  uint64_t under_way = cost(w);
  if (w->rested.peak < w->size / 4 || w->acked == w->rested.acked)
    w->size = min_of(w->size, max_of(w->size / 2, max_of(under_way, floor_of(w))));
  w->rested.peak = under_way;
  w->rested.acked = w->acked;
  w->rested.at = now;
}

uint64_t window_meant(const struct window *w)
{
  return max_of(max_of(w->size, cost(w)), WINDOW_MIN);
}

uint64_t window_unacked(const struct window *w)
{
  return w->sent - w->acked;
}

uint64_t window_rate(const struct window *w)
{
  return w->rate;
}

uint64_t window_rtt(const struct window *w)
{
  return w->rtt;
}

size_t window_message(const struct window *w)
{
  uint64_t size = w->rate > 0 ? carried(w, MESSAGE_US) : MESSAGE_UNKNOWN;
  return (size_t)min_of(max_of(size, WINDOW_MESSAGE_MIN), WINDOW_MESSAGE_MAX);
}

/* ---- The receiver ---- */

uint64_t window_promised(uint64_t said, uint64_t queued)
{
  return max_of(max_of(said, queued), WINDOW_MIN) - WINDOW_MIN;
}

uint64_t window_grant(uint64_t most, uint64_t promised, uint64_t left)
{
  return min_of(most, WINDOW_MIN + promised + left / 2);
}

bool window_hears(bool windowed, bool empty)
{
  return windowed || empty;
}

/* An end and a first byte go beyond a window, however small. */
bool window_overrun(uint64_t most, uint64_t queued, uint64_t excess, uint64_t budget)
{
  if (excess > 2 * budget)
    most = min_of(most, WINDOW_MIN);
  return queued > most + (uint64_t)(3 * WINDOW_MESSAGE_COST);
}

void acks_start(struct acks *a)
{
  *a = (struct acks){0};
}

void acks_restart(struct acks *a)
{
  a->said = a->said_messages = 0;
  a->first_at = 0;
  a->greets = false;
}

void acks_greet(struct acks *a, uint64_t now)
{
  a->greets = true;
  a->greets_at = now;
}

void acks_taken(struct acks *a, uint64_t bytes, uint64_t messages, uint64_t now)
{
  if (passed_since(a->last_at, now) > ACKS_IDLE_US)
    a->largest = 0;
  if (!acks_unsaid(a))
    a->first_at = now;
  a->last_at = now;
  a->taken += bytes;
  a->messages += messages;
  a->part += bytes;
  a->largest = max_of(a->largest, messages > 1 ? a->part / messages : a->part);
  if (messages > 0)
    a->part = 0;
}

bool acks_unsaid(const struct acks *a)
{
  return a->taken != a->said || a->messages != a->said_messages;
}

bool acks_any(const struct acks *a)
{
  return a->greets || acks_unsaid(a);
}

bool acks_due(const struct acks *a, uint64_t now)
{
  if (a->greets && passed_since(a->greets_at, now) >= ACKS_GREETING_US)
    return true;
  if (!acks_unsaid(a))
    return false;
  uint64_t unsaid = a->taken - a->said + WINDOW_MESSAGE_COST * (a->messages - a->said_messages);
  uint64_t step = min_of(max_of(2 * a->largest, ACKS_STEP_MIN), ACKS_STEP_MAX);
  return unsaid >= step || passed_since(a->first_at, now) >= ACKS_DELAY_US;
}

struct ack acks_say(struct acks *a, uint64_t queued, uint64_t now)
{
  uint64_t held_us = acks_unsaid(a) ? passed_since(a->last_at, now) : 0;
  a->said = a->taken;
  a->said_messages = a->messages;
  a->greets = false;
  a->largest -= a->largest / 16;
  return (struct ack){
      .taken = a->taken,
      .messages = a->messages,
      .queued = queued,
      .held_us = (uint32_t)min_of(held_us, UINT32_MAX),
  };
}
