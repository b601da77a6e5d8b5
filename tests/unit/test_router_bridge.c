/* The bridge over calls that are only pretended, through scripted and random schedules. The functions of
 * proto/rpc/rpc.h that it uses are defined here: what they start, the test completes when it likes.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "holds.h"
#include "router/meet/bridge.h"
#include "router/router.h"

#include "runner.h"

enum { LONG_ENOUGH = 2000, SEEDS = 3000 };

struct rpc_message {
  unsigned number;
};

struct rpc_call {
  struct rpc_call_events events;
  void *arg;
  bool original;
  const char *greeting; /* mindmeld-peer */
  bool receiving, broken, closed;
  struct rpc_message *sending;
  bool given; /* a status, by finish or cancel */
  bool cancelled;
  enum rpc_status status;
  unsigned made;  /* messages that came from it */
  unsigned taken; /* messages that were sent to it */
  bool ended;     /* it said its end */
  bool vanished;
};

struct rpc_timer {
  uint64_t ms;
  void (*cb)(void *arg);
  void *arg;
  struct rpc_timer *next;
};

/* The world of one test; Check forks for each. */
static struct {
  struct rpc_call calls[2];
  struct rpc_timer *timers;
  int messages; /* alive */
  int over;
  bool no_memory_for_timers;
} world;

static struct rpc_message *message_make(unsigned number)
{
  struct rpc_message *m = malloc(sizeof *m);
  holds(m != NULL);
  m->number = number;
  world.messages++;
  return m;
}

void rpc_message_free(struct rpc_message *m)
{
  world.messages -= m != NULL;
  free(m);
}

size_t rpc_message_size(const struct rpc_message *m)
{
  return sizeof *m;
}

int rpc_call_send(struct rpc_call *c, struct rpc_message *m)
{
  holds(!c->closed);
  holds(!c->given || c->broken);
  holds(c->sending == NULL);
  holds(c->greeting || c->original);
  if (c->broken) {
    rpc_message_free(m);
    return -EPIPE;
  }
  c->sending = m;
  return 0;
}

int rpc_call_receive(struct rpc_call *c)
{
  holds(!c->closed && !c->receiving && !c->ended);
  if (c->broken)
    return -EPIPE;
  c->receiving = true;
  return 0;
}

int rpc_call_finish(struct rpc_call *c, enum rpc_status status, const char *text)
{
  (void)text;
  holds(!c->closed);
  if (c->broken)
    return -EPIPE;
  holds(!c->given);
  holds(c->sending == NULL);
  c->given = true;
  c->status = status;
  return 0;
}

void rpc_call_cancel(struct rpc_call *c, enum rpc_status status, const char *text)
{
  (void)text;
  holds(!c->closed);
  if (!c->given)
    c->status = status;
  c->given = c->broken = c->cancelled = true;
}

void rpc_call_set_arg(struct rpc_call *c, const struct rpc_call_events *events, void *arg)
{
  c->events = *events;
  c->arg = arg;
}

int rpc_call_send_headers(struct rpc_call *c, const struct rpc_metadata *metadata, size_t count)
{
  holds(count == 1);
  holds(strcmp(metadata->key, "mindmeld-peer") == 0);
  holds(c->greeting == NULL);
  c->greeting = strcmp(metadata->value, "2") == 0 ? "2" : "original";
  return c->broken ? -EPIPE : 0;
}

int rpc_call_send_first(struct rpc_call *c, const struct rpc_metadata *metadata, size_t count, struct rpc_message *m)
{
  int error = rpc_call_send_headers(c, metadata, count);
  if (!error)
    return rpc_call_send(c, m);
  rpc_message_free(m);
  return error;
}

int rpc_timer_start(struct rpc_timer **out, struct rpc_queue *q, uint64_t ms, void (*cb)(void *arg), void *arg)
{
  (void)q;
  if (world.no_memory_for_timers)
    return -ENOMEM;
  struct rpc_timer *t = malloc(sizeof *t);
  holds(t != NULL);
  *t = (struct rpc_timer){.ms = ms, .cb = cb, .arg = arg, .next = world.timers};
  *out = world.timers = t;
  return 0;
}

void rpc_timer_cancel(struct rpc_timer *t)
{
  struct rpc_timer **at = &world.timers;
  while (*at && *at != t)
    at = &(*at)->next;
  holds(*at != NULL);
  *at = t->next;
  free(t);
}

#define A world.calls[0]
#define B world.calls[1]

/* ---- What happens from outside ---- */

static bool timer_fire(void)
{
  struct rpc_timer *t = world.timers;
  if (!t)
    return false;
  void (*cb)(void *) = t->cb;
  void *arg = t->arg;
  rpc_timer_cancel(t);
  cb(arg);
  return true;
}

static bool comes(int i)
{
  struct rpc_call *c = &world.calls[i];
  if (!c->receiving || c->closed || c->broken || c->vanished)
    return false;
  c->receiving = false;
  c->events.message(c, message_make(++c->made), c->arg);
  return true;
}

static bool ends(int i)
{
  struct rpc_call *c = &world.calls[i];
  if (!c->receiving || c->closed || c->broken || c->vanished)
    return false;
  c->receiving = false;
  c->ended = true;
  c->events.message(c, NULL, c->arg);
  return true;
}

static bool takes(int i)
{
  struct rpc_call *c = &world.calls[i];
  if (!c->sending || c->closed || c->broken || c->vanished)
    return false;
  holds(c->sending->number == c->taken + 1);
  c->taken++;
  rpc_message_free(c->sending);
  c->sending = NULL;
  c->events.sent(c, c->arg);
  return true;
}

static bool closes(int i)
{
  struct rpc_call *c = &world.calls[i];
  if (c->closed || !(c->given || c->vanished))
    return false;
  rpc_message_free(c->sending);
  c->sending = NULL;
  c->events.closed(c, c->given && !c->broken ? RPC_OK : RPC_CANCELLED, "", c->arg);
  c->closed = true;
  return true;
}

static bool vanishes(int i)
{
  struct rpc_call *c = &world.calls[i];
  if (c->closed || c->vanished)
    return false;
  c->vanished = c->broken = true;
  return true;
}

static void on_over(void *arg)
{
  (void)arg;
  world.over++;
}

static struct router_limits limits;

static void bridge_of(bool original_a, bool original_b, unsigned first_a, unsigned first_b)
{
  limits = router_limits_default();
  A.original = original_a;
  B.original = original_b;
  struct leg legs[2] = {{.call = &A, .original = original_a, .receiving = A.receiving},
                        {.call = &B, .original = original_b, .receiving = B.receiving}};
  if (first_a)
    legs[0].first = message_make(A.made = 1);
  if (first_b)
    legs[1].first = message_make(B.made = 1);
  holds(bridge_start(NULL, &limits, legs, on_over, NULL) == 0);
}

static void all_over(void)
{
  while (closes(0) || closes(1))
    ;
  holds(world.over == 1);
  holds(world.messages == 0);
  holds(world.timers == NULL);
}

/* ---- Scripts ---- */

START_TEST(test_greeting)
{
  bridge_of(_i & 1, _i & 2, 0, 0);
  const char *of_a = _i & 1 ? "original" : "2", *of_b = _i & 2 ? "original" : "2";
  if (A.greeting)
    ck_assert_str_eq(A.greeting, of_b);
  ck_assert_int_eq(A.greeting == NULL, (_i & 1) != 0);
  if (B.greeting)
    ck_assert_str_eq(B.greeting, of_a);
  ck_assert_int_eq(B.greeting == NULL, (_i & 2) != 0);
  vanishes(0);
  all_over();
}
END_TEST

START_TEST(test_backpressure)
{
  bridge_of(_i & 1, _i & 2, 0, 0);
  /* B takes nothing: one on its way, one waits, and no more is asked for. */
  ck_assert(comes(0));
  ck_assert(A.receiving);
  ck_assert(comes(0));
  ck_assert(!A.receiving);
  /* The other direction does not mind. */
  for (int i = 0; i < 5; i++)
    ck_assert(comes(1) && takes(0));
  ck_assert(!A.receiving);
  ck_assert(takes(1));
  ck_assert(A.receiving);
  ck_assert_ptr_nonnull(B.sending);
  ck_assert(takes(1));
  ck_assert(!takes(1));
  vanishes(1);
  all_over();
}
END_TEST

START_TEST(test_half_close)
{
  bridge_of(false, false, 0, 0);
  ck_assert(comes(0) && ends(0));
  ck_assert(!B.given && !A.given);
  ck_assert(takes(1));
  for (int i = 0; i < 3; i++)
    ck_assert(comes(1) && takes(0));
  ck_assert(comes(1) && ends(1));
  ck_assert(B.given && B.status == RPC_OK); /* all that A sent was taken */
  ck_assert(!A.given);
  ck_assert_ptr_null(world.timers); /* however long it takes */
  ck_assert(takes(0));
  ck_assert(A.given && A.status == RPC_OK);
  all_over();
}
END_TEST

START_TEST(test_broken_between_ours)
{
  bridge_of(false, false, 0, 0);
  comes(0);
  comes(0);
  vanishes(0);
  ck_assert(closes(0));
  ck_assert(!B.given);
  ck_assert_uint_eq(world.timers->ms, limits.reset_ms);
  ck_assert(takes(1) && takes(1)); /* which may be the reason */
  ck_assert(B.given && !B.cancelled && B.status == RPC_ABORTED);
  all_over();
}
END_TEST

START_TEST(test_broken_and_stuck)
{
  bridge_of(false, false, 0, 0);
  comes(0);
  comes(0);
  vanishes(0);
  closes(0);
  ck_assert(timer_fire());
  ck_assert(B.cancelled && B.status == RPC_ABORTED);
  all_over();
}
END_TEST

START_TEST(test_broken_with_original)
{
  /* An original breaks: ours is told. Ours breaks: an original sees an end. */
  bridge_of(_i == 0, _i == 1, 0, 0);
  comes(0);
  vanishes(0);
  closes(0);
  ck_assert(takes(1));
  ck_assert(B.given && B.status == (_i == 0 ? RPC_ABORTED : RPC_OK));
  all_over();
}
END_TEST

START_TEST(test_one_end_ends_both)
{
  bridge_of(_i & 1, _i & 2, 0, 0);
  for (int i = 0; i < 2; i++)
    ck_assert(comes(1));
  ck_assert(comes(0) && ends(0));
  ck_assert(!A.given && !B.given);
  ck_assert(takes(0) && takes(0) && takes(1));
  ck_assert(A.given && A.status == RPC_OK && !A.cancelled);
  ck_assert(B.given && B.status == RPC_OK && !B.cancelled);
  all_over();
}
END_TEST

START_TEST(test_original_stops_reading)
{
  bridge_of(true, true, 0, 0);
  comes(1);
  comes(1);
  comes(0);
  ends(0);
  ck_assert(takes(1));
  ck_assert(B.given && closes(1));
  ck_assert_uint_eq(world.timers->ms, limits.leave_ms);
  ck_assert(timer_fire());
  ck_assert(A.cancelled);
  all_over();
}
END_TEST

START_TEST(test_ours_takes_its_time)
{
  /* An original and one of ours: whoever ends, ours may be slow to take the rest. */
  bridge_of(true, false, 0, 0);
  for (int i = 0; i < 2; i++)
    ck_assert(comes(0));
  ck_assert(comes(1));
  if (_i == 0)
    ck_assert(takes(1) && ends(0));
  else
    ck_assert(ends(1) && takes(1));
  ck_assert(takes(0));
  ck_assert(A.given && closes(0));
  ck_assert_ptr_null(world.timers);
  ck_assert(!B.given && takes(1));
  ck_assert(B.given && B.status == RPC_OK && !B.cancelled);
  all_over();
}
END_TEST

START_TEST(test_first_messages)
{
  bridge_of(true, true, 1, 1);
  ck_assert(A.sending && B.sending);
  ck_assert(comes(0) && !A.receiving);
  ck_assert(takes(1) && takes(1) && takes(0));
  ends(0);
  all_over();
}
END_TEST

/* A header, for a stream of which a message was asked for while it was parked. */
START_TEST(test_parked)
{
  B.receiving = true;
  bridge_of(false, false, 1, 0);
  ck_assert_ptr_nonnull(B.sending);
  ck_assert(comes(1) && comes(1) && comes(0));
  ck_assert(!A.receiving && takes(1) && A.receiving);
  ck_assert(takes(0) && takes(0) && takes(1));
  ck_assert(ends(1) && ends(0));
  ck_assert(A.given && B.given);
  all_over();
}
END_TEST

START_TEST(test_broken_from_the_start)
{
  A.broken = A.vanished = true;
  bridge_of(_i & 1, _i & 2, (unsigned)(_i & 1), (unsigned)(_i & 2));
  closes(0);
  takes(1);
  ck_assert(B.given);
  all_over();
}
END_TEST

START_TEST(test_no_memory_for_timers)
{
  bridge_of(true, true, 0, 0);
  world.no_memory_for_timers = true;
  comes(1);
  ends(0);
  ck_assert(A.given && B.given);
  all_over();
}
END_TEST

/* ---- Any schedule ---- */

START_TEST(test_random)
{
  unsigned seed = (unsigned)_i * SEEDS;
  for (unsigned last = seed + SEEDS; seed < last; seed++) {
    memset(&world, 0, sizeof world);
    unsigned random = seed;
    bool original[2] = {rand_r(&random) % 2, rand_r(&random) % 2};
    unsigned firsts[2] = {rand_r(&random) % 2, original[1] && rand_r(&random) % 2};
    B.receiving = !original[1] && rand_r(&random) % 2;
    bool calm = rand_r(&random) % 2; /* nobody vanishes, no timer fires */
    bridge_of(original[0], original[1], firsts[0], firsts[1]);
    unsigned made_at_end[2] = {0};
    for (int step = 0; step < LONG_ENOUGH && !world.over; step++) {
      int i = rand_r(&random) % 2;
      int what = rand_r(&random) % 100;
      bool ended = A.ended || B.ended;
      if (what < 40)
        comes(i);
      else if (what < 80)
        takes(i);
      else if (what < 90)
        closes(i);
      else if (what < 94)
        ends(i);
      else if (!calm && what < 97)
        vanishes(i);
      else if (!calm)
        timer_fire();
      /* Two under way in each direction. */
      holds(world.messages <= 4);
      if (!ended && (A.ended || B.ended)) {
        made_at_end[0] = A.made;
        made_at_end[1] = B.made;
      }
    }
    while (closes(0) || closes(1) || takes(0) || takes(1) || ends(0) || ends(1))
      ;
    ck_assert_msg(world.over == 1, "seed %u", seed);
    ck_assert_msg(world.messages == 0 && !world.timers, "seed %u", seed);
    if (!calm)
      continue;
    ck_assert_msg(A.status == RPC_OK && B.status == RPC_OK && !A.cancelled && !B.cancelled, "seed %u", seed);
    if (!original[0] && !original[1]) {
      ck_assert_msg(A.taken == B.made && B.taken == A.made, "seed %u", seed);
    } else if (made_at_end[0] || made_at_end[1]) {
      ck_assert_msg(A.taken >= made_at_end[1] && B.taken >= made_at_end[0], "seed %u", seed);
    }
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("bridge");
  TCase *tcase = tcase_create("bridge");
  suite_add_tcase(suite, tcase);
  tcase_add_loop_test(tcase, test_greeting, 0, 4);
  tcase_add_loop_test(tcase, test_backpressure, 0, 4);
  tcase_add_test(tcase, test_half_close);
  tcase_add_test(tcase, test_broken_between_ours);
  tcase_add_test(tcase, test_broken_and_stuck);
  tcase_add_loop_test(tcase, test_broken_with_original, 0, 2);
  tcase_add_loop_test(tcase, test_one_end_ends_both, 1, 4);
  tcase_add_test(tcase, test_original_stops_reading);
  tcase_add_loop_test(tcase, test_ours_takes_its_time, 0, 2);
  tcase_add_test(tcase, test_first_messages);
  tcase_add_test(tcase, test_parked);
  tcase_add_loop_test(tcase, test_broken_from_the_start, 0, 4);
  tcase_add_test(tcase, test_no_memory_for_timers);
  tcase_add_loop_test(tcase, test_random, 0, 8);
  tcase_set_timeout(tcase, 60);
  return suite;
}
