/* Memory by reference, and messages made of it. */
#include <check.h>
#include <string.h>
#include <sys/uio.h>

#include "proto/host/errand.h"
#include "proto/stream/message.h"

#include "failing.h"
#include "runner.h"

/* ---- Bytes ---- */

struct owned {
  struct chunk chunk;
  unsigned gone;
};

static void owned_unused(struct chunk *c)
{
  ((struct owned *)c)->gone++;
}

START_TEST(what_is_copied_is_its_own)
{
  char from[] = "twelve bytes";
  struct bytes b;
  ck_assert_int_eq(bytes_copy(&b, from, 12), 0);
  from[0] = 'T';
  ck_assert_uint_eq(b.size, 12);
  ck_assert_mem_eq(b.at, "twelve bytes", 12);
  bytes_drop(&b);
  ck_assert_ptr_null(b.owner);
  ck_assert_uint_eq(b.size, 0);
  bytes_drop(&b); /* harmless */
  ck_assert_int_eq(bytes_copy(&b, NULL, 0), 0);
  bytes_drop(&b);
}
END_TEST

START_TEST(the_last_reference_frees)
{
  struct owned owned = {.gone = 0};
  chunk_begin(&owned.chunk, 1, owned_unused);
  struct bytes one = {.owner = &owned.chunk, .at = (const uint8_t *)"ab", .size = 2}, other = bytes_share(&one);
  bytes_drop(&one);
  ck_assert_uint_eq(owned.gone, 0);
  ck_assert_mem_eq(other.at, "ab", 2);
  bytes_drop(&other);
  ck_assert_uint_eq(owned.gone, 1);
}
END_TEST

START_TEST(what_nobody_owns_stays)
{
  struct bytes b = {.at = (const uint8_t *)"static", .size = 6}, other = bytes_share(&b);
  bytes_drop(&b);
  ck_assert_mem_eq(other.at, "static", 6);
  bytes_drop(&other);
}
END_TEST

START_TEST(bytes_leave_their_owner)
{
  struct owned owned = {.gone = 0};
  chunk_begin(&owned.chunk, 1, owned_unused);
  struct bytes b = {.owner = &owned.chunk, .at = (const uint8_t *)"keep me", .size = 7};
  ck_assert_int_eq(bytes_move_out(&b), 0);
  ck_assert_uint_eq(owned.gone, 1);
  ck_assert_uint_eq(b.size, 7);
  ck_assert_mem_eq(b.at, "keep me", 7);
  bytes_drop(&b);
}
END_TEST

/* ---- Messages ---- */

START_TEST(a_message_has_what_was_copied)
{
  struct message *m = message_copy("hello", 5);
  struct iovec parts[2];
  ck_assert_ptr_nonnull(m);
  ck_assert_uint_eq(m->size, 5);
  ck_assert_uint_eq(message_iovecs(m, parts, 2), 1);
  ck_assert_uint_eq(parts[0].iov_len, 5);
  ck_assert_mem_eq(parts[0].iov_base, "hello", 5);
  message_free(m);
  message_free(NULL);
}
END_TEST

START_TEST(a_message_lets_go_of_all_its_parts)
{
  struct owned owned = {.gone = 0};
  struct message *m = message_create(3);
  struct iovec parts[2];
  ck_assert_ptr_nonnull(m);
  chunk_begin(&owned.chunk, 3, owned_unused);
  for (size_t i = 0; i < 3; i++)
    m->parts[i] = (struct bytes){.owner = &owned.chunk, .at = (const uint8_t *)"abc" + i, .size = 1};
  m->size = 3;
  ck_assert_uint_eq(message_iovecs(m, parts, 2), 2);
  ck_assert_mem_eq(parts[1].iov_base, "b", 1);
  ck_assert_uint_eq(owned.gone, 0);
  message_free(m);
  ck_assert_uint_eq(owned.gone, 1);
}
END_TEST

START_TEST(short_memory_changes_nothing)
{
  struct owned owned = {.gone = 0};
  struct bytes b = {.owner = &owned.chunk, .at = (const uint8_t *)"kept", .size = 4}, copy;
  if (!FAILING_WORKS)
    return;
  chunk_begin(&owned.chunk, 1, owned_unused);
  fail_allocation(1);
  ck_assert_int_eq(bytes_copy(&copy, "x", 1), -ENOMEM);
  ck_assert(allocation_failed());
  fail_allocation(1);
  ck_assert_int_eq(bytes_move_out(&b), -ENOMEM);
  ck_assert(allocation_failed());
  ck_assert_ptr_eq(b.owner, &owned.chunk);
  ck_assert_mem_eq(b.at, "kept", 4);
  ck_assert_uint_eq(owned.gone, 0);
  for (size_t nth = 1; nth <= 2; nth++) {
    fail_allocation(nth);
    ck_assert_ptr_null(message_copy("x", 1));
    ck_assert(allocation_failed());
  }
}
END_TEST

/* ---- Errands ---- */

struct counted {
  struct errand errand;
  struct errands *again; /* where it goes once more, or NULL */
  unsigned *order, at;
};

static void count(struct errand *e)
{
  struct counted *c = (struct counted *)e;
  c->at = ++*c->order;
  if (c->again != NULL)
    errands_add(c->again, e);
}

START_TEST(errands_run_in_order_and_may_be_sent_again)
{
  struct errands list;
  unsigned order = 0;
  struct counted a = {.errand.run = count, .order = &order, .again = &list}, b = {.errand.run = count, .order = &order};
  errands_start(&list);
  ck_assert_ptr_null(errands_take(&list));
  errands_add(&list, &a.errand);
  errands_add(&list, &b.errand);
  errands_run(errands_take(&list));
  ck_assert_uint_eq(a.at, 1);
  ck_assert_uint_eq(b.at, 2);
  a.again = NULL;
  errands_run(errands_take(&list));
  ck_assert_uint_eq(a.at, 3);
  ck_assert_ptr_null(errands_take(&list));
  errands_run(NULL);
}
END_TEST

Suite *test_suite(void)
{
  Suite *s = suite_create("stream");
  TCase *c = tcase_create("memory");
  tcase_add_test(c, what_is_copied_is_its_own);
  tcase_add_test(c, the_last_reference_frees);
  tcase_add_test(c, what_nobody_owns_stays);
  tcase_add_test(c, bytes_leave_their_owner);
  tcase_add_test(c, a_message_has_what_was_copied);
  tcase_add_test(c, a_message_lets_go_of_all_its_parts);
  tcase_add_test(c, short_memory_changes_nothing);
  tcase_add_test(c, errands_run_in_order_and_may_be_sent_again);
  suite_add_tcase(s, c);
  return s;
}
