/* What comes from others too late, or cannot be. */
#include "fixture_daemon_tunnels.h"
#include "runner.h"

/* ---- Tunnels ---- */

START_TEST(who_was_superseded_lets_go_of_its_targets)
{
  struct stream *s, *of_forward;

  begin_connected();
  int fd = open_service(&s), application = open_forward(&of_forward);
  tunnels_superseded(tunnels);
  expect_reset(fd);
  WORLD_UNTIL(&w, s->reset);
  ck_assert_str_eq(s->code, "ECONNABORTED");
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(tunnels_served(tunnels), 0);
  put(application, "goes on");
  WORLD_UNTIL(&w, is(of_forward, "goes on"));
  close(application);
}
END_TEST

/* It has no stream at that moment. */
START_TEST(who_was_superseded_waits_for_nobody)
{
  struct stream *s;

  begin_connected();
  int fd = open_service(&s);
  stream_finish(s, RPC_ABORTED, "cut");
  WORLD_UNTIL(&w, detached == 1);
  tunnels_superseded(tunnels);
  expect_reset(fd);
  ck_assert_int_eq(closed, 1);
}
END_TEST

START_TEST(the_router_knows_that_nobody_comes_back)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s), before = streams.count;
  stream_finish(s, RPC_ABORTED, "cut");
  stream_finish(stream_at(before), RPC_FAILED_PRECONDITION, "that process is over for good");
  expect_reset(fd);
  ck_assert_int_eq(closed, 1);
  ck_assert_ptr_nonnull(strstr(sentence, "that process is over for good"));
}
END_TEST

START_TEST(nothing_can_have_been_received_of_what_begins)
{
  struct header h = stream_dial("web", connection);

  begin_connected();
  h.received = 5;
  struct stream *s = arrive(&h);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "EPROTO");
  ck_assert_int_eq(opened, 0);
  expect_no_target();
  stream_finish(s, RPC_OK, NULL);
}
END_TEST

/* ---- The link ---- */

static const struct {
  uint64_t said, taken;
} ages[] = {{0, 0}, {1, 1000}, {3600000, 3600000}, {UINT64_C(1) << 61, 0}, {UINT64_MAX, 0}};

START_TEST(an_age_is_one_that_can_be)
{
  w.router.stream_age_ms = ages[_i].said;
  begin_connected();
  ck_assert_uint_eq(link_stream_age(w.link), ages[_i].taken);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon late");
  TCase *t = tcase_create("late");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, who_was_superseded_lets_go_of_its_targets);
  tcase_add_test(t, who_was_superseded_waits_for_nobody);
  tcase_add_test(t, the_router_knows_that_nobody_comes_back);
  tcase_add_test(t, nothing_can_have_been_received_of_what_begins);
  tcase_add_loop_test(t, an_age_is_one_that_can_be, 0, sizeof ages / sizeof *ages);
  suite_add_tcase(suite, t);
  return suite;
}
