/* Whether a line is slow, or only idle, or fast, or dead. */
#include <check.h>
#include <stdlib.h>

#include "carry/link/link_line.h"

#include "runner.h"

static const struct {
  uint64_t bytes, ms;
  bool slow;
} rows[] = {
    {0, 15000, false},         /* dead */
    {300, 5000, false},        /* idle: pings and heartbeats */
    {40000, 5000, true},       /* 64 kbit/s */
    {300000, 5000, true},      /* 480 kbit/s */
    {2000, 5000, true},        /* 3.2 kbit/s */
    {340000, 5000, false},     /* whatever waits there does not wait for long */
    {1000000000, 5000, false}, /* in use, and fast */
    {3000, 15000, false},      {8000, 15000, true},
};

START_TEST(each_line)
{
  struct link_line line = {0};

  link_line_look(&line, 1000, 100000);
  ck_assert(!link_line_is_slow(&line, 1000, 100001));
  ck_assert_int_eq(link_line_is_slow(&line, 1000 + rows[_i].bytes, 100000 + rows[_i].ms), rows[_i].slow);
  /* Just after a look it is what it was then. */
  link_line_look(&line, 1000 + rows[_i].bytes, 100000 + rows[_i].ms);
  ck_assert_int_eq(link_line_is_slow(&line, 1000 + rows[_i].bytes, 100001 + rows[_i].ms), rows[_i].slow);
}
END_TEST

START_TEST(looks_that_follow_each_other_are_one)
{
  struct link_line line = {0};

  link_line_look(&line, 0, 100000);
  for (uint64_t now = 100000; now < 104000; now += 10)
    link_line_look(&line, (now - 100000) * 8, now);
  ck_assert(link_line_is_slow(&line, 32000, 104000));
}
END_TEST

/* Of another connection: nothing is known of it yet. */
START_TEST(a_count_that_shrinks)
{
  struct link_line line = {0};

  link_line_look(&line, 1000000, 100000);
  ck_assert(!link_line_is_slow(&line, 500, 105000));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("line");
  TCase *tests = tcase_create("line");
  tcase_add_loop_test(tests, each_line, 0, sizeof rows / sizeof *rows);
  tcase_add_test(tests, looks_that_follow_each_other_are_one);
  tcase_add_test(tests, a_count_that_shrinks);
  suite_add_tcase(suite, tests);
  return suite;
}
