/* Who comes after a process that no router has heard of follows the one before it. */
#include <check.h>
#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/start/own_identity.h"

#include "runner.h"

static uv_loop_t loop;
static sem_t *until; /* a file is not cut before */

static char folder[64], file[128], why[OWN_IDENTITY_WHY_MAX];

static void setup(void)
{
  snprintf(folder, sizeof folder, "/tmp/mm_former.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/me", folder);
  ck_assert_int_eq(uv_loop_init(&loop), 0);
  until = NULL;
}

/* In place of the C library's. */
int ftruncate(int fd, off_t length)
{
  if (until != NULL)
    sem_wait(until);
  return (int)syscall(SYS_ftruncate, fd, length);
}

static void teardown(void)
{
  char command[128];

  ck_assert_int_eq(uv_loop_close(&loop), 0);
  snprintf(command, sizeof command, "rm -rf %s", folder);
  ck_assert_int_eq(system(command), 0);
}

static void open_well(struct own_identity *out)
{
  int err = own_identity_open(out, file, "/mnt/mm", "/etc/machine-id", why);

  ck_assert_msg(err == 0 && why[0] == '\0', "%d %s", err, why);
}

static void is_not_heard_of(void)
{
  struct own_identity o;

  open_well(&o);
  own_identity_close(&o);
}

static void heard_of(struct own_identity *o)
{
  own_identity_joined(o, &loop);
  uv_run(&loop, UV_RUN_DEFAULT);
}

static void joins(struct own_identity *o)
{
  struct stat st;

  open_well(o);
  heard_of(o);
  ck_assert_int_eq(stat(file, &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0600);
}

START_TEST(the_next_follows_who_joined_last)
{
  struct own_identity older, first, next;

  joins(&older);
  own_identity_close(&older);
  joins(&first);
  const struct own_identity before = first;
  own_identity_close(&first);
  for (int i = 0; i < _i; i++)
    is_not_heard_of();
  joins(&next);
  ck_assert(next.has_former && next.instance >= before.instance + (unsigned)_i + 1);
  ck_assert_mem_eq(next.former_key, before.member_key, sizeof next.former_key);
  ck_assert_mem_eq(next.seed, before.seed, sizeof next.seed);
  own_identity_close(&next);
}
END_TEST

/* It has no connections, either way: whom it names does not matter. */
START_TEST(one_is_followed_though_nobody_ever_joined)
{
  struct own_identity next;

  for (int i = 0; i < 3; i++)
    is_not_heard_of();
  open_well(&next);
  ck_assert(next.has_former);
  own_identity_close(&next);
}
END_TEST

START_TEST(is_told_again)
{
  struct own_identity first, next;

  joins(&first);
  own_identity_close(&first);
  joins(&next);
  heard_of(&next);
  /* It says so at each router, and holds the file all the time. */
  ck_assert(next.has_former);
  ck_assert_int_eq(own_identity_open(&first, file, "/mnt/mm", "/etc/machine-id", why), -EBUSY);
  own_identity_close(&next);
  joins(&first);
  own_identity_close(&first);
}
END_TEST

/* What could not be written is not cut, either. */
START_TEST(a_file_that_was_not_replaced_stays)
{
  struct rlimit unlimited, limit;
  struct own_identity first, second, third;

  signal(SIGXFSZ, SIG_IGN);
  joins(&first);
  const struct own_identity before = first;
  own_identity_close(&first);
  is_not_heard_of();
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  limit = (struct rlimit){.rlim_cur = 9, .rlim_max = unlimited.rlim_max};
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  ck_assert_int_eq(own_identity_open(&second, file, "/mnt/mm", "/etc/machine-id", why), 0);
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  ck_assert_ptr_nonnull(strstr(why, "could not be kept"));
  heard_of(&second);
  own_identity_close(&second);
  open_well(&third);
  ck_assert_mem_eq(third.former_key, before.member_key, sizeof third.former_key);
  own_identity_close(&third);
}
END_TEST

START_TEST(a_file_system_that_does_not_answer_delays_nobody)
{
  struct own_identity first, second;
  sem_t answers;

  ck_assert_int_eq(sem_init(&answers, 0, 0), 0);
  joins(&first);
  own_identity_close(&first);
  open_well(&second);
  until = &answers;
  own_identity_joined(&second, &loop);
  own_identity_joined(&second, &loop); /* once at a time */
  ck_assert(second.former_kept);
  sem_post(&answers);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert(!second.former_kept);
  own_identity_close(&second);
  sem_destroy(&answers);
}
END_TEST

START_TEST(in_memory_there_is_nothing_to_cut)
{
  struct own_identity o;

  own_identity_make(&o);
  heard_of(&o);
  own_identity_close(&o);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon former");
  TCase *t = tcase_create("former");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_loop_test(t, the_next_follows_who_joined_last, 0, 3);
  tcase_add_test(t, one_is_followed_though_nobody_ever_joined);
  tcase_add_test(t, is_told_again);
  tcase_add_test(t, a_file_that_was_not_replaced_stays);
  tcase_add_test(t, a_file_system_that_does_not_answer_delays_nobody);
  tcase_add_test(t, in_memory_there_is_nothing_to_cut);
  suite_add_tcase(s, t);
  return s;
}
