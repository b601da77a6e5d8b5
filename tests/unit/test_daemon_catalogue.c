/* The names of the router, as they come, go, are lost, and are ours for a moment longer. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "daemon/names/catalogue.h"
#include "holds.h"
#include "runner.h"

static uv_loop_t loop;
static struct catalogue *c;
static int changes;
static bool gone;

static void changed(const char *name, void *arg)
{
  (void)arg;
  holds(name[0] != '\0');
  catalogue_find(c, name);
  changes++;
}

static void setup(void)
{
  changes = 0;
  gone = false;
  ck_assert_int_eq(uv_loop_init(&loop), 0);
  ck_assert_int_eq(catalogue_open(&c, &loop, changed, NULL), 0);
}

static void closed(void *arg)
{
  (void)arg;
  gone = true;
}

static void teardown(void)
{
  catalogue_close(c, closed, NULL);
  while (uv_run(&loop, UV_RUN_ONCE) != 0)
    ;
  ck_assert(gone);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}

START_TEST(names_come_and_go)
{
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_NONE);
  ck_assert_int_eq(catalogue_up(c, "web"), 0);
  ck_assert_int_eq(catalogue_up(c, "web"), 0);
  ck_assert_int_eq(changes, 1);
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_ONLINE);
  ck_assert_uint_eq(catalogue_count(c), 1);
  catalogue_down(c, "web");
  catalogue_down(c, "web");
  ck_assert_int_eq(changes, 2);
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_NONE);
}
END_TEST

START_TEST(names_that_cannot_be_shown_are_refused)
{
  static const char *const names[] = {"", "a/b", "..", "Upper", "-a", "a-", "\xff", "a b"};

  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    ck_assert_int_eq(catalogue_up(c, names[i]), -EINVAL);
  ck_assert_uint_eq(catalogue_count(c), 0);
}
END_TEST

START_TEST(a_lost_router_leaves_its_names_offline)
{
  catalogue_up(c, "stays");
  catalogue_up(c, "goes");
  catalogue_lost(c);
  catalogue_lost(c);
  ck_assert_int_eq(changes, 4);
  ck_assert_int_eq(catalogue_find(c, "stays"), CATALOGUE_OFFLINE);
  /* For as long as that takes. */
  ck_assert_int_eq(uv_run(&loop, UV_RUN_NOWAIT), 0);
  catalogue_up(c, "stays");
  ck_assert_int_eq(catalogue_find(c, "stays"), CATALOGUE_ONLINE);
  catalogue_missing(c, "goes");
  ck_assert_int_eq(catalogue_find(c, "goes"), CATALOGUE_OFFLINE);
  /* The timer that ends this keeps the loop alive until then. */
  while (catalogue_find(c, "goes") != CATALOGUE_NONE)
    uv_run(&loop, UV_RUN_ONCE);
  ck_assert_int_eq(catalogue_find(c, "stays"), CATALOGUE_ONLINE);
}
END_TEST

START_TEST(what_is_missing_is_offline_for_a_while)
{
  catalogue_up(c, "web");
  catalogue_missing(c, "web");
  catalogue_missing(c, "never");
  ck_assert_int_eq(changes, 2);
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_OFFLINE);
  catalogue_up(c, "web");
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_ONLINE);
  catalogue_missing(c, "web");
  catalogue_down(c, "web");
  ck_assert_uint_eq(catalogue_count(c), 0);
}
END_TEST

START_TEST(a_router_with_many_names_starts_anew)
{
  enum { MANY = 100000 }; /* as many as are remembered */
  char name[16];

  for (int i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "s%d", i);
    holds(catalogue_up(c, name) == 0);
  }
  catalogue_lost(c);
  for (int i = 0; i < MANY; i++) {
    snprintf(name, sizeof name, "s%d", i);
    catalogue_missing(c, name);
  }
  ck_assert_uint_eq(catalogue_count(c), MANY);
  ck_assert_int_eq(catalogue_find(c, "s0"), CATALOGUE_OFFLINE);
}
END_TEST

START_TEST(our_own_name_that_is_missing_is_gone)
{
  catalogue_up(c, "web");
  catalogue_withdrawn(c, "web");
  catalogue_missing(c, "web");
  ck_assert_uint_eq(catalogue_count(c), 0);
}
END_TEST

START_TEST(our_own_name_is_hidden_until_it_is_gone)
{
  catalogue_up(c, "web");
  catalogue_withdrawn(c, "web");
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_NONE);
  catalogue_down(c, "web");
  catalogue_up(c, "web");
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_ONLINE);
}
END_TEST

START_TEST(late_news_of_our_own_name_is_hidden_too)
{
  catalogue_withdrawn(c, "web");
  catalogue_up(c, "web");
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_NONE);
  catalogue_down(c, "web");
  ck_assert_uint_eq(catalogue_count(c), 0);
}
END_TEST

START_TEST(what_is_hidden_and_stays_is_somebody_elses)
{
  catalogue_up(c, "web");
  catalogue_withdrawn(c, "web");
  catalogue_withdrawn(c, "never");
  catalogue_up(c, "web");
  while (catalogue_count(c) == 2)
    uv_run(&loop, UV_RUN_ONCE);
  while (catalogue_find(c, "web") == CATALOGUE_NONE)
    uv_run(&loop, UV_RUN_ONCE);
  ck_assert_int_eq(catalogue_find(c, "web"), CATALOGUE_ONLINE);
  ck_assert_int_eq(catalogue_find(c, "never"), CATALOGUE_NONE);
}
END_TEST

START_TEST(what_is_hidden_does_not_outlive_the_router)
{
  catalogue_up(c, "web");
  catalogue_withdrawn(c, "web");
  catalogue_lost(c);
  ck_assert_uint_eq(catalogue_count(c), 0);
  catalogue_up(c, "web");
  catalogue_lost(c);
  catalogue_withdrawn(c, "web");
  ck_assert_uint_eq(catalogue_count(c), 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon catalogue");
  TCase *t = tcase_create("names");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, names_come_and_go);
  tcase_add_test(t, names_that_cannot_be_shown_are_refused);
  tcase_add_test(t, a_lost_router_leaves_its_names_offline);
  tcase_add_test(t, what_is_missing_is_offline_for_a_while);
  tcase_add_test(t, a_router_with_many_names_starts_anew);
  tcase_add_test(t, our_own_name_that_is_missing_is_gone);
  tcase_add_test(t, our_own_name_is_hidden_until_it_is_gone);
  tcase_add_test(t, late_news_of_our_own_name_is_hidden_too);
  tcase_add_test(t, what_is_hidden_and_stays_is_somebody_elses);
  tcase_add_test(t, what_is_hidden_does_not_outlive_the_router);
  suite_add_tcase(s, t);
  return s;
}
