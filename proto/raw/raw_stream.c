#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "proto/host/home.h"
#include "raw_internal.h"

enum { MESSAGE_MAX = 128 << 10, IDLE_S = 240 /* less than firewalls remember a connection */ };

bool raw_stream_is_over(const struct raw_stream *s)
{
  return s->state == RAW_OVER;
}

static void set_state(struct raw_stream *s, enum raw_state state)
{
  pthread_mutex_lock(&s->lock);
  s->state = state;
  pthread_mutex_unlock(&s->lock);
}

void raw_stream_is_paired(struct raw_stream *s)
{
  if (s->state == RAW_OPENING)
    set_state(s, RAW_PAIRED);
}

void raw_stream_do(struct raw_stream *s, enum raw_due due)
{
  if (atomic_fetch_or(&s->due, due) == 0)
    home_send(s->line->set->home, &s->errand);
}

/* ---- The end ---- */

/* With the lock held, any thread: it ends with this, unless another status was there before. */
static void set_status(struct raw_stream *s, enum rpc_status status, const char *text)
{
  if (s->has_status)
    return;
  s->has_status = true;
  s->status = status;
  s->text = text[0] != '\0' ? strdup(text) : NULL;
}

/* What is said of a connection that failed depends on how far it had come. Before it was one of a pair it may be that
 * raw streams do not work there, so that the next attempt is of another kind. */
static void judge_failure(struct raw_stream *s, int error, enum rpc_status *status, char *text, size_t size)
{
  *status = s->state == RAW_PAIRED ? RPC_ABORTED : RPC_UNAVAILABLE;
  snprintf(text, size, "the raw stream: %s", strerror(error));
}

static bool is_shortage(int error)
{
  return error == ENOMEM || error == ENOBUFS || error == EMFILE || error == ENFILE;
}

/* Who closes a connection that is up is there, and wants no raw stream for this. */
static void learn_from_failure(struct raw_stream *s, int error)
{
  bool was_up = s->state == RAW_OPENING && (error == ECONNRESET || error == EPIPE);
  if (s->state == RAW_PAIRED || is_shortage(error))
    return;
  if (!was_up)
    raw_line_fail(s->line, strerror(error));
  else if (!s->was_warm)
    raw_goals_add(&s->line->goals, s->goal);
}

void raw_stream_fail(struct raw_stream *s, int error)
{
  enum rpc_status status;
  char text[128];
  judge_failure(s, error, &status, text, sizeof text);
  learn_from_failure(s, error);
  raw_stream_end(s, status, text);
}

void raw_stream_fail_later(struct raw_stream *s, int error)
{
  enum rpc_status status;
  char text[128];
  judge_failure(s, error, &status, text, sizeof text);
  set_status(s, status, text);
  raw_stream_do(s, RAW_DUE_END);
}

static void close_socket(struct raw_stream *s)
{
  struct raw_set *set = s->line->set;
  raw_deadline_clear(set, &s->deadline);
  if (s->fd < 0)
    return;
  if (s->half_closed && s->status != RPC_OK)
    raw_socket_reset_on_close(s->fd, true);
  poller_remove(set->poller, -1, &s->watch);
  pacer_forget(&s->paced);
  close(s->fd);
  s->fd = -1;
}

void raw_stream_end(struct raw_stream *s, enum rpc_status status, const char *text)
{
  if (raw_stream_is_over(s))
    return;
  pthread_mutex_lock(&s->lock);
  set_status(s, status, text);
  s->state = RAW_OVER;
  bool saying = s->saying;
  s->saying = false;
  raw_say_free(s);
  close_socket(s);
  pthread_mutex_unlock(&s->lock);
  raw_gather_free(&s->gather);
  raw_splice_free(s);
  const struct stream_user *user = s->stream.user;
  if (saying)
    user->said(s->stream.arg, false);
  if (atomic_exchange(&s->asked, false))
    user->heard(s->stream.arg, NULL);
  user->ended(s->stream.arg, s->status, s->text != NULL ? s->text : "");
}

static void cancel(struct stream *stream, enum rpc_status status, const char *text)
{
  struct raw_stream *s = (struct raw_stream *)stream;
  pthread_mutex_lock(&s->lock);
  if (s->state != RAW_OVER) {
    set_status(s, status, text);
    raw_stream_do(s, RAW_DUE_END);
  }
  pthread_mutex_unlock(&s->lock);
}

static void destroy(struct raw_stream *s)
{
  struct raw_line *l = s->line;
  close_socket(s);
  raw_say_free(s);
  raw_gather_free(&s->gather);
  raw_splice_free(s);
  pthread_mutex_destroy(&s->lock);
  DL_DELETE(l->streams, s);
  free(s->text);
  free(s);
  raw_line_unref(l);
}

static void free_stream(struct stream *stream)
{
  struct raw_stream *s = (struct raw_stream *)stream;
  s->freed = true;
  if (atomic_load(&s->due) == 0)
    destroy(s);
}

/* ---- What is due ---- */

/* False: the stream is over, and may be gone. */
static bool say_on(struct raw_stream *s)
{
  bool answer;
  if (!raw_say_go(s, &answer)) {
    raw_stream_fail(s, errno);
    return false;
  }
  if (answer)
    s->stream.user->said(s->stream.arg, true);
  return true;
}

static void errand_run(struct errand *e)
{
  struct raw_stream *s = (struct raw_stream *)((char *)e - offsetof(struct raw_stream, errand));
  unsigned due = atomic_exchange(&s->due, 0);
  if ((due & RAW_DUE_PACE) && s->fd >= 0)
    pacer_look(s->line->set->pacer, &s->paced, s->fd);
  if (s->freed)
    destroy(s);
  else if (raw_stream_is_over(s))
    return;
  else if (due & RAW_DUE_END)
    raw_stream_end(s, s->status, s->text != NULL ? s->text : "");
  else if (!(due & RAW_DUE_SAY) || s->state == RAW_CONNECTING || say_on(s))
    raw_hear_go(s);
}

/* Nothing was sent on it so far. */
static void connected(struct raw_stream *s)
{
  raw_deadline_clear(s->line->set, &s->deadline);
  raw_socket_connected(s->fd);
  set_state(s, RAW_OPENING);
}

static void ready(struct poller_watch *watch, uint32_t events)
{
  struct raw_stream *s = (struct raw_stream *)((char *)watch - offsetof(struct raw_stream, watch));
  uint32_t failed = events & (EPOLLERR | EPOLLHUP);
  if (s->state == RAW_CONNECTING && failed) {
    raw_stream_fail(s, raw_socket_error(s->fd));
    return;
  }
  if (s->state == RAW_CONNECTING && (events & EPOLLOUT))
    connected(s);
  s->readable |= (events & (EPOLLIN | EPOLLRDHUP)) || failed;
  s->hung_up |= (events & EPOLLRDHUP) || failed;
  if ((events & EPOLLOUT) && !failed && !say_on(s))
    return;
  if (atomic_load(&s->asked))
    raw_hear_go(s);
  else if (events & EPOLLERR)
    raw_stream_fail(s, raw_socket_error(s->fd));
}

static void connect_passed(struct raw_deadline *d)
{
  struct raw_stream *s = (struct raw_stream *)((char *)d - offsetof(struct raw_stream, deadline));
  raw_stream_fail(s, ETIMEDOUT);
}

/* ---- The beginning ---- */

static int take_warm(struct raw_stream *s)
{
  int fd = -1;
  for (size_t i = 0; i < RAW_WARM && fd < 0 && s->goal != 0; i++)
    fd = raw_warm_take(&s->line->warm[i], &s->watch);
  s->was_warm = fd >= 0;
  return fd;
}

/* 0, or a negative errno. */
static int find_socket(struct raw_stream *s)
{
  s->fd = take_warm(s);
  if (s->fd < 0) {
    s->fd = raw_socket_connect(&s->line->options.address);
    if (s->fd < 0)
      return s->fd;
    int error = poller_add(s->line->set->poller, s->fd, RAW_EVENTS, &s->watch);
    if (error != 0) {
      close(s->fd);
      s->fd = -1;
      return error;
    }
  }
  if (!s->line->near)
    raw_socket_watch_peer(s->fd, IDLE_S);
  s->state = s->was_warm || s->line->near ? RAW_OPENING : RAW_CONNECTING;
  return 0;
}

static enum stream_said start(struct stream *stream, const void *first, size_t size, struct errand **later)
{
  struct raw_stream *s = (struct raw_stream *)stream;
  (void)later;
  s->state = RAW_CONNECTING;
  s->first = size <= RAW_FIRST_MAX ? malloc(size) : NULL;
  int error = s->first != NULL ? 0 : -ENOMEM;
  if (error == 0) {
    memcpy(s->first, first, size);
    s->first_size = (uint32_t)size;
    error = find_socket(s);
  }
  if (s->goal != 0)
    raw_line_keep_warm(s->line);
  if (error != 0) {
    learn_from_failure(s, -error);
    raw_stream_fail_later(s, -error);
    return STREAM_BROKEN;
  }
  if (s->state == RAW_CONNECTING) {
    s->saying = true;
    raw_deadline_set(s->line->set, &s->deadline);
    return STREAM_SAYING;
  }
  raw_stream_do(s, RAW_DUE_SAY);
  return STREAM_SAID;
}

static bool has_no_room(struct stream *s)
{
  (void)s;
  return false;
}

static const struct stream_kind kind = {.name = "raw",
                                        .start = start,
                                        .say = raw_say,
                                        .hear = raw_hear,
                                        .cancel = cancel,
                                        .has_no_room = has_no_room,
                                        .free = free_stream,
                                        .message_max = MESSAGE_MAX,
                                        .splices = true};

struct stream *raw_stream_create(struct raw_line *l, const struct header *h)
{
  struct raw_stream *s = calloc(1, sizeof *s);
  if (s == NULL)
    return NULL;
  *s = (struct raw_stream){.stream.kind = &kind,
                           .line = l,
                           .watch.ready = ready,
                           .deadline.passed = connect_passed,
                           .goal = raw_goal_of(h),
                           .fd = -1,
                           .errand.run = errand_run};
  pthread_mutex_init(&s->lock, NULL); /* a default mutex: on Linux it cannot fail */
  l->refs++;
  DL_APPEND(l->streams, s);
  return &s->stream;
}
