/* Whose word is taken for who the client is, and what of it. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gate/paths/forwarded.h"
#include "gate/paths/trust.h"
#include "proto/http1/parser.h"

#include "runner.h"

static struct trust trust;
static struct http1_parser parser;

static void setup(void)
{
  const char *why;
  trust = (struct trust){0};
  ck_assert_int_eq(trust_add(&trust, "10.0.0.0/8, 2001:db8::/32", &why), 0);
  http1_parser_init(&parser, false);
}

static void teardown(void)
{
  http1_parser_free(&parser);
}

static void read_head(const char *fields)
{
  char request[1024];
  enum http1_event event;
  snprintf(request, sizeof request, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", fields);
  http1_parser_feed(&parser, request, strlen(request), &event);
  ck_assert_int_eq(event, HTTP1_HEAD);
}

START_TEST(who_is_trusted)
{
  ck_assert(trust_has(&trust, "10.1.2.3:4567"));
  ck_assert(trust_has(&trust, "[2001:db8::1]:80"));
  ck_assert(trust_has(&trust, "[::ffff:10.1.2.3]:80"));
  ck_assert(!trust_has(&trust, "11.1.2.3:80"));
  ck_assert(!trust_has(&trust, "[2001:db9::1]:80"));
  ck_assert(!trust_has(&trust, "unix:pid 1 uid 0"));
  const char *why;
  ck_assert_int_eq(trust_add(&trust, "unix", &why), 0);
  ck_assert(trust_has(&trust, "unix:pid 1 uid 0"));
  ck_assert_int_eq(trust_add(&trust, ",", &why), -EINVAL);
}
END_TEST

static const char *const bad[] = {"", ",", "10.0.0.0/33", "localhost", "10.0.0.1,unux", "::/129"};

START_TEST(bad_lists)
{
  struct trust t = {0};
  const char *why = NULL;
  ck_assert_int_eq(trust_add(&t, bad[_i], &why), -EINVAL);
  ck_assert_ptr_nonnull(why);
}
END_TEST

START_TEST(too_many)
{
  struct trust t = {0};
  const char *why;
  for (int i = 0; i < TRUST_MAX; i++)
    ck_assert_int_eq(trust_add(&t, "10.0.0.1", &why), 0);
  ck_assert_int_eq(trust_add(&t, "10.0.0.1", &why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "too many"));
}
END_TEST

/* NULL: nothing is told. */
static const struct {
  const char *fields, *client;
} told[] = {
    {"", NULL},
    {"X-Forwarded-For: 198.51.100.7\r\n", "198.51.100.7:0"},
    {"X-Forwarded-For: 198.51.100.7:1234\r\n", "198.51.100.7:0"},
    {"X-Forwarded-For: 2001:db9::7\r\n", "[2001:db9::7]:0"},
    {"X-Forwarded-For: [2001:db9::7]\r\n", "[2001:db9::7]:0"},
    {"X-Forwarded-For: [2001:db9::7]:1234\r\n", "[2001:db9::7]:0"},
    {"X-Forwarded-For: ::ffff:198.51.100.7\r\n", "198.51.100.7:0"},
    {"X-Forwarded-For: 192.0.2.1, 198.51.100.7\r\n", "198.51.100.7:0"},
    {"X-Forwarded-For: 192.0.2.1, 198.51.100.7, 10.9.9.9\r\n", "198.51.100.7:0"},
    {"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 198.51.100.7,\r\n", "198.51.100.7:0"},
    {"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "198.51.100.7:0"},
    {"X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1:0"},
    {"X-Forwarded-For: 192.0.2.1, nonsense, 10.0.0.2\r\n", "10.0.0.2:0"},
    {"X-Forwarded-For: nonsense\r\n", NULL},
    {"X-Forwarded-For: 10.0.0.0/8\r\n", NULL},
    {"X-Forwarded-For: 1.2.3.4:5:6\r\n", NULL},
    {"X-Forwarded-For: unknown\r\n", NULL},
    {"X-Forwarded-For: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n", NULL},
    {"X-Forwarded-For: [\r\n", NULL},
    {"X-Forwarded-For: :\r\n", NULL},
    {"X-Forwarded-For: ]\r\n", NULL},
    {"X-Forwarded-For:\r\n", NULL},
};

START_TEST(who_the_client_is)
{
  char client[TRUST_CLIENT_SIZE] = "untouched";
  read_head(told[_i].fields);
  ck_assert_int_eq(trust_client(&trust, &parser.head, client), told[_i].client != NULL);
  ck_assert_str_eq(client, told[_i].client != NULL ? told[_i].client : "untouched");
}
END_TEST

static const struct {
  const char *fields;
  bool otherwise, https;
} ways[] = {
    {"", false, false},
    {"", true, true},
    {"X-Forwarded-Proto: https\r\n", false, true},
    {"X-Forwarded-Proto: HTTPS\r\n", false, true},
    {"X-Forwarded-Proto: http\r\n", true, false},
    {"X-Forwarded-Proto: ftp\r\n", true, true},
    {"X-Forwarded-Proto: ftp\r\n", false, false},
};

START_TEST(how_it_came)
{
  read_head(ways[_i].fields);
  ck_assert_int_eq(trust_https(&parser.head, ways[_i].otherwise), ways[_i].https);
}
END_TEST

static const struct {
  struct forwarded_by by;
  const char *fields, *written;
} written[] = {
    {{.client = "10.0.0.1:80", .peer = "10.0.0.1:80"},
     "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Host: b\r\n",
     "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"
     "Forwarded: for=10.0.0.1;host=\"a\";proto=http\r\n"},
    {{.client = "2.2.2.2:0", .peer = "10.0.0.1:80", .trusted = true, .https = true},
     "X-Forwarded-For: 1.2.3.4, 2.2.2.2\r\nForwarded: for=1.2.3.4\r\nX-Forwarded-Host: b\r\n",
     "X-Forwarded-For: 2.2.2.2, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\n"
     "Forwarded: for=2.2.2.2, for=10.0.0.1;host=\"a\";proto=https\r\n"},
    {{.client = "[2001:db8::1]:80", .peer = "[2001:db8::1]:80", .trusted = true},
     "",
     "X-Forwarded-For: 2001:db8::1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n"
     "Forwarded: for=\"[2001:db8::1]\";host=\"a\";proto=http\r\n"},
};

START_TEST(what_the_target_is_told)
{
  struct http1_out out = {0};
  read_head(written[_i].fields);
  forwarded_clean(&parser.head);
  forwarded_write(&out, &parser.head, &written[_i].by, (struct http1_text){"a", 1});
  http1_out_put(&out, "", 1);
  ck_assert(!out.failed);
  ck_assert_str_eq(out.bytes, written[_i].written);
  http1_out_free(&out);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("gate trust");
  TCase *each = tcase_create("each");
  tcase_add_checked_fixture(each, setup, teardown);
  tcase_add_test(each, who_is_trusted);
  tcase_add_loop_test(each, bad_lists, 0, (int)(sizeof bad / sizeof *bad));
  tcase_add_test(each, too_many);
  tcase_add_loop_test(each, who_the_client_is, 0, (int)(sizeof told / sizeof *told));
  tcase_add_loop_test(each, how_it_came, 0, (int)(sizeof ways / sizeof *ways));
  tcase_add_loop_test(each, what_the_target_is_told, 0, (int)(sizeof written / sizeof *written));
  suite_add_tcase(suite, each);
  return suite;
}
