/* One direction as a sequence: what is kept, where a new stream goes on, what is known already. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "failing.h"
#include "proto/flow/sequence.h"

#include "runner.h"

static struct sequence_out out;
static struct sequence_in in;
static unsigned dropped, last_dropped;

/* A body is its message's number. */
static void drop(void *body)
{
  unsigned number;
  memcpy(&number, body, sizeof number);
  dropped++;
  last_dropped = number;
}

static void setup(void)
{
  dropped = last_dropped = 0;
  sequence_out_start(&out, drop);
  in = (struct sequence_in){0};
}

static void teardown(void)
{
  sequence_out_free(&out);
}

/* As if all before had been carried and acked. */
static void start_at(uint64_t at)
{
  out.acked = out.next = out.added = at;
  in.received = at;
}

static void add(unsigned number, uint32_t size)
{
  unsigned char body[SEQUENCE_BODY_SIZE] = {0};
  memcpy(body, &number, sizeof number);
  ck_assert_int_eq(sequence_out_add(&out, size, body), 0);
}

static unsigned number_of(const struct piece *p)
{
  unsigned number;
  memcpy(&number, p->body, sizeof number);
  return number;
}

static void expect_next(unsigned number, uint64_t at)
{
  const struct piece *p = sequence_out_peek(&out);
  ck_assert_ptr_nonnull(p);
  ck_assert_uint_eq(p->at, at);
  ck_assert_uint_eq(out.next, at);
  if (p->size > 0)
    ck_assert_uint_eq(number_of(p), number);
}

static void send_all(void)
{
  while (sequence_out_peek(&out) != NULL)
    sequence_out_sent(&out);
}

static const uint64_t beginnings[] = {0,
                                      1,
                                      (UINT64_C(1) << 32) - 150,
                                      (UINT64_C(1) << 32) - 1,
                                      UINT64_C(1) << 32,
                                      (UINT64_C(1) << 63) - 150,
                                      (UINT64_C(1) << 63) - 1,
                                      UINT64_C(1) << 63};
enum { BEGINNINGS = sizeof beginnings / sizeof beginnings[0] };

/* ---- The sender ---- */

START_TEST(test_nothing)
{
  ck_assert_ptr_null(sequence_out_peek(&out));
  ck_assert_ptr_null(sequence_out_kept(&out, 0));
  ck_assert(sequence_out_possible(&out, 0));
  ck_assert(!sequence_out_possible(&out, 1));
  ck_assert_int_eq(sequence_out_resume(&out, 0), 0);
  ck_assert_int_eq(sequence_out_acked(&out, 0), 0);
  ck_assert_int_eq(sequence_out_acked(&out, 1), -EPROTO);
}
END_TEST

/* Sent once, acked one by one, the end last. */
START_TEST(test_in_order)
{
  uint64_t at = beginnings[_i];
  start_at(at);
  for (uint64_t i = 0; i < 100; i++) {
    add((unsigned)i, 100);
    expect_next((unsigned)i, at + 100 * i);
    sequence_out_sent(&out);
    ck_assert_ptr_null(sequence_out_peek(&out));
  }
  ck_assert_int_eq(sequence_out_add(&out, 0, NULL), 0);
  ck_assert(out.ended);
  expect_next(0, at + 10000);
  ck_assert_uint_eq(sequence_out_peek(&out)->size, 0);
  sequence_out_sent(&out);
  ck_assert_uint_eq(out.next, at + 10001);
  ck_assert_uint_eq(out.added, at + 10001);
  for (uint64_t i = 0; i < 100; i++) {
    ck_assert_int_eq(sequence_out_acked(&out, at + 100 * i + 99), 0);
    ck_assert_uint_eq(dropped, i);
    ck_assert_int_eq(sequence_out_acked(&out, at + 100 * i + 100), 0);
    ck_assert_uint_eq(dropped, i + 1);
    ck_assert_uint_eq(last_dropped, i);
  }
  ck_assert_ptr_nonnull(sequence_out_kept(&out, 0)); /* the end */
  ck_assert_int_eq(sequence_out_acked(&out, at + 10002), -EPROTO);
  ck_assert_int_eq(sequence_out_acked(&out, at + 10001), 0);
  ck_assert_ptr_null(sequence_out_kept(&out, 0));
  ck_assert_uint_eq(dropped, 100);
}
END_TEST

/* In the middle of a message, at its beginning, at the very end. */
START_TEST(test_resume)
{
  uint64_t at = beginnings[_i];
  start_at(at);
  for (unsigned i = 0; i < 9; i++)
    add(i, 10);
  ck_assert_int_eq(sequence_out_add(&out, 0, NULL), 0);
  send_all();
  for (uint64_t received = 0; received < 90; received++) {
    ck_assert_int_eq(sequence_out_resume(&out, at + received), 0);
    expect_next((unsigned)(received / 10), at + received / 10 * 10);
  }
  ck_assert_int_eq(sequence_out_resume(&out, at + 90), 0);
  expect_next(0, at + 90);
  ck_assert_uint_eq(sequence_out_peek(&out)->size, 0);
  ck_assert_int_eq(sequence_out_resume(&out, at + 91), 0);
  ck_assert_ptr_null(sequence_out_peek(&out));
  ck_assert_uint_eq(out.next, at + 91);

  ck_assert_int_eq(sequence_out_resume(&out, at + 35), 0);
  ck_assert_int_eq(sequence_out_resume(&out, at + 92), -EPROTO);
  ck_assert_int_eq(sequence_out_resume(&out, UINT64_MAX), -EPROTO);
  expect_next(3, at + 30); /* nothing has changed */
}
END_TEST

/* Who says so less than it had acked said so before. */
START_TEST(test_resume_after_acks)
{
  uint64_t at = beginnings[_i];
  start_at(at);
  for (unsigned i = 0; i < 9; i++)
    add(i, 10);
  send_all();
  ck_assert_int_eq(sequence_out_acked(&out, at + 35), 0);
  ck_assert_uint_eq(dropped, 3);
  for (uint64_t received = 0; received < 40; received++) {
    ck_assert(sequence_out_possible(&out, at + received));
    ck_assert_int_eq(sequence_out_resume(&out, at + received), 0);
    expect_next(3, at + 30);
  }
  ck_assert_int_eq(sequence_out_resume(&out, at + 40), 0);
  expect_next(4, at + 40);
  ck_assert_int_eq(sequence_out_acked(&out, at + 90), 0);
  ck_assert_int_eq(sequence_out_resume(&out, at + 10), 0);
  ck_assert_ptr_null(sequence_out_peek(&out));
  ck_assert_uint_eq(out.next, at + 90);
  ck_assert(!sequence_out_possible(&out, at + 91));
}
END_TEST

/* Acked before it went out on this stream: need not go out. What is acked in part goes whole. */
START_TEST(test_ack_of_what_was_not_sent_again)
{
  uint64_t at = beginnings[_i];
  start_at(at);
  for (unsigned i = 0; i < 9; i++)
    add(i, 10);
  send_all();
  ck_assert_int_eq(sequence_out_resume(&out, at), 0);
  sequence_out_sent(&out);
  ck_assert_int_eq(sequence_out_acked(&out, at + 45), 0);
  ck_assert_uint_eq(dropped, 4);
  expect_next(4, at + 40);
  ck_assert_int_eq(sequence_out_acked(&out, at + 20), 0); /* overtaken */
  expect_next(4, at + 40);
  ck_assert_int_eq(sequence_out_acked(&out, at + 90), 0);
  ck_assert_ptr_null(sequence_out_peek(&out));
  ck_assert_uint_eq(out.next, at + 90);
}
END_TEST

/* The ring goes round, grows while it does, and goes when it is empty and was large. */
START_TEST(test_ring)
{
  uint64_t sent = 0, taken = 0;
  unsigned number = 0;
  for (int round = 0; round < 200; round++) {
    for (int i = 0; i < round; i++, sent += 7)
      add(number++, 7);
    if (round % 3 == 0)
      ck_assert_int_eq(sequence_out_resume(&out, taken), 0);
    send_all();
    for (int i = 0; i < round / 2; i++)
      ck_assert_int_eq(sequence_out_acked(&out, taken += 7), 0);
    ck_assert_uint_eq(dropped, taken / 7);
    if (out.count > 0) {
      ck_assert_uint_eq(number_of(sequence_out_kept(&out, 0)), taken / 7);
      ck_assert_uint_eq(sequence_out_kept(&out, out.count - 1)->at, sent - 7);
      ck_assert_ptr_null(sequence_out_kept(&out, out.count));
    }
  }
  ck_assert_uint_gt(out.room, 1000);
  ck_assert_int_eq(sequence_out_acked(&out, sent), 0);
  ck_assert_uint_eq(dropped, number);
  ck_assert_ptr_null(out.ring);
  add(number, 1);
  expect_next(number, sent);
}
END_TEST

START_TEST(test_memory_is_short)
{
  unsigned char body[SEQUENCE_BODY_SIZE] = {0};
  unsigned number = 0;
  for (int i = 0; FAILING_WORKS && i < 6; i++) {
    while (out.count < out.room)
      add(number++, 5);
    uint64_t added = out.added;
    fail_allocation(1);
    int error = sequence_out_add(&out, 5, body);
    ck_assert(allocation_failed());
    ck_assert_int_eq(error, -ENOMEM);
    ck_assert_uint_eq(out.added, added);
    ck_assert_uint_eq(dropped, 0);
    add(number++, 5);
  }
  ck_assert_int_eq(sequence_out_acked(&out, out.added), 0);
  ck_assert_uint_eq(dropped, number);
}
END_TEST

START_TEST(test_free_drops)
{
  for (unsigned i = 0; i < 5; i++)
    add(i, 1);
  ck_assert_int_eq(sequence_out_add(&out, 0, NULL), 0);
  sequence_out_free(&out);
  ck_assert_uint_eq(dropped, 5);
  sequence_out_start(&out, NULL);
  add(0, 1);
  ck_assert_int_eq(sequence_out_acked(&out, 1), 0);
}
END_TEST

/* ---- The receiver ---- */

static int message(uint64_t size, bool end, uint64_t *skip)
{
  *skip = 12345;
  return sequence_in_message(&in, false, 999, size, end, skip);
}

static int message_at(uint64_t at, uint64_t size, bool end, uint64_t *skip)
{
  *skip = 12345;
  return sequence_in_message(&in, true, at, size, end, skip);
}

START_TEST(test_arrives_in_order)
{
  uint64_t skip;
  ck_assert_int_eq(message(10, false, &skip), 1);
  ck_assert_uint_eq(skip, 0);
  ck_assert_int_eq(message(5, true, &skip), 1);
  ck_assert_uint_eq(skip, 0);
  ck_assert_uint_eq(in.received, 16);
  ck_assert(in.ended);
  ck_assert_int_eq(message(1, false, &skip), -EPROTO);
  ck_assert_int_eq(message(0, true, &skip), -EPROTO);
  ck_assert_uint_eq(in.received, 16);
}
END_TEST

/* Whatever was said before on the stream, an offset counts; after it messages go on from there. */
START_TEST(test_known_and_half_known)
{
  uint64_t at = beginnings[_i], skip;
  start_at(at);
  ck_assert_int_eq(message_at(at, 100, false, &skip), 1);
  sequence_in_attach(&in);
  ck_assert_int_eq(message_at(at, 60, false, &skip), 0);
  ck_assert_uint_eq(skip, 60);
  ck_assert_int_eq(message(60, false, &skip), 1);
  ck_assert_uint_eq(skip, 40);
  ck_assert_uint_eq(in.received, at + 120);
  ck_assert_int_eq(message_at(at + 50, 70, false, &skip), 0);
  ck_assert_int_eq(message_at(at + 50, 70, true, &skip), 1);
  ck_assert_uint_eq(skip, 70);
  ck_assert_uint_eq(in.received, at + 121);
  sequence_in_attach(&in);
  ck_assert_int_eq(message_at(at + 110, 10, true, &skip), 0);
  ck_assert_int_eq(message_at(at + 120, 0, true, &skip), 0);
  ck_assert_int_eq(message_at(at + 110, 10, false, &skip), 0);
  ck_assert_int_eq(message_at(at + 110, 9, true, &skip), -EPROTO);
  ck_assert_int_eq(message_at(at + 110, 11, false, &skip), -EPROTO);
  ck_assert_int_eq(message_at(at + 121, 0, true, &skip), -EPROTO);
}
END_TEST

START_TEST(test_gaps)
{
  uint64_t at = beginnings[_i], skip;
  start_at(at);
  ck_assert_int_eq(message_at(at + 1, 1, false, &skip), -EPROTO);
  ck_assert_int_eq(message_at(at + 1, 0, true, &skip), -EPROTO);
  ck_assert_int_eq(message_at(UINT64_MAX, 1, false, &skip), -EPROTO);
  ck_assert_int_eq(message_at(at, UINT64_MAX - at, false, &skip), -EPROTO);
  ck_assert_int_eq(message_at(at, UINT64_MAX, true, &skip), -EPROTO);
  ck_assert_uint_eq(in.received, at);
  ck_assert_int_eq(message_at(at, 1, false, &skip), 1);
  ck_assert_int_eq(message_at(at, 0, true, &skip), -EPROTO); /* an end before what is known */
}
END_TEST

/* Without an offset a new stream begins at 0. */
START_TEST(test_new_stream_begins_at_0)
{
  uint64_t skip;
  ck_assert_int_eq(message(100, false, &skip), 1);
  sequence_in_attach(&in);
  ck_assert_int_eq(message(99, false, &skip), 0);
  ck_assert_int_eq(message(2, false, &skip), 1);
  ck_assert_uint_eq(skip, 1);
  ck_assert_uint_eq(in.received, 101);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("sequence");
  TCase *tcase = tcase_create("sequence");
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_nothing);
  tcase_add_loop_test(tcase, test_in_order, 0, BEGINNINGS);
  tcase_add_loop_test(tcase, test_resume, 0, BEGINNINGS);
  tcase_add_loop_test(tcase, test_resume_after_acks, 0, BEGINNINGS);
  tcase_add_loop_test(tcase, test_ack_of_what_was_not_sent_again, 0, BEGINNINGS);
  tcase_add_test(tcase, test_ring);
  tcase_add_test(tcase, test_memory_is_short);
  tcase_add_test(tcase, test_free_drops);
  tcase_add_test(tcase, test_arrives_in_order);
  tcase_add_loop_test(tcase, test_known_and_half_known, 0, BEGINNINGS);
  tcase_add_loop_test(tcase, test_gaps, 0, BEGINNINGS);
  tcase_add_test(tcase, test_new_stream_begins_at_0);
  suite_add_tcase(suite, tcase);
  return suite;
}
