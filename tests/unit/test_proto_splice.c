/* Two pumps, and raw streams between them: what goes through pipes, and what becomes of it when something comes in the
 * way.
 */
#include "fixture_proto_pump.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "proto/host/home.h"
#include "proto/pump/pump_internal.h"

#include "failing.h"
#include "fixture_proto_joiner.h"
#include "runner.h"

/* The pumps, as sides; behind them the streams, two for each attempt. */
enum { FORWARD, SERVICE, FIRST_STREAM, PIECE_MAX = 300000, SLABS_MAX = 64, BULK = 12 << 20 };

static struct raw_set *set;
static struct raw_line *line;
static bool line_changed;

/* ---- Streams ---- */

static struct {
  uint64_t epoch;
  int left, right; /* sides of the current streams */
  int next;
} way;

static struct stream *make_raw(const struct header *h)
{
  return raw_stream_create(line, h);
}

static void open_side(int side, bool dials)
{
  struct header h = {.has_member = true,
                     .member = {1},
                     .has_member_key = true,
                     .member_key = {2},
                     .park = !dials,
                     .has_connection = dials,
                     .connection = {3},
                     .limit = WINDOW_MAX,
                     .epoch = way.epoch,
                     .received = dials ? pump_received(sides[FORWARD].pump) : 0};
  sides[side] = (struct side){.fd = -1};
  open_stream_with(side, &h);
}

/* Other streams take the place of those that there are, if they are not over by then. */
static void go_on_with_others(void)
{
  int left = way.next, right = way.next + 1;
  way.next = way.next == FIRST_STREAM ? FIRST_STREAM + 2 : FIRST_STREAM;
  way.epoch++;
  open_side(right, false);
  open_side(left, true);
  WAIT_FOR(sides[right].header);
  const struct header answer = {
      .has_member = true, .has_connection = true, .connection = {3}, .limit = WINDOW_MAX, .epoch = way.epoch};
  use_stream(SERVICE, right,
             &(struct pump_attachment){
                 .send_from = sides[right].said.received, .limit = sides[right].said.limit, .answer = &answer});
  WAIT_FOR(sides[left].header);
  use_stream(FORWARD, left,
             &(struct pump_attachment){.send_from = sides[left].said.received, .limit = sides[left].said.limit});
  if (way.left != 0) {
    close_stream(way.left);
    close_stream(way.right);
  }
  way.left = left;
  way.right = right;
}

/* Somewhere on the way. */
static void cut(int where)
{
  switch (where % 5) {
  case 0:
  case 1:
    joiner_cut(way.epoch);
    WAIT_FOR(sides[way.left].ended || sides[way.right].ended);
    break;
  case 2:
    close_stream(where % 2 == 0 ? way.left : way.right);
    break;
  case 3:
    pump_stream_cancel(sides[way.left].stream);
    break;
  default:
    pump_detach(sides[where % 2 == 0 ? FORWARD : SERVICE].pump);
    break;
  }
}

/* ---- What flows ---- */

struct flow {
  int from, to;
  uint64_t total, sent, got;
  bool ended;
};

static uint8_t byte_at(int from, uint64_t at)
{
  return (uint8_t)(from * 101 + (int)(at * 7 + (at >> 8) * 13 + (at >> 16) * 29));
}

static void write_some(struct flow *f, size_t piece_max)
{
  static uint8_t piece[PIECE_MAX];
  size_t n = (size_t)rand() % piece_max + 1;
  if (n > f->total - f->sent)
    n = (size_t)(f->total - f->sent);
  if (n == 0)
    return;
  for (size_t i = 0; i < n; i++)
    piece[i] = byte_at(f->from, f->sent + i);
  ssize_t sent = send(sides[f->from].fd, piece, n, MSG_NOSIGNAL);
  f->sent += sent > 0 ? (uint64_t)sent : 0;
  if (f->sent == f->total)
    shutdown(sides[f->from].fd, SHUT_WR);
}

static void read_some(struct flow *f)
{
  static uint8_t got[PIECE_MAX];
  ssize_t n = recv(sides[f->to].fd, got, (size_t)rand() % sizeof got + 1, 0);
  holds(n >= 0 || errno == EAGAIN);
  f->ended |= n == 0;
  for (ssize_t i = 0; i < n; i++)
    holds(got[i] == byte_at(f->from, f->got + (uint64_t)i));
  f->got += n > 0 ? (uint64_t)n : 0;
  holds(!f->ended || f->got == f->total);
}

static void give_sockets(bool small)
{
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(pump_give_socket(sides[i].pump, make_socket(i, small)), 0);
}

static void finish(struct flow *flows, size_t piece_max)
{
  start_patience();
  while (!flows[0].ended || !flows[1].ended) {
    for (int i = 0; i < 2; i++) {
      write_some(&flows[i], piece_max);
      read_some(&flows[i]);
    }
    turn();
  }
  stop_patience();
  for (int i = 0; i < 2; i++) {
    ck_assert_uint_eq(counters(i).bytes_read, flows[i].total);
    ck_assert_uint_eq(counters(i).bytes_written, flows[1 - i].total);
    ck_assert_int_eq(sides[i].socket_error, 0);
  }
}

static bool is_spliced(const struct flow *f)
{
  return counters(f->from).spliced > 0 && counters(f->to).spliced > 0;
}

/* When that is depends on the machine. */
static void flow_until_spliced(struct flow *f)
{
  uint64_t total = f->total;
  f->total = UINT64_MAX;
  start_patience();
  while (!is_spliced(f)) {
    write_some(f, PIECE_MAX);
    read_some(f);
    turn();
  }
  stop_patience();
  f->total = f->sent + total;
}

/* ---- Before and after ---- */

static void changed(struct raw_line *l, void *arg)
{
  (void)l;
  (void)arg;
  line_changed = true;
}

static void setup_raw(void)
{
  struct raw_line_options options;
  signal(SIGPIPE, SIG_IGN);
  setup();
  memset(&way, 0, sizeof way);
  way.next = FIRST_STREAM;
  joiner_start(&options);
  options.changed = changed;
  ck_assert_int_eq(raw_set_open(&set, here.home), 0);
  ck_assert_int_eq(raw_line_open(&line, set, &options), 0);
  WAIT_FOR(line_changed);
  ck_assert_int_eq(raw_line_state(line), RAW_UP);
  here.make = make_raw;
  here.near_us = UINT64_MAX; /* however slow the machine is */
  use_limits(WINDOW_MAX, 4 * (uint64_t)WINDOW_MAX);
  create_pump(FORWARD);
  create_pump(SERVICE);
}

static void set_flag(void *arg)
{
  *(bool *)arg = true;
}

static void teardown_raw(void)
{
  bool closed = false;
  use_limits(WINDOW_MAX, 4 * (uint64_t)WINDOW_MAX);
  raw_line_close(line, RAW_REPLACED);
  for (int i = 0; i < 5; i++)
    turn();
  raw_set_close(set, set_flag, &closed);
  WAIT_FOR(closed);
  joiner_stop();
  teardown();
}

/* ---- Tests ---- */

START_TEST(test_bulk_goes_through_pipes)
{
  srand((unsigned)_i);
  struct flow flows[2] = {{.from = 0, .to = 1, .total = 5}, {.from = 1, .to = 0, .total = 5}};
  go_on_with_others();
  give_sockets(false);
  flows[_i].total = BULK;
  flow_until_spliced(&flows[_i]);
  finish(flows, PIECE_MAX);
}
END_TEST

START_TEST(test_bulk_both_ways)
{
  struct flow flows[2] = {{.from = 0, .to = 1, .total = BULK}, {.from = 1, .to = 0, .total = BULK}};
  go_on_with_others();
  give_sockets(false);
  flow_until_spliced(&flows[0]);
  finish(flows, PIECE_MAX);
}
END_TEST

START_TEST(test_small_messages_are_copied)
{
  struct flow flows[2] = {{.from = 0, .to = 1, .total = 200000}, {.from = 1, .to = 0, .total = 200000}};
  go_on_with_others();
  give_sockets(false);
  finish(flows, 2000);
  ck_assert_uint_eq(counters(0).spliced, 0);
  ck_assert_uint_eq(counters(1).spliced, 0);
}
END_TEST

START_TEST(test_far_ways_are_copied)
{
  struct flow flows[2] = {{.from = 0, .to = 1, .total = 4 << 20}, {.from = 1, .to = 0, .total = 5}};
  close_pump(FORWARD);
  close_pump(SERVICE);
  here.near_us = 0;
  use_limits(WINDOW_MAX, 4 * (uint64_t)WINDOW_MAX);
  create_pump(FORWARD);
  create_pump(SERVICE);
  go_on_with_others();
  give_sockets(false);
  finish(flows, PIECE_MAX);
  ck_assert_uint_eq(counters(0).spliced, 0);
}
END_TEST

/* On one machine, beside others in bulk, a round trip is 3 ms. */
START_TEST(test_a_queue_does_not_make_a_way_far)
{
  struct pump *p = sides[FORWARD].pump;
  go_on_with_others();
  give_sockets(false);
  p->set->limits.near_us = PUMP_NEAR_US;
  pthread_mutex_lock(&p->up.lock);
  p->up.read_size = PIECE_MAX;
  p->up.window.rtt = 3000;
  bool near = pump_splice_wants(p);
  p->up.window.rtt = PUMP_NEAR_US;
  bool far = !pump_splice_wants(p);
  pthread_mutex_unlock(&p->up.lock);
  ck_assert(near && far);
}
END_TEST

/* Other streams take over in the middle of it, and streams are cut: nothing is lost, and nothing comes twice. */
START_TEST(test_switches_in_bulk)
{
  srand((unsigned)_i + 1);
  bool small = _i % 5 == 4;
  uint64_t total = small ? 500000 : BULK;
  struct flow flows[2] = {{.from = 0, .to = 1, .total = total}, {.from = 1, .to = 0, .total = _i % 3 == 0 ? total : 5}};
  uint64_t next = total / 40;
  size_t piece_max = _i % 4 == 3 ? 20000 : PIECE_MAX;
  go_on_with_others();
  give_sockets(small);
  if (!small)
    flow_until_spliced(&flows[0]);
  total = flows[0].total;
  start_patience();
  while (!flows[0].ended) {
    for (int i = 0; i < 2; i++) {
      write_some(&flows[i], piece_max);
      if (rand() % 4 > 0)
        read_some(&flows[i]);
    }
    turn();
    if (flows[0].got < next || flows[0].sent == total)
      continue;
    next = flows[0].got + total / 100 + (uint64_t)rand() % (total / 8);
    if (rand() % 2 == 0)
      cut(rand());
    go_on_with_others();
    start_patience();
  }
  stop_patience();
  finish(flows, PIECE_MAX);
}
END_TEST

/* ---- What an observer sees ---- */

struct watcher {
  struct pump_observer observer;
  int from, to; /* whose bytes each way has */
  uint64_t seen_from, seen_to, unseen;
  bool ended_from, ended_to;
};

static void watch(struct watcher *w, int from, uint64_t *at, bool *ended, const char *bytes, size_t size)
{
  holds(!*ended);
  *ended = size == 0;
  w->unseen += bytes == NULL ? size : 0;
  for (size_t i = 0; bytes != NULL && i < size; i++)
    holds((uint8_t)bytes[i] == byte_at(from, *at + i));
  *at += size;
}

static void watch_from(struct pump_observer *o, const char *bytes, size_t size)
{
  struct watcher *w = (struct watcher *)o;
  watch(w, w->from, &w->seen_from, &w->ended_from, bytes, size);
}

static void watch_to(struct pump_observer *o, const char *bytes, size_t size)
{
  struct watcher *w = (struct watcher *)o;
  watch(w, w->to, &w->seen_to, &w->ended_to, bytes, size);
}

/* Each byte once, in its order, also across streams; through pipes only where it is not watched. */
START_TEST(test_an_observer_sees_what_passes)
{
  bool watched = _i == 0;
  struct watcher watchers[2] = {{.from = 0, .to = 1}, {.from = 1, .to = 0}};
  struct flow flows[2] = {{.from = 0, .to = 1, .total = BULK}, {.from = 1, .to = 0, .total = 70000}};
  for (int i = 0; i < 2; i++) {
    watchers[i].observer = (struct pump_observer){
        .to_socket = watch_to, .from_socket = watch_from, .watches_to = watched, .watches_from = watched};
    pump_observe(sides[i].pump, &watchers[i].observer);
  }
  go_on_with_others();
  give_sockets(false);
  if (!watched)
    flow_until_spliced(&flows[0]);
  start_patience();
  while (flows[0].got < flows[0].total / 2) {
    write_some(&flows[0], PIECE_MAX);
    read_some(&flows[0]);
    turn();
  }
  stop_patience();
  cut(0);
  go_on_with_others();
  finish(flows, PIECE_MAX);
  for (int i = 0; i < 2; i++) {
    ck_assert_uint_eq(watchers[i].seen_from, flows[i].total);
    ck_assert_uint_eq(watchers[i].seen_to, flows[1 - i].total);
    ck_assert(watchers[i].ended_from && watchers[i].ended_to);
    ck_assert(watched ? watchers[i].unseen == 0 && counters(i).spliced == 0 : watchers[i].unseen > 0);
  }
  pump_observe(sides[FORWARD].pump, NULL); /* the other one's is let go by its close */
}
END_TEST

static void stall(struct flow *f)
{
  int idle = 0;
  start_patience();
  while (idle < 100) {
    uint64_t before = f->sent;
    write_some(f, PIECE_MAX);
    turn();
    idle = f->sent > before ? 0 : idle + 1;
    if (idle > 0)
      turn_for(1);
  }
  stop_patience();
  ck_assert_uint_lt(f->sent, f->total);
}

/* Before the reader stops there is bulk, so that what stalls is in pipes. */
static void stall_in_bulk(struct flow *f)
{
  flow_until_spliced(f);
  stall(f);
}

/* The other side's words stand behind data that is not read. */
START_TEST(test_a_reset_behind_a_stalled_reader)
{
  struct flow f = {.from = 0, .to = 1, .total = 4 * (uint64_t)BULK};
  go_on_with_others();
  give_sockets(false);
  stall_in_bulk(&f);
  pump_stream_send_reset(sides[way.left].stream, "code", "reason");
  WAIT_FOR(sides[way.right].reset_code[0] != '\0');
  ck_assert_str_eq(sides[way.right].reset_code, "code");
}
END_TEST

/* The acks of what goes back stand behind it, too. */
START_TEST(test_the_other_way_flows_past_a_stalled_reader)
{
  struct flow f = {.from = 0, .to = 1, .total = 4 * (uint64_t)BULK}, back = {.from = 1, .to = 0, .total = BULK};
  go_on_with_others();
  give_sockets(false);
  stall_in_bulk(&f);
  start_patience();
  while (!back.ended) {
    write_some(&back, PIECE_MAX);
    read_some(&back);
    turn();
  }
  stop_patience();
  struct flow flows[2] = {f, back};
  flows[0].total = f.sent;
  shutdown(sides[0].fd, SHUT_WR);
  finish(flows, PIECE_MAX);
}
END_TEST

/* So that the next one has to be allocated. */
static size_t use_up_slabs(struct bytes slabs[SLABS_MAX])
{
  struct slab_carver *carver = &here.set->small;
  size_t count = 0;
  fail_allocation(1);
  while (count < SLABS_MAX && slab_carver_room(carver, SLAB_SMALL) != NULL)
    slabs[count++] = slab_carver_take(carver, SLAB_SMALL);
  ck_assert(!FAILING_WORKS || allocation_failed());
  return count;
}

/* What is kept in a pipe is read into memory when its stream is gone; memory may be short then. */
START_TEST(test_memory_is_short_when_pipes_are_left)
{
  struct flow f = {.from = 0, .to = 1, .total = 4 * (uint64_t)BULK};
  go_on_with_others();
  give_sockets(false);
  stall_in_bulk(&f);
  ck_assert_uint_gt(counters(0).unacked, 0);
  struct bytes slabs[SLABS_MAX];
  size_t count = use_up_slabs(slabs);
  fail_allocation(1);
  pump_detach(sides[FORWARD].pump);
  ck_assert(!FAILING_WORKS || allocation_failed());
  while (count > 0)
    bytes_drop(&slabs[--count]);
  pump_detach(sides[SERVICE].pump);
  go_on_with_others();
  struct flow flows[2] = {f, {.from = 1, .to = 0, .total = 5}};
  flows[0].total = f.sent;
  shutdown(sides[0].fd, SHUT_WR);
  finish(flows, PIECE_MAX);
}
END_TEST

START_TEST(test_without_descriptors_it_is_copied)
{
  struct flow flows[2] = {{.from = 0, .to = 1, .total = BULK}, {.from = 1, .to = 0, .total = 5}};
  struct rlimit before;
  go_on_with_others();
  give_sockets(false);
  getrlimit(RLIMIT_NOFILE, &before);
  struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
  finish(flows, PIECE_MAX);
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
  ck_assert_uint_eq(counters(0).spliced, 0);
  ck_assert_uint_eq(counters(1).spliced, 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("splice");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup_raw, teardown_raw);
  tcase_add_loop_test(tcase, test_bulk_goes_through_pipes, 0, 2);
  tcase_add_test(tcase, test_bulk_both_ways);
  tcase_add_test(tcase, test_small_messages_are_copied);
  tcase_add_test(tcase, test_far_ways_are_copied);
  tcase_add_test(tcase, test_a_queue_does_not_make_a_way_far);
  tcase_add_loop_test(tcase, test_switches_in_bulk, 0, 10);
  tcase_add_loop_test(tcase, test_an_observer_sees_what_passes, 0, 2);
  tcase_add_test(tcase, test_a_reset_behind_a_stalled_reader);
  tcase_add_test(tcase, test_the_other_way_flows_past_a_stalled_reader);
  tcase_add_test(tcase, test_memory_is_short_when_pipes_are_left);
  tcase_add_test(tcase, test_without_descriptors_it_is_copied);
  suite_add_tcase(suite, tcase);
  return suite;
}
