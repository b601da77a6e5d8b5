/* Whose targets are dialled before the router has said what lies before them. */
#include "fixture_daemon_tunnels.h"

#include "carry/tunnel/caution.h"
#include "carry/tunnel/hops.h"

#include "runner.h"

enum { FREE = 7, DIALLED = FREE + CAUTION_FEW, ALL = DIALLED + 20 };

static int targets[ALL + 1];
static int dialled;

static void look(void)
{
  while (dialled < ALL && target_came(&targets[dialled]))
    dialled++;
}

static struct stream *come(int i)
{
  struct header h = stream_dial("web", NULL);

  h.has_connection = true;
  memcpy(h.connection, &i, sizeof i);
  h.origin = (uint64_t)i + 1;
  return arrive(&h);
}

static bool are_dialled(int count)
{
  look();
  return dialled == count;
}

/* One after another, as in a loop. */
static void come_until_they_wait(void)
{
  dialled = 0;
  for (int i = 0; i < DIALLED; i++) {
    come(i);
    WORLD_UNTIL(&w, are_dialled(i + 1));
  }
  for (int i = DIALLED; i < ALL; i++)
    come(i);
  WORLD_UNTIL(&w, opened == ALL);
  WORLD_UNTIL(&w, w.traces == 1);
  world_idle(&w, 20);
  look();
  ck_assert_int_eq(dialled, DIALLED);
}

static void hang_up(void)
{
  for (int i = 0; i < dialled; i++)
    close(targets[i]);
}

/* The first question may be asked before all have come, so that there is a second one. */
static void answer_until(unsigned hops, int traces, bool (*done)(int count), int count)
{
  for (;;) {
    WORLD_UNTIL(&w, done(count) || w.traces >= traces);
    if (done(count))
      return;
    fake_trace_verdict(&w, hops);
    traces++;
  }
}

START_TEST(they_wait_for_an_answer)
{
  w.router.traces = true;
  begin_connected();
  come_until_they_wait();
  answer_until(0, 1, are_dialled, ALL);
  ck_assert_int_eq(failed, 0);
  hang_up();
}
END_TEST

static bool have_failed(int count)
{
  return failed >= count;
}

START_TEST(a_loop_is_not_dialled_further)
{
  w.router.traces = true;
  begin_connected();
  come_until_they_wait();
  answer_until(HOPS_MAX + 1, 1, have_failed, ALL - FREE);
  ck_assert_ptr_nonnull(strstr(sentence, "came through"));
  look();
  ck_assert_int_eq(dialled, DIALLED);
  hang_up();
}
END_TEST

/* A router that does not know the question, or has not the time to answer it. */
START_TEST(nobody_waits_for_who_does_not_answer)
{
  w.router.traces = _i > 0;
  begin_connected();
  if (_i > 0)
    come_until_they_wait();
  else
    for (int i = dialled = 0; i < ALL; i++)
      come(i);
  WORLD_UNTIL(&w, are_dialled(ALL));
  ck_assert_int_eq(failed, 0);
  hang_up();
}
END_TEST

START_TEST(one_that_waits_is_cut)
{
  struct tunnel *waiting;

  w.router.traces = true;
  begin_connected();
  come_until_they_wait();
  waiting = last;
  ck_assert_ptr_nonnull(waiting);
  tunnel_cut(waiting);
  WORLD_UNTIL(&w, state_is("closing"));
  answer_until(0, 1, are_dialled, ALL - 1);
  expect_no_target();
  hang_up();
}
END_TEST

START_TEST(it_ends_while_they_wait)
{
  w.router.traces = true;
  begin_connected();
  come_until_they_wait();
  hang_up();
}
END_TEST

/* ---- How many ---- */

static void dial_all_that_may_be(struct caution *c, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    ck_assert(caution_may_dial(c, 0));
    caution_dialled(c);
  }
  ck_assert(!caution_may_dial(c, 0));
}

START_TEST(answers_that_show_nothing_make_room)
{
  struct caution c;

  caution_start(&c);
  dial_all_that_may_be(&c, CAUTION_FEW);
  caution_answered(&c, 2, 5, 0);
  dial_all_that_may_be(&c, (size_t)2 * CAUTION_FEW - 5);
  for (int i = 0; i < 20; i++)
    caution_answered(&c, 0, 0, 0);
  dial_all_that_may_be(&c, CAUTION_MANY);
  caution_answered(&c, HOPS_MAX, 0, 0);
  dial_all_that_may_be(&c, CAUTION_FEW);
}
END_TEST

START_TEST(after_a_loop_each_is_asked_for)
{
  struct caution c;

  caution_start(&c);
  caution_answered(&c, HOPS_MAX + 1, 0, 10);
  ck_assert(!caution_may_dial(&c, 10));
  ck_assert(!caution_may_dial(&c, 10 + CAUTION_LOOP_MS - 1));
  ck_assert(caution_may_dial(&c, 10 + CAUTION_LOOP_MS));
  caution_unanswered(&c);
  ck_assert(caution_may_dial(&c, 10));
  caution_answered(&c, 0, 0, 11);
  ck_assert(!caution_may_dial(&c, 11));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon trails");
  TCase *t = add_case(suite, "dials");

  tcase_add_test(t, they_wait_for_an_answer);
  tcase_add_test(t, a_loop_is_not_dialled_further);
  tcase_add_loop_test(t, nobody_waits_for_who_does_not_answer, 0, 2);
  tcase_add_test(t, one_that_waits_is_cut);
  tcase_add_test(t, it_ends_while_they_wait);
  t = tcase_create("how many");
  tcase_add_test(t, answers_that_show_nothing_make_room);
  tcase_add_test(t, after_a_loop_each_is_asked_for);
  suite_add_tcase(suite, t);
  return suite;
}
