/* A connection whose ends are both said lasts until the other side has taken all. Who does not want to wait for that
 * may cut it.
 */
#include <check.h>
#include <signal.h>

#include "carry/tunnel/connection_internal.h"

#include "runner.h"

static const struct connection_times times = {.dial = 10000, .hold = 600000};

static void step(struct connection *c, enum connection_event event, uint64_t now, unsigned actions)
{
  ck_assert_uint_eq(connection_step(c, event, now), actions);
}

static void both_ended(struct connection *c)
{
  step(c, CONNECTION_REMOTE_EOF, 100, CONNECTION_SHUTDOWN_SOCKET);
  step(c, CONNECTION_LOCAL_EOF, 100, CONNECTION_SAY_EOF | CONNECTION_HALF_CLOSE | CONNECTION_CLOSE_SOCKET);
  ck_assert_int_eq(c->state, CONNECTION_CLOSING);
}

static void forward(struct connection *c)
{
  connection_start_forward(c, &times, 0);
  connection_step(c, CONNECTION_ROUTER_UP, 0);
  connection_step(c, CONNECTION_ANSWERED, 10);
  both_ended(c);
}

START_TEST(a_forward)
{
  struct connection c;

  forward(&c);
  step(&c, CONNECTION_CUT, 5000, CONNECTION_SAY_RESET | CONNECTION_RESET_SOCKET);
  ck_assert_uint_eq(connection_deadline(&c), 7000);
  step(&c, CONNECTION_CUT, 5001, 0);
  /* The stream was half-closed before, and could only be cancelled. */
  step(&c, CONNECTION_STREAM_LOST, 5010, CONNECTION_DROP_CURRENT | CONNECTION_OPEN_STREAM);
  step(&c, CONNECTION_NEXT_ANSWERED, 5020, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET);
  step(&c, CONNECTION_STREAM_OK, 5030, CONNECTION_DROP_CURRENT | CONNECTION_FREE);
}
END_TEST

START_TEST(a_forward_without_a_stream)
{
  struct connection c;

  forward(&c);
  step(&c, CONNECTION_STREAM_LOST, 5000, CONNECTION_DROP_CURRENT | CONNECTION_OPEN_STREAM);
  step(&c, CONNECTION_CUT, 5010, CONNECTION_RESET_SOCKET);
  step(&c, CONNECTION_NEXT_ANSWERED, 5020, CONNECTION_USE_NEXT | CONNECTION_SAY_RESET);
}
END_TEST

START_TEST(a_service)
{
  struct connection c;

  connection_start_service(&c, &times, false, 0, 0);
  connection_step(&c, CONNECTION_DIALLED, 10);
  both_ended(&c);
  step(&c, CONNECTION_CUT, 5000, CONNECTION_SAY_RESET | CONNECTION_RESET_SOCKET);
  step(&c, CONNECTION_STREAM_LOST, 5010, CONNECTION_DROP_CURRENT | CONNECTION_BURY | CONNECTION_FREE);
  ck_assert(c.reset);
}
END_TEST

/* It will be over soon anyway. */
START_TEST(one_that_was_reset)
{
  struct connection c;

  connection_start_service(&c, &times, false, 0, 0);
  connection_step(&c, CONNECTION_DIALLED, 10);
  step(&c, CONNECTION_REMOTE_RESET, 100, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET);
  step(&c, CONNECTION_CUT, 200, 0);
  ck_assert_uint_lt(connection_deadline(&c), 5000);
}
END_TEST

/* The end of one that made a move which the table does not allow: of the program where it is tested, else of the one
 * connection. */
START_TEST(a_broken_one)
{
  struct connection c;

  forward(&c);
  connection_move(&c, CONNECTION_WAITING);
  ck_assert(c.broken);
  step(&c, CONNECTION_RENEW, 5000, CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET | CONNECTION_FREE);
  step(&c, CONNECTION_RENEW, 5010, 0);
  connection_start_service(&c, &times, false, 0, 0);
  connection_move(&c, CONNECTION_WAITING);
  ck_assert_uint_eq(connection_attached(&c, 1, true, 10),
                    CONNECTION_DROP_CURRENT | CONNECTION_RESET_SOCKET | CONNECTION_BURY | CONNECTION_FREE);
}
END_TEST

#ifdef MM_STRICT
enum { BROKEN_ENDS_BY = SIGABRT };
#else
enum { BROKEN_ENDS_BY = 0 };
#endif

Suite *test_suite(void)
{
  Suite *s = suite_create("connection, cut");
  TCase *t = tcase_create("cut");

  tcase_add_test(t, a_forward);
  tcase_add_test(t, a_forward_without_a_stream);
  tcase_add_test(t, a_service);
  tcase_add_test(t, one_that_was_reset);
  tcase_add_test_raise_signal(t, a_broken_one, BROKEN_ENDS_BY);
  suite_add_tcase(s, t);
  return s;
}
