/* Raw streams against a router that the test plays. */
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/stream/bytes.h"
#include "proto/wire/raw_frame.h"

#include "failing.h"
#include "fixture_proto_raw.h"
#include "runner.h"
#include "segments.h"

enum { BULK = 3 << 20 };

static const struct header dial = {.service = "web"}, other_dial = {.service = "mail"}, park = {.park = true};

static struct raw_end end;
static struct raw_user user, other;
static uint8_t first[RAW_FIRST_MAX], bytes[4096];

static void setup(void)
{
  raw_end_open(&end);
  memset(&user, 0, sizeof user);
  memset(&other, 0, sizeof other);
}

static void teardown(void)
{
  raw_end_close(&end);
}

/* A dial that the router has paired. Returns the router's end. */
static int dialled(struct raw_user *u)
{
  raw_end_line(&end);
  ck_assert_int_eq(raw_user_start(u, &end, &dial), STREAM_SAID);
  raw_user_hear(u);
  int fd = raw_router_accept(&end);
  ck_assert_uint_gt(raw_router_preamble(&end, fd, first), 1);
  raw_router_say_frame(&end, fd, "header", 6);
  RAW_UNTIL(&end, u->heard_count == 1);
  return fd;
}

static void ends(struct raw_user *u, enum rpc_status status)
{
  RAW_UNTIL(&end, u->ended == 1);
  ck_assert_msg(u->status == status, "it ended with %d: %s", u->status, u->text);
  raw_user_free(u);
}

/* ---- There and back ---- */

START_TEST(a_dial_and_its_answer)
{
  raw_end_line(&end);
  ck_assert_int_eq(raw_user_start(&user, &end, &dial), STREAM_SAID);
  raw_user_hear(&user);
  ck_assert_int_eq(raw_user_say(&user, "GET", 3, false), STREAM_SAID);
  int fd = raw_router_accept(&end);
  uint8_t packed[HEADER_SIZE_MAX];
  size_t size = raw_router_preamble(&end, fd, first);
  ck_assert_uint_eq(size, header_pack(&dial, packed));
  ck_assert_mem_eq(first, packed, size);
  /* They came together. */
  int waiting = 0;
  ck_assert_int_eq(ioctl(fd, FIONREAD, &waiting), 0);
  ck_assert_int_eq(waiting, 7);
  ck_assert_uint_eq(raw_router_frame(&end, fd, bytes, sizeof bytes), 3);
  ck_assert_mem_eq(bytes, "GET", 3);
  raw_router_say_frame(&end, fd, "header", 6);
  RAW_UNTIL(&end, user.heard_count == 1);
  ck_assert(raw_user_heard(&user, 0, "header", 6));
  /* One direction after the other. */
  ck_assert_int_eq(raw_user_say(&user, "bye", 3, true), STREAM_SAID);
  ck_assert_uint_eq(raw_router_frame(&end, fd, bytes, sizeof bytes), 3);
  RAW_UNTIL(&end, raw_router_sees_end(fd));
  raw_user_hear(&user);
  raw_router_say_frame(&end, fd, "late", 4);
  RAW_UNTIL(&end, user.heard_count == 2);
  ck_assert_uint_eq(user.ended, 0);
  close(fd);
  raw_user_hear(&user);
  RAW_UNTIL(&end, user.nothing_more);
  ends(&user, RPC_OK);
}
END_TEST

START_TEST(the_other_side_ends_first)
{
  int fd = dialled(&user);
  shutdown(fd, SHUT_WR);
  raw_user_hear(&user);
  RAW_UNTIL(&end, user.nothing_more);
  ck_assert(!user.stream->kind->hear(user.stream));
  ck_assert_uint_eq(user.ended, 0);
  ck_assert_int_eq(raw_user_say(&user, "x", 1, false), STREAM_SAID);
  ck_assert_int_eq(raw_user_say(&user, NULL, 0, true), STREAM_SAID);
  ck_assert_uint_eq(raw_router_frame(&end, fd, bytes, sizeof bytes), 1);
  RAW_UNTIL(&end, raw_router_sees_end(fd));
  ends(&user, RPC_OK);
  close(fd);
}
END_TEST

/* By a half-close, or by the close if the other side has ended before. */
START_TEST(its_end_goes_with_the_last_message)
{
  int fd = dialled(&user);
  if (_i == 1) {
    shutdown(fd, SHUT_WR);
    raw_user_hear(&user);
    RAW_UNTIL(&end, user.nothing_more && segments_are_acknowledged(fd));
  }
  unsigned before = segments_in(fd);
  ck_assert_int_eq(raw_user_say(&user, "bye", 3, true), STREAM_SAID);
  ck_assert_uint_eq(raw_router_frame(&end, fd, bytes, sizeof bytes), 3);
  RAW_UNTIL(&end, raw_router_sees_end(fd));
  ck_assert_uint_eq(segments_in(fd) - before, 1);
  if (_i == 0) {
    shutdown(fd, SHUT_WR);
    raw_user_hear(&user);
    RAW_UNTIL(&end, user.nothing_more);
  }
  ends(&user, RPC_OK);
  close(fd);
}
END_TEST

/* What another message follows waits for that. */
START_TEST(two_messages_go_together)
{
  int fd = dialled(&user);
  const struct stream_kind *kind = user.stream->kind;
  const struct stream_say first_one = {.head = "one", .head_size = 3, .more = true},
                          second = {.head = "two", .head_size = 3};
  struct errand *later = NULL;
  ck_assert_int_eq(kind->say(user.stream, &first_one, &later), STREAM_SAID);
  int waiting = 0;
  ck_assert_int_eq(ioctl(fd, FIONREAD, &waiting), 0);
  ck_assert_int_eq(waiting, 0);
  unsigned before = segments_in(fd);
  ck_assert_int_eq(kind->say(user.stream, &second, &later), STREAM_SAID);
  ck_assert_uint_eq(raw_router_frame(&end, fd, bytes, sizeof bytes), 3);
  ck_assert_mem_eq(bytes, "one", 3);
  ck_assert_uint_eq(raw_router_frame(&end, fd, bytes, sizeof bytes), 3);
  ck_assert_mem_eq(bytes, "two", 3);
  ck_assert_uint_eq(segments_in(fd) - before, 1);
  raw_user_hear(&user);
  raw_router_reset(fd);
  ends(&user, RPC_ABORTED);
}
END_TEST

START_TEST(one_that_is_parked)
{
  raw_end_line(&end);
  ck_assert_int_eq(raw_user_start(&user, &end, &park), STREAM_SAID);
  user.greedy = RAW_HEARD_MAX;
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  ck_assert_uint_gt(raw_router_preamble(&end, fd, first), 1);
  raw_router_first(&end, fd, "who dials", 9);
  raw_router_say_frame(&end, fd, "data", 4);
  RAW_UNTIL(&end, user.heard_count == 2);
  ck_assert(raw_user_heard(&user, 0, "who dials", 9));
  ck_assert(raw_user_heard(&user, 1, "data", 4));
  /* Who parks keeps no connections ready. */
  for (int i = 0; i < 5; i++)
    raw_turn(&end, 0, "");
  ck_assert(raw_router_has_none(&end));
  raw_user_say(&user, NULL, 0, true);
  RAW_UNTIL(&end, raw_router_sees_end(fd));
  close(fd);
  ends(&user, RPC_OK);
}
END_TEST

/* ---- Much of it ---- */

static void check_bulk(int fd, size_t frames, const struct bytes *body)
{
  uint8_t *got = malloc(body->size + 8);
  ck_assert_ptr_nonnull(got);
  for (size_t i = 0; i < frames; i++) {
    ck_assert_uint_eq(raw_router_frame(&end, fd, got, body->size + 8), body->size + 4);
    ck_assert_mem_eq(got, "head", 4);
    ck_assert_mem_eq(got + 4, body->at, body->size);
  }
  free(got);
}

/* Also what is said while the one before still waits is not said twice, nor in another order. */
START_TEST(the_router_is_slow)
{
  int fd = dialled(&user);
  struct bytes body;
  uint8_t *large = malloc(BULK / 4);
  for (size_t i = 0; i < BULK / 4; i++)
    large[i] = (uint8_t)(i * 7 + (i >> 9));
  ck_assert_int_eq(bytes_copy(&body, large, BULK / 4), 0);
  free(large);
  enum stream_said so = STREAM_SAID;
  size_t frames = 0;
  for (; so == STREAM_SAID && frames < 100; frames++)
    so = raw_user_say_body(&user, "head", &body, false);
  ck_assert_int_eq(so, STREAM_SAYING);
  ck_assert_uint_eq(atomic_load(&body.owner->refs), 2);
  ck_assert_uint_eq(user.said_good, 0);
  check_bulk(fd, frames, &body);
  RAW_UNTIL(&end, user.said_good == 1);
  ck_assert_uint_eq(atomic_load(&body.owner->refs), 1);
  /* The end waits for what is before it. */
  for (so = STREAM_SAID, frames = 0; so == STREAM_SAID && frames < 100; frames++)
    so = raw_user_say_body(&user, "head", &body, frames == 50);
  ck_assert_int_eq(so, STREAM_SAYING);
  check_bulk(fd, frames, &body);
  RAW_UNTIL(&end, user.said_good == 2);
  bytes_drop(&body);
  user.stream->kind->cancel(user.stream, RPC_CANCELLED, "enough");
  ends(&user, RPC_CANCELLED);
  close(fd);
}
END_TEST

static void say_bulk(int fd, uint8_t *large, size_t size)
{
  for (size_t i = 0; i < size; i++)
    large[i] = (uint8_t)(i * 13 + (i >> 10));
  raw_router_say_frame(&end, fd, large, size);
}

START_TEST(large_messages_arrive)
{
  int fd = dialled(&user);
  uint8_t *large = malloc(RAW_FRAME_MAX);
  user.greedy = RAW_HEARD_MAX;
  raw_user_hear(&user);
  static const size_t sizes[] = {RAW_FRAME_MAX, 5000, 1, 300000, 2048, 2049};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    say_bulk(fd, large, sizes[i]);
    RAW_UNTIL(&end, user.heard_count == i + 2);
    ck_assert(raw_user_heard(&user, i + 1, large, sizes[i]));
  }
  free(large);
  raw_router_reset(fd);
  ends(&user, RPC_ABORTED);
}
END_TEST

/* How much the kernel takes for who does not read. */
static size_t fill(int fd)
{
  static uint8_t frame[RAW_FRAME_LENGTH_SIZE + 60000];
  size_t size = 0;
  ssize_t n = 0;
  raw_frame_write(frame, sizeof frame - RAW_FRAME_LENGTH_SIZE);
  for (int idle = 0; idle < 50; idle++) {
    while ((n = send(fd, frame + size % sizeof frame, sizeof frame - size % sizeof frame,
                     MSG_DONTWAIT | MSG_NOSIGNAL)) > 0) {
      size += (size_t)n;
      idle = 0;
    }
    raw_turn(&end, 200, "");
  }
  return size;
}

START_TEST(nothing_is_received_that_is_not_asked_for)
{
  int fd = dialled(&user);
  size_t size = fill(fd);
  ck_assert_uint_eq(user.heard_count, 1);
  raw_user_hear(&user);
  RAW_UNTIL(&end, user.heard_count == 2);
  ck_assert_uint_eq(user.heard[1]->size, 60000);
  /* One is asked for, one is told; what was received with it waits. */
  for (int i = 0; i < 5; i++)
    raw_turn(&end, 0, "");
  ck_assert_uint_eq(user.heard_count, 2);
  user.greedy = 9;
  raw_user_hear(&user);
  RAW_UNTIL(&end, user.heard_count == 12);
  for (int i = 0; i < 5; i++)
    raw_turn(&end, 0, "");
  ck_assert_uint_eq(user.heard_count, 12);
  ck_assert_uint_ge(size / 60000, 12);
  /* Who does not listen hears of a reset all the same. */
  raw_router_reset(fd);
  ends(&user, RPC_ABORTED);
}
END_TEST

/* Byte by byte, and many at once. */
START_TEST(cut_anywhere)
{
  int fd = dialled(&user);
  uint8_t stream[256];
  size_t size = 0;
  user.greedy = RAW_HEARD_MAX;
  raw_user_hear(&user);
  for (size_t i = 1; i <= 10; i++) {
    raw_frame_write(stream + size, i);
    memset(stream + size + RAW_FRAME_LENGTH_SIZE, (int)i, i);
    size += RAW_FRAME_LENGTH_SIZE + i;
  }
  for (size_t i = 0; i < size; i++) {
    raw_router_say(&end, fd, stream + i, 1);
    raw_turn(&end, 0, "");
  }
  raw_router_say(&end, fd, stream, size);
  RAW_UNTIL(&end, user.heard_count == 21);
  for (size_t i = 1; i <= 20; i++)
    ck_assert_uint_eq(user.heard[i]->size, (i - 1) % 10 + 1);
  raw_router_reset(fd);
  ends(&user, RPC_ABORTED);
}
END_TEST

/* ---- Connections that are kept ready ---- */

enum { WARM = 8 };

static void accept_greetings(int fds[WARM])
{
  for (int i = 0; i < WARM; i++) {
    fds[i] = raw_router_accept(&end);
    ck_assert_uint_eq(raw_router_preamble(&end, fds[i], first), 0);
  }
}

static void close_all(const int *fds, int count)
{
  for (int i = 0; i < count; i++)
    close(fds[i]);
}

START_TEST(the_next_dial_finds_a_connection)
{
  int fd = dialled(&user), warm[WARM];
  accept_greetings(warm);
  ck_assert_int_eq(raw_user_start(&other, &end, &other_dial), STREAM_SAID);
  raw_user_hear(&other);
  uint64_t before = end.last_counter;
  ck_assert_uint_gt(raw_router_preamble(&end, warm[0], first), 1);
  ck_assert_uint_gt(end.last_counter, before);
  raw_router_status(&end, warm[0], RPC_NOT_FOUND, "no service \"mail\"");
  RAW_UNTIL(&end, other.ended == 1);
  ck_assert_str_eq(other.text, "no service \"mail\"");
  ends(&other, RPC_NOT_FOUND);
  /* Another one has taken its place. */
  int next = raw_router_accept(&end);
  ck_assert_uint_eq(raw_router_preamble(&end, next, first), 0);
  close(next);
  close_all(warm, WARM);
  raw_router_reset(fd);
  raw_user_hear(&user);
  ends(&user, RPC_ABORTED);
}
END_TEST

/* Whose router has closed them. */
START_TEST(connections_that_went_are_not_used)
{
  int fd = dialled(&user), warm[WARM];
  accept_greetings(warm);
  close_all(warm, WARM);
  for (int i = 0; i < 5; i++)
    raw_turn(&end, 0, "");
  ck_assert_int_eq(raw_user_start(&other, &end, &other_dial), STREAM_SAID);
  raw_user_hear(&other);
  int fresh = raw_router_accept(&end);
  ck_assert_uint_gt(raw_router_preamble(&end, fresh, first), 1);
  close(fresh);
  ends(&other, RPC_UNAVAILABLE);
  raw_router_reset(fd);
  raw_user_hear(&user);
  ends(&user, RPC_ABORTED);
}
END_TEST

/* ---- How it ends ---- */

START_TEST(a_status_before_the_pair)
{
  raw_end_line(&end);
  raw_user_start(&user, &end, &dial);
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  raw_router_preamble(&end, fd, first);
  raw_router_status(&end, fd, RPC_RESOURCE_EXHAUSTED, "too many wait");
  raw_router_reset(fd);
  RAW_UNTIL(&end, user.ended == 1);
  ck_assert_str_eq(user.text, "too many wait");
  ck_assert(user.nothing_more);
  ck_assert_int_eq(raw_user_say(&user, "x", 1, false), STREAM_BROKEN);
  ck_assert(!user.stream->kind->hear(user.stream));
  ck_assert(raw_line_takes(end.line, &dial));
  ends(&user, RPC_RESOURCE_EXHAUSTED);
}
END_TEST

START_TEST(not_by_raw_streams)
{
  raw_end_line(&end);
  raw_user_start(&user, &end, &dial);
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  raw_router_preamble(&end, fd, first);
  raw_router_status(&end, fd, RPC_UNIMPLEMENTED, "");
  ends(&user, RPC_UNAVAILABLE);
  ck_assert(!raw_line_takes(end.line, &dial));
  ck_assert(raw_line_takes(end.line, &other_dial));
  ck_assert(raw_line_takes(end.line, &park));
  ck_assert_int_eq(raw_line_state(end.line), RAW_UP);
  close(fd);
}
END_TEST

/* 0: in order; 1: a reset. */
START_TEST(closed_without_a_word)
{
  raw_end_line(&end);
  raw_user_start(&user, &end, &dial);
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  raw_router_preamble(&end, fd, first);
  if (_i == 0)
    close(fd);
  else
    raw_router_reset(fd);
  ends(&user, RPC_UNAVAILABLE);
  ck_assert(!raw_line_takes(end.line, &dial));
  ck_assert_int_eq(raw_line_state(end.line), RAW_UP);
}
END_TEST

/* The pair breaks: by a reset, by an end in the middle of a frame, of a length. */
START_TEST(broken)
{
  int fd = dialled(&user);
  if (_i < 3)
    raw_user_hear(&user);
  if (_i == 1)
    raw_router_say(&end, fd, "\0\0\0\x10half", 8);
  if (_i == 2)
    raw_router_say(&end, fd, "\0\0", 2);
  if (_i == 0 || _i == 3)
    raw_router_reset(fd);
  else
    close(fd);
  ends(&user, RPC_ABORTED);
  ck_assert(raw_line_takes(end.line, &dial));
}
END_TEST

static void say_word_of(int fd, const struct raw_keys *keys, const struct raw_place *place, size_t cut)
{
  uint8_t word[RAW_WORD_MAX];
  size_t size = raw_word_seal_status(word, keys, place, RPC_NOT_FOUND, "no");
  raw_router_say(&end, fd, word, cut > 0 ? cut : size);
}

/* Words that are none: of another key, of another preamble, an impossible length, a frame that is too long, one of the
 * first message again. */
START_TEST(words_that_cannot_be)
{
  raw_end_line(&end);
  raw_user_start(&user, &end, _i == 4 ? &park : &dial);
  user.greedy = RAW_HEARD_MAX;
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  raw_router_preamble(&end, fd, first);
  struct raw_keys keys = end.keys;
  struct raw_place place = {.counter = end.last_counter};
  keys.from_router[3] ^= _i == 0;
  place.counter += _i == 1;
  if (_i < 2)
    say_word_of(fd, &keys, &place, 0);
  else if (_i == 2)
    raw_router_say(&end, fd, "\x80\0\0\1", 4);
  else if (_i == 3)
    raw_router_say(&end, fd, "\x7f\0\0\1", 4);
  for (int i = 0; i < 2 && _i == 4; i++)
    raw_router_first(&end, fd, "again", 5);
  ends(&user, RPC_INTERNAL);
  ck_assert(raw_line_takes(end.line, &dial));
  close(fd);
}
END_TEST

START_TEST(half_a_word)
{
  raw_end_line(&end);
  raw_user_start(&user, &end, &dial);
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  raw_router_preamble(&end, fd, first);
  say_word_of(fd, &end.keys, &(struct raw_place){.counter = end.last_counter}, 10);
  for (int i = 0; i < 5; i++)
    raw_turn(&end, 0, "");
  ck_assert_uint_eq(user.ended, 0);
  close(fd);
  ends(&user, RPC_UNAVAILABLE);
}
END_TEST

/* At each point of its life; again, and after the end. */
START_TEST(cancelled)
{
  int fd = -1;
  if (_i == 2) {
    fd = dialled(&user);
  } else {
    raw_end_line(&end);
    raw_user_start(&user, &end, &dial);
    if (_i == 1)
      fd = raw_router_accept(&end);
    if (_i == 1)
      raw_router_preamble(&end, fd, first);
  }
  raw_user_hear(&user);
  user.stream->kind->cancel(user.stream, RPC_CANCELLED, "enough");
  user.stream->kind->cancel(user.stream, RPC_INTERNAL, "more than that");
  ck_assert_uint_eq(user.ended, 0);
  ck_assert_int_eq(raw_user_say(&user, "x", 1, false), STREAM_BROKEN);
  RAW_UNTIL(&end, user.ended == 1);
  ck_assert_str_eq(user.text, "enough");
  ck_assert(user.nothing_more);
  user.stream->kind->cancel(user.stream, RPC_INTERNAL, "after the end");
  ends(&user, RPC_CANCELLED);
  if (fd >= 0)
    RAW_UNTIL(&end, raw_router_sees_reset(fd));
  if (fd >= 0)
    close(fd);
}
END_TEST

/* After a half-close, too, it is no end in order. */
START_TEST(cancelled_after_its_end)
{
  int fd = dialled(&user);
  raw_user_say(&user, NULL, 0, true);
  RAW_UNTIL(&end, raw_router_sees_end(fd));
  user.stream->kind->cancel(user.stream, RPC_CANCELLED, "");
  ends(&user, RPC_CANCELLED);
  ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
  ck_assert(errno == ECONNRESET || errno == EPIPE);
  close(fd);
}
END_TEST

START_TEST(freed_without_a_start)
{
  raw_end_line(&end);
  struct stream *s = raw_stream_create(end.line, &dial);
  ck_assert_ptr_nonnull(s);
  s->kind->free(s);
}
END_TEST

/* ---- Short of memory ---- */

/* A stream from its start to an answer, some of which is in the socket already. What fails ends the stream, and no
 * more. Returns whether the allocation was one of its own. */
static bool short_at(size_t nth, const struct bytes *body)
{
  memset(&user, 0, sizeof user);
  user.greedy = RAW_HEARD_MAX;
  ck_assert_int_eq(raw_user_start(&user, &end, &park), STREAM_SAID);
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  raw_router_preamble(&end, fd, first);
  raw_router_first(&end, fd, "who dials", 9);
  raw_router_say_frame(&end, fd, bytes, sizeof bytes);
  raw_router_say(&end, fd, "\0\0\0\x40half", 8);
  fail_allocation(nth);
  enum stream_said so = STREAM_SAID;
  for (int i = 0; i < 20; i++) {
    if (so == STREAM_SAID && user.ended == 0)
      so = raw_user_say_body(&user, "head", body, false);
    uv_run(&end.loop, UV_RUN_NOWAIT);
  }
  bool came = allocation_failed();
  if (!came) {
    ck_assert_uint_eq(user.ended, 0);
    ck_assert_uint_eq(user.heard_count, 2);
    ck_assert_int_eq(so, STREAM_SAYING);
    user.stream->kind->cancel(user.stream, RPC_CANCELLED, "");
  }
  RAW_UNTIL(&end, user.ended == 1);
  raw_user_free(&user);
  close(fd);
  return came;
}

START_TEST(short_of_memory)
{
  struct bytes body;
  if (!FAILING_WORKS)
    return;
  raw_end_line(&end);
  uint8_t *large = calloc(1, BULK / 4);
  ck_assert_ptr_nonnull(large);
  ck_assert_int_eq(bytes_copy(&body, large, BULK / 4), 0);
  free(large);
  size_t nth = 1;
  while (short_at(nth, &body))
    nth++;
  ck_assert_uint_gt(nth, 3);
  bytes_drop(&body);
}
END_TEST

/* At its very beginning: it is not even started. */
START_TEST(short_of_memory_at_the_start)
{
  if (!FAILING_WORKS)
    return;
  raw_end_line(&end);
  fail_allocation(1);
  struct stream *none = raw_stream_create(end.line, &dial);
  ck_assert(allocation_failed());
  ck_assert_ptr_null(none);
  struct errand *later = NULL;
  struct stream *s = raw_stream_create(end.line, &dial);
  user.stream = s;
  s->user = raw_user_events();
  s->arg = &user;
  fail_allocation(1);
  enum stream_said so = s->kind->start(s, "x", 1, &later);
  ck_assert(allocation_failed());
  ck_assert_int_eq(so, STREAM_BROKEN);
  ends(&user, RPC_UNAVAILABLE);
  ck_assert(raw_line_takes(end.line, &dial));
}
END_TEST

/* ---- Where the handshake takes its time: an address that is not known to be loopback ---- */

static void far_away(void)
{
  struct sockaddr_in at = *(struct sockaddr_in *)&end.options.address;
  struct sockaddr_in6 *mapped = (struct sockaddr_in6 *)&end.options.address;
  *mapped = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = at.sin_port};
  mapped->sin6_addr.s6_addr[10] = mapped->sin6_addr.s6_addr[11] = 0xff;
  memcpy(mapped->sin6_addr.s6_addr + 12, &at.sin_addr, 4);
}

START_TEST(far)
{
  far_away();
  raw_end_line(&end);
  ck_assert_int_eq(raw_user_start(&user, &end, &dial), STREAM_SAYING);
  raw_user_hear(&user);
  int fd = raw_router_accept(&end);
  ck_assert_uint_gt(raw_router_preamble(&end, fd, first), 1);
  RAW_UNTIL(&end, user.said_good == 1);
  ck_assert_int_eq(raw_user_say(&user, "data", 4, true), STREAM_SAID);
  ck_assert_uint_eq(raw_router_frame(&end, fd, bytes, sizeof bytes), 4);
  raw_router_say_frame(&end, fd, "answer", 6);
  close(fd);
  RAW_UNTIL(&end, user.heard_count == 1);
  raw_user_hear(&user);
  ends(&user, RPC_OK);
}
END_TEST

/* 0: nobody listens any more, near; 1: the same, far. */
START_TEST(nobody_listens)
{
  if (_i == 1)
    far_away();
  raw_end_line(&end);
  close(end.listener);
  enum stream_said so = raw_user_start(&user, &end, &dial);
  raw_user_hear(&user);
  RAW_UNTIL(&end, end.changes == 2 && user.ended == 1);
  ck_assert_uint_eq(user.said_bad, so == STREAM_SAYING);
  ck_assert(user.nothing_more);
  ends(&user, RPC_UNAVAILABLE);
  ck_assert_int_eq(raw_line_state(end.line), RAW_DOWN);
  ck_assert_str_eq(raw_line_trouble(end.line), "Connection refused");
  ck_assert(!raw_line_takes(end.line, &other_dial));
  end.listener = -1;
}
END_TEST

/* ---- The question ---- */

static int asked(void)
{
  raw_end_ask(&end);
  int fd = raw_router_accept(&end);
  ck_assert_uint_eq(raw_router_preamble(&end, fd, first), 1);
  ck_assert_int_eq(raw_line_state(end.line), RAW_ASKING);
  ck_assert(!raw_line_takes(end.line, &dial));
  return fd;
}

START_TEST(the_question_is_answered)
{
  static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
  int fd = asked();
  if (_i == 0)
    close(fd);
  else if (_i == 1)
    raw_router_reset(fd);
  else if (_i == 2)
    raw_router_say(&end, fd, http, sizeof http - 1);
  else if (_i == 3)
    raw_router_status(&end, fd, RPC_UNAVAILABLE, "the router is about to stop");
  else
    raw_router_first(&end, fd, "what", 4);
  RAW_UNTIL(&end, end.changes == 1);
  ck_assert_int_eq(raw_line_state(end.line), RAW_DOWN);
  static const char *const whys[] = {"what listens there takes no raw streams", "Connection reset by peer",
                                     "what listens there takes no raw streams", "the router is about to stop",
                                     "the router takes no raw streams now"};
  ck_assert_str_eq(raw_line_trouble(end.line), whys[_i]);
  if (_i > 1)
    close(fd);
}
END_TEST

START_TEST(nobody_answers_the_question)
{
  int fd = asked();
  RAW_UNTIL(&end, end.changes == 1);
  ck_assert_str_eq(raw_line_trouble(end.line), "nothing answers there");
  close(fd);
}
END_TEST

START_TEST(nobody_listens_to_the_question)
{
  if (_i == 1)
    far_away();
  close(end.listener);
  end.listener = -1;
  raw_end_ask(&end);
  RAW_UNTIL(&end, end.changes == 1);
  ck_assert_int_eq(raw_line_state(end.line), RAW_DOWN);
  ck_assert_str_eq(raw_line_trouble(end.line), "Connection refused");
}
END_TEST

START_TEST(closed_while_it_asks)
{
  int fd = asked();
  raw_line_close(end.line, RAW_REPLACED);
  end.line = NULL;
  RAW_UNTIL(&end, raw_router_sees_reset(fd));
  close(fd);
}
END_TEST

/* ---- The end of a line ---- */

START_TEST(the_line_is_closed)
{
  int fd = dialled(&user), warm[WARM];
  accept_greetings(warm);
  raw_user_hear(&user);
  raw_line_close(end.line, (enum raw_line_end)_i);
  end.line = NULL;
  for (int i = 0; i < WARM; i++)
    RAW_UNTIL(&end, raw_router_sees_reset(warm[i]));
  if (_i != RAW_SILENT) {
    raw_router_say_frame(&end, fd, "it goes on", 10);
    RAW_UNTIL(&end, user.heard_count == 2);
    user.stream->kind->cancel(user.stream, RPC_UNAVAILABLE, "");
  }
  ends(&user, RPC_UNAVAILABLE);
  close_all(warm, WARM);
  close(fd);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("raw_stream");
  TCase *tcase = tcase_create("raw_stream");
  suite_add_tcase(suite, tcase);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, a_dial_and_its_answer);
  tcase_add_test(tcase, the_other_side_ends_first);
  tcase_add_loop_test(tcase, its_end_goes_with_the_last_message, 0, 2);
  tcase_add_test(tcase, two_messages_go_together);
  tcase_add_test(tcase, one_that_is_parked);
  tcase_add_test(tcase, the_router_is_slow);
  tcase_add_test(tcase, large_messages_arrive);
  tcase_add_test(tcase, nothing_is_received_that_is_not_asked_for);
  tcase_add_test(tcase, cut_anywhere);
  tcase_add_test(tcase, the_next_dial_finds_a_connection);
  tcase_add_test(tcase, connections_that_went_are_not_used);
  tcase_add_test(tcase, a_status_before_the_pair);
  tcase_add_test(tcase, not_by_raw_streams);
  tcase_add_loop_test(tcase, closed_without_a_word, 0, 2);
  tcase_add_loop_test(tcase, broken, 0, 4);
  tcase_add_loop_test(tcase, words_that_cannot_be, 0, 5);
  tcase_add_test(tcase, half_a_word);
  tcase_add_loop_test(tcase, cancelled, 0, 3);
  tcase_add_test(tcase, cancelled_after_its_end);
  tcase_add_test(tcase, freed_without_a_start);
  tcase_add_test(tcase, short_of_memory);
  tcase_add_test(tcase, short_of_memory_at_the_start);
  tcase_add_test(tcase, far);
  tcase_add_loop_test(tcase, nobody_listens, 0, 2);
  tcase_add_loop_test(tcase, the_question_is_answered, 0, 5);
  tcase_add_test(tcase, nobody_answers_the_question);
  tcase_add_loop_test(tcase, nobody_listens_to_the_question, 0, 2);
  tcase_add_test(tcase, closed_while_it_asks);
  tcase_add_loop_test(tcase, the_line_is_closed, RAW_REPLACED, RAW_SILENT + 1);
  return suite;
}
