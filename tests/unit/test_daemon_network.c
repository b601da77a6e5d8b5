/* The way to a router, in a network namespace of the test's own. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "carry/link/network.h"

#include "runner.h"

enum { PATIENCE_MS = 30000, SETTLED_MS = 300 };

static uv_loop_t loop;
static struct network *network;
static int changes;
static bool surely;
static bool gone;

static void run(const char *command)
{
  ck_assert_msg(system(command) == 0, "%s", command);
}

static void changed(bool sure, void *arg)
{
  (void)arg;
  changes++;
  surely = sure;
}

static void setup(void)
{
  /* Who is not root needs a namespace of users, too. */
  ck_assert_int_eq(unshare(CLONE_NEWNET | (geteuid() == 0 ? 0 : CLONE_NEWUSER)), 0);
  run("ip link set lo up");
  run("ip link add d0 type veth peer name pd0 && ip link set pd0 addrgenmode none up && ip link set d0 addrgenmode "
      "none up && ip addr add 192.0.2.2/24 "
      "dev d0");
  run("ip link add d1 type veth peer name pd1 && ip link set pd1 addrgenmode none up && ip link set d1 addrgenmode "
      "none up && ip addr add 203.0.113.2/24 "
      "dev d1");
  run("ip route add 198.51.100.0/24 via 192.0.2.1");
  ck_assert_int_eq(uv_loop_init(&loop), 0);
  ck_assert_int_eq(network_open(&network, &loop, changed, NULL), 0);
  changes = 0;
}

static void closed(void *arg)
{
  (void)arg;
  gone = true;
}

static void teardown(void)
{
  network_close(network, closed, NULL);
  while (!gone)
    uv_run(&loop, UV_RUN_ONCE);
  uv_run(&loop, UV_RUN_NOWAIT);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void impatient(uv_timer_t *timer)
{
  *(bool *)timer->data = true;
}

/* Runs until there are so many changes, or for so long. */
static void run_loop(int wanted, uint64_t ms)
{
  uv_timer_t timer;
  bool over = false;

  ck_assert_int_eq(uv_timer_init(&loop, &timer), 0);
  timer.data = &over;
  uv_timer_start(&timer, impatient, ms, 0);
  while (!over && changes < wanted)
    uv_run(&loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&loop, UV_RUN_NOWAIT);
}

static void told(const char *command)
{
  int before = changes;

  run(command);
  run_loop(before + 1, PATIENCE_MS);
  ck_assert_msg(changes == before + 1, "%s", command);
}

static void surely_told(const char *command)
{
  told(command);
  ck_assert_msg(surely, "%s", command);
}

static void perhaps_told(const char *command)
{
  told(command);
  ck_assert_msg(!surely, "%s", command);
}

static void not_told(const char *command)
{
  int before = changes;

  run(command);
  run_loop(before + 1, SETTLED_MS);
  ck_assert_msg(changes == before, "%s", command);
}

START_TEST(another_way_is_told)
{
  network_watch(network, "ipv4:198.51.100.1:443");
  told("ip route replace 198.51.100.0/24 via 192.0.2.9");
  told("ip route replace 198.51.100.0/24 via 203.0.113.1");
  told("ip addr add 203.0.113.7/32 dev d1 && ip route replace 198.51.100.0/24 via 203.0.113.1 src 203.0.113.7");
  /* A more specific one. */
  told("ip route add 198.51.100.1 via 192.0.2.1");
  told("ip addr add 192.0.2.3/24 dev d0 && ip addr del 192.0.2.2/24 dev d0 && ip addr add 192.0.2.4/24 dev d0 && "
       "ip route replace 198.51.100.1 via 192.0.2.1");
}
END_TEST

START_TEST(a_way_that_comes_back_is_told)
{
  network_watch(network, "ipv4:198.51.100.1:443");
  not_told("ip link set d0 down");
  told("ip link set d0 up && ip route add 198.51.100.0/24 via 192.0.2.1");
  not_told("ip addr del 192.0.2.2/24 dev d0");
  told("ip addr add 192.0.2.3/24 dev d0 && ip route add 198.51.100.0/24 via 192.0.2.1");
}
END_TEST

START_TEST(what_does_not_matter_is_not_told)
{
  network_watch(network, "ipv4:198.51.100.1:443");
  not_told("ip addr add 203.0.113.9/24 dev d1");
  not_told("ip route add 198.18.0.0/15 via 203.0.113.1");
  not_told("ip link set d1 down");
  not_told("ip addr add 2001:db8::2/64 dev d0 nodad");
  not_told("ip addr add 127.0.0.9/8 dev lo");
  /* The same, again: as a lease that is renewed. */
  not_told("ip addr change 192.0.2.2/24 dev d0 valid_lft 1000 preferred_lft 1000");
  not_told("ip route replace 198.51.100.0/24 via 192.0.2.1");
}
END_TEST

START_TEST(loopback_is_as_it_is)
{
  network_watch(network, "ipv4:127.0.0.1:7000");
  not_told("ip link set d0 down && ip link set d1 down");
  not_told("ip addr add 192.0.2.77/32 dev lo");
}
END_TEST

START_TEST(ipv6_as_well)
{
  run("ip addr add 2001:db8::2/64 dev d0 nodad");
  run("ip route add 2001:db8:1::/48 via 2001:db8::1");
  network_watch(network, "ipv6:%5B2001:db8:1::1%5D:443");
  not_told("ip addr add 2001:db8:2::2/64 dev d1 nodad");
  told("ip route replace 2001:db8:1::/48 via 2001:db8::9");
  told("ip route replace 2001:db8:1::/48 via 2001:db8:2::9");
}
END_TEST

START_TEST(before_there_is_a_router_what_comes_is_told)
{
  network_watch(network, "unix:/tmp/x");
  perhaps_told("ip addr add 192.0.2.8/24 dev d0");
  not_told("ip addr del 192.0.2.8/24 dev d0");
  perhaps_told("ip route add 198.18.0.0/15 via 203.0.113.1");
  surely_told("ip route add default via 203.0.113.1");
  perhaps_told("ip addr add 192.0.2.9/24 dev d0");
  surely_told("ip route replace default via 192.0.2.1");
  not_told("ip route del default");
  surely_told("ip addr add 2001:db8::2/64 dev d0 nodad && ip route add default via 2001:db8::1");
  /* Many at once are one. */
  perhaps_told("for i in 1 2 3 4 5 6 7 8 9; do echo addr add 192.0.2.1$i/24 dev d0; done | ip -batch -");
}
END_TEST

START_TEST(more_than_the_kernel_keeps)
{
  network_watch(network, "ipv4:198.51.100.1:443");
  told("for a in $(seq 0 39); do for b in $(seq 0 249); do echo route add 10.$a.$b.0/24 via 203.0.113.1; done; done | "
       "ip -batch - && ip route replace 198.51.100.0/24 via 203.0.113.1");
}
END_TEST

START_TEST(sleep_is_noticed)
{
  uint64_t offset = 0;

  ck_assert(!network_slept(&offset, 5000, 5000));
  ck_assert(!network_slept(&offset, 10000, 10000));
  ck_assert(!network_slept(&offset, 15001, 15000));
  ck_assert(network_slept(&offset, 100000, 20000));
  ck_assert(!network_slept(&offset, 105000, 25000));
  ck_assert(network_slept(&offset, 112000, 30000));
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("daemon network");
  TCase *t = tcase_create("in a namespace");
  TCase *pure = tcase_create("pure");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, another_way_is_told);
  tcase_add_test(t, a_way_that_comes_back_is_told);
  tcase_add_test(t, what_does_not_matter_is_not_told);
  tcase_add_test(t, loopback_is_as_it_is);
  tcase_add_test(t, ipv6_as_well);
  tcase_add_test(t, before_there_is_a_router_what_comes_is_told);
  tcase_add_test(t, more_than_the_kernel_keeps);
  tcase_add_test(pure, sleep_is_noticed);
  suite_add_tcase(s, t);
  suite_add_tcase(s, pure);
  return s;
}
