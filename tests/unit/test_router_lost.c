/* Members that are over: who reads what, and what is forgotten. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "router/names/lost.h"

#include "runner.h"

enum { MEMORY = 8 };

struct name {
  uint8_t bytes[HEADER_MEMBER_SIZE];
};

static struct name name(unsigned n)
{
  struct name out;
  memset(out.bytes, 0x5a, sizeof out.bytes);
  memcpy(out.bytes, &n, sizeof n);
  return out;
}

static bool add(struct lost *l, unsigned n)
{
  return lost_add(l, name(n).bytes);
}

static bool has(const struct lost *l, unsigned n)
{
  return lost_has(l, name(n).bytes);
}

/* Reads all, at most `page` at once, which must be `first` to `last`. */
static void read_all(const struct lost *l, uint64_t *seen, size_t page, unsigned first, unsigned last)
{
  unsigned next = first;
  for (;;) {
    const uint8_t *out[MEMORY];
    size_t count = lost_read(l, seen, out, page);
    ck_assert_uint_le(count, page);
    for (size_t i = 0; i < count; i++)
      ck_assert_mem_eq(out[i], name(next++).bytes, HEADER_MEMBER_SIZE);
    if (!lost_unseen(l, *seen))
      break;
    ck_assert_uint_gt(count, 0);
  }
  ck_assert_uint_eq(next, last + 1);
}

START_TEST(test_readers)
{
  struct lost *l = lost_open(MEMORY);
  uint64_t early = 0, late = 0;
  const uint8_t *out[1];
  ck_assert(!lost_unseen(l, early));
  ck_assert_uint_eq(lost_read(l, &early, out, 1), 0);
  for (unsigned i = 1; i <= 3; i++)
    ck_assert(add(l, i));
  ck_assert(!add(l, 2)); /* it is known */
  read_all(l, &early, 2, 1, 3);
  ck_assert(add(l, 4));
  ck_assert(lost_unseen(l, early));
  read_all(l, &early, MEMORY, 4, 4);
  read_all(l, &late, 1, 1, 4);
  ck_assert(has(l, 1) && has(l, 4) && !has(l, 5));
  lost_close(l);
  lost_close(NULL);
}
END_TEST

START_TEST(test_oldest_are_forgotten)
{
  struct lost *l = lost_open(MEMORY);
  uint64_t seen = 0, none = 0;
  ck_assert(add(l, 1));
  read_all(l, &seen, 1, 1, 1);
  for (unsigned i = 2; i <= 100; i++)
    ck_assert(add(l, i));
  for (unsigned i = 1; i <= 100; i++)
    ck_assert_int_eq(has(l, i), i > 100 - MEMORY);
  read_all(l, &seen, 3, 101 - MEMORY, 100);
  read_all(l, &none, MEMORY, 101 - MEMORY, 100);
  /* What was forgotten may be told again. */
  ck_assert(add(l, 1));
  ck_assert(has(l, 1) && !has(l, 101 - MEMORY));
  lost_close(l);
}
END_TEST

/* What somebody who is there stands for is kept, however many others come and go. */
START_TEST(test_held)
{
  struct lost *l = lost_open(MEMORY);
  uint64_t seen = 0;
  lost_hold(l, name(1).bytes, true); /* it is not known */
  for (unsigned i = 1; i <= 3; i++)
    ck_assert(add(l, i));
  lost_hold(l, name(2).bytes, true);
  for (unsigned i = 4; i <= 100; i++)
    ck_assert(add(l, i));
  ck_assert(!has(l, 1) && has(l, 2) && !has(l, 3));
  ck_assert(!has(l, 101 - MEMORY) && has(l, 102 - MEMORY));
  const uint8_t *out[MEMORY];
  ck_assert_uint_eq(lost_read(l, &seen, out, 3), 3);
  ck_assert_mem_eq(out[0], name(2).bytes, HEADER_MEMBER_SIZE);
  ck_assert_mem_eq(out[1], name(102 - MEMORY).bytes, HEADER_MEMBER_SIZE);
  ck_assert_uint_eq(lost_read(l, &seen, out, MEMORY), MEMORY - 3);
  ck_assert(!lost_unseen(l, seen));
  lost_hold(l, name(2).bytes, false);
  ck_assert(add(l, 101));
  ck_assert(!has(l, 2));
  /* If all are held, the oldest goes. */
  for (unsigned i = 1; i <= 101; i++)
    lost_hold(l, name(i).bytes, true);
  ck_assert(add(l, 102));
  ck_assert(!has(l, 102 - MEMORY) && has(l, 103 - MEMORY) && has(l, 102));
  lost_close(l);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("lost");
  TCase *tcase = tcase_create("lost");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_readers);
  tcase_add_test(tcase, test_oldest_are_forgotten);
  tcase_add_test(tcase, test_held);
  return suite;
}
