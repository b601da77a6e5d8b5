/* A thread's own epoll loop. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/host/errand.h"
#include "proto/host/poller.h"

#include "runner.h"

enum { THREADS = 4, ERRANDS = 500, BOUND_MS = 20000 };

static struct poller *poller;

/* One end of a pair of sockets that is watched, and what was told of it. */
struct watched {
  struct poller_watch watch;
  int fd, far;
  unsigned calls;
  uint32_t events;                      /* of the last call */
  void (*then)(struct watched *called); /* inside `ready` */
  struct watched *other;
};

static void ready(struct poller_watch *w, uint32_t events)
{
  struct watched *x = (struct watched *)w;
  x->calls++;
  x->events = events;
  if (x->then != NULL)
    x->then(x);
}

static struct watched *watch_pair(uint32_t events)
{
  struct watched *x = calloc(1, sizeof *x);
  ck_assert_ptr_nonnull(x);
  int fds[2];
  ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  x->fd = fds[0];
  x->far = fds[1];
  x->watch.ready = ready;
  ck_assert_int_eq(poller_add(poller, x->fd, events, &x->watch), 0);
  return x;
}

static void drop(struct watched *x)
{
  poller_remove(poller, x->fd, &x->watch);
  close(x->fd);
  close(x->far);
  free(x);
}

static void speak(const struct watched *x)
{
  ck_assert_int_eq(send(x->far, "x", 1, 0), 1);
}

static void setup(void)
{
  ck_assert_int_eq(poller_open(&poller), 0);
}

static void teardown(void)
{
  poller_close(poller);
}

START_TEST(test_an_edge_is_told_once)
{
  struct watched *x = watch_pair(EPOLLIN | EPOLLET);
  poller_turn(poller, 0);
  ck_assert_uint_eq(x->calls, 0);
  speak(x);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(x->calls, 1);
  ck_assert_uint_eq(x->events, EPOLLIN);
  poller_turn(poller, 0);
  ck_assert_uint_eq(x->calls, 1);
  speak(x);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(x->calls, 2);
  drop(x);
}
END_TEST

static void drop_the_other(struct watched *x)
{
  drop(x->other);
  x->other = NULL;
}

/* Both are in one batch. Whichever comes first takes the other one away, and its memory. */
START_TEST(test_a_removed_watch_hears_nothing_of_its_batch)
{
  struct watched *a = watch_pair(EPOLLIN), *b = watch_pair(EPOLLIN);
  int fd_of_a = a->fd, fd_of_b = b->fd;
  a->other = b;
  b->other = a;
  a->then = b->then = drop_the_other;
  speak(a);
  speak(b);
  poller_turn(poller, BOUND_MS);
  bool has_a = fcntl(fd_of_a, F_GETFD) >= 0, has_b = fcntl(fd_of_b, F_GETFD) >= 0;
  ck_assert(has_a != has_b);
  struct watched *left = has_a ? a : b;
  ck_assert_uint_eq(left->calls, 1);
  drop(left);
}
END_TEST

static void renew_the_other(struct watched *x)
{
  struct watched *other = x->other;
  other->other = NULL;
  other->then = NULL;
  poller_remove(poller, other->fd, &other->watch);
  ck_assert_int_eq(recv(other->fd, (char[1]){0}, 1, 0), 1);
  ck_assert_int_eq(poller_add(poller, other->fd, EPOLLIN, &other->watch), 0);
}

/* What the batch still has is of the watch that was there before, though the address is the same. */
START_TEST(test_a_new_watch_hears_nothing_of_an_old_batch)
{
  struct watched *a = watch_pair(EPOLLIN), *b = watch_pair(EPOLLIN);
  a->other = b;
  b->other = a;
  a->then = b->then = renew_the_other;
  speak(a);
  speak(b);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(a->calls + b->calls, 1);
  drop(a);
  drop(b);
}
END_TEST

static void go_on(struct watched *x)
{
  poller_again(poller, &x->watch);
  poller_again(poller, &x->watch); /* once is enough */
}

START_TEST(test_again_is_once_a_turn)
{
  struct watched *a = watch_pair(EPOLLIN | EPOLLET), *b = watch_pair(EPOLLIN | EPOLLET);
  a->then = b->then = go_on;
  poller_again(poller, &a->watch);
  poller_again(poller, &b->watch);
  for (unsigned turn = 1; turn <= 10; turn++) {
    poller_turn(poller, BOUND_MS); /* and does not wait */
    ck_assert_uint_eq(a->calls, turn);
    ck_assert_uint_eq(b->calls, turn);
    ck_assert_uint_eq(a->events, 0);
  }
  poller_remove(poller, a->fd, &a->watch);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(a->calls, 10);
  ck_assert_uint_eq(b->calls, 11);
  drop(a);
  drop(b);
}
END_TEST

START_TEST(test_events_take_the_place_of_again)
{
  struct watched *x = watch_pair(EPOLLIN | EPOLLET);
  poller_again(poller, &x->watch);
  speak(x);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(x->calls, 1);
  ck_assert_uint_eq(x->events, EPOLLIN);
  poller_turn(poller, 0);
  ck_assert_uint_eq(x->calls, 1);
  drop(x);
}
END_TEST

/* In the middle of the list that is served, the one behind is taken away. */
START_TEST(test_again_is_not_told_of_what_was_removed)
{
  struct watched *a = watch_pair(EPOLLIN), *b = watch_pair(EPOLLIN);
  a->then = drop_the_other;
  a->other = b;
  poller_again(poller, &a->watch);
  poller_again(poller, &b->watch);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(a->calls, 1);
  ck_assert_ptr_null(a->other);
  drop(a);
}
END_TEST

START_TEST(test_hand_over)
{
  struct watched *a = watch_pair(EPOLLIN | EPOLLET);
  struct watched to = {.watch = {.ready = ready}};
  speak(a);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(a->calls, 1);
  poller_again(poller, &a->watch);
  ck_assert_int_eq(poller_hand_over(poller, a->fd, EPOLLIN | EPOLLOUT | EPOLLET, &a->watch, &to.watch), 0);
  poller_turn(poller, BOUND_MS);
  ck_assert_uint_eq(a->calls, 1);
  ck_assert_uint_eq(to.calls, 1);
  ck_assert_uint_eq(to.events, EPOLLIN | EPOLLOUT);
  poller_remove(poller, a->fd, &to.watch);
  speak(a);
  poller_turn(poller, 0);
  ck_assert_uint_eq(to.calls, 1);

  ck_assert_int_eq(poller_hand_over(poller, a->fd, EPOLLIN, &a->watch, &to.watch), -ENOENT);
  drop(a);
}
END_TEST

START_TEST(test_a_closed_descriptor_is_forgotten)
{
  struct watched *x = watch_pair(EPOLLIN | EPOLLET);
  speak(x);
  poller_remove(poller, -1, &x->watch);
  close(x->fd);
  poller_turn(poller, 0);
  ck_assert_uint_eq(x->calls, 0);
  close(x->far);
  free(x);
}
END_TEST

/* ---- Errands ---- */

struct count {
  struct errand errand;
  int thread, number;
};

static int ran[THREADS], out_of_order, threads_done;

static void count(struct errand *e)
{
  struct count *c = (struct count *)e;
  out_of_order += c->number != ran[c->thread];
  ran[c->thread]++;
  if (ran[c->thread] == ERRANDS && ++threads_done == THREADS)
    poller_stop(poller);
  free(c);
}

static void *post_all(void *arg)
{
  for (int i = 0; i < ERRANDS; i++) {
    struct count *c = calloc(1, sizeof *c);
    if (c == NULL)
      abort();
    c->errand.run = count;
    c->thread = (int)(intptr_t)arg;
    c->number = i;
    poller_post(poller, &c->errand);
  }
  return NULL;
}

START_TEST(test_errands_of_many_threads)
{
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++)
    ck_assert_int_eq(pthread_create(&threads[i], NULL, post_all, (void *)(intptr_t)i), 0);
  poller_run(poller);
  for (int i = 0; i < THREADS; i++) {
    pthread_join(threads[i], NULL);
    ck_assert_int_eq(ran[i], ERRANDS);
  }
  ck_assert_int_eq(out_of_order, 0);
}
END_TEST

static void *run(void *arg)
{
  poller_run(arg);
  return NULL;
}

START_TEST(test_stop_from_another_thread)
{
  pthread_t thread;
  ck_assert_int_eq(pthread_create(&thread, NULL, run, poller), 0);
  poller_stop(poller);
  pthread_join(thread, NULL);
}
END_TEST

static int closing_ran;
static struct errand second;

static void run_second(struct errand *e)
{
  (void)e;
  closing_ran++;
}

static void run_first(struct errand *e)
{
  (void)e;
  closing_ran++;
  second.run = run_second;
  poller_post(poller, &second);
}

START_TEST(test_errands_that_are_left_run_at_the_end)
{
  struct errand first = {.run = run_first};
  poller_post(poller, &first);
  poller_close(poller);
  ck_assert_int_eq(closing_ran, 2);
  setup();
}
END_TEST

/* ---- Deadlines ---- */

static struct poller_deadline deadlines[4];
static char told[16];
static struct poller_delay soon, later;
static bool sets_again;

static void due(struct poller_deadline *d)
{
  size_t n = strlen(told);
  told[n] = (char)('a' + (d - deadlines));
  if (sets_again && n < 3)
    poller_deadline_set(&soon, d);
}

static void wait_for(size_t length)
{
  for (int i = 0; i < 100 && strlen(told) < length; i++)
    poller_turn(poller, BOUND_MS);
}

static void deadlines_setup(void)
{
  setup();
  soon = (struct poller_delay){.ms = 1, .due = due};
  later = (struct poller_delay){.ms = 60, .due = due};
  poller_delay_add(poller, &later);
  poller_delay_add(poller, &soon);
}

START_TEST(test_deadlines_in_order)
{
  poller_deadline_set(&later, &deadlines[0]);
  poller_deadline_set(&soon, &deadlines[1]);
  poller_deadline_set(&soon, &deadlines[2]);
  poller_deadline_set(&soon, &deadlines[3]);
  poller_deadline_set(&soon, &deadlines[1]); /* anew: now it is the last */
  poller_deadline_clear(&soon, &deadlines[3]);
  poller_deadline_clear(&soon, &deadlines[3]);
  wait_for(3);
  ck_assert_str_eq(told, "cba");
}
END_TEST

START_TEST(test_a_deadline_sets_itself_again)
{
  sets_again = true;
  poller_deadline_set(&soon, &deadlines[0]);
  wait_for(4);
  ck_assert_str_eq(told, "aaaa");
}
END_TEST

START_TEST(test_a_delay_goes_with_its_deadlines)
{
  poller_deadline_set(&later, &deadlines[0]);
  poller_delay_remove(poller, &later);
  ck_assert_ptr_null(deadlines[0].prev);
  poller_deadline_set(&soon, &deadlines[1]);
  wait_for(1);
  ck_assert_str_eq(told, "b");
}
END_TEST

/* ---- Errors ---- */

START_TEST(test_what_cannot_be_watched)
{
  struct poller_watch w = {.ready = ready};
  int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  ck_assert_int_ge(file, 0);
  ck_assert_int_eq(poller_add(poller, file, EPOLLIN, &w), -EPERM);
  close(file);
  ck_assert_int_eq(poller_add(poller, file, EPOLLIN, &w), -EBADF);
}
END_TEST

START_TEST(test_out_of_descriptors)
{
  int next = dup(0);
  ck_assert_int_ge(next, 0);
  close(next);
  struct rlimit before;
  getrlimit(RLIMIT_NOFILE, &before);
  for (int room = 0; room < 2; room++) {
    struct rlimit few = {.rlim_cur = (rlim_t)(next + room), .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    struct poller *p;
    int error = poller_open(&p);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(error, -EMFILE);
    int fd = dup(0);
    ck_assert_int_eq(fd, next); /* nothing was left open */
    close(fd);
  }
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("poller");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_an_edge_is_told_once);
  tcase_add_test(tcase, test_a_removed_watch_hears_nothing_of_its_batch);
  tcase_add_test(tcase, test_a_new_watch_hears_nothing_of_an_old_batch);
  tcase_add_test(tcase, test_again_is_once_a_turn);
  tcase_add_test(tcase, test_events_take_the_place_of_again);
  tcase_add_test(tcase, test_again_is_not_told_of_what_was_removed);
  tcase_add_test(tcase, test_hand_over);
  tcase_add_test(tcase, test_a_closed_descriptor_is_forgotten);
  tcase_add_test(tcase, test_errands_of_many_threads);
  tcase_add_test(tcase, test_stop_from_another_thread);
  tcase_add_test(tcase, test_errands_that_are_left_run_at_the_end);
  tcase_add_test(tcase, test_what_cannot_be_watched);
  tcase_add_test(tcase, test_out_of_descriptors);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("deadlines");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, deadlines_setup, teardown);
  tcase_add_test(tcase, test_deadlines_in_order);
  tcase_add_test(tcase, test_a_deadline_sets_itself_again);
  tcase_add_test(tcase, test_a_delay_goes_with_its_deadlines);
  suite_add_tcase(suite, tcase);
  return suite;
}
