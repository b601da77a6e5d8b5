/* How long a connection is held: since streams do not last any more, be they replaced as often as they like before. */
#include <check.h>

#include "carry/tunnel/connection.h"

#include "runner.h"

#define DIAL_MS UINT64_C(10000)
#define HOLD_MS UINT64_C(600000)

static const struct connection_times times = {.dial = DIAL_MS, .hold = HOLD_MS};

/* From this loss on, and not from an earlier one, behind which it had a stream without a break. */
static void held_after(struct connection *c, uint64_t lost)
{
  connection_step(c, CONNECTION_STREAM_LOST, lost);
  ck_assert_int_eq(c->state, CONNECTION_OPEN);
  ck_assert_uint_eq(connection_step(c, CONNECTION_ROUTER_DOWN, lost), 0);
  if (c->has_next)
    connection_step(c, CONNECTION_NEXT_LOST, lost);
  ck_assert_uint_eq(connection_deadline(c), lost + HOLD_MS);
}

static void open_forward(struct connection *c)
{
  connection_start_forward(c, &times, 0);
  connection_step(c, CONNECTION_ROUTER_UP, 0);
  connection_step(c, CONNECTION_ANSWERED, 10);
  ck_assert_int_eq(c->state, CONNECTION_OPEN);
}

/* Its stream is replaced at that time, without a break. */
static void replace(struct connection *c, uint64_t at)
{
  ck_assert_uint_eq(connection_step(c, CONNECTION_RENEW, at), CONNECTION_OPEN_STREAM);
  ck_assert_uint_eq(connection_step(c, CONNECTION_NEXT_ANSWERED, at + 10), CONNECTION_USE_NEXT);
}

START_TEST(a_forward_whose_stream_was_just_replaced)
{
  struct connection c;

  open_forward(&c);
  connection_step(&c, CONNECTION_STREAM_LOST, 10000);
  connection_step(&c, CONNECTION_NEXT_ANSWERED, 10010);
  replace(&c, 3 * HOLD_MS);
  held_after(&c, 3 * HOLD_MS + 500);
}
END_TEST

START_TEST(a_forward_whose_streams_are_replaced_all_the_time)
{
  struct connection c;

  open_forward(&c);
  connection_step(&c, CONNECTION_STREAM_LOST, 10000);
  connection_step(&c, CONNECTION_NEXT_ANSWERED, 10010);
  for (uint64_t at = 10800; at < 2 * HOLD_MS; at += 800)
    replace(&c, at);
  held_after(&c, 2 * HOLD_MS);
}
END_TEST

START_TEST(a_service_whose_stream_was_just_replaced)
{
  struct connection c;

  connection_start_service(&c, &times, false, 0, 0);
  connection_step(&c, CONNECTION_DIALLED, 10);
  connection_step(&c, CONNECTION_HEARD, 10);
  connection_step(&c, CONNECTION_STREAM_LOST, 10000);
  ck_assert_uint_eq(connection_attached(&c, 1, true, 10010), CONNECTION_USE_NEXT);
  ck_assert_uint_eq(connection_attached(&c, 2, true, 3 * HOLD_MS), CONNECTION_USE_NEXT);
  held_after(&c, 3 * HOLD_MS + 500);
}
END_TEST

/* What is lost again and again as soon as it is there keeps nothing alive. */
START_TEST(a_service_whose_streams_do_not_last)
{
  struct connection c;
  uint64_t at = 10000;

  connection_start_service(&c, &times, false, 0, 0);
  connection_step(&c, CONNECTION_DIALLED, 10);
  connection_step(&c, CONNECTION_HEARD, 10);
  connection_step(&c, CONNECTION_STREAM_LOST, at);
  for (uint64_t epoch = 1; at < HOLD_MS; epoch++, at += 500) {
    ck_assert_uint_eq(connection_attached(&c, epoch, true, at), CONNECTION_USE_NEXT);
    connection_step(&c, CONNECTION_STREAM_LOST, at + 400);
    ck_assert_uint_eq(connection_deadline(&c), 10000 + HOLD_MS);
  }
}
END_TEST

/* Nothing shows that the other side has heard of it: it is held while that one may still dial, and no longer. */
static void unheard(struct connection *c, const struct connection_times *as_long, uint64_t expected)
{
  connection_start_service(c, as_long, false, 0, 0);
  connection_step(c, CONNECTION_DIALLED, 10);
  connection_step(c, CONNECTION_STREAM_LOST, 500);
  ck_assert_uint_eq(connection_attached(c, 1, true, 600), CONNECTION_USE_NEXT);
  connection_step(c, CONNECTION_STREAM_LOST, 900);
  ck_assert_uint_eq(connection_deadline(c), 500 + expected);
}

/* Its stream may end in a router, or in a process, that stands still. */
START_TEST(a_service_that_nobody_has_heard_of_for_long)
{
  struct connection c;

  connection_start_service(&c, &times, false, 0, 0);
  connection_step(&c, CONNECTION_DIALLED, 10);
  connection_step(&c, CONNECTION_STREAM_LOST, 2 * HOLD_MS);
  ck_assert_uint_eq(connection_deadline(&c), 2 * HOLD_MS + 60000);
}
END_TEST

START_TEST(a_service_that_nobody_has_heard_of)
{
  static const struct connection_times others[] = {
      {.dial = 100000, .hold = HOLD_MS}, {.dial = DIAL_MS, .hold = 30000}, {.dial = DIAL_MS, .hold = 0}};
  struct connection c;

  unheard(&c, &others[0], 100000);
  unheard(&c, &others[1], 30000);
  unheard(&c, &others[2], 0);
  unheard(&c, &times, 60000);
  unsigned actions = connection_step(&c, CONNECTION_TIME, 60500);
  ck_assert_uint_eq(actions, CONNECTION_RESET_SOCKET | CONNECTION_BURY | CONNECTION_FREE);
}
END_TEST

START_TEST(a_service_that_was_heard_of)
{
  struct connection c;

  connection_start_service(&c, &times, false, 0, 0);
  connection_step(&c, CONNECTION_DIALLED, 10);
  ck_assert_uint_eq(connection_step(&c, CONNECTION_HEARD, 499), 0);
  connection_step(&c, CONNECTION_STREAM_LOST, 500);
  ck_assert_uint_eq(connection_deadline(&c), 500 + HOLD_MS);
}
END_TEST

/* ---- A router that is there, and does not let us in. ---- */

#define REFUSED_MS UINT64_C(60000)

static const struct connection_times with_refusals = {.dial = DIAL_MS, .hold = HOLD_MS, .refused = REFUSED_MS};

/* One that had a stream for a while. */
static void open_either(struct connection *c, enum connection_role role, const struct connection_times *as_long)
{
  if (role == CONNECTION_FORWARD) {
    connection_start_forward(c, as_long, 0);
    connection_step(c, CONNECTION_ROUTER_UP, 0);
    connection_step(c, CONNECTION_ANSWERED, 10);
  } else {
    connection_start_service(c, as_long, false, 0, 0);
    connection_step(c, CONNECTION_DIALLED, 10);
    connection_step(c, CONNECTION_HEARD, 10);
  }
  ck_assert_int_eq(c->state, CONNECTION_OPEN);
}

static void lose(struct connection *c, uint64_t at)
{
  connection_step(c, CONNECTION_STREAM_LOST, at);
  connection_step(c, CONNECTION_NEXT_LOST, at);
  ck_assert_int_eq(c->state, CONNECTION_OPEN);
}

/* It is held for a minute from then on, however often it is refused, and reset after that. */
START_TEST(one_that_is_refused)
{
  struct connection c;

  open_either(&c, (enum connection_role)_i, &with_refusals);
  lose(&c, 100000);
  ck_assert_uint_eq(connection_step(&c, CONNECTION_ROUTER_DOWN, 100000), 0);
  ck_assert_uint_eq(connection_deadline(&c), 100000 + HOLD_MS);
  ck_assert_uint_eq(connection_step(&c, CONNECTION_ROUTER_REFUSED, 150000), 0);
  ck_assert_uint_eq(connection_deadline(&c), 150000 + REFUSED_MS);
  ck_assert_uint_eq(connection_step(&c, CONNECTION_ROUTER_REFUSED, 180000), 0);
  ck_assert_uint_eq(connection_deadline(&c), 150000 + REFUSED_MS);
  ck_assert(connection_step(&c, CONNECTION_TIME, 150000 + REFUSED_MS) & CONNECTION_RESET_SOCKET);
  ck_assert_int_eq(c.state, CONNECTION_GONE);
}
END_TEST

/* An outage that follows is one, and so is what comes after it was let in. */
START_TEST(one_that_is_refused_no_more)
{
  struct connection c;

  open_either(&c, (enum connection_role)_i, &with_refusals);
  lose(&c, 100000);
  connection_step(&c, CONNECTION_ROUTER_REFUSED, 100000);
  ck_assert_uint_eq(connection_deadline(&c), 100000 + REFUSED_MS);
  connection_step(&c, CONNECTION_ROUTER_DOWN, 110000);
  ck_assert_uint_eq(connection_deadline(&c), 100000 + HOLD_MS);
  connection_step(&c, CONNECTION_ROUTER_REFUSED, 120000);
  connection_step(&c, CONNECTION_ROUTER_UP, 130000);
  connection_step(&c, CONNECTION_NEXT_LOST, 130000);
  ck_assert_uint_eq(c.hold_until, 100000 + HOLD_MS);
}
END_TEST

/* The streams that are there go on. When one is lost later, its minute begins. */
START_TEST(one_that_is_refused_with_a_stream)
{
  struct connection c;

  open_either(&c, (enum connection_role)_i, &with_refusals);
  ck_assert_uint_eq(connection_step(&c, CONNECTION_ROUTER_REFUSED, 100000), 0);
  ck_assert_uint_eq(connection_deadline(&c), UINT64_MAX);
  lose(&c, 900000);
  ck_assert_uint_eq(connection_deadline(&c), 900000 + REFUSED_MS);
}
END_TEST

/* A shorter hold stays what it is. */
START_TEST(one_that_is_refused_and_not_held_for_long)
{
  static const struct connection_times shorter = {.dial = DIAL_MS, .hold = 5000, .refused = REFUSED_MS};
  struct connection c;

  open_either(&c, (enum connection_role)_i, &shorter);
  lose(&c, 100000);
  connection_step(&c, CONNECTION_ROUTER_REFUSED, 101000);
  ck_assert_uint_eq(connection_deadline(&c), 105000);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("connection, hold");
  TCase *t = tcase_create("hold");

  tcase_add_test(t, a_forward_whose_stream_was_just_replaced);
  tcase_add_test(t, a_forward_whose_streams_are_replaced_all_the_time);
  tcase_add_test(t, a_service_whose_stream_was_just_replaced);
  tcase_add_test(t, a_service_whose_streams_do_not_last);
  tcase_add_test(t, a_service_that_nobody_has_heard_of);
  tcase_add_test(t, a_service_that_nobody_has_heard_of_for_long);
  tcase_add_test(t, a_service_that_was_heard_of);
  tcase_add_loop_test(t, one_that_is_refused, CONNECTION_FORWARD, CONNECTION_SERVICE + 1);
  tcase_add_loop_test(t, one_that_is_refused_no_more, CONNECTION_FORWARD, CONNECTION_SERVICE + 1);
  tcase_add_loop_test(t, one_that_is_refused_with_a_stream, CONNECTION_FORWARD, CONNECTION_SERVICE + 1);
  tcase_add_loop_test(t, one_that_is_refused_and_not_held_for_long, CONNECTION_FORWARD, CONNECTION_SERVICE + 1);
  suite_add_tcase(s, t);
  return s;
}
