/* Which backend gets a request, who is left alone, and for how long. */
#include <check.h>
#include <math.h>
#include <string.h>

#include "gate/balance/choose.h"
#include "gate/balance/health.h"
#include "gate/balance/phi.h"
#include "runner.h"

/* ---- phi ---- */

static void ck_near(double is, double wanted, double tolerance)
{
  ck_assert_msg(fabs(is - wanted) <= tolerance, "%f instead of %f", is, wanted);
}

/* Beats `count` times, after these two intervals by turns. */
static uint64_t beat(struct phi *p, unsigned count, uint64_t one, uint64_t other, uint64_t now)
{
  phi_expect(p, now);
  for (unsigned i = 0; i < count; i++) {
    now += i % 2 == 0 ? one : other;
    phi_beat(p, now);
  }
  return now;
}

/* -log10(1 - F(y)) of the normal distribution, from a table. */
START_TEST(phi_is_that_of_the_normal_distribution)
{
  static const struct {
    double deviations, phi;
  } table[] = {{-3, 0.00059}, {-1, 0.07504}, {0, 0.30103},    {1, 0.79953},  {2, 1.64302},
               {3, 2.86970},  {5, 6.54265},  {5.612, 8.0000}, {10, 23.11805}};
  struct phi p;
  phi_init(&p);
  /* 800 and 1200: the mean is 1000, the deviation 200. */
  uint64_t now = beat(&p, PHI_INTERVALS, 800, 1200, 0) + 1000 + PHI_PAUSE_MS;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    ck_near(phi_of(&p, (uint64_t)((double)now + table[i].deviations * 200)), table[i].phi, 0.03);
  ck_assert_double_eq(phi_of(&p, now + 1000000), PHI_MAX);
}
END_TEST

START_TEST(regular_beats_have_a_least_deviation)
{
  struct phi p;
  phi_init(&p);
  uint64_t now = beat(&p, PHI_INTERVALS, 10, 10, 0) + 10 + PHI_PAUSE_MS;
  ck_near(phi_of(&p, now), 0.30103, 0.001);
  ck_near(phi_of(&p, now + PHI_DEVIATION_MIN_MS), 0.79953, 0.001);
  ck_assert_double_lt(phi_of(&p, now + UINT64_C(5) * PHI_DEVIATION_MIN_MS), 8);
  ck_assert_double_gt(phi_of(&p, now + UINT64_C(6) * PHI_DEVIATION_MIN_MS), 8);
}
END_TEST

START_TEST(before_any_beat_there_is_a_guess)
{
  struct phi p;
  phi_init(&p);
  ck_assert_double_lt(phi_of(&p, 1000000), 0.01); /* nothing is expected */
  phi_expect(&p, 1000000);
  ck_assert_double_lt(phi_of(&p, 1000000 + 5000), 8);
  ck_assert_double_gt(phi_of(&p, 1000000 + 6000), 8);
}
END_TEST

START_TEST(only_the_latest_intervals_count)
{
  struct phi p, q;
  phi_init(&p);
  phi_init(&q);
  uint64_t now = beat(&p, 1000, 7000, 60000, 0);
  now = beat(&p, PHI_INTERVALS, 200, 400, now);
  uint64_t other = beat(&q, PHI_INTERVALS, 200, 400, 0);
  for (uint64_t ms = 0; ms < 10000; ms += 500)
    ck_assert_double_eq(phi_of(&p, now + ms), phi_of(&q, other + ms));
}
END_TEST

START_TEST(the_clock_runs_while_a_beat_is_expected)
{
  struct phi p;
  phi_init(&p);
  phi_expect(&p, 0);
  phi_expect(&p, 2000); /* it is already */
  phi_rest(&p, 3000);
  double before = phi_of(&p, 3000);
  ck_assert_double_eq(phi_of(&p, 9000000), before);
  phi_expect(&p, 9000000);
  ck_assert_double_eq(phi_of(&p, 9000000), before);
  ck_assert_double_gt(phi_of(&p, 9003000), 8); /* 3000 before, 3000 now */
  phi_beat(&p, 9003000);
  ck_assert_double_lt(phi_of(&p, 9003000), 0.1);
  phi_expect(&p, 9003000);
  phi_beat(&p, UINT64_MAX / 2); /* nothing overflows */
  ck_assert(isfinite(phi_of(&p, UINT64_MAX / 2)));
}
END_TEST

/* ---- Health ---- */

static struct health one;

static void set_up(void)
{
  health_init(&one);
}

static void dial_fails(struct health *h, uint64_t now)
{
  health_request(h, now);
  health_dial_failed(h, now);
  health_over(h, false, now);
}

static void answers(struct health *h, uint64_t took, uint64_t now)
{
  health_request(h, now);
  health_answered(h, took, now + took);
  health_over(h, true, now + took);
}

START_TEST(three_failed_dials_in_a_row_put_it_out)
{
  dial_fails(&one, 1000);
  dial_fails(&one, 1001);
  answers(&one, 3, 1002);
  dial_fails(&one, 1010);
  dial_fails(&one, 1011);
  ck_assert(health_takes(&one, 1011));
  ck_assert_int_eq(health_state(&one, 1011), HEALTH_UP);
  dial_fails(&one, 1012);
  ck_assert_int_eq(health_state(&one, 1012), HEALTH_OUT);
  ck_assert(!health_takes(&one, 1012 + HEALTH_OUT_MS - 1));
  ck_assert(health_takes(&one, 1012 + HEALTH_OUT_MS));
  ck_assert_uint_eq(one.requests, 6);
  ck_assert_uint_eq(one.failures, 5);
  ck_assert_uint_eq(one.under_way, 0);
}
END_TEST

/* What fails together counts once: ten requests may have been on their way. */
START_TEST(it_is_out_for_longer_each_time)
{
  static const uint64_t spans[] = {5000, 10000, 20000, 40000, 60000, 60000};
  uint64_t now = 500;
  for (int i = 0; i < 10; i++)
    health_request(&one, now);
  for (int i = 0; i < 10; i++) {
    health_dial_failed(&one, now);
    health_over(&one, false, now);
  }
  for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
    ck_assert(!health_takes(&one, now + spans[i] - 1));
    now += spans[i];
    ck_assert(health_takes(&one, now));
    health_request(&one, now); /* a trial */
    ck_assert(!health_takes(&one, now));
    health_dial_failed(&one, now + 2);
    health_over(&one, false, now + 2);
  }
  now += 60000;
  answers(&one, 5, now);
  ck_assert_int_eq(health_state(&one, now), HEALTH_UP);
  ck_assert(health_takes(&one, now));
  for (int i = 0; i < 3; i++)
    dial_fails(&one, now);
  ck_assert(health_takes(&one, now + HEALTH_OUT_MS)); /* as the first time */
}
END_TEST

START_TEST(one_that_is_silent_is_left_alone)
{
  uint64_t now = 0;
  for (int i = 0; i < 100; i++, now += 20)
    answers(&one, 10, now);
  ck_assert(health_takes(&one, now + 1000000)); /* nobody waits for anything */
  health_request(&one, now);
  ck_assert(health_takes(&one, now + 3000));
  ck_assert(!health_takes(&one, now + 4000));
  ck_assert_int_eq(health_state(&one, now + 4000), HEALTH_SILENT);
  health_over(&one, false, now + 5000); /* the client has lost patience */
  ck_assert_int_eq(health_state(&one, now + 8000), HEALTH_SILENT);
  ck_assert(!health_takes(&one, now + 8999));
  ck_assert(health_takes(&one, now + 9000));
  health_request(&one, now + 9000);
  ck_assert(!health_takes(&one, now + 9001));
  health_answered(&one, 500, now + 9500);
  ck_assert_int_eq(health_state(&one, now + 9500), HEALTH_UP);
  ck_assert(health_takes(&one, now + 9500));
  health_over(&one, true, now + 9500);
  ck_assert_uint_eq(one.waiting, 0);
}
END_TEST

START_TEST(one_that_is_always_slow_is_not_silent)
{
  uint64_t now = 0;
  for (int i = 0; i < PHI_INTERVALS; i++, now += 12000)
    answers(&one, i % 2 == 0 ? 9000 : 11000, now);
  health_request(&one, now);
  ck_assert(health_takes(&one, now + 15000));
  ck_assert_int_eq(health_state(&one, now + 15000), HEALTH_UP);
  ck_assert(!health_takes(&one, now + 21000));
}
END_TEST

/* Of many that wait, each answer is a sign of life. */
START_TEST(others_that_are_answered_are_signs_of_life)
{
  uint64_t now = 0;
  health_request(&one, now); /* a long poll */
  for (int i = 0; i < 1000; i++, now += 100)
    answers(&one, 10, now);
  ck_assert(health_takes(&one, now));
  ck_assert_uint_eq(one.waiting, 1);
  ck_assert(!health_takes(&one, now + 6000));
  health_answered(&one, 106000, now + 6000);
  ck_assert(health_takes(&one, now + 6000));
}
END_TEST

START_TEST(the_time_of_answers_follows_them)
{
  ck_assert_double_lt(one.answer_ms, 0);
  answers(&one, 40, 0);
  ck_near(one.answer_ms, 40, 0.001);
  for (int i = 0; i < 100; i++)
    answers(&one, 10, 100);
  ck_near(one.answer_ms, 10, 0.1);
}
END_TEST

/* ---- The choice ---- */

static uint64_t numbers;

/* xorshift64 */
static uint64_t number(void)
{
  numbers ^= numbers << 13;
  numbers ^= numbers >> 7;
  numbers ^= numbers << 17;
  return numbers;
}

static struct health many[CHOOSE_MAX];
static struct health *all[CHOOSE_MAX];

static void set_up_many(void)
{
  numbers = 0x9e3779b97f4a7c15;
  for (size_t i = 0; i < CHOOSE_MAX; i++) {
    health_init(&many[i]);
    all[i] = &many[i];
  }
}

START_TEST(the_less_busy_of_two_gets_it)
{
  ck_assert_uint_eq(choose(all, 1, number(), 0), 0);
  for (int i = 0; i < 2000; i++)
    health_request(&many[choose(all, 2, number(), 0)], 0);
  ck_assert_uint_eq(many[0].under_way, 1000);
  ck_assert_uint_eq(many[1].under_way, 1000);
}
END_TEST

/* With n requests for each of n, the most loaded one has log log n more than its share; a single choice gives log n. */
START_TEST(many_are_loaded_evenly)
{
  for (int i = 0; i < CHOOSE_MAX * 100; i++)
    health_request(&many[choose(all, CHOOSE_MAX, number(), 0)], 0);
  for (size_t i = 0; i < CHOOSE_MAX; i++)
    ck_assert_msg(many[i].under_way >= 94 && many[i].under_way <= 106, "%zu has %u", i, many[i].under_way);
}
END_TEST

START_TEST(whoever_is_out_gets_none)
{
  for (int i = 0; i < 3; i++)
    dial_fails(&many[1], 0);
  for (int i = 0; i < 100; i++) {
    size_t chosen = choose(all, 3, number(), 1);
    ck_assert_uint_ne(chosen, 1);
    health_request(&many[chosen], 1);
  }
  for (int i = 0; i < 3; i++)
    dial_fails(&many[0], 1);
  for (int i = 0; i < 100; i++)
    ck_assert_uint_eq(choose(all, 3, number(), 1), 2);
}
END_TEST

START_TEST(the_last_one_is_never_out)
{
  unsigned chosen[3] = {0};
  for (int k = 0; k < 3; k++) {
    for (int i = 0; i < 3; i++)
      dial_fails(&many[k], 0);
  }
  for (int i = 0; i < 300; i++)
    chosen[choose(all, 3, number(), 1)]++;
  for (int k = 0; k < 3; k++)
    ck_assert_uint_gt(chosen[k], 50);
  ck_assert_uint_eq(choose(all, 1, number(), 1), 0);
  /* The first one that comes back has all. */
  answers(&many[2], 1, 2);
  for (int i = 0; i < 100; i++)
    ck_assert_uint_eq(choose(all, 3, number(), 4), 2);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("balance");
  TCase *p = tcase_create("phi"), *h = tcase_create("health"), *c = tcase_create("choose");
  tcase_add_test(p, phi_is_that_of_the_normal_distribution);
  tcase_add_test(p, regular_beats_have_a_least_deviation);
  tcase_add_test(p, before_any_beat_there_is_a_guess);
  tcase_add_test(p, only_the_latest_intervals_count);
  tcase_add_test(p, the_clock_runs_while_a_beat_is_expected);
  tcase_add_checked_fixture(h, set_up, NULL);
  tcase_add_test(h, three_failed_dials_in_a_row_put_it_out);
  tcase_add_test(h, it_is_out_for_longer_each_time);
  tcase_add_test(h, one_that_is_silent_is_left_alone);
  tcase_add_test(h, one_that_is_always_slow_is_not_silent);
  tcase_add_test(h, others_that_are_answered_are_signs_of_life);
  tcase_add_test(h, the_time_of_answers_follows_them);
  tcase_add_checked_fixture(c, set_up_many, NULL);
  tcase_add_test(c, the_less_busy_of_two_gets_it);
  tcase_add_test(c, many_are_loaded_evenly);
  tcase_add_test(c, whoever_is_out_gets_none);
  tcase_add_test(c, the_last_one_is_never_out);
  suite_add_tcase(s, p);
  suite_add_tcase(s, h);
  suite_add_tcase(s, c);
  return s;
}
