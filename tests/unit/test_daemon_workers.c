/* Work that hangs until the test lets it go, beside work that does not. */
#include <check.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "carry/net/workers.h"

#include "runner.h"

enum { MOST = 3 };

struct piece {
  struct work work;
  sem_t begun, go;
  atomic_int lost;
  int done, error;
};

static uv_loop_t loop;
static struct workers *workers;
static int closed;

static void setup(void)
{
  ck_assert_int_eq(uv_loop_init(&loop), 0);
  ck_assert_int_eq(workers_open(&workers, &loop, MOST), 0);
}

static void on_closed(void *arg)
{
  (void)arg;
  closed++;
}

static void teardown(void)
{
  if (workers != NULL)
    workers_close(workers, on_closed, NULL);
  workers = NULL;
  ck_assert_int_eq(closed, 0);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(closed, 1);
  ck_assert_int_eq(uv_loop_close(&loop), 0);
}

static void run_piece(struct work *w)
{
  struct piece *p = (struct piece *)w;

  sem_post(&p->begun);
  sem_wait(&p->go);
}

static void piece_done(struct work *w, int error)
{
  struct piece *p = (struct piece *)w;

  p->done++;
  p->error = error;
}

static void piece_lost(struct work *w)
{
  ((struct piece *)w)->lost++;
}

/* `hangs`: until its semaphore `go` is posted. */
static void start(struct piece *p, const char *key, bool hangs)
{
  p->work = (struct work){.run = run_piece, .done = piece_done, .lost = piece_lost, .key = key};
  p->lost = p->done = p->error = 0;
  sem_init(&p->begun, 0, 0);
  sem_init(&p->go, 0, hangs ? 0 : 1);
  ck_assert_int_eq(workers_start(workers, &p->work), 0);
}

static void wait_done(const struct piece *p)
{
  while (p->done == 0)
    ck_assert(uv_run(&loop, UV_RUN_ONCE) != 0 || p->done > 0);
  ck_assert_int_eq(p->error, 0);
}

/* What hangs keeps one thread, however often it is wanted. */
START_TEST(test_one_key_keeps_one_thread)
{
  struct piece hung[8], other[4];

  for (int i = 0; i < 8; i++)
    start(&hung[i], "hung", true);
  sem_wait(&hung[0].begun);
  for (int i = 0; i < 4; i++)
    start(&other[i], i % 2 != 0 ? "other" : NULL, false);
  for (int i = 0; i < 4; i++)
    wait_done(&other[i]);
  for (int i = 1; i < 8; i++)
    ck_assert_int_ne(sem_trywait(&hung[i].begun), 0);
  for (int i = 0; i < 8; i++)
    sem_post(&hung[i].go);
  for (int i = 0; i < 8; i++)
    wait_done(&hung[i]);
}
END_TEST

/* Each of different ones that hang has a thread, up to the bound; the next waits for its turn. */
START_TEST(test_bound)
{
  struct piece pieces[MOST + 1];
  const char *const keys[] = {"a", "b", "c", "d"};

  for (int i = 0; i < MOST + 1; i++)
    start(&pieces[i], keys[i], true);
  for (int i = 0; i < MOST; i++)
    sem_wait(&pieces[i].begun);
  ck_assert_int_ne(sem_trywait(&pieces[MOST].begun), 0);
  sem_post(&pieces[1].go);
  sem_wait(&pieces[MOST].begun);
  for (int i = 0; i < MOST + 1; i++)
    sem_post(&pieces[i].go);
  for (int i = 0; i < MOST + 1; i++)
    wait_done(&pieces[i]);
}
END_TEST

/* A thread that is idle takes one piece: the next one, which comes before it has woken up, must have another. */
START_TEST(test_idle_thread_is_not_counted_twice)
{
  struct piece first, second, third;

  for (int i = 0; i < 50; i++) {
    start(&first, NULL, false);
    wait_done(&first);
    start(&second, NULL, true);
    start(&third, NULL, false);
    wait_done(&third);
    sem_post(&second.go);
    wait_done(&second);
  }
}
END_TEST

START_TEST(test_forget)
{
  struct piece running, waiting, finished;

  start(&running, "a", true);
  start(&waiting, "a", false);
  start(&finished, "b", false);
  sem_wait(&running.begun);
  sem_wait(&finished.begun);
  workers_forget(&waiting.work);
  ck_assert_int_eq(waiting.lost, 1);
  workers_forget(&running.work);
  ck_assert_int_eq(running.lost, 0);
  workers_forget(&finished.work);
  /* Nobody waits for anything any more. */
  ck_assert_int_eq(uv_run(&loop, UV_RUN_DEFAULT), 0);
  sem_post(&running.go);
  while (running.lost + finished.lost < 2)
    sched_yield();
  ck_assert_int_eq(running.done + waiting.done + finished.done, 0);
}
END_TEST

/* The end waits for what runs, not for what waits, and least of all for what is forgotten. */
START_TEST(test_close)
{
  struct piece running, forgotten, waiting;

  start(&running, "a", true);
  start(&forgotten, "b", true);
  start(&waiting, "a", false);
  sem_wait(&running.begun);
  sem_wait(&forgotten.begun);
  workers_forget(&forgotten.work);
  workers_close(workers, on_closed, NULL);
  workers = NULL;
  while (waiting.done == 0)
    uv_run(&loop, UV_RUN_ONCE);
  ck_assert_int_eq(waiting.error, -ECANCELED);
  ck_assert_int_eq(closed, 0);
  sem_post(&running.go);
  wait_done(&running);
  uv_run(&loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(closed, 1);
  closed = 0;
  ck_assert_int_eq(uv_loop_close(&loop), 0);
  sem_post(&forgotten.go);
  while (forgotten.lost == 0)
    sched_yield();
  setup();
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("workers");
  TCase *tcase = tcase_create("workers");

  suite_add_tcase(suite, tcase);
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_one_key_keeps_one_thread);
  tcase_add_test(tcase, test_bound);
  tcase_add_test(tcase, test_idle_thread_is_not_counted_twice);
  tcase_add_test(tcase, test_forget);
  tcase_add_test(tcase, test_close);
  return suite;
}
