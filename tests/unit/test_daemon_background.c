/* The first process, run as a child of the test: how it ends, what it prints, and what the daemon has left. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/start/background.h"

#include "runner.h"

struct result {
  int status;        /* of the first process */
  char printed[512]; /* on its stderr, by both processes */
  char report[512];  /* of the daemon */
};

/* What runs as the daemon; `report` is a pipe to the test. */
typedef void (*daemon_cb)(struct background *b, int report);

static void read_to_end(int fd, char *out, size_t size)
{
  size_t got = 0;
  ssize_t n;

  while ((n = read(fd, out + got, size - 1 - got)) > 0)
    got += (size_t)n;
  out[got] = '\0';
  close(fd);
}

static void run(daemon_cb daemon, struct result *result)
{
  int err[2];
  int report[2];
  pid_t child;

  ck_assert_int_eq(pipe(err), 0);
  ck_assert_int_eq(pipe2(report, O_CLOEXEC), 0);
  child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    struct background b;

    close(err[0]);
    close(report[0]);
    dup2(err[1], STDERR_FILENO);
    close(err[1]);
    if (background_start(&b, "program") != 0)
      _exit(99);
    daemon(&b, report[1]);
    _exit(EXIT_SUCCESS);
  }
  close(err[1]);
  close(report[1]);
  ck_assert_int_eq(waitpid(child, &result->status, 0), child);
  read_to_end(report[0], result->report, sizeof(result->report));
  read_to_end(err[0], result->printed, sizeof(result->printed));
}

static void daemon_ready(struct background *b, int report)
{
  char cwd[64] = "";
  struct stat null = {0};
  struct stat st[2] = {0};

  stat("/dev/null", &null);
  fstat(STDIN_FILENO, &st[0]);
  fstat(STDOUT_FILENO, &st[1]);
  fprintf(stderr, "seen\n");
  dprintf(report, "ready %d\n", background_ready(b));
  fprintf(stderr, "not seen\n");
  dprintf(report, "session %d\n", getsid(0) == getpid());
  dprintf(report, "cwd %s\n", getcwd(cwd, sizeof(cwd)));
  dprintf(report, "null %d %d\n", st[0].st_rdev == null.st_rdev, st[1].st_rdev == null.st_rdev);
  dprintf(report, "again %d\n", background_ready(b) == -EPIPE);
}

START_TEST(test_ready)
{
  struct result r;

  run(daemon_ready, &r);
  ck_assert(WIFEXITED(r.status));
  ck_assert_int_eq(WEXITSTATUS(r.status), 0);
  ck_assert_str_eq(r.printed, "seen\n");
  ck_assert_str_eq(r.report, "ready 0\nsession 1\ncwd /\nnull 1 1\nagain 1\n");
}
END_TEST

static void daemon_failed(struct background *b, int report)
{
  (void)report;
  background_failed(b, 2, "the tree cannot be mounted");
}

static void daemon_failed_at_length(struct background *b, int report)
{
  char text[5000];

  (void)report;
  memset(text, 'x', sizeof(text) - 1);
  text[sizeof(text) - 1] = '\0';
  background_failed(b, 1, text);
}

static void daemon_killed(struct background *b, int report)
{
  (void)b, (void)report;
  raise(SIGKILL);
}

static void daemon_exits(struct background *b, int report)
{
  (void)b, (void)report;
}

static void check_failure(daemon_cb daemon, int status, const char *printed)
{
  struct result r;

  run(daemon, &r);
  ck_assert(WIFEXITED(r.status));
  ck_assert_int_eq(WEXITSTATUS(r.status), status);
  ck_assert_msg(strncmp(r.printed, printed, strlen(printed)) == 0, "%s", r.printed);
}

START_TEST(test_failures)
{
  check_failure(daemon_failed, 2, "program: the tree cannot be mounted\n");
  check_failure(daemon_failed_at_length, 1, "program: xxxxx");
  check_failure(daemon_killed, 1, "program: ended by signal 9 (Killed) before it was ready\n");
  check_failure(daemon_exits, 1, "program: ended before it was ready\n");
}
END_TEST

/* The first process is killed (Ctrl-C) before the daemon is ready: the daemon hears of it, and is not killed by a
 * signal itself. */
static void daemon_without_parent(struct background *b, int report)
{
  struct pollfd gone = {.fd = b->fd};

  kill(getppid(), SIGKILL);
  poll(&gone, 1, 10000);
  dprintf(report, "ready %d\n", background_ready(b) == -EPIPE);
}

START_TEST(test_nobody_waits)
{
  struct result r;

  run(daemon_without_parent, &r);
  ck_assert(WIFSIGNALED(r.status));
  ck_assert_str_eq(r.report, "ready 1\n");
}
END_TEST

/* The lock of a `9> file` under flock(1), the pipe of who reads our output: nobody waits for the daemon's end. */
static void daemon_with_heritage(struct background *b, int report)
{
  int own = open("/dev/null", O_RDWR | O_CLOEXEC);

  dprintf(report, "own %d\n", own >= 0 && fcntl(b->fd, F_GETFD) >= 0);
  for (int fd = STDERR_FILENO + 1; fd < 100; fd++)
    if (fcntl(fd, F_GETFD) == 0)
      dprintf(report, "inherited %d\n", fd);
  background_ready(b);
}

START_TEST(test_what_was_inherited_is_let_go)
{
  struct result r;
  int few = open("/dev/null", O_RDWR);

  ck_assert_int_ge(few, 0);
  for (int fd = 40; fd < 50; fd++)
    ck_assert_int_eq(dup2(few, fd), fd);
  run(daemon_with_heritage, &r);
  ck_assert_str_eq(r.report, "own 1\n");
}
END_TEST

/* stderr is the log file that somebody redirected it to: it is kept. */
static void daemon_with_file(struct background *b, int report)
{
  char name[] = "/tmp/test-background-XXXXXX";
  char text[32] = "";
  int fd = mkstemp(name);

  dup2(fd, STDERR_FILENO);
  background_ready(b);
  fprintf(stderr, "kept");
  if (pread(fd, text, sizeof(text) - 1, 0) < 0)
    text[0] = '\0';
  dprintf(report, "%s", text);
  unlink(name);
}

/* As systemd gives it: a socket whose name is in the environment. A pipe has a device and inode as well. */
static void daemon_with_journal(struct background *b, int report)
{
  char name[64];
  char text[32] = "";
  struct stat st;
  int fds[2];

  if (pipe(fds) != 0 || fstat(fds[1], &st) != 0)
    return;
  dup2(fds[1], STDERR_FILENO);
  snprintf(name, sizeof(name), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
  setenv("JOURNAL_STREAM", name, 1);
  background_ready(b);
  fprintf(stderr, "kept");
  fcntl(fds[0], F_SETFL, O_NONBLOCK);
  if (read(fds[0], text, sizeof(text) - 1) < 0)
    text[0] = '\0';
  dprintf(report, "%s", text);
}

START_TEST(test_stderr_is_kept)
{
  struct result r;

  run(daemon_with_file, &r);
  ck_assert_str_eq(r.report, "kept");
  run(daemon_with_journal, &r);
  ck_assert_str_eq(r.report, "kept");
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("background");
  TCase *tcase = tcase_create("background");

  suite_add_tcase(suite, tcase);
  tcase_set_timeout(tcase, 30);
  tcase_add_test(tcase, test_ready);
  tcase_add_test(tcase, test_failures);
  tcase_add_test(tcase, test_nobody_waits);
  tcase_add_test(tcase, test_what_was_inherited_is_let_go);
  tcase_add_test(tcase, test_stderr_is_kept);
  return suite;
}
