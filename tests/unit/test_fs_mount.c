/* The kit on a real mount. The tree is served by this process; who uses it is a child, so that the loop never touches
 * its own mount. */
#include "test_fs_example.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENT_LIMIT_MS = 60000 };

struct mounted {
  uv_loop_t loop;
  struct example example;
  struct fs_options options;
  struct fs *fs;
  char scratch[64]; /* a directory with: mnt, and room for the clients */
  char mountpoint[80];
  bool closed;
};

struct client {
  pid_t pid;
  int pidfd;
  uv_poll_t exit;
  uv_timer_t limit;
  int status;
  bool done;
};

static void mount_tree(struct mounted *m)
{
  memset(m, 0, sizeof(*m));
  ck_assert_int_eq(uv_loop_init(&m->loop), 0);
  snprintf(m->scratch, sizeof(m->scratch), "/tmp/test-fs-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(m->scratch));
  snprintf(m->mountpoint, sizeof(m->mountpoint), "%s/mnt", m->scratch);
  ck_assert_int_eq(mkdir(m->mountpoint, 0755), 0);
  example_init(&m->example, &m->loop);
  m->options = example_options(&m->example);
  char message[256] = "";
  int error = fs_open(&m->fs, &m->loop, m->mountpoint, &m->options, message, sizeof(message));
  ck_assert_msg(error == 0, "%s: %s", strerror(-error), message);
  m->example.fs = m->fs;
}

static void on_closed(void *arg)
{
  struct mounted *m = arg;
  m->closed = true;
}

static void close_tree(struct mounted *m)
{
  fs_close(m->fs, on_closed, m);
  while (!m->closed)
    uv_run(&m->loop, UV_RUN_ONCE);
  example_free(&m->example);
}

static void end_tree(struct mounted *m)
{
  if (!m->closed)
    close_tree(m);
  uv_run(&m->loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&m->loop), 0);
  char command[128];
  snprintf(command, sizeof(command), "rm -rf --one-file-system '%s'", m->scratch);
  ck_assert_int_eq(system(command), 0);
}

static void on_client_exit(uv_poll_t *poll, int status, int events)
{
  (void)status;
  (void)events;
  struct client *client = poll->data;
  if (waitpid(client->pid, &client->status, 0) != client->pid)
    return;
  client->done = true;
  uv_close((uv_handle_t *)&client->exit, NULL);
  uv_close((uv_handle_t *)&client->limit, NULL);
}

static void on_client_limit(uv_timer_t *timer)
{
  struct client *client = timer->data;
  fprintf(stderr, "a client took too long\n");
  kill(client->pid, SIGKILL);
}

static void start_client(struct mounted *m, struct client *client, int (*work)(struct mounted *m, const void *arg),
                         const void *arg)
{
  memset(client, 0, sizeof(*client));
  fflush(NULL);
  client->pid = fork();
  ck_assert_int_ge(client->pid, 0);
  if (client->pid == 0) {
    close_range(3, ~0U, 0);
    if (chdir(m->scratch) != 0)
      _exit(99);
    _exit(work(m, arg));
  }
  client->pidfd = (int)syscall(SYS_pidfd_open, client->pid, 0);
  ck_assert_int_ge(client->pidfd, 0);
  client->exit.data = client;
  client->limit.data = client;
  ck_assert_int_eq(uv_poll_init(&m->loop, &client->exit, client->pidfd), 0);
  ck_assert_int_eq(uv_poll_start(&client->exit, UV_READABLE, on_client_exit), 0);
  uv_timer_init(&m->loop, &client->limit);
  uv_timer_start(&client->limit, on_client_limit, CLIENT_LIMIT_MS, 0);
}

static int wait_client(struct mounted *m, struct client *client)
{
  while (!client->done)
    uv_run(&m->loop, UV_RUN_ONCE);
  uv_run(&m->loop, UV_RUN_NOWAIT);
  close(client->pidfd);
  return client->status;
}

static int run_shell(struct mounted *m, const void *arg)
{
  (void)m;
  execl("/bin/bash", "bash", "-euc", arg, (char *)NULL);
  return 98;
}

/* The script runs in the scratch directory, the tree is at mnt. */
static void shell(struct mounted *m, const char *script)
{
  struct client client;
  start_client(m, &client, run_shell, script);
  int status = wait_client(m, &client);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x of: %s", status, script);
}

static struct mounted m;

static void setup(void)
{
  mount_tree(&m);
}

static void teardown(void)
{
  end_tree(&m);
}

START_TEST(files_are_read)
{
  shell(&m, "test \"$(cat mnt/counter)\" = 7; test \"$(cat mnt/fixed)\" = fixed; test -z \"$(cat mnt/empty)\"");
  shell(&m, "test \"$(ls mnt | tr '\\n' ' ')\" = 'counter empty fixed list log many slow '");
  shell(&m, "test $(stat -c %s mnt/counter) = 2; grep -q fuse.example /proc/self/mounts");
}
END_TEST

START_TEST(lines_are_written)
{
  shell(&m, "echo 3 > mnt/counter; test $(cat mnt/counter) = 3; echo 4 >> mnt/counter; test $(cat mnt/counter) = 7");
  ck_assert_int_eq(m.example.counter, 7);
}
END_TEST

START_TEST(directories_come_and_go)
{
  shell(&m, "mkdir mnt/list/a; ls -l mnt/list/a; test \"$(cat mnt/list/a/name)\" = 'a '; echo v > mnt/list/a/value;"
            "test \"$(cat mnt/list/a/value)\" = 'a v'; rmdir mnt/list/a; ! test -e mnt/list/a");
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("fs mount");
  TCase *tests = tcase_create("mount");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_set_timeout(tests, 90);
  tcase_add_test(tests, files_are_read);
  tcase_add_test(tests, lines_are_written);
  tcase_add_test(tests, directories_come_and_go);
  suite_add_tcase(suite, tests);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
