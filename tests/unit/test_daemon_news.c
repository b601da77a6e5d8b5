/* What the parts tell while the daemon ends: some of those that are told are gone. */
#include <check.h>
#include <stddef.h>

#include "daemon/daemon_internal.h"
#include "daemon/names/services.h"

#include "runner.h"

START_TEST(a_token_comes_when_nobody_answers_any_more)
{
  struct daemon d = {.answers = NULL};

  news_of_services.token(NULL, "token", &d);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon news");
  TCase *t = tcase_create("end");

  tcase_add_test(t, a_token_comes_when_nobody_answers_any_more);
  suite_add_tcase(s, t);
  return s;
}
