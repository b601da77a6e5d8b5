/* What is held for others, and which is given up. The tunnels here carry nothing: the test tells what they hold. */
#include <check.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "carry/tunnel/tunnels_internal.h"

#include "runner.h"

#define MANY_FILES (UINT64_C(2) * DETACHED_MAX)

enum { MANY = DETACHED_MAX + 2 };

static struct detached_list list;
static struct tunnel *tunnels; /* MANY, all of one peer */

/* In place of that of tunnel_info.c. */
struct pump_counters tunnel_counters(const struct tunnel *t)
{
  return (struct pump_counters){.unacked = t->bytes_read, .queued = t->bytes_written};
}

static void set_files(rlim_t most)
{
  struct rlimit files;

  ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
  ck_assert_msg(files.rlim_max >= most, "this test needs a hard limit of %lu open files", (unsigned long)most);
  files.rlim_cur = most;
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

static void setup(void)
{
  list = (struct detached_list){0};
  tunnels = calloc(MANY, sizeof *tunnels);
  ck_assert_ptr_nonnull(tunnels);
}

static void teardown(void)
{
  for (size_t i = 0; i < MANY; i++)
    detached_remove(&list, &tunnels[i]);
  ck_assert_uint_eq(list.count, 0);
  ck_assert_ptr_null(list.peers);
  free(tunnels);
}

static struct tunnel *add(size_t i)
{
  detached_add(&list, &tunnels[i]);
  return detached_surplus(&list, &tunnels[i]);
}

static void add_all(size_t from, size_t to)
{
  for (size_t i = from; i < to; i++)
    ck_assert_ptr_null(add(i));
}

static void make_peers(size_t each)
{
  for (size_t i = 0; i < MANY; i++)
    tunnels[i].member[0] = (uint8_t)(i / each);
}

START_TEST(few_are_kept)
{
  add_all(0, 100);
  ck_assert_uint_eq(list.count, 100);
  detached_remove(&list, &tunnels[50]);
  detached_remove(&list, &tunnels[50]);
  detached_remove(&list, &tunnels[1000]);
  ck_assert_uint_eq(list.count, 99);
}
END_TEST

START_TEST(half_of_the_descriptors_stay_free)
{
  set_files(64);
  add_all(0, 32);
  ck_assert_ptr_eq(add(32), &tunnels[0]);
}
END_TEST

START_TEST(one_peer_may_have_so_many)
{
  set_files(MANY_FILES);
  tunnels[0].member[0] = 1;
  add_all(0, 1 + DETACHED_PER_PEER_MAX);
  size_t next = 1 + DETACHED_PER_PEER_MAX;
  ck_assert_ptr_eq(add(next), &tunnels[1]);
  detached_remove(&list, &tunnels[1]);
  tunnels[next + 1].member[0] = 1;
  ck_assert_ptr_null(add(next + 1));
}
END_TEST

START_TEST(the_others_do_not_count)
{
  const size_t two = (size_t)2 * DETACHED_PER_PEER_MAX;

  set_files(MANY_FILES);
  for (size_t i = 0; i < MANY; i++)
    tunnels[i].member[15] = (uint8_t)(i % 2 == 0);
  add_all(0, two);
  for (size_t i = 0; i < two; i += 4)
    detached_remove(&list, &tunnels[i]);
  ck_assert_ptr_eq(add(two + 1), &tunnels[1]);
  ck_assert_ptr_null(add(two));
}
END_TEST

START_TEST(all_peers_may_have_so_many)
{
  set_files(MANY_FILES);
  make_peers(DETACHED_PER_PEER_MAX / 2);
  add_all(0, DETACHED_MAX);
  ck_assert_ptr_eq(add(DETACHED_MAX), &tunnels[0]);
  detached_remove(&list, &tunnels[0]);
  ck_assert_ptr_eq(add(DETACHED_MAX + 1), &tunnels[1]);
}
END_TEST

START_TEST(one_that_holds_much_takes_the_place_of_many)
{
  for (size_t i = 0; i < 10; i++)
    tunnels[i].bytes_read = DETACHED_BYTES_MAX / 10;
  tunnels[10].bytes_written = DETACHED_BYTES_MAX / 3;
  add_all(0, 10);
  struct tunnel *surplus = add(10);
  for (size_t i = 0; i < 4; i++) {
    ck_assert_ptr_eq(surplus, &tunnels[i]);
    detached_remove(&list, surplus);
    surplus = detached_surplus(&list, &tunnels[10]);
  }
  ck_assert_ptr_null(surplus);
}
END_TEST

START_TEST(one_that_holds_too_much_is_given_up_itself)
{
  tunnels[0].bytes_read = DETACHED_BYTES_MAX + 1;
  ck_assert_ptr_eq(add(0), &tunnels[0]);
  detached_remove(&list, &tunnels[0]);
  ck_assert_ptr_null(detached_surplus(&list, &tunnels[0]));
}
END_TEST

START_TEST(they_may_hold_so_much)
{
  tunnels[0].bytes_read = DETACHED_BYTES_MAX / 2;
  tunnels[1].bytes_written = DETACHED_BYTES_MAX / 2;
  tunnels[2].bytes_read = 1;
  add_all(0, 2);
  ck_assert_uint_eq(list.bytes, DETACHED_BYTES_MAX);
  ck_assert_ptr_eq(add(2), &tunnels[0]);
  detached_remove(&list, &tunnels[0]);
  ck_assert_uint_eq(list.bytes, DETACHED_BYTES_MAX / 2 + 1);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon detached");
  TCase *t = tcase_create("detached");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, few_are_kept);
  tcase_add_test(t, half_of_the_descriptors_stay_free);
  tcase_add_test(t, one_peer_may_have_so_many);
  tcase_add_test(t, the_others_do_not_count);
  tcase_add_test(t, all_peers_may_have_so_many);
  tcase_add_test(t, they_may_hold_so_much);
  tcase_add_test(t, one_that_holds_much_takes_the_place_of_many);
  tcase_add_test(t, one_that_holds_too_much_is_given_up_itself);
  suite_add_tcase(suite, t);
  return suite;
}
