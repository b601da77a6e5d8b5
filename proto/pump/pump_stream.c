/* The life of a stream: its events, what its owner asks for, its end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mindmeld.pb-c.h"
#include "proto/wire/token_stream.h"
#include "pump_internal.h"

static struct pump_stream *stream_of(struct errand *e)
{
  return (struct pump_stream *)((char *)e - offsetof(struct pump_stream, errand));
}

static void deliver(struct pump_stream *s, void (*run)(struct errand *e))
{
  s->errand.run = run;
  home_send(s->set->home, &s->errand);
}

void pump_stream_ref(struct pump_stream *s)
{
  atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

static void free_on_loop(struct errand *e)
{
  struct pump_stream *s = stream_of(e);
  struct pump *p = atomic_load(&s->pump);
  s->stream->kind->free(s->stream);
  bytes_drop(&s->out.header_due);
  bytes_drop(&s->out.last_due);
  pump_hear_free(s);
  pthread_mutex_destroy(&s->lock);
  pump_set_remove_stream(s->set, s);
  free(s);
  if (p != NULL)
    pump_unref(p);
}

void pump_stream_unref(struct pump_stream *s)
{
  if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
    deliver(s, free_on_loop);
}

/* ---- Locks ---- */

static void lock_of_pump(struct pump *p, enum pump_way way)
{
  if (way != PUMP_DOWN)
    pthread_mutex_lock(&p->up.lock);
  if (way != PUMP_UP)
    pthread_mutex_lock(&p->down.lock);
}

struct pump *pump_stream_lock(struct pump_stream *s, enum pump_way way)
{
  struct pump *p = atomic_load_explicit(&s->pump, memory_order_acquire);
  if (p == NULL) {
    pthread_mutex_lock(&s->lock);
    p = atomic_load_explicit(&s->pump, memory_order_acquire);
    if (p == NULL)
      return NULL;
    pthread_mutex_unlock(&s->lock);
  }
  lock_of_pump(p, way);
  return p;
}

void pump_stream_unlock(struct pump_stream *s, struct pump *p, enum pump_way way)
{
  if (p == NULL) {
    pthread_mutex_unlock(&s->lock);
    return;
  }
  if (way != PUMP_UP)
    pthread_mutex_unlock(&p->down.lock);
  if (way != PUMP_DOWN)
    pthread_mutex_unlock(&p->up.lock);
}

/* ---- Events ---- */

static const char *text_or_none(const char *text)
{
  return text != NULL ? text : "";
}

static void tell_header(struct pump_stream *s)
{
  struct header *h = s->in.header;
  s->events->header(s, h, s->arg);
  s->in.header = NULL;
  free(h);
}

static void tell_original(struct pump_stream *s)
{
  s->events->original(s, s->arg);
}

static void tell_reset(struct pump_stream *s)
{
  s->events->reset(s, text_or_none(s->in.code), text_or_none(s->in.reason), s->arg);
}

static void tell_refused(struct pump_stream *s)
{
  s->events->refused(s, text_or_none(s->in.reason), s->arg);
}

static void tell_ended(struct pump_stream *s)
{
  s->told = true;
  s->events->ended(s, s->status, s->status_text, s->arg);
}

static void events_on_loop(struct errand *e)
{
  static void (*const tellers[STREAM_EVENTS])(struct pump_stream * s) = {
      [STREAM_HEADER] = tell_header,   [STREAM_ORIGINAL] = tell_original, [STREAM_RESET] = tell_reset,
      [STREAM_REFUSED] = tell_refused, [STREAM_ENDED] = tell_ended,
  };
  struct pump_stream *s = stream_of(e);
  unsigned due = atomic_exchange(&s->untold, 0);
  for (size_t i = 0; i < STREAM_EVENTS && !s->closed; i++)
    if (due & 1U << i)
      tellers[i](s);
  pump_stream_unref(s);
}

void pump_stream_tell(struct pump_stream *s, enum pump_stream_event event)
{
  pump_stream_ref(s);
  if (atomic_fetch_or(&s->untold, 1U << event) == 0)
    deliver(s, events_on_loop);
  else
    pump_stream_unref(s);
}

/* ---- What the kind tells ---- */

/* The other side says nothing of how far it is, nor does it understand what we say of that. */
static void meet_original(struct pump_stream *s)
{
  struct pump *p = pump_stream_lock(s, PUMP_BOTH);
  struct errand *later = NULL;
  s->original = true;
  if (p != NULL && p->stream == s) {
    p->down.queueing = false;
    pump_up_unwindowed(p);
    pump_up_run(p, &later);
  }
  pump_stream_unlock(s, p, PUMP_BOTH);
  errands_run(later);
  pump_stream_tell(s, STREAM_ORIGINAL);
}

/* With RPC_OK not before all that came was looked at; of a first version, was written. */
static bool waits_with_its_end(const struct pump_stream *s, const struct pump *p)
{
  if (s->status != RPC_OK)
    return false;
  if (p == NULL)
    return s->in.receiving || (s->original && s->in.first != NULL);
  return p->stream == s && (s->in.receiving || !s->in.over || (s->original && p->down.first != NULL));
}

void pump_stream_check_end(struct pump_stream *s, struct pump *p)
{
  if (!s->in.status_known || s->in.ended || waits_with_its_end(s, p))
    return;
  s->in.ended = true;
  pump_stream_tell(s, STREAM_ENDED);
}

static void said(void *arg, bool ok)
{
  pump_say_done(arg, ok);
}

static void heard(void *arg, struct message *m)
{
  pump_hear_done(arg, m);
}

static void original(void *arg)
{
  meet_original(arg);
}

static void ended(void *arg, enum rpc_status status, const char *text)
{
  struct pump_stream *s = arg;
  struct pump *p = pump_stream_lock(s, PUMP_DOWN);
  s->status = status;
  s->status_text = text;
  s->in.status_known = true;
  if (p != NULL && p->stream == s)
    pump_down_run(p);
  else
    pump_stream_check_end(s, p);
  pump_stream_unlock(s, p, PUMP_DOWN);
  pump_stream_unref(s);
}

static const struct stream_user user = {.said = said, .heard = heard, .original = original, .ended = ended};

/* ---- Its life ---- */

enum { FIRST_MAX = PAYLOAD_PREFIX_MAX + TOKEN_STREAM_HEADER_MAX + 4 };
_Static_assert((int)HEADER_SIZE_MAX <= (int)FIRST_MAX, "there is room for either");

/* For an original router: the token as traffic. -EINVAL: it is too long. */
static int pack_token(const char *token, uint8_t out[FIRST_MAX])
{
  uint8_t framed[TOKEN_STREAM_HEADER_MAX + 4];
  int n = token_stream_write(framed, sizeof framed, token);
  if (n < 0)
    return -EINVAL;
  size_t prefix = payload_prefix(out, (size_t)n, false);
  memcpy(out + prefix, framed, (size_t)n);
  return (int)prefix + n;
}

/* The reference is for its end. */
static void start(struct pump_stream *s, const void *first, size_t size)
{
  struct errand *later = NULL;
  pump_stream_ref(s);
  pthread_mutex_lock(&s->lock);
  s->started = true;
  pump_say_start(s, first, size, &later);
  pump_hear(s);
  pthread_mutex_unlock(&s->lock);
  errands_run(later);
}

static struct pump_stream *create(struct pump_set *set, struct stream *stream)
{
  struct pump_stream *s = calloc(1, sizeof *s);
  if (s == NULL) {
    stream->kind->free(stream);
    return NULL;
  }
  /* Default mutexes: on Linux pthread_mutex_init cannot fail. */
  pthread_mutex_init(&s->lock, NULL);
  s->set = set;
  s->stream = stream;
  stream->user = &user;
  stream->arg = s;
  atomic_init(&s->refs, 1);
  pump_set_add_stream(set, s);
  return s;
}

int pump_stream_open(struct pump_stream **out, struct pump_set *set, struct stream *stream,
                     const struct pump_stream_options *o, const struct pump_stream_events *events, void *arg)
{
  uint8_t first[FIRST_MAX];
  struct pump_stream *s = create(set, stream);
  if (s == NULL)
    return -ENOMEM;
  s->events = events;
  s->arg = arg;
  int size = o->original_router ? pack_token(o->header->token, first) : (int)header_pack(o->header, first);
  if (size < 0) {
    pump_stream_close(s);
    return size;
  }
  start(s, first, (size_t)size);
  explicit_bzero(first, sizeof first);
  if (o->original_router)
    meet_original(s);
  *out = s;
  return 0;
}

void pump_stream_close(struct pump_stream *s)
{
  struct pump *p = atomic_load(&s->pump);
  s->closed = true;
  if (p != NULL && p->stream == s)
    pump_detach(p);
  if (s->started && !s->told) /* or the kind would go all the way for nothing */
    pump_stream_cancel(s);
  pump_stream_unref(s);
}

/* ---- What its owner asks for ---- */

void pump_stream_hand_over(struct pump_stream *s, const struct pump_stream_events *events, void *arg)
{
  s->events = events;
  s->arg = arg;
}

void pump_stream_send_header(struct pump_stream *s, const struct header *h)
{
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  pump_say_header(s, h);
  pump_stream_unlock(s, p, PUMP_UP);
  pump_say_go(s);
}

/* -ENOMEM. */
static int make_last(struct bytes *out, const char *code, const char *reason, bool refused)
{
  char short_code[PUMP_RESET_CODE_MAX], short_reason[PUMP_RESET_REASON_MAX];
  Mindmeld__Reset reset = MINDMELD__RESET__INIT;
  Mindmeld__Payload payload = MINDMELD__PAYLOAD__INIT;
  uint8_t packed[2 * PUMP_RESET_REASON_MAX];
  snprintf(short_code, sizeof short_code, "%s", code);
  snprintf(short_reason, sizeof short_reason, "%s", reason);
  reset.code = short_code;
  reset.reason = short_reason;
  if (refused)
    payload.refused = &reset;
  else
    payload.reset = &reset;
  return bytes_copy(out, packed, mindmeld__payload__pack(&payload, packed));
}

static void send_last(struct pump_stream *s, const char *code, const char *reason, bool refused)
{
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  bool can_be_said =
      !s->out.over && s->out.last_due.size == 0 && make_last(&s->out.last_due, code, reason, refused) == 0;
  if (can_be_said)
    s->out.last_waits = !s->out.resumes;
  pump_stream_unlock(s, p, PUMP_UP);
  if (can_be_said)
    pump_say_go(s);
  else
    pump_stream_cancel(s);
}

void pump_stream_send_reset(struct pump_stream *s, const char *code, const char *reason)
{
  send_last(s, code, reason, false);
}

void pump_stream_send_refused(struct pump_stream *s, const char *reason)
{
  send_last(s, "", reason, true);
}

void pump_stream_half_close(struct pump_stream *s)
{
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  s->out.half_close_due = true;
  pump_stream_unlock(s, p, PUMP_UP);
  pump_say_go(s);
}

const char *pump_stream_kind(const struct pump_stream *s)
{
  return s->stream->kind->name;
}

bool pump_stream_has_no_room(struct pump_stream *s)
{
  return s->stream->kind->has_no_room(s->stream);
}

void pump_stream_cancel(struct pump_stream *s)
{
  s->stream->kind->cancel(s->stream, RPC_CANCELLED, "");
}
