/* Lines of the log, as each reader wants them. */
#include <check.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/host/log_line.h"

#include "runner.h"

static const struct {
  enum log_line_style style;
  const char *text, *line;
} rows[] = {
    {LOG_LINE_PLAIN, "listening", "mmrouter: listening\n"},
    {LOG_LINE_TIMED, "listening", "2026-01-31T12:00:00Z mmrouter: listening\n"},
    {LOG_LINE_JSON, "listening",
     "{\"time\":\"2026-01-31T12:00:00Z\",\"program\":\"mmrouter\",\"message\":\"listening\"}\n"},
    {LOG_LINE_PLAIN, "two\nlines\x7f", "mmrouter: two?lines?\n"},
    {LOG_LINE_PLAIN, "", "mmrouter: \n"},
    {LOG_LINE_JSON, "a \"name\" of \\ and \t",
     "{\"time\":\"2026-01-31T12:00:00Z\",\"program\":\"mmrouter\",\"message\":\"a \\\"name\\\" of \\\\ and ?\"}\n"},
    {LOG_LINE_JSON, "\xc3\xa9 \xff \xc3",
     "{\"time\":\"2026-01-31T12:00:00Z\",\"program\":\"mmrouter\",\"message\":\"\xc3\xa9 ? ?\"}\n"},
};

START_TEST(test_lines)
{
  char line[LOG_LINE_MAX];
  size_t size = log_line_write(line, rows[_i].style, "mmrouter", 1769860800, rows[_i].text);

  ck_assert_str_eq(line, rows[_i].line);
  ck_assert_uint_eq(size, strlen(line));
}
END_TEST

/* As long as it can be: each byte of it takes two. */
START_TEST(test_long_line)
{
  char line[LOG_LINE_MAX], text[2 * LOG_LINE_TEXT_MAX];

  memset(text, '"', sizeof text);
  text[sizeof text - 1] = '\0';
  size_t size = log_line_write(line, LOG_LINE_JSON, "mmrouter", 1769860800, text);
  ck_assert_uint_eq(size, strlen(line));
  ck_assert_str_eq(line + size - 5, "\\\"\"}\n");
  ck_assert_uint_lt(size, LOG_LINE_MAX);
}
END_TEST

START_TEST(test_journal)
{
  static const char *const none[] = {"", "8", "x:y", "8:", "0:0"};
  char stream[64];
  struct stat st;

  unsetenv("JOURNAL_STREAM");
  ck_assert_int_eq(log_line_style(STDERR_FILENO), LOG_LINE_TIMED);
  for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
    setenv("JOURNAL_STREAM", none[i], 1);
    ck_assert_msg(!log_line_is_journal(STDERR_FILENO), "%s", none[i]);
  }
  ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
  snprintf(stream, sizeof stream, "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
  setenv("JOURNAL_STREAM", stream, 1);
  ck_assert_int_eq(log_line_style(STDERR_FILENO), LOG_LINE_PLAIN);
  ck_assert(!log_line_is_journal(-1));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("log_line");
  TCase *tcase = tcase_create("log_line");

  suite_add_tcase(suite, tcase);
  tcase_add_loop_test(tcase, test_lines, 0, sizeof(rows) / sizeof(rows[0]));
  tcase_add_test(tcase, test_long_line);
  tcase_add_test(tcase, test_journal);
  return suite;
}
