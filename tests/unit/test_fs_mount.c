/* The kit on a real mount. The tree is served by this process; who uses it is a child, so that the loop never touches
 * its own mount. */
#include "fixture_fs_example.h"

#include "fs/fs_internal.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner.h"

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
  char script[4096];
  snprintf(script, sizeof(script), "not() { if \"$@\"; then echo \"not: $*\" >&2; exit 97; fi; }; %s",
           (const char *)arg);
  execl("/bin/bash", "bash", "-euc", script, (char *)NULL);
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
  shell(&m, "test \"$(ls mnt | tr '\\n' ' ')\" = 'blob counter empty fixed judge list log many slow '");
  shell(&m, "test $(stat -c %s mnt/counter) = 2; grep -q 'fuse.example.*default_permissions' /proc/self/mounts");
  shell(&m, "head -c 1 mnt/counter; wc -c < mnt/counter; dd if=mnt/fixed bs=1 2>/dev/null | grep -qx fixed");
  shell(&m,
        "test \"$(stat -c %U:%a mnt)\" = \"$(id -un):755\"; test $(stat -c %i mnt/fixed) = $(stat -c %i mnt/fixed)");
}
END_TEST

START_TEST(lines_are_written)
{
  shell(&m, "echo 3 > mnt/counter; test $(cat mnt/counter) = 3; echo 4 >> mnt/counter; test $(cat mnt/counter) = 7");
  ck_assert_int_eq(m.example.counter, 7);
  shell(&m, "printf '1\\n2\\n3' > mnt/counter; test $(cat mnt/counter) = 6");
  shell(&m, "printf '10\\n20\\n30\\n' | dd of=mnt/counter bs=1 2>/dev/null; test $(cat mnt/counter) = 60");
  shell(&m, "printf 5 > mnt/counter; test $(cat mnt/counter) = 5; : > mnt/counter; test $(cat mnt/counter) = 5");
  shell(&m, "not eval 'echo x > mnt/counter' 2> err; grep -q 'Invalid argument' err; test $(cat mnt/counter) = 5");
  shell(&m, "exec 4> mnt/counter; echo 1 >&4; echo 2 >&4; exec 4>&-; test $(cat mnt/counter) = 3");
}
END_TEST

START_TEST(directories_come_and_go)
{
  shell(&m, "mkdir mnt/list/a; ls -l mnt/list/a > l; test \"$(cat mnt/list/a/name)\" = 'a '; echo v > mnt/list/a/value;"
            "test \"$(cat mnt/list/a/value)\" = 'a v'; rmdir mnt/list/a; not test -e mnt/list/a");
  shell(&m,
        "mkdir mnt/list/a; not mkdir mnt/list/a 2> err; grep -q exists err; rm -r mnt/list/a; not test -e mnt/list/a");
  shell(&m, "mkdir mnt/list/sticky; cd mnt/list/sticky; rmdir ../sticky; cd ../sticky; cat name; ls deep");
  shell(&m, "mkdir mnt/list/b; cd mnt/list/b; rmdir ../b; mkdir ../b; cat ../b/name; not cat name 2> /dev/null");
}
END_TEST

START_TEST(a_file_turns_into_a_directory)
{
  shell(&m, "echo v > mnt/list/web; test -d mnt/list/web; test \"$(cat mnt/list/web/value)\" = 'web v'");
  shell(&m, "not eval 'echo v > mnt/list/web' 2> err; grep -q 'Is a directory' err");
  shell(
      &m,
      ": > mnt/list/none; not test -e mnt/list/none; printf '# none\\n\\n' > mnt/list/none; not test -e mnt/list/none");
  ck_assert_uint_eq(m.example.released, 3);
}
END_TEST

START_TEST(what_is_made_lives_as_long_as_a_handle)
{
  shell(
      &m,
      "exec 3> mnt/list/x 4< /proc/self/fd/3 3>&-; echo v > /proc/self/fd/4; test \"$(cat mnt/list/x/value)\" = 'x v'");
  shell(&m, "exec 3> mnt/list/y 4< /proc/self/fd/3 3>&- 5> /proc/self/fd/4 4<&-; echo v >&5; test -d mnt/list/y");
  shell(&m, "flock mnt/list/z true; not test -e mnt/list/z");
  ck_assert_uint_eq(m.example.released, 3);
  size_t count = 0;
  struct example_item *item = NULL;
  DL_COUNT(m.example.items, item, count);
  ck_assert_uint_eq(count, 2);
}
END_TEST

START_TEST(tools_agree_about_the_tree)
{
  for (size_t i = 0; i < sizeof(m.example.log); i++)
    m.example.log[i] = (char)('a' + i % 26);
  m.example.log_size = 3000;
  shell(&m, "mkdir mnt/list/a; cp -r mnt copy; diff -r mnt copy; cp -a mnt copy2; diff -r mnt copy2");
  shell(&m, "tar -C mnt -cf all.tar . ; mkdir out; tar -C out -xf all.tar; diff -r mnt out; test -s out/log");
  shell(&m, "tar --xattrs --acls -C mnt -cf x.tar . 2> err; test ! -s err");
  shell(&m, "rsync -a mnt/ synced/; diff -r mnt synced; test -z \"$(rsync -ai mnt/ synced/)\"");
  shell(&m, "test $(find mnt -type f | wc -l) = 9; test $(find mnt -type d | wc -l) = 5; find mnt -name value | grep "
            "-q a/value");
  shell(&m, "grep -rq fixed mnt; ls -lR mnt > l; du -s mnt > l; stat -f mnt > l; df mnt > l");
}
END_TEST

START_TEST(memory_maps_and_seeks_are_sane)
{
  shell(&m, "python3 -c 'import os\n"
            "f = os.open(\"mnt/fixed\", os.O_RDONLY)\n"
            "assert os.lseek(f, 0, os.SEEK_DATA) == 0 and os.lseek(f, 0, os.SEEK_HOLE) == 6\n"
            "assert os.lseek(f, 0, os.SEEK_END) == 6\n"
            "import select; p = select.poll(); p.register(f); assert p.poll(0)\n"
            "import fcntl; fcntl.flock(f, fcntl.LOCK_SH); fcntl.lockf(f, fcntl.LOCK_SH)\n'");
}
END_TEST

struct attempt {
  const char *what;
  int error;
};

static int attempt(const char *what)
{
  char name[400];
  struct stat st;
  int result = 0;
  memset(name, 'n', sizeof(name));
  memcpy(name, "mnt/list/", 9);
  name[9 + 256] = '\0';
  if (strcmp(what, "open fixed") == 0)
    result = open("mnt/fixed", O_WRONLY);
  else if (strcmp(what, "long name") == 0)
    result = stat(name, &st);
  else if (strcmp(what, "long mkdir") == 0)
    result = mkdir(name, 0755);
  else if (strcmp(what, "long create") == 0)
    result = open(name, O_CREAT | O_WRONLY, 0644);
  else if (strcmp(what, "mkdir") == 0)
    result = mkdir("mnt/x", 0755);
  else if (strcmp(what, "create") == 0)
    result = open("mnt/x", O_CREAT | O_WRONLY, 0644);
  else if (strcmp(what, "unlink") == 0)
    result = unlink("mnt/fixed");
  else if (strcmp(what, "unlink nothing") == 0)
    result = unlink("mnt/nothing");
  else if (strcmp(what, "rmdir") == 0)
    result = rmdir("mnt/list");
  else if (strcmp(what, "rename") == 0)
    result = rename("mnt/counter", "mnt/y");
  else if (strcmp(what, "link") == 0)
    result = link("mnt/counter", "mnt/y");
  else if (strcmp(what, "symlink") == 0)
    result = symlink("a", "mnt/y");
  else if (strcmp(what, "mknod") == 0)
    result = mknod("mnt/y", S_IFIFO | 0644, 0);
  else if (strcmp(what, "chmod") == 0)
    result = chmod("mnt/counter", 0600);
  else if (strcmp(what, "chmod unwritable") == 0)
    result = chmod("mnt/fixed", 0400);
  else if (strcmp(what, "chmod dir") == 0)
    result = chmod("mnt/list", 0700);
  else if (strcmp(what, "utimens dir") == 0)
    result = utimensat(AT_FDCWD, "mnt/list", NULL, 0);
  else if (strcmp(what, "chown dir") == 0)
    result = chown("mnt/list", getuid(), getgid());
  else if (strcmp(what, "chown") == 0)
    result = chown("mnt/counter", 1, 1);
  else if (strcmp(what, "truncate") == 0)
    result = truncate("mnt/counter", 0);
  else if (strcmp(what, "truncate fixed") == 0)
    result = truncate("mnt/fixed", 0);
  else if (strcmp(what, "utimens") == 0)
    result = utimensat(AT_FDCWD, "mnt/counter", NULL, 0);
  else
    return -ENOSYS;
  return result < 0 ? -errno : 0;
}

static const struct attempt attempts[] = {
    {"open fixed", -EPERM},
    {"long name", -ENAMETOOLONG},
    {"long mkdir", -ENAMETOOLONG},
    {"long create", -ENAMETOOLONG},
    {"mkdir", -EPERM},
    {"create", -EPERM},
    {"unlink", -EPERM},
    {"unlink nothing", -ENOENT},
    {"rmdir", -EPERM},
    {"rename", -EPERM},
    {"link", -EPERM},
    {"symlink", -EPERM},
    {"mknod", -EPERM},
    {"chmod", 0},
    {"chmod unwritable", -EPERM},
    {"chmod dir", 0},
    {"utimens dir", 0},
    {"chown dir", 0},
    {"chown", -EPERM},
    {"truncate", 0},
    {"truncate fixed", -EPERM},
    {"utimens", 0},
};

static int run_attempts(struct mounted *mounted, const void *arg)
{
  (void)mounted;
  (void)arg;
  int wrong = 0;
  for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
    int error = attempt(attempts[i].what);
    int expected = attempts[i].error;
    if (geteuid() != 0 && strstr(attempts[i].what, "fixed") != NULL)
      expected = -EACCES; /* from the mode, before we are asked */
    if (error != expected) {
      fprintf(stderr, "%s: %s\n", attempts[i].what, strerror(-error));
      wrong++;
    }
  }
  return wrong;
}

static void run(struct mounted *mounted, int (*work)(struct mounted *m, const void *arg), const void *arg)
{
  struct client client;
  start_client(mounted, &client, work, arg);
  int status = wait_client(mounted, &client);
  ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
}

START_TEST(refusals_have_their_errno)
{
  run(&m, run_attempts, NULL);
}
END_TEST

START_TEST(a_mode_takes_away)
{
  shell(&m, "chmod 600 mnt/counter; test $(stat -c %a mnt/counter) = 600; chmod 777 mnt/counter mnt/list;"
            "test $(stat -c %a mnt/counter) = 644; test $(stat -c %a mnt/list) = 755; chmod 700 mnt/list");
  shell(&m, "test $(stat -c %a mnt/list) = 700; mkdir mnt/list/a; chmod 500 mnt/list/a; rmdir mnt/list/a;"
            "mkdir mnt/list/a; test $(stat -c %a mnt/list/a) = 755");
  shell(&m, "touch -d yesterday mnt/list mnt/counter; test $(stat -c %Y mnt/list) -gt $(date -d '1 hour ago' +%s)");
  shell(&m, "test $(df --output=ipcent mnt | tail -n 1 | tr -d ' %') -lt 50; df mnt > l");
}
END_TEST

/* What is copied into a directory, with all that can be told of it. */
START_TEST(tools_that_set_what_they_copied_end_well)
{
  shell(&m, "mkdir -m 700 x; echo 5 > x/counter; chmod 600 x/counter; cp -a x/. mnt/; test $(cat mnt/counter) = 5");
  shell(&m,
        "echo 6 > x/counter; touch -d yesterday x/counter; rsync -a --inplace x/ mnt/; test $(cat mnt/counter) = 6");
  shell(&m, "echo 7 > x/counter; tar -C x -c . | tar -C mnt -x --overwrite; test $(cat mnt/counter) = 7");
}
END_TEST

static ssize_t write_to(const char *path, const char *text)
{
  int file = open(path, O_WRONLY);
  if (file < 0)
    return -errno;
  ssize_t written = write(file, text, strlen(text));
  ssize_t result = written < 0 ? -errno : written;
  close(file);
  return result;
}

static int run_short_write(struct mounted *mounted, const void *arg)
{
  (void)mounted;
  (void)arg;
  if (write_to("mnt/counter", "1\nx\n2\n") != 2)
    return 1;
  if (write_to("mnt/counter", "x\n2\n") != -EINVAL)
    return 2;
  char *large = malloc(FS_LINE_MAX + 2);
  if (large == NULL)
    return 3;
  memset(large, ' ', FS_LINE_MAX + 1);
  large[FS_LINE_MAX + 1] = '\0';
  ssize_t result = write_to("mnt/counter", large);
  free(large);
  if (result != -E2BIG)
    return 4;
  int file = open("mnt/counter", O_WRONLY);
  if (write(file, "a\0b\n", 4) != -1 || errno != EINVAL)
    return 5;
  if (write(file, "x", 1) != 1 || close(file) != -1 || errno != EINVAL) /* flush is the one that refuses */
    return 6;
  return 0;
}

START_TEST(a_refused_line_makes_a_short_write)
{
  run(&m, run_short_write, NULL);
  ck_assert_int_eq(m.example.counter, 1);
}
END_TEST

/* Shells close copies all the time, and children close what they were born with. */
START_TEST(a_line_ends_where_its_file_does)
{
  static const char *const scripts[] = {
      "{ printf 90; /bin/true; echo 00; } > mnt/counter",
      "{ printf 90; (exit); echo x > /dev/null; x=$(echo); (printf 0); printf 0; } > mnt/counter",
      "exec 3> mnt/counter; printf 90 >&3; /bin/true; printf 00 >&3; exec 3>&-",
      "exec 3> mnt/counter; printf 90 >&3; (printf 00 >&3); exec 3>&-",
      "exec 3> mnt/counter; /usr/bin/printf 90 >&3; /usr/bin/printf 00 >&3",
      "{ /usr/bin/printf 90; /usr/bin/printf 00; } > mnt/counter",
      "(printf 90; printf 00) > mnt/counter",
      "printf 90 > p; printf 00 > q; cat p q > mnt/counter",
      "{ cat p; cat q; } > mnt/counter",
      "printf 9000 | tee mnt/counter > /dev/null",
      "printf 9000 | dd bs=1 of=mnt/counter 2> err",
      "printf 9000 | dd bs=2 conv=notrunc,fsync of=mnt/counter 2> err",
      "exec > mnt/counter; printf 9000",
      "(printf 9000; kill -KILL $BASHPID) > mnt/counter || true",
      "python3 -c 'f = open(\"mnt/counter\", \"w\"); f.write(\"90\"); f.flush(); f.write(\"00\")'",
      "python3 -c 'import threading as t; f=open(1,\"w\"); f.write(\"9000\"); t.Timer(0,f.close).start()' >mnt/counter",
      "python3 -c 'import os; os.write(3, b\"90\"); os.write(3, b\"00\")' 3> mnt/counter",
  };
  for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
    m.example.counter = 0;
    m.example.line_count = 0;
    shell(&m, scripts[i]);
    while (m.example.counter != 9000)
      uv_run(&m.loop, UV_RUN_ONCE);
    ck_assert_msg(m.example.line_count == 1, "%zu lines: %s", m.example.line_count, scripts[i]);
  }
}
END_TEST

START_TEST(a_line_is_answered_later)
{
  shell(&m, "echo soon > mnt/slow; printf soon > mnt/slow; printf 'soon\\nsoon\\n' > mnt/slow");
}
END_TEST

static void wait_for_line(struct mounted *mounted)
{
  while (mounted->example.waiting == NULL)
    uv_run(&mounted->loop, UV_RUN_ONCE);
}

static void on_signal(int number)
{
  (void)number;
}

static int run_interrupted(struct mounted *mounted, const void *arg)
{
  (void)mounted;
  struct sigaction action = {.sa_handler = on_signal};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGCHLD, &action, NULL);
  return write_to("mnt/slow", arg) == -EINTR ? 0 : 1;
}

START_TEST(a_writer_that_is_ended_gets_eintr)
{
  struct client client;
  start_client(&m, &client, run_interrupted, "never\n");
  wait_for_line(&m);
  kill(client.pid, SIGCHLD);
  while (!uv_is_active((uv_handle_t *)&m.fs->look))
    uv_run(&m.loop, UV_RUN_ONCE);
  ck_assert_uint_eq(m.example.interrupts, 0);
  kill(client.pid, SIGINT);
  int status = wait_client(&m, &client);
  ck_assert_int_eq(status, 0);
  ck_assert_uint_eq(m.example.interrupts, 1);
  shell(&m, "cat mnt/counter; timeout -s KILL 0.2 bash -c 'echo never > mnt/slow' || test $? = 137");
}
END_TEST

START_TEST(a_waiting_line_is_in_nobodys_way)
{
  struct client client;
  start_client(&m, &client, run_interrupted, "never\n");
  wait_for_line(&m);
  shell(&m, "cat mnt/slow; ls -lR mnt > l; echo 1 > mnt/counter; mkdir mnt/list/a; stat mnt/slow > l");
  shell(&m, "tail -n 1 mnt/slow; not rm mnt/slow; rm -r mnt/list/a");
  kill(client.pid, SIGINT);
  ck_assert_int_eq(wait_client(&m, &client), 0);
}
END_TEST

START_TEST(a_file_may_go_while_its_line_waits)
{
  struct client client;
  start_client(&m, &client, run_interrupted, "never\n");
  wait_for_line(&m);
  fs_remove(m.example.waiting_file);
  fs_touch(m.example.waiting_file);
  kill(client.pid, SIGINT);
  ck_assert_int_eq(wait_client(&m, &client), 0);
  shell(&m, "not test -e mnt/slow");
}
END_TEST

static void on_grow(uv_timer_t *timer)
{
  struct example *example = timer->data;
  memcpy(example->log + example->log_size, "more\n", 5);
  example->log_size += 5;
}

START_TEST(a_live_file_is_followed)
{
  struct client client;
  uv_timer_t grow;
  uv_timer_init(&m.loop, &grow);
  grow.data = &m.example;
  memcpy(m.example.log, "first\n", 6);
  m.example.log_size = 6;
  uv_timer_start(&grow, on_grow, 20, 20);
  start_client(&m, &client, run_shell,
               "tail -n +1 -f -s 0.02 mnt/log | head -n 4 | tail -n 3 | grep -c more | grep -qx 3");
  while (!client.done) {
    if (m.example.log_size > 3000)
      m.example.log_size = 6; /* shorter, which tail takes as well */
    uv_run(&m.loop, UV_RUN_ONCE);
  }
  ck_assert_int_eq(wait_client(&m, &client), 0);
  uv_close((uv_handle_t *)&grow, NULL);
  uv_run(&m.loop, UV_RUN_NOWAIT);
}
END_TEST

START_TEST(hidden_entries_appear)
{
  shell(&m, "not test -e mnt/shy");
  m.example.shown = true;
  shell(&m, "cat mnt/shy; ls mnt | grep -qx shy");
}
END_TEST

enum { MANY = 1000 };

static void add_many(int count)
{
  char name[16];
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof(name), "%d", i);
    ck_assert_int_eq(fs_add(fs_find(fs_root(m.fs), "many"), &example_rows[ROW_MANY], name, NULL, NULL), 0);
  }
}

START_TEST(a_thousand_entries_are_listed_and_removed)
{
  add_many(MANY);
  shell(&m, "test $(ls mnt/many | wc -l) = 1000; test $(ls -lf mnt/many | wc -l) -ge 1000; cat mnt/many/* | wc -l");
  shell(&m,
        "rm mnt/many/5*; test $(ls mnt/many | wc -l) = 889; find mnt/many -type f -delete; test -z \"$(ls mnt/many)\"");
}
END_TEST

static int run_list_while(struct mounted *mounted, const void *arg)
{
  (void)mounted;
  (void)arg;
  for (int i = 0; i < 200; i++) {
    char name[32];
    snprintf(name, sizeof(name), "mnt/list/d%d", i % 7);
    if (mkdir(name, 0755) != 0 && errno != EEXIST)
      return 1;
    if (rmdir(name) != 0 && errno != ENOENT)
      return 2;
  }
  return 0;
}

START_TEST(removals_by_the_program_do_not_block)
{
  struct client clients[3];
  for (int i = 0; i < 3; i++)
    start_client(&m, &clients[i], run_list_while, NULL);
  while (!clients[0].done || !clients[1].done || !clients[2].done) {
    struct example_item *item = m.example.items;
    if (item != NULL) {
      fs_remove(item->entry);
      free_item(item);
    }
    uv_run(&m.loop, UV_RUN_ONCE);
  }
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(wait_client(&m, &clients[i]), 0);
}
END_TEST

START_TEST(what_the_kernel_keeps_is_not_ours_to_keep)
{
  unsigned before = HASH_CNT(by_number, m.fs->table.by_ino);
  enum { MORE = 200 };
  add_many(FS_GHOSTS_MAX + MORE);
  shell(&m, "ls -l mnt/many > l");
  struct fs_entry *many = fs_find(fs_root(m.fs), "many");
  char name[16];
  for (int i = 0; i < FS_GHOSTS_MAX + MORE; i++) {
    snprintf(name, sizeof(name), "%d", i);
    fs_remove(fs_find(many, name));
  }
  ck_assert_uint_eq(HASH_CNT(by_number, m.fs->table.by_ino), before + FS_GHOSTS_MAX);
  add_many(2); /* which the kernel knows by numbers that are nobody's */
  shell(&m, "cat mnt/many/0 mnt/many/1; ! cat mnt/many/2; test $(ls mnt/many | wc -l) = 2");
}
END_TEST

START_TEST(closing_answers_who_waits)
{
  struct client client;
  start_client(&m, &client, run_interrupted, "deaf\n");
  wait_for_line(&m);
  close_tree(&m);
  int status = wait_client(&m, &client);
  ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1); /* neither stuck nor EINTR */
}
END_TEST

START_TEST(a_busy_tree_is_detached)
{
  struct client client;
  start_client(&m, &client, run_shell, "exec 5< mnt/log; cd mnt/list; echo > ../../ready; sleep 60");
  char ready[80];
  snprintf(ready, sizeof(ready), "%s/ready", m.scratch);
  while (access(ready, F_OK) != 0)
    uv_run(&m.loop, UV_RUN_NOWAIT);
  close_tree(&m);
  ck_assert_int_eq(rmdir(m.mountpoint), 0);
  kill(client.pid, SIGKILL);
  wait_client(&m, &client);
}
END_TEST

START_TEST(somebody_else_unmounts)
{
  shell(&m, "fusermount3 -u mnt");
  while (m.example.unmounted == 0)
    uv_run(&m.loop, UV_RUN_ONCE);
  uv_run(&m.loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(m.example.unmounted, 1);
}
END_TEST

static void wait_for_file(struct mounted *mounted, const char *name)
{
  char path[80];
  snprintf(path, sizeof(path), "%s/%s", mounted->scratch, name);
  while (access(path, F_OK) != 0)
    uv_run(&mounted->loop, UV_RUN_NOWAIT);
}

static void wait_for_end(struct mounted *mounted, struct client *who_stays)
{
  while (mounted->example.unmounted == 0)
    uv_run(&mounted->loop, UV_RUN_ONCE);
  ck_assert(!who_stays->done);
  ck_assert_uint_eq(mounted->example.unmounted, 1);
  close_tree(mounted);
  kill(who_stays->pid, SIGKILL);
  wait_client(mounted, who_stays);
}

START_TEST(who_stays_in_an_unmounted_tree_does_not_keep_it)
{
  struct client client;
  start_client(&m, &client, run_shell, "exec 5< mnt/log; cd mnt/list; fusermount3 -uz ../../mnt; sleep 60");
  wait_for_end(&m, &client);
}
END_TEST

/* As long as there is a path in another namespace; from there, too, it may be unmounted while somebody stays in it. */
START_TEST(another_namespace_keeps_the_tree)
{
  struct client client;
  if (geteuid() != 0)
    return;
  start_client(&m, &client, run_shell,
               "unshare -m --propagation private sh -ec 'touch ready; "
               "until test -e gone; do sleep 0.02; done; cat mnt/counter; ls mnt > l; touch served; "
               "until test -e leave; do sleep 0.02; done; cd mnt/list; umount -l ../../mnt; sleep 60'");
  wait_for_file(&m, "ready");
  shell(&m, "umount mnt; touch gone");
  wait_for_file(&m, "served");
  ck_assert_uint_eq(m.example.unmounted, 0);
  shell(&m, "touch leave");
  wait_for_end(&m, &client);
}
END_TEST

START_TEST(what_took_our_place_is_left_alone)
{
  struct client client;
  if (geteuid() != 0)
    return;
  start_client(&m, &client, run_shell, "cd mnt/list; umount -l ../../mnt; echo > $OLDPWD/ready; sleep 60");
  char ready[80];
  snprintf(ready, sizeof(ready), "%s/ready", m.scratch);
  while (access(ready, F_OK) != 0)
    uv_run(&m.loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(mount("other", m.mountpoint, "tmpfs", 0, NULL), 0);
  close_tree(&m);
  ck_assert_int_eq(umount(m.mountpoint), 0);
  kill(client.pid, SIGKILL);
  wait_client(&m, &client);
}
END_TEST

START_TEST(a_failed_mount_says_why)
{
  struct fs *fs = NULL;
  char message[256] = "";
  char path[100];
  snprintf(path, sizeof(path), "%s/missing", m.scratch);
  ck_assert_int_eq(fs_open(&fs, &m.loop, path, &m.options, message, sizeof(message)), -ENOENT);
  ck_assert_ptr_nonnull(strstr(message, "missing: No such file"));
  ck_assert_int_eq(close(creat(path, 0644)), 0);
  ck_assert_int_eq(fs_open(&fs, &m.loop, path, &m.options, message, sizeof(message)), -ENOTDIR);
  struct fs_options options = m.options;
  options.mount_options = "nonsense";
  ck_assert_int_ne(fs_open(&fs, &m.loop, m.scratch, &options, message, sizeof(message)), 0);
  ck_assert_ptr_nonnull(strstr(message, "nonsense"));
  ck_assert_ptr_null(fs);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("fs mount");
  TCase *tests = tcase_create("mount");
  tcase_add_checked_fixture(tests, setup, teardown);
  tcase_set_timeout(tests, 90);
  tcase_add_test(tests, files_are_read);
  tcase_add_test(tests, lines_are_written);
  tcase_add_test(tests, directories_come_and_go);
  tcase_add_test(tests, a_file_turns_into_a_directory);
  tcase_add_test(tests, what_is_made_lives_as_long_as_a_handle);
  tcase_add_test(tests, tools_agree_about_the_tree);
  tcase_add_test(tests, memory_maps_and_seeks_are_sane);
  tcase_add_test(tests, refusals_have_their_errno);
  tcase_add_test(tests, a_mode_takes_away);
  tcase_add_test(tests, tools_that_set_what_they_copied_end_well);
  tcase_add_test(tests, a_refused_line_makes_a_short_write);
  tcase_add_test(tests, a_line_ends_where_its_file_does);
  tcase_add_test(tests, a_line_is_answered_later);
  tcase_add_test(tests, a_writer_that_is_ended_gets_eintr);
  tcase_add_test(tests, a_waiting_line_is_in_nobodys_way);
  tcase_add_test(tests, a_file_may_go_while_its_line_waits);
  tcase_add_test(tests, a_live_file_is_followed);
  tcase_add_test(tests, hidden_entries_appear);
  tcase_add_test(tests, a_thousand_entries_are_listed_and_removed);
  tcase_add_test(tests, removals_by_the_program_do_not_block);
  tcase_add_test(tests, what_the_kernel_keeps_is_not_ours_to_keep);
  tcase_add_test(tests, closing_answers_who_waits);
  tcase_add_test(tests, a_busy_tree_is_detached);
  tcase_add_test(tests, somebody_else_unmounts);
  tcase_add_test(tests, who_stays_in_an_unmounted_tree_does_not_keep_it);
  tcase_add_test(tests, another_namespace_keeps_the_tree);
  tcase_add_test(tests, what_took_our_place_is_left_alone);
  tcase_add_test(tests, a_failed_mount_says_why);
  suite_add_tcase(suite, tests);
  return suite;
}
