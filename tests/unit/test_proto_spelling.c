/* Which slips are seen as such. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "proto/host/spelling.h"

#include "runner.h"

static const struct {
  const char *word, *known;
  bool near;
} rows[] = {
    {"key", "key", true},
    {"kye", "key", true},
    {"ky", "key", true},
    {"keys", "key", true},
    {"kez", "key", true},
    {"kz", "key", false},
    {"", "key", false},
    {"ro", "rw", false},
    {"alow_othr", "allow_other", true},
    {"allow-other", "allow_other", true},
    {"alowothr", "allow_other", false},
    {"listen", "", false},
    {"a word that is longer than any option", "a word that is longer than any option", false},
};

START_TEST(test_row)
{
  ck_assert_msg(spelling_near(rows[_i].word, strlen(rows[_i].word), rows[_i].known) == rows[_i].near, "%s, %s",
                rows[_i].word, rows[_i].known);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("spelling");
  TCase *tests = tcase_create("spelling");
  tcase_add_loop_test(tests, test_row, 0, sizeof rows / sizeof *rows);
  suite_add_tcase(suite, tests);
  return suite;
}
