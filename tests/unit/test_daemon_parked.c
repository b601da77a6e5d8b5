/* Parked streams against a router that takes them, refuses them, loses them, and goes away. */
#include "fixture_daemon_streams.h"

#include "carry/host/link_host.h"
#include "carry/tunnel/parked.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"

#include "runner.h"

static struct world w;
static struct pump_set *pumps;
static struct link_host host;
static struct parked *parked;
static bool gone;
static int taken;
static struct header last_header;
static bool withdraw; /* what was declared, inside `taken` */

static const uint8_t connection[HEADER_CONNECTION_SIZE] = "0123456789abcde";

static void on_taken(struct pump_stream *s, const struct header *h, void *arg)
{
  ck_assert_ptr_eq(arg, &w);
  taken++;
  last_header = *h;
  pump_stream_close(s);
  if (withdraw)
    parked_update(parked, false);
}

static void on_gone(void *arg)
{
  (void)arg;
  gone = true;
}

static void setup(void)
{
  const struct pump_limits limits = {.window = 1 << 20, .budget = 1 << 20};

  gone = withdraw = false;
  taken = 0;
  world_open(&w);
  streams_begin(&w);
  ck_assert_int_eq(pump_set_open(&pumps, rpc_queue_home(w.queue), &w.loop, &limits), 0);
}

static void begin(void)
{
  world_link(&w, NULL);
  link_host_init(&host, w.link, pumps);
  ck_assert_int_eq(parked_open(&parked, &w.loop, &host.host, on_taken, &w), 0);
}

static void begin_connected(void)
{
  begin();
  WORLD_UNTIL(&w, w.connects == 1);
}

static void teardown(void)
{
  gone = false;
  parked_close(parked, on_gone, NULL);
  ck_assert(!gone);
  WORLD_UNTIL(&w, gone);
  gone = false;
  pump_set_close(pumps, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  world_close(&w);
}

static void dial(struct stream *s)
{
  const struct header h = stream_dial("web", connection);

  stream_meet(s, false);
  stream_say_header(&w, s, &h);
}

static struct stream *some_live(void)
{
  for (int i = 0; i < streams.count; i++) {
    if (streams.all[i].call != NULL)
      return &streams.all[i];
  }
  ck_abort_msg("no stream is parked");
}

START_TEST(sixteen_wait)
{
  begin_connected();
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams.count == PARKED_COUNT);
  parked_update(parked, true);
  world_settle(&w);
  ck_assert_int_eq(streams.count, PARKED_COUNT);
  for (int i = 0; i < streams.count; i++) {
    const struct stream *s = &streams.all[i];
    ck_assert(s->latest.park && s->ours && s->latest.has_member_key && !s->latest.has_connection);
    ck_assert_str_eq(s->latest.token, "");
    ck_assert_str_eq(s->latest.service, "");
    ck_assert_int_eq(s->headers, 1);
    ck_assert_ptr_nonnull(s->call);
  }
  parked_update(parked, false);
  WORLD_UNTIL(&w, streams_live() == 0);
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
}
END_TEST

START_TEST(none_without_a_service_or_a_router)
{
  begin();
  parked_update(parked, true);
  WORLD_UNTIL(&w, w.connects == 1);
  parked_update(parked, false);
  world_settle(&w);
  ck_assert_int_eq(streams.count, 0);
}
END_TEST

START_TEST(none_with_a_router_of_the_first_version)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  begin_connected();
  parked_update(parked, true);
  world_settle(&w);
  ck_assert_int_eq(streams.count, 0);
}
END_TEST

START_TEST(one_that_was_taken_is_handed_over_and_replaced)
{
  begin_connected();
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams.count == PARKED_COUNT);
  for (int i = 0; i < 20; i++) {
    struct stream *s = some_live();
    dial(s);
    WORLD_UNTIL(&w, taken == i + 1);
    WORLD_UNTIL(&w, s->call == NULL && streams_live() == PARKED_COUNT);
    ck_assert_int_eq(streams.count, PARKED_COUNT + i + 1);
  }
  ck_assert_str_eq(last_header.service, "web");
  ck_assert(last_header.has_connection && last_header.limit == STREAM_LIMIT);
  ck_assert_mem_eq(last_header.connection, connection, sizeof connection);
}
END_TEST

START_TEST(none_is_replaced_when_the_last_service_goes_meanwhile)
{
  begin_connected();
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams.count == PARKED_COUNT);
  withdraw = true;
  struct stream *s = some_live();
  dial(s);
  WORLD_UNTIL(&w, streams_live() == 0);
  ck_assert_int_eq(taken, 1);
  world_settle(&w);
  ck_assert_int_eq(streams.count, PARKED_COUNT);
}
END_TEST

START_TEST(those_that_were_refused_are_tried_again)
{
  begin_connected();
  streams.refuse = true;
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams.refused >= 3 * PARKED_COUNT);
  streams.refuse = false;
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
  ck_assert_int_eq(taken, 0);
}
END_TEST

START_TEST(one_that_was_refused_does_not_hold_up_a_replacement)
{
  begin_connected();
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
  stream_finish(some_live(), RPC_UNAVAILABLE, "lost");
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT - 1);
  struct stream *s = some_live();
  dial(s);
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
  ck_assert_int_eq(taken, 1);
  ck_assert_int_eq(streams.count, PARKED_COUNT + 2);
}
END_TEST

/* What must not come on a parked stream. */
static void misuse(struct stream *s, int how)
{
  switch (how) {
  case 0:
    stream_meet(s, true);
    break;
  case 1:
    stream_say_reset(&w, s, "EPROTO", "what is this?");
    break;
  case 2:
    stream_say_refused(&w, s, "what is this?");
    break;
  default:
    stream_finish(s, RPC_OK, NULL);
    break;
  }
}

START_TEST(one_that_is_misused_is_closed_and_replaced)
{
  begin_connected();
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
  struct stream *s = some_live();
  misuse(s, _i);
  WORLD_UNTIL(&w, s->call == NULL && streams_live() == PARKED_COUNT);
  ck_assert_int_eq(taken, 0);
}
END_TEST

START_TEST(they_come_back_with_the_router)
{
  begin_connected();
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
  world_router_stop(&w);
  WORLD_UNTIL(&w, w.losses == 1);
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams_live() == 0);
  world_router_start(&w);
  WORLD_UNTIL(&w, w.connects == 2);
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
}
END_TEST

START_TEST(they_move_to_another_channel)
{
  begin_connected();
  parked_renew(parked);
  ck_assert_int_eq(streams.count, 0);
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams_live() == PARKED_COUNT);
  parked_renew(parked);
  WORLD_UNTIL(&w, streams.count == 2 * PARKED_COUNT && streams_live() == PARKED_COUNT);
  for (int i = 0; i < PARKED_COUNT; i++)
    ck_assert_ptr_null(streams.all[i].call);
  dial(some_live());
  WORLD_UNTIL(&w, taken == 1 && streams_live() == PARKED_COUNT);
}
END_TEST

START_TEST(they_are_replaced_while_they_are_young)
{
  w.router.stream_age_ms = 3200;
  begin_connected();
  parked_update(parked, true);
  WORLD_UNTIL(&w, streams.count >= 3 * PARKED_COUNT);
  ck_assert_int_eq(w.losses, 0);
  WORLD_UNTIL(&w, streams.all[0].call == NULL && streams_live() >= PARKED_COUNT);
}
END_TEST

START_TEST(closes_before_it_began)
{
  begin();
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon parked");
  TCase *t = tcase_create("with a router");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, sixteen_wait);
  tcase_add_test(t, none_without_a_service_or_a_router);
  tcase_add_test(t, none_with_a_router_of_the_first_version);
  tcase_add_test(t, one_that_was_taken_is_handed_over_and_replaced);
  tcase_add_test(t, none_is_replaced_when_the_last_service_goes_meanwhile);
  tcase_add_test(t, those_that_were_refused_are_tried_again);
  tcase_add_test(t, one_that_was_refused_does_not_hold_up_a_replacement);
  tcase_add_loop_test(t, one_that_is_misused_is_closed_and_replaced, 0, 4);
  tcase_add_test(t, they_come_back_with_the_router);
  tcase_add_test(t, they_move_to_another_channel);
  tcase_add_test(t, they_are_replaced_while_they_are_young);
  tcase_add_test(t, closes_before_it_began);
  suite_add_tcase(suite, t);
  return suite;
}
