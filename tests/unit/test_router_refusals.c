/* Who is refused is told of, and nobody fills the log. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "router/door/refusals.h"

#include "runner.h"

/* One that comes again and again from other ports is told once a minute, with how often it came. */
START_TEST(test_one_host)
{
  struct refusals rs = {0};
  uint64_t since = 99;
  ck_assert(refusals_tell(&rs, "ipv4:192.0.2.1:1", 1000, &since));
  ck_assert_uint_eq(since, 0);
  for (unsigned i = 0; i < 19; i++)
    ck_assert(!refusals_tell(&rs, "ipv4:192.0.2.1:2", 4000 + i, &since));
  ck_assert(refusals_tell(&rs, "ipv4:192.0.2.2:1", 5000, &since));
  ck_assert_uint_eq(since, 0);
  ck_assert(refusals_tell(&rs, "ipv4:192.0.2.1:3", 61000, &since));
  ck_assert_uint_eq(since, 19);
}
END_TEST

/* A crowd of hosts has one pace; nothing grows with it, and who is told longest ago is forgotten first. */
START_TEST(test_crowd)
{
  struct refusals rs = {0};
  uint64_t since;
  unsigned told = 0;
  for (unsigned i = 0; i < 10000; i++) {
    char peer[64];
    snprintf(peer, sizeof peer, "ipv4:10.0.%u.%u:1", i / 256, i % 256);
    told += refusals_tell(&rs, peer, 1000, &since);
  }
  ck_assert_uint_eq(told, REFUSALS_AT_ONCE);
  ck_assert_uint_eq(rs.pace.left_out, 10000 - REFUSALS_AT_ONCE);
  for (unsigned i = 0; i < REFUSALS_HOSTS; i++) {
    char peer[64];
    snprintf(peer, sizeof peer, "ipv6:%%5B::%u%%5D:1", i);
    ck_assert(refusals_tell(&rs, peer, 2000 + (i + 1) * 1000, &since));
  }
  ck_assert_uint_eq(rs.count, REFUSALS_HOSTS);
  ck_assert(!refusals_tell(&rs, "ipv6:%5B::5%5D:7", 2000 + 66 * 1000 - 1001, &since));
  char longest[200] = "ipv4:";
  memset(longest + 5, 'x', sizeof longest - 6);
  ck_assert(refusals_tell(&rs, longest, 900000, &since));
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("refusals");
  TCase *tcase = tcase_create("refusals");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_one_host);
  tcase_add_test(tcase, test_crowd);
  return suite;
}
