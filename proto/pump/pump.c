/* The life of a pump: its streams, its socket, its events, its end. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "pump_internal.h"

static struct pump *pump_of(struct errand *e)
{
  return (struct pump *)((char *)e - offsetof(struct pump, errand));
}

static void deliver(struct pump *p, void (*run)(struct errand *e))
{
  p->errand.run = run;
  home_send(p->set->home, &p->errand);
}

void pump_ref(struct pump *p)
{
  atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

static void free_on_loop(struct errand *e)
{
  struct pump *p = pump_of(e);
  pump_up_free(p);
  pump_down_free(p);
  pump_ack_free(p);
  pump_set_remove(p->set, p);
  free(p);
}

void pump_unref(struct pump *p)
{
  if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
    deliver(p, free_on_loop);
}

/* ---- Events ---- */

static void go_on(struct pump *p)
{
  pump_up_ready(p, false);
}

static void tell_local_eof(struct pump *p)
{
  p->events->local_eof(p, p->arg);
}

/* What it brought before goes before. */
static void tell_socket_failed(struct pump *p)
{
  pump_read_drain(p);
  p->events->socket_failed(p, atomic_load(&p->socket_error), p->arg);
}

static void tell_remote_eof(struct pump *p)
{
  p->events->remote_eof(p, p->arg);
}

static void events_on_loop(struct errand *e)
{
  static void (*const tellers[PUMP_EVENTS])(struct pump * p) = {
      [PUMP_GO_ON] = go_on,
      [PUMP_LOCAL_EOF] = tell_local_eof,
      [PUMP_SOCKET_FAILED] = tell_socket_failed,
      [PUMP_REMOTE_EOF] = tell_remote_eof,
  };
  struct pump *p = pump_of(e);
  unsigned due = atomic_exchange(&p->untold, 0);
  for (size_t i = 0; i < PUMP_EVENTS && !p->closed; i++)
    if (due & 1U << i)
      tellers[i](p);
  pump_unref(p);
}

void pump_tell(struct pump *p, enum pump_event event)
{
  pump_ref(p);
  if (atomic_fetch_or(&p->untold, 1U << event) == 0)
    deliver(p, events_on_loop);
  else
    pump_unref(p);
}

void pump_tell_socket_failed(struct pump *p, int error)
{
  int none = 0;
  if (atomic_compare_exchange_strong(&p->socket_error, &none, error))
    pump_tell(p, PUMP_SOCKET_FAILED);
}

int pump_create(struct pump **out, struct pump_set *set, const struct pump_events *events, void *arg)
{
  struct pump *p = calloc(1, sizeof *p);
  if (p == NULL)
    return -ENOMEM;
  p->set = set;
  p->events = events;
  p->arg = arg;
  p->fd = -1;
  atomic_init(&p->refs, 1);
  pump_up_init(p);
  pump_down_init(p);
  pump_ack_init(p);
  pump_set_add(set, p);
  *out = p;
  return 0;
}

/* ---- Streams ---- */

/* Takes what is said first: with all locks held, so that nothing arrives between what it says and the switch. */
static void make_current(struct pump *p, struct pump_stream *s, const struct pump_attachment *a)
{
  pump_ref(p);
  atomic_store_explicit(&s->pump, p, memory_order_release);
  p->stream = s;
  s->original |= a->original;
  s->out.resumes = p->up.window.sent > 0;
  pump_up_resume(p);
  if (a->limit > 0 || s->in.limit > 0)
    pump_up_limit(p, a->limit > 0 ? a->limit : s->in.limit);
  sequence_in_attach(&p->down.sequence);
  if (a->answer != NULL) {
    struct header answer = *a->answer;
    answer.received = p->down.sequence.received;
    answer.limit = pump_limit(p);
    pump_say_header(s, &answer);
    explicit_bzero(&answer, sizeof answer);
  }
  pump_ack_restart(p);
  /* Who attaches waits for it. */
  if (a->answer != NULL && p->fd < 0 && p->down.sequence.received == 0)
    pump_ack_answer_later(p);
  if (s->out.over)
    pump_up_pause(p);
  if (s->original) {
    p->down.queueing = false;
    pump_up_unwindowed(p);
  }
}

int pump_attach(struct pump *p, struct pump_stream *s, const struct pump_attachment *a)
{
  struct payload first = {0};
  pthread_mutex_lock(&p->up.lock);
  pthread_mutex_lock(&p->down.lock);
  pthread_mutex_lock(&s->lock);
  pump_splice_stop(p);
  int error = sequence_out_resume(&p->up.sequence, a->send_from);
  if (error == 0)
    make_current(p, s, a);
  pthread_mutex_unlock(&s->lock);
  if (error == 0) {
    pump_hear_first(p, s, &first);
    pump_down_run(p);
  }
  pthread_mutex_unlock(&p->down.lock);
  pthread_mutex_unlock(&p->up.lock);
  if (error != 0)
    return error;
  pump_up_go(p);
  pump_hear_follow(p, s, &first);
  return 0;
}

bool pump_can_send_from(struct pump *p, uint64_t received)
{
  pthread_mutex_lock(&p->up.lock);
  bool can = sequence_out_possible(&p->up.sequence, received);
  pthread_mutex_unlock(&p->up.lock);
  return can;
}

uint64_t pump_received(struct pump *p)
{
  pthread_mutex_lock(&p->down.lock);
  uint64_t received = p->down.sequence.received;
  pthread_mutex_unlock(&p->down.lock);
  return received;
}

uint64_t pump_limit(const struct pump *p)
{
  const struct pump_set *set = p->set;
  uint64_t gone = atomic_load_explicit(&set->promised, memory_order_relaxed);
  return window_grant(set->limits.window, atomic_load_explicit(&p->promised, memory_order_relaxed),
                      gone < set->limits.budget ? set->limits.budget - gone : 0);
}

bool pump_is_heard(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  bool heard = p->up.heard;
  pthread_mutex_unlock(&p->up.lock);
  return heard;
}

void pump_detach(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  pthread_mutex_lock(&p->down.lock);
  p->stream = NULL;
  pump_up_pause(p);
  pump_splice_stop(p);
  pthread_mutex_unlock(&p->down.lock);
  pthread_mutex_unlock(&p->up.lock);
}

void pump_send_eof(struct pump *p, bool half_close)
{
  pthread_mutex_lock(&p->up.lock);
  p->up.eof_due = true;
  if (p->stream != NULL)
    p->stream->out.half_close_due |= half_close;
  pthread_mutex_unlock(&p->up.lock);
  pump_up_go(p);
}

/* ---- The socket ---- */

static void set_reset(struct pump *p, int fd, bool reset)
{
  if (p->resets != reset)
    pump_socket_reset_on_close(fd, reset);
  p->resets = reset;
}

void pump_shutdown_socket(struct pump *p)
{
  atomic_store(&p->shut, true);
  if (p->fd < 0)
    return;
  pthread_mutex_lock(&p->up.lock);
  pump_unix_let_go(p);
  pthread_mutex_unlock(&p->up.lock);
  set_reset(p, p->fd, false);
  shutdown(p->fd, SHUT_WR);
}

void pump_linger_socket(struct pump *p)
{
  pump_shutdown_socket(p);
  pthread_mutex_lock(&p->up.lock);
  p->up.stopped = p->up.discard = true;
  pthread_mutex_unlock(&p->up.lock);
  pump_up_go(p);
}

void pump_discard_socket(int fd)
{
  pump_socket_reset_on_close(fd, true);
  close(fd);
}

static void close_descriptor(struct pump *p, int fd, bool reset)
{
  set_reset(p, fd, reset);
  poller_remove(p->set->poller, -1, &p->watch);
  close(fd);
}

void pump_close_socket(struct pump *p, bool reset)
{
  pthread_mutex_lock(&p->up.lock);
  pthread_mutex_lock(&p->down.lock);
  int fd = p->fd;
  if (fd >= 0 && !reset)
    pump_unix_let_go(p);
  p->fd = -1;
  p->up.stopped = true;
  pump_down_drop(p);
  pthread_mutex_unlock(&p->down.lock);
  pthread_mutex_unlock(&p->up.lock);
  if (fd >= 0)
    close_descriptor(p, fd, reset);
  pthread_mutex_lock(&p->down.lock);
  pump_down_run(p);
  pthread_mutex_unlock(&p->down.lock);
}

int pump_give_socket(struct pump *p, int fd)
{
  pump_socket_begin(fd);
  p->resets = true;
  int error = pump_watch(p, fd);
  if (error != 0) {
    pump_discard_socket(fd);
    return error;
  }
  pthread_mutex_lock(&p->up.lock);
  pthread_mutex_lock(&p->down.lock);
  p->fd = fd;
  pump_down_run(p);
  pthread_mutex_unlock(&p->down.lock);
  pthread_mutex_unlock(&p->up.lock);
  pump_up_go(p);
  pump_ack_go(p); /* of what was waiting for the socket */
  return 0;
}

void pump_observe(struct pump *p, struct pump_observer *o)
{
  pthread_mutex_lock(&p->up.lock);
  pthread_mutex_lock(&p->down.lock);
  p->observer = o;
  pthread_mutex_unlock(&p->down.lock);
  pthread_mutex_unlock(&p->up.lock);
}

void pump_close(struct pump *p)
{
  p->closed = true;
  pump_observe(p, NULL);
  pump_close_socket(p, true);
  pump_unref(p);
}

struct pump_counters pump_counters(struct pump *p)
{
  struct pump_counters c = {
      .bytes_read = atomic_load_explicit(&p->bytes_read, memory_order_relaxed),
      .bytes_written = atomic_load_explicit(&p->bytes_written, memory_order_relaxed),
      .spliced = atomic_load_explicit(&p->spliced, memory_order_relaxed),
      .queued = atomic_load_explicit(&p->queued, memory_order_relaxed),
  };
  pthread_mutex_lock(&p->up.lock);
  if (p->up.windowed) {
    c.window = p->up.window.size;
    c.unacked = window_unacked(&p->up.window);
    c.rate = window_rate(&p->up.window);
    c.rtt_us = window_rtt(&p->up.window);
  }
  pthread_mutex_unlock(&p->up.lock);
  return c;
}
