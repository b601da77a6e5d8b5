/* A poller in a libuv loop: what is watched is told while the loop runs, and what asks to go on does. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "proto/host/errand.h"
#include "proto/host/nest.h"
#include "proto/host/poller.h"

#include "runner.h"

enum { BOUND_MS = 20000 };

struct watched {
  struct poller_watch watch;
  struct poller *poller;
  int fd, far;
  unsigned told, again, wants_again;
};

static void ready(struct poller_watch *w, uint32_t events)
{
  struct watched *x = (struct watched *)w;
  char byte;
  if (events == 0)
    x->again++;
  else if (read(x->fd, &byte, 1) == 1)
    x->told++;
  if (x->again < x->wants_again)
    poller_again(x->poller, w);
}

static void late(uv_timer_t *timer)
{
  (void)timer;
  ck_abort_msg("it takes too long");
}

static void closed(void *arg)
{
  *(bool *)arg = true;
}

static void nothing(uv_handle_t *handle)
{
  (void)handle;
}

START_TEST(sockets_and_turns)
{
  uv_loop_t loop;
  uv_timer_t bound;
  struct nest *nest;
  uv_loop_init(&loop);
  uv_timer_init(&loop, &bound);
  uv_timer_start(&bound, late, BOUND_MS, 0);
  ck_assert_int_eq(nest_open(&nest, &loop), 0);
  struct watched x = {.watch.ready = ready, .poller = nest_poller(nest), .wants_again = 3};
  int fds[2];
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  x.fd = fds[0];
  x.far = fds[1];
  ck_assert_int_eq(poller_add(x.poller, x.fd, EPOLLIN | EPOLLET, &x.watch), 0);
  for (unsigned i = 1; i <= 2; i++) {
    ck_assert_int_eq(write(x.far, "x", 1), 1);
    while (x.told < i || x.again < x.wants_again)
      uv_run(&loop, UV_RUN_ONCE);
  }
  ck_assert_uint_eq(x.told, 2);
  ck_assert_uint_eq(x.again, 3);
  poller_remove(x.poller, x.fd, &x.watch);
  close(x.fd);
  close(x.far);
  bool over = false;
  nest_close(nest, closed, &over);
  while (!over)
    uv_run(&loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&bound, nothing);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

static struct poller_delay delay = {.ms = 20};
static unsigned due_count;

static void due(struct poller_deadline *d)
{
  if (++due_count < 3)
    poller_deadline_set(&delay, d);
}

START_TEST(deadlines)
{
  uv_loop_t loop;
  struct nest *nest;
  struct poller_deadline one = {0};
  uv_loop_init(&loop);
  ck_assert_int_eq(nest_open(&nest, &loop), 0);
  delay.due = due;
  poller_delay_add(nest_poller(nest), &delay);
  poller_deadline_set(&delay, &one);
  while (due_count < 3)
    uv_run(&loop, UV_RUN_ONCE);
  poller_delay_remove(nest_poller(nest), &delay);
  bool over = false;
  nest_close(nest, closed, &over);
  while (!over)
    uv_run(&loop, UV_RUN_ONCE);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

/* ---- The loop in the poller ---- */

/* The last timer begins after a wait that is longer than it, in which the loop's time stands still. */
enum { LAST_MS = 40, WAIT_MS = 80 };

/* A timer of libuv's writes, what is watched begins to watch another socket by libuv, that sends an errand from another
 * thread, a deadline follows, and then the nest is closed: with a timer left, which is for uv_run. */
static struct {
  uv_loop_t loop;
  uv_timer_t first, last;
  uv_poll_t poll;
  uv_thread_t thread;
  struct nest *nest;
  struct watched watched;
  struct errand errand;
  struct poller_delay delay;
  struct poller_deadline deadline;
  int fds[2];
  bool rang, over, last_rang;
  uint64_t last_began; /* ns */
} turned;

static void last_time(uv_timer_t *timer)
{
  ck_assert_uint_ge(uv_hrtime() - turned.last_began, (uint64_t)(LAST_MS - 1) * 1000000);
  turned.last_rang = true;
  uv_close((uv_handle_t *)timer, nothing);
}

static void deadline_came(struct poller_deadline *d)
{
  (void)d;
  poller_delay_remove(turned.watched.poller, &turned.delay);
  poller_remove(turned.watched.poller, turned.watched.fd, &turned.watched.watch);
  turned.last_began = uv_hrtime();
  uv_timer_start(&turned.last, last_time, LAST_MS, 0);
  nest_close(turned.nest, closed, &turned.over);
}

static void delay_starts(struct poller_delay *d)
{
  *d = (struct poller_delay){.ms = WAIT_MS, .due = deadline_came};
}

static void errand_came(struct errand *e)
{
  (void)e;
  uv_thread_join(&turned.thread);
  poller_deadline_set(&turned.delay, &turned.deadline);
}

static void send_errand(void *arg)
{
  turned.errand.run = errand_came;
  poller_post(arg, &turned.errand);
}

static void uv_ready(uv_poll_t *poll, int status, int events)
{
  char byte;
  ck_assert_int_eq(status, 0);
  ck_assert_int_eq(events, UV_READABLE);
  ck_assert_int_eq(read(turned.fds[0], &byte, 1), 1);
  uv_close((uv_handle_t *)poll, nothing);
  uv_thread_create(&turned.thread, send_errand, turned.watched.poller);
}

static void watch_by_uv(struct poller_watch *w, uint32_t events)
{
  ready(w, events);
  if (turned.watched.told != 1 || events == 0)
    return;
  uv_poll_init(&turned.loop, &turned.poll, turned.fds[0]);
  uv_poll_start(&turned.poll, UV_READABLE, uv_ready);
  ck_assert_int_eq(write(turned.fds[1], "x", 1), 1);
}

static void first_time(uv_timer_t *timer)
{
  turned.rang = true;
  ck_assert_int_eq(write(turned.watched.far, "x", 1), 1);
  uv_close((uv_handle_t *)timer, nothing);
}

START_TEST(the_loop_in_the_poller)
{
  int fds[2];
  memset(&turned, 0, sizeof turned);
  uv_loop_init(&turned.loop);
  uv_timer_init(&turned.loop, &turned.first);
  uv_timer_init(&turned.loop, &turned.last);
  ck_assert_int_eq(nest_open(&turned.nest, &turned.loop), 0);
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, turned.fds), 0);
  turned.watched = (struct watched){
      .watch.ready = watch_by_uv, .poller = nest_poller(turned.nest), .fd = fds[0], .far = fds[1], .wants_again = 2};
  ck_assert_int_eq(poller_add(turned.watched.poller, fds[0], EPOLLIN | EPOLLET, &turned.watched.watch), 0);
  delay_starts(&turned.delay);
  poller_delay_add(turned.watched.poller, &turned.delay);
  uv_timer_start(&turned.first, first_time, 5, 0);
  nest_run(turned.nest);
  ck_assert(turned.rang && turned.over);
  ck_assert_uint_eq(turned.watched.told, 1);
  ck_assert_uint_eq(turned.watched.again, 2);
  uv_run(&turned.loop, UV_RUN_DEFAULT);
  ck_assert(turned.last_rang);
  for (int i = 0; i < 2; i++) {
    close(fds[i]);
    close(turned.fds[i]);
  }
  ck_assert_int_eq(uv_loop_close(&turned.loop), 0);
}
END_TEST

static void watched_once(struct poller_watch *w, uint32_t events)
{
  ready(w, events);
  poller_remove(((struct watched *)w)->poller, ((struct watched *)w)->fd, w);
}

/* There is nothing to run in. */
START_TEST(a_nest_that_is_being_closed)
{
  uv_loop_t loop;
  uv_loop_init(&loop);
  struct nest *nest;
  bool over = false;
  int fds[2];
  ck_assert_int_eq(nest_open(&nest, &loop), 0);
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  struct watched x = {.watch.ready = watched_once, .poller = nest_poller(nest), .fd = fds[0], .far = fds[1]};
  ck_assert_int_eq(poller_add(x.poller, fds[0], EPOLLIN | EPOLLET, &x.watch), 0);
  ck_assert_int_eq(write(fds[1], "x", 1), 1);
  while (x.told == 0)
    uv_run(&loop, UV_RUN_ONCE);
  nest_close(nest, closed, &over);
  nest_run(nest);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert(over);
  close(fds[0]);
  close(fds[1]);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("nest");
  TCase *tcase = tcase_create("nest");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, sockets_and_turns);
  tcase_add_test(tcase, deadlines);
  tcase_add_test(tcase, the_loop_in_the_poller);
  tcase_add_test(tcase, a_nest_that_is_being_closed);
  return suite;
}
