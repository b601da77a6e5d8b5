/* The way to a loop's thread. */
#include <check.h>
#include <pthread.h>
#include <stdbool.h>
#include <uv.h>

#include "proto/host/home.h"

#include "runner.h"

enum { SENT = 1000 };

struct world {
  uv_loop_t loop;
  struct home *home;
  pthread_t thread;
  unsigned ran;
  bool closed;
};

static struct world here;

struct sent {
  struct errand errand;
  unsigned number;
};

static struct sent many[SENT];

static void set_up(void)
{
  here = (struct world){.thread = pthread_self()};
  ck_assert_int_eq(uv_loop_init(&here.loop), 0);
  ck_assert_int_eq(home_open(&here.home, &here.loop), 0);
}

static void is_closed(void *arg)
{
  (void)arg;
  here.closed = true;
}

static void tear_down(void)
{
  home_close(here.home, is_closed, NULL);
  uv_run(&here.loop, UV_RUN_DEFAULT);
  ck_assert(here.closed);
  ck_assert_int_eq(uv_loop_close(&here.loop), 0);
}

static void in_order(struct errand *e)
{
  ck_assert(pthread_equal(pthread_self(), here.thread));
  ck_assert_uint_eq(((struct sent *)e)->number, here.ran);
  here.ran++;
}

static void send_all(void)
{
  for (unsigned i = 0; i < SENT; i++) {
    many[i] = (struct sent){.errand.run = in_order, .number = i};
    home_send(here.home, &many[i].errand);
  }
}

static void *send_from_elsewhere(void *arg)
{
  send_all();
  return arg;
}

START_TEST(errands_come_from_another_thread_in_order)
{
  pthread_t other;
  ck_assert_int_eq(pthread_create(&other, NULL, send_from_elsewhere, NULL), 0);
  while (here.ran < SENT)
    uv_run(&here.loop, UV_RUN_ONCE);
  pthread_join(other, NULL);
}
END_TEST

START_TEST(errands_come_from_the_loops_own_thread_without_a_wake)
{
  send_all();
  ck_assert_uint_eq(here.ran, 0);
  uv_run(&here.loop, UV_RUN_ONCE);
  ck_assert_uint_eq(here.ran, SENT);
}
END_TEST

static void once_more(struct errand *e)
{
  if (++here.ran < SENT)
    home_send(here.home, e);
}

START_TEST(an_errand_that_sends_itself_lets_the_loop_turn)
{
  struct errand e = {.run = once_more};
  home_send(here.home, &e);
  uv_run(&here.loop, UV_RUN_ONCE);
  ck_assert_uint_lt(here.ran, SENT);
  while (here.ran < SENT)
    uv_run(&here.loop, UV_RUN_ONCE);
}
END_TEST

START_TEST(what_was_sent_runs_before_the_home_is_closed)
{
  struct errand e = {.run = once_more};
  send_all();
  home_send(here.home, &e);
  here.ran = 0;
  tear_down();
  ck_assert_uint_eq(here.ran, SENT + 1);
  set_up();
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("home");
  TCase *c = tcase_create("home");
  tcase_add_checked_fixture(c, set_up, tear_down);
  tcase_add_test(c, errands_come_from_another_thread_in_order);
  tcase_add_test(c, errands_come_from_the_loops_own_thread_without_a_wake);
  tcase_add_test(c, an_errand_that_sends_itself_lets_the_loop_turn);
  tcase_add_test(c, what_was_sent_runs_before_the_home_is_closed);
  suite_add_tcase(s, c);
  return s;
}
