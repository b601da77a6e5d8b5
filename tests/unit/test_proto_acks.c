/* When a receiver says an ack, and what is in it. */
#include <check.h>

#include "proto/flow/window.h"

#include "runner.h"

#define SECOND UINT64_C(1000000)
#define FOREVER UINT64_MAX

START_TEST(ack_after_a_delay)
{
  struct acks a;
  acks_start(&a);
  ck_assert(!acks_any(&a));
  ck_assert(!acks_due(&a, FOREVER));
  acks_taken(&a, 1, 0, 1000);
  ck_assert(acks_any(&a));
  ck_assert(!acks_due(&a, 1000 + ACKS_DELAY_US - 1));
  acks_taken(&a, 10, 1, 4000);
  ck_assert(acks_due(&a, 1000 + ACKS_DELAY_US));
  ck_assert(!acks_due(&a, 0)); /* another thread's clock, read earlier */
  struct ack ack = acks_say(&a, 77, 7000);
  ck_assert_uint_eq(ack.taken, 11);
  ck_assert_uint_eq(ack.messages, 1);
  ck_assert_uint_eq(ack.queued, 77);
  ck_assert_uint_eq(ack.held_us, 3000);
  ck_assert(!acks_any(&a));
  ck_assert(!acks_due(&a, FOREVER));
  acks_taken(&a, 1, 0, 20000);
  ck_assert(!acks_due(&a, 20000));
  ck_assert_uint_eq(acks_say(&a, 0, 19999).held_us, 0);
}
END_TEST

/* Of nothing, so that the other side knows that it was heard. */
START_TEST(ack_as_a_greeting)
{
  struct acks a;
  acks_start(&a);
  acks_greet(&a, 1000);
  ck_assert(acks_any(&a) && !acks_unsaid(&a));
  ck_assert(!acks_due(&a, 1000 + ACKS_GREETING_US - 1));
  ck_assert(acks_due(&a, 1000 + ACKS_GREETING_US));
  struct ack ack = acks_say(&a, 0, 5000000);
  ck_assert_uint_eq(ack.taken + ack.messages + ack.held_us, 0);
  ck_assert(!acks_any(&a) && !acks_due(&a, FOREVER));

  acks_greet(&a, 5000000);
  acks_taken(&a, 1, 1, 5000100); /* an ack of something is one, too */
  ck_assert(acks_unsaid(&a) && acks_due(&a, 5000100 + ACKS_DELAY_US));
  ck_assert_uint_eq(acks_say(&a, 0, 5006000).held_us, 5900);
  ck_assert(!acks_any(&a));

  acks_greet(&a, 6000000);
  acks_restart(&a); /* who goes on with it says so */
  acks_say(&a, 0, 6000000);
  ck_assert(!acks_any(&a) && !acks_due(&a, FOREVER));
}
END_TEST

/* On another stream. */
START_TEST(ack_again)
{
  struct acks a;
  acks_start(&a);
  acks_restart(&a);
  ck_assert(!acks_any(&a));
  acks_taken(&a, 10, 1, 8000);
  ck_assert(!acks_due(&a, 8000));
  acks_say(&a, 0, 8000);
  acks_restart(&a);
  ck_assert(acks_any(&a));
  ck_assert(acks_due(&a, 8001));
  struct ack ack = acks_say(&a, 0, 9000);
  ck_assert_uint_eq(ack.taken, 10);
  ck_assert_uint_eq(ack.messages, 1);
  ck_assert_uint_eq(ack.held_us, 1000);
  ck_assert(!acks_any(&a));
}
END_TEST

/* Two of the largest messages lately; no message has more than a quarter of the window. */
START_TEST(ack_after_a_step)
{
  struct acks a;
  acks_start(&a);
  acks_taken(&a, 30000, 1, 0);
  acks_taken(&a, 30000, 1, 0);
  ck_assert(!acks_due(&a, 0));
  acks_taken(&a, 30000, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_say(&a, 0, 0);

  acks_taken(&a, 1 << 20, 1, 0);
  ck_assert(!acks_due(&a, 0));
  acks_taken(&a, 1 << 20, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_say(&a, 0, 0);
  for (int i = 1; i <= 31; i++) { /* two in pieces */
    acks_taken(&a, 64 << 10, i == 16, 0);
    ck_assert(!acks_due(&a, 0));
  }
  acks_taken(&a, 64 << 10, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_say(&a, 0, 0);

  for (int i = 0; i < 100; i++) { /* the large ones are long ago */
    acks_taken(&a, 64 << 10, 1, 0);
    acks_say(&a, 0, 0);
  }
  acks_taken(&a, 64 << 10, 1, 0);
  acks_taken(&a, 64 << 10, 1, 0);
  ck_assert(acks_due(&a, 0));
  acks_taken(&a, 1 << 20, 1, 0);
  acks_say(&a, 0, 0);

  acks_taken(&a, 64 << 10, 1, SECOND); /* after a pause */
  acks_taken(&a, 64 << 10, 1, SECOND);
  ck_assert(acks_due(&a, SECOND));
  acks_say(&a, 0, SECOND);

  for (int i = 0; i < 255; i++)
    acks_taken(&a, 1, 1, 2 * SECOND);
  ck_assert(!acks_due(&a, 2 * SECOND));
  acks_taken(&a, 1, 1, 2 * SECOND);
  ck_assert(acks_due(&a, 2 * SECOND)); /* of what they cost */

  acks_taken(&a, 64 << 20, 1, 2 * SECOND);
  ck_assert(acks_due(&a, 2 * SECOND));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("acks");
  TCase *acks = tcase_create("acks");
  tcase_add_test(acks, ack_after_a_delay);
  tcase_add_test(acks, ack_as_a_greeting);
  tcase_add_test(acks, ack_again);
  tcase_add_test(acks, ack_after_a_step);
  suite_add_tcase(suite, acks);
  return suite;
}
