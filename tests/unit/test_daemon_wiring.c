/* What the parts tell each other: it becomes sentences, in bounds, also while some of those that are told are gone. */
#include <check.h>
#include <string.h>

#include "carry/link/link.h"
#include "carry/tunnel/answers.h"
#include "daemon/daemon_internal.h"
#include "daemon/names/services.h"
#include "proto/host/journal.h"

#include "runner.h"

static struct daemon d;

static void setup(void)
{
  d = (struct daemon){.router = "there:7000"};
  d.events = journal_create(65536);
  d.errors = journal_create(65536);
  ck_assert(d.events != NULL && d.errors != NULL);
  ck_assert_int_eq(uv_loop_init(&d.loop), 0);
}

static void teardown(void)
{
  ck_assert_int_eq(uv_loop_close(&d.loop), 0);
  journal_free(d.events);
  journal_free(d.errors);
}

/* How often a text is in a journal. */
static unsigned times(const struct journal *j, const char *text)
{
  size_t size;
  const char *at = journal_bytes(j, &size);
  const char *end = at + size;
  unsigned count = 0;

  while ((at = memmem(at, (size_t)(end - at), text, strlen(text))) != NULL) {
    at++;
    count++;
  }
  return count;
}

START_TEST(what_is_told_while_the_daemon_ends_passes_by_those_who_are_gone)
{
  const uint8_t member[64] = {0};

  wiring_of_services.token(NULL, "token", &d);
  wiring_of_link.renewed(NULL, &d);
  wiring_of_link.lost(NULL, member, &d);
  wiring_of_link.superseded(NULL, &d);
  wiring_of_link.draining(NULL, &d);
  wiring_of_catalogue("web", &d);
  ck_assert_uint_eq(times(d.events, "connected to there:7000 anew"), 1);
  ck_assert_uint_eq(times(d.events, "the router is about to stop"), 1);
  ck_assert_uint_eq(times(d.events, "has taken its place"), 1);
  ck_assert_uint_eq(times(d.errors, "has taken its place"), 1);
  ck_assert_uint_eq(times(d.errors, "\n"), 1);
}
END_TEST

START_TEST(connections_do_not_fill_the_journals)
{
  for (int i = 0; i < 400; i++)
    wiring_of_answers.failed("web", "it failed", &d);
  ck_assert_uint_eq(times(d.errors, "connection to services/web: it failed"), 256);
  ck_assert_uint_eq(times(d.errors, "some are left out"), 1);
  wiring_of_link.draining(NULL, &d);
  ck_assert_uint_eq(times(d.events, "the router is about to stop"), 1);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon wiring");
  TCase *t = tcase_create("sentences");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, what_is_told_while_the_daemon_ends_passes_by_those_who_are_gone);
  tcase_add_test(t, connections_do_not_fill_the_journals);
  suite_add_tcase(s, t);
  return s;
}
