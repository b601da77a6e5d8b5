/* The files of a mount that change: what is taken, what stays, and what is told of it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "daemon/credentials.h"

#include "runner.h"

static char folder[] = "/tmp/test-credentials-XXXXXX";
static uv_loop_t loop;
static unsigned changes, bads, reloads, untold;
static char trouble[CREDENTIAL_WHY_MAX];

static void put(const char *name, const char *text)
{
  int fd = open(name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
}

static void on_changed(struct credentials *c, void *arg)
{
  (void)c;
  (void)arg;
  changes++;
}

static void on_bad(struct credentials *c, const char *why, void *arg)
{
  (void)c;
  (void)arg;
  bads++;
  snprintf(trouble, sizeof trouble, "%s", why);
}

static void on_reloaded(struct credentials *c, bool told, void *arg)
{
  (void)c;
  (void)arg;
  reloads++;
  untold += !told;
}

static const struct credentials_events events = {.changed = on_changed, .bad = on_bad, .reloaded = on_reloaded};

static void setup(void)
{
  ck_assert_ptr_nonnull(mkdtemp(folder));
  ck_assert_int_eq(chdir(folder), 0);
  ck_assert_int_eq(uv_loop_init(&loop), 0);
}

static void teardown(void)
{
  ck_assert_int_eq(uv_loop_close(&loop), 0);
  ck_assert_int_eq(chdir(folder), 0);
  unlink("key");
  unlink("ca");
  ck_assert_int_eq(rmdir(folder), 0);
}

static struct credentials *opened(const char *key, const char *ca)
{
  struct credentials *c = NULL;
  char why[CREDENTIAL_WHY_MAX] = "";
  ck_assert_msg(credentials_open(&c, key, ca, why) == 0, "%s", why);
  credentials_start(c, &loop, &events, NULL);
  return c;
}

static void check(struct credentials *c)
{
  credentials_check(c);
  uv_run(&loop, UV_RUN_DEFAULT);
}

static void reload(struct credentials *c)
{
  credentials_reload(c);
  uv_run(&loop, UV_RUN_DEFAULT);
}

START_TEST(test_changes)
{
  put("key", "one\n");
  struct credentials *c = opened("key", NULL);
  ck_assert_str_eq(credentials_key(c), "one");
  ck_assert_ptr_null(credentials_ca(c));
  /* As in the background: the path meant the folder of then. */
  ck_assert_int_eq(chdir("/"), 0);
  check(c);
  ck_assert_uint_eq(changes + bads + reloads, 0);
  ck_assert_int_eq(chdir(folder), 0);
  put("key", "second\n");
  ck_assert_int_eq(chdir("/"), 0);
  check(c);
  ck_assert_uint_eq(changes, 1);
  ck_assert_str_eq(credentials_key(c), "second");
  reload(c);
  ck_assert_uint_eq(changes + bads, 1);
  ck_assert_uint_eq(reloads, 1);
  ck_assert_uint_eq(untold, 1);
  credentials_free(c);
}
END_TEST

/* A trouble is told once, but to who asks. */
START_TEST(test_trouble)
{
  put("key", "one\n");
  struct credentials *c = opened("key", NULL);
  ck_assert_int_eq(unlink("key"), 0);
  for (int i = 0; i < 3; i++)
    check(c);
  ck_assert_uint_eq(bads, 1);
  ck_assert_ptr_nonnull(strstr(trouble, "No such file"));
  reload(c);
  ck_assert_uint_eq(bads, 2);
  ck_assert_uint_eq(reloads, 1);
  ck_assert_uint_eq(untold, 0);
  ck_assert_str_eq(credentials_key(c), "one");
  put("key", " \n");
  check(c);
  ck_assert_uint_eq(bads, 3);
  ck_assert_ptr_nonnull(strstr(trouble, "no key"));
  put("key", "one\n");
  check(c);
  ck_assert_uint_eq(changes, 0);
  ck_assert_uint_eq(bads, 3);
  credentials_free(c);
}
END_TEST

/* Both, or neither. */
START_TEST(test_both)
{
  char why[CREDENTIAL_WHY_MAX] = "";
  struct credentials *c = NULL;
  put("key", "one\n");
  put("ca", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n");
  ck_assert_int_eq(credentials_open(&c, "key", "ca", why), -EINVAL);
  ck_assert_ptr_nonnull(strstr(why, "no certificate that can be read"));
  ck_assert_ptr_null(c);
  ck_assert_int_eq(credentials_open(&c, NULL, "key", why), -EINVAL);
  c = opened(NULL, NULL);
  check(c);
  reload(c);
  ck_assert_uint_eq(untold, 1);
  credentials_free(c);
}
END_TEST

/* Asked while a look is under way, it is read once more; stopped meanwhile, nothing is told. */
START_TEST(test_meanwhile)
{
  put("key", "one\n");
  struct credentials *c = opened("key", NULL);
  credentials_check(c);
  credentials_reload(c);
  credentials_reload(c);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_uint_eq(reloads, 1);
  put("key", "second\n");
  credentials_reload(c);
  credentials_stop(c);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_uint_eq(reloads, 1);
  ck_assert_uint_eq(changes, 0);
  credentials_free(c);
  credentials_stop(NULL);
  credentials_free(NULL);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("credentials");
  TCase *tcase = tcase_create("credentials");
  suite_add_tcase(suite, tcase);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_changes);
  tcase_add_test(tcase, test_trouble);
  tcase_add_test(tcase, test_both);
  tcase_add_test(tcase, test_meanwhile);
  return suite;
}
