/* The window of counters: each is good once, in whatever order they come. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/raw_window.h"

#include "runner.h"

#define SIZE UINT64_C(4096)
_Static_assert(SIZE == RAW_WINDOW_SIZE, "");

START_TEST(steps)
{
  static const struct {
    uint64_t counter;
    bool used;
  } rows[] = {
      {0, false}, /* never */
      {1, true},
      {1, false},
      {2, true},
      {5, true}, /* those between come later */
      {4, true},
      {4, false},
      {3, true},
      {5, false},
      {SIZE, true}, /* 1 is the oldest that is known */
      {1, false},
      {6, true},
      {SIZE + 5, true}, /* 6 is */
      {5, false},       /* was used, and is not known any more */
      {6, false},
      {7, true},
      {2 * SIZE + 6, true}, /* to the next one of the same place: all is new */
      {SIZE + 6, false},    /* just too old */
      {SIZE + 7, true},     /* just not */
      {2 * SIZE + 5, true},
      {10 * SIZE, true}, /* far */
      {10 * SIZE - 1, true},
      {9 * SIZE, false},
      {9 * SIZE + 1, true},
      {UINT64_MAX - 1, true}, /* the end */
      {UINT64_MAX, true},
      {UINT64_MAX, false},
      {UINT64_MAX - SIZE, false},
      {UINT64_MAX - SIZE + 1, true},
      {UINT64_MAX - SIZE + 1, false},
      {0, false}, /* it does not begin anew */
      {1, false},
  };
  struct raw_window w = {0};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ck_assert_msg(raw_window_is_fresh(&w, rows[i].counter) == rows[i].used, "row %zu", i);
    ck_assert_msg(raw_window_use(&w, rows[i].counter) == rows[i].used, "row %zu", i);
    ck_assert_msg(!raw_window_use(&w, rows[i].counter), "row %zu again", i);
  }
}
END_TEST

START_TEST(looking_uses_nothing)
{
  struct raw_window w = {0};
  raw_window_use(&w, 10);
  struct raw_window before = w;
  ck_assert(raw_window_is_fresh(&w, UINT64_MAX));
  ck_assert(!raw_window_is_fresh(&w, 10));
  ck_assert_mem_eq(&w, &before, sizeof w);
}
END_TEST

/* Beside a list of all that were used. */
START_TEST(any_order)
{
  enum { ALL = 6 * SIZE };
  static bool used[ALL];
  struct raw_window w = {0};
  uint64_t highest = 0;
  uint32_t random = (uint32_t)_i + 1;
  memset(used, 0, sizeof used);
  for (int i = 0; i < 20000; i++) {
    random = random * 1664525 + 1013904223;
    /* Near the highest, now and then beyond it, seldom far. */
    uint64_t far = random >> 28 == 0 ? SIZE + 100 : 50;
    uint64_t counter = highest + 5 + (random >> 8) % far;
    uint64_t back = (random >> 16) % (SIZE + 200);
    counter = counter > back ? counter - back : 0;
    if (counter >= ALL)
      break;
    bool fresh = counter > 0 && !used[counter] && counter + SIZE > highest;
    ck_assert_int_eq(raw_window_use(&w, counter), fresh);
    used[counter] = used[counter] || fresh;
    highest = counter > highest ? counter : highest;
  }
  ck_assert_uint_gt(highest, SIZE);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("raw_window");
  TCase *tcase = tcase_create("raw_window");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, steps);
  tcase_add_test(tcase, looking_uses_nothing);
  tcase_add_loop_test(tcase, any_order, 0, 5);
  return suite;
}
