/* Reading mountinfo, and directories that a tree cannot be mounted on. Dead mounts need a real one: the system tests
 * have them. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/start/mountpoint.h"

#include "runner.h"

static const char mountinfo[] =
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n"
    "23 22 0:5 / /dev rw,nosuid - devtmpfs udev rw,size=1k\n"
    "40 22 0:40 / /mnt/a\\040b\\134c rw,nosuid,nodev shared:5 master:2 - fuse.mmfs localhost:7000 "
    "rw,user_id=1000,group_id=1000,default_permissions\n"
    "41 22 0:41 / /mnt/twice rw - ext4 /dev/sdb1 rw\n"
    "42 41 0:42 / /mnt/twice rw - fuse.mmfs r:1 rw,group_id=5,user_id=7\n"
    "43 22 0:43 / /mnt/sshfs rw - fuse.sshfs host: rw,user_id=0,group_id=0\n"
    "44 22 0:44 / /mnt/nouser rw - fuse.mmfs r:1 rw,xuser_id=3\n"
    "45 22 0:45 / /mnt/auto rw - autofs systemd-1 rw,fd=5\n"
    "garbage\n"
    "46 22 0:46 / /mnt/no-separator rw shared:3\n"
    "47 22 0:47 / /mnt/no-type rw -\n"
    "48 22 0:48 / /mnt/no-newline rw - tmpfs t rw";

struct row {
  const char *path;
  const char *type; /* NULL: nothing is mounted there */
  bool has_user;
  uid_t user;
};

static const struct row rows[] = {
    {"/", "ext4", false, 0},
    {"/dev", "devtmpfs", false, 0},
    {"/mnt/a b\\c", "fuse.mmfs", true, 1000},
    {"/mnt/twice", "fuse.mmfs", true, 7},
    {"/mnt/sshfs", "fuse.sshfs", true, 0},
    {"/mnt/nouser", "fuse.mmfs", false, 0},
    {"/mnt/auto", "autofs", false, 0},
    {"/mnt/no-newline", "tmpfs", false, 0},
    {"/mnt", NULL, false, 0},
    {"/mnt/", NULL, false, 0},
    {"/mnt/a", NULL, false, 0},
    {"/mnt/a\\040b\\134c", NULL, false, 0},
    {"/mnt/a b", NULL, false, 0},
    {"/mnt/a b\\cd", NULL, false, 0},
    {"/mnt/twice/x", NULL, false, 0},
    {"/mnt/no-separator", NULL, false, 0},
    {"/mnt/no-type", NULL, false, 0},
    {"", NULL, false, 0},
};

START_TEST(test_find)
{
  const struct row *row = &rows[_i];
  struct mountpoint_mount found = {0};

  char *text = strdup(mountinfo);
  bool is = mountpoint_find(text, row->path, &found);

  free(text);
  ck_assert_msg(is == (row->type != NULL), "\"%s\"", row->path);
  if (row->type == NULL)
    return;
  ck_assert_str_eq(found.type, row->type);
  ck_assert_int_eq(found.has_user, row->has_user);
  ck_assert_uint_eq(found.user, row->user);
}
END_TEST

/* Whatever a text is cut to, it is only read to its end. */
START_TEST(test_find_in_any_part)
{
  struct mountpoint_mount found;

  for (size_t size = 0; size < sizeof(mountinfo); size++) {
    const char *const paths[] = {"/mnt/a b\\c", "/nowhere"};

    for (int i = 0; i < 2; i++) {
      char *part = strndup(mountinfo, size);
      ck_assert_ptr_nonnull(part);
      mountpoint_find(part, paths[i], &found);
      free(part);
    }
  }
}
END_TEST

static char folder[PATH_MAX];

static void setup(void)
{
  char name[] = "/tmp/test-mountpoint-XXXXXX";

  ck_assert_ptr_nonnull(mkdtemp(name));
  ck_assert_ptr_nonnull(realpath(name, folder));
  ck_assert_int_eq(chdir(folder), 0);
  ck_assert_int_eq(mkdir("empty", 0700), 0);
  ck_assert_int_eq(mkdir("full", 0700), 0);
  ck_assert_int_eq(mkdir("full/x", 0700), 0);
  ck_assert_int_eq(close(open("file", O_CREAT | O_WRONLY, 0600)), 0);
  ck_assert_int_eq(symlink("empty", "link"), 0);
  ck_assert_int_eq(symlink("../", "full/x/up"), 0);
  ck_assert_int_eq(symlink("nowhere", "dangling"), 0);
  ck_assert_int_eq(symlink("loop", "loop"), 0);
}

static void teardown(void)
{
  static const char *const files[] = {"file", "link", "full/x/up", "dangling", "loop"};
  static const char *const folders[] = {"full/x", "full", "empty"};

  for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
    unlink(files[i]);
  for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
    rmdir(folders[i]);
  ck_assert_int_eq(chdir("/"), 0);
  ck_assert_int_eq(rmdir(folder), 0);
}

static void check_good(const char *path, const char *expected)
{
  char why[MOUNTPOINT_WHY_MAX] = "";
  char *out = NULL;
  char full[PATH_MAX + 16];

  snprintf(full, sizeof(full), "%s/%s", folder, expected);
  ck_assert_msg(mountpoint_prepare(path, &out, why) == 0, "%s: %s", path, why);
  ck_assert_str_eq(out, full);
  free(out);
}

static void check_bad(const char *path, int error, const char *reason)
{
  char why[MOUNTPOINT_WHY_MAX] = "";
  char *out = NULL;
  int rc = mountpoint_prepare(path, &out, why);

  ck_assert_msg(rc == error, "%s: %d, %s", path, rc, why);
  ck_assert_msg(strstr(why, reason) != NULL, "%s: %s", path, why);
  ck_assert_ptr_null(out);
}

START_TEST(test_good)
{
  char absolute[PATH_MAX + 16];

  check_good("empty", "empty");
  check_good("./empty///", "empty");
  check_good("full/../empty", "empty");
  check_good("link", "empty");
  check_good("link/", "empty");
  snprintf(absolute, sizeof(absolute), "%s/empty", folder);
  check_good(absolute, "empty");
  ck_assert_int_eq(chdir("empty"), 0);
  check_good(".", "empty");
  ck_assert_int_eq(chdir(folder), 0);
}
END_TEST

START_TEST(test_bad)
{
  char why[MOUNTPOINT_WHY_MAX];
  char longest[PATH_MAX * 2];
  char *out;

  check_bad("nowhere", -ENOENT, "does not exist: mkdir -p it first");
  check_bad("nowhere/x", -ENOENT, "does not exist: mkdir -p it first");
  check_bad("dangling", -ENOENT, "does not exist: mkdir -p it first");
  check_bad("file", -ENOTDIR, "is not a directory");
  check_bad("file/x", -ENOTDIR, "Not a directory");
  check_bad("full", -ENOTEMPTY, "is not empty");
  check_bad("full/x/up", -ENOTEMPTY, "is not empty");
  check_bad("loop", -ELOOP, "Too many levels of symbolic links");
  check_bad("", -ENOENT, "does not exist");
  check_bad("/", -EBUSY, "is a mount point already, of type ");
  check_bad("/proc", -EBUSY, "is a mount point already, of type proc");
  check_bad("no\nwhere", -ENOENT, "no?where does not exist");
  memset(longest, 'x', sizeof(longest) - 1);
  longest[sizeof(longest) - 1] = '\0';
  ck_assert_int_eq(mountpoint_prepare(longest, &out, why), -ENAMETOOLONG);
}
END_TEST

/* What was meant for the tree is told from what makes this another directory. */
START_TEST(test_written_below)
{
  ck_assert_int_eq(mkdir("empty/services", 0700), 0);
  check_bad("empty", -ENOTEMPTY, "is not empty: \"services\" was written there while the tree was not mounted");
  ck_assert_int_eq(rmdir("empty/services"), 0);
  ck_assert_int_eq(mkdir("empty/forwards", 0700), 0);
  check_bad("empty", -ENOTEMPTY, "\"forwards\" was written there");
  ck_assert_int_eq(mkdir("empty/etc", 0700), 0);
  check_bad("empty", -ENOTEMPTY, "is not empty: mount on an empty directory");
  ck_assert_int_eq(rmdir("empty/etc"), 0);
  ck_assert_int_eq(rmdir("empty/forwards"), 0);
}
END_TEST

START_TEST(test_not_writable)
{
  ck_assert_int_eq(chmod(folder, 0755), 0);
  ck_assert_int_eq(chmod("empty", 0555), 0);
  if (geteuid() == 0)
    ck_assert_int_eq(seteuid(65534), 0);
  check_bad("empty", -EACCES, "is not writable by you");
  if (getuid() == 0)
    ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("mountpoint");
  TCase *pure = tcase_create("mountinfo");
  TCase *files = tcase_create("files");

  suite_add_tcase(suite, pure);
  tcase_add_loop_test(pure, test_find, 0, sizeof(rows) / sizeof(rows[0]));
  tcase_add_test(pure, test_find_in_any_part);
  suite_add_tcase(suite, files);
  tcase_add_checked_fixture(files, setup, teardown);
  tcase_add_test(files, test_good);
  tcase_add_test(files, test_bad);
  tcase_add_test(files, test_written_below);
  tcase_add_test(files, test_not_writable);
  return suite;
}
