/* The journal's lines, its bound, and what it prints. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/host/journal.h"

#include "runner.h"

enum { STAMP = 21 }; /* "2026-01-31T12:00:00Z " */

static size_t size_of(const struct journal *j)
{
  size_t size;

  journal_bytes(j, &size);
  return size;
}

START_TEST(test_line)
{
  struct journal *j = journal_create(4096);
  const char *bytes;
  struct tm tm = {0};
  size_t size;

  ck_assert_uint_eq(size_of(j), 0);
  journal_add(j, "%s is %d", "web\n\033", 7);
  bytes = journal_bytes(j, &size);
  ck_assert_uint_eq(size, STAMP + strlen("web?? is 7\n"));
  ck_assert_int_eq(memcmp(bytes + STAMP, "web?? is 7\n", size - STAMP), 0);
  ck_assert_ptr_eq(strptime(bytes, "%Y-%m-%dT%H:%M:%SZ", &tm), bytes + STAMP - 1);
  ck_assert_int_ge(tm.tm_year, 100);
  journal_free(j);
}
END_TEST

/* A terminal may show the journal: it gets characters only. */
START_TEST(test_characters)
{
  static const struct {
    const char *text, *kept;
  } cases[] = {
      {"h\xc3\xb6st \xe2\x82\xac \xf0\x9f\x90\xa7", "h\xc3\xb6st \xe2\x82\xac \xf0\x9f\x90\xa7"},
      {"\xff\x80 \xc3", "?? ?"},
      {"\xc0\xaf \xe0\x80\xaf", "?? ???"},
      {"\xed\xa0\x80 \xf4\x90\x80\x80", "??? ????"},
      {"\xc2\x9b"
       "31m \x1b[31m \x7f\t",
       "??31m ?[31m ??"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct journal *j = journal_create(4096);
    size_t size;
    journal_add(j, "%s", cases[i].text);
    const char *bytes = journal_bytes(j, &size);
    const char *text = memchr(bytes, ' ', size);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(size - (size_t)(text + 1 - bytes), strlen(cases[i].kept) + 1);
    ck_assert_mem_eq(text + 1, cases[i].kept, strlen(cases[i].kept));
    journal_free(j);
  }
}
END_TEST

START_TEST(test_long_line)
{
  struct journal *j = journal_create(8192);
  char text[3000];
  const char *bytes;
  size_t size;

  memset(text, 'x', sizeof(text));
  text[sizeof(text) - 1] = '\0';
  journal_add(j, "%s", text);
  bytes = journal_bytes(j, &size);
  ck_assert_uint_eq(size, 1024);
  ck_assert_int_eq(bytes[size - 1], '\n');
  ck_assert_int_eq(bytes[size - 2], 'x');
  journal_free(j);
}
END_TEST

/* Whole lines, in order, the newest one there: whatever the lines' sizes. */
static void check_lines(const char *bytes, size_t size, unsigned newest)
{
  unsigned long previous = 0;
  const char *end = bytes + size;

  ck_assert_uint_gt(size, 0);
  ck_assert_int_eq(end[-1], '\n');
  while (bytes < end) {
    unsigned long number = strtoul(bytes + STAMP, NULL, 10);

    ck_assert_int_eq(bytes[STAMP - 2], 'Z');
    if (previous != 0)
      ck_assert_uint_eq(number, previous + 1);
    previous = number;
    bytes = (const char *)memchr(bytes, '\n', (size_t)(end - bytes)) + 1;
  }
  ck_assert_uint_eq(previous, newest);
}

START_TEST(test_bound)
{
  enum { CAPACITY = 2048 };
  struct journal *j = journal_create(CAPACITY);
  unsigned drops = 0;

  for (unsigned i = 1; i <= 2000; i++) {
    size_t before = size_of(j);
    size_t size;
    const char *bytes;

    journal_add(j, "%u %.*s", i, (int)(i * 37 % 200),
                "                                                                "
                "                                                                "
                "                                                                "
                "        ");
    bytes = journal_bytes(j, &size);
    ck_assert_uint_le(size, CAPACITY);
    check_lines(bytes, size, i);
    if (size < before) {
      drops++;
      ck_assert_uint_le(size, CAPACITY / 2 + 300);
      ck_assert_uint_ge(size, CAPACITY / 2 - 300);
    }
  }
  ck_assert_uint_gt(drops, 10);
  journal_free(j);
}
END_TEST

START_TEST(test_tiny)
{
  struct journal *none = journal_create(0);
  struct journal *one = journal_create(STAMP + 4);
  const char *bytes;
  size_t size;

  journal_add(none, "x");
  ck_assert_uint_eq(size_of(none), 0);
  journal_add(one, "abc");
  journal_add(one, "def");
  bytes = journal_bytes(one, &size);
  ck_assert_uint_eq(size, STAMP + 4);
  ck_assert_int_eq(memcmp(bytes + STAMP, "def\n", 4), 0);
  journal_free(none);
  journal_free(one);
  journal_free(NULL);
}
END_TEST

START_TEST(test_echo)
{
  struct journal *j = journal_create(4096);
  char text[256] = "";
  int fds[2];

  char stream[64];
  struct stat st;

  ck_assert_int_eq(pipe(fds), 0);
  ck_assert_int_ge(dup2(fds[1], STDERR_FILENO), 0);
  ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
  snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
  ck_assert_int_eq(setenv("JOURNAL_STREAM", stream, 1), 0);
  journal_echo(j, "mmfs");
  journal_add(j, "hello\t%d", 1);
  journal_echo(j, "other");
  journal_add(j, "again");
  journal_echo(j, NULL);
  journal_add(j, "silent");
  ck_assert_int_gt(read(fds[0], text, sizeof(text) - 1), 0);
  ck_assert_str_eq(text, "mmfs: hello?1\nother: again\n");
  /* The journal adds times, and others do not. */
  ck_assert_int_eq(unsetenv("JOURNAL_STREAM"), 0);
  journal_echo(j, "mmfs");
  journal_add(j, "timed");
  memset(text, 0, sizeof text);
  ck_assert_int_gt(read(fds[0], text, sizeof(text) - 1), 0);
  ck_assert_msg(strlen(text) == strlen("2026-01-31T12:00:00Z mmfs: timed\n") && text[19] == 'Z', "%s", text);
  close(fds[0]);
  close(fds[1]);
  journal_free(j);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("journal");
  TCase *tcase = tcase_create("journal");

  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_line);
  tcase_add_test(tcase, test_characters);
  tcase_add_test(tcase, test_long_line);
  tcase_add_test(tcase, test_bound);
  tcase_add_test(tcase, test_tiny);
  tcase_add_test(tcase, test_echo);
  return suite;
}
