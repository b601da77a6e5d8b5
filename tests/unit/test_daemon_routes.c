/* The routes of a gate. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "carry/link/link.h"
#include "carry/link/routes.h"
#include "proto/wire/public_name.h"
#include "runner.h"

static struct routes r;

static bool put(const char *service, const char *first, const char *second)
{
  struct public_name names[2];
  const char *why;
  size_t count = 0;

  if (first != NULL)
    ck_assert_int_eq(public_name_parse(first, false, &names[count++], &why), 0);
  if (second != NULL)
    ck_assert_int_eq(public_name_parse(second, false, &names[count++], &why), 0);
  return routes_put(&r, service, &(struct link_public){.names = names, .count = count});
}

static void check(const char *expected)
{
  const struct link_route *all;
  char text[512] = "";
  size_t count;

  ck_assert_int_eq(routes_list(&r, &all, &count), 0);
  for (size_t i = 0; i < count; i++)
    snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s=%s ", all[i].host, all[i].path, all[i].service);
  ck_assert_str_eq(text, expected);
}

START_TEST(what_is_told_is_listed)
{
  check("");
  ck_assert(put("web", "b.c", "a.b/x"));
  ck_assert(!put("web", "b.c", "a.b/x"));
  ck_assert(put("api", "a.b", "b.c"));
  ck_assert(!put("none", NULL, NULL));
  check("a.b=api a.b/x=web b.c=api b.c=web ");
  ck_assert(put("web", "b.c", NULL));
  check("a.b=api b.c=api b.c=web ");
  ck_assert(put("api", NULL, NULL));
  ck_assert(routes_drop(&r, "web"));
  ck_assert(!routes_drop(&r, "web"));
  check("");
}
END_TEST

START_TEST(ports_are_routes)
{
  struct public_name name;
  const struct link_route *all;
  const char *why;
  size_t count;

  ck_assert_int_eq(public_port_parse("2222", &name, &why), 0);
  ck_assert(routes_put(&r, "ssh", &(struct link_public){.names = &name, .count = 1}));
  put("web", "a.b", NULL);
  ck_assert_int_eq(routes_list(&r, &all, &count), 0);
  ck_assert_uint_eq(count, 2);
  ck_assert_uint_eq(all[0].port, 2222);
  ck_assert_str_eq(all[0].service, "ssh");
  ck_assert_uint_eq(all[1].port, 0);
  ck_assert(!all[0].per_client);
  ck_assert(!routes_put(&r, "ssh", &(struct link_public){.names = &name, .count = 1}));
  name.per_client = true;
  ck_assert(routes_put(&r, "ssh", &(struct link_public){.names = &name, .count = 1}));
  ck_assert_int_eq(routes_list(&r, &all, &count), 0);
  ck_assert(all[0].per_client);
  routes_free(&r);
}
END_TEST

START_TEST(rules_are_listed_with_each_name)
{
  struct public_name names[2];
  const struct link_route *all;
  const char *why;
  size_t count;
  struct link_public is = {.names = names, .count = 2, .rules = (const uint8_t *)"one", .rules_size = 3};

  ck_assert_int_eq(public_name_parse("a.b", false, &names[0], &why), 0);
  ck_assert_int_eq(public_name_parse("c.d", false, &names[1], &why), 0);
  ck_assert(routes_put(&r, "web", &is));
  ck_assert(!routes_put(&r, "web", &is));
  ck_assert_int_eq(routes_list(&r, &all, &count), 0);
  ck_assert_uint_eq(count, 2);
  for (size_t i = 0; i < count; i++) {
    ck_assert_uint_eq(all[i].rules_size, 3);
    ck_assert_mem_eq(all[i].rules, "one", 3);
  }
  is.rules = (const uint8_t *)"two";
  ck_assert(routes_put(&r, "web", &is));
  is.rules_size = 0;
  ck_assert(routes_put(&r, "web", &is));
  ck_assert(!routes_put(&r, "web", &is));
  routes_free(&r);
}
END_TEST

START_TEST(what_is_in_doubt_goes_later)
{
  uint64_t next;

  put("web", "a.b", NULL);
  put("api", "c.d", NULL);
  ck_assert(!routes_expire(&r, 0, &next));
  ck_assert_uint_eq(next, 0);
  routes_doubt(&r, "web", 100);
  routes_doubt(&r, "api", 200);
  routes_doubt(&r, "none", 300);
  ck_assert(!routes_expire(&r, 99, &next));
  ck_assert_uint_eq(next, 100);
  ck_assert(!put("api", "c.d", NULL));
  ck_assert(routes_expire(&r, 100, &next));
  ck_assert_uint_eq(next, 0);
  check("c.d=api ");
  routes_free(&r);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("routes");
  TCase *all = tcase_create("all");

  tcase_add_test(all, what_is_told_is_listed);
  tcase_add_test(all, ports_are_routes);
  tcase_add_test(all, rules_are_listed_with_each_name);
  tcase_add_test(all, what_is_in_doubt_goes_later);
  suite_add_tcase(suite, all);
  return suite;
}
