/* Tombstones: how long they stand, how many, and what is on them. */
#include <check.h>
#include <string.h>

#include "carry/tunnel/tombs.h"

#include "runner.h"

static struct tombs *tombs;

static void setup(void)
{
  tombs = tombs_open();
  ck_assert_ptr_nonnull(tombs);
}

static void teardown(void)
{
  tombs_close(tombs);
}

static struct tomb tomb_of(uint32_t n)
{
  struct tomb tomb = {.member = {7}, .received = n};

  memcpy(tomb.connection, &n, sizeof n);
  return tomb;
}

static const struct tomb *find(uint32_t n, uint64_t now)
{
  return tombs_find(tombs, tomb_of(n).connection, now);
}

static void add(uint32_t n, uint64_t now)
{
  const struct tomb tomb = tomb_of(n);

  tombs_add(tombs, &tomb, now);
}

START_TEST(one_that_ended_well_is_found)
{
  add(1, 1000);
  const struct tomb *found = find(1, 1000);

  ck_assert_ptr_nonnull(found);
  ck_assert(!found->reset && found->received == 1 && found->member[0] == 7);
  ck_assert_ptr_null(find(2, 1000));
}
END_TEST

START_TEST(a_reset_is_copied)
{
  char code[] = "ECONNREFUSED", reason[] = "connect: refused";
  struct tomb tomb = tomb_of(1);

  tomb.reset = true;
  tomb.code = code;
  tomb.reason = reason;
  tombs_add(tombs, &tomb, 1000);
  memset(code, 'x', sizeof code - 1);
  memset(reason, 'x', sizeof reason - 1);
  const struct tomb *found = find(1, 2000);
  ck_assert_ptr_nonnull(found);
  ck_assert(found->reset);
  ck_assert_str_eq(found->code, "ECONNREFUSED");
  ck_assert_str_eq(found->reason, "connect: refused");
}
END_TEST

START_TEST(a_reset_without_a_reason_is_one)
{
  struct tomb tomb = tomb_of(1);

  tomb.reset = true;
  tomb.code = tomb.reason = "";
  tombs_add(tombs, &tomb, 0);
  ck_assert_str_eq(find(1, 0)->code, "");
  ck_assert_str_eq(find(1, 0)->reason, "");
}
END_TEST

START_TEST(each_stands_for_a_minute)
{
  add(1, 1000);
  add(2, 2000);
  ck_assert_ptr_nonnull(find(1, 1000 + TOMBS_MS - 1));
  ck_assert_ptr_null(find(1, 1000 + TOMBS_MS));
  ck_assert_ptr_nonnull(find(2, 1000 + TOMBS_MS));
  ck_assert_uint_eq(tombs_count(tombs), 1);
  add(3, 2000 + TOMBS_MS);
  ck_assert_uint_eq(tombs_count(tombs), 1);
  ck_assert_ptr_null(find(2, 2000 + TOMBS_MS));
}
END_TEST

START_TEST(the_first_one_of_a_connection_stands)
{
  struct tomb other = tomb_of(1);

  add(1, 1000);
  other.received = 99;
  tombs_add(tombs, &other, 1500);
  ck_assert_uint_eq(tombs_count(tombs), 1);
  ck_assert_uint_eq(find(1, 1500)->received, 1);
  ck_assert_ptr_null(find(1, 1000 + TOMBS_MS));
}
END_TEST

START_TEST(the_oldest_go_when_there_are_too_many)
{
  for (uint32_t n = 0; n < TOMBS_MAX + 100; n++) {
    add(n, n / 100);
    ck_assert_uint_le(tombs_count(tombs), TOMBS_MAX);
  }
  ck_assert_uint_eq(tombs_count(tombs), TOMBS_MAX);
  ck_assert_ptr_null(find(99, 1000));
  ck_assert_ptr_nonnull(find(100, 1000));
  ck_assert_ptr_nonnull(find(TOMBS_MAX + 99, 1000));
}
END_TEST

START_TEST(none_need_not_be_closed)
{
  tombs_close(NULL);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon tombs");
  TCase *t = tcase_create("tombs");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, one_that_ended_well_is_found);
  tcase_add_test(t, a_reset_is_copied);
  tcase_add_test(t, a_reset_without_a_reason_is_one);
  tcase_add_test(t, each_stands_for_a_minute);
  tcase_add_test(t, the_first_one_of_a_connection_stands);
  tcase_add_test(t, the_oldest_go_when_there_are_too_many);
  tcase_add_test(t, none_need_not_be_closed);
  suite_add_tcase(suite, t);
  return suite;
}
