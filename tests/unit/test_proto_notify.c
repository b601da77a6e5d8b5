/* What a manager hears, on a socket as systemd makes it. */
#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proto/host/notify.h"

#include "runner.h"

static char path[64];

/* A datagram socket with this name: "@x" is in the abstract namespace. */
static int manager(const char *name)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

  ck_assert_int_ge(fd, 0);
  memcpy(at.sun_path, name, strlen(name));
  if (name[0] == '@')
    at.sun_path[0] = '\0';
  ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                   0);
  ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
  return fd;
}

static void hears(int fd, const char *expected)
{
  char text[2048];
  ssize_t size = recv(fd, text, sizeof text - 1, 0);

  ck_assert_msg(size >= 0, "nothing came instead of %s", expected);
  text[size] = '\0';
  ck_assert_str_eq(text, expected);
}

static void hears_nothing(int fd)
{
  char byte;
  ck_assert_int_lt(recv(fd, &byte, 1, 0), 0);
}

START_TEST(test_said)
{
  struct notify n;
  char name[64];

  for (int abstract = 0; abstract < 2; abstract++) {
    snprintf(name, sizeof name, abstract ? "@mm-notify-%d" : "/tmp/mm-notify-%d", getpid());
    int fd = manager(name);
    notify_open(&n);
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    notify_say(&n, "READY", "1");
    hears(fd, "READY=1");
    notify_say(&n, "STATUS", "%s, %d", "connected\nMAINPID=1\x7f", 2);
    hears(fd, "STATUS=connected?MAINPID=1?, 2");
    notify_say(&n, "STATUS", "%0*d", 3000, 7);
    char text[2048];
    ck_assert_int_eq(recv(fd, text, sizeof text, 0), 1023);
    hears_nothing(fd);
    close(fd);
    unlink(name);
    notify_say(&n, "STOPPING", "1"); /* the manager is gone */
    fd = manager(name);
    unsetenv("NOTIFY_SOCKET");
    notify_say(&n, "STOPPING", "1"); /* and back, with another socket */
    hears(fd, "STOPPING=1");
    close(fd);
    unlink(name);
    notify_close(&n);
  }
}
END_TEST

/* Many more than a socket holds: none of them waits. */
START_TEST(test_a_manager_that_does_not_listen)
{
  struct notify n;

  snprintf(path, sizeof path, "@mm-notify-deaf-%d", getpid());
  int fd = manager(path);
  notify_open(&n);
  for (int i = 0; i < 10000; i++)
    notify_say(&n, "WATCHDOG", "1");
  hears(fd, "WATCHDOG=1");
  notify_close(&n);
  notify_say(&n, "WATCHDOG", "1");
  close(fd);
}
END_TEST

START_TEST(test_no_manager)
{
  static const char *const names[] = {NULL, "", "/", "@", "relative", "vsock:2:1234", "/nowhere/at/all", NULL};
  char name[200];
  struct notify n;

  memset(name, 'x', sizeof name);
  name[0] = '/';
  name[sizeof name - 1] = '\0';
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const char *it = i + 1 < sizeof names / sizeof *names ? names[i] : name;
    if (it != NULL)
      setenv("NOTIFY_SOCKET", it, 1);
    notify_open(&n);
    notify_say(&n, "READY", "1");
    ck_assert_ptr_null(getenv("NOTIFY_SOCKET"));
    ck_assert_uint_eq(n.alive_ms, 0);
    notify_close(&n);
  }
}
END_TEST

START_TEST(test_watchdog)
{
  static const struct {
    const char *us, *pid; /* "me": ours */
    uint64_t alive_ms;
  } rows[] = {
      {NULL, NULL, 0},
      {"60000000", NULL, 30000},
      {"60000000", "me", 30000},
      {"60000000", "1", 0},
      {"60000000", "", 0},
      {"60000000", "nobody", 0},
      {"1", "me", 1},
      {"3000", "me", 1},
      {"0", "me", 0},
      {"-5000000", "me", 0},
      {"5 s", "me", 0},
      {"", "me", 0},
      {NULL, "me", 0},
      {"99999999999999999999", "me", 0},
  };
  char me[16];

  snprintf(me, sizeof me, "%d", getpid());
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct notify n;
    setenv("NOTIFY_SOCKET", "@mm-nobody", 1);
    if (rows[i].us != NULL)
      setenv("WATCHDOG_USEC", rows[i].us, 1);
    if (rows[i].pid != NULL)
      setenv("WATCHDOG_PID", strcmp(rows[i].pid, "me") == 0 ? me : rows[i].pid, 1);
    notify_open(&n);
    ck_assert_msg(n.alive_ms == rows[i].alive_ms, "row %zu: %llu", i, (unsigned long long)n.alive_ms);
    ck_assert_ptr_null(getenv("WATCHDOG_USEC"));
    ck_assert_ptr_null(getenv("WATCHDOG_PID"));
    notify_close(&n);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("notify");
  TCase *tests = tcase_create("notify");
  tcase_add_test(tests, test_said);
  tcase_add_test(tests, test_a_manager_that_does_not_listen);
  tcase_add_test(tests, test_no_manager);
  tcase_add_test(tests, test_watchdog);
  suite_add_tcase(suite, tests);
  return suite;
}
