/* The life of a stream: its call, its events, what its owner asks for, its end. */
#include <errno.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mindmeld.pb-c.h"
#include "proto/wire/token_stream.h"
#include "pump_internal.h"

#define STREAM_OF(tag, member) ((struct pump_stream *)((char *)(tag)-offsetof(struct pump_stream, member)))

void pump_stream_ref(struct pump_stream *s)
{
  atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
}

static void free_on_loop(struct rpc_tag *tag, bool ok)
{
  (void)ok;
  struct pump_stream *s = STREAM_OF(tag, loop_tag);
  struct pump *p = atomic_load(&s->pump);
  grpc_metadata_array_destroy(&s->metadata);
  grpc_metadata_array_destroy(&s->trailers);
  grpc_slice_unref(s->status_details);
  if (s->call != NULL)
    grpc_call_unref(s->call);
  rpc_lane_put(s->lane, atomic_load(&s->begun));
  grpc_byte_buffer_destroy(s->out.header_due);
  grpc_byte_buffer_destroy(s->out.last_due);
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
    rpc_queue_deliver(s->set->queue, &s->loop_tag, true, free_on_loop);
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
  char *text = grpc_slice_to_c_string(s->status_details);
  s->told = true;
  s->events->ended(s, (enum rpc_status)s->status, text, s->arg);
  gpr_free(text);
}

static void events_on_loop(struct rpc_tag *tag, bool ok)
{
  static void (*const tellers[STREAM_EVENTS])(struct pump_stream * s) = {
      [STREAM_HEADER] = tell_header,   [STREAM_ORIGINAL] = tell_original, [STREAM_RESET] = tell_reset,
      [STREAM_REFUSED] = tell_refused, [STREAM_ENDED] = tell_ended,
  };
  (void)ok;
  struct pump_stream *s = STREAM_OF(tag, loop_tag);
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
    rpc_queue_deliver(s->set->queue, &s->loop_tag, true, events_on_loop);
  else
    pump_stream_unref(s);
}

/* ---- What the call tells ---- */

/* The other side says nothing of how far it is, nor does it understand what we say of that. */
static void meet_original(struct pump_stream *s)
{
  struct pump *p = pump_stream_lock(s, PUMP_BOTH);
  struct rpc_stray stray = {NULL, false};
  s->original = true;
  if (p != NULL && p->stream == s) {
    p->down.queueing = false;
    pump_up_unwindowed(p);
    stray = pump_up_run(p);
  }
  pump_stream_unlock(s, p, PUMP_BOTH);
  pump_complete_stray(stray);
  pump_stream_tell(s, STREAM_ORIGINAL);
}

static bool says_original(const grpc_metadata_array *metadata)
{
  for (size_t i = 0; i < metadata->count; i++)
    if (grpc_slice_str_cmp(metadata->metadata[i].key, "mindmeld-peer") == 0 &&
        grpc_slice_str_cmp(metadata->metadata[i].value, "original") == 0)
      return true;
  return false;
}

static void metadata_complete(struct rpc_tag *tag, bool ok)
{
  struct pump_stream *s = STREAM_OF(tag, metadata_tag);
  if (ok && !s->original_router && says_original(&s->metadata))
    meet_original(s);
  pump_stream_unref(s);
}

/* With RPC_OK not before all that came was looked at; of a first version, was written. */
static bool waits_with_its_end(const struct pump_stream *s, const struct pump *p)
{
  if (s->status != GRPC_STATUS_OK)
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

static void status_complete(struct rpc_tag *tag, bool ok)
{
  (void)ok;
  struct pump_stream *s = STREAM_OF(tag, status_tag);
  struct pump *p = pump_stream_lock(s, PUMP_DOWN);
  s->in.status_known = true;
  if (p != NULL && p->stream == s)
    pump_down_run(p);
  else
    pump_stream_check_end(s, p);
  pump_stream_unlock(s, p, PUMP_DOWN);
  pump_stream_unref(s);
}

/* ---- Its life ---- */

/* For an original router: the token as traffic. NULL: it is too long. */
static grpc_byte_buffer *token_message(const char *token)
{
  uint8_t framed[TOKEN_STREAM_HEADER_MAX + 4], bytes[PAYLOAD_PREFIX_MAX + sizeof framed];
  int n = token_stream_write(framed, sizeof framed, token);
  if (n < 0)
    return NULL;
  size_t prefix = payload_prefix(bytes, (size_t)n, false);
  memcpy(bytes + prefix, framed, (size_t)n);
  return pump_say_copied(bytes, prefix + (size_t)n);
}

static int listen_for(struct pump_stream *s, const grpc_op *op, struct rpc_tag *tag)
{
  pump_stream_ref(s);
  int error = rpc_start_batch(s->call, op, 1, tag);
  if (error != 0)
    pump_stream_unref(s);
  return error;
}

/* What is sent goes first: it makes gRPC choose a connection, and what came before would have to wait for that. */
static int start(struct pump_stream *s, const struct pump_stream_options *o)
{
  grpc_byte_buffer *header = o->original_router ? token_message(o->header->token) : pump_say_header(o->header);
  if (header == NULL)
    return -EINVAL;
  size_t metadata_count;
  const grpc_metadata *metadata = rpc_channel_metadata(o->channel, &metadata_count);
  grpc_op initial = {.op = GRPC_OP_RECV_INITIAL_METADATA}, status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
  initial.data.recv_initial_metadata.recv_initial_metadata = &s->metadata;
  status.data.recv_status_on_client.trailing_metadata = &s->trailers;
  status.data.recv_status_on_client.status = &s->status;
  status.data.recv_status_on_client.status_details = &s->status_details;

  pthread_mutex_lock(&s->lock);
  struct rpc_stray stray = pump_say_start(s, header, metadata, metadata_count);
  int error = listen_for(s, &initial, &s->metadata_tag);
  if (error == 0)
    error = listen_for(s, &status, &s->status_tag);
  if (error == 0)
    pump_hear(s);
  pthread_mutex_unlock(&s->lock);
  pump_complete_stray(stray);
  if (error == 0 && s->original_router)
    meet_original(s);
  return error;
}

static int create(struct pump_stream **out, struct pump_set *set, struct rpc_channel *channel)
{
  struct pump_stream *s = calloc(1, sizeof *s);
  if (s == NULL)
    return -ENOMEM;
  /* Default mutexes: on Linux pthread_mutex_init cannot fail. */
  pthread_mutex_init(&s->lock, NULL);
  s->set = set;
  s->lane = rpc_channel_take_lane(channel);
  atomic_init(&s->refs, 1);
  grpc_metadata_array_init(&s->metadata);
  grpc_metadata_array_init(&s->trailers);
  s->status_details = grpc_empty_slice();
  s->metadata_tag.complete = metadata_complete;
  s->status_tag.complete = status_complete;
  pump_hear_init(s);
  pump_set_add_stream(set, s);
  *out = s;
  return 0;
}

int pump_stream_open(struct pump_stream **out, struct pump_set *set, const struct pump_stream_options *o,
                     const struct pump_stream_events *events, void *arg)
{
  struct pump_stream *s;
  int error = create(&s, set, o->channel);
  if (error != 0)
    return error;
  s->events = events;
  s->arg = arg;
  s->original_router = o->original_router;
  s->call = rpc_lane_create_call(
      s->lane, o->original_router ? "/mindmeld.ProxyService/ProxyConnection" : "/mindmeld.ProxyService/Connect", 0);
  error = s->call == NULL ? -ENOMEM : start(s, o);
  if (error != 0) {
    pump_stream_close(s);
    return error;
  }
  *out = s;
  return 0;
}

void pump_stream_close(struct pump_stream *s)
{
  struct pump *p = atomic_load(&s->pump);
  s->closed = true;
  if (p != NULL && p->stream == s)
    pump_detach(p);
  if (s->call != NULL && !s->told) /* or gRPC would go all the way for nothing */
    grpc_call_cancel(s->call, NULL);
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
  grpc_byte_buffer_destroy(s->out.header_due);
  s->out.header_due = pump_say_header(h);
  pump_stream_unlock(s, p, PUMP_UP);
  pump_say_go(s);
}

static grpc_byte_buffer *last_message(const char *code, const char *reason, bool refused)
{
  char short_code[PUMP_RESET_CODE_MAX], short_reason[PUMP_RESET_REASON_MAX];
  Mindmeld__Reset reset = MINDMELD__RESET__INIT;
  Mindmeld__Payload payload = MINDMELD__PAYLOAD__INIT;
  uint8_t bytes[2 * PUMP_RESET_REASON_MAX];
  snprintf(short_code, sizeof short_code, "%s", code);
  snprintf(short_reason, sizeof short_reason, "%s", reason);
  reset.code = short_code;
  reset.reason = short_reason;
  if (refused)
    payload.refused = &reset;
  else
    payload.reset = &reset;
  return pump_say_copied(bytes, mindmeld__payload__pack(&payload, bytes));
}

static void send_last(struct pump_stream *s, const char *code, const char *reason, bool refused)
{
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  bool can_be_said = !s->out.over && s->out.last_due == NULL;
  if (can_be_said) {
    s->out.last_due = last_message(code, reason, refused);
    s->out.last_waits = !s->out.resumes;
  }
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

bool pump_stream_has_no_room(struct pump_stream *s)
{
  return !atomic_load(&s->begun) && rpc_lane_full(s->lane);
}

void pump_stream_cancel(struct pump_stream *s)
{
  grpc_call_cancel(s->call, NULL);
}
