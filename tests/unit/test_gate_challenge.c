/* Which paths are challenges, and which files are read for them. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gate/tls/challenge.h"
#include "runner.h"

#define FOLDER "/.well-known/acme-challenge/"

static bool is(const char *path, char token[CHALLENGE_TOKEN_MAX + 1])
{
  return challenge_is(path, strlen(path), token);
}

START_TEST(a_token_is_no_path)
{
  static const char *const others[] = {"/",          FOLDER,          FOLDER "a/b",
                                       FOLDER "..",  FOLDER "a.b",    FOLDER "a?b",
                                       FOLDER "%2e", "/x" FOLDER "a", "/.well-known/acme-challengeX/a"};
  char token[CHALLENGE_TOKEN_MAX + 1], path[512] = FOLDER;

  ck_assert(is(FOLDER "aZ09-_", token));
  ck_assert_str_eq(token, "aZ09-_");
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    ck_assert_msg(!is(others[i], token), "%s", others[i]);
  memset(path + strlen(FOLDER), 'a', CHALLENGE_TOKEN_MAX + 1);
  ck_assert(!is(path, token));
  path[strlen(FOLDER) + CHALLENGE_TOKEN_MAX] = '\0';
  ck_assert(is(path, token));
  ck_assert_uint_eq(strlen(token), CHALLENGE_TOKEN_MAX);
}
END_TEST

START_TEST(only_small_regular_files_are_read)
{
  char root[] = "/tmp/test-challenge-XXXXXX", path[128], contents[CHALLENGE_SIZE_MAX];
  size_t size = 0;

  ck_assert_ptr_nonnull(mkdtemp(root));
  ck_assert_int_eq(challenge_check(root), 0);
  ck_assert_int_eq(challenge_read(root, "a", contents, &size), -ENOENT);
  snprintf(path, sizeof path, "%s/.well-known", root);
  ck_assert_int_eq(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s%s", root, FOLDER);
  ck_assert_int_eq(mkdir(path, 0700), 0);
  ck_assert_int_eq(challenge_read(root, "a", contents, &size), -ENOENT);
  snprintf(path, sizeof path, "%s%sa", root, FOLDER);
  FILE *file = fopen(path, "w");
  ck_assert_ptr_nonnull(file);
  for (int i = 0; i < CHALLENGE_SIZE_MAX; i++)
    fputc('x', file);
  fflush(file);
  ck_assert_int_eq(challenge_read(root, "a", contents, &size), 0);
  ck_assert_uint_eq(size, CHALLENGE_SIZE_MAX);
  fputc('x', file);
  fclose(file);
  ck_assert_int_eq(challenge_read(root, "a", contents, &size), -EFBIG);
  ck_assert_int_eq(challenge_check(path), -ENOTDIR);
  snprintf(path, sizeof path, "%s%sb", root, FOLDER);
  ck_assert_int_eq(symlink("a", path), 0);
  ck_assert_int_eq(challenge_read(root, "b", contents, &size), -ELOOP);
  ck_assert_int_eq(unlink(path), 0);
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  ck_assert_int_eq(challenge_read(root, "b", contents, &size), -EINVAL);
  snprintf(path, sizeof path, "rm -r %s", root);
  ck_assert_int_eq(system(path), 0);
  ck_assert_int_eq(challenge_check(root), -ENOENT);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("challenge");
  TCase *t = tcase_create("challenge");
  tcase_add_test(t, a_token_is_no_path);
  tcase_add_test(t, only_small_regular_files_are_read);
  suite_add_tcase(s, t);
  return s;
}
