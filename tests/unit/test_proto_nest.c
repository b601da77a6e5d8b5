/* A poller in a libuv loop: what is watched is told while the loop runs, and what asks to go on does. */
#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

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

Suite *test_suite(void)
{
  Suite *suite = suite_create("nest");
  TCase *tcase = tcase_create("nest");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, sockets_and_turns);
  tcase_add_test(tcase, deadlines);
  return suite;
}
