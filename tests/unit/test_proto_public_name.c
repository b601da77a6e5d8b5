/* Public names as users write them, and the label that "auto" is. */
#include <check.h>
#include <errno.h>
#include <string.h>

#include "proto/wire/public_label.h"
#include "proto/wire/public_name.h"
#include "runner.h"

static struct public_name name;
static const char *why;

START_TEST(good_ones_are_read_and_written)
{
  static const struct {
    const char *text, *host, *path;
  } rows[] = {
      {"app", "app", ""},
      {"auto", "auto", ""},
      {"App.Example.COM", "app.example.com", ""},
      {"app.example.com/", "app.example.com", ""},
      {"app.example.com/api/v1/", "app.example.com", "/api/v1"},
      {"app/~x/a.b", "app", "/~x/a.b"},
      {"xn--bcher-kva.example", "xn--bcher-kva.example", ""},
      {"1.example", "1.example", ""},
  };
  char text[PUBLIC_TEXT_SIZE];
  struct public_name again;

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ck_assert_msg(public_name_parse(rows[i].text, false, &name, &why) == 0, "%s: %s", rows[i].text, why);
    ck_assert_str_eq(name.host, rows[i].host);
    ck_assert_str_eq(name.path, rows[i].path);
    ck_assert_int_eq(public_name_parse(public_name_format(&name, text), false, &again, &why), 0);
    ck_assert(public_name_equal(&name, &again));
  }
}
END_TEST

START_TEST(bad_ones_are_refused_with_a_phrase)
{
  static const char *const rows[] = {
      "",       ".",      "a.",       "a..b",  "-a",    "a-",      "a_b",   "a b",    "*.example.org", "http://a.b",
      "a.b:80", "[::1]",  "10.0.0.1", "a.123", "a//b",  "a/../b",  "a/./b", "a/b?c",  "a/b#c",         "a/%62",
      "a/b c",  "a/\x7f", "a/\xc3",   "/api",  "a/b//", "b\xc3.c", "a\\b",  "a.b/\"",
  };

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    why = NULL;
    ck_assert_msg(public_name_parse(rows[i], false, &name, &why) == -EINVAL, "%s is taken", rows[i]);
    ck_assert(why != NULL && strlen(why) > 10);
  }
  ck_assert_int_eq(public_name_parse("a.b/c", true, &name, &why), -EINVAL);
  ck_assert_int_eq(public_name_parse("a.b", true, &name, &why), 0);
  ck_assert(name.tls);
}
END_TEST

START_TEST(ports_are_names)
{
  static const char *const bad[] = {"", "a", "-1", "65536", "022", "00", " 1", "1 ", "1.5", ":1", "100000", "+1"};
  char text[PUBLIC_TEXT_SIZE];
  struct public_name other;

  ck_assert_int_eq(public_port_parse("65535", &name, &why), 0);
  ck_assert_int_eq(public_name_kind(&name), PUBLIC_PORT);
  ck_assert_uint_eq(public_name_port(&name), 65535);
  ck_assert_str_eq(name.host, ":65535");
  ck_assert_str_eq(public_name_format(&name, text), "65535");
  ck_assert(!public_name_is_label(&name));
  ck_assert_int_eq(public_name_told(":65535", false, &other, &why), 0);
  ck_assert(public_name_equal(&name, &other));
  ck_assert_int_eq(public_port_parse("0", &name, &why), 0);
  ck_assert_uint_eq(public_name_port(&name), 0);
  ck_assert_int_eq(public_name_told(":1/a", false, &other, &why), -EINVAL);
  ck_assert_int_eq(public_name_told("a.b", true, &other, &why), 0);
  ck_assert_int_eq(public_name_kind(&other), PUBLIC_TLS);
  /* A user does not write it so. */
  ck_assert_int_eq(public_name_parse(":1", false, &other, &why), -EINVAL);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_assert_msg(public_port_parse(bad[i], &name, &why) == -EINVAL, "%s is taken", bad[i]);
}
END_TEST

START_TEST(lengths_have_bounds)
{
  char text[PUBLIC_TEXT_SIZE + 8];

  memset(text, 'a', sizeof text);
  text[PUBLIC_LABEL_MAX] = '\0';
  ck_assert_int_eq(public_name_parse(text, false, &name, &why), 0);
  text[PUBLIC_LABEL_MAX] = 'a';
  text[PUBLIC_LABEL_MAX + 1] = '\0';
  ck_assert_int_eq(public_name_parse(text, false, &name, &why), -EINVAL);
  memset(text, 'a', sizeof text);
  for (size_t at = 50; at < sizeof text; at += 50)
    text[at] = '.';
  text[PUBLIC_HOST_SIZE - 1] = '\0';
  ck_assert_int_eq(public_name_parse(text, false, &name, &why), 0);
  text[PUBLIC_HOST_SIZE - 1] = 'a';
  text[PUBLIC_HOST_SIZE] = '\0';
  ck_assert_int_eq(public_name_parse(text, false, &name, &why), -EINVAL);
  memset(text, 'a', sizeof text);
  text[1] = '/';
  text[PUBLIC_PATH_SIZE] = '\0';
  ck_assert_int_eq(public_name_parse(text, false, &name, &why), 0);
  text[PUBLIC_PATH_SIZE] = 'a';
  text[PUBLIC_PATH_SIZE + 1] = '\0';
  ck_assert_int_eq(public_name_parse(text, false, &name, &why), -EINVAL);
}
END_TEST

START_TEST(a_label_never_changes)
{
  const uint8_t identity[IDENTITY_SIZE] = {1, 2, 3};
  char first[PUBLIC_LABEL_SIZE], other[PUBLIC_LABEL_SIZE];

  public_label_make(identity, "web", false, 0, first);
  ck_assert_str_eq(first, "jolly-brook-0274");
  ck_assert(public_host_valid(first, strlen(first)));
  public_label_make(identity, "web", true, 0, other);
  ck_assert_str_ne(first, other);
  public_label_make(identity, "web", false, 1, other);
  ck_assert_str_ne(first, other);
  public_label_make(identity, "api", false, 0, other);
  ck_assert_str_ne(first, other);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("public names");
  TCase *all = tcase_create("all");

  tcase_add_test(all, good_ones_are_read_and_written);
  tcase_add_test(all, bad_ones_are_refused_with_a_phrase);
  tcase_add_test(all, lengths_have_bounds);
  tcase_add_test(all, ports_are_names);
  tcase_add_test(all, a_label_never_changes);
  suite_add_tcase(suite, all);
  return suite;
}
