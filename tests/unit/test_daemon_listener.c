/* Listeners on real sockets of this machine: what they bind, what they leave alone, and that they live without
 * descriptors. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "carry/net/listener.h"
#include "carry/net/lookups.h"
#include "carry/net/workers.h"
#include "fixture_daemon_nameserver.h"
#include "runner.h"

enum { ACCEPTED_MAX = 32 };

struct watched {
  struct listener *listener;
  unsigned opened;
  int error;
  char why[1024];
  unsigned accepted;
  int fds[ACCEPTED_MAX];
  char peer[ADDRESS_TEXT_MAX];
  unsigned starved;
  unsigned recovered;
  int starved_error;
  bool close_when_opened;
  bool close_when_accepted;
  bool close_when_starved;
};

struct folder {
  char path[40];
  char file[64];
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

static void stop(struct watched *w)
{
  listener_close(w->listener);
  w->listener = NULL;
}

/* The callbacks stop the loop: it would else wait for a next event within the same turn. */
static void on_opened(struct listener *l, int error, const char *why, void *arg)
{
  struct watched *w = arg;

  ck_assert_ptr_eq(l, w->listener);
  uv_stop(&loop);
  w->opened++;
  w->error = error;
  snprintf(w->why, sizeof(w->why), "%s", why);
  if (w->close_when_opened)
    stop(w);
}

static void on_accepted(struct listener *l, int fd, const char *peer, void *arg)
{
  struct watched *w = arg;

  ck_assert_ptr_eq(l, w->listener);
  uv_stop(&loop);
  ck_assert_uint_lt(w->accepted, ACCEPTED_MAX);
  w->fds[w->accepted++] = fd;
  snprintf(w->peer, sizeof(w->peer), "%s", peer);
  if (w->close_when_accepted)
    stop(w);
}

static void on_starved(struct listener *l, int error, void *arg)
{
  struct watched *w = arg;

  ck_assert_ptr_eq(l, w->listener);
  uv_stop(&loop);
  if (error == 0) {
    w->recovered++;
    return;
  }
  w->starved++;
  w->starved_error = error;
  if (w->close_when_starved)
    stop(w);
}

static const struct listener_events events = {on_opened, on_accepted, on_starved};

static struct address address(const char *text)
{
  const char *why = NULL;
  struct address a;

  ck_assert_msg(address_parse_listener(text, &a, &why) == 0, "%s: %s", text, why);
  return a;
}

static void begin(struct watched *w, const struct address *a)
{
  ck_assert_int_eq(listener_open(&w->listener, lookups, a, &events, w), 0);
  ck_assert_uint_eq(w->opened, 0);
}

static void run_until(const unsigned *count, unsigned least)
{
  while (*count < least)
    ck_assert_msg(uv_run(&loop, UV_RUN_ONCE) != 0 || *count >= least, "the loop has nothing to wait for");
}

static void open_at(struct watched *w, const struct address *a)
{
  memset(w, 0, sizeof(*w));
  begin(w, a);
  run_until(&w->opened, 1);
}

static void open_well(struct watched *w, const char *text)
{
  const struct address a = address(text);

  open_at(w, &a);
  ck_assert_msg(w->error == 0, "%s", w->why);
}

static void open_badly(struct watched *w, const char *text, int error, const char *why)
{
  const struct address a = address(text);

  open_at(w, &a);
  ck_assert_msg(w->error == error, "%s: %d, %s", text, w->error, w->why);
  ck_assert_msg(strstr(w->why, why) != NULL, "%s: %s", text, w->why);
  stop(w);
}

static void close_accepted(struct watched *w)
{
  for (unsigned i = 0; i < w->accepted; i++)
    close(w->fds[i]);
}

static struct sockaddr_in v4(uint16_t port)
{
  return (struct sockaddr_in){
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
}

static struct sockaddr_in6 v6(uint16_t port)
{
  return (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT, .sin6_port = htons(port)};
}

static int bind_v4(uint16_t *port)
{
  struct sockaddr_in at = v4(*port);
  socklen_t size = sizeof(at);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1) != 0) {
    close(fd);
    return -1;
  }
  ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
  *port = ntohs(at.sin_port);
  return fd;
}

/* -1 with errno when there is no v6, or it is taken. */
static int bind_v6(uint16_t port)
{
  struct sockaddr_in6 at = v6(port);
  int on = 1;
  int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

  if (fd < 0)
    return -1;
  setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static bool localhost_is_v6_too(void)
{
  int fd = bind_v6(0);

  if (fd < 0)
    return false;
  close(fd);
  return true;
}

static int connect_v4(uint16_t port)
{
  struct sockaddr_in at = v4(port);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
  return fd;
}

static int connect_unix(const char *path)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
  if (connect(fd, (struct sockaddr *)&at, sizeof(at)) != 0) {
    close(fd);
    return -1;
  }
  return fd;
}

static int bind_unix(const char *path, int type)
{
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

  ck_assert_int_ge(fd, 0);
  snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
  ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
  return fd;
}

static void check_descriptor(int fd)
{
  ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
}

START_TEST(test_v4)
{
  struct watched w;
  struct sockaddr_in from;
  socklen_t size = sizeof(from);
  char peer[32];
  uint16_t port;
  int on = 0;
  int fd;

  open_well(&w, "0");
  ck_assert_str_eq(listener_address(w.listener)->host, "127.0.0.1");
  port = listener_address(w.listener)->port;
  ck_assert_uint_ne(port, 0);
  fd = connect_v4(port);
  ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&from, &size), 0);
  run_until(&w.accepted, 1);
  snprintf(peer, sizeof(peer), "127.0.0.1:%u", ntohs(from.sin_port));
  ck_assert_str_eq(w.peer, peer);
  check_descriptor(w.fds[0]);
  size = sizeof(on);
  ck_assert_int_eq(getsockopt(w.fds[0], IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
  ck_assert_int_ne(on, 0);
  stop(&w);
  /* The port is free at once. */
  open_well(&w, "0");
  stop(&w);
  close(fd);
}
END_TEST

/* Who was told by the kernel that it is connected is not reset. */
START_TEST(test_close_accepts_who_is_connected)
{
  enum { CLIENTS = 3 };
  struct watched w;
  int clients[CLIENTS];

  open_well(&w, "0");
  for (int i = 0; i < CLIENTS; i++)
    clients[i] = connect_v4(listener_address(w.listener)->port);
  stop(&w);
  ck_assert_uint_eq(w.accepted, CLIENTS);
  for (int i = 0; i < CLIENTS; i++) {
    close(clients[i]);
    close(w.fds[i]);
  }
}
END_TEST

START_TEST(test_port_is_free_after_close)
{
  struct watched w;
  struct address a;

  open_well(&w, "0");
  a = *listener_address(w.listener);
  stop(&w);
  open_at(&w, &a);
  ck_assert_msg(w.error == 0, "%s", w.why);
  stop(&w);
}
END_TEST

START_TEST(test_name_with_free_port)
{
  struct watched w;
  uint16_t port;
  int fd;

  open_well(&w, "localhost:0");
  ck_assert_str_eq(listener_address(w.listener)->host, "localhost");
  port = listener_address(w.listener)->port;
  fd = connect_v4(port);
  run_until(&w.accepted, 1);
  close(fd);
  if (localhost_is_v6_too()) {
    struct sockaddr_in6 at = v6(port);

    fd = socket(AF_INET6, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    run_until(&w.accepted, 2);
    ck_assert_int_eq(strncmp(w.peer, "[::1]:", strlen("[::1]:")), 0);
    close(fd);
  }
  close_accepted(&w);
  stop(&w);
}
END_TEST

START_TEST(test_all_or_nothing)
{
  struct watched w;
  char text[32];
  uint16_t port = 0;
  int taken = bind_v4(&port);
  int other;

  snprintf(text, sizeof(text), "localhost:%u", port);
  open_badly(&w, text, -EADDRINUSE, "Address already in use");
  ck_assert_ptr_nonnull(strstr(w.why, text));
  if (localhost_is_v6_too()) {
    other = bind_v6(port);
    ck_assert_int_ge(other, 0);
    close(taken);
    open_badly(&w, text, -EADDRINUSE, "Address already in use");
    taken = bind_v4(&port);
    ck_assert_int_ge(taken, 0);
    close(other);
  }
  close(taken);
}
END_TEST

START_TEST(test_refusals)
{
  struct watched w;
  struct address bad = {.kind = ADDRESS_TCP, .host = "a..b", .port = 0};

  open_badly(&w, "192.0.2.1:0", -EADDRNOTAVAIL, "listen on 192.0.2.1:0: Cannot assign requested address");
  open_badly(&w, "unix:/nonexistent/socket", -ENOENT, "listen on unix:/nonexistent/socket: No such file");
  open_at(&w, &bad);
  ck_assert_int_eq(w.error, -EADDRNOTAVAIL);
  ck_assert_ptr_nonnull(strstr(w.why, "a..b does not resolve: "));
  stop(&w);
}
END_TEST

START_TEST(test_close_before_opened)
{
  static const char *const texts[] = {"0", "localhost:0", "unix:/nonexistent/socket"};
  struct watched w;

  for (int i = 0; i < 3; i++) {
    const struct address a = address(texts[i]);

    memset(&w, 0, sizeof(w));
    begin(&w, &a);
    stop(&w);
    teardown();
    setup();
    ck_assert_uint_eq(w.opened, 0);
  }
}
END_TEST

START_TEST(test_close_inside_callbacks)
{
  struct watched w = {.close_when_opened = true};
  const struct address a = address("0");
  int fds[2];

  begin(&w, &a);
  run_until(&w.opened, 1);
  ck_assert_ptr_null(w.listener);

  open_well(&w, "0");
  w.close_when_accepted = true;
  for (int i = 0; i < 2; i++)
    fds[i] = connect_v4(listener_address(w.listener)->port);
  run_until(&w.accepted, 1);
  teardown();
  setup();
  ck_assert_uint_eq(w.accepted, 1);
  close_accepted(&w);
  close(fds[0]);
  close(fds[1]);
}
END_TEST

/* What is listened on is busy, as on a file system that does not answer, and so is the nameserver. */
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

START_TEST(test_close_while_looking_up)
{
  static const char *const texts[] = {"silent.test:0", "unix:/nonexistent/socket"};
  struct watched w[2] = {0};
  struct plug plug = {.work = {.run = wait_plug, .done = after_plug, .key = "/nonexistent/socket"}};
  int nameserver = nameserver_open();

  sem_init(&plug.begun, 0, 0);
  sem_init(&plug.go, 0, 0);
  ck_assert_int_eq(workers_start(lookups->listeners, &plug.work), 0);
  sem_wait(&plug.begun);
  for (int i = 0; i < 2; i++) {
    const struct address a = address(texts[i]);

    begin(&w[i], &a);
    uv_run(&loop, UV_RUN_NOWAIT);
    stop(&w[i]);
  }
  sem_post(&plug.go);
  teardown();
  setup();
  ck_assert_uint_eq(w[0].opened + w[1].opened, 0);
  close(nameserver);
}
END_TEST

/* Leaves room for `spare` more descriptors. */
static struct rlimit leave_descriptors(int spare)
{
  struct rlimit before;
  struct rlimit limit;
  int lowest = dup(STDERR_FILENO);

  ck_assert_int_ge(lowest, 0);
  close(lowest);
  ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
  limit = before;
  limit.rlim_cur = (rlim_t)lowest + (rlim_t)spare;
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
  return before;
}

static void count_turn(uv_prepare_t *prepare)
{
  ++*(unsigned *)prepare->data;
}

static void on_time(uv_timer_t *timer)
{
  ++*(unsigned *)timer->data;
  uv_stop(&loop);
}

START_TEST(test_no_descriptors)
{
  enum { CLIENTS = 6 };
  struct watched w;
  struct rlimit before;
  int clients[CLIENTS];
  uv_prepare_t prepare;
  uv_timer_t timer;
  unsigned turns = 0;
  unsigned time_over = 0;

  open_well(&w, "0");
  for (int i = 0; i < CLIENTS; i++)
    clients[i] = connect_v4(listener_address(w.listener)->port);
  before = leave_descriptors(2);
  run_until(&w.starved, 1);
  ck_assert_int_eq(w.starved_error, -EMFILE);
  ck_assert_uint_eq(w.accepted, 2);

  uv_prepare_init(&loop, &prepare);
  prepare.data = &turns;
  uv_prepare_start(&prepare, count_turn);
  uv_timer_init(&loop, &timer);
  timer.data = &time_over;
  uv_timer_start(&timer, on_time, 500, 0);
  run_until(&time_over, 1);
  ck_assert_uint_lt(turns, 50);
  ck_assert_uint_eq(w.starved, 1);
  ck_assert_uint_eq(w.recovered, 0);
  uv_close((uv_handle_t *)&prepare, NULL);
  uv_close((uv_handle_t *)&timer, NULL);

  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
  run_until(&w.recovered, 1);
  ck_assert_uint_eq(w.accepted, CLIENTS);
  ck_assert_uint_eq(w.starved, 1);
  close(clients[0]);
  clients[0] = connect_v4(listener_address(w.listener)->port);
  run_until(&w.accepted, CLIENTS + 1);
  ck_assert_uint_eq(w.recovered, 1);
  close_accepted(&w);
  for (int i = 0; i < CLIENTS; i++)
    close(clients[i]);
  stop(&w);
}
END_TEST

START_TEST(test_close_when_starved)
{
  struct watched w;
  struct rlimit before;
  int client;

  open_well(&w, "0");
  w.close_when_starved = true;
  client = connect_v4(listener_address(w.listener)->port);
  before = leave_descriptors(0);
  run_until(&w.starved, 1);
  teardown();
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
  setup();
  close(client);
}
END_TEST

START_TEST(test_no_descriptors_to_open_with)
{
  static const char *const texts[] = {"0", "localhost:0", "unix:/tmp/test-listener-none"};
  struct watched w;

  uv_run(&loop, UV_RUN_NOWAIT);
  leave_descriptors(0);
  for (int i = 0; i < 3; i++)
    open_badly(&w, texts[i], -EMFILE, "Too many open files");
}
END_TEST

static void folder_open(struct folder *f)
{
  snprintf(f->path, sizeof(f->path), "/tmp/test-listener-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(f->path));
  snprintf(f->file, sizeof(f->file), "%s/socket", f->path);
}

static void folder_close(const struct folder *f)
{
  unlink(f->file);
  ck_assert_int_eq(rmdir(f->path), 0);
}

/* Until nothing is left to be waited for. */
static void run_out(void)
{
  while (uv_run(&loop, UV_RUN_ONCE) != 0)
    ;
}

static void unix_text(const struct folder *f, char text[ADDRESS_TEXT_MAX])
{
  snprintf(text, ADDRESS_TEXT_MAX, "unix:%s", f->file);
}

START_TEST(test_unix)
{
  struct folder f;
  struct watched w;
  struct stat st;
  char text[ADDRESS_TEXT_MAX];
  char peer[64];
  mode_t mask;
  int fd;

  folder_open(&f);
  unix_text(&f, text);
  mask = umask(0);
  open_well(&w, text);
  umask(mask);
  ck_assert_int_eq(lstat(f.file, &st), 0);
  ck_assert_uint_eq(st.st_mode, S_IFSOCK | 0600);
  fd = connect_unix(f.file);
  ck_assert_int_ge(fd, 0);
  run_until(&w.accepted, 1);
  snprintf(peer, sizeof(peer), "unix:pid %ld uid %lu", (long)getpid(), (unsigned long)getuid());
  ck_assert_str_eq(w.peer, peer);
  check_descriptor(w.fds[0]);
  close_accepted(&w);
  stop(&w);
  run_out();
  ck_assert_int_ne(lstat(f.file, &st), 0);
  close(fd);
  folder_close(&f);
}
END_TEST

/* Its file cannot be removed yet, and is not to be waited for: nobody gets in, and the next one there comes after it.
 */
START_TEST(test_unix_closes_at_once)
{
  struct folder f;
  struct watched w, next = {0};
  struct stat st;
  char text[ADDRESS_TEXT_MAX];

  folder_open(&f);
  unix_text(&f, text);
  open_well(&w, text);
  struct plug plug = {.work = {.run = wait_plug, .done = after_plug, .key = f.file}};
  sem_init(&plug.begun, 0, 0);
  sem_init(&plug.go, 0, 0);
  ck_assert_int_eq(workers_start(lookups->listeners, &plug.work), 0);
  sem_wait(&plug.begun);
  stop(&w);
  ck_assert_int_eq(lstat(f.file, &st), 0);
  ck_assert_int_lt(connect_unix(f.file), 0);
  const struct address a = address(text);
  begin(&next, &a);
  sem_post(&plug.go);
  run_until(&next.opened, 1);
  ck_assert_int_eq(next.error, 0);
  int fd = connect_unix(f.file);
  ck_assert_int_ge(fd, 0);
  close(fd);
  stop(&next);
  lookups_close(lookups, NULL, NULL); /* at the end of the program, too */
  run_out();
  ck_assert_int_eq(lookups_open(&lookups, &loop), 0);
  ck_assert_int_ne(lstat(f.file, &st), 0);
  folder_close(&f);
}
END_TEST

START_TEST(test_unix_stale)
{
  struct folder f;
  struct watched w;
  char text[ADDRESS_TEXT_MAX];
  int fd;

  folder_open(&f);
  unix_text(&f, text);
  close(bind_unix(f.file, SOCK_STREAM));
  open_well(&w, text);
  fd = connect_unix(f.file);
  ck_assert_int_ge(fd, 0);
  close(fd);
  run_until(&w.accepted, 1);
  close_accepted(&w);
  stop(&w);
  folder_close(&f);
}
END_TEST

START_TEST(test_unix_in_use)
{
  struct folder f;
  struct watched w;
  struct watched second;
  char text[ADDRESS_TEXT_MAX];
  int datagram;
  int fd;

  folder_open(&f);
  unix_text(&f, text);
  open_well(&w, text);
  open_badly(&second, text, -EADDRINUSE, "another process listens there already");
  fd = connect_unix(f.file);
  ck_assert_int_ge(fd, 0);
  close(fd);
  run_until(&w.accepted, 1);
  close_accepted(&w);
  stop(&w);
  run_out(); /* then its file is gone */

  datagram = bind_unix(f.file, SOCK_DGRAM);
  open_badly(&w, text, -EADDRINUSE, "the socket there belongs to somebody else");
  close(datagram);
  folder_close(&f);
}
END_TEST

START_TEST(test_unix_full_is_in_use)
{
  struct folder f;
  struct watched w;
  char text[ADDRESS_TEXT_MAX];
  int server;
  int client;

  folder_open(&f);
  unix_text(&f, text);
  server = bind_unix(f.file, SOCK_STREAM);
  ck_assert_int_eq(listen(server, 0), 0);
  client = connect_unix(f.file);
  ck_assert_int_ge(client, 0);
  open_badly(&w, text, -EADDRINUSE, "another process listens there already");
  close(server);
  close(client);
  folder_close(&f);
}
END_TEST

START_TEST(test_unix_leaves_other_files_alone)
{
  struct folder f;
  struct watched w;
  struct stat st;
  char text[ADDRESS_TEXT_MAX];
  char target[80];
  int fd;

  folder_open(&f);
  unix_text(&f, text);
  fd = open(f.file, O_CREAT | O_WRONLY, 0600);
  ck_assert_int_ge(fd, 0);
  close(fd);
  open_badly(&w, text, -EADDRINUSE, "the file there is not a socket");
  ck_assert_int_eq(lstat(f.file, &st), 0);
  ck_assert(S_ISREG(st.st_mode));
  unlink(f.file);

  /* A link to a stale socket stays, and so does the socket. */
  snprintf(target, sizeof(target), "%s/target", f.path);
  close(bind_unix(target, SOCK_STREAM));
  ck_assert_int_eq(symlink(target, f.file), 0);
  open_badly(&w, text, -EADDRINUSE, "the file there is not a socket");
  ck_assert_int_eq(lstat(f.file, &st), 0);
  ck_assert(S_ISLNK(st.st_mode));
  ck_assert_int_eq(lstat(target, &st), 0);
  unlink(f.file);
  unlink(target);

  ck_assert_int_eq(mkdir(f.file, 0700), 0);
  open_badly(&w, text, -EADDRINUSE, "the file there is not a socket");
  rmdir(f.file);
  folder_close(&f);
}
END_TEST

START_TEST(test_unix_removes_only_its_own_file)
{
  struct folder f;
  struct watched w;
  struct stat st;
  char text[ADDRESS_TEXT_MAX];
  int other;

  folder_open(&f);
  unix_text(&f, text);
  open_well(&w, text);
  ck_assert_int_eq(unlink(f.file), 0);
  other = bind_unix(f.file, SOCK_STREAM);
  stop(&w);
  run_out();
  ck_assert_int_eq(lstat(f.file, &st), 0);
  close(other);
  folder_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("listener");
  TCase *tcase = tcase_create("listener");

  suite_add_tcase(suite, tcase);
  tcase_set_timeout(tcase, 30);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_v4);
  tcase_add_test(tcase, test_close_accepts_who_is_connected);
  tcase_add_test(tcase, test_port_is_free_after_close);
  tcase_add_test(tcase, test_name_with_free_port);
  tcase_add_test(tcase, test_all_or_nothing);
  tcase_add_test(tcase, test_refusals);
  tcase_add_test(tcase, test_close_before_opened);
  tcase_add_test(tcase, test_close_inside_callbacks);
  tcase_add_test(tcase, test_close_while_looking_up);
  tcase_add_test(tcase, test_no_descriptors);
  tcase_add_test(tcase, test_close_when_starved);
  tcase_add_test(tcase, test_no_descriptors_to_open_with);
  tcase_add_test(tcase, test_unix);
  tcase_add_test(tcase, test_unix_closes_at_once);
  tcase_add_test(tcase, test_unix_stale);
  tcase_add_test(tcase, test_unix_in_use);
  tcase_add_test(tcase, test_unix_full_is_in_use);
  tcase_add_test(tcase, test_unix_leaves_other_files_alone);
  tcase_add_test(tcase, test_unix_removes_only_its_own_file);
  return suite;
}
