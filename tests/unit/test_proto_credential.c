/* Key files and certificate files: what is taken, and that no refusal tells what is in them. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/host/credential.h"

#include "runner.h"

static char folder[] = "/tmp/test-secret-XXXXXX";
static char file[64];

static void setup(void)
{
  ck_assert_ptr_nonnull(mkdtemp(folder));
  snprintf(file, sizeof(file), "%s/file", folder);
}

static void teardown(void)
{
  unlink(file);
  ck_assert_int_eq(rmdir(folder), 0);
}

static void put(const char *bytes, size_t size, mode_t mode)
{
  int fd = open(file, O_CREAT | O_TRUNC | O_WRONLY, 0600);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, bytes, size), (ssize_t)size);
  ck_assert_int_eq(fchmod(fd, mode), 0);
  close(fd);
}

static const struct {
  const char *bytes;
  const char *key;
} good[] = {
    {"secret", "secret"},
    {"secret\n", "secret"},
    {"secret\r\n", "secret"},
    {" \tsecret \t\n", "secret"},
    {"two words\n", "two words"},
    {"secret\nnot this\n", "secret"},
    {"s\n\001\n", "s"},
    {"\xef\xbb\xbf"
     "bom\r\n",
     "bom"},
};

START_TEST(test_good_keys)
{
  char why[CREDENTIAL_WHY_MAX] = "";
  char *key = NULL;

  put(good[_i].bytes, strlen(good[_i].bytes), 0600);
  ck_assert_msg(credential_read_key(file, &key, why) == 0, "%s", why);
  ck_assert_str_eq(key, good[_i].key);
  credential_free(key);
  credential_free(NULL);
}
END_TEST

static void check_bad_key(int error, const char *reason)
{
  char why[CREDENTIAL_WHY_MAX] = "";
  char *key = NULL;
  int rc = credential_read_key(file, &key, why);

  ck_assert_msg(rc == error, "%d, %s", rc, why);
  ck_assert_msg(strstr(why, reason) != NULL && strstr(why, file) == why + strlen("the key file "), "%s", why);
  ck_assert_ptr_null(strstr(why, "hidden"));
  ck_assert_ptr_null(key);
}

START_TEST(test_bad_keys)
{
  static char bytes[5000];

  check_bad_key(-ENOENT, "No such file or directory");
  put("", 0, 0600);
  check_bad_key(-EINVAL, "the first line has no key");
  put(" \n hidden\n", strlen(" \n hidden\n"), 0600);
  check_bad_key(-EINVAL, "the first line has no key");
  put("hidden\001\n", 8, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  put("hidden\303\266\n", 9, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  put("hidden\0x\n", 9, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  put("\xff\xfeh\0i\0\n\0", 8, 0600); /* UTF-16 */
  check_bad_key(-EINVAL, "printable ASCII");
  put("\xef\xbb\xbf\n", 4, 0600);
  check_bad_key(-EINVAL, "the first line has no key");
  put("hidden\0", 7, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  memset(bytes, 'x', sizeof(bytes));
  put(bytes, CREDENTIAL_KEY_MAX + 1, 0600);
  check_bad_key(-EINVAL, "longer than 4096 bytes");
  put(bytes, sizeof(bytes), 0600);
  check_bad_key(-EINVAL, "longer than 4096 bytes");
  unlink(file);
  ck_assert_int_eq(mkfifo(file, 0600), 0);
  check_bad_key(-EINVAL, "not a regular file");
  unlink(file);
  ck_assert_int_eq(mkdir(file, 0700), 0);
  check_bad_key(-EINVAL, "not a regular file");
  rmdir(file);
}
END_TEST

START_TEST(test_longest_key)
{
  static char bytes[CREDENTIAL_KEY_MAX + 1];
  char why[CREDENTIAL_WHY_MAX] = "";
  char *key = NULL;

  memset(bytes, 'x', CREDENTIAL_KEY_MAX);
  bytes[CREDENTIAL_KEY_MAX] = '\n';
  put(bytes, sizeof(bytes), 0600);
  ck_assert_msg(credential_read_key(file, &key, why) == 0, "%s", why);
  ck_assert_uint_eq(strlen(key), CREDENTIAL_KEY_MAX);
  credential_free(key);
}
END_TEST

/* One rule: what others may read is refused if we could mend it, what everybody may write unless nobody can. */

enum { NOBODY = 65534 };

enum reader { OWNER, ROOT, OTHER, READ_ONLY };

static const struct {
  enum reader reader;
  mode_t mode;
  bool taken;
} rule[] = {
    {OWNER, 0600, true},     {OWNER, 0400, true},  {OWNER, 0640, false},    {OWNER, 0604, false},
    {OWNER, 0444, false},    {OWNER, 0620, false}, {ROOT, 0600, true},      {ROOT, 0644, false},
    {ROOT, 0440, false},     {OTHER, 0444, true},  {OTHER, 0644, true},     {OTHER, 0604, true},
    {OTHER, 0646, false},    {OTHER, 0666, false}, {READ_ONLY, 0444, true}, {READ_ONLY, 0644, true},
    {READ_ONLY, 0666, true},
};

/* A bind mount of the folder in a namespace of this process alone. */
static void mount_read_only(void)
{
  ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
  ck_assert_int_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
  ck_assert_int_eq(mount(folder, folder, NULL, MS_BIND, NULL), 0);
  ck_assert_int_eq(mount(NULL, folder, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
}

/* Without any privilege, as this user. */
static void become(uid_t user)
{
  ck_assert_int_eq(setresgid(user, user, user), 0);
  ck_assert_int_eq(setresuid(user, user, user), 0);
}

/* In a process of its own: it cannot come back. */
static void try_rule(int i)
{
  char why[CREDENTIAL_WHY_MAX] = "";
  char *key = NULL;

  put("hidden\n", 7, rule[i].mode);
  ck_assert_int_eq(chmod(folder, 0755), 0);
  if (rule[i].reader != OTHER)
    ck_assert_int_eq(chown(file, NOBODY, NOBODY), 0);
  if (rule[i].reader == READ_ONLY)
    mount_read_only();
  if (rule[i].reader == OTHER || rule[i].reader == OWNER)
    become(NOBODY);
  int rc = credential_read_key(file, &key, why);
  ck_assert_msg(rc == (rule[i].taken ? 0 : -EPERM), "%d: %d %s", i, rc, why);
  ck_assert(rule[i].taken || strstr(why, "chmod 600") != NULL);
  ck_assert_ptr_null(strstr(why, "hidden"));
  credential_free(key);
}

START_TEST(test_rule)
{
  int status = 1;

  ck_assert_int_eq(geteuid(), 0);
  pid_t child = fork();
  if (child == 0) {
    try_rule(_i);
    _exit(0);
  }
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
}
END_TEST

/* Each of these makes it another file. */
START_TEST(test_look)
{
  struct credential_mark before = credential_look(file), now = credential_look(file), none = credential_look(NULL);
  char other[80];

  ck_assert_int_eq(before.error, ENOENT);
  ck_assert(credential_same(&before, &now) && !credential_same(&before, &none));
  for (int i = 0; i < 4; i++) {
    before = now;
    if (i == 0)
      put("a\n", 2, 0600);
    if (i == 1)
      put("ab\n", 3, 0600);
    if (i == 2)
      ck_assert_int_eq(chmod(file, 0640), 0);
    if (i == 3) {
      snprintf(other, sizeof other, "%s", file);
      strcat(other, ".new");
      ck_assert_int_eq(rename(file, other), 0);
      put("ab\n", 3, 0640);
      ck_assert_int_eq(unlink(other), 0);
    }
    now = credential_look(file);
    ck_assert_msg(!credential_same(&before, &now), "%d", i);
    before = credential_look(file);
    ck_assert(credential_same(&before, &now));
  }
}
END_TEST

START_TEST(test_certificates)
{
  static const char pem[] = "# ours\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
  static const char secret[] = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n";
  const size_t large = 1024 * 1024 + 1;
  char why[CREDENTIAL_WHY_MAX] = "";
  char *text = NULL;
  char *bytes = calloc(1, large);

  ck_assert_ptr_nonnull(bytes);
  put(pem, strlen(pem), 0644);
  ck_assert_msg(credential_read_pem(file, &text, why) == 0, "%s", why);
  ck_assert_str_eq(text, pem);
  free(text);
  put("nothing\n", 8, 0644);
  ck_assert_int_eq(credential_read_pem(file, &text, why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "nothing in PEM form"));
  put(pem, sizeof(pem), 0644);
  ck_assert_int_eq(credential_read_pem(file, &text, why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "not a text file"));
  put(secret, strlen(secret), 0644);
  ck_assert_int_eq(credential_read_private_pem(file, &text, why), -EPERM);
  ck_assert_ptr_nonnull(strstr(why, "it is open to others: chmod 600 it first"));
  put(secret, strlen(secret), 0600);
  ck_assert_int_eq(credential_read_private_pem(file, &text, why), 0);
  ck_assert_str_eq(text, secret);
  credential_free(text);
  put(pem, strlen(pem), 0644);
  ck_assert_int_eq(credential_read_private_pem(file, &text, why), 0);
  credential_free(text);
  put(bytes, large, 0644);
  ck_assert_int_eq(credential_read_pem(file, &text, why), -EFBIG);
  ck_assert_ptr_null(text);
  unlink(file);
  ck_assert_int_eq(credential_read_pem(file, &text, why), -ENOENT);
  free(bytes);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("credential");
  TCase *tcase = tcase_create("credential");

  suite_add_tcase(suite, tcase);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_loop_test(tcase, test_good_keys, 0, sizeof(good) / sizeof(good[0]));
  tcase_add_test(tcase, test_bad_keys);
  tcase_add_test(tcase, test_longest_key);
  tcase_add_loop_test(tcase, test_rule, 0, sizeof(rule) / sizeof(rule[0]));
  tcase_add_test(tcase, test_look);
  tcase_add_test(tcase, test_certificates);
  return suite;
}
