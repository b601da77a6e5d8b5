/* The pump against other sides of the test's own: who is there, ends, resets, malformed messages, and a socket that
 * stalls or fails. */
#include "fixture_proto_pump.h"
#include "runner.h"

static struct side *const it = &sides[0];

START_TEST(test_echo_and_both_ends)
{
  open_pump(0, "echo");
  give_socket(0);
  WAIT_FOR(it->header);
  ck_assert_uint_eq(it->said.limit, LIMIT);
  echo(0, 1);
  echo(0, 20 << 20);
  ck_assert_uint_eq(counters(0).bytes_read, (20 << 20) + 1);
  WAIT_FOR(counters(0).bytes_written == (20 << 20) + 1); /* it is counted after it is written */
  ck_assert_uint_gt(counters(0).rate, 0);
  ck_assert_uint_gt(counters(0).rtt_us, 0);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(it->ended);
  ck_assert(it->local_eof && it->remote_eof);
  ck_assert_int_eq(it->status, RPC_OK);
  hear_end(0);
}
END_TEST

/* While the header is still being sent: both go at once then. */
START_TEST(test_end_and_half_close_at_once)
{
  remote.acks = true;
  open_pump(0, "ours");
  pump_send_eof(it->pump, true);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
  ck_assert_str_eq(seen_by(0).order, "E.");
  ck_assert_uint_eq(counters(0).unacked, 0);
}
END_TEST

/* Our end is said; the other side goes on, and hears how far its own direction is. */
START_TEST(test_acks_are_said_after_the_end)
{
  enum { SIZE = 50000, COUNT = 100, TOTAL = SIZE * COUNT };
  open_answered(0, "ours");
  give_socket(0);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(strcmp(seen_by(0).order, "E") == 0);
  tell_other_data(0, SIZE, COUNT);
  hear(0, 0, TOTAL);
  WAIT_FOR(seen_by(0).ack.taken == TOTAL);
  ck_assert_uint_eq(seen_by(0).ack.messages, COUNT);
  ck_assert(!it->ended);
  tell_other_eof(0, 0);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
  hear_end(0);
  ck_assert_str_eq(seen_by(0).order, "EA.");
}
END_TEST

/* And the other way round: what we say goes on after the other side's end. */
START_TEST(test_data_is_said_after_the_other_end)
{
  enum { TOTAL = 100000 };
  open_answered(0, "ours");
  give_socket(0);
  tell_other_acks(0);
  tell_other_eof(0, 1000);
  hear(0, 0, 1000);
  hear_end(0);
  WAIT_FOR(seen_by(0).ack.taken == 1001);
  ck_assert_uint_eq(seen_by(0).ack.messages, 1);
  size_t pushed = 0;
  PUSH_UNTIL(0, (pushed += push(0)) >= TOTAL);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
  ck_assert_uint_eq(seen_by(0).bytes, counters(0).bytes_read + 1);
}
END_TEST

START_TEST(test_original_peer_is_told_nothing)
{
  open_pump(0, "original");
  give_socket(0);
  WAIT_FOR(it->original);
  echo(0, 100000);
  ck_assert_uint_eq(counters(0).window, 0);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(it->ended);
  ck_assert(it->local_eof && !it->remote_eof && !it->header);
  ck_assert_int_eq(it->status, RPC_OK);
  ck_assert_str_eq(seen_by(0).order, "D.");
  ck_assert_uint_eq(seen_by(0).acks, 0);
}
END_TEST

/* A socket tells of what changes only: the end was there when the bytes before it were read, and changes no more. */
START_TEST(test_an_end_that_comes_with_bytes)
{
  open_answered(0, "ours");
  give_socket(0);
  ck_assert_int_eq(send(it->fd, "abc", 3, MSG_NOSIGNAL), 3);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(it->local_eof);
  WAIT_FOR(seen_by(0).bytes == 4);
}
END_TEST

/* Urgent bytes (FTP's ABOR, telnet) are bytes of the stream. */
START_TEST(test_urgent_bytes)
{
  open_answered(0, "ours");
  give_socket(0);
  ck_assert_int_eq(send(it->fd, "ab", 2, MSG_NOSIGNAL), 2);
  ck_assert_int_eq(send(it->fd, "!", 1, MSG_NOSIGNAL | MSG_OOB), 1);
  ck_assert_int_eq(send(it->fd, "cd", 2, MSG_NOSIGNAL), 2);
  WAIT_FOR(seen_by(0).bytes == 5);
}
END_TEST

START_TEST(test_refused)
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

START_TEST(test_remote_reset)
{
  open_answered(0, "ours");
  give_socket(0);
  tell_other(0, reset_message("ECONNREFUSED", "connect to nowhere: refused"));
  WAIT_FOR(it->reset_code[0] != '\0');
  ck_assert_str_eq(it->reset_code, "ECONNREFUSED");
  ck_assert_str_eq(it->reset_reason, "connect to nowhere: refused");
  char byte;
  ck_assert_int_eq(recv(it->fd, &byte, 1, 0), -1);
  ck_assert_int_eq(errno, ECONNRESET);
  pump_stream_half_close(it->stream);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
}
END_TEST

/* Nobody reads the data before it. */
START_TEST(test_reset_is_told_before_there_is_a_socket)
{
  open_answered(0, "ours");
  tell_other_data(0, 5000, 3);
  tell_other(0, reset_message("ETIMEDOUT", "gone"));
  WAIT_FOR(it->reset_code[0] != '\0');
  ck_assert_str_eq(it->reset_code, "ETIMEDOUT");
  ck_assert_uint_eq(counters(0).queued, 0);
}
END_TEST

START_TEST(test_reset_is_told_at_once_while_the_socket_stalls)
{
  open_answered(0, "ours");
  give_small_socket(0);
  tell_other_fill(0, true);
  WAIT_FOR(counters(0).queued > WINDOW_MIN / 2);
  tell_other_fill(0, false);
  tell_other(0, reset_message("EPIPE", "gone"));
  WAIT_FOR(it->reset_code[0] != '\0');
  ck_assert_str_eq(it->reset_code, "EPIPE");
  ck_assert_uint_eq(counters(0).queued, 0);
}
END_TEST

/* The other side ended its direction, and breaks the other one. */
START_TEST(test_reset_is_told_after_an_end)
{
  open_answered(0, "ours");
  if (_i == 0)
    give_socket(0);
  tell_other_eof(0, _i == 0 ? 1000 : 0);
  WAIT_FOR(it->remote_eof);
  tell_other(0, reset_message("ECONNRESET", "after the end"));
  WAIT_FOR(it->reset_code[0] != '\0');
  ck_assert_str_eq(it->reset_reason, "after the end");
}
END_TEST

/* What it says, and how it is refused. */
static struct message *wrong_message(int which)
{
  switch (which) {
  case 0: /* a length beyond 64 bits */
    return message_copy("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11);
  case 1: /* an ack within which a number does not end */
    return message_copy("\x2a\x02\x08\xff", 4);
  case 2: /* a second header */
    return header_message(LIMIT);
  case 3: /* bytes that were never sent */
    return ack_message(1001, 1);
  case 4: /* nor such messages */
    return ack_message(1000, 2);
  default:
    return ack_message(UINT64_MAX, UINT64_MAX);
  }
}

enum { WRONG_MESSAGES = 6 };

START_TEST(test_wrong_message)
{
  uint8_t out[1000] = {0};
  open_answered(0, "ours");
  give_socket(0);
  ck_assert_int_eq(send(it->fd, out, sizeof out, MSG_NOSIGNAL), sizeof out);
  WAIT_FOR(seen_by(0).bytes == sizeof out);
  ck_assert_uint_eq(seen_by(0).messages, 1);
  tell_other(0, wrong_message(_i));
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
}
END_TEST

/* One that was overtaken tells nothing new. */
START_TEST(test_late_ack)
{
  uint8_t out[1000] = {0};
  open_answered(0, "ours");
  give_socket(0);
  ck_assert_int_eq(send(it->fd, out, sizeof out, MSG_NOSIGNAL), sizeof out);
  WAIT_FOR(seen_by(0).bytes == sizeof out);
  tell_other(0, ack_message(1000, 1));
  WAIT_FOR(counters(0).unacked == 0);
  tell_other(0, ack_message(1000, 1));
  tell_other(0, ack_message(999, 1));
  tell_other_data(0, 1, 1);
  hear(0, 0, 1);
  ck_assert(!it->ended);
  ck_assert_uint_eq(counters(0).unacked, 0);
  ck_assert_int_eq(send(it->fd, out, sizeof out, MSG_NOSIGNAL), sizeof out);
  WAIT_FOR(seen_by(0).bytes == 2 * sizeof out);
  tell_other(0, ack_message(2000, 0)); /* less in one, more in the other */
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
}
END_TEST

START_TEST(test_header_that_cannot_be)
{
  open_silent(0);
  tell_other(0, message_copy("\x0a\x04\x12\x02xx", 6)); /* a member of two bytes */
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
  ck_assert(!it->header);
}
END_TEST

/* An original has no windows. */
START_TEST(test_ack_of_an_original)
{
  open_answered(0, "original");
  give_socket(0);
  tell_other(0, ack_message(0, 0));
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
}
END_TEST

START_TEST(test_local_reset)
{
  open_pump(0, "echo");
  give_socket(0);
  WAIT_FOR(it->header);
  echo(0, 1000);
  reset_socket(0);
  WAIT_FOR(it->socket_error != 0);
  ck_assert_int_eq(it->socket_error, ECONNRESET);
  ck_assert(!it->local_eof);
  pump_stream_send_reset(it->stream, "", "the application went away");
  WAIT_FOR(it->ended);
}
END_TEST

/* What is said is said whole, whatever stood in memory before, and cut to what fits. Also when our end was said. */
START_TEST(test_reset_is_said_in_words)
{
  char reason[400];
  memset(reason, 'x', sizeof reason - 1);
  reason[sizeof reason - 1] = '\0';
  if (_i == 0)
    snprintf(reason, sizeof reason, "connect to localhost:8080: Connection refused");
  open_answered(0, "ours");
  if (_i == 2) {
    pump_send_eof(it->pump, false);
    WAIT_FOR(strcmp(seen_by(0).order, "E") == 0);
  }
  pump_stream_send_reset(it->stream, "ECONNREFUSED", reason);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
  ck_assert_str_eq(seen_by(0).order, _i == 2 ? "ER." : "R.");
  ck_assert_str_eq(seen_by(0).reset_code, "ECONNREFUSED");
  reason[255] = '\0';
  ck_assert_str_eq(seen_by(0).reset_reason, reason);
}
END_TEST

/* Early data: nobody has answered yet. */
START_TEST(test_data_goes_before_any_answer)
{
  open_silent(0);
  give_socket(0);
  push(0);
  WAIT_FOR(seen_by(0).bytes > 0);
  ck_assert(!it->header);
  tell_other_answer(0, false);
  WAIT_FOR(it->header);
}
END_TEST

/* A parked stream is taken: the header, with data right behind it. */
START_TEST(test_data_waits_for_the_socket)
{
  enum { SIZE = 1000, COUNT = 100, TOTAL = SIZE * COUNT };
  open_silent(0);
  tell_other_answer(0, false);
  tell_other_data(0, SIZE, COUNT);
  tell_other_eof(0, 0);
  WAIT_FOR(it->header);
  WAIT_FOR(counters(0).queued >= TOTAL);
  ck_assert(!it->remote_eof);
  ck_assert_uint_eq(counters(0).bytes_written, 0);
  ck_assert_uint_eq(seen_by(0).ack.taken, 0);
  give_socket(0);
  WAIT_FOR(it->remote_eof);
  ck_assert_uint_eq(counters(0).queued, 0);
  hear(0, 0, TOTAL);
  hear_end(0);
}
END_TEST

/* All of them have come, of which none is written. */
static void wait_for_messages(size_t count, size_t size)
{
  WAIT_FOR(counters(0).queued >= count * (size + WINDOW_MESSAGE_COST));
}

/* The same, and the stream is over before there is a socket: with a first version, the connection is over then, too. */
START_TEST(test_what_came_is_written_after_the_stream)
{
  bool original = _i == 1;
  open_silent(0);
  tell_other_answer(0, original);
  size_t count = original ? 1 : 100, size = 100000 / count;
  tell_other_data(0, size, count);
  wait_for_messages(count, size);
  tell_other_finish(0, RPC_OK);
  if (original)
    settle();
  else
    WAIT_FOR(it->ended);
  ck_assert(it->ended == !original);
  give_socket(0);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
  hear(0, 0, 100000);
}
END_TEST

/* Unless it failed: then it is dropped. What comes of ours stays, for it is never sent again. */
START_TEST(test_what_came_when_the_stream_fails)
{
  bool original = _i == 1;
  open_silent(0);
  tell_other_answer(0, original);
  size_t count = original ? 1 : 10;
  tell_other_data(0, 1000, count);
  wait_for_messages(count, 1000);
  tell_other_finish(0, RPC_UNAVAILABLE);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_UNAVAILABLE);
  ck_assert(original == (counters(0).queued == 0));
  give_socket(0);
  settle();
  ck_assert_uint_eq(counters(0).bytes_written, original ? 0 : 10000);
  if (!original)
    hear(0, 0, 10000);
}
END_TEST

/* A service whose target could not be dialled: nobody will write what came. */
START_TEST(test_end_of_a_stream_without_a_socket)
{
  open_silent(0);
  tell_other_answer(0, true);
  tell_other_data(0, 1000, 1);
  wait_for_messages(1, 1000);
  tell_other_finish(0, RPC_OK);
  settle();
  ck_assert(!it->ended);
  pump_close_socket(it->pump, true);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
}
END_TEST

START_TEST(test_header_goes_before_data)
{
  const struct header h = {.has_connection = true, .connection = {7}, .limit = LIMIT};
  const struct pump_attachment answered = {.answer = &h};
  create_pump(0);
  open_stream(0, "silent");
  WAIT_FOR(seen_by(0).begun);
  tell_other_answer(0, false);
  WAIT_FOR(it->header);
  int fd = make_socket(0, false);
  push(0);
  use_stream(0, 0, &answered);
  ck_assert_int_eq(pump_give_socket(it->pump, fd), 0);
  WAIT_FOR(seen_by(0).bytes > 0);
  ck_assert_str_eq(seen_by(0).order, "HD");
}
END_TEST

static void hand_over(struct pump_stream *s, const struct header *h, void *arg)
{
  *(bool *)arg = h->has_connection;
  pump_stream_hand_over(s, &stream_events, it);
}

/* Also what is on its way when it is handed over. */
START_TEST(test_events_go_to_the_new_owner)
{
  const struct pump_stream_events first = {.header = hand_over};
  const struct header h = {
      .token = "silent", .has_member = true, .has_member_key = true, .member = {1}, .member_key = {2}, .park = true};
  const struct pump_stream_options options = {.header = &h};
  const struct pump_attachment attachment = {0};
  bool handed_over = false;
  create_pump(0);
  ck_assert_int_eq(pump_stream_open(&it->stream, here.set, make_stream(&h), &options, &first, &handed_over), 0);
  WAIT_FOR(seen_by(0).begun);
  tell_other_answer(0, false);
  tell_other_eof(0, 0);
  tell_other(0, reset_message("EPIPE", "gone"));
  WAIT_FOR(handed_over);
  use_stream(0, 0, &attachment);
  WAIT_FOR(it->reset_code[0] != '\0');
  ck_assert(it->remote_eof && !it->header);
}
END_TEST

/* The socket, full before, has taken all that came. */
START_TEST(test_socket_failure_is_seen_when_nothing_is_to_be_done)
{
  open_answered(0, "finite");
  give_socket(0);
  push_until_held_back(0);
  hear(0, 0, FINITE);
  reset_socket(0);
  WAIT_FOR(it->socket_error != 0);
}
END_TEST

/* A socket tells of a reset once; who reads it after that sees an end. */
START_TEST(test_a_reset_is_not_taken_for_an_end)
{
  int error = 0;
  socklen_t size = sizeof error;
  open_answered(0, "ours");
  int fd = make_socket(0, false);
  reset_socket(0);
  while (error == 0)
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
  ck_assert_int_eq(pump_give_socket(it->pump, fd), 0);
  WAIT_FOR(it->socket_error != 0 || it->local_eof);
  ck_assert_int_eq(it->socket_error, ECONNRESET);
}
END_TEST

/* A socket that brings bytes which nobody wants any more is not reset under what it was given. */
START_TEST(test_linger)
{
  enum { TOTAL = 100000 };
  open_answered(0, "ours");
  give_socket(0);
  tell_other_data(0, TOTAL, 1);
  WAIT_FOR(counters(0).bytes_written == TOTAL);
  tell_other_finish(0, RPC_OK);
  WAIT_FOR(it->ended);
  ck_assert_uint_gt(push(0), 0);
  pump_linger_socket(it->pump);
  for (int i = 0; i < 100; i++)
    push(0);
  ck_assert(!it->local_eof);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(it->local_eof);
  pump_close_socket(it->pump, false);
  hear(0, 0, TOTAL);
  hear_end(0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pump");
  TCase *tcase = tcase_create("pump");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_echo_and_both_ends);
  tcase_add_test(tcase, test_end_and_half_close_at_once);
  tcase_add_test(tcase, test_acks_are_said_after_the_end);
  tcase_add_test(tcase, test_data_is_said_after_the_other_end);
  tcase_add_test(tcase, test_original_peer_is_told_nothing);
  tcase_add_test(tcase, test_an_end_that_comes_with_bytes);
  tcase_add_test(tcase, test_urgent_bytes);
  tcase_add_test(tcase, test_refused);
  tcase_add_test(tcase, test_remote_reset);
  tcase_add_test(tcase, test_reset_is_told_before_there_is_a_socket);
  tcase_add_test(tcase, test_reset_is_told_at_once_while_the_socket_stalls);
  tcase_add_loop_test(tcase, test_reset_is_told_after_an_end, 0, 2);
  tcase_add_loop_test(tcase, test_wrong_message, 0, WRONG_MESSAGES);
  tcase_add_test(tcase, test_late_ack);
  tcase_add_test(tcase, test_header_that_cannot_be);
  tcase_add_test(tcase, test_ack_of_an_original);
  tcase_add_test(tcase, test_local_reset);
  tcase_add_loop_test(tcase, test_reset_is_said_in_words, 0, 3);
  tcase_add_test(tcase, test_data_goes_before_any_answer);
  tcase_add_test(tcase, test_data_waits_for_the_socket);
  tcase_add_loop_test(tcase, test_what_came_is_written_after_the_stream, 0, 2);
  tcase_add_loop_test(tcase, test_what_came_when_the_stream_fails, 0, 2);
  tcase_add_test(tcase, test_end_of_a_stream_without_a_socket);
  tcase_add_test(tcase, test_header_goes_before_data);
  tcase_add_test(tcase, test_events_go_to_the_new_owner);
  tcase_add_test(tcase, test_socket_failure_is_seen_when_nothing_is_to_be_done);
  tcase_add_test(tcase, test_a_reset_is_not_taken_for_an_end);
  tcase_add_test(tcase, test_linger);
  suite_add_tcase(suite, tcase);
  return suite;
}
