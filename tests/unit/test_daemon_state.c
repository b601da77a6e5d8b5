/* When what is declared is saved, and who is told. The disk is the machine's, but for its fsync, which the test may let
 * wait or fail.
 */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/keep/state.h"
#include "daemon/keep/state_file.h"
#include "daemon/keep/state_format.h"
#include "daemon/names/services.h"

#include "runner.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t opened = PTHREAD_COND_INITIALIZER;
static bool shut;
static int broken;      /* what each fsync fails with, or 0 */
static unsigned synced; /* how many were begun */

/* In the place of the C library's. */
int fsync(int fd)
{
  int error;

  pthread_mutex_lock(&lock);
  synced++;
  while (shut)
    pthread_cond_wait(&opened, &lock);
  error = broken;
  pthread_mutex_unlock(&lock);
  if (error == 0)
    return (int)syscall(SYS_fsync, fd);
  errno = error;
  return -1;
}

static void set_disk(bool is_shut, int error)
{
  pthread_mutex_lock(&lock);
  shut = is_shut;
  broken = error;
  pthread_cond_broadcast(&opened);
  pthread_mutex_unlock(&lock);
}

static unsigned count_syncs(void)
{
  unsigned count;

  pthread_mutex_lock(&lock);
  count = synced;
  pthread_mutex_unlock(&lock);
  return count;
}

static uv_loop_t loop;
static char folder[64], path[128];
static struct state_file file;
static struct state *state;
static char names[256]; /* what is declared: a service for each word */
static bool memory_is_short, closed;
static unsigned unkept, kept;
static int unkept_error;

static int render(struct state_text *out, void *arg)
{
  char copy[sizeof(names)];
  char *rest = copy, *word;

  ck_assert_ptr_eq(arg, names);
  if (memory_is_short)
    return -ENOMEM;
  snprintf(copy, sizeof(copy), "%s", names);
  state_text_begin(out);
  while ((word = strsep(&rest, " ")) != NULL)
    if (word[0] != '\0')
      state_text_service(out, word, NULL);
  return state_text_end(out);
}

static void on_unkept(int error, const char *why, void *arg)
{
  ck_assert_ptr_eq(arg, names);
  ck_assert_str_ne(why, "");
  unkept++;
  unkept_error = error;
}

static void on_kept(void *arg)
{
  ck_assert_ptr_eq(arg, names);
  kept++;
}

static const struct state_events events = {.render = render, .unkept = on_unkept, .kept = on_kept};

static void on_closed(void *arg)
{
  (void)arg;
  closed = true;
}

static void done(void *arg)
{
  ++*(unsigned *)arg;
}

#define UNTIL(condition)                                                                                               \
  do {                                                                                                                 \
    uv_run(&loop, UV_RUN_ONCE);                                                                                        \
  } while (!(condition))

static void declare(const char *text)
{
  snprintf(names, sizeof(names), "%s", text);
}

/* What is in the file: the names, in order. */
static const char *in_file(void)
{
  static char got[256];
  const struct state_rules rules = {.services = 8, .check_name = service_name_check};
  struct state_declarations declared;
  char why[STATE_WHY_MAX];
  char bytes[4096];
  FILE *f = fopen(path, "re");
  size_t size;

  if (f == NULL)
    return NULL;
  size = fread(bytes, 1, sizeof(bytes), f);
  fclose(f);
  ck_assert_msg(state_parse(bytes, size, &rules, &declared, why) == 0, "%s", why);
  got[0] = '\0';
  for (size_t i = 0; i < declared.count; i++)
    snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i > 0 ? " " : "", declared.items[i].name);
  state_declarations_free(&declared);
  return got;
}

static void open_state(void)
{
  char why[STATE_FILE_WHY_MAX];
  char *bytes;
  size_t size;

  ck_assert_msg(state_file_open(&file, path, &bytes, &size, why) == 0, "%s", why);
  ck_assert_int_eq(state_open(&state, &loop, &file, bytes, size, &events, names), 0);
  free(bytes);
}

static void setup(void)
{
  snprintf(folder, sizeof(folder), "/tmp/mm-state-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(path, sizeof(path), "%s/state", folder);
  ck_assert_int_eq(uv_loop_init(&loop), 0);
  declare("");
  open_state();
}

static void close_state(void)
{
  closed = false;
  state_close(state, on_closed, NULL);
  ck_assert(!closed);
  UNTIL(closed);
  state = NULL;
  state_file_close(&file);
}

static void teardown(void)
{
  char command[128];

  set_disk(false, 0);
  if (state != NULL)
    close_state();
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
  snprintf(command, sizeof(command), "rm -rf %s", folder);
  ck_assert_int_eq(system(command), 0);
}

START_TEST(nothing_is_written_for_nothing)
{
  unsigned told = 0;

  state_touch(state);
  ck_assert(!state_wait(state, done, &told));
  close_state();
  ck_assert_ptr_null(in_file());
  ck_assert_uint_eq(count_syncs(), 0);
  ck_assert_uint_eq(told, 0);
}
END_TEST

START_TEST(who_waits_is_told_when_it_is_in_the_file)
{
  unsigned told = 0;

  declare("a");
  ck_assert(state_wait(state, done, &told));
  ck_assert_uint_eq(told, 0);
  UNTIL(told == 1);
  ck_assert_str_eq(in_file(), "a");
  ck_assert(!state_wait(state, done, &told));
  declare("a b");
  ck_assert(state_wait(state, done, &told));
  UNTIL(told == 2);
  ck_assert_str_eq(in_file(), "a b");
  ck_assert_uint_eq(unkept + kept, 0);
}
END_TEST

START_TEST(a_touch_is_enough)
{
  declare("a");
  state_touch(state);
  state_touch(state);
  ck_assert_ptr_null(in_file());
  UNTIL(in_file() != NULL);
  ck_assert_str_eq(in_file(), "a");
}
END_TEST

START_TEST(one_write_at_a_time_and_the_newest_next)
{
  unsigned told[4] = {0};

  set_disk(true, 0);
  declare("a");
  ck_assert(state_wait(state, done, &told[0]));
  declare("a b");
  ck_assert(state_wait(state, done, &told[1]));
  declare("a b c");
  ck_assert(state_wait(state, done, &told[2]));
  ck_assert(state_wait(state, done, &told[3]));
  while (count_syncs() == 0)
    uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(count_syncs(), 1);
  ck_assert_uint_eq(told[0] + told[1] + told[2] + told[3], 0);
  set_disk(false, 0);
  UNTIL(told[0] == 1);
  ck_assert_uint_eq(told[1] + told[2] + told[3], 0);
  const char *now = in_file(); /* the next write may be quicker than we look */
  ck_assert_msg(strcmp(now, "a") == 0 || strcmp(now, "a b c") == 0, "%s", now);
  UNTIL(told[3] == 1);
  ck_assert_uint_eq(told[1] + told[2], 2);
  ck_assert_str_eq(in_file(), "a b c");
  ck_assert_uint_eq(count_syncs(), 4); /* a file and its directory, twice */
}
END_TEST

/* It is another text while the first is being written, and the same again: the second is written all the same. */
START_TEST(there_and_back)
{
  unsigned told = 0;

  set_disk(true, 0);
  declare("a");
  ck_assert(state_wait(state, done, &told));
  declare("");
  ck_assert(state_wait(state, done, &told));
  set_disk(false, 0);
  UNTIL(told == 2);
  ck_assert_str_eq(in_file(), "");
}
END_TEST

START_TEST(what_fails_is_told_once_and_tried_again)
{
  unsigned told = 0;

  set_disk(false, EIO);
  declare("a");
  ck_assert(state_wait(state, done, &told));
  UNTIL(told == 1);
  ck_assert_uint_eq(unkept, 1);
  ck_assert_int_eq(unkept_error, -EIO);
  ck_assert_ptr_null(in_file());
  /* Nothing new: there is nothing to wait for. What is new is tried at once. */
  ck_assert(!state_wait(state, done, &told));
  declare("a b");
  ck_assert(state_wait(state, done, &told));
  UNTIL(told == 2);
  ck_assert_uint_eq(unkept, 1);
  set_disk(false, ENOSPC);
  UNTIL(unkept == 2);
  ck_assert_int_eq(unkept_error, -ENOSPC);
  ck_assert_uint_eq(kept, 0);
  set_disk(false, 0);
  UNTIL(kept == 1);
  ck_assert_str_eq(in_file(), "a b");
  ck_assert(!state_wait(state, done, &told));
}
END_TEST

START_TEST(short_memory_is_a_failure_too)
{
  unsigned told = 0;

  memory_is_short = true;
  declare("a");
  ck_assert(!state_wait(state, done, &told));
  ck_assert_uint_eq(unkept, 1);
  ck_assert_int_eq(unkept_error, -ENOMEM);
  memory_is_short = false;
  UNTIL(kept == 1);
  ck_assert_str_eq(in_file(), "a");
  memory_is_short = true;
  state_touch(state);
  UNTIL(unkept == 2);
  memory_is_short = false;
  UNTIL(kept == 2);
  ck_assert_uint_eq(told, 0);
}
END_TEST

START_TEST(a_disk_that_hangs_holds_nobody_for_long)
{
  unsigned told = 0;

  set_disk(true, 0);
  declare("a");
  ck_assert(state_wait(state, done, &told));
  declare("b");
  ck_assert(state_wait(state, done, &told));
  UNTIL(told == 2);
  ck_assert_uint_eq(unkept, 1);
  ck_assert_int_eq(unkept_error, -ETIMEDOUT);
  declare("c");
  ck_assert(!state_wait(state, done, &told));
  set_disk(false, 0);
  UNTIL(kept == 1);
  ck_assert_str_eq(in_file(), "c");
}
END_TEST

START_TEST(the_end_saves_what_is_unsaved)
{
  unsigned told = 0;

  set_disk(true, 0);
  declare("a");
  ck_assert(state_wait(state, done, &told));
  declare("a b");
  state_close(state, on_closed, NULL);
  state = NULL;
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert(!closed);
  set_disk(false, 0);
  UNTIL(closed);
  ck_assert_uint_eq(told, 1);
  ck_assert_str_eq(in_file(), "a b");
  state_file_close(&file);
}
END_TEST

START_TEST(the_end_does_not_wait_for_a_disk_that_fails)
{
  set_disk(false, EIO);
  declare("a");
  close_state();
  ck_assert_uint_eq(unkept, 1);
  ck_assert_ptr_null(in_file());
}
END_TEST

START_TEST(what_the_file_has_is_not_written_again)
{
  unsigned told = 0;
  unsigned before;

  declare("a b");
  close_state();
  before = count_syncs();
  open_state();
  ck_assert(!state_wait(state, done, &told));
  close_state();
  ck_assert_uint_eq(count_syncs(), before);
  open_state();
  declare("b");
  ck_assert(state_wait(state, done, &told));
  UNTIL(told == 1);
  ck_assert_str_eq(in_file(), "b");
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("state");
  TCase *tcase = tcase_create("state");

  suite_add_tcase(suite, tcase);
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, nothing_is_written_for_nothing);
  tcase_add_test(tcase, who_waits_is_told_when_it_is_in_the_file);
  tcase_add_test(tcase, a_touch_is_enough);
  tcase_add_test(tcase, one_write_at_a_time_and_the_newest_next);
  tcase_add_test(tcase, there_and_back);
  tcase_add_test(tcase, what_fails_is_told_once_and_tried_again);
  tcase_add_test(tcase, short_memory_is_a_failure_too);
  tcase_add_test(tcase, a_disk_that_hangs_holds_nobody_for_long);
  tcase_add_test(tcase, the_end_saves_what_is_unsaved);
  tcase_add_test(tcase, the_end_does_not_wait_for_a_disk_that_fails);
  tcase_add_test(tcase, what_the_file_has_is_not_written_again);
  return suite;
}
