/* What goes out on a stream: one message at a time, each a batch of its own; the words that are not data. */
#include <string.h>

#include "pump_internal.h"

static void send_done(struct pump_stream *s, struct pump *p, bool ok)
{
  grpc_byte_buffer_destroy(s->out.message);
  s->out.message = NULL;
  s->out.sending = false;
  if (ok && !atomic_load_explicit(&s->begun, memory_order_relaxed)) {
    atomic_store(&s->begun, true);
    rpc_lane_begun(s->lane);
  }
  if (ok)
    return;
  s->out.over = true;
  if (p != NULL && p->stream == s)
    pump_up_pause(p);
}

void pump_complete_stray(struct rpc_stray stray)
{
  if (stray.tag != NULL)
    rpc_tag_complete(stray.tag, stray.ok);
}

/* Of a stream that is not current: no data. */
static struct rpc_stray run(struct pump_stream *s, struct pump *p)
{
  struct rpc_stray stray = {NULL, false};
  if (p != NULL && p->stream == s)
    return pump_up_run(p);
  while (pump_say_can(s) && stray.tag == NULL) {
    if (pump_say_word(s, false, &stray))
      continue;
    if (!s->out.half_close_due)
      break;
    stray = pump_say_last(s, NULL);
  }
  return stray;
}

void pump_say_go(struct pump_stream *s)
{
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  struct rpc_stray stray = run(s, p);
  pump_stream_unlock(s, p, PUMP_UP);
  pump_complete_stray(stray);
}

static void send_complete(struct rpc_tag *tag, bool ok)
{
  struct pump_stream *s = (struct pump_stream *)((char *)tag - offsetof(struct pump_stream, out.tag));
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  send_done(s, p, ok);
  struct rpc_stray stray = run(s, p);
  pump_stream_unlock(s, p, PUMP_UP);
  pump_complete_stray(stray);
  pump_stream_unref(s);
}

/* Starts a batch whose completion, if it is immediate, comes back here rather than through the queue. (What comes back
 * may be another's: then this one is still to come.) */
static struct rpc_stray start(struct pump_stream *s, const grpc_op *ops, size_t count)
{
  struct rpc_stray stray = {NULL, false};
  struct pump *p = atomic_load_explicit(&s->pump, memory_order_relaxed);
  void *tag = NULL;
  int ok = 0;
  s->out.sending = true;
  pump_stream_ref(s);
  grpc_completion_queue_thread_local_cache_init(rpc_queue_cq(s->set->queue));
  int error = rpc_start_batch(s->call, ops, count, &s->out.tag);
  if (grpc_completion_queue_thread_local_cache_flush(rpc_queue_cq(s->set->queue), &tag, &ok))
    stray = (struct rpc_stray){tag, ok != 0};
  if (error != 0) {
    send_done(s, p, false);
    pump_stream_unref(s);
    grpc_call_cancel(s->call, NULL);
  } else if (stray.tag == &s->out.tag) {
    rpc_tag_take(stray.tag);
    send_done(s, p, stray.ok);
    pump_stream_unref(s);
    stray.tag = NULL;
  }
  return stray;
}

struct rpc_stray pump_say_start(struct pump_stream *s, grpc_byte_buffer *header, const grpc_metadata *metadata,
                                size_t metadata_count)
{
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}};
  ops[0].data.send_initial_metadata.count = metadata_count;
  ops[0].data.send_initial_metadata.metadata = (grpc_metadata *)(uintptr_t)metadata;
  ops[1].data.send_message.send_message = header;
  s->out.tag.complete = send_complete;
  s->out.message = header;
  return start(s, ops, 2);
}

bool pump_say_can(const struct pump_stream *s)
{
  return s != NULL && !s->out.sending && !s->out.over;
}

struct rpc_stray pump_say(struct pump_stream *s, grpc_byte_buffer *message)
{
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
  op.data.send_message.send_message = message;
  s->out.message = message;
  return start(s, &op, 1);
}

struct rpc_stray pump_say_last(struct pump_stream *s, grpc_byte_buffer *last)
{
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
  struct pump *p = atomic_load_explicit(&s->pump, memory_order_relaxed);
  ops[0].data.send_message.send_message = last;
  s->out.message = last;
  s->out.over = true;
  if (p != NULL && p->stream == s)
    pump_up_pause(p);
  return last != NULL ? start(s, ops, 2) : start(s, ops + 1, 1);
}

grpc_byte_buffer *pump_say_copied(const uint8_t *bytes, size_t size)
{
  grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, size);
  grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return message;
}

grpc_byte_buffer *pump_say_header(const struct header *h)
{
  uint8_t bytes[HEADER_SIZE_MAX];
  size_t size = header_pack(h, bytes);
  grpc_byte_buffer *message = pump_say_copied(bytes, size);
  explicit_bzero(bytes, sizeof bytes);
  return message;
}

bool pump_say_word(struct pump_stream *s, bool data, struct rpc_stray *stray)
{
  grpc_byte_buffer *header = s->out.header_due, *last = data && s->out.last_waits ? NULL : s->out.last_due;
  if (header != NULL) {
    s->out.header_due = NULL;
    *stray = pump_say(s, header);
  } else if (last != NULL) {
    s->out.last_due = NULL;
    *stray = pump_say_last(s, last);
  }
  return header != NULL || last != NULL;
}
