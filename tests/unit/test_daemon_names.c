/* Dials by name, and a nameserver that is silent, half silent, slow, or tells more than one address. */
#include "fixture_daemon_nameserver.h"

#include <netdb.h>
#include <stdlib.h>
#include <uv.h>

#include "carry/net/address.h"
#include "carry/net/dial.h"
#include "carry/net/lookups.h"
#include "carry/net/names.h"

#include "runner.h"

enum { LONG_MS = 60000, SHORT_MS = 200 };

struct outcome {
  unsigned calls;
  int fd;
  char why[1024];
};

static uv_loop_t loop;
static struct lookups *lookups;
static int nameserver;
static uint16_t port; /* somebody listens there, on 127.0.0.1 only */
static int listening;

static int listen_at(int family, const char *ip, int backlog)
{
  struct endpoints at = {.count = 0};
  struct in_addr v4;
  struct in6_addr v6;
  int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

  if (family == AF_INET && inet_pton(family, ip, &v4) == 1)
    endpoints_add_v4(&at, &v4, port);
  else if (inet_pton(family, ip, &v6) == 1)
    endpoints_add_v6(&at, &v6, 0, port);
  if (family == AF_INET6)
    ck_assert_int_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), 0);
  ck_assert_int_eq(bind(fd, (struct sockaddr *)&at.at[0].bytes, at.at[0].size), 0);
  ck_assert_int_eq(listen(fd, backlog), 0);
  return fd;
}

static void setup(void)
{
  struct sockaddr_in at;
  socklen_t size = sizeof at;

  ck_assert_int_eq(uv_loop_init(&loop), 0);
  ck_assert_int_eq(lookups_open(&lookups, &loop), 0);
  nameserver = nameserver_open();
  listening = listen_at(AF_INET, "127.0.0.1", 64);
  ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&at, &size), 0);
  port = ntohs(at.sin_port);
}

static void teardown(void)
{
  lookups_close(lookups, NULL, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
  close(listening);
  close(nameserver);
}

static void on_done(int fd, const char *why, void *arg)
{
  struct outcome *o = arg;

  o->calls++;
  o->fd = fd;
  snprintf(o->why, sizeof o->why, "%s", why);
  if (fd >= 0)
    close(fd);
}

static struct dial *start(struct outcome *o, const char *host, uint64_t timeout_ms)
{
  struct address to = {.kind = ADDRESS_TCP, .port = port};
  struct dial *d;

  *o = (struct outcome){.calls = 0};
  snprintf(to.host, sizeof to.host, "%s", host);
  ck_assert_int_eq(dial_start(&d, lookups, &to, timeout_ms, on_done, o), 0);
  return d;
}

static void wait_done(const struct outcome *o)
{
  while (o->calls == 0)
    ck_assert(uv_run(&loop, UV_RUN_ONCE) != 0 || o->calls > 0);
  ck_assert_uint_eq(o->calls, 1);
}

static void expect_connected(struct outcome *o)
{
  wait_done(o);
  ck_assert_msg(o->fd >= 0, "%d: %s", o->fd, o->why);
}

/* The next question that is of this type; others are left without an answer. */
static struct nameserver_question hear(uint16_t type)
{
  struct nameserver_question q;

  do
    nameserver_hear(nameserver, &q);
  while (q.type != type);
  return q;
}

static void answer_v4(const char *ip)
{
  struct nameserver_question q = hear(NAMESERVER_A);
  uint8_t bytes[4];

  ck_assert_int_eq(inet_pton(AF_INET, ip, bytes), 1);
  nameserver_answer(nameserver, &q, 0, bytes, 1);
}

/* Both families, whose questions come in any order. */
static void answer(const char *const *v6, size_t v6_count, const char *v4)
{
  uint8_t bytes6[16 * 16], bytes4[4];

  for (size_t i = 0; i < v6_count; i++)
    ck_assert_int_eq(inet_pton(AF_INET6, v6[i], bytes6 + 16 * i), 1);
  if (v4 != NULL)
    ck_assert_int_eq(inet_pton(AF_INET, v4, bytes4), 1);
  for (int i = 0; i < 2; i++) {
    struct nameserver_question q;

    nameserver_hear(nameserver, &q);
    if (q.type == NAMESERVER_A)
      nameserver_answer(nameserver, &q, 0, bytes4, v4 != NULL);
    else
      nameserver_answer(nameserver, &q, 0, bytes6, v6_count);
  }
}

/* Many dials of a name that nobody answers for share one question, and nobody else waits for them. */
START_TEST(test_silence_is_shared)
{
  enum { HUNG = 40 };
  struct outcome hung[HUNG], name, local[2];
  struct dial *dials[HUNG];
  char host[64];

  for (int i = 0; i < HUNG; i++) {
    snprintf(host, sizeof host, "silent%d.test", i / 10);
    dials[i] = start(&hung[i], host, LONG_MS);
  }
  for (int i = 0; i < 2 * HUNG / 10; i++) {
    struct nameserver_question q;

    nameserver_hear(nameserver, &q);
    ck_assert_int_eq(strncmp(q.name, "silent", 6), 0);
  }
  start(&local[0], "localhost", LONG_MS);
  start(&local[1], "here.LocalHost", LONG_MS);
  expect_connected(&local[0]);
  expect_connected(&local[1]);
  start(&name, "name.test", LONG_MS);
  for (int i = 0; i < 2; i++) {
    struct nameserver_question q;

    nameserver_hear(nameserver, &q);
    ck_assert_str_eq(q.name, "name.test");
    nameserver_answer(nameserver, &q, 0, q.type == NAMESERVER_A ? "\x7f\0\0\1" : "", q.type == NAMESERVER_A);
  }
  expect_connected(&name);
  for (int i = 0; i < HUNG; i++) {
    ck_assert_uint_eq(hung[i].calls, 0);
    dial_cancel(dials[i]);
    wait_done(&hung[i]);
  }
}
END_TEST

/* One that is given up is still asked for, and who comes next has the answer. */
START_TEST(test_who_comes_next_shares)
{
  struct outcome first, second;

  start(&first, "slow.test", SHORT_MS);
  wait_done(&first);
  ck_assert_int_eq(first.fd, -ETIMEDOUT);
  start(&second, "SLOW.test", LONG_MS);
  answer(NULL, 0, "127.0.0.1");
  expect_connected(&second);
}
END_TEST

START_TEST(test_silent_for_v6_only)
{
  struct outcome o;

  start(&o, "half.test", LONG_MS);
  answer_v4("127.0.0.1");
  expect_connected(&o);
}
END_TEST

START_TEST(test_silent_for_v4_only)
{
  struct outcome o;
  int v6 = listen_at(AF_INET6, "::1", 8);

  start(&o, "half.test", LONG_MS);
  struct nameserver_question q = hear(NAMESERVER_AAAA);
  nameserver_answer(nameserver, &q, 0, &in6addr_loopback, 1);
  expect_connected(&o);
  close(v6);
}
END_TEST

/* A slow answer is remembered, whatever it is; a quick one is not. */
START_TEST(test_memory)
{
  ck_assert_uint_eq(names_memory_ms(0), 0);
  ck_assert_uint_eq(names_memory_ms(1200), 1200);
  ck_assert_uint_eq(names_memory_ms(20000), 5000);
}
END_TEST

/* Each with a name of its own, since it may be remembered for a moment. */
static void check_failure(const char *host, int code, const char *reason)
{
  char expected[256];
  struct outcome o;

  start(&o, host, LONG_MS);
  while (o.calls == 0) {
    struct nameserver_question q;
    struct timeval patience = {.tv_usec = 20000};

    uv_run(&loop, UV_RUN_NOWAIT);
    setsockopt(nameserver, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (recv(nameserver, q.bytes, 1, MSG_PEEK) < 0)
      continue;
    nameserver_hear(nameserver, &q);
    nameserver_answer(nameserver, &q, code, NULL, 0);
  }
  ck_assert_int_eq(o.fd, -EADDRNOTAVAIL);
  snprintf(expected, sizeof expected, "%s does not resolve: %s", host, reason);
  ck_assert_str_eq(o.why, expected);
}

START_TEST(test_failures)
{
  check_failure("none.test", 3, gai_strerror(EAI_NONAME));
  check_failure("empty.test", 0, gai_strerror(EAI_NODATA));
  check_failure("again.test", 2, gai_strerror(EAI_AGAIN));
}
END_TEST

/* In front of the one that answers there are many that swallow every packet. */
START_TEST(test_dead_addresses)
{
  static const char *const dead[] = {"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"};
  struct outcome o;
  int fillers[5], v6 = listen_at(AF_INET6, "::", 0);

  for (int i = 0; i < 5; i++) {
    struct endpoints at = {.count = 0};
    char command[128];
    struct in6_addr ip;

    snprintf(command, sizeof command, "ip -6 address add %s/128 dev lo nodad", dead[i]);
    ck_assert_int_eq(system(command), 0);
    inet_pton(AF_INET6, dead[i], &ip);
    endpoints_add_v6(&at, &ip, 0, port);
    fillers[i] = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (connect(fillers[i], (struct sockaddr *)&at.at[0].bytes, at.at[0].size) != 0)
      ck_assert_int_eq(errno, EINPROGRESS);
  }
  start(&o, "dead.test", LONG_MS);
  answer(dead, 5, "127.0.0.1");
  expect_connected(&o);
  for (int i = 0; i < 5; i++)
    close(fillers[i]);
  close(v6);
}
END_TEST

/* Without a route, and with nobody who listens: both are told. */
START_TEST(test_each_cause_is_told)
{
  static const char *const far[] = {"2001:db8::1"};
  char expected[2][256];
  struct outcome o;

  close(listening);
  start(&o, "gone.test", LONG_MS);
  answer(far, 1, "127.0.0.1");
  wait_done(&o);
  ck_assert_int_eq(o.fd, -ECONNREFUSED);
  snprintf(expected[0], sizeof expected[0],
           "connect to gone.test:%u: Network is unreachable (2001:db8::1), Connection refused (127.0.0.1)", port);
  snprintf(expected[1], sizeof expected[1],
           "connect to gone.test:%u: Connection refused (127.0.0.1), Network is unreachable (2001:db8::1)", port);
  ck_assert_msg(strcmp(o.why, expected[0]) == 0 || strcmp(o.why, expected[1]) == 0, "%s", o.why);
  listening = listen_at(AF_INET, "127.0.0.1", 8);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("names");
  TCase *tcase = tcase_create("names");

  suite_add_tcase(suite, tcase);
  tcase_set_timeout(tcase, 45);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_silence_is_shared);
  tcase_add_test(tcase, test_who_comes_next_shares);
  tcase_add_test(tcase, test_silent_for_v6_only);
  tcase_add_test(tcase, test_silent_for_v4_only);
  tcase_add_test(tcase, test_memory);
  tcase_add_test(tcase, test_failures);
  tcase_add_test(tcase, test_dead_addresses);
  tcase_add_test(tcase, test_each_cause_is_told);
  return suite;
}
