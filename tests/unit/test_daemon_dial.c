/* Dialling real sockets on this machine: success, each way to fail, and cancelling at each stage. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "carry/net/address.h"
#include "carry/net/dial.h"
#include "carry/net/lookups.h"
#include "carry/net/workers.h"
#include "fixture_daemon_nameserver.h"
#include "runner.h"

enum { LONG_MS = 60000, SHORT_MS = 150 };

struct outcome {
  unsigned calls;
  int fd;
  char why[1024];
  struct dial *cancel_inside;
};

static uv_loop_t loop;
static struct lookups *lookups;

static void setup(void)
{
  ck_assert_int_eq(uv_loop_init(&loop), 0);
  ck_assert_int_eq(lookups_open(&lookups, &loop), 0);
}

static void teardown(void)
{
  lookups_close(lookups, NULL, NULL);
  while (uv_run(&loop, UV_RUN_ONCE) != 0)
    ;
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void on_done(int fd, const char *why, void *arg)
{
  struct outcome *o = arg;

  o->calls++;
  o->fd = fd;
  snprintf(o->why, sizeof(o->why), "%s", why);
  if (o->cancel_inside != NULL)
    dial_cancel(o->cancel_inside);
}

static struct address tcp(const char *host, uint16_t port)
{
  struct address a = {.kind = ADDRESS_TCP, .port = port};

  snprintf(a.host, sizeof(a.host), "%s", host);
  return a;
}

static struct address unix_path(const char *path)
{
  struct address a = {.kind = ADDRESS_UNIX};

  snprintf(a.path, sizeof(a.path), "%s", path);
  return a;
}

static struct dial *start(const struct address *to, uint64_t timeout_ms, struct outcome *o)
{
  struct dial *d = NULL;

  memset(o, 0, sizeof(*o));
  ck_assert_int_eq(dial_start(&d, lookups, to, timeout_ms, on_done, o), 0);
  ck_assert_uint_eq(o->calls, 0);
  return d;
}

static void wait_done(const struct outcome *o)
{
  while (o->calls == 0 && uv_run(&loop, UV_RUN_ONCE) != 0)
    ;
  ck_assert_uint_eq(o->calls, 1);
}

static void dial_to(const struct address *to, uint64_t timeout_ms, struct outcome *o)
{
  start(to, timeout_ms, o);
  wait_done(o);
}

static int listen_v4(uint16_t *port, int backlog)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof(at);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
  if (backlog >= 0)
    ck_assert_int_eq(listen(fd, backlog), 0);
  ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
  *port = ntohs(at.sin_port);
  return fd;
}

/* A port that takes connections, but answers no more of them: its queue is full. */
static int listen_full(uint16_t *port, int fillers[3])
{
  int fd = listen_v4(port, 0);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(*port)};

  for (int i = 0; i < 3; i++) {
    fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fillers[i], 0);
    if (connect(fillers[i], (struct sockaddr *)&at, sizeof(at)) != 0)
      ck_assert_int_eq(errno, EINPROGRESS);
  }
  return fd;
}

static void close_full(int fd, const int fillers[3])
{
  close(fd);
  for (int i = 0; i < 3; i++)
    close(fillers[i]);
}

/* Work that keeps a path busy until it is let go. */
struct plug {
  struct work work;
  sem_t begun;
  sem_t go;
};

static void wait_plug(struct work *work)
{
  struct plug *plug = (struct plug *)work;

  sem_post(&plug->begun);
  sem_wait(&plug->go);
}

static void after_plug(struct work *work, int error)
{
  (void)work;
  ck_assert_int_eq(error, 0);
}

static void plug_path(struct plug *plug, const char *path)
{
  plug->work = (struct work){.run = wait_plug, .done = after_plug, .key = path};
  sem_init(&plug->begun, 0, 0);
  sem_init(&plug->go, 0, 0);
  ck_assert_int_eq(workers_start(lookups->targets, &plug->work), 0);
  sem_wait(&plug->begun);
}

static void check_connected(int fd)
{
  int on = 0;
  socklen_t size = sizeof(on);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  if (getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size) == 0)
    ck_assert_int_ne(on, 0);
}

START_TEST(test_literal)
{
  uint16_t port;
  int fd = listen_v4(&port, 8);
  const struct address to = tcp("127.0.0.1", port);
  struct outcome o;

  dial_to(&to, LONG_MS, &o);
  check_connected(o.fd);
  close(o.fd);
  close(fd);
}
END_TEST

START_TEST(test_descriptor_can_be_polled_in_callback_loop)
{
  uint16_t port;
  int fd = listen_v4(&port, 8);
  const struct address to = tcp("127.0.0.1", port);
  struct outcome o;
  uv_poll_t poll;

  dial_to(&to, LONG_MS, &o);
  ck_assert_int_eq(uv_poll_init(&loop, &poll, o.fd), 0);
  uv_close((uv_handle_t *)&poll, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  close(o.fd);
  close(fd);
}
END_TEST

/* localhost is often ::1 first, where nobody listens. */
START_TEST(test_name)
{
  uint16_t port;
  int fd = listen_v4(&port, 8);
  const struct address to = tcp("localhost", port);
  struct outcome o;

  dial_to(&to, LONG_MS, &o);
  check_connected(o.fd);
  close(o.fd);
  close(fd);
}
END_TEST

/* A machine without a hosts file, and without anybody to ask. */
START_TEST(test_localhost_needs_nobody)
{
  static const char *const files[] = {"/etc/hosts", "/etc/resolv.conf"};
  uint16_t port;
  int fd = listen_v4(&port, 8);
  const struct address to = tcp("localhost", port);
  struct outcome o;

  ck_assert_msg(unshare(CLONE_NEWNS) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0, "unshare: %s", strerror(errno));
  ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
  for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
    ck_assert_msg(access(files[i], F_OK) != 0 || mount("/dev/null", files[i], NULL, MS_BIND, NULL) == 0, "%s: %s",
                  files[i], strerror(errno));
  dial_to(&to, LONG_MS, &o);
  ck_assert_msg(o.fd >= 0, "%s", o.why);
  check_connected(o.fd);
  close(o.fd);
  close(fd);
}
END_TEST

START_TEST(test_refused)
{
  static const char *const hosts[] = {"127.0.0.1", "localhost"};
  uint16_t port;
  int fd = listen_v4(&port, -1);

  for (int i = 0; i < 2; i++) {
    const struct address to = tcp(hosts[i], port);
    char expected[128];
    struct outcome o;

    dial_to(&to, LONG_MS, &o);
    snprintf(expected, sizeof(expected), "connect to %s:%u: Connection refused", hosts[i], port);
    ck_assert_int_eq(o.fd, -ECONNREFUSED);
    ck_assert_str_eq(o.why, expected);
  }
  close(fd);
}
END_TEST

/* A name that no resolver has to be asked for. */
START_TEST(test_name_does_not_resolve)
{
  const struct address to = tcp("a..b", 80);
  struct outcome o;

  dial_to(&to, LONG_MS, &o);
  ck_assert_int_eq(o.fd, -EADDRNOTAVAIL);
  ck_assert_msg(strncmp(o.why, "a..b does not resolve: ", strlen("a..b does not resolve: ")) == 0, "%s", o.why);
}
END_TEST

START_TEST(test_no_answer)
{
  int fillers[3];
  uint16_t port;
  int fd = listen_full(&port, fillers);
  const struct address to = tcp("127.0.0.1", port);
  struct outcome o;

  dial_to(&to, SHORT_MS, &o);
  ck_assert_int_eq(o.fd, -ETIMEDOUT);
  ck_assert_ptr_nonnull(strstr(o.why, "Connection timed out"));
  close_full(fd, fillers);
}
END_TEST

/* It is not decided at once, as it always is on one machine: the kernel asks again a second later. */
START_TEST(test_answer_comes_later)
{
  int fillers[3];
  uint16_t port;
  int fd = listen_full(&port, fillers);
  const struct address to = tcp("127.0.0.1", port);
  struct outcome o;

  start(&to, LONG_MS, &o);
  for (int i = 0; i < 3; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(o.calls, 0);
  ck_assert_int_eq(listen(fd, 8), 0);
  int accepted = accept(fd, NULL, NULL);
  ck_assert_int_ge(accepted, 0);
  wait_done(&o);
  check_connected(o.fd);
  close(o.fd);
  close(accepted);
  close_full(fd, fillers);
}
END_TEST

START_TEST(test_resolver_does_not_answer)
{
  const struct address to = tcp("silent.test", 80);
  int nameserver = nameserver_open();
  struct outcome o;

  dial_to(&to, SHORT_MS, &o);
  ck_assert_int_eq(o.fd, -ETIMEDOUT);
  ck_assert_str_eq(o.why, "silent.test does not resolve: no answer in time");
  teardown();
  setup();
  ck_assert_uint_eq(o.calls, 1);
  close(nameserver);
}
END_TEST

static void cancel_and_check(struct dial *d, const struct outcome *o)
{
  dial_cancel(d);
  ck_assert_uint_eq(o->calls, 0);
  dial_cancel(d);
  wait_done(o);
  ck_assert_int_eq(o->fd, -ECANCELED);
  ck_assert_uint_gt(strlen(o->why), 0);
}

START_TEST(test_cancel_at_once)
{
  char path[] = "/nonexistent/socket";
  uint16_t port;
  int fd = listen_v4(&port, 8);
  const struct address to[] = {tcp("127.0.0.1", port), tcp("localhost", port), unix_path(path)};
  struct outcome o[3];

  for (int i = 0; i < 3; i++)
    cancel_and_check(start(&to[i], LONG_MS, &o[i]), &o[i]);
  teardown();
  setup();
  for (int i = 0; i < 3; i++)
    ck_assert_uint_eq(o[i].calls, 1);
  close(fd);
}
END_TEST

START_TEST(test_cancel_while_connecting)
{
  int fillers[3];
  uint16_t port;
  int fd = listen_full(&port, fillers);
  const struct address to = tcp("127.0.0.1", port);
  struct outcome o;
  struct dial *d = start(&to, LONG_MS, &o);

  for (int i = 0; i < 3; i++)
    uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_uint_eq(o.calls, 0);
  cancel_and_check(d, &o);
  close_full(fd, fillers);
}
END_TEST

/* The nameserver is silent, and the path is stuck, and still a cancel is answered. */
START_TEST(test_cancel_while_looking_up)
{
  const struct address to[] = {tcp("silent.test", 80), unix_path("/nonexistent/socket")};
  int nameserver = nameserver_open();
  struct outcome o[2];
  struct plug plug;

  plug_path(&plug, "/nonexistent/socket");
  for (int i = 0; i < 2; i++) {
    struct dial *d = start(&to[i], LONG_MS, &o[i]);

    for (int j = 0; j < 3; j++)
      uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert_uint_eq(o[i].calls, 0);
    cancel_and_check(d, &o[i]);
  }
  sem_post(&plug.go);
  teardown();
  setup();
  ck_assert_uint_eq(o[0].calls + o[1].calls, 2);
  close(nameserver);
}
END_TEST

START_TEST(test_cancel_inside_callback)
{
  uint16_t port;
  int fd = listen_v4(&port, -1);
  const struct address to = tcp("127.0.0.1", port);
  struct outcome o;

  o.cancel_inside = NULL;
  struct dial *d = start(&to, LONG_MS, &o);
  o.cancel_inside = d;
  wait_done(&o);
  teardown();
  setup();
  ck_assert_uint_eq(o.calls, 1);
  ck_assert_int_eq(o.fd, -ECONNREFUSED);
  close(fd);
}
END_TEST

static void exhaust_descriptors(void)
{
  struct rlimit limit = {0};
  int lowest = dup(STDERR_FILENO);

  ck_assert_int_ge(lowest, 0);
  close(lowest);
  ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = (rlim_t)lowest;
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* Each test is a process of its own, so that the limit stays in it. */
START_TEST(test_no_descriptors)
{
  const struct address to[] = {tcp("127.0.0.1", 80), tcp("name.test", 80), unix_path("/nonexistent/socket")};
  struct outcome o;

  uv_run(&loop, UV_RUN_NOWAIT);
  exhaust_descriptors();
  for (int i = 0; i < 3; i++) {
    dial_to(&to[i], LONG_MS, &o);
    ck_assert_msg(o.fd == -EMFILE, "%d: %d %s", i, o.fd, o.why);
    ck_assert_ptr_nonnull(strstr(o.why, "Too many open files"));
  }
}
END_TEST

struct folder {
  char path[32];
  char socket[64];
  int fd;
};

static void folder_open(struct folder *f, int backlog)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};

  snprintf(f->path, sizeof(f->path), "/tmp/test-dial-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(f->path));
  snprintf(f->socket, sizeof(f->socket), "%s/socket", f->path);
  snprintf(at.sun_path, sizeof(at.sun_path), "%s", f->socket);
  f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_ge(f->fd, 0);
  ck_assert_int_eq(bind(f->fd, (struct sockaddr *)&at, sizeof(at)), 0);
  ck_assert_int_eq(listen(f->fd, backlog), 0);
}

static void folder_close(struct folder *f)
{
  close(f->fd);
  unlink(f->socket);
  rmdir(f->path);
}

START_TEST(test_unix)
{
  struct folder f;
  struct outcome o;

  folder_open(&f, 8);
  const struct address to = unix_path(f.socket);
  dial_to(&to, LONG_MS, &o);
  check_connected(o.fd);
  close(o.fd);
  folder_close(&f);
}
END_TEST

START_TEST(test_unix_missing)
{
  const struct address to = unix_path("/nonexistent/socket");
  struct outcome o;

  dial_to(&to, LONG_MS, &o);
  ck_assert_int_eq(o.fd, -ENOENT);
  ck_assert_str_eq(o.why, "connect to unix:/nonexistent/socket: No such file or directory");
}
END_TEST

START_TEST(test_unix_full_then_accepted)
{
  struct folder f;
  struct outcome first;
  struct outcome second;
  struct outcome third;
  int accepted;

  folder_open(&f, 0);
  const struct address to = unix_path(f.socket);
  dial_to(&to, LONG_MS, &first);
  check_connected(first.fd);
  dial_to(&to, SHORT_MS, &second);
  ck_assert_int_eq(second.fd, -ETIMEDOUT);
  start(&to, LONG_MS, &third);
  for (int i = 0; i < 5; i++)
    uv_run(&loop, UV_RUN_ONCE);
  ck_assert_uint_eq(third.calls, 0);
  accepted = accept(f.fd, NULL, NULL);
  ck_assert_int_ge(accepted, 0);
  wait_done(&third);
  check_connected(third.fd);
  close(first.fd);
  close(third.fd);
  close(accepted);
  folder_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("dial");
  TCase *tcase = tcase_create("dial");

  suite_add_tcase(suite, tcase);
  tcase_set_timeout(tcase, 30);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_literal);
  tcase_add_test(tcase, test_descriptor_can_be_polled_in_callback_loop);
  tcase_add_test(tcase, test_name);
  tcase_add_test(tcase, test_localhost_needs_nobody);
  tcase_add_test(tcase, test_refused);
  tcase_add_test(tcase, test_name_does_not_resolve);
  tcase_add_test(tcase, test_no_answer);
  tcase_add_test(tcase, test_answer_comes_later);
  tcase_add_test(tcase, test_resolver_does_not_answer);
  tcase_add_test(tcase, test_cancel_at_once);
  tcase_add_test(tcase, test_cancel_while_connecting);
  tcase_add_test(tcase, test_cancel_while_looking_up);
  tcase_add_test(tcase, test_cancel_inside_callback);
  tcase_add_test(tcase, test_no_descriptors);
  tcase_add_test(tcase, test_unix);
  tcase_add_test(tcase, test_unix_missing);
  tcase_add_test(tcase, test_unix_full_then_accepted);
  return suite;
}
