/* Streams with nothing but a last word on them, at a router that ends them, or does not. */
#include "fixture_daemon_streams.h"

#include "carry/host/link_host.h"
#include "carry/tunnel/farewells.h"
#include "proto/pump/pump.h"

#include "runner.h"

static struct world w;
static struct pump_set *pumps;
static struct farewells *farewells;
static bool gone;

static void on_gone(void *arg)
{
  (void)arg;
  gone = true;
}

static void setup(void)
{
  const struct pump_limits limits = {.window = 1 << 20, .budget = 1 << 20};

  world_open(&w);
  streams_begin(&w);
  ck_assert_int_eq(pump_set_open(&pumps, rpc_queue_home(w.queue), &w.loop, &limits), 0);
  ck_assert_int_eq(farewells_open(&farewells, &w.loop), 0);
  world_link(&w, NULL);
  WORLD_UNTIL(&w, w.connects == 1);
}

static void teardown(void)
{
  gone = false;
  farewells_close(farewells, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  gone = false;
  pump_set_close(pumps, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  world_close(&w);
}

/* None of them is told anything before it is taken. */
static const struct pump_stream_events no_events;

static void take_leave(const char *reason)
{
  const struct header header = {.park = true};
  struct link_host host;
  struct pump_stream *s;

  link_host_init(&host, w.link, pumps);
  ck_assert_int_eq(host.host.open_stream(&host.host, &s, &header, false, &no_events, NULL), 0);
  pump_stream_send_refused(s, reason);
  farewells_add(farewells, s);
}

static struct stream *heard(int i)
{
  WORLD_UNTIL(&w, streams.count > i && streams.all[i].half_closed);
  return &streams.all[i];
}

START_TEST(the_last_word_gets_through)
{
  take_leave("not this one");
  struct stream *s = heard(0);

  ck_assert(s->refused && !s->reset);
  ck_assert_str_eq(s->reason, "not this one");
  ck_assert_uint_eq(farewells_count(farewells), 1);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, farewells_count(farewells) == 0);
}
END_TEST

static void say_something(struct stream *s, int what)
{
  const struct header h = stream_dial("web", NULL);

  if (what == 0)
    stream_meet(s, true);
  else if (what == 1)
    stream_say_header(&w, s, &h);
  else
    stream_say_last_word(&w, s, what == 2, "EPROTO", "what is this?");
}

START_TEST(whatever_comes_is_of_no_use)
{
  take_leave("not this one");
  struct stream *s = heard(0);
  say_something(s, _i);
  WORLD_UNTIL(&w, !s->call->sending);
  ck_assert_uint_eq(farewells_count(farewells), 1);
  stream_finish(s, RPC_ABORTED, "over");
  WORLD_UNTIL(&w, farewells_count(farewells) == 0);
}
END_TEST

START_TEST(one_that_does_not_end_is_cancelled)
{
  take_leave("not this one");
  struct stream *s = heard(0);

  ck_assert_uint_eq(farewells_count(farewells), 1);
  WORLD_UNTIL(&w, farewells_count(farewells) == 0 && s->call == NULL);
  take_leave("nor this one");
  heard(1);
  ck_assert_uint_eq(farewells_count(farewells), 1);
}
END_TEST

START_TEST(they_are_bounded_in_number)
{
  for (int i = 0; i < FAREWELLS_MAX + 50; i++) {
    take_leave("too many of you");
    ck_assert_uint_le(farewells_count(farewells), FAREWELLS_MAX);
  }
  ck_assert_uint_eq(farewells_count(farewells), FAREWELLS_MAX);
  WORLD_UNTIL(&w, farewells_count(farewells) == 0 && streams_live() == 0);
}
END_TEST

START_TEST(closes_with_some_that_are_left)
{
  for (int i = 0; i < 20; i++)
    take_leave("bye");
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon farewells");
  TCase *t = tcase_create("with a router");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, the_last_word_gets_through);
  tcase_add_loop_test(t, whatever_comes_is_of_no_use, 0, 4);
  tcase_add_test(t, one_that_does_not_end_is_cancelled);
  tcase_add_test(t, they_are_bounded_in_number);
  tcase_add_test(t, closes_with_some_that_are_left);
  suite_add_tcase(suite, t);
  return suite;
}
