/* The race of addresses, over schedules: the clock and the outcomes are the test's. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/race.h"

#include "runner.h"

enum { START = 1000, TIMEOUT = 10000 };

static struct race race;

static void setup(void)
{
  race_begin(&race, START, TIMEOUT);
}

/* "4" and "6" make addresses 192.0.2.1, 2001:db8::2, ... by their place in the text. */
static struct endpoints make(const char *families)
{
  struct endpoints out = {.count = 0};

  for (unsigned i = 0; families[i] != '\0'; i++) {
    struct in6_addr v6 = {{{0x20, 0x01, 0x0d, 0xb8, [15] = (uint8_t)(i + 1)}}};
    const struct in_addr v4 = {.s_addr = htonl(0xc0000201 + i)};

    if (families[i] == '4')
      endpoints_add_v4(&out, &v4, 80);
    else
      endpoints_add_v6(&out, &v6, 0, 80);
  }
  return out;
}

static void add(const char *families, bool complete, uint64_t now)
{
  const struct endpoints found = make(families);

  race_add(&race, &found, complete, now);
}

static void expect(uint64_t now, int index)
{
  int got = race_next(&race, now);

  ck_assert_msg(got == index, "at %lu: %d instead of %d", (unsigned long)now, got, index);
}

static void expect_lost(uint64_t now, int error, const char *why, unsigned causes)
{
  char text[256];
  unsigned count;

  ck_assert(race_is_lost(&race, now));
  ck_assert_int_eq(race_error(&race, text, sizeof text, &count), error);
  ck_assert_str_eq(text, why);
  ck_assert_uint_eq(count, causes);
}

/* Who answers does so within the first steps, however many are dead. */
START_TEST(test_families_by_turns)
{
  add("666644", true, START);
  static const int order[] = {0, 4, 1, 5, 2, 3};
  for (unsigned i = 0; i < 6; i++) {
    uint64_t now = START + i * RACE_STEP_MS;

    ck_assert_uint_eq(race_wake(&race), now);
    if (i > 0)
      expect(now - 1, -1);
    expect(now, order[i]);
    expect(now, -1);
    ck_assert(!race_is_lost(&race, now));
  }
  ck_assert_uint_eq(race_wake(&race), START + TIMEOUT);
  ck_assert(!race_is_lost(&race, START + TIMEOUT - 1));
  expect_lost(START + TIMEOUT, -ETIMEDOUT, "Connection timed out", 1);
}
END_TEST

START_TEST(test_refusal_is_not_waited_for)
{
  add("64", true, START);
  expect(START, 0);
  race_failed(&race, 0, -ECONNREFUSED, START + 3);
  expect(START + 3, 1);
  race_failed(&race, 1, -ECONNREFUSED, START + 4);
  expect(START + 4, -1);
  expect_lost(START + 4, -ECONNREFUSED, "Connection refused", 1);
}
END_TEST

/* One that fails makes room for the next, though another one still runs. */
START_TEST(test_failure_beside_one_that_runs)
{
  add("644", true, START);
  expect(START, 0);
  expect(START + 250, 1);
  race_failed(&race, 1, -ECONNREFUSED, START + 260);
  expect(START + 260, 2);
  race_failed(&race, 2, -EHOSTUNREACH, START + 300);
  ck_assert(!race_is_lost(&race, START + 300));
  ck_assert_uint_eq(race_wake(&race), START + TIMEOUT);
  race_failed(&race, 0, -ENETUNREACH, START + 400);
  expect_lost(START + 400, -ECONNREFUSED,
              "Network is unreachable (2001:db8::1), Connection refused (192.0.2.2), No route to host (192.0.2.3)", 3);
}
END_TEST

START_TEST(test_many_of_one_cause)
{
  add("66664", true, START);
  for (unsigned i = 0; i < 5; i++) {
    int index = race_next(&race, START);

    ck_assert_int_ge(index, 0);
    race_failed(&race, index, index == 4 ? -ECONNREFUSED : -ENETUNREACH, START);
  }
  expect_lost(START, -ECONNREFUSED,
              "Network is unreachable (2001:db8::1, 2001:db8::2 and 2 more), Connection refused (192.0.2.5)", 2);
}
END_TEST

/* All have their turn, also where there is little time. */
START_TEST(test_steps_fit_into_the_time)
{
  uint64_t now = START;

  race_begin(&race, START, 200);
  add("6666644444", true, START);
  for (unsigned i = 0; i < 10; i++) {
    ck_assert_int_ge(race_next(&race, now), 0);
    if (i < 9)
      now = race_wake(&race);
  }
  ck_assert_uint_le(now, START + 100);
}
END_TEST

START_TEST(test_v4_waits_a_moment_for_v6)
{
  ck_assert_uint_eq(race_wake(&race), START + TIMEOUT);
  expect(START, -1);
  add("4", false, START + 20);
  expect(START + 20, -1);
  ck_assert_uint_eq(race_wake(&race), START + 20 + RACE_RESOLUTION_MS);
  struct endpoints both = make("64");
  const struct endpoints found = {.count = 2, .at = {both.at[0], race.endpoints.at[0]}};
  race_add(&race, &found, true, START + 30);
  ck_assert_uint_eq(race.endpoints.count, 2);
  expect(START + 30, 1);
  expect(START + 30, -1);
  expect(START + 280, 0);
}
END_TEST

START_TEST(test_v6_is_late)
{
  add("4", false, START);
  expect(START + RACE_RESOLUTION_MS, 0);
  add("46", true, START + 60);
  expect(START + 60, -1);
  expect(START + RACE_RESOLUTION_MS + RACE_STEP_MS, 1);
}
END_TEST

START_TEST(test_v6_does_not_wait)
{
  add("6", false, START);
  expect(START, 0);
}
END_TEST

/* A nameserver that is silent for one family: what is known has failed, and is told soon. */
START_TEST(test_the_other_family_never_comes)
{
  add("4", false, START);
  expect(START + RACE_RESOLUTION_MS, 0);
  race_failed(&race, 0, -ECONNREFUSED, START + 60);
  ck_assert(!race_is_lost(&race, START + 60));
  ck_assert_uint_eq(race_wake(&race), START + 60 + RACE_LATE_MS);
  expect_lost(START + 60 + RACE_LATE_MS, -ECONNREFUSED, "Connection refused", 1);
}
END_TEST

/* Those that run may still win; no more are begun. */
START_TEST(test_descriptors_are_short)
{
  add("64", true, START);
  expect(START, 0);
  expect(START + 250, 1);
  race_failed(&race, 1, -EMFILE, START + 250);
  ck_assert(!race_is_lost(&race, START + 250));
  ck_assert_uint_eq(race_wake(&race), START + TIMEOUT);
  race_failed(&race, 0, -ECONNREFUSED, START + 300);
  expect_lost(START + 300, -EMFILE, "Connection refused (2001:db8::1), Too many open files (192.0.2.2)", 2);

  race_begin(&race, START, TIMEOUT);
  add("64", true, START);
  expect(START, 0);
  race_failed(&race, 0, -EMFILE, START);
  expect(START, -1);
  expect_lost(START, -EMFILE, "Too many open files", 1);
}
END_TEST

START_TEST(test_again)
{
  add("4", true, START);
  expect(START, 0);
  race_again(&race, 0, START + 20);
  ck_assert_uint_eq(race_wake(&race), START + 20);
  expect(START + 19, -1);
  ck_assert(!race_is_lost(&race, START + 19));
  expect(START + 20, 0);
}
END_TEST

/* The longest that there can be is cut, and nothing more. */
START_TEST(test_causes_have_bounds)
{
  char text[16], families[ENDPOINTS_MAX + 9];
  unsigned causes;

  memset(families, '6', sizeof families - 1);
  families[sizeof families - 1] = '\0';
  add(families, true, START);
  ck_assert_uint_eq(race.endpoints.count, ENDPOINTS_MAX);
  for (unsigned i = 0; i < ENDPOINTS_MAX; i++) {
    int index = race_next(&race, START);
    race_failed(&race, index, index % 2 != 0 ? -ECONNREFUSED : -EHOSTUNREACH, START);
  }
  race_error(&race, text, sizeof text, &causes);
  ck_assert_uint_eq(strlen(text), sizeof text - 1);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("race");
  TCase *tcase = tcase_create("race");

  suite_add_tcase(suite, tcase);
  tcase_add_checked_fixture(tcase, setup, NULL);
  tcase_add_test(tcase, test_families_by_turns);
  tcase_add_test(tcase, test_refusal_is_not_waited_for);
  tcase_add_test(tcase, test_failure_beside_one_that_runs);
  tcase_add_test(tcase, test_many_of_one_cause);
  tcase_add_test(tcase, test_steps_fit_into_the_time);
  tcase_add_test(tcase, test_v4_waits_a_moment_for_v6);
  tcase_add_test(tcase, test_v6_is_late);
  tcase_add_test(tcase, test_v6_does_not_wait);
  tcase_add_test(tcase, test_the_other_family_never_comes);
  tcase_add_test(tcase, test_descriptors_are_short);
  tcase_add_test(tcase, test_again);
  tcase_add_test(tcase, test_causes_have_bounds);
  return suite;
}
