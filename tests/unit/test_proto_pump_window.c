/* The pump's windows, acks, queues and budgets, against a server of the test's own. */
#include "fixture_proto_pump.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "runner.h"

static struct side *const it = &sides[0];

enum { MESSAGE = 64 << 10, WHOLE = MESSAGE - WINDOW_MESSAGE_COST /* a message that costs so much */ };

static uint64_t cost_of(const struct seen *seen)
{
  return seen->bytes - seen->acked + WINDOW_MESSAGE_COST * (seen->messages - seen->acked_messages);
}

/* Nothing more is read of the socket, however much it has. */
static bool is_full(int side)
{
  struct seen seen = seen_by(side);
  uint64_t window = counters(side).window;
  return seen.bytes == counters(side).bytes_read && cost_of(&seen) + 4096 + WINDOW_MESSAGE_COST > window;
}

/* All of a full window is acked at once. */
static void use_window(int side)
{
  PUSH_UNTIL(side, is_full(side));
  uint64_t read = counters(side).bytes_read;
  tell_other_ack(side);
  PUSH_UNTIL(side, counters(side).bytes_read > read);
}

/* ---- The window ---- */

START_TEST(test_no_more_than_the_window_is_under_way)
{
  open_answered(0, "ours");
  give_socket(0);
  ck_assert_uint_eq(counters(0).window, WINDOW_MIN);
  PUSH_UNTIL(0, is_full(0));
  push_until_held_back(0);
  struct seen seen = seen_by(0);
  ck_assert_uint_le(cost_of(&seen), WINDOW_MIN);
  ck_assert_uint_eq(counters(0).bytes_read, seen.bytes);
  ck_assert_uint_eq(counters(0).unacked, seen.bytes);

  tell_other_ack(0);
  WAIT_FOR(counters(0).bytes_read > seen.bytes);
  tell_other_acks(0);
  PUSH_UNTIL(0, seen_by(0).bytes > 4 * (uint64_t)WINDOW_MAX);
  WAIT_FOR(counters(0).unacked == 0 && seen_by(0).bytes == counters(0).bytes_read);
}
END_TEST

/* An ack of less than all. */
START_TEST(test_an_ack_in_part)
{
  open_answered(0, "ours");
  give_socket(0);
  PUSH_UNTIL(0, is_full(0));
  uint64_t bytes = counters(0).bytes_read;
  tell_other(0, ack_message(1000, 0));
  WAIT_FOR(counters(0).unacked + 1000 == counters(0).bytes_read);
  tell_other(0, ack_message(bytes / 2, 1));
  WAIT_FOR(counters(0).bytes_read > bytes);
  struct seen seen = seen_by(0);
  ck_assert_uint_le(cost_of(&seen), counters(0).window + bytes / 2 + WINDOW_MESSAGE_COST);
}
END_TEST

/* It grows when it was what held us back, but not beyond what the other side is ready to queue. */
START_TEST(test_window_grows_up_to_the_limit)
{
  remote.limit = WINDOW_MIN + (_i == 0 ? 100000 : 0);
  open_answered(0, "ours");
  give_socket(0);
  for (int i = 0; i < 3; i++) {
    use_window(0);
    ck_assert_uint_le(counters(0).window, remote.limit);
  }
  ck_assert_uint_eq(counters(0).window, remote.limit);
  ck_assert_uint_eq(pump_set_windows(here.set), remote.limit - WINDOW_MIN);
}
END_TEST

START_TEST(test_small_limit)
{
  remote.limit = _i == 0 ? 20000 : 1;
  open_answered(0, "ours");
  WAIT_FOR(counters(0).window == remote.limit);
  give_socket(0);
  uint64_t bound = remote.limit + WINDOW_MESSAGE_COST;
  PUSH_UNTIL(0, seen_by(0).bytes > 0);
  push_until_held_back(0);
  struct seen seen = seen_by(0);
  ck_assert_uint_le(cost_of(&seen), bound);
  for (int i = 0; i < 3; i++) {
    uint64_t before = seen_by(0).bytes;
    tell_other_ack(0);
    WAIT_FOR(seen_by(0).bytes > before);
  }
  ck_assert_uint_eq(pump_set_windows(here.set), 0);
}
END_TEST

/* Who turns out to be an original never acks. */
START_TEST(test_full_window_opens_for_an_original)
{
  open_silent(0);
  give_socket(0);
  PUSH_UNTIL(0, is_full(0));
  tell_other_answer(0, true);
  WAIT_FOR(it->original);
  PUSH_UNTIL(0, seen_by(0).bytes > 4 * (uint64_t)WINDOW_MIN);
  ck_assert_uint_eq(counters(0).window, 0);
  ck_assert_uint_eq(counters(0).unacked, 0);
}
END_TEST

START_TEST(test_socket_failure_is_seen_while_the_window_is_full)
{
  open_answered(0, "ours");
  give_socket(0);
  PUSH_UNTIL(0, is_full(0));
  push_until_held_back(0);
  reset_socket(0);
  WAIT_FOR(it->socket_error != 0);
  ck_assert_int_eq(it->socket_error, ECONNRESET);
  pump_stream_send_reset(it->stream, "", "gone");
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
  struct seen seen = seen_by(0);
  ck_assert_str_eq(seen.reset_reason, "gone");
}
END_TEST

/* The end goes also when the window is full. */
START_TEST(test_end_behind_a_full_window)
{
  open_answered(0, "ours");
  give_socket(0);
  PUSH_UNTIL(0, is_full(0));
  shutdown(it->fd, SHUT_WR);
  tell_other_acks(0);
  WAIT_FOR(it->local_eof && counters(0).unacked == 0);
  WAIT_FOR(seen_by(0).bytes == counters(0).bytes_read + 1);
  ck_assert_str_eq(seen_by(0).order, "DE");
}
END_TEST

/* ---- Acks ---- */

/* Nothing goes our way for it to ride on. */
START_TEST(test_ack_goes_alone)
{
  open_answered(0, "ours");
  give_socket(0);
  tell_other_data(0, 1000, 3);
  hear(0, 0, 3000);
  WAIT_FOR(seen_by(0).ack.taken == 3000);
  ck_assert_uint_eq(seen_by(0).ack.messages, 3);
  ck_assert_uint_eq(seen_by(0).ack.queued, 0);
  tell_other_eof(0, 0);
  WAIT_FOR(seen_by(0).ack.taken == 3001);
  ck_assert_uint_eq(seen_by(0).ack.messages, 4);
  ck_assert_uint_eq(counters(0).queued, 0);
  ck_assert_str_eq(seen_by(0).order, "A");
}
END_TEST

/* Who answered is to know that it was heard: before anything came from there, by what we say, or by an ack alone. */
START_TEST(test_ack_of_nothing)
{
  open_answered(0, "ours");
  give_socket(0);
  ck_assert(!pump_is_heard(it->pump));
  if (_i == 0)
    ck_assert_int_eq(send(it->fd, "x", 1, MSG_NOSIGNAL), 1);
  WAIT_FOR(seen_by(0).acks > 0 && seen_by(0).bytes == (_i == 0));
  ck_assert_uint_eq(seen_by(0).ack.taken + seen_by(0).ack.messages, 0);
  tell_other(0, ack_message(0, 0)); /* that is understood, too */
  WAIT_FOR(pump_is_heard(it->pump));
  ck_assert(!it->ended);
}
END_TEST

/* What waited for the socket is taken when it comes, and the first data that it brings says so. Without data it goes
 * alone. */
START_TEST(test_ack_of_what_waited)
{
  open_answered(0, "ours");
  tell_other_data(0, 1000, 2);
  WAIT_FOR(counters(0).queued > 2000);
  int fd = make_socket(0, false);
  if (_i == 0)
    ck_assert_int_eq(send(it->fd, "x", 1, MSG_NOSIGNAL), 1);
  ck_assert_int_eq(pump_give_socket(it->pump, fd), 0);
  WAIT_FOR(seen_by(0).ack.taken > 0);
  struct seen seen = seen_by(0);
  ck_assert_uint_eq(seen.ack.taken, 2000);
  ck_assert_uint_eq(seen.ack.messages, 2);
  ck_assert_int_eq(seen.order[strlen(seen.order) - 1], _i == 0 ? 'D' : 'A');
  hear(0, 0, 2000);
}
END_TEST

/* Some of it is not taken: that is said, too. */
START_TEST(test_ack_says_what_is_queued)
{
  open_answered(0, "ours");
  give_small_socket(0);
  tell_other_fill(0, true);
  WAIT_FOR(seen_by(0).ack.queued > 0);
  tell_other_fill(0, false);
  WAIT_FOR(counters(0).queued > WINDOW_MIN / 2);
  ck_assert_uint_eq(pump_set_queued(here.set), counters(0).queued);
  struct seen seen = seen_by(0);
  hear(0, 0, seen.said);
  WAIT_FOR(seen_by(0).ack.taken == seen.said);
  seen = seen_by(0);
  ck_assert_uint_eq(seen.ack.messages, seen.said_messages);
  ck_assert_uint_eq(seen.ack.queued, 0);
  ck_assert_uint_eq(counters(0).queued, 0);
  ck_assert_uint_eq(pump_set_queued(here.set), 0);
}
END_TEST

/* Nobody reads what the other side sends, up to the window; what we send it is acked all the same. */
START_TEST(test_upload_goes_on_beside_an_ignored_download)
{
  enum { UPLOAD = 4 << 20 };
  open_answered(0, "ours");
  give_small_socket(0);
  tell_other_fill(0, true);
  tell_other_acks(0);
  WAIT_FOR(counters(0).queued > WINDOW_MIN / 2);
  PUSH_UNTIL(0, seen_by(0).bytes > UPLOAD);
  ck_assert_uint_gt(counters(0).queued, WINDOW_MIN / 2);
  ck_assert_uint_le(counters(0).queued, WINDOW_MIN);
  ck_assert(!it->ended);
  hear(0, 0, (size_t)2 * WINDOW_MIN);
}
END_TEST

/* ---- The queue ---- */

START_TEST(test_more_than_the_limit_is_refused)
{
  enum { QUEUE = 1 << 20, BUDGET = 4 * QUEUE };
  use_limits(QUEUE, BUDGET);
  open_answered(0, "ours");
  tell_other_data(0, WHOLE, QUEUE / MESSAGE);
  WAIT_FOR(counters(0).queued == QUEUE);
  tell_other_data(0, 1, 1); /* goes beyond a window, however small */
  WAIT_FOR(counters(0).queued == QUEUE + 1 + WINDOW_MESSAGE_COST);
  ck_assert(!it->ended);
  tell_other_data(0, WHOLE, 1);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
  ck_assert_uint_eq(counters(0).queued, QUEUE + 1 + WINDOW_MESSAGE_COST);
  ck_assert_uint_eq(pump_received(it->pump), QUEUE / MESSAGE * WHOLE + 1);
}
END_TEST

/* Messages without data are nothing that could be queued. */
START_TEST(test_empty_messages)
{
  open_answered(0, "ours");
  for (int i = 0; i < 1000; i++)
    tell_other(0, message_copy("\x12\x00", 2));
  tell_other_data(0, 1000, 1);
  WAIT_FOR(counters(0).queued > 0);
  ck_assert_uint_eq(counters(0).queued, 1000 + WINDOW_MESSAGE_COST);
  give_socket(0);
  hear(0, 0, 1000);
  WAIT_FOR(seen_by(0).ack.taken == 1000);
  ck_assert_uint_eq(seen_by(0).ack.messages, 1);
}
END_TEST

/* ---- The budgets ---- */

static uint64_t beyond_the_beginning(int side)
{
  return counters(side).window - WINDOW_MIN;
}

START_TEST(test_budget_of_windows)
{
  enum { BUDGET = 1 << 20 };
  use_limits(WINDOW_MAX, BUDGET);
  for (int side = 0; side < 2; side++) {
    open_answered(side, "ours");
    give_socket(side);
    use_window(side);
    ck_assert_uint_gt(beyond_the_beginning(side), 0);
    ck_assert_uint_le(pump_set_windows(here.set), BUDGET);
  }
  ck_assert_uint_eq(pump_set_windows(here.set), beyond_the_beginning(0) + beyond_the_beginning(1));
  close_pump(0);
  WAIT_FOR(pump_set_windows(here.set) == beyond_the_beginning(1));
  close_pump(1);
  WAIT_FOR(pump_set_windows(here.set) == 0);
}
END_TEST

/* What is under way in the windows that all have counts too: many that are full leave nothing to grow by. */
START_TEST(test_full_beginnings_use_the_budget)
{
  use_limits(WINDOW_MAX, WINDOW_MIN / 2);
  open_answered(0, "ours");
  give_socket(0);
  use_window(0);
  ck_assert_uint_eq(beyond_the_beginning(0), 0);
}
END_TEST

/* A window that is not used comes down by itself. */
START_TEST(test_unused_window_gives_back)
{
  open_answered(0, "ours");
  give_socket(0);
  use_window(0);
  ck_assert_uint_gt(pump_set_windows(here.set), 0);
  tell_other_acks(0);
  close(it->fd);
  it->fd = -1;
  WAIT_FOR(pump_set_windows(here.set) == 0);
  ck_assert_uint_eq(counters(0).window, WINDOW_MIN);
}
END_TEST

/* The other side hears how much is meant to be under way, and that it is less. */
START_TEST(test_window_is_said)
{
  open_answered(0, "ours");
  give_socket(0);
  ck_assert_uint_eq(seen_by(0).window, 0);
  use_window(0);
  tell_other_acks(0);
  WAIT_FOR(seen_by(0).window > WINDOW_MIN);
  close(it->fd);
  it->fd = -1;
  WAIT_FOR(counters(0).window == WINDOW_MIN && seen_by(0).window == WINDOW_MIN);
}
END_TEST

static uint64_t limit_of_ack(int side)
{
  uint64_t said = seen_by(side).said;
  tell_other_data(side, 1, 1);
  WAIT_FOR(seen_by(side).ack.taken == said + 1);
  return seen_by(side).ack.limit;
}

/* What others mean to use is not granted again, until they mean it no more or are gone. */
START_TEST(test_budget_of_queues)
{
  enum { BUDGET = 1 << 20, HALF = BUDGET / 2 };
  use_limits(WINDOW_MAX, BUDGET);
  for (int side = 0; side < 3; side++) {
    open_answered(side, "ours");
    give_socket(side);
    ck_assert_uint_eq(pump_limit(sides[side].pump), WINDOW_MIN + HALF);
  }
  tell_other(0, window_message_of(WINDOW_MIN + HALF));
  ck_assert_uint_eq(limit_of_ack(0), WINDOW_MIN + HALF + HALF / 2);
  ck_assert_uint_eq(limit_of_ack(1), WINDOW_MIN + HALF / 2);
  tell_other(1, window_message_of(UINT64_MAX));
  ck_assert_uint_eq(limit_of_ack(1), WINDOW_MAX);
  ck_assert_uint_eq(limit_of_ack(2), WINDOW_MIN);
  tell_other(1, window_message_of(WINDOW_MIN));
  ck_assert_uint_eq(limit_of_ack(1), WINDOW_MIN + HALF / 2);
  ck_assert_uint_eq(limit_of_ack(2), WINDOW_MIN + HALF / 2);
  close_pump(0);
  ck_assert_uint_eq(limit_of_ack(2), WINDOW_MIN + HALF);
}
END_TEST

/* With the budget used up, and sockets that take nothing: acks, ends and resets are heard all the same. */
START_TEST(test_nothing_waits_for_room)
{
  enum { QUEUE = 1 << 20, BUDGET = QUEUE / 2 };
  use_limits(QUEUE, BUDGET);
  open_answered(0, "ours");
  tell_other_data(0, WHOLE, QUEUE / MESSAGE);
  WAIT_FOR(counters(0).queued == QUEUE);
  for (int side = 1; side <= 2; side++) {
    open_answered(side, "ours");
    give_small_socket(side);
    tell_other_fill(side, true);
    WAIT_FOR(counters(side).queued > WINDOW_MIN / 2);
    tell_other_fill(side, false);
    ck_assert_int_eq(send(sides[side].fd, "x", 1, MSG_NOSIGNAL), 1);
    WAIT_FOR(seen_by(side).bytes == 1);
    tell_other_ack(side);
    WAIT_FOR(counters(side).unacked == 0);
  }
  uint64_t before = pump_received(sides[2].pump);
  tell_other_eof(2, 0);
  WAIT_FOR(pump_received(sides[2].pump) > before);
  for (int side = 0; side <= 2; side++) {
    tell_other(side, reset_message("EPIPE", "gone"));
    WAIT_FOR(sides[side].reset_code[0] != '\0');
  }
  WAIT_FOR(pump_set_queued(here.set) == 0);
  ck_assert_uint_eq(pump_limit(it->pump), WINDOW_MIN + BUDGET / 2);
}
END_TEST

/* Who goes on though the budget is used up twice loses its stream, and nothing that was taken; others do not. With the
 * next stream it is told that there is no more. */
START_TEST(test_budget_that_is_overrun)
{
  enum { QUEUE = 1 << 20, BUDGET = QUEUE / 4, MODEST = 1 };
  use_limits(QUEUE, BUDGET);
  open_answered(0, "ours");
  open_answered(MODEST, "ours");
  tell_other_data(MODEST, WHOLE, WINDOW_MIN / MESSAGE);
  WAIT_FOR(counters(MODEST).queued == WINDOW_MIN);
  tell_other_data(0, WHOLE, QUEUE / MESSAGE);
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
  uint64_t queued = counters(0).queued;
  ck_assert_uint_gt(queued, WINDOW_MIN + 2 * BUDGET);
  ck_assert_uint_le(queued, WINDOW_MIN + 2 * BUDGET + MESSAGE);
  ck_assert_uint_eq(pump_received(it->pump), queued / MESSAGE * WHOLE);
  ck_assert_uint_eq(pump_limit(it->pump), queued);
  tell_other_data(MODEST, 1, 1);
  WAIT_FOR(counters(MODEST).queued > WINDOW_MIN);
  ck_assert(!sides[MODEST].ended);
}
END_TEST

/* What a socket's peer does not read stays with us, rather than in the kernel, which has less for each of many. */
START_TEST(test_the_kernel_is_given_little)
{
  enum { LITTLE = 1000, MUCH = 100000 };
  int before = 0, first = 0;
  for (int side = 0; side < SIDES_MAX; side++) {
    open_answered(side, "ours");
    int fd = make_socket(side, false), bound = 0;
    socklen_t size = sizeof bound;
    ck_assert_int_eq(pump_give_socket(sides[side].pump, fd), 0);
    tell_other_data(side, LITTLE, 1);
    hear(side, 0, LITTLE);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, &size), 0);
    ck_assert_int_eq(bound, 0); /* one that carries little is not worth the call */
    tell_other_data(side, MUCH, 1);
    hear(side, LITTLE, MUCH);
    WAIT_FOR(counters(side).queued == 0);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, &size), 0);
    ck_assert(bound >= 4096 && bound <= 1 << 20);
    ck_assert(side == 0 || bound <= before);
    before = bound;
    first = side == 0 ? bound : first;
  }
  ck_assert_int_eq(first, 1 << 20); /* enough for one to be as fast as the machine */
}
END_TEST

/* A peer whose machine is gone is to be noticed on a socket that lives. */
START_TEST(test_the_peer_is_asked)
{
  const struct pump_limits limits = {.window = WINDOW_MAX, .budget = WINDOW_MAX, .keepalive_s = 77};
  int on = 0, idle = 0;
  socklen_t size = sizeof on;
  use_pump_limits(&limits);
  open_answered(0, "ours");
  int fd = make_socket(0, false);
  ck_assert_int_eq(pump_give_socket(it->pump, fd), 0);
  WAIT_FOR(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &size) == 0 && on);
  ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &size), 0);
  ck_assert_int_eq(idle, 77);
}
END_TEST

/* A pump that goes takes what it had queued along. */
START_TEST(test_queue_goes_with_its_pump)
{
  open_answered(0, "ours");
  tell_other_data(0, WHOLE, 10);
  WAIT_FOR(pump_set_queued(here.set) == 10 * (uint64_t)MESSAGE);
  close_pump(0);
  WAIT_FOR(pump_set_queued(here.set) == 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pump windows");
  TCase *tcase = tcase_create("pump windows");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_no_more_than_the_window_is_under_way);
  tcase_add_test(tcase, test_an_ack_in_part);
  tcase_add_loop_test(tcase, test_window_grows_up_to_the_limit, 0, 2);
  tcase_add_loop_test(tcase, test_small_limit, 0, 2);
  tcase_add_test(tcase, test_full_window_opens_for_an_original);
  tcase_add_test(tcase, test_socket_failure_is_seen_while_the_window_is_full);
  tcase_add_test(tcase, test_end_behind_a_full_window);
  tcase_add_test(tcase, test_ack_goes_alone);
  tcase_add_loop_test(tcase, test_ack_of_nothing, 0, 2);
  tcase_add_loop_test(tcase, test_ack_of_what_waited, 0, 2);
  tcase_add_test(tcase, test_ack_says_what_is_queued);
  tcase_add_test(tcase, test_upload_goes_on_beside_an_ignored_download);
  tcase_add_test(tcase, test_more_than_the_limit_is_refused);
  tcase_add_test(tcase, test_empty_messages);
  tcase_add_test(tcase, test_budget_of_windows);
  tcase_add_test(tcase, test_full_beginnings_use_the_budget);
  tcase_add_test(tcase, test_unused_window_gives_back);
  tcase_add_test(tcase, test_budget_of_queues);
  tcase_add_test(tcase, test_window_is_said);
  tcase_add_test(tcase, test_the_kernel_is_given_little);
  tcase_add_test(tcase, test_the_peer_is_asked);
  tcase_add_test(tcase, test_nothing_waits_for_room);
  tcase_add_test(tcase, test_budget_that_is_overrun);
  tcase_add_test(tcase, test_queue_goes_with_its_pump);
  suite_add_tcase(suite, tcase);
  return suite;
}
