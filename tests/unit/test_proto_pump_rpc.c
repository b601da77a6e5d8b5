/* What only a pump over gRPC can show: two threads at work on it, flow control, and how gRPC says who is there. All
 * else is tested in memory. */
#include "fixture_proto_pump.h"
#include "runner.h"

static struct side *const it = &sides[0];

START_TEST(test_echo_and_both_ends)
{
  enum { TOTAL = 20 << 20 };
  open_pump(0, "echo");
  give_socket(0);
  WAIT_FOR(it->header);
  echo(0, TOTAL);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(it->ended);
  ck_assert(it->local_eof && it->remote_eof);
  ck_assert_int_eq(it->status, RPC_OK);
  hear_end(0);
}
END_TEST

START_TEST(test_status_and_its_text)
{
  open_silent(0);
  give_socket(0);
  tell_other_finish(0, RPC_NOT_FOUND);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_NOT_FOUND);
  ck_assert_str_eq(it->text, "as told");
  ck_assert(!it->header && !it->original);
}
END_TEST

/* Large and small ones, and what is not data, through the slices of gRPC. */
START_TEST(test_messages_of_all_sizes)
{
  remote.acks = true;
  open_answered(0, "ours");
  give_socket(0);
  size_t total = 0;
  for (size_t size = 1; size <= BYTES_MAX; total += size, size *= 3) {
    ck_assert_int_eq(send(it->fd, bytes_at(total), size, MSG_NOSIGNAL), (int)size);
    WAIT_FOR(seen_by(0).bytes == total + size);
  }
  ck_assert_uint_eq(seen_by(0).wrong, 0);
  WAIT_FOR(counters(0).unacked == 0);
}
END_TEST

START_TEST(test_a_malformed_message_ends_the_call)
{
  open_answered(0, "ours");
  tell_other(0, message_copy("\x2a\x02\x08\xff", 4));
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
}
END_TEST

static void order_original_twice(struct other *o, struct order *order)
{
  (void)order;
  o->far->ops->answer(o->far, true, 2);
}

/* on_original checks that it comes once. */
START_TEST(test_original_is_told_once)
{
  open_silent(0);
  give_socket(0);
  give_order((struct order){.other = 0, .carry_out = order_original_twice});
  WAIT_FOR(it->original);
  tell_other_data(0, 1000, 1);
  hear(0, 0, 1000);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(it->ended);
}
END_TEST

/* A target answers, and closes with bytes unread, which resets: that is noticed by writing, before the answer is read,
 * which goes before the reset all the same. */
START_TEST(test_an_answer_goes_before_a_reset)
{
  enum { ANSWER = 1000 };
  open_answered(0, "ours");
  give_socket(0);
  it->breaks = true;
  ck_assert_int_eq(send(it->fd, bytes_at(0), ANSWER, MSG_NOSIGNAL), ANSWER);
  reset_socket(0);
  tell_other_data(0, 100, 1);
  while (pump_received(it->pump) == 0) /* and the loop does not look at the socket meanwhile */
    usleep(1000);
  WAIT_FOR(it->ended);
  struct seen seen = seen_by(0);
  ck_assert_uint_eq(seen.bytes, ANSWER);
  ck_assert_uint_eq(seen.wrong, 0);
  ck_assert_str_eq(seen.reset_reason, "broken");
  ck_assert_int_ne(it->socket_error, 0);
}
END_TEST

/* An original that sends without end to a socket that is not read must come to a stop, and the pump must still
 * close. */
START_TEST(test_stalled_socket_stops_the_sender)
{
  open_pump(0, "flood");
  give_socket(0);
  uint_fast64_t before;
  start_patience();
  int quiet = 0;
  do {
    before = atomic_load(&remote.flooded);
    turn_for(100);
    quiet = before > 0 && atomic_load(&remote.flooded) == before ? quiet + 1 : 0;
  } while (quiet < 3);
  stop_patience();
  ck_assert_uint_lt(atomic_load(&remote.flooded), 64 << 20);
}
END_TEST

/* The other way round: an original that does not read what comes stops the reading of the socket. */
START_TEST(test_socket_failure_is_seen_while_sending_is_held_back)
{
  open_answered(0, "flood");
  give_socket(0);
  push_until_held_back(0);
  reset_socket(0);
  WAIT_FOR(it->socket_error != 0);
  pump_stream_send_reset(it->stream, "", "gone"); /* cannot get through */
  pump_stream_cancel(it->stream);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_CANCELLED);
}
END_TEST

START_TEST(test_close_at_once)
{
  open_pump(0, "echo");
}
END_TEST

START_TEST(test_unreachable)
{
  const struct rpc_channel_options nowhere = {.target = "127.0.0.1:1"};
  rpc_channel_close(here.channel);
  ck_assert_int_eq(rpc_channel_open(&here.channel, here.queue, &nowhere), 0);
  open_pump(0, "echo");
  give_socket(0);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_UNAVAILABLE);
  ck_assert(!it->header);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pump over gRPC");
  TCase *tcase = tcase_create("pump over gRPC");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup_rpc, teardown);
  tcase_add_test(tcase, test_echo_and_both_ends);
  tcase_add_test(tcase, test_status_and_its_text);
  tcase_add_test(tcase, test_messages_of_all_sizes);
  tcase_add_test(tcase, test_a_malformed_message_ends_the_call);
  tcase_add_test(tcase, test_original_is_told_once);
  tcase_add_test(tcase, test_an_answer_goes_before_a_reset);
  tcase_add_test(tcase, test_stalled_socket_stops_the_sender);
  tcase_add_test(tcase, test_socket_failure_is_seen_while_sending_is_held_back);
  tcase_add_test(tcase, test_close_at_once);
  tcase_add_test(tcase, test_unreachable);
  suite_add_tcase(suite, tcase);
  return suite;
}
