/* The cutter of lines: what comes out, and that it is the same however the bytes are cut into writes. */
#include "fs/fs_internal.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "runner.h"

/* Refused by the writer that is played here. */
static const char bad[] = "bad";

struct outcome {
  char seen[8192]; /* accepted lines, each in brackets */
  size_t size;
  int error;
};

/* One write as the kit does it: -errno, or how much of it was taken. */
static ssize_t write_once(struct fs_lines *lines, const char *bytes, size_t size, bool flush, struct outcome *outcome)
{
  struct fs_line line;
  int result = fs_lines_write(lines, bytes, size);
  ck_assert_int_eq(result, 0);
  while ((result = fs_lines_next(lines, flush, &line)) > 0) {
    ck_assert_uint_eq(strlen(line.text), line.size);
    if (strcmp(line.text, bad) == 0)
      return fs_lines_refuse(lines, -EPERM);
    outcome->size +=
        (size_t)snprintf(outcome->seen + outcome->size, sizeof(outcome->seen) - outcome->size, "[%s]", line.text);
    fs_lines_accept(lines);
  }
  return result < 0 ? fs_lines_refuse(lines, result) : fs_lines_end(lines);
}

/* As write(2) is used: again with the rest after a short count, until it is all written or an error comes. */
static bool write_all(struct fs_lines *lines, const char *bytes, size_t size, struct outcome *outcome)
{
  while (size > 0) {
    ssize_t taken = write_once(lines, bytes, size, false, outcome);
    ck_assert_int_ne(taken, 0);
    if (taken < 0) {
      outcome->error = (int)taken;
      return false;
    }
    ck_assert_uint_le((size_t)taken, size);
    bytes += taken;
    size -= (size_t)taken;
  }
  return true;
}

static void close_file(struct fs_lines *lines, struct outcome *outcome)
{
  if (lines->size > 0) {
    ssize_t result = write_once(lines, NULL, 0, true, outcome);
    outcome->error = result < 0 ? (int)result : 0;
  }
  fs_lines_clear(lines);
}

static struct outcome write_in_pieces(const char *bytes, size_t size, size_t first, size_t second)
{
  struct fs_lines lines = {0};
  struct outcome outcome = {0};
  bool going = write_all(&lines, bytes, first, &outcome);
  going = going && write_all(&lines, bytes + first, second - first, &outcome);
  if (going)
    write_all(&lines, bytes + second, size - second, &outcome);
  close_file(&lines, &outcome);
  return outcome;
}

static struct outcome write_bytewise(const char *bytes, size_t size)
{
  struct fs_lines lines = {0};
  struct outcome outcome = {0};
  for (size_t i = 0; i < size; i++)
    if (!write_all(&lines, bytes + i, 1, &outcome))
      break;
  close_file(&lines, &outcome);
  return outcome;
}

static const struct {
  const char *bytes;
  size_t size;
  const char *seen;
  int error;
} cases[] = {
#define CASE(text) text, sizeof(text) - 1
    {CASE(""), "", 0},
    {CASE("one\n"), "[one]", 0},
    {CASE("one"), "[one]", 0},
    {CASE("one\ntwo\nthree"), "[one][two][three]", 0},
    {CASE(" \t one two \t\r\n"), "[one two]", 0},
    {CASE("\n"), "", 0},
    {CASE("a\n\nb\n"), "[a][b]", 0},
    {CASE("   "), "", 0},
    {CASE(" \r\n\r\n a \r\n"), "[a]", 0},
    {CASE("# one\n #two\na # b\n#"), "[a # b]", 0},
    {CASE("\n#\nbad\n"), "", -EPERM},
    {CASE("#a\0\n"), "", -EINVAL},
    {CASE("\xef\xbb\xbf"), "", 0},
    {CASE("\xef\xbb\xbf \n"), "", 0},
    {CASE("\xef\xbb\xbf"
          "a\n\xef\xbb\xbf#\n \xef\xbb\xbf"
          "b"),
     "[a][b]", 0},
    {CASE("\xef\xbb"
          "a\n\xef\xbb"),
     "[\xef\xbb"
     "a][\xef\xbb]",
     0},
    {CASE("bad\n"), "", -EPERM},
    {CASE("a\nbad\nc\n"), "[a]", -EPERM},
    {CASE("a\nb\nbad"), "[a][b]", -EPERM},
    {CASE("a\0b\n"), "", -EINVAL},
    {CASE("a\nb\0\nc\n"), "[a]", -EINVAL},
    {CASE("a\nb\0"), "[a]", -EINVAL},
    {CASE("\xff\xc3\xa4\n"), "[\xff\xc3\xa4]", 0},
#undef CASE
};

START_TEST(every_cut_gives_the_same)
{
  const char *bytes = cases[_i].bytes;
  size_t size = cases[_i].size;
  for (size_t first = 0; first <= size; first++) {
    for (size_t second = first; second <= size; second++) {
      struct outcome outcome = write_in_pieces(bytes, size, first, second);
      ck_assert_str_eq(outcome.seen, cases[_i].seen);
      ck_assert_int_eq(outcome.error, cases[_i].error);
    }
  }
  struct outcome outcome = write_bytewise(bytes, size);
  ck_assert_str_eq(outcome.seen, cases[_i].seen);
  ck_assert_int_eq(outcome.error, cases[_i].error);
}
END_TEST

START_TEST(a_refusal_after_accepted_lines_is_a_short_count)
{
  struct fs_lines lines = {0};
  struct outcome outcome = {0};
  ck_assert_int_eq(write_once(&lines, "a\nbb\nbad\nc", 10, false, &outcome), 5);
  ck_assert_uint_eq(lines.size, 0);
  ck_assert_int_eq(write_once(&lines, "bad\nc", 5, false, &outcome), -EPERM);
  ck_assert_uint_eq(lines.size, 0);
  ck_assert_str_eq(outcome.seen, "[a][bb]");
}
END_TEST

START_TEST(a_refusal_drops_what_was_carried)
{
  struct fs_lines lines = {0};
  struct outcome outcome = {0};
  ck_assert_int_eq(write_once(&lines, "b", 1, false, &outcome), 1);
  ck_assert_int_eq(write_once(&lines, "ad\nx\ny", 6, false, &outcome), -EPERM);
  ck_assert_int_eq(write_once(&lines, "z\n", 2, false, &outcome), 2);
  ck_assert_str_eq(outcome.seen, "[z]");
}
END_TEST

START_TEST(the_limit_is_exact)
{
  char *bytes = malloc(FS_LINE_MAX + 2);
  ck_assert_ptr_nonnull(bytes);
  memset(bytes, 'x', FS_LINE_MAX + 2);
  const size_t cuts[] = {0, 1, 4000, FS_LINE_MAX - 1, FS_LINE_MAX, FS_LINE_MAX + 1};
  for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
    bytes[FS_LINE_MAX] = '\n';
    bytes[FS_LINE_MAX + 1] = '\n';
    struct outcome outcome = write_in_pieces(bytes, FS_LINE_MAX + 2, cuts[i], cuts[i]);
    ck_assert_int_eq(outcome.error, 0);
    ck_assert_uint_eq(outcome.size, FS_LINE_MAX + 2);
    bytes[FS_LINE_MAX] = 'x';
    outcome = write_in_pieces(bytes, FS_LINE_MAX + 2, cuts[i], cuts[i]);
    ck_assert_int_eq(outcome.error, -E2BIG);
    ck_assert_uint_eq(outcome.size, 0);
  }
  bytes[FS_LINE_MAX - 1] = '\0';
  ck_assert_int_eq(write_bytewise(bytes, FS_LINE_MAX + 2).error, -EINVAL);
  ck_assert_int_eq(write_in_pieces(bytes, FS_LINE_MAX + 2, 0, 0).error, -EINVAL);
  bytes[FS_LINE_MAX - 1] = 'x';
  bytes[FS_LINE_MAX] = '\0';
  ck_assert_int_eq(write_bytewise(bytes, FS_LINE_MAX + 2).error, -E2BIG);
  ck_assert_int_eq(write_in_pieces(bytes, FS_LINE_MAX + 2, 0, 0).error, -E2BIG);
  free(bytes);
}
END_TEST

static const struct {
  const char *written, *rest;
} rests[] = {
    {"", NULL},     {"a\n", NULL},          {"a\nb", "b"},           {"b ", "b "},
    {" \tb", "b"},  {" \r", NULL},          {"a\n#b", NULL},         {"\xef\xbb", NULL},
    {"\xef", NULL}, {"\xef\xbb\xbf", NULL}, {"\xef\xbb\xbf b", "b"}, {"\xef\xbbx", "\xef\xbbx"},
};

START_TEST(the_rest_is_what_can_be_seen_of_a_line)
{
  for (size_t i = 0; i < sizeof(rests) / sizeof(rests[0]); i++) {
    struct fs_lines lines = {0};
    struct fs_line line;
    ck_assert_int_eq(fs_lines_write(&lines, rests[i].written, strlen(rests[i].written)), 0);
    while (fs_lines_next(&lines, false, &line) > 0)
      fs_lines_accept(&lines);
    bool found = fs_lines_rest(&lines, &line);
    ck_assert_msg(found == (rests[i].rest != NULL), "%s", rests[i].written);
    if (found) {
      ck_assert_str_eq(line.text, rests[i].rest);
      ck_assert_uint_eq(line.size, strlen(line.text));
    }
    fs_lines_clear(&lines);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("fs lines");
  TCase *tests = tcase_create("lines");
  tcase_add_loop_test(tests, every_cut_gives_the_same, 0, (int)(sizeof(cases) / sizeof(cases[0])));
  tcase_add_test(tests, a_refusal_after_accepted_lines_is_a_short_count);
  tcase_add_test(tests, a_refusal_drops_what_was_carried);
  tcase_add_test(tests, the_limit_is_exact);
  tcase_add_test(tests, the_rest_is_what_can_be_seen_of_a_line);
  suite_add_tcase(suite, tests);
  return suite;
}
