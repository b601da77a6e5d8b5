/* For whom a TLS client has come: what is read, what is not complete, and what is no hello. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gate/tls/hello.h"
#include "runner.h"

static uint8_t message[2 * HELLO_PEEK];
static size_t size;
static char name[HELLO_NAME_SIZE];

static void put(const void *bytes, size_t count)
{
  ck_assert_uint_le(size + count, sizeof message);
  memcpy(message + size, bytes, count);
  size += count;
}

static void put_number(size_t number, size_t bytes)
{
  while (bytes-- > 0)
    put(&(uint8_t){(uint8_t)(number >> (8 * bytes))}, 1);
}

static void put_zeros(size_t count)
{
  for (size_t i = 0; i < count; i++)
    put("", 1);
}

/* server_name, with one name of kind 0. */
static void put_name(const char *host)
{
  size_t length = strlen(host);
  put_number(0, 2);
  put_number(length + 5, 2);
  put_number(length + 3, 2);
  put_number(0, 1);
  put_number(length, 2);
  put(host, length);
}

/* Another extension, of this size. */
static void put_other(size_t length)
{
  put_number(21, 2);
  put_number(length, 2);
  put_zeros(length);
}

static void put_length(size_t at, size_t bytes)
{
  size_t length = size - at - bytes;
  for (size_t i = 0; i < bytes; i++)
    message[at + i] = (uint8_t)(length >> (8 * (bytes - 1 - i)));
}

/* Up to the extensions, whose length is filled in by `end`. */
enum { LENGTH_AT = 6, EXTENSIONS_AT = 9 + 34 + 1 + 4 + 2 };

static void begin(void)
{
  size = 0;
  put("\x16\x03\x01\0\0\x01\0\0\0\x03\x03", 11);
  put_zeros(32);
  put("\0\0\x02\x13\x01\x01\0\0\0", 9);
}

static void end(void)
{
  put_length(EXTENSIONS_AT, 2);
  put_length(LENGTH_AT, 3);
  put_length(3, 2);
}

static enum hello read_all(void)
{
  memset(name, 0, sizeof name);
  return hello_read(message, size, name);
}

/* The same message in records of one byte, or however many. */
static void cut(size_t step)
{
  uint8_t *whole = malloc(size);
  size_t count = size - 5;
  ck_assert_ptr_nonnull(whole);
  memcpy(whole, message, size);
  size = 0;
  for (size_t at = 0; at < count; at += step) {
    size_t here = count - at < step ? count - at : step;
    put("\x16\x03\x01", 3);
    put_number(here, 2);
    put(whole + 5 + at, here);
  }
  free(whole);
}

START_TEST(a_name_is_read)
{
  begin();
  put_other(3);
  put_name("App.Example.COM.");
  put_other(0);
  end();
  ck_assert_int_eq(read_all(), HELLO_NAMED);
  ck_assert_str_eq(name, "app.example.com");
}
END_TEST

START_TEST(it_may_come_in_pieces)
{
  begin();
  put_name("a.test");
  end();
  for (size_t step = 1; step <= 3; step++) {
    cut(step);
    size_t whole = size;
    for (size = 0; size < whole; size++)
      ck_assert_msg(read_all() == HELLO_MORE, "%zu of %zu", size, whole);
    ck_assert_int_eq(read_all(), HELLO_NAMED);
    put_zeros(7); /* what follows is not looked at */
    ck_assert_int_eq(read_all(), HELLO_NAMED);
    size = whole;
    begin();
    put_name("a.test");
    end();
  }
}
END_TEST

START_TEST(it_may_be_long)
{
  begin();
  put_other(16000);
  put_name("a.test");
  end();
  ck_assert_int_eq(read_all(), HELLO_NAMED);
  cut(100);
  ck_assert_int_eq(read_all(), HELLO_NAMED);
  begin();
  put_other(17000);
  put_name("a.test");
  end();
  ck_assert_int_eq(read_all(), HELLO_BAD);
}
END_TEST

START_TEST(more_than_is_looked_at_is_none)
{
  begin();
  put_other(10000);
  put_name("a.test");
  end();
  cut(1);
  size = HELLO_PEEK;
  ck_assert_int_eq(read_all(), HELLO_BAD);
}
END_TEST

START_TEST(there_may_be_no_name)
{
  begin();
  put_other(3);
  end();
  ck_assert_int_eq(read_all(), HELLO_NAMELESS);
  begin();
  size -= 2; /* no extensions at all */
  put_length(LENGTH_AT, 3);
  put_length(3, 2);
  ck_assert_int_eq(read_all(), HELLO_NAMELESS);
}
END_TEST

static const char *const no_hosts[] = {"", ".", "a b", "a/b", "\xc3\xa9.test", "a\n", "*.test"};

START_TEST(what_is_no_host_is_refused)
{
  begin();
  put_name(no_hosts[_i]);
  end();
  ck_assert_int_eq(read_all(), HELLO_BAD);
}
END_TEST

START_TEST(a_name_has_a_length)
{
  char host[300];
  for (size_t length = 252; length < 260; length++) {
    memset(host, 'a', sizeof host);
    host[length] = '\0';
    begin();
    put_name(host);
    end();
    ck_assert_int_eq(read_all(), length < HELLO_NAME_SIZE ? HELLO_NAMED : HELLO_BAD);
  }
}
END_TEST

START_TEST(two_names_are_none)
{
  begin();
  put_name("a.test");
  put_name("b.test");
  end();
  ck_assert_int_eq(read_all(), HELLO_BAD);
}
END_TEST

/* Each length, one more and one less than is there. */
START_TEST(lengths_must_fit)
{
  static const size_t lengths[] = {LENGTH_AT + 2, EXTENSIONS_AT + 1, EXTENSIONS_AT + 5, EXTENSIONS_AT + 7,
                                   EXTENSIONS_AT + 10};
  for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
    for (int change = -1; change <= 1; change += 2) {
      begin();
      put_name("a.test");
      end();
      message[lengths[i]] = (uint8_t)(message[lengths[i]] + change);
      enum hello wanted = lengths[i] == LENGTH_AT + 2 && change > 0 ? HELLO_MORE : HELLO_BAD;
      ck_assert_msg(read_all() == wanted, "byte %zu, %d", lengths[i], change);
    }
  }
}
END_TEST

static const struct {
  const char *bytes;
  size_t size;
} others[] = {{"GET / HTTP/1.1\r\n", 16},
              {"\x15\x03\x01\0\x02\x02\x28", 7},
              {"\x16\x02\x01\0\x05", 5},
              {"\x16\x03\x01\0\0", 5},
              {"\x16\x03\x01\x40\x01", 5},
              {"\x16\x03\x01\0\x04\x02", 6},
              {"\x17", 1},
              {"\x16\x04", 2},
              {"\x16\x03\x01\0\x09\x01\0\x40\x01", 9}};

START_TEST(what_is_no_hello_is_known_early)
{
  size = 0;
  put(others[_i].bytes, others[_i].size);
  ck_assert_int_eq(read_all(), HELLO_BAD);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("hello");
  TCase *t = tcase_create("hello");
  tcase_add_test(t, a_name_is_read);
  tcase_add_test(t, it_may_come_in_pieces);
  tcase_add_test(t, it_may_be_long);
  tcase_add_test(t, more_than_is_looked_at_is_none);
  tcase_add_test(t, there_may_be_no_name);
  tcase_add_loop_test(t, what_is_no_host_is_refused, 0, sizeof no_hosts / sizeof *no_hosts);
  tcase_add_test(t, a_name_has_a_length);
  tcase_add_test(t, two_names_are_none);
  tcase_add_test(t, lengths_must_fit);
  tcase_add_loop_test(t, what_is_no_hello_is_known_early, 0, sizeof others / sizeof *others);
  suite_add_tcase(s, t);
  return s;
}
