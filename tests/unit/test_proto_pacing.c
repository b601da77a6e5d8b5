/* The pacing controller over simulated lines: what is carried, and what waits in the queue. */
#include <check.h>
#include <string.h>

#include "fixture_proto_line.h"

#include "runner.h"

static const struct lines {
  uint64_t rate, rtt, queue;
} lines[] = {
    {100 * MBIT, 20 * MS, 50 * MS},
    {500 * MBIT, 50 * MS, 100 * MS},
    {10 * MBIT, 40 * MS, 80 * MS},
};

/* Of them all. */
static const struct crowd {
  unsigned line, kind;
  size_t count;
} crowds[] = {
    {0, LINE_BBR, 2}, {0, LINE_BBR, 4},  {0, LINE_BBR, 8},  {0, LINE_BBR, 100}, {1, LINE_BBR, 4},    {1, LINE_BBR, 8},
    {2, LINE_BBR, 4}, {0, LINE_RENO, 1}, {0, LINE_RENO, 4}, {1, LINE_RENO, 8},  {0, LINE_RENO, 100},
};
enum { CROWDS = sizeof crowds / sizeof *crowds };

static struct line *open_with(unsigned line, enum line_kind kind, size_t count)
{
  struct line *l = line_open(lines[line].rate, lines[line].rtt, lines[line].queue);
  for (size_t i = 0; i < count; i++)
    line_add(l, kind, true, 0);
  return l;
}

/* What counts as no queue. */
static double allowed(unsigned line)
{
  return (double)lines[line].rtt / 8 + MS;
}

#define expect_carried(figures, rate, percent) ck_assert_double_ge((figures).ours, (double)(rate) / 100 * (percent))

static void expect_short_queue(const struct line_figures *f, unsigned line)
{
  ck_assert_double_le(f->queue50, allowed(line));
  ck_assert_double_le(f->queue90, 6 * allowed(line));
}

/* ---- One line ---- */

START_TEST(keeps_the_queue_short)
{
  const struct crowd *c = &crowds[_i];
  struct line *l = open_with(c->line, c->kind, c->count);
  line_run(l, 5 * SECOND);
  struct line_figures f = line_run(l, 15 * SECOND);
  expect_carried(f, lines[c->line].rate, 98);
  expect_short_queue(&f, c->line);
  double even = f.ours / (double)c->count;
  ck_assert_double_ge(f.least, 0.9 * even);
  ck_assert_double_le(f.most, 1.1 * even);
  line_close(l);
}
END_TEST

/* Or else there is nothing to be mended. */
START_TEST(the_queue_is_long_without_it)
{
  const struct crowd *c = &crowds[_i];
  struct line *l = open_with(c->line, c->kind, c->count);
  line_control(l, false);
  line_run(l, 5 * SECOND);
  ck_assert_double_ge(line_run(l, 15 * SECOND).queue50, 2 * allowed(c->line));
  line_close(l);
}
END_TEST

START_TEST(one_stream_is_as_fast_as_without_it)
{
  struct line *l = open_with((unsigned)_i, LINE_BBR, 1), *bare = open_with((unsigned)_i, LINE_BBR, 1);
  line_control(bare, false);
  for (int i = 0; i < 5; i++) {
    struct line_figures f = line_run(l, 2 * SECOND);
    ck_assert_double_ge(f.ours, 0.98 * line_run(bare, 2 * SECOND).ours);
  }
  line_close(l);
  line_close(bare);
}
END_TEST

/* Where each loss is taken for a full line, there is no queue at all. */
START_TEST(loses_nothing_to_loss)
{
  static const struct crowd rows[] = {{0, LINE_BBR, 1}, {0, LINE_BBR, 4}, {0, LINE_BBR, 8}, {0, LINE_RENO, 8}};
  struct line *l = open_with(0, rows[_i].kind, rows[_i].count), *bare = open_with(0, rows[_i].kind, rows[_i].count);
  line_control(bare, false);
  line_set_loss(l, 100);
  line_set_loss(bare, 100);
  line_run(l, 5 * SECOND);
  line_run(bare, 5 * SECOND);
  struct line_figures f = line_run(l, 20 * SECOND);
  ck_assert_double_ge(f.ours, 0.97 * line_run(bare, 20 * SECOND).ours);
  expect_short_queue(&f, 0);
  line_close(l);
  line_close(bare);
}
END_TEST

/* ---- Lines that change ---- */

START_TEST(follows_a_line_that_halves)
{
  const struct crowd *c = &crowds[_i];
  struct line *l = open_with(c->line, c->kind, c->count);
  line_run(l, 5 * SECOND);
  line_set_rate(l, lines[c->line].rate / 2);
  line_run(l, 2 * SECOND);
  struct line_figures f = line_run(l, 3 * SECOND);
  expect_carried(f, lines[c->line].rate, 48);
  expect_short_queue(&f, c->line);
  line_close(l);
}
END_TEST

START_TEST(follows_a_line_that_doubles)
{
  const struct crowd *c = &crowds[_i];
  struct line *l = open_with(c->line, c->kind, c->count);
  line_set_rate(l, lines[c->line].rate / 2);
  line_run(l, 5 * SECOND);
  line_set_rate(l, lines[c->line].rate);
  line_run(l, 2 * SECOND);
  struct line_figures f = line_run(l, 3 * SECOND);
  expect_carried(f, lines[c->line].rate, 96);
  expect_short_queue(&f, c->line);
  line_close(l);
}
END_TEST

/* Up and down, again and again, by tenfold too. */
START_TEST(follows_a_line_for_long)
{
  static const unsigned percents[] = {100, 10, 60, 25, 80, 50, 100};
  struct line *l = open_with(0, LINE_BBR, 4);
  for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
    uint64_t rate = lines[0].rate * percents[i] / 100;
    line_set_rate(l, rate);
    line_run(l, 6 * SECOND);
    struct line_figures f = line_run(l, 5 * SECOND);
    expect_carried(f, rate, 95);
    ck_assert_double_le(f.queue50, 2 * allowed(0));
  }
  line_close(l);
}
END_TEST

/* ---- Others' traffic ---- */

/* It never takes more than half of what we would have without the controller, however long. */
START_TEST(is_not_starved_by_others)
{
  static const enum line_kind kinds[] = {LINE_RENO, LINE_BBR, LINE_FIXED};
  struct line *l = open_with(0, LINE_BBR, 4), *bare = open_with(0, LINE_BBR, 4);
  uint64_t fixed = kinds[_i] == LINE_FIXED ? lines[0].rate / 2 : 0;
  line_control(bare, false);
  line_run(l, 5 * SECOND);
  line_run(bare, 5 * SECOND);
  size_t other = line_add(l, kinds[_i], false, fixed);
  line_add(bare, kinds[_i], false, fixed);
  for (int i = 0; i < 6; i++) {
    double ours = line_run(l, 10 * SECOND).ours;
    ck_assert_double_ge(ours, 0.6 * line_run(bare, 10 * SECOND).ours);
  }
  line_stop(l, other);
  line_run(l, 45 * SECOND); /* it yields for so long at most */
  struct line_figures f = line_run(l, 5 * SECOND);
  expect_carried(f, lines[0].rate, 97);
  expect_short_queue(&f, 0);
  line_close(l);
  line_close(bare);
}
END_TEST

/* Two that do not know of each other: another process's line is ours. */
START_TEST(a_short_queue_of_others_is_left)
{
  struct line *l = open_with(0, LINE_BBR, 4);
  line_run(l, 3 * SECOND);
  line_add(l, LINE_FIXED, false, lines[0].rate / 5);
  line_run(l, 3 * SECOND);
  struct line_figures f = line_run(l, 10 * SECOND);
  expect_carried(f, lines[0].rate, 76);
  ck_assert_double_ge(f.others, (double)lines[0].rate / 5 * 0.95);
  expect_short_queue(&f, 0);
  line_close(l);
}
END_TEST

/* A longer route looks like a queue that nobody can drain. */
START_TEST(survives_a_longer_route)
{
  struct line *l = open_with(0, LINE_BBR, 4), *bare = open_with(0, LINE_BBR, 4);
  line_control(bare, false);
  line_run(l, 5 * SECOND);
  line_run(bare, 5 * SECOND);
  line_set_rtt(l, 3 * lines[0].rtt);
  line_set_rtt(bare, 3 * lines[0].rtt);
  line_run(l, 12 * SECOND); /* it takes BBR so long to see that the route is longer */
  line_run(bare, 12 * SECOND);
  for (int i = 0; i < 5; i++) {
    double ours = line_run(l, 10 * SECOND).ours;
    ck_assert_double_ge(ours, 0.9 * line_run(bare, 10 * SECOND).ours);
  }
  line_close(l);
  line_close(bare);
}
END_TEST

/* ---- Streams that come and go ---- */

START_TEST(streams_come_and_go)
{
  struct line *l = open_with(0, LINE_BBR, 4);
  line_run(l, 3 * SECOND);
  size_t first = 0;
  for (int i = 0; i < 10; i++) {
    for (int k = 0; k < 3; k++)
      line_add(l, LINE_BBR, true, 0);
    struct line_figures f = line_run(l, 500 * MS);
    expect_carried(f, lines[0].rate, 85);
    for (int k = 0; k < 3; k++)
      line_stop(l, first++);
    f = line_run(l, 1500 * MS);
    expect_carried(f, lines[0].rate, 90);
    ck_assert_double_le(f.queue50, 2 * allowed(0));
  }
  line_close(l);
}
END_TEST

/* What one does not use is the others'. */
START_TEST(a_slow_stream_leaves_its_share)
{
  struct line *l = open_with(0, LINE_BBR, 3);
  size_t slow = line_add(l, LINE_BBR, true, lines[0].rate / 20);
  size_t half = line_add(l, LINE_BBR, true, lines[0].rate / 10);
  line_run(l, 5 * SECOND);
  struct line_figures f = line_run(l, 10 * SECOND);
  expect_carried(f, lines[0].rate, 97);
  expect_short_queue(&f, 0);
  ck_assert_double_ge(f.least, (double)lines[0].rate / 20 * 0.95);
  ck_assert_double_ge(f.most, (double)lines[0].rate * 0.25);
  ck_assert_uint_ge(line_paced(l, slow), lines[0].rate / 20);
  ck_assert_uint_le(line_paced(l, half), lines[0].rate / 5); /* it is capped by what it was seen to carry */
  line_close(l);
}
END_TEST

START_TEST(does_nothing_on_short_ways)
{
  struct line *l = line_open(100 * MBIT, MS, 50 * MS);
  for (int i = 0; i < 4; i++)
    line_add(l, LINE_RENO, true, 0);
  for (int i = 0; i < 50; i++) {
    line_run(l, 100 * MS);
    for (size_t k = 0; k < 4; k++)
      ck_assert_uint_eq(line_paced(l, k), 0);
  }
  line_close(l);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("pacing");
  TCase *line = tcase_create("line");
  tcase_set_timeout(line, 60);
  tcase_add_loop_test(line, keeps_the_queue_short, 0, CROWDS);
  tcase_add_loop_test(line, the_queue_is_long_without_it, 0, 3);
  tcase_add_loop_test(line, one_stream_is_as_fast_as_without_it, 0, 3);
  tcase_add_loop_test(line, loses_nothing_to_loss, 0, 4);
  tcase_add_loop_test(line, follows_a_line_that_halves, 0, CROWDS);
  tcase_add_loop_test(line, follows_a_line_that_doubles, 0, CROWDS);
  tcase_add_test(line, follows_a_line_for_long);
  tcase_add_loop_test(line, is_not_starved_by_others, 0, 3);
  tcase_add_test(line, a_short_queue_of_others_is_left);
  tcase_add_test(line, survives_a_longer_route);
  tcase_add_test(line, streams_come_and_go);
  tcase_add_test(line, a_slow_stream_leaves_its_share);
  tcase_add_test(line, does_nothing_on_short_ways);
  suite_add_tcase(suite, line);

  return suite;
}
