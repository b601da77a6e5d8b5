/* What the address parsers take, what they refuse, and that they say why. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/address.h"

#include "runner.h"

#define LABEL63 "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0"
#define PATH107                                                                                                        \
  "/abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz01234567"
#define HOST253                                                                                                        \
  LABEL63 "." LABEL63 "." LABEL63 "."                                                                                  \
          "abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxy"

typedef int (*parse_cb)(const char *text, struct address *out, const char **why);

static int parse_router(const char *text, struct address *out, const char **why)
{
  return address_parse_router(text, 443, out, why);
}

struct row {
  parse_cb parse;
  const char *text;
  const char *formatted; /* NULL: refused */
  int error;
  const char *why; /* a part of it */
};

static const struct row rows[] = {
    {address_parse_target, "localhost:8080", "localhost:8080", 0, NULL},
    {address_parse_target, "My-Host.example.org.:1", "My-Host.example.org.:1", 0, NULL},
    {address_parse_target, "a_b:65535", "a_b:65535", 0, NULL},
    {address_parse_target, "10.0.0.1:00080", "10.0.0.1:80", 0, NULL},
    {address_parse_target, "[::1]:80", "[::1]:80", 0, NULL},
    {address_parse_target, "[0:0:0:0:0:0:0:1]:80", "[::1]:80", 0, NULL},
    {address_parse_target, "[::ffff:1.2.3.4]:80", "[::ffff:1.2.3.4]:80", 0, NULL},
    {address_parse_target, "unix:/run/x y", "unix:/run/x y", 0, NULL},
    {address_parse_target, "unix:" PATH107, "unix:" PATH107, 0, NULL},
    {address_parse_target, LABEL63 ":1", LABEL63 ":1", 0, NULL},
    {address_parse_target, HOST253 ":1", HOST253 ":1", 0, NULL},
    {address_parse_target, "0x.example:1", "0x.example:1", 0, NULL},

    {address_parse_target, "8080", "localhost:8080", 0, NULL},

    {address_parse_target, "", NULL, -EINVAL, "empty: write PORT, HOST:PORT"},
    {address_parse_target, ":8080", NULL, -EINVAL, "the host is missing: write PORT for localhost, or HOST:PORT"},
    {address_parse_target, "0", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "70000", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost", NULL, -EINVAL, "no port: write HOST:PORT"},
    {address_parse_target, "localhost:", NULL, -EINVAL, "no port: write HOST:PORT"},
    {address_parse_target, "localhost:0", NULL, -EINVAL, "port is not a number from 1 to 65535"},
    {address_parse_target, "localhost:65536", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:4294967376", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:18446744073709551696", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:000080", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:+80", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:-1", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost: 80", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:80 ", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:0x50", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "localhost:http", NULL, -EINVAL, "from 1 to 65535"},
    {address_parse_target, "local host:80", NULL, -EINVAL, "character that host names cannot have"},
    {address_parse_target, "h\303\266st:80", NULL, -EINVAL, "character that host names cannot have"},
    {address_parse_target, "a/b:80", NULL, -EINVAL, "character that host names cannot have"},
    {address_parse_target, "-a:80", NULL, -EINVAL, "hyphen"},
    {address_parse_target, "a-.b:80", NULL, -EINVAL, "hyphen"},
    {address_parse_target, "a..b:80", NULL, -EINVAL, "empty label"},
    {address_parse_target, ".a:80", NULL, -EINVAL, "empty label"},
    {address_parse_target, "a..:80", NULL, -EINVAL, "empty label"},
    {address_parse_target, ".:80", NULL, -EINVAL, "empty label"},
    {address_parse_target, "127.1:80", NULL, -EINVAL, "neither a name nor a complete IPv4 address"},
    {address_parse_target, "256.0.0.1:80", NULL, -EINVAL, "neither a name nor a complete IPv4 address"},
    {address_parse_target, "127.0.0.1.:80", NULL, -EINVAL, "neither a name nor a complete IPv4 address"},
    {address_parse_target, "0x7f000001:80", NULL, -EINVAL, "neither a name nor a complete IPv4 address"},
    {address_parse_target, "127.0.0.0x1:80", NULL, -EINVAL, "neither a name nor a complete IPv4 address"},
    {address_parse_target, LABEL63 "a:1", NULL, -ENAMETOOLONG, "label longer than 63"},
    {address_parse_target, HOST253 "z:1", NULL, -ENAMETOOLONG, "longer than 253"},
    {address_parse_target, "::1:80", NULL, -EINVAL, "[V6]:PORT"},
    {address_parse_target, "a:b:80", NULL, -EINVAL, "more than one colon"},
    {address_parse_target, "http://localhost:80", NULL, -EINVAL, "URL"},
    {address_parse_target, "[::1]", NULL, -EINVAL, "no port"},
    {address_parse_target, "[::1]80", NULL, -EINVAL, "only :PORT may follow"},
    {address_parse_target, "[::1:80", NULL, -EINVAL, "not closed"},
    {address_parse_target, "[]:80", NULL, -EINVAL, "no IPv6 address"},
    {address_parse_target, "[localhost]:80", NULL, -EINVAL, "no IPv6 address"},
    {address_parse_target, "[1.2.3.4]:80", NULL, -EINVAL, "no IPv6 address"},
    {address_parse_target, "[" LABEL63 "]:80", NULL, -EINVAL, "no IPv6 address"},
    {address_parse_target, "[fe80::1%eth0]:80", NULL, -EINVAL, "zone"},
    {address_parse_target, "unix:", NULL, -EINVAL, "unix:/PATH"},
    {address_parse_target, "unix:run/x", NULL, -EINVAL, "unix:/PATH"},
    {address_parse_target, "/run/x", NULL, -EINVAL, "write unix:/PATH"},
    {address_parse_target, "unix:/", NULL, -EINVAL, "ends in a slash"},
    {address_parse_target, "unix:/run/x\ty", NULL, -EINVAL, "control character"},
    {address_parse_target, "unix:/run/x\177", NULL, -EINVAL, "control character"},
    {address_parse_target, "unix:" PATH107 "z", NULL, -ENAMETOOLONG, "longer than 107"},

    {address_parse_listener, "9000", "127.0.0.1:9000", 0, NULL},
    {address_parse_listener, "0", "127.0.0.1:0", 0, NULL},
    {address_parse_listener, "localhost:0", "localhost:0", 0, NULL},
    {address_parse_listener, "0.0.0.0:9000", "0.0.0.0:9000", 0, NULL},
    {address_parse_listener, "[::]:9000", "[::]:9000", 0, NULL},
    {address_parse_listener, "unix:/run/x", "unix:/run/x", 0, NULL},
    {address_parse_listener, "", NULL, -EINVAL, "write PORT, HOST:PORT or unix:/PATH"},
    {address_parse_listener, "65536", NULL, -EINVAL, "from 0 to 65535"},
    {address_parse_listener, "99999999999999999999", NULL, -EINVAL, "from 0 to 65535"},
    {address_parse_listener, "-1", NULL, -EINVAL, "hyphen"},
    {address_parse_listener, "localhost", NULL, -EINVAL, "no port"},
    {address_parse_listener, ":9000", NULL, -EINVAL, "0.0.0.0:PORT for all v4 addresses, or [::]:PORT for all v6 ones"},
    {address_parse_listener, "*:9000", NULL, -EINVAL, "0.0.0.0:PORT"},
    {address_parse_listener, "9000 9001", NULL, -EINVAL, "character"},
    {address_parse_listener, "9000,9001", NULL, -EINVAL, "character"},
    {address_parse_listener, "/run/x", NULL, -EINVAL, "write unix:/PATH"},

    {parse_router, "router.example.org", "router.example.org:443", 0, NULL},
    {parse_router, "localhost:7000", "localhost:7000", 0, NULL},
    {parse_router, "[::1]", "[::1]:443", 0, NULL},
    {parse_router, "[::1]:7000", "[::1]:7000", 0, NULL},
    {parse_router, "", NULL, -EINVAL, "HOST or HOST:PORT"},
    {parse_router, ":7000", NULL, -EINVAL, "HOST or HOST:PORT"},
    {parse_router, "localhost:", NULL, -EINVAL, "no port"},
    {parse_router, "localhost:0", NULL, -EINVAL, "from 1 to 65535"},
    {parse_router, "7000", NULL, -EINVAL, "neither a name nor"},
    {parse_router, "::1", NULL, -EINVAL, "[V6]:PORT"},
    {parse_router, "unix:/run/x", NULL, -EINVAL, "by TCP"},
    {parse_router, "unix", NULL, -EINVAL, "by TCP"},
    {parse_router, "/run/x", NULL, -EINVAL, "by TCP"},
    {parse_router, "grpc://router.example.org", NULL, -EINVAL, "URL"},
    {parse_router, "router.example.org/", NULL, -EINVAL, "write HOST or HOST:PORT"},
    {parse_router, "router.example.org:443/path", NULL, -EINVAL, "write HOST or HOST:PORT"},
};

START_TEST(test_rows)
{
  const struct row *row = &rows[_i];
  char text[ADDRESS_TEXT_MAX];
  const char *why = NULL;
  struct address a;

  ck_assert_msg(row->parse(row->text, &a, &why) == row->error, "\"%s\": %s", row->text, why);
  if (row->formatted != NULL)
    ck_assert_str_eq(address_format(&a, text), row->formatted);
  else
    ck_assert_msg(strstr(why, row->why) != NULL, "\"%s\": \"%s\" does not say \"%s\"", row->text, why, row->why);
}
END_TEST

START_TEST(test_formatted_parses_again)
{
  char text[ADDRESS_TEXT_MAX];
  const char *why;
  struct address a;
  struct address b;

  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    if (rows[i].formatted == NULL)
      continue;
    ck_assert_int_eq(rows[i].parse(rows[i].text, &a, &why), 0);
    ck_assert_int_eq(rows[i].parse(address_format(&a, text), &b, &why), 0);
    ck_assert(address_equal(&a, &b));
  }
}
END_TEST

/* What can become an address, and what cannot, each for a listener and a target. */
static const struct {
  const char *text;
  const char *why; /* NULL: it can */
} begun[] = {
    {"", NULL},
    {"9", NULL},
    {"65535", NULL},
    {"00080", NULL},
    {"9000 ", NULL},
    {"9000\r", NULL},
    {"9000 x", "character"},
    {"9000,", "character"},
    {"65536", "65535"},
    {"70000", "65535"},
    {"000080", "65535"},
    {"70000.example", NULL},
    {"123456789abc", NULL},
    {"localhost", NULL},
    {"localhost.", NULL},
    {"localhost-", NULL},
    {"localhost:", NULL},
    {"localhost:8", NULL},
    {"localhost:80 ", NULL},
    {"localhost:70000", "65535"},
    {"localhost:http", "65535"},
    {"localhost:80 8", "65535"},
    {"127.", NULL},
    {"127.1", NULL},
    {"0x7f000001", NULL},
    {"h\303", "character"},
    {"local host", "character"},
    {"-", "hyphen"},
    {"a-.", "hyphen"},
    {"a..", "empty label"},
    {".", "empty label"},
    {LABEL63, NULL},
    {LABEL63 "a", "63"},
    {HOST253, NULL},
    {HOST253 ":", NULL},
    {HOST253 "z", "253"},
    {"http:/", "65535"},
    {"http://", "URL"},
    {"a:b", "65535"},
    {"a:80:", "colon"},
    {":", "the host is missing"},
    {"::1", "colon"},
    {"u", NULL},
    {"unix", NULL},
    {"unix:", NULL},
    {"unix:/", NULL},
    {"unix:/run/", NULL},
    {"unix:/a ", NULL},
    {"unix:a", "not absolute"},
    {"unix:/\t", "control"},
    {"unix:" PATH107, NULL},
    {"unix:" PATH107 "z", "107"},
    {"/", "unix:/PATH"},
    {"[", NULL},
    {"[:", NULL},
    {"[::", NULL},
    {"[1", NULL},
    {"[12345", "no IPv6"},
    {"[1:2:3:4:5:6:7:", NULL},
    {"[1:2:3:4:5:6:7:8", NULL},
    {"[1:2:3:4:5:6:7:8:", "no IPv6"},
    {"[1::2:", NULL},
    {"[1::2::", "no IPv6"},
    {"[::ffff:1.", NULL},
    {"[::ffff:1.2.3", NULL},
    {"[::ffff:1.2.300", "no IPv6"},
    {"[fe80::1%", "zone"},
    {"[x", "no IPv6"},
    {"[::1]", NULL},
    {"[::1]:", NULL},
    {"[::1]:80", NULL},
    {"[::1]8", "may follow"},
    {"[::1]:70000", "65535"},
};

START_TEST(test_what_can_become_one)
{
  const char *why = NULL;
  int listener = address_begun_listener(begun[_i].text, &why);
  int target = address_begun_target(begun[_i].text, &why);

  ck_assert_msg((listener == 0) == (begun[_i].why == NULL), "\"%s\": %d", begun[_i].text, listener);
  ck_assert_int_eq(target, listener);
  ck_assert_msg(begun[_i].why == NULL || strstr(why, begun[_i].why) != NULL, "\"%s\": %s", begun[_i].text, why);
}
END_TEST

/* But a number that is no port, which is said at once. */
START_TEST(test_all_that_is_good_can_be_begun)
{
  char text[ADDRESS_TEXT_MAX + 200];
  const char *why = NULL;

  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    size_t size = strlen(rows[i].text);

    if (rows[i].parse == parse_router || rows[i].error != 0)
      continue;
    for (size_t j = 0; j <= size; j++) {
      snprintf(text, sizeof(text), "%.*s", (int)j, rows[i].text);
      ck_assert_msg(address_begun_listener(text, &why) == 0, "\"%s\": %s", text, why);
      ck_assert_msg(rows[i].parse == address_parse_listener || address_begun_target(text, &why) == 0, "\"%s\"", text);
    }
  }
}
END_TEST

static struct address target(const char *text)
{
  const char *why;
  struct address a;

  ck_assert_int_eq(address_parse_listener(text, &a, &why), 0);
  return a;
}

static bool equal(const char *a, const char *b)
{
  const struct address left = target(a);
  const struct address right = target(b);

  return address_equal(&left, &right);
}

START_TEST(test_equal)
{
  ck_assert(equal("LocalHost:80", "localhost:80"));
  ck_assert(equal("[0::1]:80", "[::1]:80"));
  ck_assert(equal("80", "127.0.0.1:80"));
  ck_assert(equal("unix:/a", "unix:/a"));
  ck_assert(!equal("localhost:80", "localhost:81"));
  ck_assert(!equal("localhost:80", "127.0.0.1:80"));
  ck_assert(!equal("unix:/a", "unix:/A"));
  ck_assert(!equal("unix:/a", "a:1"));
}
END_TEST

static bool loopback(const char *text)
{
  const struct address a = target(text);

  return address_is_loopback(&a);
}

START_TEST(test_loopback)
{
  ck_assert(loopback("localhost:1"));
  ck_assert(loopback("LOCALHOST:1"));
  ck_assert(loopback("127.0.0.1:1"));
  ck_assert(loopback("127.255.3.4:1"));
  ck_assert(loopback("[::1]:1"));
  ck_assert(loopback("unix:/x"));
  ck_assert(!loopback("localhost.example.org:1"));
  ck_assert(!loopback("128.0.0.1:1"));
  ck_assert(!loopback("0.0.0.0:1"));
  ck_assert(!loopback("[::]:1"));
  ck_assert(!loopback("[::ffff:127.0.0.1]:1"));
}
END_TEST

START_TEST(test_leads_to)
{
  static const struct {
    const char *target, *listener;
    bool leads;
  } cases[] = {
      {"localhost:1", "127.0.0.1:1", true},
      {"127.0.0.1:1", "localhost:1", true},
      {"LOCALHOST:1", "[::1]:1", true},
      {"127.0.0.2:1", "0.0.0.0:1", true},
      {"0.0.0.0:1", "127.0.0.1:1", true},
      {"[::]:1", "[::1]:1", true},
      {"[::1]:1", "[::]:1", true},
      {"[0:0::1]:1", "[::1]:1", true},
      {"host:1", "HOST:1", true},
      {"unix:/a", "unix:/a", true},
      {"localhost:1", "127.0.0.1:2", false},
      {"127.0.0.1:1", "127.0.0.2:1", false},
      {"127.0.0.1:1", "[::1]:1", false},
      {"[::1]:1", "0.0.0.0:1", false},
      {"192.0.2.1:1", "127.0.0.1:1", false},
      {"192.0.2.1:1", "0.0.0.0:1", false},
      {"host:1", "other:1", false},
      {"unix:/a", "unix:/b", false},
      {"unix:/a", "127.0.0.1:1", false},
      {"127.0.0.1:1", "unix:/a", false},
  };

  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct address target, listener;
    const char *why;

    ck_assert_int_eq(address_parse_target(cases[i].target, &target, &why), 0);
    ck_assert_int_eq(address_parse_listener(cases[i].listener, &listener, &why), 0);
    ck_assert_msg(address_leads_to(&target, &listener) == cases[i].leads, "%s %s", cases[i].target, cases[i].listener);
  }
}
END_TEST

START_TEST(test_service_names)
{
  static const char *const good[] = {"a", "0", "web", "my-web-2", "a--b", LABEL63};
  static const struct {
    const char *name;
    int error;
  } bad[] = {
      {"", -EINVAL},
      {"-a", -EINVAL},
      {"a-", -EINVAL},
      {"-", -EINVAL},
      {"Web", -EINVAL},
      {"a.b", -EINVAL},
      {"a/b", -EINVAL},
      {"a_b", -EINVAL},
      {"..", -EINVAL},
      {"a b", -EINVAL},
      {"a\n", -EINVAL},
      {"w\303\266b", -EINVAL},
      {LABEL63 "a", -ENAMETOOLONG},
  };
  const char *why = NULL;

  for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
    ck_assert_msg(service_name_check(good[i], &why) == 0, "\"%s\": %s", good[i], why);
  for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
    ck_assert_msg(service_name_check(bad[i].name, &why) == bad[i].error, "\"%s\"", bad[i].name);
    ck_assert_ptr_nonnull(strstr(why, ": a name is 1 to 63 of a-z, 0-9 and inner hyphens"));
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("address");
  TCase *tcase = tcase_create("address");

  suite_add_tcase(suite, tcase);
  tcase_add_loop_test(tcase, test_rows, 0, sizeof(rows) / sizeof(rows[0]));
  tcase_add_test(tcase, test_formatted_parses_again);
  tcase_add_loop_test(tcase, test_what_can_become_one, 0, sizeof(begun) / sizeof(begun[0]));
  tcase_add_test(tcase, test_all_that_is_good_can_be_begun);
  tcase_add_test(tcase, test_equal);
  tcase_add_test(tcase, test_loopback);
  tcase_add_test(tcase, test_leads_to);
  tcase_add_test(tcase, test_service_names);
  return suite;
}
