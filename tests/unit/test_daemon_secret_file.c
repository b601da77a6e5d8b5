/* Key files and certificate files: what is taken, and that no refusal tells what is in them. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/secret_file.h"

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
    {"secret", "secret"},         {"secret\n", "secret"},       {"secret\r\n", "secret"},
    {" \tsecret \t\n", "secret"}, {"two words\n", "two words"}, {"secret\nnot this\n", "secret"},
    {"s\n\001\n", "s"},
};

START_TEST(test_good_keys)
{
  char why[SECRET_FILE_WHY_MAX] = "";
  char *key = NULL;

  put(good[_i].bytes, strlen(good[_i].bytes), 0600);
  ck_assert_msg(secret_file_read_key(file, &key, why) == 0, "%s", why);
  ck_assert_str_eq(key, good[_i].key);
  secret_file_free_key(key);
  secret_file_free_key(NULL);
}
END_TEST

static void check_bad_key(int error, const char *reason)
{
  char why[SECRET_FILE_WHY_MAX] = "";
  char *key = NULL;
  int rc = secret_file_read_key(file, &key, why);

  ck_assert_msg(rc == error, "%d, %s", rc, why);
  ck_assert_msg(strstr(why, reason) != NULL && strstr(why, file) == why + strlen("key="), "%s", why);
  ck_assert_ptr_null(strstr(why, "hidden"));
  ck_assert_ptr_null(key);
}

START_TEST(test_bad_keys)
{
  static char bytes[5000];

  check_bad_key(-ENOENT, "No such file or directory");
  put("", 0, 0600);
  check_bad_key(-EINVAL, "no key in its first line");
  put(" \n hidden\n", strlen(" \n hidden\n"), 0600);
  check_bad_key(-EINVAL, "no key in its first line");
  put("hidden\001\n", 8, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  put("hidden\303\266\n", 9, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  put("hidden\0x\n", 9, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  put("hidden\0", 7, 0600);
  check_bad_key(-EINVAL, "printable ASCII");
  memset(bytes, 'x', sizeof(bytes));
  put(bytes, SECRET_FILE_KEY_MAX + 1, 0600);
  check_bad_key(-EINVAL, "longer than 4096 bytes");
  put(bytes, sizeof(bytes), 0600);
  check_bad_key(-EINVAL, "longer than 4096 bytes");
  put("hidden\n", 7, 0640);
  check_bad_key(-EPERM, "chmod 600");
  put("hidden\n", 7, 0604);
  check_bad_key(-EPERM, "chmod 600");
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
  static char bytes[SECRET_FILE_KEY_MAX + 1];
  char why[SECRET_FILE_WHY_MAX] = "";
  char *key = NULL;

  memset(bytes, 'x', SECRET_FILE_KEY_MAX);
  bytes[SECRET_FILE_KEY_MAX] = '\n';
  put(bytes, sizeof(bytes), 0600);
  ck_assert_msg(secret_file_read_key(file, &key, why) == 0, "%s", why);
  ck_assert_uint_eq(strlen(key), SECRET_FILE_KEY_MAX);
  secret_file_free_key(key);
}
END_TEST

/* Whether others may read a file that is somebody else's is not ours to judge. */
START_TEST(test_key_of_somebody_else)
{
  char why[SECRET_FILE_WHY_MAX] = "";
  char *key = NULL;

  if (geteuid() != 0)
    return;
  put("secret\n", 7, 0644);
  ck_assert_int_eq(chown(file, 65534, 65534), 0);
  ck_assert_msg(secret_file_read_key(file, &key, why) == 0, "%s", why);
  secret_file_free_key(key);
}
END_TEST

START_TEST(test_certificates)
{
  static const char pem[] = "# ours\n-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
  const size_t large = 1024 * 1024 + 1;
  char why[SECRET_FILE_WHY_MAX] = "";
  char *text = NULL;
  char *bytes = calloc(1, large);

  ck_assert_ptr_nonnull(bytes);
  put(pem, strlen(pem), 0644);
  ck_assert_msg(secret_file_read_certificates(file, &text, why) == 0, "%s", why);
  ck_assert_str_eq(text, pem);
  free(text);
  put("nothing\n", 8, 0644);
  ck_assert_int_eq(secret_file_read_certificates(file, &text, why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "no certificate in PEM form"));
  put(pem, sizeof(pem), 0644);
  ck_assert_int_eq(secret_file_read_certificates(file, &text, why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "not a text file"));
  put(bytes, large, 0644);
  ck_assert_int_eq(secret_file_read_certificates(file, &text, why), -EFBIG);
  ck_assert_ptr_null(text);
  unlink(file);
  ck_assert_int_eq(secret_file_read_certificates(file, &text, why), -ENOENT);
  free(bytes);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("secret_file");
  TCase *tcase = tcase_create("secret_file");
  SRunner *runner = srunner_create(suite);
  int failed;

  suite_add_tcase(suite, tcase);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_loop_test(tcase, test_good_keys, 0, sizeof(good) / sizeof(good[0]));
  tcase_add_test(tcase, test_bad_keys);
  tcase_add_test(tcase, test_longest_key);
  tcase_add_test(tcase, test_key_of_somebody_else);
  tcase_add_test(tcase, test_certificates);
  srunner_run_all(runner, CK_NORMAL);
  failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
