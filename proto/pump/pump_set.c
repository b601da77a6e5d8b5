/* What all pumps of a loop share: how their sockets' events reach them, and the clocks: one for acks, which runs while
 * one waits; one that lets windows shrink, and slabs go, while there is a pump; and one that strikes once after a crowd
 * of streams.
 *
 * A socket is told of by its edges: when it has something again after it had nothing, when it takes something again
 * after it was full. So nothing is asked of the kernel for a message but to receive and to send it. What is short is
 * taken for all that there was, unless something follows of which no edge tells any more: an end that came with the
 * bytes, or an urgent byte, at which a read stops.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <utlist.h>
#include <uv.h>

#include "pump_internal.h"

enum {
  CHANGES = EPOLLIN | EPOLLRDHUP | EPOLLPRI | (int)EPOLLET,
  REST_MS = 1000,
  PIPE_BYTES = 32 << 20,
  PIPES_IDLE = 8,
};

struct pump_clocks {
  uv_timer_t ack_clock, rest_clock, crowd_clock;
  int open_handles;
  struct pump_set *set;
};

void pump_go_on(struct pump *p)
{
  p->up.goes_on = true;
  if (pthread_equal(pthread_self(), p->set->loop_thread))
    poller_again(p->set->poller, &p->watch);
  else
    pump_tell(p, PUMP_GO_ON);
}

void pump_watch_room(struct pump *p)
{
  if (!p->told_of_room)
    p->told_of_room = poller_change(p->set->poller, p->fd, CHANGES | EPOLLOUT, &p->watch) == 0;
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

/* A failure that no read finds, since nothing can be read now, is told here. */
static void ready(struct poller_watch *w, uint32_t events)
{
  struct pump *p = (struct pump *)((char *)w - offsetof(struct pump, watch));
  if (p->fd < 0)
    return;
  if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
    pump_down_ready(p);
  if (events != EPOLLOUT && !pump_up_ready(p, (events & ~(uint32_t)(EPOLLIN | EPOLLOUT)) != 0) && (events & EPOLLERR))
    tell_failure(p);
}

int pump_watch(struct pump *p, int fd)
{
  p->is_unix = p->up.holds = pump_unix_is(fd);
  p->watch.ready = ready;
  return poller_add(p->set->poller, fd, CHANGES, &p->watch);
}

/* ---- The clocks ---- */

static void ack_time(uv_timer_t *timer)
{
  struct pump_set *set = ((struct pump_clocks *)timer->data)->set;
  if (pump_ack_clock(set))
    uv_timer_start(timer, ack_time, ACKS_DELAY_US / 1000, 0);
}

static void clock_on_loop(struct errand *e)
{
  struct pump_set *set = (struct pump_set *)((char *)e - offsetof(struct pump_set, start_clock));
  uv_timer_start(&set->clocks->ack_clock, ack_time, ACKS_DELAY_US / 1000, 0);
}

void pump_set_start_clock(struct pump_set *set)
{
  home_send(set->home, &set->start_clock);
}

static void look_after(struct pump *p)
{
  uint64_t written = atomic_load_explicit(&p->bytes_written, memory_order_relaxed);
  if (p->fd < 0 || p->is_unix)
    return;
  if (!p->asks_peer)
    pump_socket_ask_peer(p->fd, p->set->limits.keepalive_s);
  p->asks_peer = true;
  if (written == p->confirmed)
    return;
  if (pump_socket_has_all(p->fd))
    p->confirmed = written;
  else if (pump_socket_is_abandoned(p->fd, p->set->limits.keepalive_s))
    pump_tell_socket_failed(p, ETIMEDOUT);
}

static void rest_time(uv_timer_t *timer)
{
  struct pump_set *set = ((struct pump_clocks *)timer->data)->set;
  struct pump *p;
  DL_FOREACH(set->pumps, p)
  {
    look_after(p);
    pump_splice_rest(p);
    if (pump_up_rest(p) || pump_ack_due(p))
      pump_up_go(p);
  }
  if (set->pumps == NULL)
    uv_timer_stop(timer);
}

/* ---- Who is in it ---- */

static void handle_closed(uv_handle_t *handle)
{
  struct pump_clocks *clocks = handle->data;
  if (--clocks->open_handles > 0)
    return;
  struct pump_set *set = clocks->set;
  pthread_mutex_destroy(&set->clock_lock);
  slab_carver_close(&set->small);
  slab_carver_close(&set->loop_large);
  slab_carver_close(&set->other_large);
  slab_pool_release(set->small.pool);
  slab_pool_release(set->loop_large.pool);
  if (set->pipes != NULL)
    pipes_close(set->pipes);
  void (*closed)(void *arg) = set->closed;
  void *arg = set->closed_arg;
  free(clocks);
  free(set);
  closed(arg);
}

static void close_if_drained(struct pump_set *set)
{
  struct pump_clocks *clocks = set->clocks;
  if (set->closed == NULL || set->pumps != NULL || set->streams != NULL)
    return;
  uv_close((uv_handle_t *)&clocks->ack_clock, handle_closed);
  uv_close((uv_handle_t *)&clocks->rest_clock, handle_closed);
  uv_close((uv_handle_t *)&clocks->crowd_clock, handle_closed);
}

void pump_set_add(struct pump_set *set, struct pump *p)
{
  set->pump_count++;
  DL_APPEND(set->pumps, p);
  if (!uv_is_active((uv_handle_t *)&set->clocks->rest_clock))
    uv_timer_start(&set->clocks->rest_clock, rest_time, REST_MS, REST_MS);
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
    uv_timer_start(&set->clocks->crowd_clock, crowd_time, HEAP_LATER_MS, 0);
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
  struct pump_clocks *clocks = calloc(1, sizeof *clocks);
  struct slab_pool *small = slab_pool_create(SLAB_SMALL), *large = slab_pool_create(SLAB_LARGE);
  if (set == NULL || clocks == NULL || small == NULL || large == NULL) {
    slab_pool_release(small);
    slab_pool_release(large);
    free(clocks);
    free(set);
    return -ENOMEM;
  }
  set->home = home;
  set->poller = home_poller(home);
  set->start_clock.run = clock_on_loop;
  set->clocks = clocks;
  set->limits = *limits;
  pthread_mutex_init(&set->clock_lock, NULL);
  set->loop_thread = pthread_self();
  set->small.pool = small;
  set->loop_large.pool = set->other_large.pool = large;
  clocks->set = set;
  if (pipes_open(&set->pipes, PIPE_BYTES, PIPES_IDLE) != 0)
    set->pipes = NULL; /* all is copied */
  uv_timer_init(loop, &clocks->ack_clock);
  uv_timer_init(loop, &clocks->rest_clock);
  uv_timer_init(loop, &clocks->crowd_clock);
  clocks->ack_clock.data = clocks->rest_clock.data = clocks->crowd_clock.data = clocks;
  clocks->open_handles = 3;
  *out = set;
  return 0;
}

void pump_set_close(struct pump_set *set, void (*closed)(void *arg), void *arg)
{
  set->closed = closed;
  set->closed_arg = arg;
  close_if_drained(set);
}
