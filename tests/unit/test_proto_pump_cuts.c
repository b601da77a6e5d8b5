/* Two pumps, and between them a router that cuts: whatever is cut when, each socket gets what the other one was given.
 */
#include "fixture_proto_pump.h"
#include "runner.h"

/* The pumps, as sides; behind them the streams, two for each attempt. */
enum { FORWARD, SERVICE, FIRST_STREAM };

struct flow {
  int from, to;
  size_t total, sent, got, wrong, salt;
  bool ended;
};

struct attempt {
  int left, right; /* sides of its streams */
  int other;       /* before all others of it */
  bool accepted, established;
};

static struct {
  struct flow flows[2];
  struct attempt current, next;
  bool has_current, has_next, has_answered;
  uint64_t epoch;
  unsigned cuts, attempts;
  int cut_odds; /* one turn of so many */
} run;

static int dice(int sides_of_it)
{
  return rand() % sides_of_it;
}

/* ---- What flows ---- */

static void write_some(struct flow *f)
{
  int fd = sides[f->from].fd;
  size_t portion = (size_t)dice(dice(3) == 0 ? 100 : BYTES_MAX) + 1;
  if (portion > f->total - f->sent)
    portion = f->total - f->sent;
  ssize_t n = portion > 0 ? send(fd, bytes_at(f->sent + f->salt), portion, MSG_NOSIGNAL) : 0;
  f->sent += n > 0 ? (size_t)n : 0;
  if (portion > 0 && f->sent == f->total)
    shutdown(fd, SHUT_WR);
}

static void read_some(struct flow *f)
{
  static uint8_t got[BYTES_MAX];
  ssize_t n = recv(sides[f->to].fd, got, (size_t)dice((int)sizeof got) + 1, 0);
  holds(n >= 0 || errno == EAGAIN);
  f->ended |= n == 0;
  if (n <= 0)
    return;
  f->wrong += memcmp(got, bytes_at(f->got + f->salt), (size_t)n) != 0;
  f->got += (size_t)n;
}

static void flow(void)
{
  for (int i = 0; i < 2; i++) {
    write_some(&run.flows[i]);
    if (dice(4) > 0)
      read_some(&run.flows[i]);
  }
}

static bool is_done(void)
{
  return run.flows[0].ended && run.flows[1].ended;
}

/* ---- Streams ---- */

static void open_side(int side, const char *token, bool answers)
{
  struct header h = {.has_member = true,
                     .member = {1},
                     .has_member_key = true,
                     .member_key = {2},
                     .has_connection = answers,
                     .connection = {3},
                     .limit = WINDOW_MAX,
                     .epoch = run.epoch,
                     .received = answers ? pump_received(sides[FORWARD].pump) : 0};
  snprintf(h.token, sizeof h.token, "%s", token);
  struct side fresh = {.fd = -1};
  sides[side] = fresh;
  open_stream_with(side, &h);
}

static int free_streams(void)
{
  int first = FIRST_STREAM;
  while (sides[first].stream != NULL || sides[first + 1].stream != NULL)
    first += 2;
  return first;
}

/* The two streams of one attempt come in any order. */
static void open_attempt(struct attempt *a)
{
  int first = free_streams();
  run.attempts++;
  *a = (struct attempt){.left = first, .right = first + 1, .other = remote.count};
  bool left_first = dice(2) == 0;
  if (left_first)
    open_side(a->left, "left", true);
  open_side(a->right, "right", false);
  if (!left_first)
    open_side(a->left, "left", true);
  run.epoch++;
  if (!run.has_answered) { /* nothing is known of the other side */
    const struct pump_attachment from_the_beginning = {0};
    use_stream(FORWARD, a->left, &from_the_beginning);
    a->established = true;
  }
}

static void close_attempt(struct attempt *a)
{
  close_stream(a->left);
  close_stream(a->right);
}

/* The service's side takes it, once it has come; then the other one does. */
static void go_on_with(struct attempt *a)
{
  if (!a->accepted && sides[a->right].header) {
    const struct header answer = {
        .has_member = true, .has_connection = true, .connection = {3}, .limit = WINDOW_MAX, .epoch = run.epoch};
    const struct pump_attachment attachment = {
        .send_from = sides[a->right].said.received, .limit = sides[a->right].said.limit, .answer = &answer};
    use_stream(SERVICE, a->right, &attachment);
    a->accepted = true;
    if (run.has_current)
      close_stream(run.current.right);
  }
  if (sides[a->left].header && !a->established) {
    const struct pump_attachment attachment = {.send_from = sides[a->left].said.received,
                                               .limit = sides[a->left].said.limit};
    use_stream(FORWARD, a->left, &attachment);
    a->established = true;
  }
  run.has_answered |= sides[a->left].header;
}

static bool is_over(const struct attempt *a)
{
  return sides[a->left].stream == NULL || sides[a->right].stream == NULL || sides[a->left].ended ||
         sides[a->right].ended;
}

static void drive(void)
{
  if (run.has_next) {
    if (!is_over(&run.next))
      go_on_with(&run.next);
    if (is_over(&run.next)) {
      close_attempt(&run.next);
      run.has_next = false;
    } else if (run.next.accepted && run.next.established && sides[run.next.left].header) {
      if (run.has_current)
        close_attempt(&run.current);
      run.current = run.next;
      run.has_current = true;
      run.has_next = false;
    }
  }
  if (run.has_current && is_over(&run.current)) {
    close_attempt(&run.current);
    run.has_current = false;
  }
  bool renew = run.has_answered && dice(4 * run.cut_odds) == 0;
  if (!run.has_next && (!run.has_current || renew)) {
    open_attempt(&run.next);
    run.has_next = true;
  }
}

/* Anywhere: in the router, at one of our ends, in the words. */
static void cut(void)
{
  struct attempt *a = run.has_next && (dice(2) == 0 || !run.has_current) ? &run.next : &run.current;
  bool any = a == &run.next ? run.has_next : run.has_current;
  if (!any)
    return;
  run.cuts++;
  switch (dice(5)) {
  case 0:
  case 1:
    tell_other_cut(a->other + dice(2));
    break;
  case 2:
    close_stream(dice(2) == 0 ? a->left : a->right);
    break;
  case 3:
    if (sides[a->left].stream != NULL)
      pump_stream_cancel(sides[a->left].stream);
    break;
  default:
    pump_detach(sides[dice(2) == 0 ? FORWARD : SERVICE].pump);
    close_attempt(a);
    break;
  }
}

static void start_run(int seed, size_t most)
{
  memset(&run, 0, sizeof run);
  srand((unsigned)seed);
  run.cut_odds = 20 << dice(6);
  for (int i = 0; i < 2; i++) {
    run.flows[i] = (struct flow){.from = i, .to = 1 - i, .salt = 7919 * (size_t)i};
    run.flows[i].total = (size_t)dice((int)(dice(3) == 0 ? 2000 : most)) + 1;
    create_pump(i);
  }
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(pump_give_socket(sides[i].pump, make_socket(i, dice(3) == 0)), 0);
}

static void check_run(void)
{
  for (int i = 0; i < 2; i++) {
    ck_assert_uint_eq(run.flows[i].wrong, 0);
    ck_assert_uint_eq(run.flows[i].got, run.flows[i].total);
    ck_assert_uint_eq(counters(i).bytes_read, run.flows[i].total);
    ck_assert_uint_eq(counters(i).bytes_written, run.flows[1 - i].total);
    ck_assert_uint_eq(pump_received(sides[i].pump), run.flows[1 - i].total + 1);
    ck_assert(sides[i].local_eof && sides[i].socket_error == 0);
  }
}

START_TEST(test_cuts)
{
  start_run(_i, 3000000);
  start_patience();
  while (!is_done()) {
    flow();
    drive();
    turn();
    if (run.attempts < OTHERS_MAX / 4 && dice(run.cut_odds) == 0)
      cut();
  }
  stop_patience();
  check_run();
}
END_TEST

/* One stream takes the other's place under load, again and again; nothing is cut. */
START_TEST(test_make_before_break)
{
  start_run(_i, 1000000);
  run.flows[0].total = run.flows[1].total = 20000000;
  size_t renewed_at = 0;
  start_patience();
  while (!is_done()) {
    flow();
    run.cut_odds = 1 << 28;
    drive();
    turn();
    if (!run.has_next && run.has_answered && run.flows[0].got > renewed_at + 1000000) {
      open_attempt(&run.next);
      run.has_next = true;
      renewed_at = run.flows[0].got;
    }
  }
  stop_patience();
  check_run();
  ck_assert_uint_ge(run.attempts, 3); /* as many as the time allowed that the bytes took */
}
END_TEST

static void add(Suite *suite, const char *name, SFun begin, int cuts, int breaks)
{
  TCase *tcase = tcase_create(name);
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, begin, teardown);
  tcase_add_loop_test(tcase, test_cuts, 0, cuts);
  tcase_add_loop_test(tcase, test_make_before_break, 0, breaks);
  suite_add_tcase(suite, tcase);
}

/* MM_SEEDS=1000 for volume. */
Suite *test_suite(void)
{
  const char *said = getenv("MM_SEEDS");
  int seeds = said != NULL ? (int)strtol(said, NULL, 10) : 40;
  Suite *suite = suite_create("pump cuts");
  add(suite, "in memory", setup, seeds, 3);
  add(suite, "over gRPC", setup_rpc, (seeds + 3) / 4, 1);
  return suite;
}
