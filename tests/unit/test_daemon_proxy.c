/* Which proxy the environment names, and for whom. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/proxy.h"

#include "runner.h"

static const char *environment[8][2];

static char *get(const char *name)
{
  for (int i = 0; environment[i][0] != NULL; i++)
    if (strcmp(environment[i][0], name) == 0)
      return (char *)(uintptr_t)environment[i][1];
  return NULL;
}

static const struct {
  const char *set[4][2];
  const char *router;
  const char *proxy, *login, *variable; /* NULL: none */
} finds[] = {
    {{{"http_proxy", "http://p.test:3128"}}, "r.test:443", "p.test:3128", "", "http_proxy"},
    {{{"http_proxy", "http://a:1"}, {"https_proxy", "http://b:2/"}}, "r.test:443", "b:2", "", "https_proxy"},
    {{{"grpc_proxy", "http://c:3"}, {"https_proxy", "http://b:2/"}}, "r.test:443", "c:3", "", "grpc_proxy"},
    {{{"http_proxy", "HTTP://user:p%40ss%3a@[2001:db8::1]:8080"}},
     "r:1",
     "[2001:db8::1]:8080",
     "user:p@ss:",
     "http_proxy"},
    {{{"http_proxy", "p.test"}}, "r.test:443", "p.test:80", "", "http_proxy"},
    /* Set to nothing: none, whatever follows. */
    {{{"grpc_proxy", ""}, {"http_proxy", "http://a:1"}}, "r.test:443", NULL, NULL, NULL},
    {{{NULL, NULL}}, "r.test:443", NULL, NULL, NULL},
    /* What cannot be used. */
    {{{"http_proxy", "socks5://p.test:1080"}}, "r.test:443", NULL, NULL, NULL},
    {{{"http_proxy", "http://"}}, "r.test:443", NULL, NULL, NULL},
    {{{"http_proxy", "http://p:99999"}}, "r.test:443", NULL, NULL, NULL},
    {{{"http_proxy", "http://a%4@p:1"}}, "r.test:443", NULL, NULL, NULL},
    {{{"http_proxy", "http://a%@p:1"}}, "r.test:443", NULL, NULL, NULL},
    {{{"HTTP_PROXY", "http://p:1"}}, "r.test:443", NULL, NULL, NULL},
    /* Not for this one. */
    {{{"http_proxy", "http://p:1"}}, "127.0.0.1:7000", NULL, NULL, NULL},
    {{{"http_proxy", "http://p:1"}}, "localhost:7000", NULL, NULL, NULL},
    {{{"http_proxy", "http://p:1"}}, "x.localhost:7000", NULL, NULL, NULL},
    {{{"http_proxy", "http://p:1"}, {"no_proxy", "x, .test"}}, "r.test:443", NULL, NULL, NULL},
    {{{"http_proxy", "http://p:1"}, {"no_proxy", "test"}, {"no_grpc_proxy", ""}},
     "r.test:443",
     "p:1",
     "",
     "http_proxy"},
};

START_TEST(test_find)
{
  struct address router;
  struct proxy proxy;
  const char *why;
  char text[ADDRESS_TEXT_MAX];

  memset(environment, 0, sizeof environment);
  memcpy(environment, finds[_i].set, sizeof finds[_i].set);
  ck_assert_int_eq(address_parse_router(finds[_i].router, 443, &router, &why), 0);
  bool found = proxy_find(&proxy, &router, get);
  ck_assert_int_eq(found, finds[_i].proxy != NULL);
  if (!found)
    return;
  ck_assert_str_eq(address_format(&proxy.address, text), finds[_i].proxy);
  ck_assert_str_eq(proxy.login, finds[_i].login);
  ck_assert_str_eq(proxy.variable, finds[_i].variable);
}
END_TEST

static const struct {
  const char *list, *host;
  bool has;
} lists[] = {
    {"", "r.test", false},
    {"*", "r.test", true},
    {" , ,r.test", "R.Test", true},
    {"test", "r.test", true},
    {".test", "r.test", true},
    {"*.test", "r.test", true},
    {"est", "r.test", false},
    {".", "r.test", false},
    {"a.r.test", "r.test", false},
    {"192.0.2.7", "192.0.2.7", true},
    {"192.0.2.0/24", "192.0.2.7", true},
    {"192.0.2.0/29", "192.0.2.8", false},
    {"0.0.0.0/0", "192.0.2.8", true},
    {"192.0.2.0/33", "192.0.2.0", false},
    {"2001:db8::/33", "2001:db8:7fff::1", true},
    {"2001:db8::/33", "2001:db8:8000::1", false},
    {"10.0.0.0/8", "2001:db8::1", false},
    {"2", "192.0.2.2", false},
    {"10.0.0.0/8", "r.test", false},
};

START_TEST(test_list)
{
  ck_assert_int_eq(proxy_list_has(lists[_i].list, lists[_i].host), lists[_i].has);
}
END_TEST

/* Longer than anything that is meant. */
START_TEST(test_long)
{
  char list[5000], login[1200];
  struct address router = {.kind = ADDRESS_TCP, .host = "r.test", .port = 443};
  struct proxy proxy;

  memset(list, 'x', sizeof list - 1);
  list[sizeof list - 1] = '\0';
  memcpy(list + 4000, ",r.test,", 8);
  ck_assert(proxy_list_has(list, "r.test"));
  snprintf(login, sizeof login, "http://%.1000s@p.test:1", list);
  memset(environment, 0, sizeof environment);
  environment[0][0] = "http_proxy";
  environment[0][1] = login;
  ck_assert(!proxy_find(&proxy, &router, get));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("proxy");
  TCase *tcase = tcase_create("proxy");

  suite_add_tcase(suite, tcase);
  tcase_add_loop_test(tcase, test_find, 0, sizeof finds / sizeof *finds);
  tcase_add_loop_test(tcase, test_list, 0, sizeof lists / sizeof *lists);
  tcase_add_test(tcase, test_long);
  return suite;
}
