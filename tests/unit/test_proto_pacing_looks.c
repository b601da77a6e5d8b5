/* The pacing controller, look by look. */
#include <check.h>

#include "proto/flow/pacing.h"

#include "runner.h"

#define MBIT UINT64_C(125000)
#define MS UINT64_C(1000)
#define SECOND UINT64_C(1000000)

enum { STREAMS = 3 };

struct told {
  struct pacing p;
  struct pacing_stream all[STREAMS], *streams[STREAMS];
  uint64_t now;
};

static void tell(struct told *t, uint64_t bytes, uint32_t rtt)
{
  t->now += PACING_EVERY_US;
  for (size_t i = 0; i < STREAMS; i++) {
    t->streams[i] = &t->all[i];
    t->all[i].acked += bytes;
    t->all[i].rtt = rtt;
    t->all[i].rtt_least = 20 * MS;
  }
  pacing_look(&t->p, t->streams, STREAMS, t->now);
}

static uint64_t sum(const struct told *t)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < STREAMS; i++)
    sum += t->all[i].rate;
  return sum;
}

/* Nobody is held back from what is carried. */
static void expect_free(const struct told *t, uint64_t carried)
{
  ck_assert(sum(t) == 0 || sum(t) >= carried + carried / 5);
}

START_TEST(a_queue_must_stand)
{
  const uint64_t bytes = 100000, all = STREAMS * bytes * SECOND / PACING_EVERY_US;
  struct told t = {.now = SECOND};
  for (int round = 0; round < 5; round++) {
    for (int i = 0; i < 3; i++)
      tell(&t, bytes, 30 * MS);
    expect_free(&t, all);
    tell(&t, bytes, 23 * MS);
  }
  for (int i = 0; i < 4; i++)
    tell(&t, bytes, 30 * MS);
  ck_assert_uint_gt(sum(&t), 0);
  ck_assert_uint_le(sum(&t), all * 99 / 100); /* less, as long as there is a queue */
  tell(&t, bytes * 70 / 100, 21 * MS);
  ck_assert_uint_le(sum(&t), all * 99 / 100);
  ck_assert_uint_ge(sum(&t), all * 98 / 100);
  uint64_t before = sum(&t);
  tell(&t, bytes, 20 * MS); /* until TCP knows */
  tell(&t, bytes, 20 * MS);
  ck_assert_uint_gt(sum(&t), before);
  ck_assert_uint_lt(sum(&t), before + before / 100);
  for (int i = 0; i < 6; i++) /* the line is soon full */
    tell(&t, bytes, 20 * MS);
  ck_assert_uint_lt(sum(&t), all * 101 / 100);
  for (int i = 0; i < 24; i++) /* it is not: it carries more than it did */
    tell(&t, bytes, 20 * MS);
  ck_assert_uint_gt(sum(&t), before * 6 / 5);
}
END_TEST

/* ---- One stream ---- */

enum { LOOK = 20000, RTT = 50000 };

START_TEST(a_cap_follows_growth)
{
  struct pacing_cap c = {0};
  uint64_t now = SECOND, rate = MBIT;
  for (; rate < 400 * MBIT; rate *= 2, now += RTT)
    ck_assert_uint_eq(pacing_cap(&c, rate, RTT, now), 0); /* as long as it grows */
  rate /= 2;
  uint64_t cap = 0;
  for (int i = 0; i < 3 * RTT / 2 / LOOK + 1; i++, now += LOOK)
    cap = pacing_cap(&c, rate, RTT, now);
  ck_assert_uint_ge(cap, rate + rate / 5);
  ck_assert_uint_le(cap, rate + rate / 4);
  for (int i = 0; i < 5; i++, now += LOOK)
    ck_assert_uint_ge(pacing_cap(&c, rate / 10, RTT, now), rate); /* a short pause says nothing */
  for (int i = 0; i < 500; i++, now += LOOK)
    cap = pacing_cap(&c, rate / 10, RTT, now);
  ck_assert_uint_le(cap, rate / 8 + 1);
  for (int i = 0; cap != 0; i++, now += LOOK) { /* whoever reaches it is soon free */
    ck_assert_int_lt(i, 4);
    cap = pacing_cap(&c, cap, RTT, now);
  }
  ck_assert_uint_eq(pacing_cap(&c, rate, PACING_RTT_MIN_US - 1, now + SECOND), 0);
}
END_TEST

START_TEST(what_is_set_anew)
{
  ck_assert(!pacing_differs(0, 0));
  ck_assert(pacing_differs(0, 1000) && pacing_differs(1000, 0));
  ck_assert(!pacing_differs(1000, 1005) && !pacing_differs(1000, 995));
  ck_assert(pacing_differs(1000, 1050) && pacing_differs(1000, 950));
}
END_TEST

/* What was known is old after a pause. */
START_TEST(a_pause_is_a_beginning)
{
  struct told t = {.now = SECOND};
  for (int i = 0; i < 10; i++)
    tell(&t, 100000, 30 * MS);
  const uint64_t bytes = 100000, all = STREAMS * bytes * SECOND / PACING_EVERY_US;
  ck_assert_uint_le(sum(&t), all);
  t.now += 5 * SECOND;
  tell(&t, 100000, 30 * MS);
  tell(&t, 100000, 30 * MS);
  expect_free(&t, all);
}
END_TEST

START_TEST(survives_what_cannot_be)
{
  struct told t = {.now = SECOND};
  for (uint64_t i = 0; i < 2000; i++) {
    for (size_t k = 0; k < STREAMS; k++) {
      t.all[k].acked = i % 7 == k ? UINT64_MAX - i : i % 5 == k ? 0 : t.all[k].acked;
      t.all[k].rtt_least = i % 11 == k ? UINT32_MAX : i % 13 == k ? 0 : (uint32_t)(20 * MS);
    }
    tell(&t, i % 3 * 1000, i % 17 == 0 ? UINT32_MAX : i % 19 == 0 ? 0 : (uint32_t)(30 * MS));
    size_t count = i % 23 == 0 ? 0 : i % STREAMS + 1;
    pacing_look(&t.p, t.streams, count, t.now);                           /* no time has passed */
    pacing_look(&t.p, t.streams, count, i % 29 == 0 ? t.now - 1 : t.now); /* it went back */
    t.now += i % 31 == 0 ? 100 * SECOND : 0;
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pacing looks");
  TCase *looks = tcase_create("looks");
  tcase_add_test(looks, a_queue_must_stand);
  tcase_add_test(looks, a_cap_follows_growth);
  tcase_add_test(looks, what_is_set_anew);
  tcase_add_test(looks, a_pause_is_a_beginning);
  tcase_add_test(looks, survives_what_cannot_be);
  suite_add_tcase(suite, looks);
  return suite;
}
