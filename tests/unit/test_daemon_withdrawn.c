/* A process that could not start: who comes next follows the one before it. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/own_identity.h"

static char folder[64], file[128], why[OWN_IDENTITY_WHY_MAX];

static void setup(void)
{
  snprintf(folder, sizeof folder, "/tmp/mm_withdrawn.XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(file, sizeof file, "%s/me", folder);
}

static void teardown(void)
{
  char command[128];

  snprintf(command, sizeof command, "rm -rf %s", folder);
  ck_assert_int_eq(system(command), 0);
}

static void open_well(struct own_identity *out)
{
  int err = own_identity_open(out, file, "/mnt/mm", why);

  ck_assert_msg(err == 0 && why[0] == '\0', "%d %s", err, why);
}

static void cannot_start(void)
{
  struct own_identity o;

  open_well(&o);
  own_identity_withdraw(&o);
  own_identity_close(&o);
}

START_TEST(the_next_follows_the_one_before)
{
  struct own_identity first, next;
  struct stat st;

  open_well(&first);
  const struct own_identity before = first;
  own_identity_close(&first);
  for (int i = 0; i < _i; i++)
    cannot_start();
  open_well(&next);
  ck_assert(next.has_former && next.instance > before.instance);
  ck_assert_mem_eq(next.former_key, before.member_key, sizeof next.former_key);
  ck_assert_mem_eq(next.seed, before.seed, sizeof next.seed);
  ck_assert_int_eq(stat(file, &st), 0);
  ck_assert_uint_eq(st.st_mode & 0777, 0600);
  own_identity_close(&next);
}
END_TEST

/* It holds the file until it is closed. */
START_TEST(who_withdraws_still_has_it)
{
  struct own_identity first, other;

  cannot_start();
  open_well(&first);
  own_identity_withdraw(&first);
  ck_assert_int_eq(own_identity_open(&other, file, "/mnt/mm", why), -EBUSY);
  own_identity_withdraw(&first);
  own_identity_close(&first);
}
END_TEST

START_TEST(in_memory_there_is_nothing_to_withdraw)
{
  struct own_identity o;

  own_identity_make(&o);
  own_identity_withdraw(&o);
  own_identity_close(&o);
}
END_TEST

int main(void)
{
  Suite *s = suite_create("daemon withdrawn");
  TCase *t = tcase_create("withdrawn");
  SRunner *r;
  int failed;

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_loop_test(t, the_next_follows_the_one_before, 0, 3);
  tcase_add_test(t, who_withdraws_still_has_it);
  tcase_add_test(t, in_memory_there_is_nothing_to_withdraw);
  suite_add_tcase(s, t);
  r = srunner_create(s);
  srunner_run_all(r, CK_NORMAL);
  failed = srunner_ntests_failed(r);
  srunner_free(r);
  return failed != 0;
}
