/* The bound on what a connection has unsent: for which rate, on which socket, and that gRPC's connections get one. */
#include "fixture_proto_calls.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/rpc/unsent.h"

#include "runner.h"

enum { FDS_MAX = 256 };

static const uint64_t mbit = 1000000 / 8; /* a second */

/* ---- The decision ---- */

START_TEST(unknown)
{
  ck_assert_uint_eq(unsent_bound(0, 0, false), UNSENT_START);
  ck_assert_uint_eq(unsent_bound(0, 0, true), UNSENT_START);
  ck_assert_uint_eq(unsent_bound(UNSENT_MIN, 0, false), UNSENT_MIN);
}
END_TEST

START_TEST(four_milliseconds)
{
  ck_assert_uint_eq(unsent_bound(100000, 100 * mbit, false), 50000);
  ck_assert_uint_eq(unsent_bound(64000, 80 * mbit, false), 40000);
  ck_assert_uint_eq(unsent_bound(64000, 1000 * mbit, false), 500000);
  ck_assert_uint_eq(unsent_bound(64000, 100000 * mbit, false), UNSENT_MAX);
  ck_assert_uint_eq(unsent_bound(64000, UINT64_MAX, true), UNSENT_MAX);
  ck_assert_uint_eq(unsent_bound(20000, 1, false), UNSENT_MIN);
}
END_TEST

START_TEST(small_changes)
{
  ck_assert_uint_eq(unsent_bound(100000, 240 * mbit, false), 100000);
  ck_assert_uint_eq(unsent_bound(100000, 160 * mbit, false), 100000);
  ck_assert_uint_eq(unsent_bound(100000, 260 * mbit, false), 130000);
  ck_assert_uint_eq(unsent_bound(UNSENT_MAX, 1900 * mbit, false), UNSENT_MAX);
  ck_assert_uint_eq(unsent_bound(UNSENT_MIN, 36 * mbit, false), UNSENT_MIN);
}
END_TEST

/* A keystroke a second says nothing of what the path takes. */
START_TEST(held_back)
{
  ck_assert_uint_eq(unsent_bound(0, 1000, true), UNSENT_START);
  ck_assert_uint_eq(unsent_bound(500000, 10 * mbit, true), 500000);
  ck_assert_uint_eq(unsent_bound(UNSENT_MIN, 1000 * mbit, true), 500000);
}
END_TEST

START_TEST(shrinks_by_half)
{
  uint32_t bound = UNSENT_MAX;
  int steps = 0;
  for (; bound > UNSENT_MIN; steps++) {
    uint32_t next = unsent_bound(bound, 10 * mbit, false);
    ck_assert_uint_ge(next, bound / 2);
    ck_assert_uint_lt(next, bound);
    bound = next;
  }
  ck_assert_int_eq(steps, 6);
}
END_TEST

/* ---- Sockets ---- */

static const uint8_t ipv4_loopback[16] = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1};

static uint32_t bound_of(int fd)
{
  uint32_t bound = 0;
  socklen_t size = sizeof bound;
  ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, &size), 0);
  return bound;
}

union name {
  struct sockaddr any;
  struct sockaddr_in ipv4;
  struct sockaddr_in6 ipv6;
};

/* A listener at a port of its own on loopback, and what gRPC would call it. */
static int listener_open(int family, union name *at, char peer[64])
{
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  socklen_t size = sizeof *at;
  *at = (union name){0};
  if (family == AF_INET)
    at->ipv4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  else
    at->ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
  ck_assert_int_eq(bind(fd, &at->any, family == AF_INET ? sizeof at->ipv4 : sizeof at->ipv6), 0);
  ck_assert_int_eq(listen(fd, 8), 0);
  ck_assert_int_eq(getsockname(fd, &at->any, &size), 0);
  if (family == AF_INET)
    snprintf(peer, 64, "ipv4:127.0.0.1:%d", ntohs(at->ipv4.sin_port));
  else
    snprintf(peer, 64, "ipv6:%%5B::1%%5D:%d", ntohs(at->ipv6.sin6_port));
  return fd;
}

static int connect_to(const union name *at)
{
  int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_eq(connect(fd, &at->any, at->any.sa_family == AF_INET ? sizeof at->ipv4 : sizeof at->ipv6), 0);
  return fd;
}

static void follows_its_own(int family)
{
  struct unsent u = {0};
  union name at, other_at;
  char peer[64], other_peer[64];
  int listener = listener_open(family, &at, peer), other_listener = listener_open(AF_INET, &other_at, other_peer);
  int other = connect_to(&other_at), fd = connect_to(&at);
  uint32_t untouched = bound_of(other);
  ck_assert(unsent_due(&u, 1));
  unsent_follow(&u, peer, 1);
  ck_assert_uint_eq(bound_of(fd), UNSENT_START);
  ck_assert_uint_eq(bound_of(other), untouched);

  /* Not before it is time. */
  uint32_t mark = 12345;
  ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &mark, sizeof mark), 0);
  ck_assert(!unsent_due(&u, UNSENT_EVERY_US));
  unsent_follow(&u, peer, UNSENT_EVERY_US);
  ck_assert(unsent_due(&u, UNSENT_EVERY_US + 1));
  ck_assert_uint_eq(bound_of(fd), mark);

  /* The descriptor is another's now, and the peer has a new one. */
  int number = fd;
  close(fd);
  fd = connect_to(&other_at);
  ck_assert_int_eq(fd, number);
  int again = connect_to(&at);
  unsent_follow(&u, peer, 1000000);
  ck_assert_uint_eq(bound_of(fd), untouched);
  ck_assert_uint_eq(bound_of(again), UNSENT_START);

  /* The channel has connected with somebody else. */
  unsent_follow(&u, other_peer, 2000000);
  ck_assert(bound_of(other) == UNSENT_START || bound_of(fd) == UNSENT_START);
  close(other), close(fd), close(again), close(listener), close(other_listener);
}

/* As the round trip asks for: on this machine it is short. */
START_TEST(congestion_control)
{
  struct unsent u = {0};
  union name at;
  char peer[64], got[16] = "";
  socklen_t size = sizeof got;
  int listener = listener_open(AF_INET, &at, peer);
  int fd = connect_to(&at);
  (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
  unsent_follow(&u, peer, 1);
  ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, got, &size), 0);
  ck_assert_str_eq(got, "reno");
  close(fd), close(listener);
}
END_TEST

START_TEST(ipv4_socket)
{
  follows_its_own(AF_INET);
}
END_TEST

START_TEST(ipv6_socket)
{
  follows_its_own(AF_INET6);
}
END_TEST

/* gRPC's own sockets are IPv6, also when the peer is not. */
START_TEST(mapped_socket)
{
  struct unsent u = {0};
  union name at;
  char peer[64];
  int listener = listener_open(AF_INET, &at, peer);
  union name mapped = {.ipv6 = {.sin6_family = AF_INET6, .sin6_port = at.ipv4.sin_port}};
  memcpy(&mapped.ipv6.sin6_addr, ipv4_loopback, sizeof ipv4_loopback);
  int fd = connect_to(&mapped);
  unsent_follow(&u, peer, 1);
  ck_assert_uint_eq(bound_of(fd), UNSENT_START);
  close(fd), close(listener);
}
END_TEST

START_TEST(nobody)
{
  struct unsent u = {0};
  union name at;
  char peer[64];
  int listener = listener_open(AF_INET, &at, peer);
  unsent_follow(&u, peer, 1);
  ck_assert(!unsent_due(&u, 1000000)); /* looking costs: not again at once */
  ck_assert(unsent_due(&u, 1000001));
  unsent_follow(&u, "dns:///localhost:7000", 2000000); /* not connected yet */
  ck_assert(unsent_due(&u, 2000000 + UNSENT_EVERY_US));
  close(listener);
}
END_TEST

static void pour(int from, int to, size_t bytes)
{
  static char block[64 << 10];
  ck_assert_int_eq(send(from, block, sizeof block, 0), sizeof block);
  for (size_t heard = 0; heard < bytes;) {
    ssize_t n = recv(to, block, sizeof block, 0);
    ck_assert_int_gt(n, 0);
    heard += (size_t)n;
    ck_assert_int_eq(send(from, block, (size_t)n, 0), n);
  }
}

START_TEST(fast_path)
{
  struct unsent u = {0};
  union name at;
  char peer[64];
  int listener = listener_open(AF_INET, &at, peer);
  int fd = connect_to(&at), far = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  uint64_t now = 1;
  unsent_follow(&u, peer, now);
  for (int turn = 0; turn < 1000 && bound_of(fd) <= UNSENT_START; turn++) {
    pour(fd, far, 1 << 20);
    unsent_follow(&u, peer, now += UNSENT_EVERY_US);
  }
  ck_assert_uint_gt(bound_of(fd), UNSENT_START);
  close(fd), close(far), close(listener);
}
END_TEST

/* ---- gRPC ---- */

/* Whether the connection between client and server has a bound, at the end that dialled or the other. */
static bool bounded(int port, bool dialled)
{
  for (int fd = 3; fd < FDS_MAX; fd++) {
    union name name = {0};
    socklen_t size = sizeof name;
    bool connected = getpeername(fd, &name.any, &size) == 0;
    size = sizeof name;
    if (!connected || (!dialled && getsockname(fd, &name.any, &size) != 0))
      continue;
    /* The port stands at the same place for both families. */
    if ((name.any.sa_family == AF_INET || name.any.sa_family == AF_INET6) && ntohs(name.ipv4.sin_port) == port)
      return bound_of(fd) >= UNSENT_MIN && bound_of(fd) <= UNSENT_MAX;
  }
  ck_abort_msg("there is no connection");
}

static struct rpc_message *message_of_size(size_t size)
{
  char *bytes = calloc(1, size);
  ck_assert_ptr_nonnull(bytes);
  struct rpc_message *m = rpc_message_copy(bytes, size);
  free(bytes);
  return m;
}

START_TEST(both_ends)
{
  static struct server server;
  static struct client client;
  struct record r;
  server_start(&server, 0, NULL, NULL);
  client_open(&client, server.port);
  record_start(&r, &client, "/t/echo");
  ck_assert_int_eq(rpc_call_receive(r.call), 0);
  ck_assert_int_eq(rpc_call_send(r.call, text_message("a key")), 0);
  loop_until(&client.loop, &r.messages, 1);
  loop_until(&client.loop, &r.sent, 1); /* which may be told after the answer */
  ck_assert(!bounded(server.port, true));
  ck_assert(!bounded(server.port, false));
  ck_assert_int_eq(rpc_call_send(r.call, message_of_size(UNSENT_MESSAGE)), 0);
  loop_until(&client.loop, &r.messages, 2);
  ck_assert(bounded(server.port, true));
  ck_assert(bounded(server.port, false));
  ck_assert_int_eq(rpc_call_end(r.call), 0);
  loop_until(&client.loop, &r.closed, 1);
  client_stop(&client);
  server_stop(&server);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("unsent");
  TCase *tests = tcase_create("unsent");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, unknown);
  tcase_add_test(tests, four_milliseconds);
  tcase_add_test(tests, small_changes);
  tcase_add_test(tests, held_back);
  tcase_add_test(tests, shrinks_by_half);
  tcase_add_test(tests, congestion_control);
  tcase_add_test(tests, ipv4_socket);
  tcase_add_test(tests, ipv6_socket);
  tcase_add_test(tests, mapped_socket);
  tcase_add_test(tests, nobody);
  tcase_add_test(tests, fast_path);
  tcase_add_test(tests, both_ends);
  suite_add_tcase(suite, tests);
  return suite;
}
