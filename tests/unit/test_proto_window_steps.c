/* The window, one thing at a time. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture_proto_links.h"
#include "holds.h"
#include "proto/flow/window.h"

#include "runner.h"

START_TEST(refuses_acks_that_cannot_be)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  window_sent(&w, 1000, 0);
  window_sent(&w, 1000, 0);
  struct ack ack = {.taken = 1500, .messages = 1};
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 10), 0);
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 20), 0);
  static const struct ack wrong[] = {
      {.taken = 2001, .messages = 1}, {.taken = FOREVER, .messages = 1},    {.taken = 1499, .messages = 1},
      {.taken = 0, .messages = 1},    {.taken = 1500, .messages = 3},       {.taken = 1500, .messages = 0},
      {.taken = 2000, .messages = 3}, {.taken = 1500, .messages = FOREVER},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct window before = w;
    ck_assert_int_eq(window_acked(&w, &wrong[i], FOREVER, 30), -EPROTO);
    ck_assert_mem_eq(&before, &w, sizeof w);
  }
  ck_assert_uint_eq(window_unacked(&w), 500);
  ack = (struct ack){.taken = 2000, .messages = 2};
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 40), 0);
  ck_assert_uint_eq(window_unacked(&w), 0);
}
END_TEST

/* Nonsense about the time spoils figures, not the window. */
START_TEST(survives_times_that_cannot_be)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  for (uint64_t i = 1; i < 1000; i++) {
    uint64_t bytes = window_room(&w);
    ck_assert_uint_ge(bytes, 1);
    window_sent(&w, bytes, i % 3 == 0 ? FOREVER : i);
    struct ack ack = {w.sent, w.sent_messages, i % 5 == 0 ? FOREVER : 0, i % 2 == 0 ? UINT32_MAX : 0, 0};
    ck_assert_int_eq(window_acked(&w, &ack, FOREVER, i % 7 == 0 ? 0 : i), 0);
    window_rest(&w, i % 11 == 0 ? FOREVER : 0);
    ck_assert_uint_ge(w.size, WINDOW_MIN);
    ck_assert_uint_le(w.size, WINDOW_MAX);
  }
}
END_TEST

START_TEST(does_not_grow_before_the_limit_is_known)
{
  struct links *w = links_create(links_paths[1]);
  window_start(&w->window, WINDOW_MAX);
  links_run(w, 3 * SECOND);
  ck_assert_uint_eq(w->window.size, WINDOW_MIN);
  window_limit(&w->window, 400000);
  links_run(w, 3 * SECOND);
  ck_assert_uint_eq(w->window.size, 400000);
  window_limit(&w->window, 300000);
  ck_assert_uint_eq(w->window.size, 300000);
  free(w);

  struct window small;
  window_start(&small, 1000);
  window_limit(&small, WINDOW_MAX);
  ck_assert_uint_eq(small.size, 1000);
}
END_TEST

/* What a receiver is ready to queue changes with what it has of its budget. */
START_TEST(an_ack_says_the_limit)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, UINT64_C(2) * WINDOW_MIN);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 0);
  struct ack ack = {.taken = w.sent - 1000, .messages = w.sent_messages - 1, .limit = UINT64_C(4) * WINDOW_MIN};
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 100), 0);
  ck_assert_uint_eq(w.max, UINT64_C(4) * WINDOW_MIN);
  ck_assert_uint_eq(w.size, UINT64_C(2) * WINDOW_MIN);
  ck_assert_uint_eq(window_meant(&w), UINT64_C(2) * WINDOW_MIN);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 100);
  ack.limit = WINDOW_MIN;
  ck_assert_int_eq(window_acked(&w, &ack, FOREVER, 200), 0);
  ck_assert_uint_eq(w.size, WINDOW_MIN);
  ck_assert_uint_eq(window_room(&w), 0);
  ck_assert_uint_gt(window_meant(&w), WINDOW_MIN); /* so much is under way still */
  ack = (struct ack){.taken = w.sent, .messages = w.sent_messages};
  ck_assert_int_eq(window_acked(&w, &ack, 0, 300), 0);
  ck_assert_uint_eq(w.max, WINDOW_MIN); /* it says nothing of it */
  ck_assert_uint_eq(window_meant(&w), WINDOW_MIN);
}
END_TEST

START_TEST(grants_what_there_is)
{
  enum { MORE = 100000 };
  static const struct {
    uint64_t said, queued, promised, most, left, granted;
  } rows[] = {
      {0, 0, 0, WINDOW_MAX, 0, WINDOW_MIN},
      {WINDOW_MIN, WINDOW_MIN, 0, WINDOW_MAX, 0, WINDOW_MIN},
      {WINDOW_MIN + MORE, 0, MORE, WINDOW_MAX, 0, WINDOW_MIN + MORE},
      {0, WINDOW_MIN + MORE, MORE, WINDOW_MAX, 10, WINDOW_MIN + MORE + 5},
      {0, 0, 0, WINDOW_MAX, UINT64_C(2) * MORE, WINDOW_MIN + MORE},
      {0, 0, 0, WINDOW_MIN + 10, UINT64_C(2) * MORE, WINDOW_MIN + 10},
      {0, 0, 0, 1000, 0, 1000},
      {0, 0, 0, WINDOW_MAX, FOREVER, WINDOW_MAX},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    ck_assert_uint_eq(window_promised(rows[i].said, rows[i].queued), rows[i].promised);
    ck_assert_uint_eq(window_grant(rows[i].most, rows[i].promised, rows[i].left), rows[i].granted);
  }
}
END_TEST

static int ack_more(struct window *w, uint64_t bytes, uint64_t queued, uint64_t now)
{
  struct ack ack = {.taken = w->acked + bytes, .messages = w->acked_messages, .queued = queued};
  return window_acked(w, &ack, FOREVER, now);
}

START_TEST(grows_when_it_might_hold_back)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 0);
  ck_assert_int_eq(ack_more(&w, WINDOW_MIN / 4 - 1000, 0, 100), 0);
  ck_assert_uint_eq(w.size, WINDOW_MIN);
  ck_assert_int_eq(ack_more(&w, 1000, WINDOW_MIN / 4, 100), 0); /* not into a far backlog */
  ck_assert_uint_eq(w.size, WINDOW_MIN);
  ck_assert_int_eq(ack_more(&w, 1, 0, 100), 0);
  ck_assert_uint_eq(w.size, UINT64_C(2) * WINDOW_MIN);

  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 100);
  ck_assert_int_eq(ack_more(&w, WINDOW_MIN / 2 - 1, 0, 200), 0);
  ck_assert_uint_eq(w.size, UINT64_C(2) * WINDOW_MIN);
  ck_assert_int_eq(ack_more(&w, 1, 0, 200), 0);
  ck_assert_uint_gt(w.size, UINT64_C(2) * WINDOW_MIN);
}
END_TEST

START_TEST(does_not_grow_unused)
{
  struct links *w = links_create(links_paths[1]);
  for (int i = 0; i < 100; i++) {
    w->offered = 60000;
    links_run(w, SECOND / 10);
  }
  ck_assert_uint_eq(w->size_max, WINDOW_MIN);
  free(w);
}
END_TEST

START_TEST(gives_back_what_it_does_not_use)
{
  struct links *w = links_create(links_paths[0]);
  links_run(w, 3 * SECOND);
  ck_assert_uint_eq(w->window.size, WINDOW_MAX);
  w->offered = 0;
  links_run(w, SECOND);
  w->path.reader = 0;
  w->offered = 2 << 20;
  links_run(w, 10 * SECOND);
  ck_assert_uint_ge(links_under_way(&w->window), 2 << 20);
  ck_assert_uint_eq(w->window.size, links_under_way(&w->window));
  w->path.reader = FAST;
  for (int i = 0; i < 10; i++) {
    w->offered = 1000;
    links_run(w, SECOND);
  }
  ck_assert_uint_eq(w->window.size, WINDOW_MIN);
  w->offered = FOREVER;
  links_run(w, 2 * SECOND);
  ck_assert_uint_ge(links_run(w, 5 * SECOND), 5 * links_paths[0].rate * 95 / 100);
  free(w);
}
END_TEST

START_TEST(no_message_is_large_for_the_window)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  ck_assert_uint_eq(window_room(&w), WINDOW_MIN / 4 - WINDOW_MESSAGE_COST);
  uint64_t room, last = 0, sent = 0;
  while ((room = window_room(&w)) > 0) {
    window_sent(&w, room, 0);
    sent += room + WINDOW_MESSAGE_COST;
    last = room;
  }
  ck_assert_uint_eq(sent, WINDOW_MIN);
  ck_assert_uint_ge(last, 4096);
  ck_assert_int_eq(ack_more(&w, 4096, 0, 1000), 0);
  ck_assert_uint_eq(window_room(&w), 0); /* not worth a message */
  ck_assert_int_eq(ack_more(&w, WINDOW_MESSAGE_COST, 0, 1000), 0);
  ck_assert_uint_eq(window_room(&w), 4096);

  window_start(&w, 4000);
  window_sent(&w, window_room(&w), 0);
  ck_assert_uint_eq(window_room(&w), 1000 - WINDOW_MESSAGE_COST);
}
END_TEST

START_TEST(rests_no_sooner_than_acks_can_come)
{
  struct window w;
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  for (uint64_t room; (room = window_room(&w)) > 0;)
    window_sent(&w, room, 0);
  ck_assert_int_eq(ack_more(&w, w.sent, 0, 3 * SECOND), 0);
  uint64_t size = w.size;
  ck_assert_uint_gt(size, WINDOW_MIN);
  for (uint64_t at = 4; at < 8; at++)
    window_rest(&w, at * SECOND);
  ck_assert_uint_eq(w.size, size);
  window_rest(&w, 30 * SECOND);
  ck_assert_uint_lt(w.size, size);
}
END_TEST

/* The acks of what was under way tell nothing of the path when another stream goes on: how long they were on their way,
 * nor how fast it took what they tell. */
START_TEST(measures_anew_on_another_stream)
{
  enum { RTT = 1000, AWAY = 5000000 };
  const uint64_t portion = 10000;
  struct window w;
  uint64_t now = SECOND;
  struct ack ack = {0};
  window_start(&w, WINDOW_MAX);
  window_limit(&w, WINDOW_MAX);
  window_sent(&w, portion, now); /* there is always something under way */
  for (int i = 0; i < 100; i++, now += RTT) {
    window_sent(&w, portion, now);
    ack.taken += portion;
    ack.messages++;
    ck_assert_int_eq(window_acked(&w, &ack, FOREVER, now + RTT), 0);
  }
  uint64_t rate = window_rate(&w), rtt = window_rtt(&w);
  ck_assert_uint_gt(rate, 0);
  ck_assert_uint_gt(rtt, RTT / 2);
  for (int i = 0; i < 19; i++)
    window_sent(&w, portion, now);
  uint64_t size = w.size;
  now += AWAY;
  window_resume(&w);
  ck_assert_uint_eq(window_unacked(&w), 20 * portion);
  ck_assert_uint_eq(w.size, size);
  ack.taken += 19 * portion;
  ack.messages += 19;
  ck_assert_int_eq(window_acked(&w, &ack, 0, now + 1), 0);
  ck_assert_uint_eq(window_rate(&w), rate);
  ck_assert_uint_eq(window_rtt(&w), rtt);
  ck_assert_uint_eq(window_unacked(&w), portion);
  window_sent(&w, portion, now + 2);
  ack.taken += 2 * portion;
  ack.messages += 2;
  ck_assert_int_eq(window_acked(&w, &ack, 0, now + 2 + RTT / 2), 0);
  ck_assert_uint_eq(window_rtt(&w), RTT / 2);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("window steps");
  TCase *window = tcase_create("window");
  tcase_add_test(window, refuses_acks_that_cannot_be);
  tcase_add_test(window, survives_times_that_cannot_be);
  tcase_add_test(window, does_not_grow_before_the_limit_is_known);
  tcase_add_test(window, grows_when_it_might_hold_back);
  tcase_add_test(window, an_ack_says_the_limit);
  tcase_add_test(window, grants_what_there_is);
  tcase_add_test(window, does_not_grow_unused);
  tcase_add_test(window, gives_back_what_it_does_not_use);
  tcase_add_test(window, rests_no_sooner_than_acks_can_come);
  tcase_add_test(window, no_message_is_large_for_the_window);
  tcase_add_test(window, measures_anew_on_another_stream);
  suite_add_tcase(suite, window);
  return suite;
}
