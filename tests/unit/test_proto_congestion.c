/* Which congestion control a socket gets. Far peers are in tests/system/test_slow_lines.py. */
#include <check.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/host/congestion.h"

#include "runner.h"

union name {
  struct sockaddr any;
  struct sockaddr_in ipv4;
  struct sockaddr_in6 ipv6;
};

enum { CONNECTED, ACCEPTED, ENDS };

static void connect_two(int family, int ends[ENDS], union name names[ENDS])
{
  socklen_t size = family == AF_INET ? sizeof names->ipv4 : sizeof names->ipv6;
  int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  memset(names, 0, ENDS * sizeof *names);
  if (family == AF_INET)
    names[CONNECTED].ipv4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  else
    names[CONNECTED].ipv6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
  ck_assert_int_eq(bind(listener, &names[CONNECTED].any, size), 0);
  congestion_begin(listener);
  ck_assert_int_eq(listen(listener, 1), 0);
  ck_assert_int_eq(getsockname(listener, &names[CONNECTED].any, &size), 0);
  ends[CONNECTED] = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  congestion_begin(ends[CONNECTED]);
  ck_assert_int_eq(connect(ends[CONNECTED], &names[CONNECTED].any, size), 0);
  ends[ACCEPTED] = accept(listener, &names[ACCEPTED].any, &size);
  ck_assert_int_ge(ends[ACCEPTED], 0);
  close(listener);
}

static void expect(int fd, const char *algorithm)
{
  char got[16] = "";
  socklen_t size = sizeof got;
  ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, got, &size), 0);
  ck_assert_str_eq(got, algorithm);
}

/* BBR's pacing would stay: they have nothing else from before the first segment. */
START_TEST(near_peers)
{
  static const int families[] = {AF_INET, AF_INET6};
  int ends[ENDS];
  union name names[ENDS];
  connect_two(families[_i], ends, names);
  for (int i = 0; i < ENDS; i++) {
    expect(ends[i], "reno");
    congestion_choose(ends[i], &names[i].any);
    expect(ends[i], "reno");
    close(ends[i]);
  }
}
END_TEST

START_TEST(late)
{
  int ends[ENDS];
  union name names[ENDS];
  connect_two(AF_INET, ends, names);
  for (int i = 0; i < ENDS; i++) {
    setsockopt(ends[i], IPPROTO_TCP, TCP_CONGESTION, "bbr", 3);
    congestion_choose_late(ends[i]);
    expect(ends[i], "reno");
    close(ends[i]);
  }
}
END_TEST

START_TEST(by_the_round_trip)
{
  ck_assert_str_eq(congestion_wanted(0), "reno");
  ck_assert_str_eq(congestion_wanted(CONGESTION_NEAR_US - 1), "reno");
  ck_assert_str_eq(congestion_wanted(CONGESTION_NEAR_US), "bbr");
  ck_assert_str_eq(congestion_wanted(UINT32_MAX), "bbr");
}
END_TEST

START_TEST(a_rate)
{
  int ends[ENDS];
  union name names[ENDS];
  uint64_t got = 0;
  socklen_t size = sizeof got;
  connect_two(AF_INET, ends, names);
  congestion_pace(ends[0], 12345678);
  ck_assert_int_eq(getsockopt(ends[0], SOL_SOCKET, SO_MAX_PACING_RATE, &got, &size), 0);
  ck_assert_uint_eq(got, 12345678);
  congestion_pace(ends[0], 0);
  ck_assert_int_eq(getsockopt(ends[0], SOL_SOCKET, SO_MAX_PACING_RATE, &got, &size), 0);
  ck_assert_uint_eq(got, UINT64_MAX);
  close(ends[0]), close(ends[1]);
}
END_TEST

/* Nothing happens to what is no TCP connection. */
START_TEST(other_sockets)
{
  int pair[2];
  struct sockaddr unix_peer = {.sa_family = AF_UNIX};
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  congestion_choose(pair[0], &unix_peer);
  congestion_choose_late(pair[0]);
  congestion_choose_late(-1);
  congestion_begin(pair[0]);
  congestion_begin(-1);
  ck_assert_int_eq(write(pair[0], "x", 1), 1);
  close(pair[0]), close(pair[1]);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("congestion");
  TCase *each = tcase_create("each");
  tcase_add_loop_test(each, near_peers, 0, 2);
  tcase_add_test(each, late);
  tcase_add_test(each, by_the_round_trip);
  tcase_add_test(each, a_rate);
  tcase_add_test(each, other_sockets);
  suite_add_tcase(suite, each);
  return suite;
}
