/* Which service a request is for, and what is remembered of hosts that have none any more. */
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "gate/paths/sites.h"
#include "runner.h"

static struct sites *sites;
static const char *found[4];

static void set_up(void)
{
  sites = sites_create();
  ck_assert_ptr_nonnull(sites);
}

static void tear_down(void)
{
  sites_free(sites);
}

static struct http1_text text(const char *s)
{
  return (struct http1_text){s, strlen(s)};
}

static size_t find(const char *host, const char *path)
{
  memset(found, 0, sizeof found);
  return sites_find(sites, text(host), text(path), found, 4);
}

static bool known(const char *host, uint64_t now)
{
  return sites_know(sites, text(host), now);
}

/* HOST, PATH, SERVICE, and so on; NULL at the end. */
static void list(const char *const *fields, uint64_t now)
{
  sites_begin(sites);
  for (; *fields != NULL; fields += 3)
    ck_assert_int_eq(sites_add(sites, fields[0], fields[1], fields[2]), 0);
  sites_settle(sites, now);
}

static const char *const three[] = {"a.test", "",       "app",   "a.test", "/api",   "api",     "a.test", "/api",
                                    "twin",   "b.test", "/only", "below",  "b.test", "/only/x", "deep",   NULL};

START_TEST(the_longest_path_wins)
{
  list(three, 0);
  ck_assert_uint_eq(find("a.test", "/"), 1);
  ck_assert_str_eq(found[0], "app");
  ck_assert_uint_eq(find("A.Test", "/apis"), 1);
  ck_assert_str_eq(found[0], "app");
  ck_assert_uint_eq(find("a.test", "/api?q"), 2);
  ck_assert_str_eq(found[0], "api");
  ck_assert_str_eq(found[1], "twin");
  ck_assert_uint_eq(find("a.test", "*"), 1);
  ck_assert_uint_eq(find("b.test", "/"), 0);
  ck_assert_uint_eq(find("b.test", "/only/x/y"), 1);
  ck_assert_str_eq(found[0], "deep");
  ck_assert_uint_eq(find("", "/"), 0);
  ck_assert_uint_eq(find("a.tes", "/"), 0);
  ck_assert_uint_eq(find("a.test.", "/"), 0);
  ck_assert_uint_eq(find("c.test", "/"), 0);
}
END_TEST

START_TEST(what_has_gone_is_known_for_a_while)
{
  static const char *const one[] = {"b.test", "", "app", NULL}, *const none[] = {NULL};
  ck_assert(known("nobody.test", 0)); /* nobody can say yet */
  list(three, 0);
  ck_assert(!known("nobody.test", 0));
  ck_assert(known("b.test", 0));
  list(one, 1000);
  ck_assert(!sites_have(sites, text("a.test")) && sites_have(sites, text("B.test")));
  ck_assert_uint_eq(find("a.test", "/"), 0);
  ck_assert(known("A.test", 1000));
  ck_assert(known("a.test", 1000 + SITES_LEFT_MS - 1));
  ck_assert(!known("a.test", 1000 + SITES_LEFT_MS));
  list(none, 2000);
  list(three, 3000); /* it is there again, and goes again */
  list(none, 4000);
  ck_assert(known("a.test", 4000 + SITES_LEFT_MS - 1));
  ck_assert(!known("a.test", 4000 + SITES_LEFT_MS));
  list(none, 4000 + SITES_LEFT_MS);
  ck_assert(!known("a.test", 4000)); /* forgotten */
}
END_TEST

START_TEST(what_has_gone_is_bounded)
{
  static const char *const none[] = {NULL};
  char host[32];
  sites_begin(sites);
  for (unsigned i = 0; i <= SITES_LEFT_MAX; i++) {
    snprintf(host, sizeof host, "h%05u.test", i);
    ck_assert_int_eq(sites_add(sites, host, "", "app"), 0);
  }
  sites_settle(sites, 0);
  ck_assert_uint_eq(find("h00000.test", "/"), 1);
  ck_assert_uint_eq(find(host, "/"), 1);
  list(none, 0);
  ck_assert(!known("h00000.test", 0));
  ck_assert(known("h00001.test", 0));
  ck_assert(known(host, 0));
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("sites");
  TCase *c = tcase_create("sites");
  tcase_add_checked_fixture(c, set_up, tear_down);
  tcase_add_test(c, the_longest_path_wins);
  tcase_add_test(c, what_has_gone_is_known_for_a_while);
  tcase_add_test(c, what_has_gone_is_bounded);
  suite_add_tcase(s, c);
  return s;
}
