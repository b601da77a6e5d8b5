/* What came is cut into what was said, wherever it is cut on the way. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/raw/raw_gather.h"
#include "proto/stream/message.h"
#include "proto/wire/raw.h"

#include "failing.h"
#include "runner.h"

enum { UNITS_MAX = 64, STREAM_MAX = 4 << 20 };

/* What was said, one after the other, and where that lies in a stream of bytes. */
struct said {
  uint8_t *bytes;
  size_t size;
  struct {
    size_t at, size;
    bool is_word;
  } units[UNITS_MAX];
  size_t count;
};

static struct said said;

static void begin(void)
{
  said.bytes = malloc(STREAM_MAX);
  ck_assert_ptr_nonnull(said.bytes);
  said.size = said.count = 0;
}

static void end(void)
{
  free(said.bytes);
}

static void say(size_t size, bool is_word)
{
  uint8_t *at = said.bytes + said.size;
  ck_assert_uint_le(said.size + 4 + size, STREAM_MAX);
  raw_frame_write(at, size);
  at[0] |= is_word ? 0x80 : 0;
  for (size_t i = 0; i < size; i++)
    at[4 + i] = (uint8_t)(said.count * 31 + i * 7 + (i >> 8));
  said.units[said.count].at = said.size + 4;
  said.units[said.count].size = size;
  said.units[said.count++].is_word = is_word;
  said.size += 4 + size;
}

static void say_frame(size_t size)
{
  say(size, false);
}

static void say_word(size_t size)
{
  say(size, true);
}

static void check_unit(size_t i, const struct message *m, bool is_word)
{
  size_t at = said.units[i].at;
  ck_assert_uint_eq(m->size, said.units[i].size);
  ck_assert_int_eq(is_word, said.units[i].is_word);
  for (size_t k = 0; k < m->count; k++) {
    ck_assert_int_eq(memcmp(m->parts[k].at, said.bytes + at, m->parts[k].size), 0);
    at += m->parts[k].size;
  }
  ck_assert_uint_eq(at, said.units[i].at + m->size);
}

/* A piece as it comes from a socket: small ones do not stay. */
static struct bytes piece(const uint8_t *at, size_t size)
{
  struct bytes b = {.at = at, .size = size};
  if (size > RAW_COPY_MAX)
    ck_assert_int_eq(bytes_copy(&b, at, size), 0);
  return b;
}

/* The largest number of parts of one. */
static size_t hear_in_pieces(size_t (*next_size)(size_t at))
{
  struct raw_gather g = {0};
  size_t heard = 0, most = 0;
  uint8_t *room = malloc(STREAM_MAX);
  ck_assert_ptr_nonnull(room);
  for (size_t at = 0, size; at < said.size; at += size) {
    size = next_size(at);
    size = size < said.size - at ? size : said.size - at;
    memcpy(room, said.bytes + at, size);
    raw_gather_put(&g, piece(room, size));
    struct message *m;
    bool is_word;
    int got;
    while ((got = raw_gather_next(&g, &m, &is_word)) > 0) {
      check_unit(heard++, m, is_word);
      most = m->count > most ? m->count : most;
      message_free(m);
    }
    ck_assert_int_eq(got, 0);
    ck_assert_int_eq(raw_gather_keep(&g), 0);
    memset(room, 0xee, size);
  }
  ck_assert_uint_eq(heard, said.count);
  ck_assert(raw_gather_is_even(&g));
  raw_gather_free(&g);
  free(room);
  return most;
}

static size_t all(size_t at)
{
  (void)at;
  return SIZE_MAX;
}

static size_t bytewise(size_t at)
{
  (void)at;
  return 1;
}

static size_t by_7(size_t at)
{
  (void)at;
  return 7;
}

static size_t by_1448(size_t at)
{
  (void)at;
  return 1448;
}

static size_t by_5000(size_t at)
{
  (void)at;
  return 5000;
}

static size_t by_64k(size_t at)
{
  (void)at;
  return 64 << 10;
}

static size_t mixed(size_t at)
{
  return 1 + (at * 2654435761U >> 7) % 40000;
}

static size_t (*const ways[])(size_t at) = {all, bytewise, by_7, by_1448, by_5000, by_64k, mixed};

START_TEST(small_ones)
{
  begin();
  say_word(20);
  for (size_t i = 1; i < 30; i++)
    say_frame(i * i);
  say_frame(RAW_COPY_MAX);
  say_frame(RAW_COPY_MAX + 1);
  hear_in_pieces(ways[_i]);
  end();
}
END_TEST

START_TEST(large_ones)
{
  begin();
  say_frame(100);
  say_frame(100000);
  say_frame(1);
  say_frame(RAW_FRAME_MAX);
  say_frame(70000);
  size_t most = hear_in_pieces(ways[_i]);
  ck_assert_uint_le(most, 300); /* however small they came */
  end();
}
END_TEST

START_TEST(what_cannot_be)
{
  static const uint8_t lengths[][4] = {{0, 0, 0, 0},    {0, 0x10, 0, 1},  {0x7f, 0xff, 0xff, 0xff},
                                       {0x80, 0, 0, 0}, {0x80, 0, 0, 16}, {0xff, 0xff, 0xff, 0xff}};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    struct raw_gather g = {0};
    struct message *m;
    bool is_word;
    raw_gather_put(&g, (struct bytes){.at = lengths[i], .size = 4});
    ck_assert_int_eq(raw_gather_next(&g, &m, &is_word), -EBADMSG);
    raw_gather_free(&g);
  }
}
END_TEST

START_TEST(begun_is_not_even)
{
  static const uint8_t frame[] = {0, 0, 0, 2, 'a', 'b'};
  for (size_t size = 0; size <= sizeof frame; size++) {
    struct raw_gather g = {0};
    struct message *m;
    bool is_word;
    raw_gather_put(&g, (struct bytes){.at = frame, .size = size});
    int got = raw_gather_next(&g, &m, &is_word);
    ck_assert_int_eq(got, size == sizeof frame);
    ck_assert_int_eq(raw_gather_is_even(&g), size == 0 || size == sizeof frame);
    if (got > 0)
      message_free(m);
    raw_gather_free(&g);
  }
}
END_TEST

START_TEST(large_ones_stay_where_they_are)
{
  struct bytes came;
  struct raw_gather g = {0};
  struct message *m;
  bool is_word;
  begin();
  say_frame(RAW_COPY_MAX + 1);
  say_frame(10);
  ck_assert_int_eq(bytes_copy(&came, said.bytes, said.size), 0);
  raw_gather_put(&g, came);
  ck_assert_int_eq(raw_gather_next(&g, &m, &is_word), 1);
  ck_assert_ptr_eq(m->parts[0].owner, came.owner);
  ck_assert_ptr_eq(m->parts[0].at, came.at + 4);
  message_free(m);
  ck_assert_int_eq(raw_gather_next(&g, &m, &is_word), 1);
  ck_assert_ptr_ne(m->parts[0].owner, came.owner);
  check_unit(1, m, is_word);
  message_free(m);
  raw_gather_free(&g);
  end();
}
END_TEST

START_TEST(short_of_memory)
{
  if (!FAILING_WORKS)
    return;
  begin();
  say_frame(100);
  say_frame(50000);
  say_frame(3000);
  bool came = true;
  for (size_t nth = 1; came; nth++) {
    struct raw_gather g = {0};
    int got = 0;
    fail_allocation(nth);
    for (size_t at = 0; at < said.size && got >= 0; at += 1000) {
      struct message *m;
      bool is_word;
      size_t size = said.size - at < 1000 ? said.size - at : 1000;
      raw_gather_put(&g, (struct bytes){.at = said.bytes + at, .size = size});
      while ((got = raw_gather_next(&g, &m, &is_word)) > 0)
        message_free(m);
      if (got == 0)
        got = raw_gather_keep(&g);
    }
    came = allocation_failed();
    ck_assert_int_eq(got, came ? -ENOMEM : 0);
    raw_gather_free(&g);
  }
  end();
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("raw_gather");
  TCase *tcase = tcase_create("raw_gather");
  suite_add_tcase(suite, tcase);
  tcase_add_loop_test(tcase, small_ones, 0, sizeof ways / sizeof *ways);
  tcase_add_loop_test(tcase, large_ones, 2, sizeof ways / sizeof *ways);
  tcase_add_test(tcase, what_cannot_be);
  tcase_add_test(tcase, begun_is_not_even);
  tcase_add_test(tcase, large_ones_stay_where_they_are);
  tcase_add_test(tcase, short_of_memory);
  return suite;
}
