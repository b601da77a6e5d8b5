/* How often something may happen. */
#include <check.h>
#include <stdlib.h>

#include "proto/host/pace.h"

#include "runner.h"

enum { AT_ONCE = 5, EVERY_MS = 100 };

static unsigned allowed(struct pace *p, uint64_t now, unsigned times)
{
  unsigned count = 0;
  for (unsigned i = 0; i < times; i++)
    count += pace_allows(p, now, AT_ONCE, EVERY_MS);
  return count;
}

START_TEST(test_pace)
{
  struct pace p = {0};
  ck_assert_uint_eq(allowed(&p, 1000, 5), 5);
  ck_assert_uint_eq(p.left_out, 0);
  ck_assert_uint_eq(allowed(&p, 1000, 3), 0);
  ck_assert_uint_eq(p.left_out, 3);
  ck_assert_uint_eq(allowed(&p, 1099, 3), 0);
  ck_assert_uint_eq(allowed(&p, 1100, 3), 1);
  ck_assert_uint_eq(allowed(&p, 1350, 9), 2);
  /* What was not used is saved up, but not for ever. */
  ck_assert_uint_eq(allowed(&p, 1000000, 9), 5);
  ck_assert_uint_eq(allowed(&p, 1000000, 9), 0);
}
END_TEST

START_TEST(test_none_at_once)
{
  struct pace p = {0};
  ck_assert(!pace_allows(&p, 1000, 0, EVERY_MS));
  ck_assert(pace_allows(&p, 1000, 1, EVERY_MS));
  ck_assert_uint_eq(p.left_out, 1);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pace");
  TCase *tcase = tcase_create("pace");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_pace);
  tcase_add_test(tcase, test_none_at_once);
  return suite;
}
