/* Streams that wait: their deadlines, each on its own, and what comes before. */
#include "fixture_daemon_streams.h"

#include "carry/host/link_host.h"
#include "carry/tunnel/waiting.h"
#include "proto/pump/pump.h"

#include "runner.h"

enum { SHORT_MS = 20, LONG_MS = 100000, COUNT = 3 };

static struct world w;
static struct pump_set *pumps;
static struct link_host host;
static struct waiting_set set;
static struct waiting all[COUNT];
static bool gone, keeps;
static int due[COUNT], headers, ends;

static void take_out(struct waiting *waiting)
{
  pump_stream_close(waiting_take(waiting));
}

static void came(struct waiting *waiting, const struct waiting_news *news)
{
  ck_assert_ptr_eq(waiting->set->owner, &w);
  headers += news->what == WAITING_HEADER;
  ends += news->what == WAITING_ENDED;
  if (news->what == WAITING_ENDED)
    take_out(waiting);
  if (news->what != WAITING_DUE)
    return;
  due[waiting - all]++;
  if (keeps)
    waiting_extend(waiting, SHORT_MS);
  else
    take_out(waiting);
}

static void on_gone(void *arg)
{
  (void)arg;
  gone = true;
}

static void setup(void)
{
  const struct pump_limits limits = {.window = 1 << 20, .budget = 1 << 20};

  gone = keeps = false;
  headers = ends = 0;
  memset(due, 0, sizeof due);
  world_open(&w);
  streams_begin(&w);
  ck_assert_int_eq(pump_set_open(&pumps, rpc_queue_home(w.queue), &w.loop, &limits), 0);
  world_link(&w, NULL);
  link_host_init(&host, w.link, pumps);
  set = (struct waiting_set){.loop = &w.loop, .host = &host.host, .came = came, .owner = &w};
  ck_assert_int_eq(waiting_set_open(&set), 0);
  WORLD_UNTIL(&w, w.connects == 1);
}

static void teardown(void)
{
  while (set.oldest != NULL)
    take_out(set.oldest);
  waiting_set_close(&set, on_gone);
  WORLD_UNTIL(&w, gone);
  gone = false;
  pump_set_close(pumps, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  world_close(&w);
}

static void begin(int i, uint64_t ms)
{
  const struct header header = {.park = true};

  ck_assert_int_eq(waiting_open_stream(&set, &all[i], &header, ms), 0);
}

START_TEST(each_has_its_own_deadline)
{
  begin(0, LONG_MS);
  begin(1, SHORT_MS);
  begin(2, WAITING_FOR_EVER);
  WORLD_UNTIL(&w, due[1] == 1);
  ck_assert_uint_eq(set.count, 2);
  waiting_extend(&all[2], SHORT_MS);
  WORLD_UNTIL(&w, due[2] == 1);
  ck_assert_ptr_eq(set.oldest, &all[0]);
  ck_assert_int_eq(due[0], 0);
}
END_TEST

START_TEST(several_are_due_at_once)
{
  for (int i = 0; i < COUNT; i++)
    begin(i, SHORT_MS);
  WORLD_UNTIL(&w, set.count == 0);
  for (int i = 0; i < COUNT; i++)
    ck_assert_int_eq(due[i], 1);
}
END_TEST

START_TEST(one_that_gets_more_time_is_due_again)
{
  keeps = true;
  begin(0, SHORT_MS);
  WORLD_UNTIL(&w, due[0] == 3);
  ck_assert_uint_eq(set.count, 1);
}
END_TEST

START_TEST(what_comes_is_told_before_the_deadline)
{
  const struct header h = stream_dial("web", NULL);

  begin(0, LONG_MS);
  WORLD_UNTIL(&w, streams.count == 1);
  stream_meet(&streams.all[0], false);
  stream_say_header(&w, &streams.all[0], &h);
  WORLD_UNTIL(&w, headers == 1);
  stream_finish(&streams.all[0], RPC_ABORTED, "over");
  WORLD_UNTIL(&w, ends == 1);
  ck_assert_uint_eq(set.count, 0);
}
END_TEST

START_TEST(another_stream_takes_the_place_of_one)
{
  const struct header header = {.park = true};

  begin(0, LONG_MS);
  WORLD_UNTIL(&w, streams.count == 1);
  ck_assert_int_eq(waiting_open_again(&all[0], &header), 0);
  WORLD_UNTIL(&w, streams.count == 2 && streams.all[0].call == NULL);
  ck_assert_uint_eq(set.count, 1);
  stream_finish(&streams.all[1], RPC_OK, NULL);
  WORLD_UNTIL(&w, ends == 1);
}
END_TEST

START_TEST(one_that_is_open_already_waits_too)
{
  begin(0, LONG_MS);
  waiting_adopt(&set, &all[1], waiting_take(&all[0]), SHORT_MS);
  WORLD_UNTIL(&w, due[1] == 1);
  ck_assert_uint_eq(set.count, 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon waiting");
  TCase *t = tcase_create("with a router");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, each_has_its_own_deadline);
  tcase_add_test(t, several_are_due_at_once);
  tcase_add_test(t, one_that_gets_more_time_is_due_again);
  tcase_add_test(t, what_comes_is_told_before_the_deadline);
  tcase_add_test(t, another_stream_takes_the_place_of_one);
  tcase_add_test(t, one_that_is_open_already_waits_too);
  suite_add_tcase(suite, t);
  return suite;
}
