/* The register against a plain model, read by watchers of every speed. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/names/registry.h"

#include "runner.h"

enum { NAMES = 40, WATCHERS = 4, STEPS = 20000 };

static const struct registry_time some_time = {.seconds = 1000, .nanos = 7};
static int owner;

static void gone(struct registry *r, const char *name, uint64_t at)
{
  const struct registry_leave how = {.at = at};
  registry_remove(r, name, &how);
}

static bool went(const struct registry *r, const char *name, uint64_t since)
{
  const struct registry_leave *left = registry_left(r, name);
  return left && left->at >= since;
}

START_TEST(test_names)
{
  char longest[REGISTRY_NAME_MAX + 2];
  memset(longest, 'a', sizeof longest);
  longest[sizeof longest - 1] = '\0';
  ck_assert(!registry_name_valid(longest));
  longest[REGISTRY_NAME_MAX] = '\0';
  ck_assert(registry_name_valid(longest));
  static const char *const good[] = {"a", "0", "web", "a-b", "a--b", "x1"};
  for (size_t i = 0; i < sizeof good / sizeof *good; i++)
    ck_assert_msg(registry_name_valid(good[i]), "%s", good[i]);
  static const char *const bad[] = {"",         "-",   "-a", "a-",  "Web", "a.b",  "a/b",  "a b",  "a_b",
                                    "\xc3\xa9", "a\n", "..", "a:b", "*",   "web ", " web", "\x01", "a\x7f"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_assert_msg(!registry_name_valid(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(test_add_and_remove)
{
  struct registry *r = registry_open(2, 4);
  int other;
  ck_assert_int_eq(registry_add(r, "b", some_time, &owner), 0);
  ck_assert_int_eq(registry_add(r, "b", some_time, &other), -EEXIST);
  ck_assert_int_eq(registry_add(r, "a", some_time, &other), 0);
  ck_assert_int_eq(registry_add(r, "c", some_time, &other), -ENOSPC);
  ck_assert_ptr_eq(registry_find(r, "b"), &owner);
  ck_assert_ptr_eq(registry_find(r, "a"), &other);
  ck_assert_ptr_null(registry_find(r, "c"));

  struct registry_entry all[2];
  ck_assert_uint_eq(registry_count(r), 2);
  registry_list(r, all);
  ck_assert_str_eq(all[0].name, "a");
  ck_assert_str_eq(all[1].name, "b");
  ck_assert_int_eq(all[1].created.seconds, 1000);
  ck_assert_int_eq(all[1].created.nanos, 7);

  gone(r, "b", 0);
  gone(r, "b", 0);
  gone(r, "never", 0);
  ck_assert_ptr_null(registry_find(r, "b"));
  ck_assert_uint_eq(registry_count(r), 1);
  ck_assert_int_eq(registry_add(r, "b", some_time, &other), 0);
  ck_assert_ptr_eq(registry_find(r, "b"), &other);
  registry_close(r);
}
END_TEST

START_TEST(test_went)
{
  struct registry *r = registry_open(10, 2);
  static const char *const names[] = {"a", "b", "c"};
  ck_assert(!went(r, "a", 0));
  for (size_t i = 0; i < 3; i++)
    registry_add(r, names[i], some_time, &owner);
  ck_assert(!went(r, "a", 0));
  gone(r, "a", 1000);
  gone(r, "a", 2000); /* it is gone */
  ck_assert(went(r, "a", 1000));
  ck_assert(!went(r, "a", 1001));
  registry_add(r, "a", some_time, &owner);
  ck_assert(!went(r, "a", 0));
  gone(r, "a", 3000);
  ck_assert(went(r, "a", 3000));
  /* As many as are remembered. */
  gone(r, "b", 3000);
  gone(r, "c", 3000);
  ck_assert(!went(r, "a", 0));
  ck_assert(went(r, "b", 0) && went(r, "c", 0));
  registry_close(r);
}
END_TEST

START_TEST(test_news)
{
  struct registry *r = registry_open(10, 10);
  struct registry_cursor c = {0};
  struct registry_entry out[10];
  bool restart, complete;
  ck_assert_uint_eq(registry_read(r, &c, out, 10, &restart, &complete), 0);
  ck_assert(restart && complete);
  ck_assert_uint_eq(registry_read(r, &c, out, 10, &restart, &complete), 0);
  ck_assert(!restart && complete);

  registry_add(r, "a", some_time, &owner);
  registry_add(r, "b", some_time, &owner);
  gone(r, "a", 0);
  registry_add(r, "a", some_time, &owner);
  gone(r, "b", 0);
  /* Each name once, as it is now. */
  ck_assert_uint_eq(registry_read(r, &c, out, 10, &restart, &complete), 2);
  ck_assert(!restart && complete);
  ck_assert_str_eq(out[0].name, "a");
  ck_assert(!out[0].gone);
  ck_assert_str_eq(out[1].name, "b");
  ck_assert(out[1].gone);
  registry_close(r);
}
END_TEST

START_TEST(test_catalogue_in_pages)
{
  struct registry *r = registry_open(10, 10);
  struct registry_cursor c = {0};
  struct registry_entry out[2];
  bool restart, complete;
  char name[] = "a";
  for (; name[0] < 'f'; name[0]++)
    registry_add(r, name, some_time, &owner);
  gone(r, "c", 0); /* before it begins: not worth a word */
  ck_assert_uint_eq(registry_read(r, &c, out, 2, &restart, &complete), 2);
  ck_assert(restart && !complete);
  gone(r, "a", 0); /* told already */
  ck_assert_uint_eq(registry_read(r, &c, out, 2, &restart, &complete), 2);
  ck_assert(!restart && !complete);
  ck_assert_str_eq(out[1].name, "e");
  ck_assert_uint_eq(registry_read(r, &c, out, 2, &restart, &complete), 1);
  ck_assert(!restart && complete);
  ck_assert_str_eq(out[0].name, "a");
  ck_assert(out[0].gone);
  registry_close(r);
}
END_TEST

START_TEST(test_fallen_behind)
{
  struct registry *r = registry_open(10, 2);
  struct registry_cursor c = {0};
  struct registry_entry out[10];
  bool restart, complete;
  static const char *const names[] = {"a", "b", "c", "d"};
  for (size_t i = 0; i < 4; i++)
    registry_add(r, names[i], some_time, &owner);
  registry_read(r, &c, out, 10, &restart, &complete);
  for (size_t i = 0; i < 2; i++)
    gone(r, names[i], 0);
  struct registry_cursor late = c;
  ck_assert_uint_eq(registry_read(r, &c, out, 10, &restart, &complete), 2);
  ck_assert(!restart);
  gone(r, "c", 0);
  ck_assert_uint_eq(registry_read(r, &c, out, 10, &restart, &complete), 1);
  ck_assert(!restart);
  ck_assert_uint_eq(registry_read(r, &late, out, 10, &restart, &complete), 1);
  ck_assert(restart && complete);
  ck_assert_str_eq(out[0].name, "d");
  registry_close(r);
}
END_TEST

/* ---- Against a model ---- */

struct watcher {
  struct registry_cursor cursor;
  bool known[NAMES], fresh[NAMES];
  bool in_catalogue;
};

static size_t index_of(const char *name)
{
  return (size_t)strtoul(name + 1, NULL, 10);
}

static void watcher_read(struct watcher *w, const struct registry *r, size_t max)
{
  struct registry_entry out[NAMES];
  bool restart, complete;
  size_t count = registry_read(r, &w->cursor, out, max, &restart, &complete);
  ck_assert_uint_le(count, max);
  if (restart) {
    memset(w->fresh, 0, sizeof w->fresh);
    w->in_catalogue = true;
  }
  bool *view = w->in_catalogue ? w->fresh : w->known;
  for (size_t i = 0; i < count; i++)
    view[index_of(out[i].name)] = !out[i].gone;
  if (complete && w->in_catalogue) {
    memcpy(w->known, w->fresh, sizeof w->known);
    w->in_catalogue = false;
  }
}

static void watcher_check(struct watcher *w, const struct registry *r, const bool *truth)
{
  do
    watcher_read(w, r, 3);
  while (w->in_catalogue || w->cursor.seen < w->cursor.whole);
  for (int i = 0; i < 20; i++)
    watcher_read(w, r, 3);
  ck_assert_mem_eq(w->known, truth, NAMES * sizeof *truth);
}

START_TEST(test_model)
{
  unsigned seed = (unsigned)_i + 1;
  struct registry *r = registry_open(NAMES, 5);
  struct watcher watchers[WATCHERS] = {0};
  bool truth[NAMES] = {0};
  for (int step = 0; step < STEPS; step++) {
    char name[16];
    int i = rand_r(&seed) % NAMES;
    snprintf(name, sizeof name, "n%d", i);
    if (truth[i]) {
      gone(r, name, 0);
    } else {
      ck_assert_int_eq(registry_add(r, name, some_time, &owner), 0);
    }
    truth[i] = !truth[i];
    for (unsigned w = 0; w < WATCHERS; w++) {
      if (rand_r(&seed) % (1 + 3 * (int)w * (int)w) == 0)
        watcher_read(&watchers[w], r, 1 + (size_t)(rand_r(&seed) % 7));
    }
    if (step % 500 == 499) {
      for (int w = 0; w < WATCHERS; w++)
        watcher_check(&watchers[w], r, truth);
    }
  }
  registry_close(r);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("registry");
  TCase *tcase = tcase_create("registry");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_names);
  tcase_add_test(tcase, test_add_and_remove);
  tcase_add_test(tcase, test_went);
  tcase_add_test(tcase, test_news);
  tcase_add_test(tcase, test_catalogue_in_pages);
  tcase_add_test(tcase, test_fallen_behind);
  tcase_add_loop_test(tcase, test_model, 0, 5);
  tcase_set_timeout(tcase, 60);
  return suite;
}
