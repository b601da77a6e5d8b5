/* What belongs to the home thread of a queue is used by another thread, under the home lock. Here the queue sleeps for
 * as long as nothing wakes it. */
#include <check.h>
#include <pthread.h>
#include <time.h>

#include "proto/rpc/rpc.h"
#include "proto/rpc/rpc_nudge.h"
#include "runner.h"

enum { PATIENCE_S = 20, HOUR_MS = 3600000, ROUNDS = 2000 };

/* Takes the place of the one that would wake it each second. */
rpc_nudge_cb rpc_nudge_find(void)
{
  return NULL;
}

struct world {
  struct rpc_queue *queue;
  pthread_t thread;
  unsigned ran; /* the home thread's */
  pthread_mutex_t lock;
  pthread_cond_t told;
  unsigned seen;
};

static struct world world;

static void *run(void *arg)
{
  rpc_queue_run(arg);
  return NULL;
}

static void world_open(void)
{
  world = (struct world){.ran = 0};
  pthread_mutex_init(&world.lock, NULL);
  pthread_cond_init(&world.told, NULL);
  ck_assert_int_eq(rpc_queue_create(&world.queue), 0);
  ck_assert_int_eq(pthread_create(&world.thread, NULL, run, world.queue), 0);
}

static void stop(void *arg)
{
  rpc_queue_stop(arg, NULL, NULL);
}

static void world_close(void)
{
  ck_assert_int_eq(rpc_queue_post(world.queue, stop, world.queue), 0);
  pthread_join(world.thread, NULL);
  rpc_queue_free(world.queue);
  pthread_cond_destroy(&world.told);
  pthread_mutex_destroy(&world.lock);
}

static void on_time(void *arg)
{
  struct world *w = arg;
  w->ran++;
  pthread_mutex_lock(&w->lock);
  w->seen = w->ran;
  pthread_cond_broadcast(&w->told);
  pthread_mutex_unlock(&w->lock);
}

static void until_seen(unsigned goal)
{
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += PATIENCE_S;
  pthread_mutex_lock(&world.lock);
  while (world.seen < goal)
    ck_assert_int_eq(pthread_cond_timedwait(&world.told, &world.lock, &end), 0);
  pthread_mutex_unlock(&world.lock);
}

/* It sleeps for good, then for an hour, when an earlier timer comes. */
START_TEST(a_timer_wakes_the_queue)
{
  struct rpc_timer *long_one, *t;
  rpc_queue_lock(world.queue);
  ck_assert_int_eq(rpc_timer_start(&t, world.queue, 1, on_time, &world), 0);
  rpc_queue_unlock(world.queue);
  until_seen(1);
  rpc_queue_lock(world.queue);
  ck_assert_int_eq(rpc_timer_start(&long_one, world.queue, HOUR_MS, on_time, &world), 0);
  rpc_queue_unlock(world.queue);
  rpc_queue_lock(world.queue);
  ck_assert_int_eq(rpc_timer_start(&t, world.queue, 1, on_time, &world), 0);
  rpc_queue_unlock(world.queue);
  until_seen(2);
  rpc_queue_lock(world.queue);
  rpc_timer_cancel(long_one);
  rpc_queue_unlock(world.queue);
}
END_TEST

/* Timers, posts and what belongs to the home thread, from both at once. */
START_TEST(two_threads)
{
  unsigned posted = 0, begun = 0;
  for (unsigned i = 0; i < ROUNDS; i++) {
    struct rpc_timer *t;
    rpc_queue_lock(world.queue);
    ck_assert_int_eq(rpc_timer_start(&t, world.queue, i % 3, on_time, &world), 0);
    if (i % 4 == 0)
      rpc_timer_cancel(t);
    begun += i % 4 != 0;
    ck_assert_uint_le(world.ran, begun + posted);
    rpc_queue_unlock(world.queue);
    posted += rpc_queue_post(world.queue, on_time, &world) == 0;
  }
  ck_assert_uint_eq(posted, ROUNDS);
  until_seen(begun + posted);
}
END_TEST

static void give_up(void *arg)
{
  struct world *w = arg;
  rpc_queue_unlock(w->queue);
  until_seen(1);
  rpc_queue_lock(w->queue);
  w->ran++;
  on_time(w);
}

static void *other_thread(void *arg)
{
  struct world *w = arg;
  rpc_queue_lock(w->queue);
  on_time(w);
  rpc_queue_unlock(w->queue);
  return NULL;
}

/* A callback waits for what another thread does under the lock. */
START_TEST(a_callback_gives_it_up)
{
  pthread_t other;
  ck_assert_int_eq(rpc_queue_post(world.queue, give_up, &world), 0);
  ck_assert_int_eq(pthread_create(&other, NULL, other_thread, &world), 0);
  until_seen(3);
  pthread_join(other, NULL);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("lock");
  TCase *tcase = tcase_create("all");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, world_open, world_close);
  tcase_add_test(tcase, a_timer_wakes_the_queue);
  tcase_add_test(tcase, two_threads);
  tcase_add_test(tcase, a_callback_gives_it_up);
  suite_add_tcase(suite, tcase);
  return suite;
}
