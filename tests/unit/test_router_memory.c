/* Memory runs short at each allocation in turn: what was asked for is refused, and nothing else changes. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rpc/rpc.h"
#include "router/door/callers.h"
#include "router/meet/dial.h"
#include "router/meet/tokens.h"
#include "router/meet/waiting.h"
#include "router/names/catalogue.h"
#include "router/names/registry.h"

#include "failing.h"
#include "runner.h"

static const struct registry_time some_time = {.seconds = 1};
static const size_t holds[CALLER_HOLDS] = {100, 100, 100, 100};
static int owner;

enum { MANY = 100 }; /* so that the tables grow, too */

START_TEST(test_registry)
{
  struct registry *r = NULL;
  for (size_t n = 1; !r; n++) {
    fail_allocation(n);
    r = registry_open(MANY, MANY);
  }
  fail_allocation(0);
  for (int i = 0; i < MANY; i++) {
    char name[16];
    int error = -ENOMEM;
    snprintf(name, sizeof name, "n%d", i);
    for (size_t n = 1; error; n++) {
      fail_allocation(n);
      error = registry_add(r, name, some_time, &owner);
      fail_allocation(0);
      ck_assert(error == 0 || error == -ENOMEM);
      ck_assert_uint_eq(registry_count(r), (size_t)i + (error == 0));
      ck_assert_ptr_eq(registry_find(r, name), error ? NULL : &owner);
    }
  }
  registry_close(r);
}
END_TEST

static void on_lost(struct token *t, void *arg)
{
  (void)t;
  (void)arg;
}

START_TEST(test_tokens)
{
  struct tokens *ts = NULL;
  for (size_t n = 1; !ts; n++) {
    fail_allocation(n);
    ts = tokens_open(MANY, 1000, on_lost, NULL);
  }
  fail_allocation(0);
  for (size_t i = 0; i < MANY; i++) {
    int error = -ENOMEM;
    for (size_t n = 1; error; n++) {
      struct token *t;
      fail_allocation(n);
      error = tokens_make(ts, 0, &t);
      fail_allocation(0);
      ck_assert(error == 0 || error == -ENOMEM);
      ck_assert_uint_eq(tokens_count(ts), i + (error == 0));
    }
  }
  tokens_close(ts);
}
END_TEST

START_TEST(test_callers)
{
  struct callers *cs = NULL;
  struct caller *held[MANY];
  struct member none = {0};
  for (size_t n = 1; !cs; n++) {
    fail_allocation(n);
    cs = callers_open(holds);
  }
  fail_allocation(0);
  for (int i = 0; i < MANY; i++) {
    char peer[16];
    int error = -ENOMEM;
    snprintf(peer, sizeof peer, "peer%d", i);
    for (size_t n = 1; error; n++) {
      fail_allocation(n);
      error = callers_hold(cs, &held[i], &none, peer, CALLER_STREAMS);
      fail_allocation(0);
      ck_assert(error == 0 || error == -ENOMEM);
    }
  }
  for (int i = 0; i < MANY; i++)
    callers_release(cs, held[i], CALLER_STREAMS);
  callers_close(cs);
}
END_TEST

START_TEST(test_waiting)
{
  struct waiting *w = NULL;
  static struct dial dials[MANY];
  for (size_t n = 1; !w; n++) {
    fail_allocation(n);
    w = waiting_open(MANY);
  }
  fail_allocation(0);
  for (int i = 0; i < MANY; i++) {
    char name[16];
    int error = -ENOMEM;
    snprintf(name, sizeof name, "n%d", i);
    dials[i].goal = goal_service(name, &leg_call);
    for (size_t n = 1; error; n++) {
      fail_allocation(n);
      error = waiting_add(w, &dials[i], &dials[i].goal);
      fail_allocation(0);
      ck_assert(error == 0 || error == -ENOMEM);
      ck_assert_ptr_eq(waiting_first(w, &dials[i].goal), error ? NULL : &dials[i]);
    }
  }
  for (int i = 0; i < MANY; i++)
    waiting_remove(w, &dials[i]);
  waiting_close(w);
}
END_TEST

START_TEST(test_catalogue)
{
  struct registry *r = registry_open(MANY, MANY);
  ck_assert_int_eq(registry_add(r, "web", some_time, &owner), 0);
  struct registry_cursor c = {0};
  struct catalogue_kept kept = {0};
  const struct catalogue_notes notes = {.heartbeat_ms = 1};
  /* Only what fails before gRPC comes in, which ends the process when memory runs short. */
  for (size_t n = 1; n <= 4; n++) {
    bool complete;
    fail_allocation(n);
    struct rpc_message *list = catalogue_list(&kept, r), *news = NULL;
    fail_allocation(n);
    if (!list)
      news = catalogue_news(r, &c, MANY, &notes, &complete);
    fail_allocation(0);
    rpc_message_free(list);
    rpc_message_free(news);
    if (list)
      break; /* nothing fails here */
    ck_assert_ptr_null(news);
    ck_assert(!c.started);
  }
  catalogue_forget(&kept);
  registry_close(r);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("memory");
  TCase *tcase = tcase_create("memory");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_registry);
  tcase_add_test(tcase, test_tokens);
  tcase_add_test(tcase, test_callers);
  tcase_add_test(tcase, test_waiting);
  tcase_add_test(tcase, test_catalogue);
  return suite;
}
