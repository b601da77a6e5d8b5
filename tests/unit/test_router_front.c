/* Who comes in, by which port, and what becomes of those who say nothing. */
#include <arpa/inet.h>
#include <check.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/wire/raw.h"
#include "router/front/front.h"
#include "router/front/listening.h"
#include "runner.h"

enum { PATIENCE_MS = 20000, NEVER_MS = 3600000, FLOOD = 3000, FLOOD_MAX = 1024 };

/* What the front told: how many of each, and their descriptors. */
struct world {
  struct front *front;
  pthread_mutex_t lock;
  pthread_cond_t told;
  unsigned grpc, raw, out_of_descriptors;
  int last;
};

static struct world world;

/* Takes the place of the C library's, by which connections are accepted.
 * NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
long syscall(long number, ...)
{
  static long (*real)(long, ...);
  va_list values;
  long v[6];
  if (real == NULL)
    *(void **)&real = dlsym(RTLD_NEXT, "syscall");
  va_start(values, number);
  for (size_t i = 0; i < 6; i++)
    v[i] = va_arg(values, long);
  va_end(values);
  long result = real(number, v[0], v[1], v[2], v[3], v[4], v[5]);
  if (number == SYS_accept4 && result < 0 && errno == EMFILE) {
    pthread_mutex_lock(&world.lock);
    world.out_of_descriptors++;
    pthread_cond_signal(&world.told);
    pthread_mutex_unlock(&world.lock);
    errno = EMFILE;
  }
  return result;
}

static void tell(unsigned *count, int fd)
{
  pthread_mutex_lock(&world.lock);
  if (world.last >= 0)
    close(world.last);
  world.last = fd;
  ++*count;
  pthread_cond_signal(&world.told);
  pthread_mutex_unlock(&world.lock);
}

static void on_grpc(int fd, void *arg)
{
  ck_assert_ptr_eq(arg, &world);
  tell(&world.grpc, fd);
}

static void on_raw(int fd, struct poller_watch *watched, const uint8_t *bytes, size_t size, void *arg)
{
  ck_assert_ptr_eq(arg, &world);
  ck_assert_int_eq(raw_preamble_size(bytes, size), (int)size);
  if (watched != NULL)
    poller_remove(front_poller(world.front), fd, watched);
  tell(&world.raw, fd);
}

static void until(const unsigned *count, unsigned goal)
{
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += PATIENCE_MS / 1000;
  pthread_mutex_lock(&world.lock);
  while (*count < goal)
    ck_assert_msg(pthread_cond_timedwait(&world.told, &world.lock, &end) == 0, "%u of %u came", *count, goal);
  pthread_mutex_unlock(&world.lock);
}

static void world_open(const char *address, const char *streams, size_t max, unsigned ms, bool raw)
{
  const struct front_config config = {.address = address, .streams = streams};
  const struct strangers_config strangers = {
      .max = max, .ms = ms, .grpc = on_grpc, .raw = raw ? on_raw : NULL, .arg = &world};
  const char *refused;
  world = (struct world){.last = -1};
  pthread_mutex_init(&world.lock, NULL);
  pthread_cond_init(&world.told, NULL);
  ck_assert_int_eq(front_open(&world.front, &config, &refused), 0);
  ck_assert_int_eq(front_start(world.front, &strangers), 0);
  front_admit(world.front);
}

static void world_close(void)
{
  front_close(world.front);
  if (world.last >= 0)
    close(world.last);
  pthread_cond_destroy(&world.told);
  pthread_mutex_destroy(&world.lock);
}

static int client_make(void)
{
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_ge(fd, 0);
  return fd;
}

static void client_connect(int fd, int port)
{
  const struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
  ck_assert_int_eq(connect(fd, (const struct sockaddr *)&a, sizeof a), 0);
}

static int client_open(int port)
{
  int fd = client_make();
  client_connect(fd, port);
  return fd;
}

static void say(int fd, const void *bytes, size_t size)
{
  ck_assert_int_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
}

static void is_closed(int fd)
{
  struct pollfd ready = {.fd = fd, .events = POLLIN};
  char byte;
  ck_assert_int_eq(poll(&ready, 1, PATIENCE_MS), 1);
  errno = 0;
  ck_assert_int_le(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
  ck_assert_int_ne(errno, EAGAIN);
}

static size_t preamble(uint8_t out[RAW_PREAMBLE_MAX])
{
  static const uint8_t watch[RAW_WATCH_SIZE], secret[RAW_SECRET_SIZE];
  struct raw_keys keys;
  raw_keys_derive(&keys, secret);
  return raw_preamble_seal(out, &keys, watch, 1, "first", 5);
}

/* ---- Sorting ---- */

/* Nothing is read of it. */
static void still_says(const void *bytes, size_t size)
{
  char found[RAW_PREAMBLE_MAX];
  ck_assert_int_eq(recv(world.last, found, sizeof found, MSG_DONTWAIT), (ssize_t)size);
  ck_assert_mem_eq(found, bytes, size);
}

START_TEST(told_apart)
{
  static const char http[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", tls[] = "\x16\3\1", near[] = "mmraw2";
  uint8_t raw[RAW_PREAMBLE_MAX];
  size_t size = preamble(raw);
  world_open("127.0.0.1:0", NULL, 10, NEVER_MS, true);
  int port = front_port(world.front);
  int clients[] = {client_open(port), client_open(port), client_open(port), client_open(port)};
  say(clients[0], http, sizeof http - 1);
  until(&world.grpc, 1);
  still_says(http, sizeof http - 1);
  say(clients[1], tls, sizeof tls - 1);
  until(&world.grpc, 2);
  say(clients[2], near, sizeof near - 1);
  until(&world.grpc, 3);
  still_says(near, sizeof near - 1);
  say(clients[3], raw, size);
  until(&world.raw, 1);
  still_says(raw, size);
  for (size_t i = 0; i < 4; i++)
    close(clients[i]);
  world_close();
}
END_TEST

/* It is told once it is whole, and not before. */
START_TEST(byte_by_byte)
{
  uint8_t raw[RAW_PREAMBLE_MAX];
  size_t size = preamble(raw);
  world_open("127.0.0.1:0", NULL, 10, NEVER_MS, true);
  int port = front_port(world.front), fd = client_open(port), other = client_open(port);
  for (size_t i = 0; i < size - 1; i++)
    say(fd, &raw[i], 1);
  say(other, "mmra", 4);
  say(other, "m", 1);
  until(&world.grpc, 1);
  ck_assert_uint_eq(world.raw, 0);
  say(fd, &raw[size - 1], 1);
  until(&world.raw, 1);
  close(fd);
  close(other);
  world_close();
}
END_TEST

START_TEST(bad_beginnings)
{
  uint8_t raw[RAW_PREAMBLE_MAX];
  preamble(raw);
  raw[RAW_MAGIC_SIZE] = 0xff; /* too long */
  world_open("127.0.0.1:0", NULL, 10, NEVER_MS, true);
  int fd = client_open(front_port(world.front));
  say(fd, raw, RAW_HEAD_SIZE);
  is_closed(fd);
  close(fd);
  fd = client_open(front_port(world.front));
  say(fd, raw, RAW_MAGIC_SIZE);
  shutdown(fd, SHUT_WR);
  is_closed(fd);
  close(fd);
  world_close();
}
END_TEST

START_TEST(raw_port)
{
  uint8_t raw[RAW_PREAMBLE_MAX];
  size_t size = preamble(raw);
  world_open(NULL, "127.0.0.1:0", 10, NEVER_MS, true);
  ck_assert_int_eq(front_port(world.front), 0);
  int port = front_streams_port(world.front), fd = client_open(port), other = client_open(port);
  say(other, "PRI", 3);
  is_closed(other);
  say(fd, raw, size);
  until(&world.raw, 1);
  ck_assert_uint_eq(world.grpc, 0);
  close(fd);
  close(other);
  world_close();
}
END_TEST

START_TEST(no_raw_streams)
{
  world_open("127.0.0.1:0", NULL, 10, NEVER_MS, false);
  int fd = client_open(front_port(world.front));
  say(fd, RAW_MAGIC, RAW_MAGIC_SIZE);
  until(&world.grpc, 1);
  close(fd);
  world_close();
}
END_TEST

/* ---- Strangers ---- */

START_TEST(silent)
{
  uint8_t raw[RAW_PREAMBLE_MAX];
  preamble(raw);
  world_open("127.0.0.1:0", NULL, 10, 50, true);
  int fd = client_open(front_port(world.front)), slow = client_open(front_port(world.front));
  say(slow, raw, RAW_HEAD_SIZE);
  is_closed(fd);
  is_closed(slow);
  close(fd);
  close(slow);
  world_close();
}
END_TEST

/* The oldest go, and who means something is served beside those that are left. */
START_TEST(thousands)
{
  int *fds = calloc(FLOOD, sizeof *fds);
  world_open("127.0.0.1:0", NULL, FLOOD_MAX, NEVER_MS, true);
  for (size_t i = 0; i < FLOOD; i++)
    fds[i] = client_open(front_port(world.front));
  for (size_t i = 0; i < FLOOD - FLOOD_MAX; i++)
    is_closed(fds[i]);
  say(fds[FLOOD - 1], "PRI", 3);
  until(&world.grpc, 1);
  for (size_t i = 0; i < FLOOD; i++)
    close(fds[i]);
  free(fds);
  world_close();
}
END_TEST

static void descriptors_limit(rlim_t left_over, struct rlimit *before)
{
  int next = dup(0);
  close(next);
  getrlimit(RLIMIT_NOFILE, before);
  const struct rlimit now = {.rlim_cur = (rlim_t)next + left_over, .rlim_max = before->rlim_max};
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
}

/* Strangers make room for others. */
START_TEST(no_descriptors_but_strangers)
{
  struct rlimit before;
  world_open("127.0.0.1:0", NULL, 10, NEVER_MS, true);
  int port = front_port(world.front), fds[4];
  for (size_t i = 0; i < 4; i++)
    fds[i] = client_make();
  descriptors_limit(2, &before); /* for those that are accepted */
  for (size_t i = 0; i < 4; i++)
    client_connect(fds[i], port);
  say(fds[3], "PRI", 3);
  until(&world.grpc, 1);
  setrlimit(RLIMIT_NOFILE, &before);
  for (size_t i = 0; i < 4; i++)
    close(fds[i]);
  world_close();
}
END_TEST

/* What waits in the backlog is accepted as soon as there are some again, though nobody else comes. */
START_TEST(no_descriptors)
{
  struct rlimit before;
  world_open("127.0.0.1:0", NULL, 10, NEVER_MS, true);
  int fd = client_make();
  descriptors_limit(0, &before);
  client_connect(fd, front_port(world.front));
  say(fd, "PRI", 3);
  until(&world.out_of_descriptors, 1);
  setrlimit(RLIMIT_NOFILE, &before);
  until(&world.grpc, 1);
  close(fd);
  world_close();
}
END_TEST

/* ---- Listening ---- */

START_TEST(addresses)
{
  static const struct {
    const char *address;
    int error;
  } rows[] = {
      {"127.0.0.1:0", 0},
      {"localhost:0", 0},
      {"0.0.0.0:0", 0},
      {"[::]:0", 0},
      {"192.0.2.1:0", -EADDRNOTAVAIL},
      {"no.such.host.invalid:0", -EADDRNOTAVAIL},
      {"nonsense", -EINVAL},
  };
  struct listening l;
  int error = listening_open(&l, rows[_i].address);
  ck_assert_msg(error == rows[_i].error, "%s: %s", rows[_i].address, strerror(-error));
  if (error)
    return;
  ck_assert_int_gt(l.port, 0);
  close(client_open(l.port)); /* all of them take what comes by IPv4 */
  listening_close(&l);
}
END_TEST

START_TEST(address_in_use)
{
  struct listening l, other;
  char address[32];
  ck_assert_int_eq(listening_open(&l, "127.0.0.1:0"), 0);
  snprintf(address, sizeof address, "127.0.0.1:%d", l.port);
  ck_assert_int_eq(listening_open(&other, address), -EADDRINUSE);
  snprintf(address, sizeof address, "0.0.0.0:%d", l.port);
  ck_assert_int_eq(listening_open(&other, address), -EADDRINUSE);
  listening_close(&l);
}
END_TEST

/* At once, for another one; who came before is served. */
START_TEST(address_is_left)
{
  struct listening successor;
  char address[32];
  world_open("127.0.0.1:0", NULL, 10, NEVER_MS, true);
  int port = front_port(world.front), fd = client_open(port);
  say(fd, "m", 1);
  int other = client_open(port);
  say(other, "PRI", 3);
  until(&world.grpc, 1); /* the first was accepted, too */
  front_leave_address(world.front);
  snprintf(address, sizeof address, "127.0.0.1:%d", port);
  ck_assert_int_eq(listening_open(&successor, address), 0);
  say(fd, "PRI", 3);
  until(&world.grpc, 2);
  close(fd);
  close(other);
  world_close();
  listening_close(&successor);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("front");
  TCase *sorting = tcase_create("sorting"), *strangers = tcase_create("strangers"), *all = tcase_create("addresses");
  tcase_set_timeout(sorting, 60);
  tcase_set_timeout(strangers, 60);
  tcase_add_test(sorting, told_apart);
  tcase_add_test(sorting, byte_by_byte);
  tcase_add_test(sorting, bad_beginnings);
  tcase_add_test(sorting, raw_port);
  tcase_add_test(sorting, no_raw_streams);
  tcase_add_test(strangers, silent);
  tcase_add_test(strangers, thousands);
  tcase_add_test(strangers, no_descriptors_but_strangers);
  tcase_add_test(strangers, no_descriptors);
  tcase_add_loop_test(all, addresses, 0, 7);
  tcase_add_test(all, address_in_use);
  tcase_add_test(all, address_is_left);
  suite_add_tcase(suite, sorting);
  suite_add_tcase(suite, strangers);
  suite_add_tcase(suite, all);
  return suite;
}
