/* Answers to tokens, at a router that pairs them, or not. */
#include "fixture_daemon_streams.h"

#include "carry/host/link_host.h"
#include "carry/tunnel/answers.h"
#include "proto/pump/pump.h"

#include "runner.h"

static struct world w;
static struct pump_set *pumps;
static struct link_host host;
static struct answers *answers;
static bool gone;
static int taken, originals, failures;
static struct header last_header;
static struct pump_stream *left; /* one of the first version, for the test to close */
static char text[300];

static const uint8_t connection[HEADER_CONNECTION_SIZE] = "0123456789abcde";

static void on_taken(struct pump_stream *s, const struct header *h, void *arg)
{
  ck_assert_ptr_eq(arg, &w);
  taken++;
  last_header = *h;
  pump_stream_close(s);
}

static void on_taken_original(struct pump_stream *s, const char *service, void *arg)
{
  ck_assert_ptr_eq(arg, &w);
  ck_assert_str_eq(service, "web");
  originals++;
  left = s;
}

static void on_failed(const char *service, const char *why, void *arg)
{
  ck_assert_ptr_eq(arg, &w);
  ck_assert_str_eq(service, "web");
  failures++;
  snprintf(text, sizeof text, "%s", why);
}

static const struct answers_events events = {
    .taken = on_taken, .taken_original = on_taken_original, .failed = on_failed};

static void on_gone(void *arg)
{
  (void)arg;
  gone = true;
}

static void setup(void)
{
  const struct pump_limits limits = {.window = 1 << 20, .budget = 1 << 20};

  taken = originals = failures = 0;
  text[0] = '\0';
  world_open(&w);
  streams_begin(&w);
  ck_assert_int_eq(pump_set_open(&pumps, rpc_queue_home(w.queue), &w.loop, &limits), 0);
}

static void begin_connected(void)
{
  world_link(&w, NULL);
  link_host_init(&host, w.link, pumps);
  ck_assert_int_eq(answers_open(&answers, &w.loop, &host.host, &events, &w), 0);
  WORLD_UNTIL(&w, w.connects == 1);
}

/* A token came, and was shown. */
static struct stream *shown(void)
{
  int before = streams.count;

  answers_start(answers, "web", "a-token");
  WORLD_UNTIL(&w, streams.count > before);
  return &streams.all[before];
}

static void teardown(void)
{
  gone = false;
  answers_close(answers, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  gone = false;
  pump_set_close(pumps, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  world_close(&w);
}

START_TEST(a_token_is_shown_with_who_we_are)
{
  begin_connected();
  const struct stream *s = shown();

  ck_assert_str_eq(s->latest.token, "a-token");
  ck_assert_str_eq(s->latest.service, "");
  ck_assert(s->ours && s->latest.has_member_key && !s->latest.park && !s->latest.has_connection);
  ck_assert_int_eq(s->headers, 1);
}
END_TEST

START_TEST(who_dialled_is_handed_over)
{
  begin_connected();
  struct stream *s = shown();
  const struct header h = stream_dial("web", connection);

  stream_meet(s, false);
  stream_say_header(&w, s, &h);
  WORLD_UNTIL(&w, taken == 1 && s->call == NULL);
  ck_assert_str_eq(last_header.service, "web");
  ck_assert_mem_eq(last_header.connection, connection, sizeof connection);
  ck_assert_int_eq(failures + originals, 0);
}
END_TEST

START_TEST(one_of_the_first_version_is_handed_over)
{
  begin_connected();
  struct stream *s = shown();

  stream_meet(s, true);
  WORLD_UNTIL(&w, originals == 1);
  pump_stream_close(left);
  WORLD_UNTIL(&w, s->call == NULL);
  ck_assert_int_eq(failures + taken, 0);
}
END_TEST

START_TEST(a_router_of_the_first_version_gets_it_in_the_data)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  begin_connected();
  const struct stream *s = shown();

  WORLD_UNTIL(&w, originals == 1);
  ck_assert(s->original && s->headers == 0);
  ck_assert_ptr_nonnull(memmem(s->data, s->size, "a-token", strlen("a-token")));
  pump_stream_close(left);
}
END_TEST

START_TEST(who_gave_up_meanwhile_is_no_failure)
{
  static const enum rpc_status endings[] = {RPC_NOT_FOUND, RPC_ABORTED, RPC_OK};

  begin_connected();
  stream_finish(shown(), endings[_i], "too late");
  WORLD_UNTIL(&w, streams_live() == 0);
  world_settle(&w);
  ck_assert_int_eq(failures + taken + originals, 0);
}
END_TEST

/* What ends one, and what is told of it. */
static void misuse(struct stream *s, int how)
{
  if (how == 0)
    stream_finish(s, RPC_RESOURCE_EXHAUSTED, "no more of them");
  else if (how == 1)
    stream_say_reset(&w, s, "EPROTO", "what is this?");
  else
    stream_say_refused(&w, s, "not this one");
}

START_TEST(a_failure_is_told)
{
  static const char *const phrases[] = {"no more of them (RESOURCE_EXHAUSTED)", "what is this?", "not this one"};

  begin_connected();
  struct stream *s = shown();
  misuse(s, _i);
  WORLD_UNTIL(&w, failures == 1 && s->call == NULL);
  ck_assert_str_eq(text, phrases[_i]);
}
END_TEST

START_TEST(the_router_is_lost)
{
  begin_connected();
  shown();
  world_router_stop(&w);
  WORLD_UNTIL(&w, failures == 1);
  ck_assert_ptr_eq(strstr(text, "the stream to the router was lost before it began: "), text);
}
END_TEST

START_TEST(a_token_that_is_too_long_is_not_shown)
{
  char token[HEADER_TOKEN_MAX + 2];

  memset(token, 'x', sizeof token - 1);
  token[sizeof token - 1] = '\0';
  begin_connected();
  answers_start(answers, "web", token);
  ck_assert_int_eq(failures, 1);
  world_settle(&w);
  ck_assert_int_eq(streams.count, 0);
}
END_TEST

START_TEST(closes_with_some_that_wait)
{
  begin_connected();
  for (int i = 0; i < 5; i++)
    shown();
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon answers");
  TCase *t = tcase_create("with a router");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, a_token_is_shown_with_who_we_are);
  tcase_add_test(t, who_dialled_is_handed_over);
  tcase_add_test(t, one_of_the_first_version_is_handed_over);
  tcase_add_test(t, a_router_of_the_first_version_gets_it_in_the_data);
  tcase_add_loop_test(t, who_gave_up_meanwhile_is_no_failure, 0, 3);
  tcase_add_loop_test(t, a_failure_is_told, 0, 3);
  tcase_add_test(t, the_router_is_lost);
  tcase_add_test(t, a_token_that_is_too_long_is_not_shown);
  tcase_add_test(t, closes_with_some_that_wait);
  suite_add_tcase(suite, t);
  return suite;
}
