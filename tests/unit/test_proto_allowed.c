/* What control groups say of memory, in trees of files as the kernel shows them. */
#include <check.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "proto/host/allowed.h"

#include "runner.h"

static char root[] = "/tmp/mm-allowed-XXXXXX";

static void root_make(void)
{
  static const char *const folders[] = {"proc",
                                        "proc/self",
                                        "sys",
                                        "sys/fs",
                                        "sys/fs/cgroup",
                                        "sys/fs/cgroup/system.slice",
                                        "sys/fs/cgroup/system.slice/mmrouter.service"};
  ck_assert_ptr_nonnull(mkdtemp(root));
  for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, folders[i]);
    ck_assert_int_eq(mkdir(path, 0700), 0);
  }
}

static void root_remove(void)
{
  char command[64];
  snprintf(command, sizeof command, "rm -r %s", root);
  ck_assert_int_eq(system(command), 0);
}

/* NULL: no such file. */
static void file_is(const char *name, const char *text)
{
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", root, name);
  unlink(path);
  if (!text)
    return;
  FILE *f = fopen(path, "w");
  ck_assert_ptr_nonnull(f);
  fputs(text, f);
  fclose(f);
}

START_TEST(test_groups)
{
  static const char service[] = "1:name=systemd:/x\n0::/system.slice/mmrouter.service\n";
  static const struct {
    const char *own, *top, *slice, *group;
    uint64_t allowed;
  } rows[] = {
      {NULL, NULL, NULL, NULL, UINT64_MAX},
      {"", NULL, NULL, NULL, UINT64_MAX},
      {"5:memory:/x\n", NULL, NULL, "1000\n", UINT64_MAX}, /* version 1 */
      {service, NULL, "max\n", "max\n", UINT64_MAX},
      {service, NULL, "max\n", "536870912\n", 536870912},
      {service, NULL, "268435456\n", "536870912\n", 268435456},
      {service, NULL, "536870912\n", "max\n", 536870912},
      {"0::/\n", "134217728\n", NULL, NULL, 134217728},           /* in a container */
      {"0::/docker/abc\n", "134217728\n", NULL, NULL, 134217728}, /* which sees the host's path */
      {"0::/../../up\n", "134217728\n", NULL, NULL, 134217728},   /* or that it is elsewhere */
      {service, NULL, "nonsense\n", "12 34\n", UINT64_MAX},
      {service, NULL, "", "99999999999999999999999\n", UINT64_MAX},
      {"0::", "7", NULL, NULL, 7},
  };
  root_make();
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    file_is("proc/self/cgroup", rows[i].own);
    file_is("sys/fs/cgroup/memory.max", rows[i].top);
    file_is("sys/fs/cgroup/system.slice/memory.max", rows[i].slice);
    file_is("sys/fs/cgroup/system.slice/mmrouter.service/memory.max", rows[i].group);
    ck_assert_msg(allowed_by_groups(root) == rows[i].allowed, "row %zu: %llu", i,
                  (unsigned long long)allowed_by_groups(root));
  }
  root_remove();
}
END_TEST

START_TEST(test_a_long_path)
{
  char path[9000];
  memset(path, '/', sizeof path - 1);
  path[sizeof path - 1] = '\0';
  memcpy(path, "0::", 3);
  root_make();
  file_is("proc/self/cgroup", path);
  file_is("sys/fs/cgroup/memory.max", "4096\n");
  ck_assert_uint_eq(allowed_by_groups(root), 4096);
  root_remove();
}
END_TEST

START_TEST(test_this_machine)
{
  uint64_t allowed = allowed_memory();
  ck_assert_uint_gt(allowed, 0);
  ck_assert_uint_le(allowed, uv_get_total_memory());
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("allowed");
  TCase *tcase = tcase_create("allowed");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_groups);
  tcase_add_test(tcase, test_a_long_path);
  tcase_add_test(tcase, test_this_machine);
  return suite;
}
