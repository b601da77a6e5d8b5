/* The waiting room by itself: against a model, and in order. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "router/meet/dial.h"
#include "router/meet/waiting.h"

#include "holds.h"
#include "runner.h"

enum { DIALS = 60, GOALS = 7, MAX = 40, STEPS = 5000 };

static struct dial dial_for(const struct goal *g)
{
  struct dial d;
  memset(&d, 0, sizeof d);
  d.goal = *g;
  return d;
}

START_TEST(test_order)
{
  struct waiting *w = waiting_open(10);
  const struct goal web = goal_service("web", &leg_call), ssh = goal_service("ssh", &leg_call);
  struct dial a = dial_for(&web), b = dial_for(&ssh), c = dial_for(&web), d = dial_for(&web);
  ck_assert_ptr_null(waiting_any(w));
  ck_assert_ptr_null(waiting_first(w, &web));
  ck_assert_int_eq(waiting_add(w, &a, &a.goal), 0);
  ck_assert_int_eq(waiting_add(w, &b, &b.goal), 0);
  ck_assert_int_eq(waiting_add(w, &c, &c.goal), 0);
  ck_assert_int_eq(waiting_add(w, &d, &d.goal), 0);
  ck_assert_ptr_eq(waiting_first(w, &web), &a);
  ck_assert_ptr_eq(waiting_first(w, &ssh), &b);
  waiting_remove(w, &c);
  ck_assert_ptr_null(c.queue);
  waiting_remove(w, &a);
  ck_assert_ptr_eq(waiting_first(w, &web), &d);
  waiting_remove(w, &d);
  ck_assert_ptr_null(waiting_first(w, &web));
  ck_assert_ptr_eq(waiting_any(w), &b);
  waiting_remove(w, &b);
  ck_assert_ptr_null(waiting_any(w));
  waiting_close(w);
}
END_TEST

/* A name is not a member, though both be the same bytes; nor do those for different kinds of streams wait together. */
START_TEST(test_kinds)
{
  struct waiting *w = waiting_open(10);
  static const char text[] = "sixteen-letters-";
  const struct goal name = goal_service(text, &leg_call), raw = goal_service(text, &leg_raw);
  const struct goal member = goal_member((const uint8_t *)text, &leg_call);
  struct dial d = dial_for(&name);
  ck_assert_int_eq(waiting_add(w, &d, &d.goal), 0);
  ck_assert_ptr_null(waiting_first(w, &member));
  ck_assert_ptr_null(waiting_first(w, &raw));
  ck_assert_ptr_eq(waiting_first(w, &name), &d);
  ck_assert_uint_eq(waiting_count(w, &raw), 0);
  ck_assert_uint_eq(waiting_count(w, &name), 1);
  waiting_remove(w, &d);
  waiting_close(w);
}
END_TEST

START_TEST(test_bound)
{
  struct waiting *w = waiting_open(2);
  const struct goal web = goal_service("web", &leg_call), ssh = goal_service("ssh", &leg_call);
  struct dial a = dial_for(&web), b = dial_for(&web), c = dial_for(&ssh);
  ck_assert_int_eq(waiting_add(w, &a, &a.goal), 0);
  ck_assert_int_eq(waiting_add(w, &b, &b.goal), 0);
  ck_assert_int_eq(waiting_add(w, &c, &c.goal), -ENOSPC);
  ck_assert_ptr_null(c.queue);
  waiting_remove(w, &a);
  ck_assert_int_eq(waiting_add(w, &c, &c.goal), 0);
  waiting_remove(w, &b);
  waiting_remove(w, &c);
  waiting_close(w);
}
END_TEST

struct model {
  struct dial dials[DIALS];
  uint64_t since[DIALS]; /* 0: it does not wait */
  size_t count;
};

static struct goal some_goal(unsigned n)
{
  uint8_t member[HEADER_MEMBER_SIZE] = {(uint8_t)n};
  char name[2] = {(char)('a' + n), '\0'};
  const struct leg_kind *kind = n % 3 == 0 ? &leg_raw : &leg_call;
  return n % 2 ? goal_member(member, kind) : goal_service(name, kind);
}

/* Goals are zeroed before they are filled. */
static bool same(const struct goal *a, const struct goal *b)
{
  return memcmp(a, b, sizeof *a) == 0; /* NOLINT(bugprone-suspicious-memory-comparison) */
}

static const struct dial *oldest(const struct model *m, const struct goal *g)
{
  size_t found = DIALS;
  for (size_t i = 0; i < DIALS; i++) {
    if (m->since[i] && same(&m->dials[i].goal, g) && (found == DIALS || m->since[i] < m->since[found]))
      found = i;
  }
  return found == DIALS ? NULL : &m->dials[found];
}

START_TEST(test_model)
{
  static struct model m;
  unsigned seed = (unsigned)_i + 1;
  struct waiting *w = waiting_open(MAX);
  memset(&m, 0, sizeof m);
  for (uint64_t step = 1; step <= STEPS; step++) {
    size_t i = (size_t)rand_r(&seed) % DIALS;
    if (m.since[i]) {
      waiting_remove(w, &m.dials[i]);
      m.since[i] = 0;
      m.count--;
    } else {
      const struct goal g = some_goal((unsigned)rand_r(&seed) % GOALS);
      m.dials[i] = dial_for(&g);
      bool full = m.count == MAX;
      holds(waiting_add(w, &m.dials[i], &g) == (full ? -ENOSPC : 0));
      m.since[i] = full ? 0 : step;
      m.count += !full;
    }
    for (unsigned n = 0; n < GOALS; n++) {
      const struct goal g = some_goal(n);
      holds(waiting_first(w, &g) == oldest(&m, &g));
    }
    holds((waiting_any(w) != NULL) == (m.count > 0));
  }
  struct dial *d;
  while ((d = waiting_any(w)) != NULL) {
    waiting_remove(w, d);
    m.count--;
  }
  ck_assert_uint_eq(m.count, 0);
  waiting_close(w);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("waiting");
  TCase *tcase = tcase_create("waiting");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_order);
  tcase_add_test(tcase, test_kinds);
  tcase_add_test(tcase, test_bound);
  tcase_add_loop_test(tcase, test_model, 0, 5);
  tcase_set_timeout(tcase, 60);
  return suite;
}
