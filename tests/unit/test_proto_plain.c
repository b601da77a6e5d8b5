/* Text of others, made harmless. */
#include <check.h>
#include <string.h>

#include "proto/host/plain.h"

#include "runner.h"

static const char mixed[] = "a\tb\nc\x1b[2J\x7f d\xc3\xa9 ~";

START_TEST(control_characters_go)
{
  char text[sizeof mixed];

  memcpy(text, mixed, sizeof mixed);
  plain_text(text);
  ck_assert_str_eq(text, "a?b?c?[2J? d\xc3\xa9 ~");
}
END_TEST

START_TEST(all_but_ascii_goes)
{
  char text[sizeof mixed];

  memcpy(text, mixed, sizeof mixed);
  plain_ascii(text);
  ck_assert_str_eq(text, "a?b?c?[2J? d?? ~");
}
END_TEST

START_TEST(nothing_is_left_alone)
{
  char text[] = "";

  plain_text(text);
  plain_ascii(text);
  ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(each_byte_is_judged)
{
  for (int byte = 1; byte < 256; byte++) {
    bool control = byte < 32 || byte == 127, ascii = byte >= 32 && byte <= 126;
    char text[] = {(char)byte, '\0'}, other[] = {(char)byte, '\0'};

    ck_assert_int_eq(plain_is_control((char)byte), control);
    plain_text(text);
    ck_assert_int_eq(text[0] == '?', control || byte == '?');
    plain_ascii(other);
    ck_assert_int_eq(other[0] == '?', !ascii || byte == '?');
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("proto plain");
  TCase *t = tcase_create("text");

  tcase_add_test(t, control_characters_go);
  tcase_add_test(t, all_but_ascii_goes);
  tcase_add_test(t, nothing_is_left_alone);
  tcase_add_test(t, each_byte_is_judged);
  suite_add_tcase(suite, t);
  return suite;
}
