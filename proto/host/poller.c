/* A turn is: wait, what is ready, errands, deadlines, and those that asked to go on. Those are moved to a ring of their
 * own first: what asks meanwhile has to wait for the next turn, so no watch can keep the others from theirs.
 *
 * A batch of events outlives what its first ones do. A watch that is removed is struck out of the rest of the batch.
 */
#include "poller.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "errand.h"

enum { BATCH_MAX = 64 };

struct poller {
  int epoll, wake;
  struct epoll_event batch[BATCH_MAX];
  int batch_at, batch_count;
  struct poller_watch waker;
  struct poller_watch again, going_on; /* heads of rings; those of this turn are in the second one */
  struct poller_delay *delays;
  atomic_bool stopped;
  pthread_mutex_t lock; /* of the errands */
  struct errands errands;
  bool errands_here; /* this thread has posted some, which nothing else wakes it for */
};

static uint64_t now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- Errands ---- */

static void wake(struct poller *p)
{
  /* It fails when the counter is full, and then the poller wakes anyway. */
  (void)!write(p->wake, &(uint64_t){1}, sizeof(uint64_t));
}

void poller_post(struct poller *p, struct errand *e)
{
  pthread_mutex_lock(&p->lock);
  bool is_first = p->errands.first == NULL;
  errands_add(&p->errands, e);
  if (is_first)
    wake(p); /* under the lock: the poller may be closed once the errand has run */
  pthread_mutex_unlock(&p->lock);
}

void poller_post_here(struct poller *p, struct errand *e)
{
  pthread_mutex_lock(&p->lock);
  errands_add(&p->errands, e);
  pthread_mutex_unlock(&p->lock);
  p->errands_here = true;
}

void poller_stop(struct poller *p)
{
  atomic_store(&p->stopped, true);
  wake(p);
}

static void run_errands(struct poller *p)
{
  p->errands_here = false;
  pthread_mutex_lock(&p->lock);
  struct errand *first = errands_take(&p->errands);
  pthread_mutex_unlock(&p->lock);
  errands_run(first);
}

/* ---- Rings: what is in one can be taken out without its head ---- */

static void ring_append(struct poller_watch *head, struct poller_watch *w)
{
  w->again_prev = head->again_prev;
  w->again_next = head;
  w->again_prev->again_next = w;
  head->again_prev = w;
}

static void ring_take_out(struct poller_watch *w)
{
  if (w->again_prev == NULL)
    return;
  w->again_prev->again_next = w->again_next;
  w->again_next->again_prev = w->again_prev;
  w->again_prev = w->again_next = NULL;
}

static void ring_empty(struct poller_watch *head)
{
  head->again_prev = head->again_next = head;
}

/* ---- Descriptors ---- */

static int control(struct poller *p, int operation, int fd, uint32_t events, struct poller_watch *w)
{
  struct epoll_event e = {.events = events, .data.ptr = w};
  return epoll_ctl(p->epoll, operation, fd, &e) == 0 ? 0 : -errno;
}

static void strike_out(struct poller *p, const struct poller_watch *w)
{
  for (int i = p->batch_at; i < p->batch_count; i++)
    if (p->batch[i].data.ptr == w)
      p->batch[i].events = 0;
}

int poller_add(struct poller *p, int fd, uint32_t events, struct poller_watch *w)
{
  return control(p, EPOLL_CTL_ADD, fd, events, w);
}

int poller_change(struct poller *p, int fd, uint32_t events, struct poller_watch *w)
{
  return control(p, EPOLL_CTL_MOD, fd, events, w);
}

int poller_hand_over(struct poller *p, int fd, uint32_t events, struct poller_watch *from, struct poller_watch *to)
{
  int error = control(p, EPOLL_CTL_MOD, fd, events, to);
  if (error == 0)
    poller_remove(p, -1, from);
  return error;
}

void poller_remove(struct poller *p, int fd, struct poller_watch *w)
{
  if (fd >= 0)
    control(p, EPOLL_CTL_DEL, fd, 0, w);
  ring_take_out(w);
  strike_out(p, w);
}

void poller_again(struct poller *p, struct poller_watch *w)
{
  if (w->again_prev == NULL)
    ring_append(&p->again, w);
}

static void serve_batch(struct poller *p)
{
  while (p->batch_at < p->batch_count) {
    struct epoll_event e = p->batch[p->batch_at++];
    struct poller_watch *w = e.data.ptr;
    if (e.events == 0)
      continue;
    ring_take_out(w);
    w->ready(w, e.events);
  }
}

static void serve_again(struct poller *p)
{
  if (p->again.again_next == &p->again)
    return;
  struct poller_watch *w;
  ring_append(&p->again, &p->going_on); /* one ring with two heads: the old one leaves it */
  ring_take_out(&p->again);
  ring_empty(&p->again);
  while ((w = p->going_on.again_next) != &p->going_on) {
    ring_take_out(w);
    w->ready(w, 0);
  }
}

/* Errands run after this: one that comes in between runs, too, and wakes the next turn for nothing. */
static void woken(struct poller_watch *w, uint32_t events)
{
  (void)events;
  struct poller *p = (struct poller *)((char *)w - offsetof(struct poller, waker));
  uint64_t count;
  (void)!read(p->wake, &count, sizeof count);
}

/* ---- Deadlines ---- */

void poller_delay_add(struct poller *p, struct poller_delay *d)
{
  DL_APPEND(p->delays, d);
}

void poller_delay_remove(struct poller *p, struct poller_delay *d)
{
  while (d->waiting != NULL)
    poller_deadline_clear(d, d->waiting);
  DL_DELETE(p->delays, d);
}

void poller_deadline_set(struct poller_delay *d, struct poller_deadline *one)
{
  poller_deadline_clear(d, one);
  one->at = now_ms() + d->ms;
  DL_APPEND(d->waiting, one);
}

void poller_deadline_clear(struct poller_delay *d, struct poller_deadline *one)
{
  if (one->prev == NULL)
    return;
  DL_DELETE(d->waiting, one);
  one->prev = one->next = NULL;
}

static void serve_deadlines(struct poller *p)
{
  uint64_t now = 0;
  for (struct poller_delay *d = p->delays, *next; d != NULL; d = next) {
    next = d->next;
    if (d->waiting == NULL)
      continue;
    if (now == 0)
      now = now_ms();
    while (d->waiting != NULL && d->waiting->at <= now) {
      struct poller_deadline *one = d->waiting;
      poller_deadline_clear(d, one);
      d->due(one);
    }
  }
}

/* ---- Turns ---- */

static int time_to_wait(const struct poller *p, int wait_ms)
{
  if (p->again.again_next != &p->again || p->errands_here)
    return 0;
  uint64_t now = 0;
  const struct poller_delay *d;
  DL_FOREACH(p->delays, d)
  {
    if (d->waiting == NULL)
      continue;
    if (now == 0)
      now = now_ms();
    uint64_t left = d->waiting->at > now ? d->waiting->at - now : 0;
    if (wait_ms < 0 || left < (unsigned)wait_ms)
      wait_ms = (int)left;
  }
  return wait_ms;
}

void poller_wait(struct poller *p, int wait_ms)
{
  int n = epoll_wait(p->epoll, p->batch, BATCH_MAX, time_to_wait(p, wait_ms));
  p->batch_at = 0;
  p->batch_count = n > 0 ? n : 0; /* a signal is no event */
}

void poller_serve(struct poller *p)
{
  serve_batch(p);
  run_errands(p);
  serve_deadlines(p);
  serve_again(p);
}

void poller_turn(struct poller *p, int wait_ms)
{
  poller_wait(p, wait_ms);
  poller_serve(p);
}

int poller_fd(const struct poller *p)
{
  return p->epoll;
}

int poller_wait_ms(const struct poller *p)
{
  return time_to_wait(p, -1);
}

void poller_run(struct poller *p)
{
  while (!atomic_load(&p->stopped))
    poller_turn(p, -1);
}

int poller_open(struct poller **out)
{
  struct poller *p = calloc(1, sizeof *p);
  if (p == NULL)
    return -ENOMEM;
  errands_start(&p->errands);
  ring_empty(&p->again);
  p->waker.ready = woken;
  p->epoll = epoll_create1(EPOLL_CLOEXEC);
  p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int error = p->epoll < 0 || p->wake < 0 ? -errno : poller_add(p, p->wake, EPOLLIN, &p->waker);
  if (error != 0) {
    if (p->wake >= 0)
      close(p->wake);
    if (p->epoll >= 0)
      close(p->epoll);
    free(p);
    return error;
  }
  pthread_mutex_init(&p->lock, NULL);
  *out = p;
  return 0;
}

void poller_close(struct poller *p)
{
  while (p->errands.first != NULL)
    run_errands(p);
  close(p->epoll);
  close(p->wake);
  pthread_mutex_destroy(&p->lock);
  free(p);
}
