/* Streams that come and go under a pump: what goes again, what is dropped, and what stays as it is. */
#include "fixture_proto_pump.h"
#include "proto/pump/pump_internal.h"
#include "runner.h"

static struct side *const it = &sides[0];
enum { NEXT = 1, AFTER = 2 }; /* sides whose streams the first one's pump is given later */

static void write_bytes(size_t from, size_t size)
{
  start_patience();
  while (size > 0) {
    ssize_t n = send(it->fd, bytes_at(from), size < BYTES_MAX ? size : BYTES_MAX, MSG_NOSIGNAL);
    if (n > 0) {
      from += (size_t)n;
      size -= (size_t)n;
    }
    turn();
  }
  stop_patience();
}

/* The other side of this stream answers. */
static void open_next(int side, const char *token)
{
  int other = remote.count;
  open_stream(side, token);
  if (strcmp(token, "silent") != 0)
    WAIT_FOR(sides[side].header || sides[side].original);
  else
    WAIT_FOR(seen_by(other).begun);
}

static void go_on(int stream, uint64_t received)
{
  const struct pump_attachment a = {.send_from = received, .limit = LIMIT};
  use_stream(0, stream, &a);
}

/* ---- What was sent ---- */

/* Whether something is. The other thread may be adding to it. */
static bool keeps(void)
{
  pthread_mutex_lock(&it->pump->up.lock);
  bool any = sequence_out_kept(&it->pump->up.sequence, 0) != NULL;
  pthread_mutex_unlock(&it->pump->up.lock);
  return any;
}

/* Nothing was acked: all of it goes again that the other side did not receive. */
START_TEST(test_goes_again)
{
  enum { TOTAL = 100000, TWICE = 2 * TOTAL };
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, TOTAL);
  WAIT_FOR(seen_by(0).bytes == TOTAL);
  ck_assert_uint_eq(counters(0).unacked, TOTAL);
  uint64_t received = (uint64_t)_i * (TOTAL / 4);
  ck_assert(pump_can_send_from(it->pump, received));
  open_next(NEXT, "ours");
  go_on(NEXT, received);
  close_stream(0);
  WAIT_FOR(received == TOTAL || seen_by(1).offset + seen_by(1).bytes == TOTAL);
  ck_assert_uint_le(seen_by(1).offset, received);
  write_bytes(TOTAL, TOTAL);
  WAIT_FOR(seen_by(1).offset + seen_by(1).bytes == TWICE);
  ck_assert_uint_eq(seen_by(1).wrong, 0);
  ck_assert_uint_eq(seen_by(1).offsets, seen_by(1).bytes < TWICE);
}
END_TEST

/* What is acked is not kept, and nobody goes on before it. */
START_TEST(test_what_is_acked_is_not_kept)
{
  enum { TOTAL = 100000 };
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, TOTAL);
  WAIT_FOR(seen_by(0).bytes == TOTAL);
  tell_other_ack(0);
  WAIT_FOR(counters(0).unacked == 0);
  ck_assert(!keeps());
  ck_assert(!pump_can_send_from(it->pump, TOTAL + 1));
  open_next(NEXT, "ours");
  const struct pump_attachment a = {.send_from = TOTAL + 1};
  ck_assert_int_eq(pump_attach(it->pump, sides[NEXT].stream, &a), -EPROTO);
  write_bytes(TOTAL, 1000); /* nothing has changed */
  WAIT_FOR(seen_by(0).bytes == TOTAL + 1000);
  ck_assert_uint_eq(seen_by(1).bytes, 0);
  go_on(NEXT, TOTAL);
  WAIT_FOR(seen_by(1).bytes == 1000);
  ck_assert_uint_eq(seen_by(1).offset, TOTAL);
  ck_assert_uint_eq(seen_by(1).wrong, 0);
}
END_TEST

START_TEST(test_end_is_said_again)
{
  bool known = _i == 1;
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, 1000);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(seen_by(0).bytes == 1001);
  open_next(NEXT, "ours");
  go_on(NEXT, known ? 1001 : 1000);
  close_stream(0);
  if (!known)
    WAIT_FOR(seen_by(1).bytes == 1);
  settle();
  ck_assert_str_eq(seen_by(1).order, known ? "" : "E");
  ck_assert_uint_eq(seen_by(1).offset, known ? 0 : 1000);
  pump_stream_half_close(sides[NEXT].stream);
  WAIT_FOR(sides[NEXT].ended);
  ck_assert_int_eq(sides[NEXT].status, RPC_OK);
}
END_TEST

/* Without a stream the end waits; then it goes with the half-close. */
START_TEST(test_end_while_detached)
{
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, 1000);
  WAIT_FOR(seen_by(0).bytes == 1000);
  close_stream(0);
  pump_send_eof(it->pump, true);
  open_next(NEXT, "ours");
  go_on(NEXT, 0);
  pump_stream_half_close(sides[NEXT].stream);
  WAIT_FOR(sides[NEXT].ended);
  ck_assert_int_eq(sides[NEXT].status, RPC_OK);
  ck_assert_str_eq(seen_by(1).order, "DE.");
  ck_assert_uint_eq(seen_by(1).bytes, 1001);
}
END_TEST

/* Much is to go again, and takes its time: the half-close waits until the end has gone. */
START_TEST(test_half_close_behind_what_goes_again)
{
  enum { TOTAL = 200000 };
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, TOTAL);
  shutdown(it->fd, SHUT_WR);
  WAIT_FOR(seen_by(0).bytes == TOTAL + 1);
  open_next(NEXT, "ours");
  tell_other_deaf(1, true);
  go_on(NEXT, 0);
  pump_stream_half_close(sides[NEXT].stream);
  settle();
  tell_other_deaf(1, false);
  WAIT_FOR(sides[NEXT].ended);
  ck_assert_int_eq(sides[NEXT].status, RPC_OK);
  ck_assert_str_eq(seen_by(1).order, "DE.");
  ck_assert_uint_eq(seen_by(1).bytes, TOTAL + 1);
  ck_assert_uint_eq(seen_by(1).wrong, 0);
}
END_TEST

/* The first stream is full, its message not through. */
START_TEST(test_closed_while_its_message_is_out)
{
  open_silent(0);
  tell_other_answer(0, false);
  WAIT_FOR(it->header);
  give_socket(0);
  tell_other_deaf(0, true);
  size_t pushed = 0;
  start_patience();
  for (int idle = 0; idle < 50;) {
    ssize_t n = send(it->fd, bytes_at(pushed), 1 << 14, MSG_NOSIGNAL);
    pushed += n > 0 ? (size_t)n : 0;
    idle = n > 0 ? 0 : idle + 1;
    turn_for(1);
  }
  stop_patience();
  ck_assert_uint_gt(counters(0).unacked, 0);
  close_stream(0);
  open_next(NEXT, "ours");
  tell_other_acks(1);
  go_on(NEXT, 0);
  WAIT_FOR(seen_by(1).bytes == pushed);
  ck_assert_uint_eq(seen_by(1).wrong, 0);
  WAIT_FOR(counters(0).unacked == 0);
}
END_TEST

/* What is under way stays within the window, whatever streams come and go. */
START_TEST(test_window_holds_over_streams)
{
  open_answered(0, "ours");
  give_socket(0);
  push_until_held_back(0);
  uint64_t under_way = counters(0).unacked;
  ck_assert_uint_gt(under_way, WINDOW_MIN / 2);
  for (int i = 0; i < 4; i++) {
    int stream = i % 2 == 0 ? NEXT : AFTER;
    open_next(stream, "ours");
    sides[stream].header = false;
    go_on(stream, 0);
    close_stream(i == 0 ? 0 : i % 2 == 0 ? AFTER : NEXT);
    WAIT_FOR(seen_by(i + 1).bytes == under_way);
    push_until_held_back(0);
    ck_assert_uint_eq(counters(0).unacked, under_way);
    ck_assert_uint_eq(seen_by(i + 1).bytes, under_way);
  }
  tell_other_ack(4);
  WAIT_FOR(counters(0).bytes_read > under_way);
}
END_TEST

/* Who is there is known only now: from here on nothing is kept. */
START_TEST(test_nothing_is_kept_for_an_original)
{
  open_silent(0);
  give_socket(0);
  write_bytes(0, 50000);
  WAIT_FOR(seen_by(0).bytes == 50000);
  ck_assert(keeps());
  tell_other_answer(0, true);
  WAIT_FOR(it->original);
  ck_assert(!keeps());
  write_bytes(50000, 50000);
  WAIT_FOR(seen_by(0).bytes == 100000);
  ck_assert(!keeps());
  ck_assert_uint_eq(counters(0).unacked, 0);
}
END_TEST

/* The answer to the dial was lost with its stream; who answers the next one is an original. */
START_TEST(test_an_original_answers_later)
{
  open_silent(0);
  give_socket(0);
  write_bytes(0, 50000);
  WAIT_FOR(seen_by(0).bytes == 50000);
  close_stream(0);
  open_next(NEXT, "silent");
  if (_i == 0)
    tell_other_answer(1, true);
  const struct pump_attachment a = {.original = _i == 1};
  use_stream(0, NEXT, &a);
  WAIT_FOR(seen_by(1).bytes == 50000);
  if (_i == 0)
    WAIT_FOR(sides[NEXT].original);
  ck_assert_uint_eq(counters(0).window, 0);
  ck_assert_uint_eq(seen_by(1).offsets, 0);
  ck_assert(!keeps());
}
END_TEST

/* A message that nobody acks must not keep a slab from all others. What is moved goes again as it was. */
START_TEST(test_slabs_are_not_kept)
{
  enum { SMALL = 3000 };
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, SMALL);
  WAIT_FOR(seen_by(0).bytes == SMALL);
  pthread_mutex_lock(&it->pump->up.lock);
  struct bytes before, now;
  memcpy(&before, sequence_out_kept(&it->pump->up.sequence, 0)->body, sizeof before);
  pthread_mutex_unlock(&it->pump->up.lock);
  if (_i == 1)
    pump_detach(it->pump);
  do {
    turn_for(10);
    pthread_mutex_lock(&it->pump->up.lock);
    memcpy(&now, sequence_out_kept(&it->pump->up.sequence, 0)->body, sizeof now);
    pthread_mutex_unlock(&it->pump->up.lock);
  } while (now.owner == before.owner);
  open_next(NEXT, "ours");
  go_on(NEXT, 0);
  WAIT_FOR(seen_by(1).bytes == SMALL);
  ck_assert_uint_eq(seen_by(1).wrong, 0);
}
END_TEST

/* ---- Without a stream ---- */

/* The socket is not read; what comes of it otherwise is told. */
START_TEST(test_detached)
{
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, 1000);
  WAIT_FOR(seen_by(0).bytes == 1000);
  pump_detach(it->pump);
  it->current = NULL;
  ck_assert_int_eq(send(it->fd, "x", 1, MSG_NOSIGNAL), 1);
  settle();
  ck_assert_uint_eq(counters(0).bytes_read, 1000);
  if (_i == 0) {
    reset_socket(0);
    WAIT_FOR(it->socket_error != 0);
    ck_assert_int_eq(it->socket_error, ECONNRESET);
    return;
  }
  open_next(NEXT, "ours");
  go_on(NEXT, 1000);
  WAIT_FOR(seen_by(1).bytes == 1);
  ck_assert_uint_eq(seen_by(1).offset, 1000);
}
END_TEST

/* What came is written on, and is acked on the next stream, which says nothing else. */
START_TEST(test_queue_is_kept_while_detached)
{
  open_answered(0, "ours");
  give_small_socket(0);
  tell_other_fill(0, true);
  WAIT_FOR(counters(0).queued > WINDOW_MIN / 2);
  tell_other_fill(0, false);
  settle();
  uint64_t said = seen_by(0).said;
  WAIT_FOR(pump_received(it->pump) == said);
  close_stream(0);
  if (_i == 0) {
    hear(0, 0, said);
    WAIT_FOR(counters(0).queued == 0);
  }
  open_next(NEXT, "ours");
  go_on(NEXT, 0);
  if (_i == 1)
    hear(0, 0, said);
  WAIT_FOR(seen_by(1).ack.taken == said);
  ck_assert_uint_eq(seen_by(1).ack.messages, seen_by(0).said_messages);
  ck_assert_str_eq(seen_by(1).order, "A");
}
END_TEST

/* What was said of it may be lost. */
START_TEST(test_acks_are_said_again)
{
  open_answered(0, "ours");
  give_socket(0);
  tell_other_data(0, 1000, 3);
  hear(0, 0, 3000);
  WAIT_FOR(seen_by(0).ack.taken == 3000);
  open_next(NEXT, "ours");
  settle();
  ck_assert_uint_eq(seen_by(1).acks, 0);
  go_on(NEXT, 0);
  WAIT_FOR(seen_by(1).ack.taken == 3000);
  ck_assert_uint_eq(seen_by(1).ack.messages, 3);
  settle();
  ck_assert_uint_eq(seen_by(1).acks, 1);
}
END_TEST

/* ---- What arrives ---- */

START_TEST(test_what_is_known_is_dropped)
{
  open_answered(0, "ours");
  give_socket(0);
  tell_other_data(0, 1000, 3);
  hear(0, 0, 3000);
  open_next(NEXT, "ours");
  go_on(NEXT, 0);
  ck_assert_uint_eq(pump_received(it->pump), 3000);
  tell_other(1, data_message(1000, 1000, false, 1000));
  tell_other(1, data_message(2000, 1000, false, 0));
  tell_other(1, data_message(2500, 1000, false, 2500)); /* half of it is known */
  tell_other(1, data_message(3500, 500, true, 0));
  hear(0, 3000, 1000);
  hear_end(0);
  WAIT_FOR(it->remote_eof);
  ck_assert_uint_eq(pump_received(it->pump), 4001);
  tell_other(1, data_message(3000, 1000, true, 3000));
  tell_other(1, data_message(0, 0, true, 4000));
  WAIT_FOR(seen_by(1).ack.taken == 4001);
  settle();
  ck_assert(!sides[NEXT].ended);
  ck_assert_uint_eq(counters(0).bytes_written, 4000);
}
END_TEST

/* A stream that does not go on where it must ends; the connection is as it was. */
START_TEST(test_gap)
{
  open_answered(0, "ours");
  give_socket(0);
  tell_other_data(0, 1000, 1);
  hear(0, 0, 1000);
  if (_i == 2) {
    tell_other_eof(0, 0);
    hear_end(0);
  }
  tell_other(0, _i == 0   ? data_message(1001, 10, false, 1001)
                : _i == 1 ? data_message(0, 0, true, 500)
                          : data_message(1000, 10, false, 1000));
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
  ck_assert_uint_eq(pump_received(it->pump), _i == 2 ? 1001 : 1000);
  close_stream(0);
  open_next(NEXT, "ours");
  go_on(NEXT, 0);
  if (_i < 2) {
    tell_other(1, data_message(1000, 1000, false, 1000));
    hear(0, 1000, 1000);
  }
  ck_assert(!sides[NEXT].ended);
}
END_TEST

/* Of a stream that is not the current one any more nothing is taken, nor does what it says hurt. */
START_TEST(test_former_stream_is_not_heard)
{
  open_answered(0, "ours");
  give_socket(0);
  tell_other_data(0, 1000, 1);
  hear(0, 0, 1000);
  open_next(NEXT, "ours");
  go_on(NEXT, 0);
  tell_other(0, data_message(1000, 500, false, 1000));
  tell_other(0, _i == 0 ? data_message(9999, 500, false, 9999) : ack_message(UINT64_MAX, UINT64_MAX));
  settle();
  ck_assert_uint_eq(pump_received(it->pump), 1000);
  tell_other(1, data_message(1000, 1000, false, 1000));
  hear(0, 1000, 1000);
  ck_assert(!it->ended && !sides[NEXT].ended);
}
END_TEST

/* What a forged ack ends is the stream that brought it. */
START_TEST(test_forged_ack_ends_its_stream)
{
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, 1000);
  WAIT_FOR(seen_by(0).bytes == 1000);
  tell_other(0, ack_message(1001, 1));
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_INTERNAL);
  ck_assert_uint_eq(counters(0).unacked, 1000);
  close_stream(0);
  open_next(NEXT, "ours");
  go_on(NEXT, 0);
  WAIT_FOR(seen_by(1).bytes == 1000);
  tell_other_ack(1);
  WAIT_FOR(counters(0).unacked == 0);
}
END_TEST

/* ---- Words ---- */

/* The header says how much has arrived, and goes before all that is due. */
START_TEST(test_answer)
{
  const struct header h = {.has_connection = true, .connection = {7}, .limit = LIMIT, .epoch = 3};
  open_answered(0, "ours");
  give_socket(0);
  write_bytes(0, 1000);
  tell_other_data(0, 1000, 5);
  hear(0, 0, 5000);
  WAIT_FOR(seen_by(0).bytes == 1000);
  open_next(NEXT, "silent");
  const struct pump_attachment a = {.answer = &h};
  tell_other_answer(1, false);
  use_stream(0, NEXT, &a);
  WAIT_FOR(seen_by(1).bytes == 1000);
  ck_assert_str_eq(seen_by(1).order, "HD");
  ck_assert_uint_eq(seen_by(1).header.received, 5000);
  ck_assert_uint_eq(seen_by(1).header.epoch, 3);
  ck_assert_uint_eq(seen_by(1).ack.taken, 5000);
}
END_TEST

static void answer_at(uint64_t us)
{
  pthread_mutex_lock(&it->pump->acks.lock);
  ck_assert_uint_ne(it->pump->acks.answer_at, 0);
  it->pump->acks.answer_at = us;
  pthread_mutex_unlock(&it->pump->acks.lock);
}

static void begin_to_answer(void)
{
  const struct header h = {.has_connection = true, .connection = {7}, .limit = LIMIT};
  const struct pump_attachment a = {.answer = &h};
  create_pump(0);
  open_next(0, "silent");
  tell_other_answer(0, false);
  WAIT_FOR(it->header);
  use_stream(0, 0, &a);
}

/* As long as the target has not said anything; but not for ever. */
START_TEST(test_answer_to_a_dial_waits)
{
  begin_to_answer();
  answer_at(UINT64_MAX);
  settle();
  ck_assert_str_eq(seen_by(0).order, "");
  answer_at(1);
  WAIT_FOR(strcmp(seen_by(0).order, "H") == 0);
  ck_assert_uint_eq(it->pump->acks.answer_at, 0);
}
END_TEST

/* Nor does an ack go before it. */
START_TEST(test_answer_to_a_dial_goes_before_an_ack)
{
  begin_to_answer();
  answer_at(UINT64_MAX);
  give_socket(0);
  tell_other_data(0, 1000, 1);
  hear(0, 0, 1000);
  WAIT_FOR(seen_by(0).ack.taken == 1000);
  ck_assert_str_eq(seen_by(0).order, "HA");
}
END_TEST

/* What comes first does not wait for it. */
START_TEST(test_answer_to_a_dial_goes_with_what_follows)
{
  static const char *const orders[] = {"HD", "HE", "HR.", "HF.", "H."};
  begin_to_answer();
  answer_at(UINT64_MAX);
  if (_i == 0) {
    int fd = make_socket(0, false);
    push(0);
    ck_assert_int_eq(pump_give_socket(it->pump, fd), 0);
  } else if (_i == 1) {
    pump_send_eof(it->pump, false);
  } else if (_i == 2) {
    pump_stream_send_reset(it->stream, "ECONNREFUSED", "nobody listens");
  } else if (_i == 3) {
    pump_stream_send_refused(it->stream, "an older epoch");
  } else {
    pump_stream_half_close(it->stream);
  }
  WAIT_FOR(strcmp(seen_by(0).order, orders[_i]) == 0);
}
END_TEST

/* On a stream that no pump has. */
START_TEST(test_last_word_without_a_pump)
{
  const struct header h = {.has_connection = true, .connection = {7}, .epoch = 3};
  open_next(0, "ours");
  if (_i < 2)
    pump_stream_send_header(it->stream, &h);
  if (_i % 2 == 0)
    pump_stream_send_refused(it->stream, "an older epoch");
  else
    pump_stream_send_reset(it->stream, "ECONNRESET", "not known here");
  WAIT_FOR(it->ended);
  ck_assert_int_eq(it->status, RPC_OK);
  ck_assert_str_eq(seen_by(0).order, _i == 0 ? "HF." : _i == 1 ? "HR." : _i == 2 ? "F." : "R.");
  ck_assert_str_eq(seen_by(0).reset_reason, _i % 2 == 0 ? "an older epoch" : "not known here");
}
END_TEST

static struct message *refusal_message(const char *reason)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Reset reset = MINDMELD__RESET__INIT;
  reset.reason = (char *)(uintptr_t)reason;
  p.refused = &reset;
  return packed(&p);
}

/* A refusal is that stream's only; what comes behind it is nothing. */
START_TEST(test_refused)
{
  open_silent(0);
  tell_other_answer(0, false);
  tell_other_data(0, 1000, 1);
  give_socket(0);
  hear(0, 0, 1000);
  open_next(NEXT, "silent");
  if (_i == 0)
    go_on(NEXT, 0);
  tell_other(1, refusal_message("no"));
  if (_i == 0)
    tell_other(1, data_message(0, 2000, false, 0));
  WAIT_FOR(sides[NEXT].refused);
  ck_assert_str_eq(sides[NEXT].reset_reason, "no");
  settle();
  ck_assert_uint_eq(pump_received(it->pump), 1000);
  tell_other_finish(1, RPC_OK);
  WAIT_FOR(sides[NEXT].ended);
  ck_assert_int_eq(sides[NEXT].status, RPC_OK);
}
END_TEST

/* Nothing but one message is taken; what is in it beside words waits. */
START_TEST(test_first_word_without_a_pump)
{
  open_next(0, "silent");
  if (_i < 2)
    tell_other(0, message_copy("\x78\x01", 2)); /* nothing that we know */
  if (_i == 0) {
    tell_other(0, reset_message("EPIPE", "gone"));
    WAIT_FOR(it->reset_code[0] != '\0');
    return;
  }
  if (_i == 1) {
    tell_other(0, message_copy("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11));
    WAIT_FOR(it->ended);
    ck_assert_int_eq(it->status, RPC_INTERNAL);
    return;
  }
  tell_other_answer(0, _i == 2);
  tell_other_data(0, 1000, 3);
  WAIT_FOR(it->original || it->header);
  settle();
  ck_assert_uint_eq(pump_set_queued(here.set), 0);
  const struct pump_attachment a = {.original = it->original};
  create_pump(0);
  use_stream(0, 0, &a);
  give_socket(0);
  hear(0, 0, 3000);
}
END_TEST

/* The first version's stream is over before it is a pump's: not before what came is written. */
START_TEST(test_end_waits_for_the_first_message)
{
  open_next(0, "silent");
  tell_other_answer(0, true);
  tell_other_data(0, 1000, 1);
  WAIT_FOR(it->original);
  tell_other_finish(0, RPC_OK);
  settle();
  ck_assert(!it->ended);
  const struct pump_attachment a = {.original = true};
  create_pump(0);
  use_stream(0, 0, &a);
  settle();
  ck_assert(!it->ended);
  give_socket(0);
  WAIT_FOR(it->ended);
  hear(0, 0, 1000);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pump streams");
  TCase *tcase = tcase_create("pump streams");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_loop_test(tcase, test_goes_again, 0, 5);
  tcase_add_test(tcase, test_what_is_acked_is_not_kept);
  tcase_add_loop_test(tcase, test_end_is_said_again, 0, 2);
  tcase_add_test(tcase, test_end_while_detached);
  tcase_add_test(tcase, test_half_close_behind_what_goes_again);
  tcase_add_test(tcase, test_closed_while_its_message_is_out);
  tcase_add_test(tcase, test_window_holds_over_streams);
  tcase_add_test(tcase, test_nothing_is_kept_for_an_original);
  tcase_add_loop_test(tcase, test_an_original_answers_later, 0, 2);
  tcase_add_loop_test(tcase, test_slabs_are_not_kept, 0, 2);
  tcase_add_loop_test(tcase, test_detached, 0, 2);
  tcase_add_loop_test(tcase, test_queue_is_kept_while_detached, 0, 2);
  tcase_add_test(tcase, test_acks_are_said_again);
  tcase_add_test(tcase, test_what_is_known_is_dropped);
  tcase_add_loop_test(tcase, test_gap, 0, 3);
  tcase_add_loop_test(tcase, test_former_stream_is_not_heard, 0, 2);
  tcase_add_test(tcase, test_forged_ack_ends_its_stream);
  tcase_add_test(tcase, test_answer);
  tcase_add_test(tcase, test_answer_to_a_dial_waits);
  tcase_add_test(tcase, test_answer_to_a_dial_goes_before_an_ack);
  tcase_add_loop_test(tcase, test_answer_to_a_dial_goes_with_what_follows, 0, 5);
  tcase_add_loop_test(tcase, test_last_word_without_a_pump, 0, 4);
  tcase_add_loop_test(tcase, test_refused, 0, 2);
  tcase_add_loop_test(tcase, test_first_word_without_a_pump, 0, 4);
  tcase_add_test(tcase, test_end_waits_for_the_first_message);
  suite_add_tcase(suite, tcase);
  return suite;
}
