/* Which hosts are granted, and who holds them. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "router/names/grants.h"
#include "router/names/hosts.h"
#include "runner.h"

enum { KEPT_MS = 1000, MAX = 3 };

static bool stays; /* whether the member that left a host has been there ever since */

static bool stayed(const uint8_t member[HEADER_MEMBER_SIZE], uint64_t since, void *arg)
{
  (void)member, (void)since, (void)arg;
  return stays;
}

static struct hosts *hs;
static struct host *h[8];

static struct host_claim claim(uint8_t who, uint64_t now)
{
  return (struct host_claim){.identity = {who}, .member = {who}, .now = now};
}

static int hold(const char *name, bool tls, uint8_t who, uint64_t now, size_t at)
{
  const struct host_claim c = claim(who, now);

  return hosts_hold(hs, name, tls, &c, &h[at]);
}

static void leave(size_t at, uint8_t who, uint64_t now)
{
  const struct host_claim c = claim(who, now);

  hosts_leave(hs, h[at], &c);
}

static void set_up(void)
{
  stays = false;
  hs = hosts_open(MAX, KEPT_MS, stayed, NULL);
  ck_assert_ptr_nonnull(hs);
}

static void tear_down(void)
{
  hosts_close(hs);
}

START_TEST(a_host_is_one_identitys)
{
  ck_assert_int_eq(hold("a.b", false, 1, 0, 0), 0);
  ck_assert_int_eq(hold("a.b", false, 2, 0, 1), -EEXIST);
  ck_assert_int_eq(hold("a.b", true, 1, 0, 1), -EBUSY);
  ck_assert_int_eq(hold("a.b", false, 1, 0, 1), 0);
  stays = true;
  leave(0, 1, 1);
  ck_assert_int_eq(hold("a.b", false, 2, 2, 2), -EEXIST);
  leave(1, 1, 3);
  ck_assert_int_eq(hold("a.b", true, 2, 4, 2), 0);
  ck_assert_int_eq(hold("a.b", true, 1, 4, 3), -EEXIST);
  leave(2, 2, 5);
}
END_TEST

START_TEST(what_a_lost_member_left_is_kept_for_its_identity)
{
  ck_assert_int_eq(hold("a.b", false, 1, 0, 0), 0);
  leave(0, 1, 100);
  ck_assert_int_eq(hold("a.b", false, 2, 100 + KEPT_MS - 1, 0), -EEXIST);
  ck_assert_int_eq(hold("a.b", true, 1, 100 + KEPT_MS - 1, 0), 0);
  leave(0, 1, 2000);
  ck_assert_int_eq(hold("a.b", false, 2, 2000 + KEPT_MS, 0), 0);
  leave(0, 2, 4000);
}
END_TEST

START_TEST(an_identity_holds_so_many_hosts)
{
  ck_assert_int_eq(hold("a.b", false, 1, 0, 0), 0);
  ck_assert_int_eq(hold("b.b", false, 1, 0, 1), 0);
  ck_assert_int_eq(hold("c.b", false, 1, 0, 2), 0);
  ck_assert_int_eq(hold("d.b", false, 1, 0, 3), -ENOSPC);
  ck_assert_int_eq(hold("a.b", false, 1, 0, 3), 0);
  ck_assert_int_eq(hold("d.b", false, 2, 0, 4), 0);
  leave(4, 2, 0);
  leave(2, 1, 0);
  stays = true;
  ck_assert_int_eq(hold("d.b", false, 1, 0, 2), 0);
  for (size_t i = 0; i < 4; i++)
    leave(i, 1, 0);
}
END_TEST

START_TEST(those_that_were_left_are_bounded)
{
  char name[16];

  for (int i = 0; i < 10000; i++) {
    snprintf(name, sizeof name, "h%d.b", i);
    ck_assert_int_eq(hold(name, false, 1, 0, 0), 0);
    leave(0, 1, 0);
  }
  ck_assert_int_eq(hold("h0.b", false, 2, 0, 0), 0);
  ck_assert_int_eq(hold("h9999.b", false, 2, 0, 1), -EEXIST);
  leave(0, 2, 0);
}
END_TEST

START_TEST(grants)
{
  static const struct {
    const char *domain, *own, *host;
    enum rpc_status status;
  } rows[] = {
      {"tun.example.com", NULL, "app.tun.example.com", RPC_OK},
      {"tun.example.com", NULL, "www.tun.example.com", RPC_PERMISSION_DENIED},
      {"tun.example.com", NULL, "a.b.tun.example.com", RPC_PERMISSION_DENIED},
      {"tun.example.com", NULL, "tun.example.com", RPC_PERMISSION_DENIED},
      {"tun.example.com", NULL, "app.example.com", RPC_PERMISSION_DENIED},
      {"tun.example.com", NULL, "apptun.example.com", RPC_PERMISSION_DENIED},
      {NULL, NULL, "app.example.com", RPC_PERMISSION_DENIED},
      {NULL, "*", "app.example.com", RPC_OK},
      {"tun.example.com", "*", "app.example.com", RPC_OK},
      {"tun.example.com", "*", "www.tun.example.com", RPC_PERMISSION_DENIED},
      {"tun.example.com", "*", "tun.example.com", RPC_PERMISSION_DENIED},
      {NULL, "a.b,*.example.org", "a.b", RPC_OK},
      {NULL, "a.b,*.example.org", "x.a.b", RPC_PERMISSION_DENIED},
      {NULL, "a.b,*.example.org", "x.y.example.org", RPC_OK},
      {NULL, "a.b,*.example.org", "example.org", RPC_PERMISSION_DENIED},
      {NULL, "a.b,*.example.org", "xexample.org", RPC_PERMISSION_DENIED},
  };
  const uint8_t identity[IDENTITY_SIZE] = {0};

  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const struct grants g = {.domain = rows[i].domain, .own = rows[i].own};
    const char *why = "";

    ck_assert_msg(grants_host(&g, identity, rows[i].host, &why) == rows[i].status, "row %zu: %s", i, why);
    ck_assert(rows[i].status == RPC_OK || strlen(why) > 10);
  }
}
END_TEST

START_TEST(ports_are_granted_within_a_range)
{
  static const char *const bad[] = {"", "0", "a", "1-", "-1", "2-1", "1-65536", "0-1", "1-2-3", "1 -2", "1,2"};
  const uint8_t identity[IDENTITY_SIZE] = {0};
  struct grants g = {0};
  const char *why = "";

  ck_assert_int_eq(grants_port(&g, identity, 1, &why), RPC_PERMISSION_DENIED);
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_assert_msg(grants_read_ports(&g, bad[i], &why) == -1, "%s is taken", bad[i]);
  ck_assert_int_eq(grants_read_ports(&g, "22", &why), 0);
  ck_assert_int_eq(grants_port(&g, identity, 22, &why), RPC_OK);
  ck_assert_int_eq(grants_port(&g, identity, 23, &why), RPC_PERMISSION_DENIED);
  ck_assert_int_eq(grants_read_ports(&g, "20000-20999", &why), 0);
  ck_assert_int_eq(grants_port(&g, identity, 19999, &why), RPC_PERMISSION_DENIED);
  ck_assert_int_eq(grants_port(&g, identity, 20000, &why), RPC_OK);
  ck_assert_int_eq(grants_port(&g, identity, 20999, &why), RPC_OK);
  ck_assert_int_eq(grants_port(&g, identity, 21000, &why), RPC_PERMISSION_DENIED);
}
END_TEST

START_TEST(options_are_checked)
{
  const char *why;

  ck_assert_int_eq(grants_check_domain("tun.example.com", &why), 0);
  ck_assert_int_eq(grants_check_domain("com", &why), -1);
  ck_assert_int_eq(grants_check_domain("Tun.example.com", &why), -1);
  ck_assert_int_eq(grants_check_own("*", &why), 0);
  ck_assert_int_eq(grants_check_own("*.b.c,d.e", &why), 0);
  ck_assert_int_eq(grants_check_own("", &why), -1);
  ck_assert_int_eq(grants_check_own("a.b,", &why), -1);
  ck_assert_int_eq(grants_check_own("a.*.b", &why), -1);
  ck_assert_int_eq(grants_check_own("*.", &why), -1);
  ck_assert_int_eq(grants_check_own("a,b.c", &why), -1);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("public hosts");
  TCase *all = tcase_create("all");

  tcase_add_checked_fixture(all, set_up, tear_down);
  tcase_add_test(all, a_host_is_one_identitys);
  tcase_add_test(all, what_a_lost_member_left_is_kept_for_its_identity);
  tcase_add_test(all, an_identity_holds_so_many_hosts);
  tcase_add_test(all, those_that_were_left_are_bounded);
  tcase_add_test(all, grants);
  tcase_add_test(all, options_are_checked);
  tcase_add_test(all, ports_are_granted_within_a_range);
  suite_add_tcase(suite, all);
  return suite;
}
