/* What is said of requests: lines as they are written and kept, texts of them, networks, and the message. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/rules/network.h"
#include "proto/rules/rule_line.h"
#include "runner.h"

#define HASH "$argon2id$v=19$m=65536,t=2,p=1$qwertyuiopasdfghjklzxA$qwertyuiopasdfghjklzxcvbnmqwertyuiopasdfghA"

static void kept(enum rule_kind kind, const char *text, const char *expected)
{
  char line[RULE_LINE_SIZE], again[RULE_LINE_SIZE];
  const char *why = NULL;

  ck_assert_int_eq(rule_line_check(kind, text, line, &why), expected != NULL ? 0 : -EINVAL);
  if (expected == NULL) {
    ck_assert_ptr_nonnull(why);
    return;
  }
  ck_assert_str_eq(line, expected);
  ck_assert_int_eq(rule_line_check(kind, line, again, &why), 0);
  ck_assert_str_eq(again, line);
}

START_TEST(networks_are_kept_as_they_count)
{
  kept(RULE_CLIENTS, "203.0.113.7", "203.0.113.7");
  kept(RULE_CLIENTS, "203.0.113.7/32", "203.0.113.7");
  kept(RULE_CLIENTS, "203.0.113.7/24", "203.0.113.0/24");
  kept(RULE_CLIENTS, "203.0.113.7/0", "0.0.0.0/0");
  kept(RULE_CLIENTS, "2001:DB8::1/33", "2001:db8::/33");
  kept(RULE_CLIENTS, "2001:db8::1", "2001:db8::1");
  kept(RULE_CLIENTS, "::ffff:10.1.2.3/104", "10.0.0.0/8");
  kept(RULE_CLIENTS, "::ffff:10.1.2.3", "10.1.2.3");
  kept(RULE_CLIENTS, "::/0", "::/0");
  static const char *const bad[] = {"",          "10.0.0.1/33", "::1/129", "10.0.0.1/",    "10.0.0.1/01", "10.0.0.1/+1",
                                    "010.0.0.1", "10.0.0",      "a",       "fe80::1%eth0", "[::1]",       "10.0.0.1 "};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    kept(RULE_CLIENTS, bad[i], NULL);
}
END_TEST

static bool in(const char *network, const char *client)
{
  struct network n, c;
  const char *why;

  ck_assert_int_eq(network_parse(network, strlen(network), &n, &why), 0);
  return network_of_client(client, &c) && network_has(&n, &c);
}

START_TEST(clients_are_in_networks)
{
  ck_assert(in("10.0.0.0/8", "10.255.0.1:1"));
  ck_assert(!in("10.0.0.0/8", "11.0.0.1:1"));
  ck_assert(in("10.0.0.0/9", "10.127.0.1:1"));
  ck_assert(!in("10.0.0.0/9", "10.128.0.1:1"));
  ck_assert(in("10.0.0.0/8", "[::ffff:10.0.0.1]:1"));
  ck_assert(in("0.0.0.0/0", "1.2.3.4:1"));
  ck_assert(!in("0.0.0.0/0", "[2001:db8::1]:1"));
  ck_assert(!in("::/0", "1.2.3.4:1"));
  ck_assert(!in("::/0", "[::ffff:1.2.3.4]:1"));
  ck_assert(in("::/0", "[2001:db8::1]:1"));
  ck_assert(in("fe80::/10", "[fe80::1%eth0]:1"));
  ck_assert(in("1.2.3.4", "1.2.3.4:1"));
  ck_assert(!in("1.2.3.4", "1.2.3.5:1"));
  ck_assert(!in("::/0", "unix:/x:1"));
  ck_assert(!in("::/0", "unix:"));
  ck_assert(!in("::/0", ""));
  ck_assert(!in("::/0", "[::1"));
  ck_assert(!in("::/0", "[::1:1"));
}
END_TEST

START_TEST(fields_are_checked)
{
  kept(RULE_HEADERS, "Host: localhost:5173", "Host: localhost:5173");
  kept(RULE_HEADERS, "X-A:b", "X-A: b");
  kept(RULE_HEADERS, "X-A: \t b\tc \t", "X-A: b\tc");
  kept(RULE_HEADERS, "X-A:", "X-A:");
  kept(RULE_HEADERS, "Authorization: Bearer a:b", "Authorization: Bearer a:b");
  static const char *const bad[] = {
      "",           "X-A",       "X A: b",        ": b",         "X-A : b",           "X-A: a\rb",
      "X-A: \x7f",  "Host: a b", "Host:",         "Host: a/b",   "CONTENT-LENGTH: 1", "te: x",
      "Trailer: x", "Expect: x", "keep-alive: x", "Forwarded: x"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    kept(RULE_HEADERS, bad[i], NULL);
}
END_TEST

START_TEST(users_are_kept_hashed)
{
  static const char long_hash[] = "alice:" HASH "=", longer_hash[] = "alice:" HASH "$";
  bool hashed;
  const char *why;

  kept(RULE_USERS, "alice:" HASH, "alice:" HASH);
  kept(RULE_USERS, "alice:secret", NULL);
  ck_assert_int_eq(rule_line_user("alice:secret", &hashed, &why), 0);
  ck_assert(!hashed);
  ck_assert_int_eq(rule_line_user("alice:a:b c", &hashed, &why), 0);
  ck_assert_int_eq(rule_line_user("alice:" HASH, &hashed, &why), 0);
  ck_assert(hashed);
  static const char *const bad[] = {
      "alice",
      ":secret",
      "alice:",
      "al\tice:secret",
      "alice:$argon2id$",
      "alice:$argon2id$v=19$m=65537,t=2,p=1$qwertyuiopasdfghjklzxA$qwertyuiopasdfghjklzxcvbnm",
      "alice:$argon2id$v=19$m=65536,t=5,p=1$qwertyuiopasdfghjklzxA$qwertyuiopasdfghjklzxcvbnm",
      "alice:$argon2id$v=19$m=65536,t=2,p=2$qwertyuiopasdfghjklzxA$qwertyuiopasdfghjklzxcvbnm",
      "alice:$argon2id$v=16$m=65536,t=2,p=1$qwertyuiopasdfghjklzxA$qwertyuiopasdfghjklzxcvbnm",
      long_hash,
      longer_hash};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_assert_int_eq(rule_line_user(bad[i], &hashed, &why), -EINVAL);
}
END_TEST

static void text_is(const struct rules *r, enum rule_kind kind, const char *expected)
{
  ck_assert_uint_eq(r->of[kind].size, strlen(expected));
  if (expected[0] != '\0')
    ck_assert_mem_eq(r->of[kind].at, expected, strlen(expected));
}

START_TEST(what_can_be_there_once_is_there_once)
{
  struct rules r = {0};

  ck_assert_int_eq(rules_add(&r, RULE_HEADERS, "X-A: 1", false), 0);
  ck_assert_int_eq(rules_add(&r, RULE_HEADERS, "X-B: 2", false), 0);
  ck_assert_int_eq(rules_add(&r, RULE_HEADERS, "x-a: 3", false), 0);
  text_is(&r, RULE_HEADERS, "x-a: 3\nX-B: 2\n");
  ck_assert_int_eq(rules_add(&r, RULE_USERS, "a:1", false), 0);
  ck_assert_int_eq(rules_add(&r, RULE_USERS, "A:2", false), 0);
  ck_assert_int_eq(rules_add(&r, RULE_USERS, "a:3", false), 0);
  text_is(&r, RULE_USERS, "a:3\nA:2\n");
  ck_assert_int_eq(rules_add(&r, RULE_CLIENTS, "1.2.3.4", false), 0);
  ck_assert_int_eq(rules_add(&r, RULE_CLIENTS, "1.2.3.4", false), 0);
  text_is(&r, RULE_CLIENTS, "1.2.3.4\n");
  ck_assert_int_eq(rules_add(&r, RULE_CLIENTS, "::1", true), 0);
  text_is(&r, RULE_CLIENTS, "::1\n");
  ck_assert_int_eq(rules_set(&r, RULE_CLIENTS, NULL, 0), 0);
  text_is(&r, RULE_CLIENTS, "");
  rules_free(&r);
}
END_TEST

START_TEST(it_is_bounded_and_packed)
{
  struct rules r = {0}, again;
  uint8_t *bytes, page[RULES_MAX + 1] = {'<', 0, 1};
  size_t size;

  ck_assert_int_eq(rules_pack(&r, &bytes, &size), 0);
  ck_assert_ptr_null(bytes);
  ck_assert_int_eq(rules_set(&r, RULE_OFFLINE, page, RULES_MAX + 1), -ENOSPC);
  ck_assert_int_eq(rules_set(&r, RULE_OFFLINE, page, RULES_MAX - 8), 0);
  ck_assert_int_eq(rules_add(&r, RULE_CLIENTS, "1.2.3.4", false), 0);
  ck_assert_int_eq(rules_add(&r, RULE_USERS, "a:b", false), -ENOSPC);
  ck_assert_uint_eq(rules_size(&r), RULES_MAX);
  ck_assert_int_eq(rules_pack(&r, &bytes, &size), 0);
  ck_assert_uint_le(size, RULES_PACKED_MAX);
  ck_assert_int_eq(rules_unpack(&again, bytes, size), 0);
  ck_assert_uint_eq(again.of[RULE_OFFLINE].size, RULES_MAX - 8);
  ck_assert_mem_eq(again.of[RULE_OFFLINE].at, page, RULES_MAX - 8);
  text_is(&again, RULE_CLIENTS, "1.2.3.4\n");
  rules_free(&again);
  ck_assert_int_eq(rules_unpack(&again, (const uint8_t *)"\x0a\xff", 2), -EINVAL);
  ck_assert_uint_eq(rules_size(&again), 0);
  free(bytes);
  rules_free(&r);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("rules");
  TCase *all = tcase_create("all");

  tcase_add_test(all, networks_are_kept_as_they_count);
  tcase_add_test(all, clients_are_in_networks);
  tcase_add_test(all, fields_are_checked);
  tcase_add_test(all, users_are_kept_hashed);
  tcase_add_test(all, what_can_be_there_once_is_there_once);
  tcase_add_test(all, it_is_bounded_and_packed);
  suite_add_tcase(suite, all);
  return suite;
}
