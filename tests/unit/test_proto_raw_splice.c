/* Raw streams whose data goes through pipes, against a router that is played. */
#include "fixture_proto_raw.h"

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/host/pipes.h"
#include "proto/raw/raw_internal.h"
#include "proto/wire/payload.h"

#include "runner.h"

enum { FRAME_MAX = 300000, DATA = 200000 };

static struct raw_end end;
static struct raw_user it;
static int fd; /* the router's side of its connection */
static uint8_t frame[FRAME_MAX];

/* ---- Frames ---- */

/* Not the same at distances that a pipe knows. */
static uint8_t byte_at(size_t at, unsigned salt)
{
  return (uint8_t)(at * 7 + (at >> 8) * 13 + (at >> 16) * 29 + salt);
}

/* All that may stand before data. */
static size_t make_frame(size_t data, unsigned salt)
{
  const struct ack ack = {.taken = UINT64_MAX, .messages = UINT64_MAX, .queued = 7, .held_us = 8, .limit = UINT64_MAX};
  size_t size = payload_ack(frame, &ack);
  size += payload_window(frame + size, UINT64_MAX);
  size += payload_offset(frame + size, UINT64_MAX);
  size += payload_prefix(frame + size, data, false);
  for (size_t i = 0; i < data; i++)
    frame[size + i] = byte_at(i, salt);
  return size + data;
}

static const struct message *last(void)
{
  return it.heard[it.heard_count - 1];
}

static void check_last(size_t size)
{
  static uint8_t got[FRAME_MAX];
  const struct message *m = last();
  size_t at = 0;
  ck_assert_uint_eq(m->size, size);
  for (size_t i = 0; i < m->count; at += m->parts[i++].size)
    memcpy(got + at, m->parts[i].at, m->parts[i].size);
  if (m->pipe != NULL) {
    ck_assert_uint_eq(m->pipe->held, size - at);
    ck_assert_int_eq(pipe_read(m->pipe, got + at, size - at), 0);
    at = size;
  }
  ck_assert_uint_eq(at, size);
  ck_assert_int_eq(memcmp(got, frame, size), 0);
}

static void forget_heard(void)
{
  while (it.heard_count > 0)
    message_free(it.heard[--it.heard_count]);
}

static void hear_one(bool by_pipe)
{
  forget_heard();
  it.stream->by_pipe = by_pipe;
  raw_user_hear(&it);
}

static void say_and_hear(size_t size)
{
  raw_router_say_frame(&end, fd, frame, size);
  RAW_UNTIL(&end, it.heard_count == 1);
  check_last(size);
}

/* Large frames, until one comes in a pipe. */
static void get_into_bulk(void)
{
  const struct message *m = NULL;
  for (int i = 0; i < 100 && (m == NULL || m->pipe == NULL); i++) {
    hear_one(true);
    say_and_hear(make_frame(DATA, (unsigned)i));
    m = last();
  }
  ck_assert_ptr_nonnull(m->pipe);
}

/* ---- Before and after ---- */

static void setup(void)
{
  const struct header h = {.token = "token",
                           .has_member = true,
                           .has_member_key = true,
                           .has_connection = true,
                           .member = {1},
                           .member_key = {2},
                           .connection = {3}};
  uint8_t first[RAW_FIRST_MAX];
  signal(SIGPIPE, SIG_IGN);
  memset(&it, 0, sizeof it);
  raw_end_open(&end);
  raw_end_line(&end);
  raw_user_start(&it, &end, &h);
  fd = raw_router_accept(&end);
  raw_router_preamble(&end, fd, first);
}

static void teardown(void)
{
  struct pipes_stats stats;
  it.stream->kind->cancel(it.stream, RPC_CANCELLED, "");
  RAW_UNTIL(&end, it.ended == 1);
  forget_heard();
  pipes_stats(end.set->pipes, &stats);
  ck_assert_uint_eq(stats.taken, 0);
  raw_user_free(&it);
  close(fd);
  raw_end_close(&end);
}

/* ---- What comes in ---- */

START_TEST(test_bulk_comes_in_pipes)
{
  get_into_bulk();
  for (unsigned i = 0; i < 5; i++) {
    hear_one(true);
    say_and_hear(make_frame(DATA + i, i));
    ck_assert_ptr_nonnull(last()->pipe);
  }
}
END_TEST

START_TEST(test_only_if_it_is_asked_for)
{
  get_into_bulk();
  hear_one(false);
  say_and_hear(make_frame(DATA, 1));
  ck_assert_ptr_null(last()->pipe);
}
END_TEST

START_TEST(test_what_is_small_ends_it)
{
  get_into_bulk();
  hear_one(true);
  say_and_hear(make_frame(100, 1));
  ck_assert_ptr_null(last()->pipe);
  hear_one(true);
  say_and_hear(make_frame(DATA, 1));
  ck_assert_ptr_null(last()->pipe);
}
END_TEST

/* What stands behind data is a field as any other, which is to be looked at. */
START_TEST(test_data_that_is_not_the_rest)
{
  get_into_bulk();
  hear_one(true);
  size_t size = make_frame(DATA, 1);
  size += payload_window(frame + size, 5);
  say_and_hear(size);
  ck_assert_ptr_null(last()->pipe);
}
END_TEST

static void connect_other(int out[2])
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, size), 0);
  ck_assert_int_eq(listen(listener, 1), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
  out[0] = socket(AF_INET, SOCK_STREAM, 0);
  ck_assert_int_eq(connect(out[0], (struct sockaddr *)&at, size), 0);
  out[1] = accept(listener, NULL, NULL);
  close(listener);
}

/* A pipe has a page for each piece. Neighbours in memory are one piece: so another connection gets some of it. */
static void say_in_pieces(const uint8_t *bytes, size_t size)
{
  enum { PIECE = 64 };
  int other[2];
  static char waste[FRAME_MAX];
  connect_other(other);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  for (size_t at = 0; at < size; at += PIECE) {
    size_t n = size - at < PIECE ? size - at : PIECE;
    raw_router_say(&end, fd, bytes + at, n);
    ck_assert_int_eq(send(other[0], bytes, PIECE, 0), PIECE);
    ck_assert_int_gt(recv(other[1], waste, sizeof waste, 0), 0);
  }
  close(other[0]);
  close(other[1]);
}

/* Until it is being spliced. */
static void say_beginning(size_t size, size_t part)
{
  static uint8_t bytes[FRAME_MAX];
  const struct raw_stream *s = (struct raw_stream *)it.stream;
  hear_one(true);
  raw_frame_write(bytes, size);
  memcpy(bytes + RAW_FRAME_LENGTH_SIZE, frame, part);
  raw_router_say(&end, fd, bytes, RAW_FRAME_LENGTH_SIZE + part);
  RAW_UNTIL(&end, s->splicing != NULL && s->splicing->pipe->held > 0);
}

START_TEST(test_a_pipe_without_room_for_the_pieces)
{
  get_into_bulk();
  size_t size = make_frame(DATA, 1), part = 1000;
  say_beginning(size, part);
  say_in_pieces(frame + part, size - part);
  RAW_UNTIL(&end, it.heard_count == 1);
  ck_assert_ptr_null(last()->pipe);
  check_last(size);
}
END_TEST

static void say_half_a_frame(void)
{
  get_into_bulk();
  size_t size = make_frame(DATA, 1);
  say_beginning(size, size / 2);
}

START_TEST(test_an_end_in_the_middle)
{
  say_half_a_frame();
  if (_i == 0)
    shutdown(fd, SHUT_WR);
  else
    raw_router_reset(fd);
  RAW_UNTIL(&end, it.ended == 1);
  ck_assert_int_eq(it.status, RPC_ABORTED);
  ck_assert(it.nothing_more);
  if (_i > 0)
    fd = dup(0);
}
END_TEST

START_TEST(test_cancelled_in_the_middle)
{
  say_half_a_frame();
  it.stream->kind->cancel(it.stream, RPC_CANCELLED, "");
  RAW_UNTIL(&end, it.ended == 1);
}
END_TEST

/* ---- What goes out ---- */

static enum stream_said say_from_pipe(struct pipes *pool, size_t size, bool is_last)
{
  int ends[2];
  struct errand *later = NULL;
  struct pooled_pipe *pipe = pipes_take(pool);
  ck_assert_ptr_nonnull(pipe);
  connect_other(ends);
  for (size_t sent = 0; pipe->held < size;) {
    ssize_t n = send(ends[0], frame + sent, size - sent, MSG_DONTWAIT);
    sent += n > 0 ? (size_t)n : 0;
    n = pipe_fill(pipe, ends[1], size - pipe->held);
    ck_assert(n > 0 || n == -EAGAIN);
  }
  close(ends[0]);
  close(ends[1]);
  const struct stream_say what = {.head = "head", .head_size = 4, .pipe = pipe, .last = is_last};
  return it.stream->kind->say(it.stream, &what, &later);
}

static void check_said(size_t size)
{
  static uint8_t got[FRAME_MAX];
  ck_assert_uint_eq(raw_router_frame(&end, fd, got, sizeof got), size + 4);
  ck_assert_int_eq(memcmp(got, "head", 4), 0);
  ck_assert_int_eq(memcmp(got + 4, frame, size), 0);
}

START_TEST(test_a_body_in_a_pipe)
{
  struct pipes *pool;
  struct pipes_stats stats;
  ck_assert_int_eq(pipes_open(&pool, 16 << 20, 4), 0);
  make_frame(DATA, 3);
  for (int i = 0; i < 40; i++) { /* nobody reads: at last the socket is full */
    unsigned said = it.said_good;
    enum stream_said so = say_from_pipe(pool, DATA, i == 39);
    ck_assert_int_ne(so, STREAM_BROKEN);
    if (so == STREAM_SAYING) {
      for (; i >= 0; i--)
        check_said(DATA);
      RAW_UNTIL(&end, it.said_good == said + 1);
      break;
    }
  }
  pipes_stats(pool, &stats);
  ck_assert_uint_eq(stats.taken, 0);
  pipes_close(pool);
}
END_TEST

START_TEST(test_a_body_in_a_pipe_on_a_stream_that_ends)
{
  struct pipes *pool;
  struct pipes_stats stats;
  ck_assert_int_eq(pipes_open(&pool, 16 << 20, 4), 0);
  make_frame(DATA, 3);
  while (say_from_pipe(pool, DATA, false) == STREAM_SAID)
    ;
  pipes_stats(pool, &stats);
  ck_assert_uint_eq(stats.taken, 1);
  raw_router_reset(fd);
  RAW_UNTIL(&end, it.ended == 1);
  ck_assert_uint_eq(it.said_bad, 1);
  ck_assert_int_eq(say_from_pipe(pool, DATA, false), STREAM_BROKEN);
  pipes_stats(pool, &stats);
  ck_assert_uint_eq(stats.taken, 0);
  pipes_close(pool);
  fd = dup(0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("raw splice");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_bulk_comes_in_pipes);
  tcase_add_test(tcase, test_only_if_it_is_asked_for);
  tcase_add_test(tcase, test_what_is_small_ends_it);
  tcase_add_test(tcase, test_data_that_is_not_the_rest);
  tcase_add_test(tcase, test_a_pipe_without_room_for_the_pieces);
  tcase_add_loop_test(tcase, test_an_end_in_the_middle, 0, 2);
  tcase_add_test(tcase, test_cancelled_in_the_middle);
  tcase_add_test(tcase, test_a_body_in_a_pipe);
  tcase_add_test(tcase, test_a_body_in_a_pipe_on_a_stream_that_ends);
  suite_add_tcase(suite, tcase);
  return suite;
}
