/* Timers, by a clock that the test moves. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>

#include "proto/rpc/rpc_timers.h"

#include "runner.h"

enum { MANY = 200000 };

static uint64_t clock_now;
static struct rpc_timers timers;
static unsigned ran[MANY];
static size_t ran_count;

static uint64_t now(void)
{
  return clock_now;
}

static void setup(void)
{
  timers = (struct rpc_timers){0};
  clock_now = ran_count = 0;
}

static void teardown(void)
{
  rpc_timers_free(&timers);
}

static void note(void *arg)
{
  ran[ran_count++] = (unsigned)(uintptr_t)arg;
}

static struct rpc_timer *add(uint64_t at, unsigned name)
{
  struct rpc_timer *t;
  ck_assert_int_eq(rpc_timers_add(&timers, &t, at, note, (void *)(uintptr_t)name), 0);
  return t;
}

START_TEST(test_order)
{
  add(30, 3);
  add(10, 0);
  add(20, 1);
  add(20, 2);
  struct rpc_timer *never = add(15, 9);
  clock_now = 9;
  ck_assert_uint_eq(rpc_timers_serve(&timers, now), 10);
  ck_assert_uint_eq(ran_count, 0);
  rpc_timers_remove(never);
  clock_now = 25;
  ck_assert_uint_eq(rpc_timers_serve(&timers, now), 30);
  clock_now = 30;
  ck_assert_uint_eq(rpc_timers_serve(&timers, now), UINT64_MAX);
  ck_assert_uint_eq(ran_count, 4);
  for (unsigned i = 0; i < 4; i++)
    ck_assert_uint_eq(ran[i], i);
}
END_TEST

/* A list that is searched takes minutes for it. */
START_TEST(test_many_of_any_length)
{
  static struct rpc_timer *all[MANY];
  static uint64_t at[MANY];
  static bool removed[MANY];
  size_t left = MANY;
  srand(1);
  for (unsigned i = 0; i < MANY; i++) {
    at[i] = i % 2 == 0 ? MANY - i : (unsigned)rand() % MANY;
    all[i] = add(at[i], i);
  }
  for (unsigned i = 0; i < MANY; i++) {
    removed[i] = rand() % 2 == 0;
    if (removed[i]) {
      rpc_timers_remove(all[i]);
      left--;
    }
  }
  clock_now = MANY;
  ck_assert_uint_eq(rpc_timers_serve(&timers, now), UINT64_MAX);
  ck_assert_uint_eq(ran_count, left);
  size_t wrong = 0;
  for (size_t i = 0; i < left; i++) {
    wrong += removed[ran[i]];
    if (i > 0)
      wrong += at[ran[i - 1]] > at[ran[i]] || (at[ran[i - 1]] == at[ran[i]] && ran[i - 1] > ran[i]);
  }
  ck_assert_uint_eq(wrong, 0);
}
END_TEST

static void again(void *arg)
{
  (void)arg;
  ran_count++;
  if (ran_count < 3)
    ck_assert_int_eq(rpc_timers_add(&timers, &(struct rpc_timer *){NULL}, clock_now, again, NULL), 0);
}

START_TEST(test_a_callback_starts_another)
{
  struct rpc_timer *t;
  ck_assert_int_eq(rpc_timers_add(&timers, &t, 0, again, NULL), 0);
  ck_assert_uint_eq(rpc_timers_serve(&timers, now), UINT64_MAX);
  ck_assert_uint_eq(ran_count, 3);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("timers");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_order);
  tcase_add_test(tcase, test_many_of_any_length);
  tcase_add_test(tcase, test_a_callback_starts_another);
  suite_add_tcase(suite, tcase);
  return suite;
}
