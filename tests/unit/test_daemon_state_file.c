/* The file itself, on a real disk: who may have it, and what becomes of it when a write, an fsync or a rename fails.
 *
 * The definitions here take the place of the C library's, so that the Nth call can fail.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/keep/state_file.h"
#include "daemon/keep/state_format.h"

#include "runner.h"

enum step { STEP_NONE, STEP_WRITE, STEP_FSYNC, STEP_RENAME };

static enum step failing;
static int failing_in, failing_errno; /* which call from now on */

static bool fails(enum step step)
{
  if (step != failing || --failing_in != 0)
    return false;
  errno = failing_errno;
  return true;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
ssize_t write(int fd, const void *bytes, size_t size)
{
  if (fails(STEP_WRITE))
    return -1;
  /* In small parts, so that there is more than one. */
  return (ssize_t)syscall(SYS_write, fd, bytes, failing == STEP_WRITE && size > 3 ? 3 : size);
}

int fsync(int fd)
{
  return fails(STEP_FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
  return fails(STEP_RENAME) ? -1 : (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

static char folder[64], path[128];
static struct state_file file;
static char *bytes;
static size_t size;
static char why[STATE_FILE_WHY_MAX];

static void setup(void)
{
  snprintf(folder, sizeof(folder), "/tmp/mm-state-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(path, sizeof(path), "%s/state", folder);
  failing = STEP_NONE;
  file = (struct state_file){.directory = -1, .lock = -1};
  bytes = NULL;
}

static void drop(void)
{
  free(bytes);
  bytes = NULL;
  state_file_close(&file);
}

static void teardown(void)
{
  char command[128];

  drop();
  snprintf(command, sizeof(command), "rm -rf %s", folder);
  ck_assert_int_eq(system(command), 0);
}

static int take(void)
{
  return state_file_open(&file, path, &bytes, &size, why);
}

static void put(const char *text, mode_t mode)
{
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  ck_assert_int_eq(fchmod(fd, mode), 0);
  close(fd);
}

static void refuses(int error, const char *phrase)
{
  ck_assert_int_eq(take(), error);
  ck_assert_msg(strstr(why, phrase) != NULL, "\"%s\"", why);
  ck_assert_ptr_null(bytes);
  ck_assert_int_eq(file.directory, -1);
  ck_assert_int_eq(file.lock, -1);
}

static bool exists(const char *suffix)
{
  char name[160];

  snprintf(name, sizeof(name), "%s%s", path, suffix);
  return access(name, F_OK) == 0;
}

static void has(const char *text)
{
  char got[256] = "";
  FILE *f = fopen(path, "re");

  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fread(got, 1, sizeof(got) - 1, f), strlen(text));
  ck_assert_str_eq(got, text);
  fclose(f);
}

START_TEST(what_is_missing_is_made_by_the_first_write)
{
  struct stat st;

  umask(0);
  ck_assert_msg(take() == 0, "%s", why);
  ck_assert_ptr_null(bytes);
  ck_assert(!exists(""));
  ck_assert_msg(state_file_write(&file, "one\n", 4, why) == 0, "%s", why);
  has("one\n");
  ck_assert_int_eq(stat(path, &st), 0);
  ck_assert_uint_eq(st.st_mode & 07777, 0600);
  ck_assert(!exists(".tmp"));
  ck_assert_int_eq(state_file_write(&file, "two and more\n", 13, why), 0);
  has("two and more\n");
  ck_assert_int_eq(state_file_write(&file, "", 0, why), 0);
  has("");
}
END_TEST

START_TEST(what_is_there_is_read)
{
  put("text\n", 0600);
  ck_assert_msg(take() == 0, "%s", why);
  ck_assert_uint_eq(size, 5);
  ck_assert_mem_eq(bytes, "text\n", 5);
  drop();
  put("", 0644);
  ck_assert_int_eq(take(), 0);
  ck_assert_ptr_nonnull(bytes);
  ck_assert_uint_eq(size, 0);
}
END_TEST

START_TEST(what_a_crash_left_is_no_hindrance)
{
  char name[160];
  int fd;

  snprintf(name, sizeof(name), "%s.tmp", path);
  fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0400);
  ck_assert_int_ge(fd, 0);
  close(fd);
  put("old\n", 0600);
  ck_assert_int_eq(take(), 0);
  ck_assert_int_eq(state_file_write(&file, "new\n", 4, why), 0);
  has("new\n");
  ck_assert(!exists(".tmp"));
}
END_TEST

START_TEST(one_process_at_a_time)
{
  struct state_file other;
  char *others = NULL;
  size_t others_size;

  ck_assert_int_eq(take(), 0);
  ck_assert_int_eq(state_file_open(&other, path, &others, &others_size, why), -EBUSY);
  ck_assert_ptr_nonnull(strstr(why, "in use by another mmfs: give each mount a file of its own"));
  /* After a rename, too. */
  ck_assert_int_eq(state_file_write(&file, "x\n", 2, why), 0);
  ck_assert_int_eq(state_file_open(&other, path, &others, &others_size, why), -EBUSY);
  drop();
  ck_assert_int_eq(state_file_open(&other, path, &others, &others_size, why), 0);
  free(others);
  state_file_close(&other);
  state_file_close(&other);
}
END_TEST

START_TEST(who_is_about_to_end_is_waited_for)
{
  int ends[2];
  char byte = 0;
  pid_t child;

  ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    bool taken = take() == 0 && write(ends[1], &byte, 1) == 1;

    usleep(100 * 1000);
    _exit(taken ? 0 : 1);
  }
  ck_assert_int_eq(read(ends[0], &byte, 1), 1);
  ck_assert_msg(take() == 0, "%s", why);
  close(ends[0]);
  close(ends[1]);
}
END_TEST

START_TEST(what_is_not_ours_is_refused)
{
  char other[160];

  put("x\n", 0620);
  refuses(-EPERM, "others may write it");
  put("x\n", 0602);
  refuses(-EPERM, "chmod 600 it");
  put("x\n", 0600);
  if (geteuid() == 0) {
    ck_assert_int_eq(chown(path, 12345, 0), 0);
    refuses(-EPERM, "belongs to user 12345");
  }
  ck_assert_int_eq(truncate(path, STATE_SIZE_MAX + 1), 0);
  ck_assert_int_eq(chown(path, geteuid(), getegid()), 0);
  refuses(-EFBIG, "larger than any state file");
  snprintf(other, sizeof(other), "%s.other", path);
  ck_assert_int_eq(rename(path, other), 0);
  ck_assert_int_eq(symlink(other, path), 0);
  refuses(-ELOOP, "symbolic link: name the file itself");
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  refuses(-EINVAL, "is not a regular file");
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(mkdir(path, 0700), 0);
  refuses(-EINVAL, "is not a regular file");
}
END_TEST

START_TEST(paths_that_make_no_sense)
{
  static const struct {
    const char *name;
    int error;
    const char *why;
  } rows[] = {
      {"missing/state", -ENOENT, "its directory cannot be used: No such file"},
      {"file/state", -ENOTDIR, "its directory cannot be used: Not a directory"},
      {"x/", -EISDIR, "name a file"},
      {"", -EISDIR, "name a file"},
      {".", -EISDIR, "name a file"},
      {"..", -EISDIR, "name a file"},
  };
  char *length = path + strlen(path) - strlen("state");

  snprintf(length, 16, "file");
  put("", 0600);
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    snprintf(length, 32, "%s", rows[i].name);
    refuses(rows[i].error, rows[i].why);
  }
}
END_TEST

START_TEST(a_name_that_is_too_long)
{
  char name[400] = "/tmp/";
  struct state_file f;

  memset(name + 5, 'x', 250);
  ck_assert_int_eq(state_file_open(&f, name, &bytes, &size, why), -ENAMETOOLONG);
}
END_TEST

START_TEST(a_name_without_a_folder)
{
  ck_assert_int_eq(chdir(folder), 0);
  ck_assert_msg(state_file_open(&file, "state", &bytes, &size, why) == 0, "%s", why);
  ck_assert_int_eq(chdir("/"), 0);
  ck_assert_int_eq(state_file_write(&file, "x\n", 2, why), 0);
  has("x\n");
}
END_TEST

static const struct {
  enum step step;
  int nth, error;
  const char *why;
} steps[] = {
    {STEP_WRITE, 1, EIO, "cannot write state.tmp: Input/output error"},
    {STEP_WRITE, 2, ENOSPC, "cannot write state.tmp: No space left on device"},
    {STEP_WRITE, 3, EDQUOT, "cannot write state.tmp: Disk quota exceeded"},
    {STEP_FSYNC, 1, EIO, "cannot write state.tmp: Input/output error"},
    {STEP_RENAME, 1, EACCES, "cannot rename state.tmp: Permission denied"},
};

START_TEST(what_fails_leaves_the_former_contents)
{
  ck_assert_int_eq(take(), 0);
  ck_assert_int_eq(state_file_write(&file, "former\n", 7, why), 0);
  failing = steps[_i].step;
  failing_in = steps[_i].nth;
  failing_errno = steps[_i].error;
  ck_assert_int_eq(state_file_write(&file, "the newer one\n", 14, why), -steps[_i].error);
  ck_assert_str_eq(why, steps[_i].why);
  failing = STEP_NONE;
  has("former\n");
  ck_assert(!exists(".tmp"));
  ck_assert_int_eq(state_file_write(&file, "the newer one\n", 14, why), 0);
  has("the newer one\n");
}
END_TEST

START_TEST(an_interrupted_write_goes_on)
{
  ck_assert_int_eq(take(), 0);
  failing = STEP_WRITE;
  failing_in = 2;
  failing_errno = EINTR;
  ck_assert_int_eq(state_file_write(&file, "uninterrupted\n", 14, why), 0);
  has("uninterrupted\n");
}
END_TEST

/* The second fsync is the directory's: the file has its new contents by then. */
START_TEST(a_directory_that_cannot_be_synced)
{
  ck_assert_int_eq(take(), 0);
  failing = STEP_FSYNC;
  failing_in = 2;
  failing_errno = EIO;
  ck_assert_int_eq(state_file_write(&file, "new\n", 4, why), -EIO);
  ck_assert_ptr_nonnull(strstr(why, "cannot bring the directory of state to the disk"));
  has("new\n");
  failing_in = 2;
  failing_errno = EINVAL;
  ck_assert_int_eq(state_file_write(&file, "newer\n", 6, why), 0);
}
END_TEST

START_TEST(a_folder_that_is_gone)
{
  char name[160];

  ck_assert_int_eq(take(), 0);
  snprintf(name, sizeof(name), "%s.lock", path);
  ck_assert_int_eq(unlink(name), 0);
  ck_assert_int_eq(rmdir(folder), 0);
  ck_assert_int_eq(state_file_write(&file, "x\n", 2, why), -ENOENT);
  ck_assert_ptr_nonnull(strstr(why, "cannot make state.tmp"));
  ck_assert_int_eq(mkdir(folder, 0700), 0);
}
END_TEST

START_TEST(a_limit_of_size)
{
  struct rlimit limit;

  signal(SIGXFSZ, SIG_IGN);
  ck_assert_int_eq(take(), 0);
  ck_assert_int_eq(state_file_write(&file, "former\n", 7, why), 0);
  ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = 8;
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  ck_assert_int_eq(state_file_write(&file, "more than eight\n", 16, why), -EFBIG);
  limit.rlim_cur = limit.rlim_max;
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  has("former\n");
  ck_assert(!exists(".tmp"));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("state_file");
  TCase *tcase = tcase_create("state_file");

  suite_add_tcase(suite, tcase);
  tcase_set_timeout(tcase, 30);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, what_is_missing_is_made_by_the_first_write);
  tcase_add_test(tcase, what_is_there_is_read);
  tcase_add_test(tcase, what_a_crash_left_is_no_hindrance);
  tcase_add_test(tcase, one_process_at_a_time);
  tcase_add_test(tcase, who_is_about_to_end_is_waited_for);
  tcase_add_test(tcase, what_is_not_ours_is_refused);
  tcase_add_test(tcase, paths_that_make_no_sense);
  tcase_add_test(tcase, a_name_that_is_too_long);
  tcase_add_test(tcase, a_name_without_a_folder);
  tcase_add_loop_test(tcase, what_fails_leaves_the_former_contents, 0, sizeof(steps) / sizeof(steps[0]));
  tcase_add_test(tcase, an_interrupted_write_goes_on);
  tcase_add_test(tcase, a_directory_that_cannot_be_synced);
  tcase_add_test(tcase, a_folder_that_is_gone);
  tcase_add_test(tcase, a_limit_of_size);
  return suite;
}
