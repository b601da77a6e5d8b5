/* A gRPC call as a stream. Messages go out from where they lie, as slices that hold a reference, and come in as they
 * arrived: the byte buffer is one chunk.
 *
 * Completions are told on whatever thread takes them. A batch that completes at once, as most do that send, is answered
 * by the function that started it, and needs no other thread.
 */
#include "rpc_stream.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

#include "proto/stream/message.h"
#include "proto/stream/stream.h"
#include "rpc_internal.h"

#define STREAM_OF(tag, member) ((struct rpc_stream *)((char *)(tag)-offsetof(struct rpc_stream, member)))

enum {
  MESSAGE_MAX = 1 << 20,
  TOGETHER_MAX = 512, /* bytes: a message that is copied whole, since that costs less than to hold it */
};

struct rpc_stream {
  struct stream stream;
  struct rpc_channel *channel;
  struct rpc_lane *lane;
  grpc_call *call;
  bool original_router;
  atomic_bool begun;   /* its first message has left */
  atomic_uint unended; /* of the initial metadata and the status, what did not come yet */
  struct rpc_tag say_tag, hear_tag, metadata_tag, status_tag;
  grpc_byte_buffer *saying, *arriving;
  grpc_metadata_array metadata, trailers;
  grpc_status_code status;
  grpc_slice details;
  char *text; /* gRPC's */
};

static struct rpc_stream *of(struct stream *s)
{
  return (struct rpc_stream *)s;
}

/* ---- Saying ---- */

static void drop_chunk(void *chunk)
{
  chunk_unref(chunk);
}

static grpc_slice slice_of(const struct bytes *b)
{
  if (b->owner == NULL)
    return grpc_slice_from_static_buffer(b->at, b->size);
  chunk_ref(b->owner);
  return grpc_slice_new_with_user_data((void *)(uintptr_t)b->at, b->size, drop_chunk, b->owner);
}

static grpc_slice joined(const void *head, size_t head_size, const struct bytes *body)
{
  grpc_slice slice = grpc_slice_malloc(head_size + body->size);
  if (head_size > 0)
    memcpy(GRPC_SLICE_START_PTR(slice), head, head_size);
  memcpy(GRPC_SLICE_START_PTR(slice) + head_size, body->at, body->size);
  return slice;
}

static grpc_byte_buffer *message_of(const struct stream_say *what)
{
  grpc_slice slices[2];
  size_t count = 0;
  if (what->body != NULL && what->head_size + what->body->size <= TOGETHER_MAX) {
    slices[count++] = joined(what->head, what->head_size, what->body);
  } else {
    if (what->head_size > 0)
      slices[count++] = grpc_slice_from_copied_buffer(what->head, what->head_size);
    if (what->body != NULL)
      slices[count++] = slice_of(what->body);
  }
  grpc_byte_buffer *message = grpc_raw_byte_buffer_create(slices, count);
  for (size_t i = 0; i < count; i++)
    grpc_slice_unref(slices[i]);
  return message;
}

static enum stream_said said(struct rpc_stream *s, bool ok)
{
  grpc_byte_buffer_destroy(s->saying);
  s->saying = NULL;
  if (ok && !atomic_load_explicit(&s->begun, memory_order_relaxed)) {
    atomic_store(&s->begun, true);
    rpc_lane_begun(s->lane);
  }
  return ok ? STREAM_SAID : STREAM_BROKEN;
}

static void say_complete(struct rpc_tag *tag, bool ok)
{
  struct rpc_stream *s = STREAM_OF(tag, say_tag);
  said(s, ok);
  s->stream.user->said(s->stream.arg, ok);
}

static void complete_later(struct errand *e)
{
  struct rpc_tag *tag = (struct rpc_tag *)e;
  rpc_tag_complete(tag, tag->ok);
}

static void leave(struct rpc_tag *tag, bool ok, struct errand **later)
{
  rpc_tag_take(tag);
  tag->ok = ok;
  tag->errand = (struct errand){.next = *later, .run = complete_later};
  *later = &tag->errand;
}

/* The completion, if it is immediate, comes back here rather than through the queue. What comes back may be another's:
 * then this one is still to come, and the other is completed later. */
static enum stream_said start_saying(struct rpc_stream *s, const grpc_op *ops, size_t count, struct errand **later)
{
  grpc_completion_queue *cq = rpc_queue_cq(rpc_channel_queue(s->channel));
  void *tag = NULL;
  int ok = 0;
  grpc_completion_queue_thread_local_cache_init(cq);
  int error = rpc_start_batch(s->call, ops, count, &s->say_tag);
  bool any = grpc_completion_queue_thread_local_cache_flush(cq, &tag, &ok) != 0;
  if (any && tag != &s->say_tag)
    leave(tag, ok != 0, later);
  if (error != 0) {
    grpc_call_cancel(s->call, NULL);
    return said(s, false);
  }
  if (!any || tag != &s->say_tag)
    return STREAM_SAYING;
  rpc_tag_take(tag);
  return said(s, ok != 0);
}

static enum stream_said say(struct stream *stream, const struct stream_say *what, struct errand **later)
{
  struct rpc_stream *s = of(stream);
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
  if (what->head_size == 0 && what->body == NULL)
    return start_saying(s, ops + 1, 1, later);
  s->saying = message_of(what);
  ops[0].data.send_message.send_message = s->saying;
  if (what->body != NULL)
    rpc_lane_sends(s->lane, s->call, what->body->size);
  return start_saying(s, ops, what->last ? 2 : 1, later);
}

/* ---- Hearing ---- */

struct arrived {
  struct chunk chunk;
  grpc_byte_buffer *buffer;
};

static void arrived_unused(struct chunk *c)
{
  struct arrived *a = (struct arrived *)c;
  grpc_byte_buffer_destroy(a->buffer);
  free(a);
}

/* Takes the buffer. NULL: memory is short. */
static struct message *message_from(grpc_byte_buffer *buffer)
{
  const grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
  struct message *m = message_create(slices->count);
  struct arrived *a = m != NULL && slices->count > 0 ? malloc(sizeof *a) : NULL;
  if (a == NULL) {
    bool is_short = m == NULL || slices->count > 0;
    grpc_byte_buffer_destroy(buffer);
    if (!is_short)
      return m;
    free(m);
    return NULL;
  }
  chunk_begin(&a->chunk, (unsigned)slices->count, arrived_unused);
  a->buffer = buffer;
  for (size_t i = 0; i < slices->count; i++)
    m->parts[i] = (struct bytes){.owner = &a->chunk,
                                 .at = GRPC_SLICE_START_PTR(slices->slices[i]),
                                 .size = GRPC_SLICE_LENGTH(slices->slices[i])};
  m->size = slices->length;
  return m;
}

static void hear_complete(struct rpc_tag *tag, bool ok)
{
  struct rpc_stream *s = STREAM_OF(tag, hear_tag);
  grpc_byte_buffer *buffer = s->arriving;
  struct message *m = NULL;
  s->arriving = NULL;
  if (ok && buffer != NULL) {
    m = message_from(buffer);
    if (m == NULL)
      grpc_call_cancel_with_status(s->call, GRPC_STATUS_INTERNAL, "memory is short", NULL);
  }
  s->stream.user->heard(s->stream.arg, m);
}

static bool hear(struct stream *stream)
{
  struct rpc_stream *s = of(stream);
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
  op.data.recv_message.recv_message = &s->arriving;
  if (rpc_start_batch(s->call, &op, 1, &s->hear_tag) == 0)
    return true;
  grpc_call_cancel(s->call, NULL);
  return false;
}

/* ---- Its beginning and its end ---- */

static void end_if_all_came(struct rpc_stream *s)
{
  if (atomic_fetch_sub(&s->unended, 1) > 1)
    return;
  s->text = grpc_slice_to_c_string(s->details);
  s->stream.user->ended(s->stream.arg, (enum rpc_status)s->status, s->text);
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
  struct rpc_stream *s = STREAM_OF(tag, metadata_tag);
  if (ok && !s->original_router && says_original(&s->metadata))
    s->stream.user->original(s->stream.arg);
  end_if_all_came(s);
}

static void status_complete(struct rpc_tag *tag, bool ok)
{
  (void)ok;
  end_if_all_came(STREAM_OF(tag, status_tag));
}

/* What gRPC refuses is answered all the same. */
static void listen_for(struct rpc_stream *s, const grpc_op *op, struct rpc_tag *tag)
{
  if (rpc_start_batch(s->call, op, 1, tag) == 0)
    return;
  s->status = GRPC_STATUS_INTERNAL;
  grpc_call_cancel(s->call, NULL);
  rpc_queue_deliver(rpc_channel_queue(s->channel), tag, false, tag->complete);
}

/* What is sent goes first: it makes gRPC choose a connection, and what came before would have to wait for that. */
static enum stream_said start(struct stream *stream, const void *first, size_t size, struct errand **later)
{
  struct rpc_stream *s = of(stream);
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}};
  size_t count;
  grpc_metadata *metadata = (grpc_metadata *)(uintptr_t)rpc_channel_metadata(s->channel, &count);
  s->saying = message_of(&(struct stream_say){.head = first, .head_size = size});
  ops[0].data.send_initial_metadata.count = count;
  ops[0].data.send_initial_metadata.metadata = metadata;
  ops[1].data.send_message.send_message = s->saying;
  enum stream_said what = start_saying(s, ops, 2, later);
  grpc_op initial = {.op = GRPC_OP_RECV_INITIAL_METADATA}, status = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
  initial.data.recv_initial_metadata.recv_initial_metadata = &s->metadata;
  status.data.recv_status_on_client.trailing_metadata = &s->trailers;
  status.data.recv_status_on_client.status = &s->status;
  status.data.recv_status_on_client.status_details = &s->details;
  listen_for(s, &initial, &s->metadata_tag);
  listen_for(s, &status, &s->status_tag);
  return what;
}

static void cancel(struct stream *stream, enum rpc_status status, const char *text)
{
  grpc_call_cancel_with_status(of(stream)->call, (grpc_status_code)status, text != NULL ? text : "", NULL);
}

static bool has_no_room(struct stream *stream)
{
  struct rpc_stream *s = of(stream);
  return !atomic_load(&s->begun) && rpc_lane_full(s->lane);
}

static void free_stream(struct stream *stream)
{
  struct rpc_stream *s = of(stream);
  grpc_byte_buffer_destroy(s->saying);
  grpc_byte_buffer_destroy(s->arriving);
  grpc_metadata_array_destroy(&s->metadata);
  grpc_metadata_array_destroy(&s->trailers);
  grpc_slice_unref(s->details);
  gpr_free(s->text);
  if (s->call != NULL)
    grpc_call_unref(s->call);
  rpc_lane_put(s->lane, atomic_load(&s->begun));
  free(s);
}

static const struct stream_kind kind = {
    .name = "grpc",
    .start = start,
    .say = say,
    .hear = hear,
    .cancel = cancel,
    .has_no_room = has_no_room,
    .free = free_stream,
    .message_max = MESSAGE_MAX,
};

int rpc_stream_create(struct stream **out, struct rpc_channel *ch, bool original_router)
{
  struct rpc_stream *s = calloc(1, sizeof *s);
  if (s == NULL)
    return -ENOMEM;
  s->stream.kind = &kind;
  s->channel = ch;
  s->lane = rpc_channel_take_lane(ch);
  s->original_router = original_router;
  atomic_init(&s->unended, 2);
  grpc_metadata_array_init(&s->metadata);
  grpc_metadata_array_init(&s->trailers);
  s->details = grpc_empty_slice();
  s->say_tag.complete = say_complete;
  s->hear_tag.complete = hear_complete;
  s->metadata_tag.complete = metadata_complete;
  s->status_tag.complete = status_complete;
  s->call = rpc_lane_create_call(
      s->lane, original_router ? "/mindmeld.ProxyService/ProxyConnection" : "/mindmeld.ProxyService/Connect", 0);
  if (s->call == NULL) {
    free_stream(&s->stream);
    return -ENOMEM;
  }
  *out = &s->stream;
  return 0;
}
