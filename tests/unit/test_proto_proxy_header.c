/* What a target is told of its client, byte for byte; and addresses, read and unread. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <string.h>

#include "proto/wire/end_address.h"
#include "proto/wire/proxy_header.h"

#include "runner.h"

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

static const struct {
  const char *client, *at;
  const char *text;   /* version 1 */
  const char *binary; /* version 2, after the signature */
  size_t size;
} rows[] = {
    {"192.0.2.1:4711", "198.51.100.7:443", "PROXY TCP4 192.0.2.1 198.51.100.7 4711 443\r\n",
     "\x21\x11\0\x0c\xc0\0\x02\x01\xc6\x33\x64\x07\x12\x67\x01\xbb", 16},
    {"[2001:db8::1]:65535", "[::1]:1", "PROXY TCP6 2001:db8::1 ::1 65535 1\r\n",
     "\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xff\xff\0\x01", 40},
    /* It is not known where the client came to, or that cannot be said beside the client. */
    {"192.0.2.1:4711", "", "PROXY TCP4 192.0.2.1 0.0.0.0 4711 0\r\n",
     "\x21\x11\0\x0c\xc0\0\x02\x01\0\0\0\0\x12\x67\0\0", 16},
    {"192.0.2.1:4711", "[::1]:80", "PROXY TCP4 192.0.2.1 0.0.0.0 4711 0\r\n",
     "\x21\x11\0\x0c\xc0\0\x02\x01\0\0\0\0\x12\x67\0\0", 16},
    {"[::1]:5", "", "PROXY TCP6 ::1 :: 5 0\r\n",
     "\x21\x21\0\x24\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0", 40},
    {"", "", "PROXY UNKNOWN\r\n", "\x20\0\0\0", 4},
    {"unix:/run/x", "127.0.0.1:1", "PROXY UNKNOWN\r\n", "\x20\0\0\0", 4},
};

START_TEST(both_versions)
{
  const struct end_addresses ends = {.client = end_address_parse(rows[_i].client),
                                     .client_at = end_address_parse(rows[_i].at)};
  char out[PROXY_HEADER_MAX];
  ck_assert_uint_eq(proxy_header_write(PROXY_OFF, &ends, out), 0);
  ck_assert_uint_eq(proxy_header_write(PROXY_V1, &ends, out), strlen(rows[_i].text));
  ck_assert_mem_eq(out, rows[_i].text, strlen(rows[_i].text));
  ck_assert_uint_eq(proxy_header_write(PROXY_V2, &ends, out), 12 + rows[_i].size);
  ck_assert_mem_eq(out, signature, 12);
  ck_assert_mem_eq(out + 12, rows[_i].binary, rows[_i].size);
}
END_TEST

START_TEST(the_longest_fits)
{
  static const char longest[] = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
  const struct end_addresses ends = {.client = end_address_parse(longest), .client_at = end_address_parse(longest)};
  char out[PROXY_HEADER_MAX];
  size_t size = proxy_header_write(PROXY_V1, &ends, out);
  ck_assert_uint_eq(size, 104);
  ck_assert_mem_eq(out + size - 8, " 65535\r\n", 8);
}
END_TEST

START_TEST(what_is_no_address_is_unknown)
{
  static const char *const bad[] = {
      "",      ":",       "1.2.3.4",      "1.2.3.4:", "1.2.3.4:x",    "1.2.3.4:65536", "1.2.3:4",     "::1:80",
      "[::1]", "[::1:80", "[1.2.3.4]:80", "[]:80",    "localhost:80", "1.2.3.4:-1",    "1.2.3.4: 80", "[fe80::1%1]:1"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_assert_msg(end_address_parse(bad[i]).size == 0, "%s", bad[i]);
}
END_TEST

START_TEST(a_mapped_address_is_an_ipv4_one)
{
  struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
  const struct sockaddr unix_name = {.sa_family = AF_UNIX};
  const struct end_address v4 = end_address_parse("192.0.2.1:80");
  ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:192.0.2.1", &name.sin6_addr), 1);
  struct end_address e = end_address_of((struct sockaddr *)&name);
  ck_assert_mem_eq(&e, &v4, sizeof e);
  ck_assert_uint_eq(end_address_of(&unix_name).size, 0);
}
END_TEST

START_TEST(versions_are_read_as_they_are_written)
{
  enum proxy_version version;
  for (int i = PROXY_OFF; i <= PROXY_V2; i++) {
    ck_assert_int_eq(proxy_version_parse(proxy_version_name((enum proxy_version)i), &version), 0);
    ck_assert_int_eq((int)version, i);
  }
  ck_assert_int_eq(proxy_version_parse("", &version), -EINVAL);
  ck_assert_int_eq(proxy_version_parse("v3", &version), -EINVAL);
  ck_assert_int_eq(proxy_version_parse("V1", &version), -EINVAL);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("proxy_header");
  TCase *all = tcase_create("all");
  tcase_add_loop_test(all, both_versions, 0, sizeof rows / sizeof *rows);
  tcase_add_test(all, the_longest_fits);
  tcase_add_test(all, what_is_no_address_is_unknown);
  tcase_add_test(all, a_mapped_address_is_an_ipv4_one);
  tcase_add_test(all, versions_are_read_as_they_are_written);
  suite_add_tcase(suite, all);
  return suite;
}
