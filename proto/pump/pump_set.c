/* What all pumps of a loop share: the epoll set of their sockets, nested in the loop (one-shot, armed only after a
 * socket had nothing more to give or to take), and the clocks: one for acks, which runs while one waits; one that lets
 * windows shrink, and slabs go, while there is a pump; and one that strikes once after a crowd of streams.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>
#include <uv.h>

#include "pump_internal.h"

enum {
  EVENTS_MAX = 8,
  ALL_CHANGES = EPOLLIN | EPOLLOUT | (int)EPOLLET,
  TURN_US = 500, /* after which the rest of the loop gets its turn; what is left stays in the set */
  REST_MS = 1000,
};

struct pump_watch {
  uv_poll_t poll;
  uv_timer_t ack_clock, rest_clock, crowd_clock;
  int open_handles;
  struct pump_set *set;
};

static bool watch(struct pump *p, int operation, int fd, uint32_t events)
{
  struct epoll_event e = {.events = events, .data.ptr = p};
  return epoll_ctl(p->set->epoll, operation, fd, &e) == 0;
}

int pump_watch(struct pump *p, int fd)
{
  p->is_unix = p->up.holds = pump_unix_is(fd);
  return watch(p, EPOLL_CTL_ADD, fd, p->is_unix ? ALL_CHANGES : EPOLLONESHOT) ? 0 : -errno;
}

/* Whatever is true already is told again. */
static void look_again(struct pump *p)
{
  p->missed = 0;
  watch(p, EPOLL_CTL_MOD, p->fd, ALL_CHANGES);
}

void pump_arm(struct pump *p, uint32_t events)
{
  pthread_mutex_lock(&p->arm_lock);
  if (p->is_unix) {
    p->armed |= events;
    if (p->missed & events)
      look_again(p);
  } else if (!p->enabled || (events & ~p->armed) != 0) {
    p->armed |= events;
    p->enabled = watch(p, EPOLL_CTL_MOD, p->fd, p->armed | EPOLLONESHOT);
  }
  pthread_mutex_unlock(&p->arm_lock);
}

void pump_arm_again(struct pump *p, uint32_t events)
{
  pthread_mutex_lock(&p->arm_lock);
  if (p->is_unix)
    p->missed |= events;
  pthread_mutex_unlock(&p->arm_lock);
  pump_arm(p, events);
}

/* What was armed and has come true is taken out; the rest is armed again. A failure makes everything come true. */
static uint32_t disarm(struct pump *p, uint32_t events)
{
  pthread_mutex_lock(&p->arm_lock);
  uint32_t got = events & (EPOLLERR | EPOLLHUP) ? p->armed : p->armed & events;
  p->armed &= ~got;
  p->missed |= events & ~got;
  p->enabled = false;
  uint32_t rest = p->is_unix ? 0 : p->armed;
  pthread_mutex_unlock(&p->arm_lock);
  if (rest != 0)
    pump_arm(p, rest);
  return got;
}

/* A socket tells its error once: under the lock, so that who reads the end after it does not tell that first. */
static void tell_failure(struct pump *p)
{
  int error = 0;
  socklen_t size = sizeof error;
  pthread_mutex_lock(&p->up.lock);
  if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0)
    pump_tell_socket_failed(p, error);
  pthread_mutex_unlock(&p->up.lock);
}

static void serve(struct pump *p, uint32_t events)
{
  if (p->fd < 0)
    return;
  uint32_t got = disarm(p, events);
  if (got & EPOLLOUT) {
    pthread_mutex_lock(&p->down.lock);
    pump_down_run(p);
    pump_arm(p, 0); /* a failure is to be told also when nothing is left to write */
    pthread_mutex_unlock(&p->down.lock);
    pump_ack_go(p);
  }
  if (got & EPOLLIN)
    pump_up_go(p);
  else if (events & EPOLLERR)
    tell_failure(p);
}

static void readable(uv_poll_t *poll, int status, int ready)
{
  (void)status;
  (void)ready;
  struct pump_set *set = ((struct pump_watch *)poll->data)->set;
  struct epoll_event events[EVENTS_MAX];
  uint64_t until = pump_now_us() + TURN_US;
  int n;
  do {
    n = epoll_wait(set->epoll, events, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++)
      serve(events[i].data.ptr, events[i].events);
  } while (n == EVENTS_MAX && pump_now_us() < until);
}

/* ---- The clocks ---- */

static void ack_time(uv_timer_t *timer)
{
  struct pump_set *set = ((struct pump_watch *)timer->data)->set;
  if (pump_ack_clock(set))
    uv_timer_start(timer, ack_time, ACKS_DELAY_US / 1000, 0);
}

static void clock_on_loop(struct errand *e)
{
  struct pump_set *set = (struct pump_set *)((char *)e - offsetof(struct pump_set, start_clock));
  uv_timer_start(&set->watch->ack_clock, ack_time, ACKS_DELAY_US / 1000, 0);
}

void pump_set_start_clock(struct pump_set *set)
{
  home_send(set->home, &set->start_clock);
}

static void look_after(struct pump *p)
{
  uint64_t written = atomic_load_explicit(&p->bytes_written, memory_order_relaxed);
  if (p->fd < 0 || p->is_unix || written == p->confirmed)
    return;
  if (pump_socket_has_all(p->fd))
    p->confirmed = written;
  else if (pump_socket_is_abandoned(p->fd, p->set->limits.keepalive_s))
    pump_tell_socket_failed(p, ETIMEDOUT);
}

static void rest_time(uv_timer_t *timer)
{
  struct pump_set *set = ((struct pump_watch *)timer->data)->set;
  struct pump *p;
  DL_FOREACH(set->pumps, p)
  {
    look_after(p);
    if (pump_up_rest(p) || pump_ack_due(p))
      pump_up_go(p);
  }
  if (set->pumps == NULL)
    uv_timer_stop(timer);
}

/* ---- Who is in it ---- */

static void handle_closed(uv_handle_t *handle)
{
  struct pump_watch *watch = handle->data;
  if (--watch->open_handles > 0)
    return;
  struct pump_set *set = watch->set;
  close(set->epoll);
  pthread_mutex_destroy(&set->clock_lock);
  slab_carver_close(&set->loop_carver);
  slab_carver_close(&set->other_carver);
  slab_pool_release(set->loop_carver.pool);
  void (*closed)(void *arg) = set->closed;
  void *arg = set->closed_arg;
  free(watch);
  free(set);
  closed(arg);
}

static void close_if_drained(struct pump_set *set)
{
  struct pump_watch *watch = set->watch;
  if (set->closed == NULL || set->pumps != NULL || set->streams != NULL)
    return;
  uv_close((uv_handle_t *)&watch->ack_clock, handle_closed);
  uv_close((uv_handle_t *)&watch->rest_clock, handle_closed);
  uv_close((uv_handle_t *)&watch->crowd_clock, handle_closed);
  uv_close((uv_handle_t *)&watch->poll, handle_closed);
}

void pump_set_add(struct pump_set *set, struct pump *p)
{
  set->pump_count++;
  DL_APPEND(set->pumps, p);
  if (!uv_is_active((uv_handle_t *)&set->watch->rest_clock))
    uv_timer_start(&set->watch->rest_clock, rest_time, REST_MS, REST_MS);
}

void pump_set_remove(struct pump_set *set, struct pump *p)
{
  DL_DELETE(set->pumps, p);
  set->pump_count--;
  close_if_drained(set);
}

static void crowd_time(uv_timer_t *timer)
{
  (void)timer;
  heap_give_back();
}

static void count_streams(struct pump_set *set)
{
  if (heap_crowd_is(&set->crowd, set->stream_count))
    uv_timer_start(&set->watch->crowd_clock, crowd_time, HEAP_LATER_MS, 0);
}

void pump_set_add_stream(struct pump_set *set, struct pump_stream *s)
{
  DL_APPEND(set->streams, s);
  set->stream_count++;
  count_streams(set);
}

void pump_set_remove_stream(struct pump_set *set, struct pump_stream *s)
{
  DL_DELETE(set->streams, s);
  set->stream_count--;
  count_streams(set);
  close_if_drained(set);
}

uint64_t pump_set_windows(const struct pump_set *set)
{
  return atomic_load_explicit(&set->windows, memory_order_relaxed);
}

uint64_t pump_set_queued(const struct pump_set *set)
{
  return atomic_load_explicit(&set->queued, memory_order_relaxed);
}

/* ---- Opening and closing ---- */

int pump_set_open(struct pump_set **out, struct home *home, struct uv_loop_s *loop, const struct pump_limits *limits)
{
  struct pump_set *set = calloc(1, sizeof *set);
  struct pump_watch *watch = calloc(1, sizeof *watch);
  struct slab_pool *pool = slab_pool_create();
  int error = -ENOMEM;
  if (set == NULL || watch == NULL || pool == NULL)
    goto fail;
  set->home = home;
  set->start_clock.run = clock_on_loop;
  set->watch = watch;
  set->limits = *limits;
  pthread_mutex_init(&set->clock_lock, NULL);
  set->loop_thread = pthread_self();
  set->loop_carver.pool = set->other_carver.pool = pool;
  set->epoll = epoll_create1(EPOLL_CLOEXEC);
  if (set->epoll < 0) {
    error = -errno;
    goto fail;
  }
  watch->set = set;
  error = uv_poll_init(loop, &watch->poll, set->epoll);
  if (error != 0)
    goto fail_epoll;
  watch->poll.data = watch;
  uv_timer_init(loop, &watch->ack_clock);
  watch->ack_clock.data = watch;
  uv_timer_init(loop, &watch->rest_clock);
  watch->rest_clock.data = watch;
  uv_timer_init(loop, &watch->crowd_clock);
  watch->crowd_clock.data = watch;
  watch->open_handles = 4;
  uv_poll_start(&watch->poll, UV_READABLE, readable);
  *out = set;
  return 0;

fail_epoll:
  close(set->epoll);
fail:
  if (pool != NULL)
    slab_pool_release(pool);
  free(watch);
  free(set);
  return error;
}

void pump_set_close(struct pump_set *set, void (*closed)(void *arg), void *arg)
{
  set->closed = closed;
  set->closed_arg = arg;
  close_if_drained(set);
}
