/* The life of a pump: its stream, its events, its end. */
#include <errno.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mindmeld.pb-c.h"
#include "pump_internal.h"
#include "token_stream.h"

#define PUMP_OF(tag, member) ((struct pump *)((char *)(tag)-offsetof(struct pump, member)))

void pump_ref(struct pump *p)
{
  atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
}

static void free_on_loop(struct rpc_tag *tag, bool ok)
{
  (void)ok;
  struct pump *p = PUMP_OF(tag, loop_tag);
  grpc_metadata_array_destroy(&p->metadata);
  grpc_metadata_array_destroy(&p->trailers);
  grpc_slice_unref(p->status_details);
  if (p->call != NULL)
    grpc_call_unref(p->call);
  if (p->channel != NULL)
    rpc_channel_unref(p->channel);
  pump_up_free(p);
  pump_down_free(p);
  pump_ack_free(p);
  pthread_mutex_destroy(&p->arm_lock);
  pump_set_remove(p->set, p);
  free(p);
}

void pump_unref(struct pump *p)
{
  if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) == 1)
    rpc_queue_deliver(p->set->queue, &p->loop_tag, true, free_on_loop);
}

/* ---- Events ---- */

static const char *text_or_none(const char *text)
{
  return text != NULL ? text : "";
}

static void tell_header(struct pump *p)
{
  struct header *h = p->down.header;
  p->events->header(p, h, p->arg);
  p->down.header = NULL;
  free(h);
}

static void tell_original(struct pump *p)
{
  p->events->original(p, p->arg);
}

static void tell_local_eof(struct pump *p)
{
  p->events->local_eof(p, p->arg);
}

static void tell_socket_failed(struct pump *p)
{
  p->events->socket_failed(p, atomic_load(&p->socket_error), p->arg);
}

static void tell_remote_eof(struct pump *p)
{
  p->events->remote_eof(p, p->arg);
}

static void tell_remote_reset(struct pump *p)
{
  p->events->remote_reset(p, text_or_none(p->down.reset_code), text_or_none(p->down.reset_reason), p->arg);
}

static void tell_ended(struct pump *p)
{
  char *text = grpc_slice_to_c_string(p->status_details);
  p->events->ended(p, (enum rpc_status)p->status, text, p->arg);
  gpr_free(text);
}

static void events_on_loop(struct rpc_tag *tag, bool ok)
{
  static void (*const tellers[PUMP_EVENTS])(struct pump * p) = {
      [PUMP_HEADER] = tell_header,         [PUMP_ORIGINAL] = tell_original,
      [PUMP_LOCAL_EOF] = tell_local_eof,   [PUMP_SOCKET_FAILED] = tell_socket_failed,
      [PUMP_REMOTE_EOF] = tell_remote_eof, [PUMP_REMOTE_RESET] = tell_remote_reset,
      [PUMP_ENDED] = tell_ended,
  };
  (void)ok;
  struct pump *p = PUMP_OF(tag, loop_tag);
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
    rpc_queue_deliver(p->set->queue, &p->loop_tag, true, events_on_loop);
  else
    pump_unref(p);
}

void pump_tell_socket_failed(struct pump *p, int error)
{
  int none = 0;
  if (atomic_compare_exchange_strong(&p->socket_error, &none, error))
    pump_tell(p, PUMP_SOCKET_FAILED);
}

/* ---- The stream ---- */

/* It says nothing of how far it is, nor does it understand what we say of that. */
static void meet_original(struct pump *p)
{
  pump_ack_stop(p);
  pthread_mutex_lock(&p->down.lock);
  p->down.queueing = false;
  pthread_mutex_unlock(&p->down.lock);
  pump_up_unwindowed(p);
  pump_tell(p, PUMP_ORIGINAL);
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
  struct pump *p = PUMP_OF(tag, metadata_tag);
  if (ok && !p->original_router && says_original(&p->metadata))
    meet_original(p);
  pump_unref(p);
}

static void status_complete(struct rpc_tag *tag, bool ok)
{
  (void)ok;
  struct pump *p = PUMP_OF(tag, status_tag);
  pthread_mutex_lock(&p->down.lock);
  pump_down_status(p);
  pthread_mutex_unlock(&p->down.lock);
  pump_unref(p);
}

static grpc_byte_buffer *message_of(const uint8_t *bytes, size_t size)
{
  grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, size);
  grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return message;
}

static grpc_byte_buffer *header_message(const struct header *h)
{
  uint8_t bytes[HEADER_SIZE_MAX];
  size_t size = header_pack(h, bytes);
  grpc_byte_buffer *message = message_of(bytes, size);
  explicit_bzero(bytes, sizeof bytes);
  return message;
}

/* For an original router: the token as traffic. NULL: it is too long. */
static grpc_byte_buffer *token_message(const char *token)
{
  uint8_t framed[TOKEN_STREAM_HEADER_MAX + 4], bytes[PAYLOAD_PREFIX_MAX + sizeof framed];
  int n = token_stream_write(framed, sizeof framed, token);
  if (n < 0)
    return NULL;
  size_t prefix = payload_prefix(bytes, (size_t)n, false);
  memcpy(bytes + prefix, framed, (size_t)n);
  return message_of(bytes, prefix + (size_t)n);
}

static int start_stream(struct pump *p, const struct pump_options *o)
{
  grpc_byte_buffer *header = o->original_router ? token_message(o->header->token) : header_message(o->header);
  if (header == NULL)
    return -EINVAL;
  size_t metadata_count;
  const grpc_metadata *metadata = rpc_channel_metadata(o->channel, &metadata_count);

  grpc_op status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
  status.data.recv_status_on_client.trailing_metadata = &p->trailers;
  status.data.recv_status_on_client.status = &p->status;
  status.data.recv_status_on_client.status_details = &p->status_details;
  pump_ref(p);
  int error = rpc_start_batch(p->call, &status, 1, &p->status_tag);
  if (error != 0) {
    pump_unref(p);
    grpc_byte_buffer_destroy(header);
    return error;
  }
  if ((error = pump_up_start(p, header, metadata, metadata_count)) != 0)
    return error;

  grpc_op initial = {.op = GRPC_OP_RECV_INITIAL_METADATA};
  initial.data.recv_initial_metadata.recv_initial_metadata = &p->metadata;
  pump_ref(p);
  if ((error = rpc_start_batch(p->call, &initial, 1, &p->metadata_tag)) != 0) {
    pump_unref(p);
    return error;
  }
  if (p->original_router)
    meet_original(p);
  pthread_mutex_lock(&p->down.lock);
  pump_down_run(p);
  pthread_mutex_unlock(&p->down.lock);
  return 0;
}

static int create(struct pump **out, struct pump_set *set)
{
  struct pump *p = calloc(1, sizeof *p);
  if (p == NULL)
    return -ENOMEM;
  /* Default mutexes: on Linux pthread_mutex_init cannot fail. */
  pthread_mutex_init(&p->arm_lock, NULL);
  p->set = set;
  p->fd = -1;
  atomic_init(&p->refs, 1);
  grpc_metadata_array_init(&p->metadata);
  grpc_metadata_array_init(&p->trailers);
  p->status_details = grpc_empty_slice();
  p->metadata_tag.complete = metadata_complete;
  p->status_tag.complete = status_complete;
  pump_up_init(p);
  pump_down_init(p);
  pump_ack_init(p);
  pump_set_add(set, p);
  *out = p;
  return 0;
}

int pump_open(struct pump **out, struct pump_set *set, const struct pump_options *o, const struct pump_events *events,
              void *arg)
{
  struct pump *p;
  int error = create(&p, set);
  if (error != 0)
    return error;
  p->events = events;
  p->arg = arg;
  p->original_router = o->original_router;
  p->channel = o->channel;
  rpc_channel_ref(p->channel);
  p->call = rpc_channel_create_call(
      o->channel, o->original_router ? "/mindmeld.ProxyService/ProxyConnection" : "/mindmeld.ProxyService/Connect", 0);
  error = p->call == NULL ? -ENOMEM : start_stream(p, o);
  if (error != 0) {
    pump_close(p);
    return error;
  }
  *out = p;
  return 0;
}

/* ---- What its owner asks for ---- */

void pump_hand_over(struct pump *p, const struct pump_events *events, void *arg)
{
  p->events = events;
  p->arg = arg;
}

void pump_send_header(struct pump *p, const struct header *h)
{
  pthread_mutex_lock(&p->up.lock);
  p->up.header_due = header_message(h);
  pthread_mutex_unlock(&p->up.lock);
  pump_up_go(p);
}

void pump_send_eof(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  p->up.eof_due = true;
  pthread_mutex_unlock(&p->up.lock);
  pump_up_go(p);
}

void pump_half_close(struct pump *p, bool eof)
{
  pthread_mutex_lock(&p->up.lock);
  p->up.half_close_due = p->up.stopped = true;
  p->up.eof_due |= eof;
  pthread_mutex_unlock(&p->up.lock);
  pump_up_go(p);
}

static grpc_byte_buffer *reset_message(const char *code, const char *reason)
{
  char short_code[PUMP_RESET_CODE_MAX], short_reason[PUMP_RESET_REASON_MAX];
  Mindmeld__Reset reset = MINDMELD__RESET__INIT;
  Mindmeld__Payload payload = MINDMELD__PAYLOAD__INIT;
  uint8_t bytes[2 * PUMP_RESET_REASON_MAX];
  snprintf(short_code, sizeof short_code, "%s", code);
  snprintf(short_reason, sizeof short_reason, "%s", reason);
  reset.code = short_code;
  reset.reason = short_reason;
  payload.reset = &reset;
  return message_of(bytes, mindmeld__payload__pack(&payload, bytes));
}

void pump_send_reset(struct pump *p, const char *code, const char *reason)
{
  pthread_mutex_lock(&p->up.lock);
  bool can_be_said = !p->up.over && p->up.reset_due == NULL;
  if (can_be_said)
    p->up.reset_due = reset_message(code, reason);
  p->up.stopped = true;
  pthread_mutex_unlock(&p->up.lock);
  if (can_be_said)
    pump_up_go(p);
  else
    pump_cancel(p);
}

void pump_cancel(struct pump *p)
{
  grpc_call_cancel(p->call, NULL);
}

void pump_shutdown_socket(struct pump *p)
{
  atomic_store(&p->shut, true);
  if (p->fd >= 0)
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

static void close_descriptor(struct pump_set *set, int fd, bool reset)
{
  struct linger at_once = {.l_onoff = 1, .l_linger = 0};
  if (reset)
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  epoll_ctl(set->epoll, EPOLL_CTL_DEL, fd, NULL);
  close(fd);
}

void pump_close_socket(struct pump *p, bool reset)
{
  pthread_mutex_lock(&p->up.lock);
  pthread_mutex_lock(&p->down.lock);
  int fd = p->fd;
  p->fd = -1;
  p->up.stopped = true;
  pump_down_drop(p);
  pthread_mutex_unlock(&p->down.lock);
  pthread_mutex_unlock(&p->up.lock);
  if (fd >= 0)
    close_descriptor(p->set, fd, reset);
  pthread_mutex_lock(&p->down.lock);
  pump_down_run(p);
  pthread_mutex_unlock(&p->down.lock);
}

int pump_attach(struct pump *p, int fd)
{
  struct epoll_event nothing = {.events = EPOLLONESHOT, .data.ptr = p};
  if (epoll_ctl(p->set->epoll, EPOLL_CTL_ADD, fd, &nothing) != 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  pthread_mutex_lock(&p->up.lock);
  pthread_mutex_lock(&p->down.lock);
  p->fd = fd;
  p->enabled = true;
  pump_down_run(p);
  pthread_mutex_unlock(&p->down.lock);
  pthread_mutex_unlock(&p->up.lock);
  pump_up_go(p);
  pump_ack_go(p); /* of what was waiting for the socket */
  return 0;
}

void pump_close(struct pump *p)
{
  p->closed = true;
  pump_ack_stop(p);
  if (p->call != NULL)
    grpc_call_cancel(p->call, NULL);
  pump_close_socket(p, false);
  pump_unref(p);
}

struct pump_counters pump_counters(struct pump *p)
{
  struct pump_counters c = {
      .bytes_read = atomic_load_explicit(&p->bytes_read, memory_order_relaxed),
      .bytes_written = atomic_load_explicit(&p->bytes_written, memory_order_relaxed),
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
