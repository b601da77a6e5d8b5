/* Pairs of TCP connections over loopback: an application on either side, and between them what the router does. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/host/pipes.h"
#include "router/splice/splice.h"

#include "failing.h"
#include "holds.h"
#include "runner.h"
#include "segments.h"

enum {
  IDLE_TURNS_MAX = 20000, /* turns of 1 ms with nothing done: then it is stuck */
  PIECE_MAX = 80 << 10,
  PIECE = 16 << 10,
  SMALL = 8 << 10,
  BUFFERS_OF_ANY_HOST = 212992, /* net.core.rmem_max, where nobody has changed it */
};

static struct poller *poller;
static struct splices *splices;
static int listener;
static struct sockaddr_in address;
static unsigned over_count, orderly_count;

/* ---- A pair, and the applications at its ends ---- */

struct ends {
  int app[2]; /* the applications' */
  int own[2]; /* the router's */
  struct splice *splice;
};

static void over(void *arg, bool orderly)
{
  struct ends *e = arg;
  e->splice = NULL;
  over_count++;
  orderly_count += orderly;
  for (int i = 0; i < 2; i++)
    holds(fcntl(e->own[i], F_GETFD) < 0);
}

static void connect_one(int *app, int *own, int buffers)
{
  *app = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  holds(*app >= 0);
  if (buffers > 0) {
    setsockopt(*app, SOL_SOCKET, SO_RCVBUF, &buffers, sizeof buffers);
    setsockopt(*app, SOL_SOCKET, SO_SNDBUF, &buffers, sizeof buffers);
  }
  setsockopt(*app, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  holds(connect(*app, (struct sockaddr *)&address, sizeof address) == 0);
  fcntl(*app, F_SETFL, O_NONBLOCK);
  *own = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  holds(*own >= 0);
  if (buffers > 0) {
    setsockopt(*own, SOL_SOCKET, SO_RCVBUF, &buffers, sizeof buffers);
    setsockopt(*own, SOL_SOCKET, SO_SNDBUF, &buffers, sizeof buffers);
  }
}

static void start(struct ends *e)
{
  struct splice_side sides[2] = {{.fd = e->own[0]}, {.fd = e->own[1]}};
  holds(splice_start(splices, &e->splice, sides, over, e) == 0);
}

static void connect_both(struct ends *e, int buffers)
{
  for (int i = 0; i < 2; i++)
    connect_one(&e->app[i], &e->own[i], buffers);
}

static struct ends join(int buffers)
{
  struct ends e;
  connect_both(&e, buffers);
  return e;
}

static void part(struct ends *e)
{
  close(e->app[0]);
  close(e->app[1]);
}

static struct splice_stats stats(void)
{
  struct splice_stats s;
  splices_stats(splices, &s);
  return s;
}

static void open_with(size_t pipe_bytes)
{
  ck_assert_int_eq(splices_open(&splices, poller,
                                &(struct splice_limits){.piece = PIECE, .pipe_bytes = pipe_bytes, .pipes_idle = 4}),
                   0);
}

static void setup_poller(void)
{
  ck_assert_int_eq(poller_open(&poller), 0);
}

static void setup(void)
{
  signal(SIGPIPE, SIG_IGN);
  address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
  ck_assert_int_eq(listen(listener, 128), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
  setup_poller();
}

static void teardown(void)
{
  splices_close(splices);
  poller_close(poller);
  close(listener);
}

/* ---- What an application says, and the other one hears ---- */

struct talk {
  int from, to;
  uint64_t size, sent, heard;
  unsigned seed;
  bool said_end, heard_end;
};

static uint8_t byte_at(unsigned seed, uint64_t at)
{
  return (uint8_t)(seed + at * 7 + (at >> 8) * 13 + (at >> 16) * 29);
}

static bool say(struct talk *t)
{
  static uint8_t piece[PIECE_MAX];
  if (t->said_end)
    return false;
  uint64_t left = t->size - t->sent;
  size_t n = (size_t)rand() % (rand() % 4 == 0 ? PIECE_MAX : 64) + 1;
  if (n > left)
    n = left;
  if (n == 0) {
    shutdown(t->from, SHUT_WR);
    return t->said_end = true;
  }
  for (size_t i = 0; i < n; i++)
    piece[i] = byte_at(t->seed, t->sent + i);
  ssize_t sent = send(t->from, piece, n, MSG_NOSIGNAL);
  if (sent < 0)
    holds(errno == EAGAIN);
  t->sent += sent > 0 ? (uint64_t)sent : 0;
  return sent > 0;
}

static bool hear(struct talk *t)
{
  static uint8_t piece[PIECE_MAX];
  if (t->heard_end)
    return false;
  ssize_t n = recv(t->to, piece, (size_t)rand() % PIECE_MAX + 1, 0);
  if (n < 0) {
    holds(errno == EAGAIN);
    return false;
  }
  if (n == 0) {
    holds(t->heard == t->size);
    return t->heard_end = true;
  }
  holds(t->heard + (uint64_t)n <= t->size);
  for (ssize_t i = 0; i < n; i++)
    holds(piece[i] == byte_at(t->seed, t->heard + (uint64_t)i));
  t->heard += (uint64_t)n;
  return true;
}

/* One after the other, in no order, until each has heard the end of the other. */
static void talk_all(struct talk *talks, size_t count)
{
  for (int idle = 0; idle < IDLE_TURNS_MAX;) {
    bool did = false, all = true;
    for (size_t i = 0; i < count; i++) {
      if (rand() % 3 != 0)
        did |= say(&talks[i]);
      if (rand() % 3 != 0)
        did |= hear(&talks[i]);
      all &= talks[i].heard_end;
    }
    if (all)
      return;
    poller_turn(poller, did ? 0 : 1);
    idle = did ? 0 : idle + 1;
  }
  ck_abort_msg("stuck");
}

static void wait_for_over(unsigned count)
{
  for (int i = 0; i < IDLE_TURNS_MAX && over_count < count; i++)
    poller_turn(poller, 1);
  ck_assert_uint_eq(over_count, count);
}

/* After the orderly ones the pool has all pipes back. */
static void check_all_given_back(void)
{
  struct splice_stats s = stats();
  ck_assert_uint_eq(s.pairs, 0);
  ck_assert_uint_le(s.pipes, 4);
}

enum { PAIRS = 6 };

static void check_integrity(uint64_t bytes, int buffers)
{
  struct ends ends[PAIRS];
  struct talk talks[2 * PAIRS];
  unsigned before = over_count, orderly_before = orderly_count;
  for (size_t i = 0; i < PAIRS; i++) {
    ends[i] = join(buffers);
    start(&ends[i]);
    for (unsigned way = 0; way < 2; way++)
      talks[2 * i + way] = (struct talk){.from = ends[i].app[way],
                                         .to = ends[i].app[1 - way],
                                         .seed = (unsigned)(2 * i + way),
                                         .size = rand() % 8 == 0 ? 0 : (uint64_t)rand() % bytes};
  }
  talk_all(talks, sizeof talks / sizeof talks[0]);
  wait_for_over(before + PAIRS);
  ck_assert_uint_eq(orderly_count, orderly_before + PAIRS);
  for (size_t i = 0; i < PAIRS; i++)
    part(&ends[i]);
  check_all_given_back();
}

/* Some pieces are large, most are a few bytes, and each way ends when its bytes are through. */
START_TEST(test_all_arrives_through_pipes)
{
  open_with(64 << 20);
  check_integrity(2 << 20, 0);
  ck_assert_uint_gt(stats().copied, 0);
  ck_assert_uint_gt(stats().spliced, 0);
}
END_TEST

START_TEST(test_all_arrives_by_copies)
{
  open_with(0);
  check_integrity(2 << 20, 0);
  ck_assert_uint_gt(stats().copied, 0);
  ck_assert_uint_eq(stats().spliced, 0);
}
END_TEST

/* One pipe for all of them, and buffers so small that it is often held: they change from one to the other. */
START_TEST(test_all_arrives_by_both)
{
  open_with(4 * (size_t)PIPE_SIZE_LEAST);
  check_integrity(200000, SMALL);
  ck_assert_uint_gt(stats().copied, 0);
  ck_assert_uint_gt(stats().spliced, 0);
}
END_TEST

/* ---- Small things ---- */

static void expect_bytes(int fd, const char *text)
{
  char got[64] = "";
  size_t size = strlen(text), at = 0;
  for (int i = 0; i < IDLE_TURNS_MAX && at < size; i++) {
    ssize_t n = recv(fd, got + at, size - at, 0);
    at += n > 0 ? (size_t)n : 0;
    if (at < size)
      poller_turn(poller, 1);
  }
  ck_assert_str_eq(got, text);
}

/* What recv says at the end: 0, or an errno. */
static int expect_end(int fd)
{
  for (int i = 0; i < IDLE_TURNS_MAX; i++) {
    ssize_t n = recv(fd, &(char[4096]){0}, 4096, 0);
    if (n == 0)
      return 0;
    if (n < 0 && errno != EAGAIN)
      return errno;
    if (n < 0)
      poller_turn(poller, 1);
  }
  ck_abort_msg("no end");
}

START_TEST(test_one_byte_there_and_back)
{
  open_with(_i == 0 ? 0 : 64 << 20);
  struct ends e = join(0);
  start(&e);
  for (int i = 0; i < 300; i++) {
    ck_assert_int_eq(send(e.app[i % 2], "x", 1, 0), 1);
    expect_bytes(e.app[1 - i % 2], "x");
  }
  ck_assert_uint_eq(stats().pipes, 0);
  part(&e);
  wait_for_over(1);
}
END_TEST

START_TEST(test_a_half_close_leaves_the_other_way)
{
  open_with(_i == 0 ? 0 : 64 << 20);
  struct ends e = join(0);
  start(&e);
  shutdown(e.app[0], SHUT_WR);
  ck_assert_int_eq(expect_end(e.app[1]), 0);
  for (int i = 0; i < 10; i++) {
    ck_assert_int_eq(send(e.app[1], "hello", 5, 0), 5);
    expect_bytes(e.app[0], "hello");
  }
  ck_assert_uint_eq(over_count, 0);
  ck_assert_int_eq(send(e.app[1], "bye", 3, 0), 3);
  shutdown(e.app[1], SHUT_WR);
  expect_bytes(e.app[0], "bye");
  ck_assert_int_eq(expect_end(e.app[0]), 0);
  wait_for_over(1);
  ck_assert_uint_eq(orderly_count, 1);
  part(&e);
}
END_TEST

static void wait_until_all_is_acknowledged(int fd)
{
  for (int i = 0; i < IDLE_TURNS_MAX && !segments_are_acknowledged(fd); i++)
    poller_turn(poller, 1);
}

/* Whoever is told of both is woken once: by the half-close of the first side, and by the close after the second one. */
START_TEST(test_an_end_goes_with_what_is_before_it)
{
  open_with(_i == 0 ? 0 : 64 << 20);
  struct ends e = join(0);
  start(&e);
  for (int i = 0; i < 2; i++) {
    unsigned before = segments_in(e.app[1 - i]);
    ck_assert_int_eq(send(e.app[i], "bye", 3, MSG_MORE), 3);
    shutdown(e.app[i], SHUT_WR);
    expect_bytes(e.app[1 - i], "bye");
    ck_assert_int_eq(expect_end(e.app[1 - i]), 0);
    ck_assert_uint_eq(segments_in(e.app[1 - i]) - before, 1);
    wait_until_all_is_acknowledged(e.app[i]);
  }
  wait_for_over(1);
  part(&e);
}
END_TEST

/* Bytes and end have come in before the pair exists: no edge will tell of them. */
START_TEST(test_what_came_before_the_pair)
{
  open_with(_i == 0 ? 0 : 64 << 20);
  struct ends e = join(0);
  ck_assert_int_eq(send(e.app[0], "hello", 5, 0), 5);
  shutdown(e.app[0], SHUT_WR);
  start(&e);
  expect_bytes(e.app[1], "hello");
  ck_assert_int_eq(expect_end(e.app[1]), 0);
  shutdown(e.app[1], SHUT_WR);
  ck_assert_int_eq(expect_end(e.app[0]), 0);
  wait_for_over(1);
  part(&e);
}
END_TEST

static unsigned stranger_calls;

static void stranger_ready(struct poller_watch *w, uint32_t events)
{
  (void)w;
  (void)events;
  stranger_calls++;
}

START_TEST(test_a_descriptor_that_was_watched_is_taken_over)
{
  open_with(64 << 20);
  struct ends e = join(0);
  struct poller_watch strangers[2] = {{.ready = stranger_ready}, {.ready = stranger_ready}};
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(poller_add(poller, e.own[i], EPOLLIN | EPOLLET, &strangers[i]), 0);
  ck_assert_int_eq(send(e.app[0], "hello", 5, 0), 5);
  for (int i = 0; i < IDLE_TURNS_MAX && stranger_calls == 0; i++)
    poller_turn(poller, 1);
  poller_again(poller, &strangers[0]);
  struct splice_side sides[2] = {{.fd = e.own[0], .watched = &strangers[0]},
                                 {.fd = e.own[1], .watched = &strangers[1], .first = "word ", .first_size = 5}};
  ck_assert_int_eq(splice_start(splices, &e.splice, sides, over, &e), 0);
  expect_bytes(e.app[1], "word hello");
  ck_assert_uint_eq(stranger_calls, 1);
  part(&e);
  wait_for_over(1);
}
END_TEST

static void reset(int fd)
{
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
  close(fd);
}

/* Both have come when the pair begins: the other side is woken once. */
START_TEST(test_first_bytes_take_along_what_came)
{
  open_with(64 << 20);
  struct ends e = join(0);
  char got[32];
  ck_assert_int_eq(send(e.app[0], "hello", 5, 0), 5);
  struct splice_side sides[2] = {{.fd = e.own[0]}, {.fd = e.own[1], .first = "word ", .first_size = 5}};
  ck_assert_int_eq(splice_start(splices, &e.splice, sides, over, &e), 0);
  ck_assert_int_eq(recv(e.app[1], got, sizeof got, MSG_DONTWAIT), 10);
  ck_assert_mem_eq(got, "word hello", 10);
  ck_assert_int_eq(send(e.app[0], " again", 6, 0), 6);
  expect_bytes(e.app[1], " again");
  part(&e);
  wait_for_over(1);
  ck_assert_uint_eq(orderly_count, 1);
}
END_TEST

/* An error of the one that speaks is not lost by the call that tells it. */
START_TEST(test_first_bytes_of_one_that_is_gone)
{
  open_with(64 << 20);
  struct ends e = join(0);
  reset(e.app[0]);
  struct pollfd gone = {.fd = e.own[0]};
  ck_assert_int_eq(poll(&gone, 1, 10000), 1);
  struct splice_side sides[2] = {{.fd = e.own[0]}, {.fd = e.own[1], .first = "word", .first_size = 4}};
  ck_assert_int_eq(splice_start(splices, &e.splice, sides, over, &e), 0);
  ck_assert_uint_eq(over_count, 0);
  wait_for_over(1);
  ck_assert_uint_eq(orderly_count, 0);
  ck_assert_int_eq(expect_end(e.app[1]), ECONNRESET);
  close(e.app[1]);
}
END_TEST

/* More than the sockets take, to one that does not read for a while: it is before all that the other side says. */
START_TEST(test_first_bytes_are_first)
{
  enum { FIRST = 6 << 20 };
  open_with(_i == 0 ? 0 : 64 << 20);
  struct ends e = join(SMALL);
  struct talk t = {.from = e.app[0], .to = e.app[1], .size = FIRST + 100000, .seed = 3};
  uint8_t *first = malloc(FIRST);
  for (; t.sent < FIRST; t.sent++)
    first[t.sent] = byte_at(t.seed, t.sent);
  struct splice_side sides[2] = {{.fd = e.own[0]}, {.fd = e.own[1], .first = first, .first_size = FIRST}};
  ck_assert_int_eq(splice_start(splices, &e.splice, sides, over, &e), 0);
  memset(first, 0, FIRST);
  free(first);
  while (say(&t))
    poller_turn(poller, 0);
  struct talk back = {.from = e.app[1], .to = e.app[0], .size = 5};
  talk_all((struct talk[2]){t, back}, 2);
  wait_for_over(1);
  ck_assert_uint_eq(orderly_count, 1);
  part(&e);
}
END_TEST

/* ---- Ends that are not orderly ---- */

static void stuff(const struct ends *e)
{
  static const char piece[PIECE_MAX];
  for (int idle = 0; idle < 20; poller_turn(poller, 1)) {
    idle++;
    while (send(e->app[0], piece, sizeof piece, MSG_NOSIGNAL) > 0)
      idle = 0;
  }
}

enum reset_when { QUIET, STUFFED, HALF_CLOSED, BOTH_WAYS };

/* A reset on either side is one on the other, whatever is under way; and what was in pipes is seen by nobody else. */
START_TEST(test_a_reset_is_passed_on)
{
  int side = _i % 2;
  enum reset_when when = _i / 2 % 4;
  open_with(_i / 8 == 0 ? 0 : 64 << 20);
  struct ends e = join(SMALL);
  start(&e);
  poller_turn(poller, 0);
  if (when == STUFFED)
    stuff(&e);
  if (when == HALF_CLOSED) {
    shutdown(e.app[1 - side], SHUT_WR);
    ck_assert_int_eq(expect_end(e.app[side]), 0);
  }
  if (when == BOTH_WAYS) {
    ck_assert_int_eq(send(e.app[side], "x", 1, 0), 1);
    expect_bytes(e.app[1 - side], "x");
  }
  reset(e.app[side]);
  wait_for_over(1);
  ck_assert_uint_eq(orderly_count, 0);
  int error = expect_end(e.app[1 - side]);
  ck_assert(error == ECONNRESET || error == EPIPE);
  close(e.app[1 - side]);
  check_all_given_back();
  over_count = 0;
  check_integrity(50000, 0);
}
END_TEST

START_TEST(test_cut)
{
  open_with(64 << 20);
  struct ends e = join(SMALL);
  start(&e);
  stuff(&e);
  splice_cut(e.splice);
  ck_assert_uint_eq(over_count, 1);
  ck_assert_uint_eq(orderly_count, 0);
  for (int i = 0; i < 2; i++) {
    ck_assert_int_lt(fcntl(e.own[i], F_GETFD), 0);
    ck_assert_int_eq(expect_end(e.app[i]), ECONNRESET);
  }
  poller_turn(poller, 0);
  ck_assert_uint_eq(over_count, 1);
  part(&e);
  check_all_given_back();
  check_integrity(50000, 0);
}
END_TEST

START_TEST(test_first_bytes_to_one_that_is_gone)
{
  open_with(64 << 20);
  struct ends e = join(0);
  reset(e.app[1]);
  struct pollfd gone = {.fd = e.own[1]};
  ck_assert_int_eq(poll(&gone, 1, 10000), 1);
  struct splice_side sides[2] = {{.fd = e.own[0]}, {.fd = e.own[1], .first = "word", .first_size = 4}};
  ck_assert_int_eq(splice_start(splices, &e.splice, sides, over, &e), 0);
  ck_assert_uint_eq(over_count, 0);
  wait_for_over(1);
  ck_assert_uint_eq(orderly_count, 0);
  ck_assert_int_eq(expect_end(e.app[0]), ECONNRESET);
  close(e.app[0]);
}
END_TEST

/* The kernel closes what a process leaves: that must not look like an orderly end. */
START_TEST(test_a_killed_process_is_a_reset)
{
  open_with(64 << 20);
  struct ends e = join(0);
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0) {
    part(&e);
    setup_poller(); /* of its own: the other one is shared */
    open_with(64 << 20);
    start(&e);
    for (;;)
      poller_turn(poller, -1);
  }
  close(e.own[0]);
  close(e.own[1]);
  ck_assert_int_eq(send(e.app[0], "x", 1, 0), 1);
  expect_bytes(e.app[1], "x");
  kill(child, SIGKILL);
  ck_assert_int_eq(waitpid(child, NULL, 0), child);
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(expect_end(e.app[i]), ECONNRESET);
  part(&e);
}
END_TEST

START_TEST(test_a_start_that_fails_leaves_all_as_it_was)
{
  open_with(64 << 20);
  struct ends e = join(0);
  struct splice_side sides[2] = {{.fd = e.own[0]}, {.fd = -1}};
  ck_assert_int_eq(splice_start(splices, &e.splice, sides, over, &e), -EBADF);
  ck_assert_uint_eq(stats().pairs, 0);
  ck_assert_int_ge(fcntl(e.own[0], F_GETFD), 0);
  sides[1].fd = e.own[1];
  if (FAILING_WORKS) {
    fail_allocation(1);
    int error = splice_start(splices, &e.splice, sides, over, &e);
    ck_assert(allocation_failed());
    ck_assert_int_eq(error, -ENOMEM);
  }
  start(&e);
  ck_assert_int_eq(send(e.app[0], "x", 1, 0), 1);
  expect_bytes(e.app[1], "x");
  part(&e);
  wait_for_over(1);
}
END_TEST

/* ---- Bounds ---- */

/* Nobody reads on one side: the sender is held back, pipes stay within their budget, and nothing is lost when it reads
 * at last. */
START_TEST(test_those_that_do_not_read)
{
  enum { STALLED = 40, BUDGET = 2 << 20 };
  open_with(BUDGET);
  static struct ends ends[STALLED];
  static struct talk talks[2 * STALLED];
  for (size_t i = 0; i < STALLED; i++) {
    ends[i] = join(SMALL);
    start(&ends[i]);
    talks[i] = (struct talk){.from = ends[i].app[0], .to = ends[i].app[1], .size = 150000, .seed = (unsigned)i};
    talks[STALLED + i] = (struct talk){.from = ends[i].app[1], .to = ends[i].app[0]};
  }
  for (int idle = 0; idle < 20; idle++, poller_turn(poller, 1))
    for (size_t i = 0; i < STALLED; i++)
      while (say(&talks[i]))
        idle = 0;
  for (size_t i = 0; i < STALLED; i++)
    ck_assert(!talks[i].said_end);
  ck_assert_uint_gt(stats().pipes, 4);
  ck_assert_uint_le(stats().pipe_bytes, BUDGET);
  ck_assert_uint_gt(stats().copied, 0);
  talk_all(talks, sizeof talks / sizeof talks[0]);
  wait_for_over(STALLED);
  ck_assert_uint_eq(orderly_count, STALLED);
  for (size_t i = 0; i < STALLED; i++)
    part(&ends[i]);
  check_all_given_back();
}
END_TEST

/* So much that a pipe is asked for. */
static void pass_much(const struct ends *e)
{
  static uint8_t much[2 * PIECE];
  ck_assert_int_eq(send(e->app[0], much, sizeof much, 0), sizeof much);
  size_t heard = 0;
  for (int i = 0; i < IDLE_TURNS_MAX && heard < sizeof much; i++) {
    ssize_t n = recv(e->app[1], much, sizeof much, 0);
    heard += n > 0 ? (size_t)n : 0;
    if (n < 0)
      poller_turn(poller, 1);
  }
  ck_assert_uint_eq(heard, sizeof much);
}

START_TEST(test_without_descriptors_it_is_copied)
{
  open_with(64 << 20);
  struct ends e = join(0);
  start(&e);
  struct rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 4, .rlim_max = before.rlim_max}), 0);
  pass_much(&e);
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
  ck_assert_uint_eq(stats().copied, (uint64_t)2 * PIECE);
  ck_assert_uint_eq(stats().spliced, 0);
  for (int i = 0; i < 1000 && stats().spliced == 0; i++) /* it is tried again after a while */
    pass_much(&e);
  ck_assert_uint_gt(stats().spliced, 0);
  part(&e);
  wait_for_over(1);
}
END_TEST

/* Small ones are copied, also after much went through a pipe. */
START_TEST(test_small_messages_take_no_pipe)
{
  open_with(64 << 20);
  struct ends e = join(0);
  start(&e);
  ck_assert_int_eq(send(e.app[0], "x", 1, 0), 1);
  expect_bytes(e.app[1], "x");
  ck_assert_uint_eq(stats().pipes, 0);
  pass_much(&e);
  uint64_t spliced = 0;
  for (int same = 0, i = 0; i < 100 && same < 2; i++) {
    spliced = stats().spliced;
    ck_assert_int_eq(send(e.app[0], "x", 1, 0), 1);
    expect_bytes(e.app[1], "x");
    same = stats().spliced == spliced ? same + 1 : 0;
  }
  ck_assert_uint_eq(stats().spliced, spliced);
  part(&e);
  wait_for_over(1);
}
END_TEST

static size_t pairs_possible(size_t wanted)
{
  struct rlimit r;
  getrlimit(RLIMIT_NOFILE, &r);
  r.rlim_cur = r.rlim_max;
  setrlimit(RLIMIT_NOFILE, &r);
  size_t most = r.rlim_cur > 100 ? (r.rlim_cur - 100) / 4 : 0;
  return wanted < most ? wanted : most;
}

#ifdef __SANITIZE_ADDRESS__
#define HAS_MALLINFO false
#else
#define HAS_MALLINFO true
#endif

/* A pair that has carried data and is quiet again has 0.3 KiB of our memory, and no pipe. */
START_TEST(test_quiet_pairs_are_small)
{
  enum { MANY = 2000, BYTES_MAX = 300 };
  static struct ends ends[MANY];
  size_t count = pairs_possible(MANY);
  ck_assert_uint_ge(count, 200);
  open_with(64 << 20);
  for (size_t i = 0; i < count; i++)
    connect_both(&ends[i], 0);
  size_t before = mallinfo2().uordblks;
  for (size_t i = 0; i < count; i++)
    start(&ends[i]);
  for (size_t i = 0; i < count; i++)
    ck_assert_int_eq(send(ends[i].app[i % 2], "hello", 5, 0), 5);
  for (size_t i = 0; i < count; i++)
    expect_bytes(ends[i].app[1 - i % 2], "hello");
  size_t after = mallinfo2().uordblks;
  if (HAS_MALLINFO)
    ck_assert_uint_lt((after - before) / count, BYTES_MAX);
  ck_assert_uint_eq(stats().pairs, count);
  ck_assert_uint_eq(stats().pipes, 0);
  for (size_t i = 0; i < count; i++)
    part(&ends[i]);
  wait_for_over((unsigned)count);
  ck_assert_uint_eq(orderly_count, count);
  check_all_given_back();
}
END_TEST

/* However much waits, a turn takes two fillings of a pipe: then others have theirs. */
START_TEST(test_a_turn_is_bounded)
{
  enum { TURN_MAX = 2 * PIPE_SIZE_LEAST };
  open_with(4 * (size_t)PIPE_SIZE_LEAST);
  struct ends e = join(BUFFERS_OF_ANY_HOST);
  stuff(&e);
  int waiting = 0;
  ck_assert_int_eq(ioctl(e.own[0], FIONREAD, &waiting), 0);
  ck_assert_int_gt(waiting, TURN_MAX);
  start(&e);
  poller_turn(poller, 1000);
  ck_assert_uint_gt(stats().spliced, 0);
  ck_assert_uint_le(stats().spliced, TURN_MAX);
  splice_cut(e.splice);
  part(&e);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("splice");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_all_arrives_through_pipes);
  tcase_add_test(tcase, test_all_arrives_by_copies);
  tcase_add_test(tcase, test_all_arrives_by_both);
  tcase_add_loop_test(tcase, test_one_byte_there_and_back, 0, 2);
  tcase_add_loop_test(tcase, test_a_half_close_leaves_the_other_way, 0, 2);
  tcase_add_loop_test(tcase, test_an_end_goes_with_what_is_before_it, 0, 2);
  tcase_add_loop_test(tcase, test_what_came_before_the_pair, 0, 2);
  tcase_add_test(tcase, test_a_descriptor_that_was_watched_is_taken_over);
  tcase_add_loop_test(tcase, test_first_bytes_are_first, 0, 2);
  tcase_add_loop_test(tcase, test_a_reset_is_passed_on, 0, 16);
  tcase_add_test(tcase, test_cut);
  tcase_add_test(tcase, test_first_bytes_to_one_that_is_gone);
  tcase_add_test(tcase, test_first_bytes_of_one_that_is_gone);
  tcase_add_test(tcase, test_first_bytes_take_along_what_came);
  tcase_add_test(tcase, test_a_killed_process_is_a_reset);
  tcase_add_test(tcase, test_a_start_that_fails_leaves_all_as_it_was);
  tcase_add_test(tcase, test_those_that_do_not_read);
  tcase_add_test(tcase, test_without_descriptors_it_is_copied);
  tcase_add_test(tcase, test_small_messages_take_no_pipe);
  tcase_add_test(tcase, test_quiet_pairs_are_small);
  tcase_add_test(tcase, test_a_turn_is_bounded);
  suite_add_tcase(suite, tcase);
  return suite;
}
