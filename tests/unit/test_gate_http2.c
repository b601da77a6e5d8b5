/* What a client's frames cost, by their headers; and the machine around nghttp2 where a real client is too slow to see
 * it. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "gate/http2/frames.h"
#include "gate/http2/session.h"

#include "runner.h"

enum { DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING = 6, CONTINUATION = 9, END_STREAM = 1, END_HEADERS = 4 };

static size_t header(char *out, size_t size, unsigned type, unsigned flags, unsigned stream)
{
  const unsigned char bytes[] = {(unsigned char)(size >> 16),
                                 (unsigned char)(size >> 8),
                                 (unsigned char)size,
                                 (unsigned char)type,
                                 (unsigned char)flags,
                                 0,
                                 0,
                                 (unsigned char)(stream >> 8),
                                 (unsigned char)stream};
  memcpy(out, bytes, sizeof bytes);
  return sizeof bytes;
}

/* ---- Frames ---- */

static struct http2_frames begun(void)
{
  struct http2_frames f;
  http2_frames_init(&f, 0);
  ck_assert(http2_frames_in_head(&f));
  ck_assert_int_eq(http2_frames_see(&f, http2_preface, HTTP2_PREFACE_SIZE, 0), HTTP2_FRAMES_FINE);
  ck_assert(!http2_frames_in_head(&f));
  return f;
}

/* How many of them are let pass. */
static unsigned passed(struct http2_frames *f, unsigned type, unsigned flags, unsigned size, uint64_t now)
{
  char frame[9 + 64] = {0};
  size_t all = header(frame, size, type, flags, 1) + size;

  for (unsigned i = 0; i < 100000; i++)
    if (http2_frames_see(f, frame, all, now) != HTTP2_FRAMES_FINE) {
      f->have = f->left = 0;
      return i;
    }
  return 100000;
}

START_TEST(what_costs_nothing_is_counted)
{
  static const struct {
    unsigned type, flags, size, most;
  } rows[] = {
      {RESET, 0, 4, HTTP2_BUDGET / HTTP2_COST_RESET},
      {PING, 0, 8, HTTP2_BUDGET},
      {SETTINGS, 0, 0, HTTP2_BUDGET},
      {CONTINUATION, 0, 1, HTTP2_BUDGET},
      {DATA, 0, 0, HTTP2_BUDGET},
      {DATA, 0, 1, 100000},
      {DATA, END_STREAM, 0, 100000},
      {HEADERS, END_HEADERS, 10, 100000},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    struct http2_frames f = begun();
    ck_assert_uint_eq(passed(&f, rows[i].type, rows[i].flags, rows[i].size, 0), rows[i].most);
  }
}
END_TEST

START_TEST(time_and_data_pay)
{
  struct http2_frames f = begun();
  ck_assert_uint_eq(passed(&f, PING, 0, 8, 0), HTTP2_BUDGET);
  ck_assert_uint_eq(passed(&f, PING, 0, 8, 19), 0);
  ck_assert_uint_eq(passed(&f, PING, 0, 8, 1000), HTTP2_BUDGET_A_SECOND);
  ck_assert_uint_eq(passed(&f, PING, 0, 8, 100000), HTTP2_BUDGET);
  http2_frames_earn(&f, 1023);
  ck_assert(!http2_frames_spend(&f, 1));
  http2_frames_earn(&f, 1024);
  ck_assert(http2_frames_spend(&f, 1));
  ck_assert(!http2_frames_spend(&f, 1));
}
END_TEST

START_TEST(heads_are_seen_in_whatever_pieces_they_come)
{
  char bytes[64] = {0};
  struct http2_frames f = begun();
  size_t first = header(bytes, 5, HEADERS, END_STREAM, 1) + 5;
  size_t all = first + header(bytes + first, 3, CONTINUATION, END_HEADERS, 1) + 3;

  for (size_t i = 0; i < all; i++) {
    ck_assert_int_eq(http2_frames_see(&f, bytes + i, 1, 0), HTTP2_FRAMES_FINE);
    ck_assert_int_eq(http2_frames_in_head(&f), i >= 8 && i + 1 < all);
  }
}
END_TEST

START_TEST(priorities_that_are_none)
{
  char bytes[14] = {0};
  for (size_t step = 1; step <= sizeof bytes; step++) {
    for (unsigned stream = 0; stream < 3; stream++) {
      struct http2_frames f = begun();
      enum http2_verdict verdict = HTTP2_FRAMES_FINE;
      header(bytes, 5, PRIORITY, 0, stream);
      bytes[12] = 1; /* on whom it depends */
      for (size_t at = 0; at < sizeof bytes && verdict == HTTP2_FRAMES_FINE; at += step)
        verdict = http2_frames_see(&f, bytes + at, step < sizeof bytes - at ? step : sizeof bytes - at, 0);
      ck_assert_int_eq(verdict, stream < 2 ? HTTP2_FRAMES_WRONG : HTTP2_FRAMES_FINE);
      ck_assert_uint_eq(verdict == HTTP2_FRAMES_FINE ? passed(&f, PING, 0, 8, 0) : HTTP2_BUDGET, HTTP2_BUDGET);
    }
  }
}
END_TEST

/* ---- The session ---- */

struct peer {
  struct http2_session *session;
  struct http1_out out;
};

static void say(struct peer *p, const char *bytes, size_t size)
{
  http2_session_feed(p->session, bytes, size, 0);
  http2_session_pull(p->session, &p->out, 1 << 20);
}

static struct peer open_peer(void)
{
  char settings[9];
  struct peer p = {0};
  ck_assert_int_eq(http2_session_open(&p.session, 0), 0);
  say(&p, http2_preface, HTTP2_PREFACE_SIZE);
  say(&p, settings, header(settings, 0, SETTINGS, 0, 0));
  return p;
}

static void close_peer(struct peer *p)
{
  http2_session_free(p->session);
  http1_out_free(&p->out);
}

/* The last frame that came of this type; -1: none. Its payload in *payload. */
static long last_frame(const struct peer *p, unsigned type, const unsigned char **payload)
{
  const unsigned char *bytes = (const unsigned char *)p->out.bytes + p->out.at;
  size_t size = http1_out_waiting(&p->out), at = 0;
  long found = -1;

  while (at + 9 <= size) {
    size_t length = (size_t)bytes[at] << 16 | (size_t)bytes[at + 1] << 8 | bytes[at + 2];
    if (bytes[at + 3] == type) {
      found = bytes[at + 4];
      *payload = bytes + at + 9;
    }
    at += 9 + length;
  }
  ck_assert_uint_eq(at, size);
  return found;
}

/* GET or POST / of "a", from the static table. */
static struct http2_stream *ask(struct peer *p, unsigned stream, bool post, unsigned flags)
{
  char bytes[32];
  const char block[] = {(char)(post ? 0x83 : 0x82), (char)0x84, (char)0x86, 0x41, 1, 'a'};
  size_t size = header(bytes, sizeof block, HEADERS, flags | END_HEADERS, stream);
  memcpy(bytes + size, block, sizeof block);
  say(p, bytes, size + sizeof block);
  return http2_session_next(p->session);
}

START_TEST(a_window_opens_as_bytes_are_taken)
{
  struct peer p = open_peer();
  struct http2_stream *t = ask(&p, 1, true, 0);
  const unsigned char *payload;
  enum { SIZE = 16384, ALL = 3 * SIZE };
  static char data[9 + SIZE];

  ck_assert_ptr_nonnull(t);
  ck_assert_uint_eq(t->refusal, 0);
  ck_assert_int_eq(t->framing.body, HTTP1_CHUNKED);
  header(data, SIZE, DATA, 0, 1);
  for (int i = 0; i < 3; i++)
    say(&p, data, sizeof data);
  ck_assert_ptr_eq(http2_session_next(p.session), t);
  ck_assert_uint_eq(http1_out_waiting(&t->body), ALL);
  http1_out_drop(&p.out, http1_out_waiting(&p.out));
  http2_session_pull(p.session, &p.out, 1 << 20);
  ck_assert_int_eq(last_frame(&p, 8, &payload), -1);
  http2_stream_took(t, ALL);
  http2_session_pull(p.session, &p.out, 1 << 20);
  ck_assert_int_eq(last_frame(&p, 8, &payload), 0);
  ck_assert_uint_eq(payload[1] << 16 | payload[2] << 8 | payload[3], ALL);
  close_peer(&p);
}
END_TEST

START_TEST(pulls_have_a_bound)
{
  struct peer p = open_peer();
  struct http1_head head = {.status = 200};
  const struct http1_framing framing = {.body = HTTP1_TO_CLOSE};
  struct http2_stream *t;
  static char body[40000];

  for (unsigned i = 0; i < 20; i++)
    ck_assert_ptr_nonnull(ask(&p, 2 * i + 1, false, END_STREAM));
  for (t = http2_session_streams(p.session); t != NULL; t = t->next) {
    http2_stream_head(t, &head, &framing);
    http2_stream_put(t, (struct http1_text){body, sizeof body / 20});
  }
  http1_out_drop(&p.out, http1_out_waiting(&p.out));
  http2_session_pull(p.session, &p.out, 1000);
  ck_assert_uint_lt(http1_out_waiting(&p.out), 1000 + 16384 + 9);
  http2_session_pull(p.session, &p.out, 1 << 20);
  ck_assert_uint_gt(http1_out_waiting(&p.out), sizeof body);
  close_peer(&p);
}
END_TEST

START_TEST(a_drain_is_definite_after_an_echo_or_by_decision)
{
  const unsigned char *payload;
  for (int echo = 0; echo < 2; echo++) {
    struct peer p = open_peer();
    struct http2_stream *t = ask(&p, 1, false, END_STREAM);
    http2_session_drain(p.session);
    http2_session_pull(p.session, &p.out, 1 << 20);
    ck_assert_int_eq(last_frame(&p, 7, &payload), 0);
    ck_assert_uint_eq(payload[0], 0x7f);
    ck_assert(http2_session_is_draining(p.session));
    struct http2_stream *late = ask(&p, 3, false, END_STREAM);
    ck_assert_ptr_nonnull(late);
    if (echo) {
      char ping[17];
      ck_assert_int_eq(last_frame(&p, PING, &payload), 0);
      header(ping, 8, PING, 1, 0);
      memcpy(ping + 9, payload, 8);
      say(&p, ping, sizeof ping);
    } else {
      http2_session_drain_now(p.session);
      http2_session_pull(p.session, &p.out, 1 << 20);
    }
    ck_assert(!http2_session_is_draining(p.session));
    ck_assert_int_eq(last_frame(&p, 7, &payload), 0);
    ck_assert_uint_eq(payload[3], 3);
    ck_assert_ptr_null(ask(&p, 5, false, END_STREAM));
    ck_assert(!http2_session_is_over(p.session));
    http2_stream_reset(t, false);
    http2_stream_reset(late, false);
    http2_session_pull(p.session, &p.out, 1 << 20);
    ck_assert(http2_session_is_over(p.session));
    close_peer(&p);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("gate http2");
  TCase *frames = tcase_create("frames"), *session = tcase_create("session");

  tcase_add_test(frames, what_costs_nothing_is_counted);
  tcase_add_test(frames, time_and_data_pay);
  tcase_add_test(frames, heads_are_seen_in_whatever_pieces_they_come);
  tcase_add_test(frames, priorities_that_are_none);
  suite_add_tcase(suite, frames);
  tcase_add_test(session, a_window_opens_as_bytes_are_taken);
  tcase_add_test(session, pulls_have_a_bound);
  tcase_add_test(session, a_drain_is_definite_after_an_echo_or_by_decision);
  suite_add_tcase(suite, session);
  return suite;
}
