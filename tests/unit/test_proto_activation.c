/* The service manager's sockets: which of them are taken by which name. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/host/activation.h"
#include "runner.h"

static int fds[4];

/* Descriptors 3 to 6 are there. */
static void set_up(void)
{
  int null = open("/dev/null", O_RDONLY);
  ck_assert_int_ge(null, 0);
  for (int fd = 3; fd <= 6; fd++)
    ck_assert_int_eq(fd == null ? fd : dup2(null, fd), fd);
}

static void say(const char *count, const char *names)
{
  char pid[16];
  snprintf(pid, sizeof pid, "%ld", (long)getpid());
  setenv("LISTEN_PID", pid, 1);
  setenv("LISTEN_FDS", count, 1);
  if (names != NULL)
    setenv("LISTEN_FDNAMES", names, 1);
  else
    unsetenv("LISTEN_FDNAMES");
}

START_TEST(by_name)
{
  say("3", "http:https:mmgate.socket");
  ck_assert_uint_eq(activation_take("https", true, fds, 4), 2);
  ck_assert_int_eq(fds[0], 3);
  ck_assert_int_eq(fds[1], 5);
  ck_assert_int_ne(fcntl(5, F_GETFD) & FD_CLOEXEC, 0);
  ck_assert_int_eq(fcntl(4, F_GETFD) & FD_CLOEXEC, 0);
  ck_assert_uint_eq(activation_take("https", false, fds, 4), 1);
  ck_assert_int_eq(fds[0], 4);
  ck_assert_uint_eq(activation_take("http", false, fds, 4), 1);
  ck_assert_uint_eq(activation_take("", false, fds, 4), 0);
}
END_TEST

START_TEST(without_names_or_with_too_few)
{
  say("2", NULL);
  ck_assert_uint_eq(activation_take("https", true, fds, 4), 2);
  ck_assert_uint_eq(activation_take("https", false, fds, 4), 0);
  say("2", "https");
  ck_assert_uint_eq(activation_take("https", true, fds, 4), 1);
  ck_assert_int_eq(fds[0], 4);
}
END_TEST

START_TEST(no_more_than_asked_for_and_there)
{
  say("4", NULL);
  ck_assert_uint_eq(activation_take("https", true, fds, 2), 2);
  close(6);
  ck_assert_uint_eq(activation_take("https", true, fds, 4), 3);
}
END_TEST

START_TEST(what_is_not_for_us)
{
  static const char *const counts[] = {"", "0", "-1", "x", "1x", " 1", "99999999999999999999", "4097"};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    say(counts[i], NULL);
    ck_assert_uint_eq(activation_take("https", true, fds, 4), 0);
  }
  say("2", NULL);
  setenv("LISTEN_PID", "1", 1);
  ck_assert_uint_eq(activation_take("https", true, fds, 4), 0);
  unsetenv("LISTEN_PID");
  ck_assert_uint_eq(activation_take("https", true, fds, 4), 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("activation");
  TCase *t = tcase_create("activation");
  tcase_add_checked_fixture(t, set_up, NULL);
  tcase_add_test(t, by_name);
  tcase_add_test(t, without_names_or_with_too_few);
  tcase_add_test(t, no_more_than_asked_for_and_there);
  tcase_add_test(t, what_is_not_for_us);
  suite_add_tcase(s, t);
  return s;
}
