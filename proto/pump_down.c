/* Stream to socket. The bytes go out from the very slices they arrived in, past the few bytes that name the field.
 *
 * With a window at the other side the next message is asked for at once, and what the socket does not take is queued:
 * the window bounds that, and acks of our own direction do not wait behind data that nobody reads. Without, or when all
 * queues together reach the budget, the next message is asked for only once this one is written: that is the
 * backpressure then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "mindmeld.pb-c.h"
#include "pump_internal.h"

enum {
  PARTS_MAX = 256,
  COPY_MAX = 2 << 10, /* a small message that waits does not pin the buffer in which it arrived */
};

static void message_complete(struct rpc_tag *tag, bool ok);

void pump_down_init(struct pump *p)
{
  pthread_mutex_init(&p->down.lock, NULL);
  p->down.tag.complete = message_complete;
  p->down.queueing = true;
}

static void receive(struct pump *p)
{
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
  op.data.recv_message.recv_message = &p->down.arriving;
  p->down.receiving = true;
  pump_ref(p);
  if (rpc_start_batch(p->call, &op, 1, &p->down.tag) != 0) {
    p->down.receiving = false;
    p->down.over = true;
    grpc_call_cancel(p->call, NULL);
    pump_unref(p);
  }
}

/* ---- The queue ---- */

static void charge(struct pump *p, uint64_t cost)
{
  atomic_fetch_add_explicit(&p->queued, cost, memory_order_relaxed);
  atomic_fetch_add_explicit(&p->set->queued, cost, memory_order_relaxed);
}

static void refund(struct pump *p, uint64_t cost)
{
  atomic_fetch_sub_explicit(&p->queued, cost, memory_order_relaxed);
  atomic_fetch_sub_explicit(&p->set->queued, cost, memory_order_relaxed);
}

static void pop(struct pump *p)
{
  struct pump_message *m = p->down.first;
  p->down.first = m->next;
  if (m->charged)
    refund(p, m->left + WINDOW_MESSAGE_COST);
  grpc_byte_buffer_destroy(m->buffer);
  free(m);
}

void pump_down_drop(struct pump *p)
{
  p->down.drop = true;
  while (p->down.first != NULL)
    pop(p);
}

void pump_down_free(struct pump *p)
{
  pump_down_drop(p);
  grpc_byte_buffer_destroy(p->down.arriving);
  free(p->down.header);
  free(p->down.reset_code);
  free(p->down.reset_reason);
  pthread_mutex_destroy(&p->down.lock);
}

static size_t parts_of(const grpc_byte_buffer *b, struct iovec *parts, size_t max, size_t slice, size_t used)
{
  const grpc_slice_buffer *slices = &b->data.raw.slice_buffer;
  size_t count = 0;
  for (; slice < slices->count && count < max; slice++, used = 0) {
    parts[count].iov_base = GRPC_SLICE_START_PTR(slices->slices[slice]) + used;
    parts[count++].iov_len = GRPC_SLICE_LENGTH(slices->slices[slice]) - used;
  }
  return count;
}

static void advance(struct pump_message *m, size_t n)
{
  const grpc_slice_buffer *slices = &m->buffer->data.raw.slice_buffer;
  while (n > 0) {
    size_t here = GRPC_SLICE_LENGTH(slices->slices[m->slice]) - m->slice_used;
    if (n < here) {
      m->slice_used += n;
      return;
    }
    n -= here;
    m->slice++;
    m->slice_used = 0;
  }
}

/* What of a message is still to be written, cut to it. Returns how many parts. */
static size_t unwritten(const struct pump_message *m, struct iovec *parts, size_t max)
{
  size_t count = parts_of(m->buffer, parts, max, m->slice, m->slice_used), size = 0;
  for (size_t i = 0; i < count; i++) {
    if (parts[i].iov_len > m->left - size)
      parts[i].iov_len = m->left - size;
    size += parts[i].iov_len;
  }
  return count;
}

static void make_small(struct pump_message *m)
{
  struct iovec parts[PARTS_MAX];
  size_t count = unwritten(m, parts, PARTS_MAX), at = 0;
  grpc_slice slice = grpc_slice_malloc(m->left);
  for (size_t i = 0; i < count; at += parts[i++].iov_len)
    memcpy(GRPC_SLICE_START_PTR(slice) + at, parts[i].iov_base, parts[i].iov_len);
  grpc_byte_buffer_destroy(m->buffer);
  m->buffer = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  m->slice = m->slice_used = 0;
}

/* The last message stays in the queue, if there is one. False: the other side sent more than it may. */
static bool keep_last(struct pump *p)
{
  struct pump_message *m = p->down.last;
  if (p->down.first == NULL || m->charged)
    return true;
  m->charged = true;
  charge(p, m->left + WINDOW_MESSAGE_COST);
  if (m->left > 0 && m->left <= COPY_MAX && m->buffer->data.raw.slice_buffer.count <= PARTS_MAX)
    make_small(m);
  /* An end and a first byte go beyond a window, however small. */
  uint64_t most = p->set->limits.window + (uint64_t)(3 * WINDOW_MESSAGE_COST);
  return !p->down.queueing || atomic_load_explicit(&p->queued, memory_order_relaxed) <= most;
}

/* ---- Arriving ---- */

static void keep_reset(struct pump *p, const struct payload *m, const struct iovec *parts, size_t count)
{
  uint8_t bytes[2 * (PUMP_RESET_CODE_MAX + PUMP_RESET_REASON_MAX)];
  Mindmeld__Reset *reset = NULL;
  if (p->down.reset_code == NULL && m->reset_size <= sizeof bytes) {
    payload_copy(parts, count, m->reset_at, m->reset_size, bytes);
    reset = mindmeld__reset__unpack(NULL, m->reset_size, bytes);
  }
  if (reset == NULL)
    return;
  p->down.reset_code = strndup(reset->code, PUMP_RESET_CODE_MAX - 1);
  p->down.reset_reason = strndup(reset->reason, PUMP_RESET_REASON_MAX - 1);
  mindmeld__reset__free_unpacked(reset, NULL);
}

/* The first message of a peer of ours. False: it is malformed, or memory is short. */
static bool keep_header(struct pump *p, const struct payload *m, const struct iovec *parts, size_t count)
{
  uint8_t bytes[HEADER_SIZE_MAX];
  const char *why;
  if (p->down.has_header || !p->down.queueing || m->header_size > sizeof bytes)
    return false;
  p->down.has_header = true;
  p->down.header = malloc(sizeof *p->down.header);
  payload_copy(parts, count, m->header_at, m->header_size, bytes);
  if (p->down.header == NULL || header_unpack(bytes, m->header_size, p->down.header, &why) != 0)
    return false;
  p->down.limit = p->down.header->limit;
  pump_tell(p, PUMP_HEADER);
  return true;
}

static struct pump_message *append(struct pump *p, grpc_byte_buffer *buffer, const struct payload *payload)
{
  struct pump_message *m = calloc(1, sizeof *m);
  if (m == NULL)
    return NULL;
  m->buffer = buffer;
  m->eof = payload->eof;
  if (payload->has_data) {
    advance(m, payload->data_at);
    m->left = payload->data_size;
  }
  if (p->down.first == NULL)
    p->down.first = m;
  else
    p->down.last->next = m;
  p->down.last = m;
  return m;
}

/* `parts`: room for `count`, which is how many the message has. */
static bool look_at(struct pump *p, const grpc_byte_buffer *buffer, struct iovec *parts, size_t count,
                    struct payload *out)
{
  parts_of(buffer, parts, count, 0, 0);
  if (payload_parse(parts, count, out) != 0 || (out->has_header && !keep_header(p, out, parts, count)))
    return false;
  if (out->has_reset && !p->down.reset_told)
    keep_reset(p, out, parts, count);
  return true;
}

/* Looks at what arrived, which is queued or freed. False: the stream cannot go on. */
static bool look(struct pump *p, grpc_byte_buffer *buffer, struct payload *out)
{
  size_t count = buffer->data.raw.slice_buffer.count;
  struct iovec few[PARTS_MAX], *many = count > PARTS_MAX ? calloc(count, sizeof *many) : NULL;
  bool good = false;
  if (count <= PARTS_MAX)
    good = look_at(p, buffer, few, count, out);
  else if (many != NULL)
    good = look_at(p, buffer, many, count, out);
  free(many);
  bool wanted = good && !p->down.drop && (out->has_data || out->eof);
  if (wanted && append(p, buffer, out) != NULL)
    return true;
  grpc_byte_buffer_destroy(buffer);
  return good && !wanted;
}

/* ---- Writing ---- */

/* 0: all is written. -EAGAIN: the socket is full, and armed. -ENOTCONN: there is no socket yet. -EPIPE: it failed. */
static int write_message(struct pump *p, struct pump_message *m, uint64_t *written)
{
  struct iovec parts[PARTS_MAX];
  while (m->left > 0) {
    if (p->fd < 0)
      return -ENOTCONN;
    struct msghdr header = {.msg_iov = parts, .msg_iovlen = unwritten(m, parts, PARTS_MAX)};
    ssize_t n = sendmsg(p->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN) {
      pump_arm(p, EPOLLOUT);
      return -EAGAIN;
    }
    if (n < 0) {
      pump_tell_socket_failed(p, errno);
      return -EPIPE;
    }
    m->left -= (size_t)n;
    *written += (uint64_t)n;
    if (m->left > 0)
      advance(m, (size_t)n);
  }
  return 0;
}

static int write_first(struct pump *p)
{
  struct pump_message *m = p->down.first;
  uint64_t written = 0;
  int error = write_message(p, m, &written);
  bool whole = error == 0;
  if (m->charged)
    refund(p, written);
  atomic_fetch_add_explicit(&p->bytes_written, written, memory_order_relaxed);
  if (written > 0 || whole)
    pump_ack_taken(p, written + (whole && m->eof), whole);
  return error;
}

static void finish_first(struct pump *p)
{
  bool eof = p->down.first->eof;
  pop(p);
  if (eof) {
    pump_tell(p, PUMP_REMOTE_EOF);
    pump_down_drop(p);
  }
}

static void write_queue(struct pump *p)
{
  while (p->down.first != NULL) {
    int error = write_first(p);
    if (error == -EPIPE)
      pump_down_drop(p);
    else if (error == 0)
      finish_first(p);
    else
      return;
  }
}

/* Only what the socket has taken by now goes before a reset: who does not read would never hear of it. An end may have
 * gone before. */
static void tell_reset(struct pump *p)
{
  pump_down_drop(p);
  if (!p->down.reset_told)
    pump_tell(p, PUMP_REMOTE_RESET);
  p->down.reset_told = true;
}

/* Who waits for the budget is asked again once there is some: its own socket may never take anything. */
static bool may_receive(struct pump *p)
{
  if (p->down.receiving || p->down.over)
    return false;
  if (p->down.first == NULL)
    return true;
  if (!p->down.queueing)
    return false;
  if (pump_set_has_budget(p->set))
    return true;
  atomic_store_explicit(&p->set->held_back, true, memory_order_relaxed);
  return false;
}

void pump_down_run(struct pump *p)
{
  if (p->down.status_known && p->status != GRPC_STATUS_OK)
    pump_down_drop(p);
  write_queue(p);
  if (may_receive(p))
    receive(p);
  bool open = p->down.first != NULL || p->down.receiving || !p->down.over;
  if (p->down.status_known && !p->down.ended && (!open || p->status != GRPC_STATUS_OK)) {
    p->down.ended = true;
    pump_tell(p, PUMP_ENDED);
  }
}

void pump_down_status(struct pump *p)
{
  p->down.status_known = true;
  pump_down_run(p);
}

static void fail(struct pump *p, const char *why)
{
  pump_down_drop(p);
  p->down.over = true;
  grpc_call_cancel_with_status(p->call, GRPC_STATUS_INTERNAL, why, NULL);
}

static void message_complete(struct rpc_tag *tag, bool ok)
{
  struct pump *p = (struct pump *)((char *)tag - offsetof(struct pump, down.tag));
  struct payload payload;
  bool good = false;
  pthread_mutex_lock(&p->down.lock);
  grpc_byte_buffer *buffer = p->down.arriving;
  p->down.arriving = NULL;
  p->down.receiving = false;
  if (!ok || buffer == NULL)
    p->down.over = true;
  else if (!(good = look(p, buffer, &payload)))
    fail(p, "the other side sent a malformed message");
  write_queue(p);
  if (good && payload.has_reset)
    tell_reset(p);
  if (!keep_last(p))
    fail(p, "the other side sent more than it was told it may");
  pump_down_run(p);
  uint64_t limit = good && payload.has_header ? p->down.limit : 0;
  pthread_mutex_unlock(&p->down.lock);
  if (limit > 0)
    pump_up_limit(p, limit);
  if (good && payload.has_ack && pump_up_acked(p, &payload.ack) != 0)
    grpc_call_cancel_with_status(p->call, GRPC_STATUS_INTERNAL, "the other side acknowledged what was never sent",
                                 NULL);
  pump_ack_go(p);
  pump_unref(p);
}
