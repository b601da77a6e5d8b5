/* Calls between a client and a server of ours: what comes, in which order, and how each kind of end looks on both
 * sides. */
#include "fixture_proto_calls.h"

#include <unistd.h>

#include "mindmeld.pb-c.h"
#include "runner.h"

static struct server server;
static struct client client;

static void open_both(void)
{
  server_start(&server, 0, NULL, NULL);
  client_open(&client, server.port);
}

static void close_both(void)
{
  client_stop(&client);
  server_stop(&server);
}

START_TEST(unary)
{
  struct record r;
  ask(&r, &client, "/t/last", "hello");
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_str_eq(r.message, "hello");
  ask(&r, &client, "/t/last", "");
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_str_eq(r.message, "");
  ask(&r, &client, "/nowhere", "");
  ck_assert_int_eq(r.status, RPC_UNIMPLEMENTED);
  ck_assert_str_eq(r.text, "no such method");
}
END_TEST

START_TEST(unary_with_no_answer)
{
  struct record r;
  ask(&r, &client, "/t/stream", "0");
  ck_assert_int_eq(r.status, RPC_INTERNAL);
  ck_assert_str_eq(r.text, "no answer came");
}
END_TEST

START_TEST(unary_with_two_answers)
{
  struct record r;
  ask(&r, &client, "/t/stream", "2");
  ck_assert_int_eq(r.status, RPC_INTERNAL);
  ck_assert_str_eq(r.text, "more than one answer came");
}
END_TEST

START_TEST(unary_cancelled)
{
  struct rpc_call_options options = {.method = "/t/hang"};
  struct record r = {0};
  ck_assert_int_eq(rpc_unary(&r.call, client.channel, &options, text_message(""), record_unary, &r), 0);
  rpc_call_cancel(r.call, RPC_CANCELLED, "enough");
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_CANCELLED);
  ck_assert_str_eq(r.text, "enough");
}
END_TEST

START_TEST(server_stream)
{
  struct record r;
  record_start(&r, &client, "/t/stream");
  ck_assert_int_eq(rpc_call_send(r.call, text_message("1000")), 0);
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  ck_assert_int_eq(rpc_call_receive(r.call), -EBUSY);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_int_eq(r.headers, 1);
  ck_assert_int_eq(r.messages, 1000);
  ck_assert_int_eq(r.nulls, 1);
  ck_assert_str_eq(r.message, "1");
}
END_TEST

START_TEST(both_ways_and_half_close)
{
  struct record r;
  record_start(&r, &client, "/t/echo");
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  for (int i = 0; i < 100; i++) {
    char text[16];
    snprintf(text, sizeof text, "%d", i);
    ck_assert_int_eq(rpc_call_send(r.call, text_message(text)), 0);
    ck_assert_int_eq(rpc_call_send(r.call, text_message("two at once")), -EBUSY);
    if (i == 99) {
      ck_assert_int_eq(rpc_call_end(r.call), 0); /* waits for the message */
      ck_assert_int_eq(rpc_call_end(r.call), -EPIPE);
      ck_assert_int_eq(rpc_call_send(r.call, text_message("after the end")), -EPIPE);
    }
    loop_until(&client.loop, &r.sent, i + 1);
    loop_until(&client.loop, &r.messages, i + 1);
    ck_assert_str_eq(r.message, text);
  }
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_int_eq(r.nulls, 1);
  ck_assert_int_eq(server.nulls, 1);
}
END_TEST

START_TEST(status)
{
  char request[16];
  struct record r;
  snprintf(request, sizeof request, "%d", _i);
  record_start(&r, &client, "/t/status");
  ck_assert_int_eq(rpc_call_send(r.call, text_message(request)), 0);
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, _i);
  ck_assert_str_eq(r.text, "as asked");
  ck_assert_int_eq(r.headers, 0);
  ck_assert_int_eq(r.messages, 0);
  ck_assert_int_eq(r.nulls, _i == RPC_OK);
  while (server.closed == 0)
    usleep(1000);
  ck_assert_int_eq(server.last, RPC_OK); /* it went out */
}
END_TEST

START_TEST(unknown_status)
{
  struct record r;
  ask(&r, &client, "/t/status", "77");
  ck_assert_int_eq(r.status, RPC_UNKNOWN);
}
END_TEST

START_TEST(headers_alone)
{
  struct record r;
  record_start(&r, &client, "/t/headers");
  loop_until(&client.loop, &r.headers, 1);
  ck_assert_str_eq(r.extra, "value");
  ck_assert_int_eq(r.closed, 0);
  ck_assert_int_eq(rpc_call_end(r.call), 0);
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_int_eq(r.headers, 1);
}
END_TEST

START_TEST(headers_with_a_message)
{
  struct record r;
  record_start(&r, &client, "/t/first");
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  loop_until(&client.loop, &r.messages, 1);
  ck_assert_str_eq(r.message, "first");
  ck_assert_str_eq(r.extra, "value");
  ck_assert_int_eq(r.headers, 1);
  ck_assert_int_eq(rpc_call_end(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_int_eq(r.headers + r.messages, 2);
}
END_TEST

START_TEST(client_metadata)
{
  static const struct rpc_metadata extra[] = {{"extra", "more"},
                                              {"long", "0123456789012345678901234567890123456789"
                                                       "012345678901234567890123456789"}};
  static const struct {
    const char *key, *value;
  } rows[] = {{"extra", "more"}, {"mindmeld-version", "2"}, {"authorization", "-2"}, {"long", "-7"}, {"none", "-2"}};
  struct rpc_call_options options = {.method = "/t/metadata", .metadata = extra, .metadata_count = 2};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct record r = {0};
    struct rpc_message *request = text_message(rows[i].key);
    ck_assert_int_eq(rpc_unary(&r.call, client.channel, &options, request, record_unary, &r), 0);
    loop_until(&client.loop, &r.closed, 1);
    ck_assert_int_eq(r.status, RPC_OK);
    ck_assert_str_eq(r.message, rows[i].value);
  }
}
END_TEST

START_TEST(illegal_metadata)
{
  static const struct rpc_metadata bad[] = {{"Upper", "x"}, {"", "x"}, {"a", "line\nfeed"}, {"a-bin", "x"}};
  struct record r = {0};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct rpc_call_options options = {.method = "/t/echo", .metadata = &bad[i], .metadata_count = 1};
    ck_assert_int_eq(rpc_call_start(&r.call, client.channel, &options, &record_events, &r), -EINVAL);
    ck_assert_int_eq(rpc_unary(&r.call, client.channel, &options, text_message(""), record_unary, &r), -EINVAL);
  }
  ck_assert_int_eq(r.closed, 0);
}
END_TEST

START_TEST(deadline)
{
  struct rpc_call_options options = {.method = "/t/hang", .deadline_ms = 50};
  struct record r = {0};
  ck_assert_int_eq(rpc_call_start(&r.call, client.channel, &options, &record_events, &r), 0);
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_DEADLINE_EXCEEDED);
  ck_assert_int_eq(r.nulls, 0);
}
END_TEST

START_TEST(client_cancels)
{
  struct record r;
  record_start(&r, &client, "/t/stream");
  ck_assert_int_eq(rpc_call_send(r.call, text_message("-1")), 0);
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  loop_until(&client.loop, &r.messages, 10);
  rpc_call_cancel(r.call, RPC_ABORTED, "enough");
  rpc_call_cancel(r.call, RPC_INTERNAL, "again");
  ck_assert_int_eq(rpc_call_send(r.call, text_message("late")), -EPIPE);
  ck_assert_int_eq(rpc_call_end(r.call), -EPIPE);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_ABORTED);
  ck_assert_str_eq(r.text, "enough");
  ck_assert_int_eq(r.nulls, 0);
  while (server.closed == 0)
    usleep(1000);
  ck_assert_int_eq(server.last, RPC_CANCELLED);
  ck_assert_int_eq(server.nulls, 0);
}
END_TEST

/* A server whose sends are held back by flow control learns of the cancel too. */
START_TEST(client_cancels_without_reading)
{
  struct record r;
  record_start(&r, &client, "/t/stream");
  ck_assert_int_eq(rpc_call_send(r.call, text_message("-1")), 0);
  loop_until(&client.loop, &r.headers, 1);
  rpc_call_cancel(r.call, RPC_CANCELLED, NULL);
  loop_until(&client.loop, &r.closed, 1);
  while (server.closed == 0)
    usleep(1000);
  ck_assert_int_eq(server.last, RPC_CANCELLED);
}
END_TEST

START_TEST(cancelled_at_once)
{
  struct record r;
  record_start(&r, &client, "/t/echo");
  rpc_call_cancel(r.call, RPC_CANCELLED, "never mind");
  ck_assert_int_eq(rpc_call_receive(r.call), -EPIPE);
  ck_assert_int_eq(r.closed, 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_CANCELLED);
}
END_TEST

START_TEST(server_cancels)
{
  struct record r;
  record_start(&r, &client, "/t/cancel");
  ck_assert_int_eq(rpc_call_send(r.call, text_message("x")), 0);
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_ABORTED);
  ck_assert_str_eq(r.text, "cancelled by the server");
  ck_assert_int_eq(r.nulls, 0);
  while (server.closed == 0)
    usleep(1000);
  ck_assert_int_eq(server.last, RPC_CANCELLED);
}
END_TEST

START_TEST(large_message_by_reference)
{
  enum { SIZE = 1 << 20 };
  static char big[SIZE];
  struct record r;
  memset(big, 'x', sizeof big);
  record_start(&r, &client, "/t/cut");
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  ck_assert_int_eq(rpc_call_send(r.call, rpc_message_copy(big, SIZE)), 0);
  loop_until(&client.loop, &r.messages, 1);
  ck_assert_uint_eq(r.bytes, SIZE);
  ck_assert_int_eq(rpc_call_send(r.call, text_message("12345")), 0);
  loop_until(&client.loop, &r.messages, 2);
  ck_assert_str_eq(r.message, "--345");
  ck_assert_int_eq(rpc_call_end(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_OK);
}
END_TEST

START_TEST(oversize_message)
{
  enum { SIZE = 3 << 20 };
  char *big = calloc(1, SIZE);
  struct record r;
  record_start(&r, &client, "/t/echo");
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  ck_assert_int_eq(rpc_call_send(r.call, rpc_message_copy(big, SIZE)), 0);
  free(big);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_RESOURCE_EXHAUSTED);
  ask(&r, &client, "/t/last", "others go on");
  ck_assert_int_eq(r.status, RPC_OK);
}
END_TEST

START_TEST(closed_while_everything_is_pending)
{
  enum { CALLS = 50 };
  static const char *const methods[] = {"/t/hang", "/t/stream", "/t/echo", "/t/headers", "/t/status"};
  struct record r[CALLS];
  for (int i = 0; i < CALLS; i++) {
    record_start(&r[i], &client, methods[i % 5]);
    ck_assert_int_eq(rpc_call_send(r[i].call, text_message("-1")), 0);
    ck_assert_int_eq(rpc_call_receive(r[i].call), 0);
    r[i].keep_receiving = i % 2;
  }
  loop_until(&client.loop, &r[1].messages, 3);
  for (int i = 0; i < CALLS; i++)
    if (!r[i].closed)
      rpc_call_cancel(r[i].call, RPC_CANCELLED, "all of it");
  for (int i = 0; i < CALLS; i++)
    loop_until(&client.loop, &r[i].closed, 1);
}
END_TEST

/* The server goes under the client's calls; what the calls still have pending comes back first. */
START_TEST(server_stops_under_calls)
{
  struct server other;
  struct client c;
  struct record r[3];
  server_start(&other, 0, NULL, NULL);
  client_open(&c, other.port);
  record_start(&r[0], &c, "/t/hang");
  record_start(&r[1], &c, "/t/stream");
  record_start(&r[2], &c, "/t/echo");
  for (int i = 0; i < 3; i++) {
    ck_assert_int_eq(rpc_call_receive(r[i].call), 0);
    ck_assert_int_eq(rpc_call_send(r[i].call, text_message("-1")), 0);
  }
  loop_until(&c.loop, &r[1].messages, 10);
  loop_until(&c.loop, &r[2].messages, 1);
  server_stop(&other);
  for (int i = 0; i < 3; i++) {
    loop_until(&c.loop, &r[i].closed, 1);
    ck_assert_int_ne(r[i].status, RPC_OK);
  }
  client_stop(&c);
}
END_TEST

START_TEST(channel_closed_before_its_calls)
{
  struct record r;
  record_start(&r, &client, "/t/echo");
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  rpc_channel_close(client.channel);
  client.channel = NULL;
  ck_assert_int_eq(rpc_call_send(r.call, text_message("still here")), 0);
  ck_assert_int_eq(rpc_call_end(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  ck_assert_int_eq(r.status, RPC_OK);
  ck_assert_str_eq(r.message, "still here");
}
END_TEST

/* ---- Messages ---- */

START_TEST(messages_pack_and_unpack)
{
  Mindmeld__CreateServiceRequest request = MINDMELD__CREATE_SERVICE_REQUEST__INIT;
  char name[] = "web";
  request.name = name;
  struct rpc_message *m = rpc_message_pack(&request.base);
  ck_assert_uint_eq(rpc_message_size(m), 5);
  struct rpc_message *pieces = rpc_message_cut(m, "\x0a\x03", 2, 2, 3);
  rpc_message_free(m);
  Mindmeld__CreateServiceRequest *back =
      (void *)rpc_message_unpack(pieces, &mindmeld__create_service_request__descriptor);
  ck_assert_ptr_nonnull(back);
  ck_assert_str_eq(back->name, "web");
  mindmeld__create_service_request__free_unpacked(back, NULL);
  ck_assert_ptr_null(rpc_message_cut(pieces, NULL, 0, 6, 0));
  ck_assert_ptr_null(rpc_message_cut(pieces, NULL, 0, 1, 5));
  ck_assert_ptr_null(rpc_message_cut(pieces, NULL, 0, 1, SIZE_MAX));
  struct rpc_message *none = rpc_message_cut(pieces, NULL, 0, 5, 0);
  ck_assert_uint_eq(rpc_message_size(none), 0);
  rpc_message_free(none);
  rpc_message_free(pieces);
  rpc_message_free(NULL);
}
END_TEST

START_TEST(malformed_messages_do_not_unpack)
{
  static const char *const bad[] = {"\x0a\x05web", "\x0a", "\x0b", "\xff\xff\xff\xff\xff\xff", "\x07"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct rpc_message *m = text_message(bad[i]);
    ck_assert_ptr_null(rpc_message_unpack(m, &mindmeld__create_service_request__descriptor));
    rpc_message_free(m);
  }
}
END_TEST

/* ---- Queues ---- */

struct queue_test {
  struct rpc_queue *queue;
  int posts, timers;
  pthread_t home;
};

static void queue_posted(void *arg)
{
  struct queue_test *t = arg;
  ck_assert(pthread_equal(pthread_self(), t->home));
  if (++t->posts == 300)
    rpc_queue_stop(t->queue, NULL, NULL);
}

static void *post_from_elsewhere(void *arg)
{
  struct queue_test *t = arg;
  for (int i = 0; i < 100; i++)
    ck_assert_int_eq(rpc_queue_post(t->queue, queue_posted, t), 0);
  return NULL;
}

START_TEST(posts_from_other_threads)
{
  struct queue_test t = {.home = pthread_self()};
  pthread_t threads[3];
  ck_assert_int_eq(rpc_queue_create(&t.queue), 0);
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, post_from_elsewhere, &t), 0);
  rpc_queue_run(t.queue);
  for (int i = 0; i < 3; i++)
    pthread_join(threads[i], NULL);
  ck_assert_int_eq(t.posts, 300);
  ck_assert_int_eq(rpc_queue_post(t.queue, queue_posted, &t), -ECANCELED);
  rpc_queue_free(t.queue);
}
END_TEST

START_TEST(posts_to_a_loop)
{
  struct queue_test t = {.queue = client.queue, .home = pthread_self(), .posts = -1000};
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, post_from_elsewhere, &t), 0);
  loop_until(&client.loop, &t.posts, -900);
  pthread_join(thread, NULL);
}
END_TEST

static void timer_must_not_run(void *arg)
{
  (void)arg;
  ck_abort_msg("a cancelled timer ran");
}

static void timer_ran(void *arg)
{
  struct queue_test *t = arg;
  t->timers = t->timers * 10 + 1;
}

static void timer_ran_second(void *arg)
{
  struct queue_test *t = arg;
  t->timers = t->timers * 10 + 2;
}

static void timer_ran_last(void *arg)
{
  struct queue_test *t = arg;
  t->timers = t->timers * 10 + 3;
  rpc_queue_stop(t->queue, NULL, NULL);
}

static void post_again(void *arg)
{
  struct queue_test *t = arg;
  t->posts++;
  if (t->timers == 0)
    ck_assert_int_eq(rpc_queue_post(t->queue, post_again, t), 0);
}

static void timer_fired_on_loop(uv_timer_t *timer)
{
  ((struct queue_test *)timer->data)->timers++;
}

/* They do not sleep, and do not keep others from their turn. */
START_TEST(posts_of_the_loop_itself)
{
  struct queue_test t = {.queue = client.queue};
  uv_timer_t timer;
  ck_assert_int_eq(uv_timer_init(&client.loop, &timer), 0);
  timer.data = &t;
  post_again(&t);
  uv_run(&client.loop, UV_RUN_ONCE);
  ck_assert_int_gt(t.posts, 1);
  ck_assert_int_eq(uv_timer_start(&timer, timer_fired_on_loop, 1, 0), 0);
  loop_until(&client.loop, &t.timers, 1);
  int posts = t.posts;
  uv_run(&client.loop, UV_RUN_NOWAIT);
  ck_assert_int_le(t.posts, posts + 1);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&client.loop, UV_RUN_NOWAIT);
}
END_TEST

START_TEST(timers)
{
  struct queue_test t = {.timers = 0};
  struct rpc_timer *timer, *cancelled[3];
  ck_assert_int_eq(rpc_queue_create(&t.queue), 0);
  ck_assert_int_eq(rpc_timer_start(&cancelled[0], t.queue, 0, timer_must_not_run, &t), 0);
  ck_assert_int_eq(rpc_timer_start(&timer, t.queue, 40, timer_ran_last, &t), 0);
  ck_assert_int_eq(rpc_timer_start(&cancelled[1], t.queue, 30, timer_must_not_run, &t), 0);
  ck_assert_int_eq(rpc_timer_start(&timer, t.queue, 0, timer_ran, &t), 0);
  ck_assert_int_eq(rpc_timer_start(&timer, t.queue, 20, timer_ran_second, &t), 0);
  ck_assert_int_eq(rpc_timer_start(&cancelled[2], t.queue, 60000, timer_must_not_run, &t), 0);
  for (int i = 0; i < 3; i++)
    rpc_timer_cancel(cancelled[i]);
  rpc_queue_run(t.queue);
  ck_assert_int_eq(t.timers, 123);
  rpc_queue_free(t.queue);
}
END_TEST

START_TEST(queue_never_used)
{
  struct rpc_queue *q;
  ck_assert_int_eq(rpc_queue_create(&q), 0);
  rpc_queue_free(q);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("rpc");
  TCase *calls = tcase_create("calls"), *alone = tcase_create("alone");
  tcase_set_timeout(calls, 60);
  tcase_add_checked_fixture(calls, open_both, close_both);
  tcase_add_test(calls, unary);
  tcase_add_test(calls, unary_with_no_answer);
  tcase_add_test(calls, unary_with_two_answers);
  tcase_add_test(calls, unary_cancelled);
  tcase_add_test(calls, server_stream);
  tcase_add_test(calls, both_ways_and_half_close);
  tcase_add_loop_test(calls, status, RPC_OK, RPC_UNAUTHENTICATED + 1);
  tcase_add_test(calls, unknown_status);
  tcase_add_test(calls, headers_alone);
  tcase_add_test(calls, headers_with_a_message);
  tcase_add_test(calls, client_metadata);
  tcase_add_test(calls, illegal_metadata);
  tcase_add_test(calls, deadline);
  tcase_add_test(calls, client_cancels);
  tcase_add_test(calls, client_cancels_without_reading);
  tcase_add_test(calls, cancelled_at_once);
  tcase_add_test(calls, server_cancels);
  tcase_add_test(calls, large_message_by_reference);
  tcase_add_test(calls, oversize_message);
  tcase_add_test(calls, closed_while_everything_is_pending);
  tcase_add_test(calls, channel_closed_before_its_calls);
  tcase_add_test(calls, posts_to_a_loop);
  tcase_add_test(calls, posts_of_the_loop_itself);
  suite_add_tcase(suite, calls);
  tcase_set_timeout(alone, 60);
  tcase_add_test(alone, server_stops_under_calls);
  tcase_add_test(alone, messages_pack_and_unpack);
  tcase_add_test(alone, malformed_messages_do_not_unpack);
  tcase_add_test(alone, posts_from_other_threads);
  tcase_add_test(alone, timers);
  tcase_add_test(alone, queue_never_used);
  suite_add_tcase(suite, alone);
  return suite;
}
