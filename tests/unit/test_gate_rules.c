/* What owners say, as the gate asks it. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "gate/rules/rulesets.h"
#include "proto/rules/rules.h"
#include "runner.h"

static uint8_t *bytes;
static size_t size;

static void pack(const char *clients, const char *headers)
{
  struct rules r = {0};

  ck_assert_int_eq(rules_set(&r, RULE_CLIENTS, clients, strlen(clients)), 0);
  ck_assert_int_eq(rules_set(&r, RULE_HEADERS, headers, strlen(headers)), 0);
  free(bytes);
  ck_assert_int_eq(rules_pack(&r, &bytes, &size), 0);
  rules_free(&r);
}

static void tear_down(void)
{
  free(bytes);
  bytes = NULL;
}

START_TEST(what_is_not_understood_lets_nobody_in)
{
  pack("10.0.0.0/8\nwhat\n::1", "X-A: b\nnothing\nContent-Length: 3\nHost: c\n");
  struct ruleset *r = ruleset_create(bytes, size);
  ck_assert(ruleset_has_clients(r));
  ck_assert(ruleset_admits(r, "10.1.1.1:1") && ruleset_admits(r, "[::1]:1") && !ruleset_admits(r, "11.1.1.1:1"));
  const struct rewrite_fields *f = ruleset_fields(r);
  ck_assert_uint_eq(f->count, 2);
  ck_assert_str_eq(f->all[0].name, "X-A");
  ck_assert_str_eq(f->all[1].lower, "host");
  ruleset_free(r);
  pack("what\n", "");
  r = ruleset_create(bytes, size);
  ck_assert(ruleset_has_clients(r) && !ruleset_admits(r, "10.1.1.1:1"));
  ruleset_free(r);
  r = ruleset_create((const uint8_t *)"\x0a\xff", 2);
  ck_assert(ruleset_has_clients(r) && !ruleset_admits(r, "10.1.1.1:1"));
  ruleset_free(r);
  r = ruleset_create((const uint8_t *)"\x1a\x04"
                                      "a:b\n",
                     6);
  ck_assert(!ruleset_admits(r, "10.1.1.1:1"));
  ruleset_free(r);
  pack("", "X-A: b\n");
  r = ruleset_create(bytes, size);
  ck_assert(!ruleset_has_clients(r) && ruleset_admits(r, "unix:"));
  ruleset_free(r);
}
END_TEST

static void put(struct rulesets *all, const char *service)
{
  ck_assert_int_eq(rulesets_put(all, service, bytes, size), 0);
}

START_TEST(the_sets_follow_the_list)
{
  struct rulesets *all = rulesets_create();

  pack("10.0.0.0/8\n", "");
  ck_assert_ptr_null(rulesets_find(all, "web"));
  rulesets_begin(all);
  put(all, "web");
  put(all, "web");
  put(all, "api");
  rulesets_settle(all);
  const struct ruleset *web = rulesets_find(all, "web");
  ck_assert_ptr_nonnull(web);
  rulesets_begin(all);
  put(all, "web");
  rulesets_settle(all);
  ck_assert_ptr_eq(rulesets_find(all, "web"), web);
  ck_assert_ptr_null(rulesets_find(all, "api"));
  rulesets_begin(all);
  pack("11.0.0.0/8\n", "");
  put(all, "web");
  rulesets_settle(all);
  ck_assert(ruleset_admits(rulesets_find(all, "web"), "11.0.0.1:1"));
  rulesets_begin(all);
  size = 0;
  put(all, "web");
  rulesets_settle(all);
  ck_assert_ptr_null(rulesets_find(all, "web"));
  rulesets_free(all);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("gate rules");
  TCase *all = tcase_create("all");

  tcase_add_checked_fixture(all, NULL, tear_down);
  tcase_add_test(all, what_is_not_understood_lets_nobody_in);
  tcase_add_test(all, the_sets_follow_the_list);
  suite_add_tcase(suite, all);
  return suite;
}
