/* The window and the acks over simulated links. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture_proto_links.h"
#include "holds.h"
#include "proto/flow/window.h"

#include "runner.h"

static uint64_t least(uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

static uint64_t greatest(uint64_t a, uint64_t b)
{
  return a > b ? a : b;
}

/* ---- Long links ---- */

START_TEST(starts_as_fast_as_without_a_window)
{
  struct links *w = links_create(links_paths[_i]), *bare = links_create(links_paths[_i]);
  bare->unlimited = true;
  for (int i = 0; i < 30; i++) {
    links_run(w, SECOND / 10);
    links_run(bare, SECOND / 10);
    ck_assert_uint_ge(w->taken + links_paths[_i].rate / 200, bare->taken);
  }
  free(w);
  free(bare);
}
END_TEST

START_TEST(fills_the_path)
{
  struct links *w = links_create(links_paths[_i]);
  links_run(w, 2 * SECOND);
  ck_assert_uint_ge(links_run(w, 15 * SECOND), 15 * links_paths[_i].rate * 98 / 100);
  free(w);
}
END_TEST

/* Whatever the window allows is taken from the sender at once: it alone bounds what is under way. */
START_TEST(does_not_flood_a_full_path)
{
  struct links *w = links_create(links_paths[_i]);
  w->local = FOREVER;
  links_run(w, 15 * SECOND);
  ck_assert_uint_le(w->size_max, greatest(10 * links_bdp(&links_paths[_i]), WINDOW_MIN));
  w->size_max = 0;
  ck_assert_uint_ge(links_run(w, 20 * SECOND), 20 * links_paths[_i].rate * 98 / 100);
  ck_assert_uint_le(w->size_max, greatest(5 * links_bdp(&links_paths[_i]), WINDOW_MIN));
  free(w);
}
END_TEST

START_TEST(is_not_shrunk_by_loss)
{
  struct links_path path = links_paths[0];
  path.loss = 1;
  struct links *w = links_create(path);
  links_run(w, 3 * SECOND);
  ck_assert_uint_ge(links_run(w, 30 * SECOND), 30 * path.rate * 95 / 100);
  ck_assert_uint_ge(w->window.size, 2 * links_bdp(&path));
  free(w);
}
END_TEST

struct change {
  unsigned rtt_by, rate_by, rate_of; /* the round trip is longer by, the rate by / of */
};

START_TEST(recovers_when_the_route_changes)
{
  static const struct change changes[] = {{4, 1, 1}, {1, 1, 4}, {1, 4, 1}, {4, 1, 4}, {4, 2, 1}};
  const struct change *c = &changes[_i];
  struct links *w = links_create(links_paths[1]);
  links_run(w, 5 * SECOND);
  w->path.rtt *= c->rtt_by;
  w->path.rate = w->path.rate * c->rate_by / c->rate_of;
  links_run(w, 25 * SECOND);
  w->size_max = 0;
  ck_assert_uint_ge(links_run(w, 10 * SECOND), 10 * w->path.rate * 95 / 100);
  ck_assert_uint_le(w->size_max, greatest(5 * links_bdp(&w->path), WINDOW_MIN));
  w->path = links_paths[1];
  links_run(w, 25 * SECOND);
  ck_assert_uint_ge(links_run(w, 10 * SECOND), 10 * w->path.rate * 95 / 100);
  free(w);
}
END_TEST

/* Short questions and answers see a longer route too, without being held back. */
START_TEST(measures_the_round_trip)
{
  struct links *w = links_create(links_paths[1]);
  for (int rtt = 40000; rtt <= 160000; rtt *= 2) {
    w->path.rtt = (uint64_t)rtt;
    for (int i = 0; i < 15; i++) {
      w->offered = 64;
      ck_assert_uint_eq(links_run(w, SECOND), 64);
    }
    ck_assert_uint_ge(window_rtt(&w->window), (uint64_t)rtt);
    ck_assert_uint_le(window_rtt(&w->window), (uint64_t)rtt + 2000);
  }
  free(w);
}
END_TEST

START_TEST(measures_the_rate)
{
  struct links *w = links_create(links_paths[_i]);
  ck_assert_uint_eq(window_rate(&w->window), 0);
  ck_assert_uint_le(window_message(&w->window), 64 << 10);
  links_run(w, 10 * SECOND);
  uint64_t rate = links_paths[_i].rate;
  ck_assert_uint_ge(window_rate(&w->window), rate * 95 / 100);
  ck_assert_uint_le(window_rate(&w->window), rate * 110 / 100);
  ck_assert_uint_ge(window_message(&w->window), greatest(rate * 95 / 100 / 500, WINDOW_MESSAGE_MIN));

  /* What an application sends slowly says nothing about the path. */
  w->offered = 0;
  links_run(w, SECOND);
  for (int i = 0; i < 20; i++) {
    w->offered = 100;
    links_run(w, SECOND);
  }
  ck_assert_uint_ge(window_rate(&w->window), rate * 90 / 100);

  w->path.rate /= 4;
  w->offered = FOREVER;
  links_run(w, 10 * SECOND);
  ck_assert_uint_le(window_rate(&w->window), rate * 30 / 100);
  free(w);
}
END_TEST

/* ---- Slow receivers ---- */

START_TEST(stays_small_before_a_stalled_receiver)
{
  struct links_path path = links_paths[_i];
  path.reader = 0;
  struct links *w = links_create(path);
  w->local = FOREVER;
  links_run(w, 10 * SECOND);
  ck_assert_uint_eq(w->window.size, WINDOW_MIN);
  ck_assert_uint_le(w->queued_max, WINDOW_MIN);
  w->path.reader = FAST;
  links_run(w, 5 * SECOND);
  ck_assert_uint_ge(links_run(w, 5 * SECOND), 5 * path.rate * 95 / 100);

  uint64_t size = w->window.size;
  w->path.reader = 0;
  links_run(w, 10 * SECOND);
  ck_assert_uint_le(w->queued_max, size);
  ck_assert_uint_le(w->window.size, size);
  w->path.reader = FAST;
  links_run(w, 5 * SECOND);
  ck_assert_uint_ge(links_run(w, 5 * SECOND), 5 * path.rate * 95 / 100);
  free(w);
}
END_TEST

START_TEST(stays_small_before_a_slow_receiver)
{
  struct links_path path = links_paths[0];
  path.reader = 10 * MBIT;
  struct links *w = links_create(path);
  w->local = FOREVER;
  ck_assert_uint_ge(links_run(w, 30 * SECOND), 28 * path.reader);
  ck_assert_uint_le(w->size_max, 1 << 20);
  free(w);
}
END_TEST

/* ---- Small windows ---- */

START_TEST(lives_without_a_budget)
{
  struct links *w = links_create(links_paths[_i]);
  w->budget = 0;
  links_run(w, 2 * SECOND);
  uint64_t possible = least(links_paths[_i].rate, WINDOW_MIN * SECOND / links_paths[_i].rtt);
  ck_assert_uint_ge(links_run(w, 15 * SECOND), 15 * possible * 80 / 100);
  ck_assert_uint_eq(w->size_max, WINDOW_MIN);
  w->budget = 1000;
  links_run(w, 5 * SECOND);
  ck_assert_uint_le(w->size_max, WINDOW_MIN + 1000);
  free(w);
}
END_TEST

START_TEST(keeps_moving_with_any_limit)
{
  static const uint64_t limits[] = {1, 2, 255, 256, 257, 258, 300, 513, 1024, 4096, 16383, 262143};
  struct links *w = links_create_at(links_paths[1], limits[_i], 0);
  w->offered = 100;
  ck_assert_uint_eq(links_run(w, 10 * SECOND), 100);
  ck_assert_uint_le(w->size_max, limits[_i]);
  free(w);
}
END_TEST

START_TEST(counts_what_a_message_costs)
{
  struct links *w = links_create(links_paths[1]);
  w->message_max = 1;
  w->path.reader = 0;
  links_run(w, 5 * SECOND);
  ck_assert_uint_le(w->messages_sent, WINDOW_MIN / (1 + WINDOW_MESSAGE_COST));
  ck_assert_uint_ge(w->messages_sent, WINDOW_MIN / (1 + WINDOW_MESSAGE_COST) * 9 / 10);
  w->path.reader = FAST;
  ck_assert_uint_ge(links_run(w, 5 * SECOND), 50000);
  free(w);
}
END_TEST

/* Within the machine: 200 us, 3 GB/s. */
START_TEST(acks_are_cheap)
{
  struct links_path path = {.rate = 24000 * MBIT, .rtt = 200, .queue = 4 << 20, .reader = FAST};
  struct links *w = links_create(path);
  w->local = 4 << 20;
  links_run(w, 2000);
  ck_assert_uint_ge(window_message(&w->window), 64 << 10);
  links_run(w, SECOND / 5);
  uint64_t said = w->acks_said;
  ck_assert_uint_ge(links_run(w, SECOND), path.rate * 95 / 100);
  ck_assert_uint_le(w->acks_said - said, 3000);
  free(w);
}
END_TEST

START_TEST(offsets_may_be_large)
{
  static const uint64_t starts[] = {UINT32_MAX - 1000, INT64_MAX - UINT64_C(1000), UINT64_MAX - (UINT64_C(1) << 33)};
  struct links *w = links_create(links_paths[0]), *far = links_create_at(links_paths[0], WINDOW_MAX, starts[_i]);
  links_run(w, 10 * SECOND);
  links_run(far, 10 * SECOND);
  ck_assert_uint_eq(w->taken, far->taken);
  ck_assert_uint_eq(w->window.size, far->window.size);
  ck_assert_uint_eq(w->window.rate, far->window.rate);
  free(w);
  free(far);
}
END_TEST

/* Everything changes at any time; all arrives, and the bounds, which every step checks, hold. */
START_TEST(any_schedule)
{
  uint32_t seed = (uint32_t)_i * 7919 + 1;
  struct links *w = links_create_at(links_paths[seed % LINKS_PATHS], 1 + (seed * 104729) % WINDOW_MAX, 0);
  w->random = seed;
  w->offered = 0;
  uint64_t offered = 0;
  for (int i = 0; i < 300; i++) {
    static const uint64_t readers[] = {0, 1000, MBIT, 50 * MBIT, FAST, FAST};
    uint64_t more = links_draw(w) % 4 == 0 ? UINT64_C(1) << links_draw(w) % 24 : 0;
    offered += more;
    w->offered += more;
    w->message_max = links_draw(w) % 8 == 0 ? 1 + links_draw(w) % 1000 : FOREVER;
    w->path.reader = readers[links_draw(w) % 6];
    w->path.loss = links_draw(w) % 8 == 0 ? links_draw(w) % 100 : 0;
    w->path.rtt = 1000 + links_draw(w) % 199000;
    w->path.rate = MBIT + links_draw(w) % (100 * MBIT);
    w->budget = links_draw(w) % 3 == 0 ? 0 : links_draw(w) % WINDOW_MAX;
    w->local = links_draw(w) % 2 == 0 ? FOREVER : 128 << 10;
    links_run(w, links_draw(w) % 50000);
    if (links_draw(w) % 16 == 0)
      window_rest(&w->window, w->now);
  }
  w->path = links_paths[1];
  w->message_max = FOREVER;
  for (uint64_t bound = w->now + 600 * SECOND; w->taken < offered && w->now < bound;)
    links_run(w, SECOND);
  ck_assert_msg(w->taken == offered, "seed %u: %llu of %llu", seed, (unsigned long long)w->taken,
                (unsigned long long)offered);
  links_run(w, SECOND);
  ck_assert_uint_eq(links_under_way(&w->window), 0);
  free(w);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("window");
  TCase *links = tcase_create("links");
  tcase_set_timeout(links, 60);
  tcase_add_loop_test(links, starts_as_fast_as_without_a_window, 0, LINKS_PATHS);
  tcase_add_loop_test(links, fills_the_path, 0, LINKS_PATHS);
  tcase_add_loop_test(links, does_not_flood_a_full_path, 0, LINKS_PATHS);
  tcase_add_test(links, is_not_shrunk_by_loss);
  tcase_add_loop_test(links, recovers_when_the_route_changes, 0, 5);
  tcase_add_test(links, measures_the_round_trip);
  tcase_add_loop_test(links, measures_the_rate, 0, LINKS_PATHS);
  tcase_add_loop_test(links, stays_small_before_a_stalled_receiver, 0, LINKS_PATHS);
  tcase_add_test(links, stays_small_before_a_slow_receiver);
  tcase_add_loop_test(links, lives_without_a_budget, 0, LINKS_PATHS);
  tcase_add_loop_test(links, keeps_moving_with_any_limit, 0, 12);
  tcase_add_test(links, counts_what_a_message_costs);
  tcase_add_test(links, acks_are_cheap);
  tcase_add_loop_test(links, offsets_may_be_large, 0, 3);
  tcase_add_loop_test(links, any_schedule, 0, 25);
  suite_add_tcase(suite, links);
  return suite;
}
