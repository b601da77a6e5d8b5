/* The token inside the data: found wherever it is cut, what follows is left alone, and nothing else is taken for one.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/token_stream.h"

#include "runner.h"

#define BYTES(text) (const uint8_t *)(text), sizeof(text) - 1

/* Feeds `bytes` in pieces that end at `first`, `second` and the end, each in memory of its own. */
static int feed_cut(struct token_stream *t, const uint8_t *bytes, size_t size, size_t first, size_t second, bool *done)
{
  size_t ends[] = {first, second, size};
  size_t at = 0;
  int used = 0;
  *done = false;
  for (int i = 0; i < 3 && !*done && used >= 0; i++) {
    uint8_t *piece = malloc(ends[i] - at + 1);
    memcpy(piece, bytes + at, ends[i] - at);
    used = token_stream_feed(t, piece, ends[i] - at, done);
    if (used >= 0 && !*done)
      ck_assert_uint_eq((size_t)used, ends[i] - at);
    at += used > 0 ? (size_t)used : 0;
    free(piece);
  }
  return used < 0 ? used : (int)at;
}

START_TEST(found_at_every_cut)
{
  static const char token[] = "0b8c-t\xc3\xb6ken";
  uint8_t bytes[128];
  int header = token_stream_write(bytes, sizeof bytes - 7, token);
  ck_assert_int_eq(header, 4 + 2 + (int)strlen(token));
  memset(bytes + header, 't', 7);
  for (size_t traffic = 0; traffic <= 7; traffic += 7) {
    size_t size = (size_t)header + traffic;
    for (size_t first = 0; first <= size; first++)
      for (size_t second = first; second <= size; second++) {
        struct token_stream t = {0};
        bool done;
        ck_assert_int_eq(feed_cut(&t, bytes, size, first, second, &done), header);
        ck_assert(done);
        ck_assert_str_eq(t.token, token);
        ck_assert_int_eq(token_stream_feed(&t, "more", 4, &done), 0);
        ck_assert(done);
      }
  }
}
END_TEST

START_TEST(incomplete)
{
  uint8_t bytes[64];
  int header = token_stream_write(bytes, sizeof bytes, "token");
  for (int size = 0; size < header; size++) {
    struct token_stream t = {0};
    bool done = true;
    ck_assert_int_eq(token_stream_feed(&t, bytes, (size_t)size, &done), size);
    ck_assert(!done);
  }
}
END_TEST

static const struct {
  const uint8_t *bytes;
  size_t size;
} bad[] = {
    {BYTES("\0\0\0\0")},                                /* an empty header */
    {BYTES("\x01\x04\0\0")},                            /* one more than a header may have */
    {BYTES("\xff\xff\xff\xff")},                        /* four gigabytes */
    {BYTES("\x02\0\0\0\x0a\x00")},                      /* an empty token */
    {BYTES("\x03\0\0\0\x12\x01x")},                     /* no token */
    {BYTES("\x03\0\0\0\x0a\x02x")},                     /* cut */
    {BYTES("\x04\0\0\0\x0a\x01x\x0a")},                 /* something behind it */
    {BYTES("\x05\0\0\0\x0a\x03x\0y")},                  /* a NUL inside */
    {BYTES("\x02\0\0\0\x08\x05")},                      /* not a string */
    {BYTES("\x03\0\0\0\x0a\x01\xff")},                  /* not UTF-8 ... */
    {BYTES("\x03\0\0\0\x0a\x01\xc3")},                  /* cut */
    {BYTES("\x04\0\0\0\x0a\x02\xc0\xaf")},              /* longer than need be */
    {BYTES("\x05\0\0\0\x0a\x03\xe0\x80\xaf")},          /* longer than need be */
    {BYTES("\x05\0\0\0\x0a\x03\xed\xa0\x80")},          /* half of a pair */
    {BYTES("\x06\0\0\0\x0a\x04\xf4\x90\x80\x80")},      /* beyond Unicode */
    {BYTES("\x06\0\0\0\x0a\x04\xf0\x80\x80\x80")},      /* longer than need be */
    {BYTES("\x05\0\0\0\x0a\x03\xe2\x28\xa1")},          /* a tail that is none */
    {BYTES("\x08\0\0\0\x0a\x01x\x0a\x03\xed\xa0\x80")}, /* the last one counts */
    {BYTES("GET / HTTP/1.1\r\nHost: x\r\n\r\n")},       /* somebody else's protocol */
    {BYTES("\x0b\0\0\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff")} /* and so on */,
};

START_TEST(refused)
{
  for (size_t first = 0; first <= bad[_i].size; first++) {
    struct token_stream t = {0};
    uint8_t bytes[64] = {0};
    bool done;
    memcpy(bytes, bad[_i].bytes, bad[_i].size);
    ck_assert_int_eq(feed_cut(&t, bytes, sizeof bytes, first, first, &done), -EBADMSG);
  }
}
END_TEST

START_TEST(lengths)
{
  char token[TOKEN_MAX + 2];
  uint8_t bytes[256];
  for (size_t length = 1; length <= TOKEN_MAX; length++) {
    struct token_stream t = {0};
    bool done;
    memset(token, 'x', length);
    token[length] = '\0';
    int size = token_stream_write(bytes, sizeof bytes, token);
    ck_assert_int_gt(size, 0);
    ck_assert_int_eq(token_stream_write(bytes, (size_t)size, token), size);
    ck_assert_int_eq(token_stream_write(bytes, (size_t)size - 1, token), -E2BIG);
    ck_assert_int_eq(token_stream_feed(&t, bytes, (size_t)size, &done), size);
    ck_assert(done);
    ck_assert_str_eq(t.token, token);
  }
  memset(token, 'x', TOKEN_MAX + 1);
  token[TOKEN_MAX + 1] = '\0';
  ck_assert_int_eq(token_stream_write(bytes, sizeof bytes, token), -E2BIG);
  uint8_t longer[4 + 3 + TOKEN_MAX + 1] = {3 + TOKEN_MAX + 1, 0, 0, 0, 0x0a, 0x81, 0x01};
  memset(longer + 7, 'x', TOKEN_MAX + 1);
  struct token_stream t = {0};
  bool done;
  ck_assert_int_eq(token_stream_feed(&t, longer, sizeof longer, &done), -EBADMSG);
}
END_TEST

/* The greatest header, filled with fields of a later version. */
START_TEST(unknown_fields)
{
  static uint8_t bytes[4 + TOKEN_STREAM_HEADER_MAX] = {0, 4, 0, 0, 0x0a, 1, 'x', 0x22, 0x80 | 122, 7};
  struct token_stream t = {0};
  bool done;
  ck_assert_int_eq(token_stream_feed(&t, bytes, sizeof bytes, &done), sizeof bytes);
  ck_assert_int_eq(done, 0 + true);
  ck_assert_str_eq(t.token, "x");
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("token");
  TCase *tests = tcase_create("token");
  tcase_add_test(tests, found_at_every_cut);
  tcase_add_test(tests, incomplete);
  tcase_add_loop_test(tests, refused, 0, sizeof bad / sizeof *bad);
  tcase_add_test(tests, lengths);
  tcase_add_test(tests, unknown_fields);
  suite_add_tcase(suite, tests);
  return suite;
}
