/* The preambles and words of raw streams: what is sealed is opened by who has the secret, and nothing else is. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/raw.h"
#include "proto/wire/raw_frame.h"

#include "runner.h"

static const uint8_t watch[RAW_WATCH_SIZE] = {'w', 'a', 't', 'c', 'h'};
static const uint8_t secret[RAW_SECRET_SIZE] = {'s', 'e', 'c', 'r', 'e', 't'};

static struct raw_keys keys_of(uint8_t last)
{
  uint8_t mine[RAW_SECRET_SIZE];
  struct raw_keys keys;
  memcpy(mine, secret, sizeof mine);
  mine[RAW_SECRET_SIZE - 1] = last;
  raw_keys_derive(&keys, mine);
  return keys;
}

static struct raw_keys swapped(const struct raw_keys *keys)
{
  struct raw_keys other;
  memcpy(other.to_router, keys->from_router, sizeof other.to_router);
  memcpy(other.from_router, keys->to_router, sizeof other.from_router);
  return other;
}

static int open_preamble(const struct raw_keys *keys, const uint8_t *bytes, uint8_t first[RAW_FIRST_MAX])
{
  return raw_preamble_open(keys, bytes, bytes + RAW_HEAD_SIZE, first);
}

/* ---- Keys ---- */

static bool same_key(const uint8_t *a, const uint8_t *b)
{
  return memcmp(a, b, RAW_KEY_SIZE) == 0;
}

START_TEST(keys_differ)
{
  struct raw_keys a = keys_of(0), again = keys_of(0), b = keys_of(1);
  ck_assert(same_key(a.to_router, again.to_router) && same_key(a.from_router, again.from_router));
  ck_assert(!same_key(a.to_router, a.from_router));
  ck_assert(!same_key(a.to_router, b.to_router) && !same_key(a.from_router, b.from_router));
  raw_keys_wipe(&a);
  static const struct raw_keys wiped;
  ck_assert(same_key(a.to_router, wiped.to_router) && same_key(a.from_router, wiped.from_router));
}
END_TEST

/* ---- Preambles ---- */

START_TEST(preamble_there_and_back)
{
  struct raw_keys keys = keys_of(0);
  uint8_t first[RAW_FIRST_MAX], bytes[RAW_PREAMBLE_MAX], out[RAW_FIRST_MAX];
  struct raw_head head;
  memset(first, 'f', sizeof first);
  static const size_t sizes[] = {0, 1, 100, RAW_FIRST_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    uint64_t counter = UINT64_MAX - i;
    size_t size = raw_preamble_seal(bytes, &keys, watch, counter, first, sizes[i]);
    ck_assert_uint_eq(size, RAW_HEAD_SIZE + sizes[i] + RAW_TAG_SIZE);
    ck_assert_int_eq(raw_head_read(bytes, &head), 0);
    ck_assert_uint_eq(head.counter, counter);
    ck_assert_uint_eq(head.sealed, sizes[i] + RAW_TAG_SIZE);
    ck_assert_mem_eq(head.watch, watch, sizeof watch);
    ck_assert_int_eq(open_preamble(&keys, bytes, out), (int)sizes[i]);
    ck_assert_mem_eq(out, first, sizes[i]);
    if (sizes[i] > 16)
      ck_assert_ptr_null(memmem(bytes, size, first, 16));
  }
}
END_TEST

/* The bytes that proto/README.md describes; they never change. */
START_TEST(preamble_has_its_bytes)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_PREAMBLE_MAX];
  size_t size = raw_preamble_seal(bytes, &keys, watch, 0x0102030405060708, "park", 4);
  static const uint8_t head[RAW_HEAD_SIZE] = {'m', 'm', 'r', 'a', 'w', '1', 0, 20, 'w', 'a', 't', 'c', 'h', 0, 0, 0,
                                              0,   0,   0,   0,   0,   0,   0, 0,  1,   2,   3,   4,   5,   6, 7, 8};
  ck_assert_mem_eq(bytes, head, sizeof head);
  /* By the ChaCha20-Poly1305 and the BLAKE2b of another library. */
  static const uint8_t sealed[] = {0x78, 0xd2, 0xc7, 0xa8, 0xd7, 0x20, 0x26, 0x10, 0xd8, 0x18,
                                   0x76, 0xff, 0x6d, 0x29, 0x64, 0xd3, 0x66, 0xc4, 0x77, 0xc2};
  ck_assert_uint_eq(size, sizeof head + sizeof sealed);
  ck_assert_mem_eq(bytes + sizeof head, sealed, sizeof sealed);
}
END_TEST

START_TEST(each_byte_of_a_preamble_counts)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_PREAMBLE_MAX], out[RAW_FIRST_MAX];
  size_t size = raw_preamble_seal(bytes, &keys, watch, 77, "the first message", 17);
  for (size_t i = 0; i < size; i++)
    for (unsigned bit = 0; bit < 8; bit++) {
      bytes[i] ^= (uint8_t)(1 << bit);
      struct raw_head head;
      /* The size says how much would be read. */
      if (raw_head_read(bytes, &head) == 0 && RAW_HEAD_SIZE + head.sealed <= sizeof bytes)
        ck_assert_int_eq(open_preamble(&keys, bytes, out), -EBADMSG);
      bytes[i] ^= (uint8_t)(1 << bit);
    }
  ck_assert_int_eq(open_preamble(&keys, bytes, out), 17);
}
END_TEST

START_TEST(heads_that_cannot_be)
{
  static const struct {
    size_t at;
    uint8_t bytes[8];
    size_t size;
    int result;
  } rows[] = {
      {0, "mmraw2", 6, -EBADMSG},
      {0, "PRI * H", 6, -EBADMSG},
      {6, {0, RAW_TAG_SIZE - 1}, 2, -EBADMSG},
      {6, {0, RAW_TAG_SIZE}, 2, 0},
      {6, {0, 0}, 2, -EBADMSG},
      {6, {(RAW_FIRST_MAX + RAW_TAG_SIZE) >> 8, (RAW_FIRST_MAX + RAW_TAG_SIZE) & 0xff}, 2, 0},
      {6, {(RAW_FIRST_MAX + RAW_TAG_SIZE + 1) >> 8, (RAW_FIRST_MAX + RAW_TAG_SIZE + 1) & 0xff}, 2, -EBADMSG},
      {6, {0xff, 0xff}, 2, -EBADMSG},
      {24, {0}, 8, -EBADMSG},
      {24, {0, 0, 0, 0, 0, 0, 0, 1}, 8, 0},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct raw_keys keys = keys_of(0);
    uint8_t bytes[RAW_PREAMBLE_MAX];
    struct raw_head head;
    raw_preamble_seal(bytes, &keys, watch, 5, "x", 1);
    memcpy(bytes + rows[i].at, rows[i].bytes, rows[i].size);
    ck_assert_int_eq(raw_head_read(bytes, &head), rows[i].result);
  }
}
END_TEST

START_TEST(beginnings)
{
  ck_assert(raw_can_begin("", 0));
  ck_assert(raw_can_begin("m", 1));
  ck_assert(raw_can_begin("mmraw", 5));
  ck_assert(raw_can_begin("mmraw1", 6));
  ck_assert(raw_can_begin("mmraw1 and so on", 16));
  ck_assert(!raw_can_begin("mmraw2", 6));
  ck_assert(!raw_can_begin("P", 1));
  ck_assert(!raw_can_begin("\x16", 1));
}
END_TEST

START_TEST(size_of_a_beginning)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_PREAMBLE_MAX];
  size_t whole = raw_preamble_seal(bytes, &keys, watch, 5, "first", 5);
  for (size_t i = 0; i <= whole; i++)
    ck_assert_int_eq(raw_preamble_size(bytes, i), i < RAW_HEAD_SIZE ? 0 : (int)whole);
  for (size_t i = 0; i < RAW_MAGIC_SIZE; i++) {
    bytes[i] ^= 1;
    ck_assert_int_eq(raw_preamble_size(bytes, i), 0);
    ck_assert_int_eq(raw_preamble_size(bytes, i + 1), -EBADMSG);
    ck_assert_int_eq(raw_preamble_size(bytes, whole), -EBADMSG);
    bytes[i] ^= 1;
  }
  bytes[RAW_MAGIC_SIZE] = 0xff;
  ck_assert_int_eq(raw_preamble_size(bytes, RAW_HEAD_SIZE - 1), 0);
  ck_assert_int_eq(raw_preamble_size(bytes, RAW_HEAD_SIZE), -EBADMSG);
}
END_TEST

START_TEST(preamble_of_another)
{
  struct raw_keys keys = keys_of(0), others = keys_of(1), back = swapped(&keys);
  uint8_t bytes[RAW_PREAMBLE_MAX], out[RAW_FIRST_MAX];
  raw_preamble_seal(bytes, &keys, watch, 9, "x", 1);
  ck_assert_int_eq(open_preamble(&others, bytes, out), -EBADMSG);
  ck_assert_int_eq(open_preamble(&back, bytes, out), -EBADMSG);
  ck_assert_int_eq(open_preamble(&keys, bytes, out), 1);
}
END_TEST

/* ---- Words ---- */

static const struct raw_place place = {.counter = 300, .index = 0};

START_TEST(status_there_and_back)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_WORD_MAX];
  struct raw_word word;
  for (int status = RPC_OK; status <= RPC_UNAUTHENTICATED; status++) {
    size_t size = raw_word_seal_status(bytes, &keys, &place, (enum rpc_status)status, "no service \"web\"");
    ck_assert_int_eq(raw_word_length(bytes), (int)size - RAW_LENGTH_SIZE);
    ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), 0);
    ck_assert_int_eq(word.kind, RAW_WORD_STATUS);
    ck_assert_int_eq(word.status, status);
    ck_assert_str_eq(word.text, "no service \"web\"");
    ck_assert_uint_eq(word.first_size, 0);
  }
  /* A status that does not exist. */
  raw_word_seal_status(bytes, &keys, &place, (enum rpc_status)(RPC_UNAUTHENTICATED + 1), "x");
  ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), -EBADMSG);
}
END_TEST

START_TEST(word_has_its_bytes)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_WORD_MAX];
  size_t size = raw_word_seal_status(bytes, &keys, &place, RPC_NOT_FOUND, "no");
  static const uint8_t word[] = {0x80, 0x00, 0x00, 0x14, 0x96, 0xf2, 0x7c, 0x57, 0xb8, 0x51, 0x21, 0x14,
                                 0x03, 0x20, 0x67, 0x98, 0x04, 0xa8, 0x29, 0xc7, 0x4d, 0x76, 0x40, 0xb8};
  ck_assert_uint_eq(size, sizeof word);
  ck_assert_mem_eq(bytes, word, sizeof word);
}
END_TEST

START_TEST(status_texts)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_WORD_MAX];
  struct raw_word word;
  char text[RAW_TEXT_MAX + 100];
  raw_word_seal_status(bytes, &keys, &place, RPC_INTERNAL, "");
  ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), 0);
  ck_assert_str_eq(word.text, "");
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = '\0';
  raw_word_seal_status(bytes, &keys, &place, RPC_INTERNAL, text);
  ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), 0);
  ck_assert_uint_eq(strlen(word.text), RAW_TEXT_MAX);
  /* Whatever it says stays on one line of a terminal. */
  raw_word_seal_status(bytes, &keys, &place, RPC_INTERNAL, "a\nb\x1b[31m\x7f\xc3\xa4");
  ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), 0);
  ck_assert_str_eq(word.text, "a b [31m \xc3\xa4");
}
END_TEST

START_TEST(first_there_and_back)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_WORD_MAX], first[RAW_FIRST_MAX];
  struct raw_word word;
  memset(first, 'f', sizeof first);
  static const size_t sizes[] = {1, 100, RAW_FIRST_MAX};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    size_t size = raw_word_seal_first(bytes, &keys, &place, first, sizes[i]);
    ck_assert_int_eq(raw_word_length(bytes), (int)size - RAW_LENGTH_SIZE);
    ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), 0);
    ck_assert_int_eq(word.kind, RAW_WORD_FIRST);
    ck_assert_uint_eq(word.first_size, sizes[i]);
    ck_assert_mem_eq(word.first, first, sizes[i]);
  }
  /* That says nothing. */
  raw_word_seal_first(bytes, &keys, &place, first, 0);
  ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), -EBADMSG);
}
END_TEST

START_TEST(each_byte_of_a_word_counts)
{
  struct raw_keys keys = keys_of(0);
  uint8_t bytes[RAW_WORD_MAX];
  struct raw_word word;
  size_t size = raw_word_seal_status(bytes, &keys, &place, RPC_NOT_FOUND, "no service \"web\"");
  for (size_t i = 0; i < size; i++)
    for (unsigned bit = 0; bit < 8; bit++) {
      bytes[i] ^= (uint8_t)(1 << bit);
      ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), -EBADMSG);
      bytes[i] ^= (uint8_t)(1 << bit);
    }
  ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), 0);
}
END_TEST

START_TEST(word_of_another)
{
  struct raw_keys keys = keys_of(0), others = keys_of(1), back = swapped(&keys);
  const struct raw_place later = {.counter = place.counter, .index = 1}, elsewhere = {.counter = place.counter + 1};
  uint8_t bytes[RAW_WORD_MAX];
  struct raw_word word;
  raw_word_seal_first(bytes, &keys, &place, "x", 1);
  ck_assert_int_eq(raw_word_open(&others, &place, bytes, &word), -EBADMSG);
  ck_assert_int_eq(raw_word_open(&back, &place, bytes, &word), -EBADMSG);
  ck_assert_int_eq(raw_word_open(&keys, &later, bytes, &word), -EBADMSG);
  ck_assert_int_eq(raw_word_open(&keys, &elsewhere, bytes, &word), -EBADMSG);
  ck_assert_int_eq(raw_word_open(&keys, &place, bytes, &word), 0);
}
END_TEST

/* ---- Lengths ---- */

START_TEST(lengths)
{
  static const struct {
    uint32_t length;
    int word, frame; /* frame: of one that is no word */
  } rows[] = {
      {0, 0, -EBADMSG},
      {1, 0, 1},
      {RAW_FRAME_MAX, 0, RAW_FRAME_MAX},
      {RAW_FRAME_MAX + 1, 0, -EBADMSG},
      {0x7fffffff, 0, -EBADMSG},
      {0x80000000, -EBADMSG, -EBADMSG},
      {0x80000000 | RAW_TAG_SIZE, -EBADMSG, -EBADMSG},
      {0x80000000 | (RAW_TAG_SIZE + 1), RAW_TAG_SIZE + 1, -EBADMSG},
      {0x80000000 | RAW_WORD_SEALED_MAX, RAW_WORD_SEALED_MAX, -EBADMSG},
      {0x80000000 | (RAW_WORD_SEALED_MAX + 1), -EBADMSG, -EBADMSG},
      {0xffffffff, -EBADMSG, -EBADMSG},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    uint32_t n = rows[i].length;
    const uint8_t bytes[] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
    ck_assert_int_eq(raw_word_length(bytes), rows[i].word);
    ck_assert_int_eq(raw_frame_read(bytes), rows[i].frame);
    uint8_t written[RAW_FRAME_LENGTH_SIZE];
    raw_frame_write(written, n);
    ck_assert_mem_eq(written, bytes, sizeof bytes);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("raw");
  TCase *tcase = tcase_create("raw");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, keys_differ);
  tcase_add_test(tcase, preamble_there_and_back);
  tcase_add_test(tcase, preamble_has_its_bytes);
  tcase_add_test(tcase, each_byte_of_a_preamble_counts);
  tcase_add_test(tcase, heads_that_cannot_be);
  tcase_add_test(tcase, beginnings);
  tcase_add_test(tcase, size_of_a_beginning);
  tcase_add_test(tcase, preamble_of_another);
  tcase_add_test(tcase, status_there_and_back);
  tcase_add_test(tcase, word_has_its_bytes);
  tcase_add_test(tcase, status_texts);
  tcase_add_test(tcase, first_there_and_back);
  tcase_add_test(tcase, each_byte_of_a_word_counts);
  tcase_add_test(tcase, word_of_another);
  tcase_add_test(tcase, lengths);
  return suite;
}
