/* Stream to socket. The bytes go out from the very slices they arrived in, past the few bytes that name the field. The
 * next message is asked for only once this one is written: that is the backpressure.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "mindmeld.pb-c.h"
#include "pump_internal.h"

enum { PARTS_MAX = 256 };

static void message_complete(struct rpc_tag *tag, bool ok);

void pump_down_init(struct pump *p)
{
  p->down.tag.complete = message_complete;
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

static void advance(struct pump *p, size_t n)
{
  const grpc_slice_buffer *slices = &p->down.held->data.raw.slice_buffer;
  while (n > 0) {
    size_t here = GRPC_SLICE_LENGTH(slices->slices[p->down.slice]) - p->down.slice_used;
    if (n < here) {
      p->down.slice_used += n;
      return;
    }
    n -= here;
    p->down.slice++;
    p->down.slice_used = 0;
  }
}

static void copy_text(char *out, size_t size, const char *text)
{
  size_t n = strnlen(text, size - 1);
  memcpy(out, text, n);
  out[n] = '\0';
}

static void keep_reset(struct pump *p, const struct iovec *parts, size_t count)
{
  uint8_t bytes[PUMP_RESET_REASON_MAX * 2];
  struct payload *m = &p->down.payload;
  Mindmeld__Reset *reset = NULL;
  if (m->reset_size <= sizeof bytes) {
    payload_copy(parts, count, m->reset_at, m->reset_size, bytes);
    reset = mindmeld__reset__unpack(NULL, m->reset_size, bytes);
  }
  if (reset == NULL)
    return;
  copy_text(p->down.reset_code, sizeof p->down.reset_code, reset->code);
  copy_text(p->down.reset_reason, sizeof p->down.reset_reason, reset->reason);
  mindmeld__reset__free_unpacked(reset, NULL);
}

/* Looks at a message that arrived, and stands before its data. False: it is malformed. */
static bool look(struct pump *p)
{
  enum { LOOK_PARTS_MAX = 1024 };
  struct iovec parts[LOOK_PARTS_MAX];
  size_t slices = p->down.held->data.raw.slice_buffer.count;
  size_t count = parts_of(p->down.held, parts, LOOK_PARTS_MAX, 0, 0);
  if (slices > LOOK_PARTS_MAX || payload_parse(parts, count, &p->down.payload) != 0)
    return false;
  p->down.slice = p->down.slice_used = 0;
  p->down.left = 0;
  if (p->down.payload.has_reset)
    keep_reset(p, parts, count);
  if (p->down.payload.has_data && !p->down.drop) {
    p->down.left = p->down.payload.data_size;
    advance(p, p->down.payload.data_at);
  }
  return true;
}

void pump_down_drop(struct pump *p)
{
  p->down.drop = true;
  p->down.left = 0;
}

/* 0: all is written. -EAGAIN: the socket is full, and armed. -ENOTCONN: there is no socket yet. */
static int write_held(struct pump *p)
{
  struct iovec parts[PARTS_MAX];
  while (p->down.left > 0) {
    if (p->fd < 0)
      return -ENOTCONN;
    size_t count = parts_of(p->down.held, parts, PARTS_MAX, p->down.slice, p->down.slice_used), size = 0;
    for (size_t i = 0; i < count; i++) {
      if (parts[i].iov_len > p->down.left - size)
        parts[i].iov_len = p->down.left - size;
      size += parts[i].iov_len;
    }
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t n = sendmsg(p->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN) {
      pump_arm(p, EPOLLOUT);
      return -EAGAIN;
    }
    if (n < 0) {
      pump_tell_socket_failed(p, errno);
      pump_down_drop(p);
      return 0;
    }
    p->down.left -= (size_t)n;
    atomic_fetch_add_explicit(&p->bytes_written, (uint64_t)n, memory_order_relaxed);
    if (p->down.left > 0)
      advance(p, (size_t)n);
  }
  return 0;
}

static void finish_held(struct pump *p)
{
  grpc_byte_buffer_destroy(p->down.held);
  p->down.held = NULL;
  if (p->down.payload.has_reset && !p->down.drop)
    pump_tell_remote_reset(p);
  else if (p->down.payload.eof && !p->down.drop)
    pump_tell_remote_eof(p);
  if (p->down.payload.eof || p->down.payload.has_reset)
    p->down.drop = true;
}

void pump_down_run(struct pump *p)
{
  for (;;) {
    if (p->down.held != NULL) {
      if (write_held(p) != 0)
        break;
      finish_held(p);
    }
    if (p->down.receiving || p->down.over)
      break;
    receive(p);
  }
  bool unwritten = p->down.held != NULL || p->down.receiving || !p->down.over;
  if (p->down.status_known && !p->down.ended && (!unwritten || p->status != GRPC_STATUS_OK)) {
    p->down.ended = true;
    pump_tell_ended(p);
  }
}

void pump_down_status(struct pump *p)
{
  p->down.status_known = true;
  pump_down_run(p);
}

static void message_complete(struct rpc_tag *tag, bool ok)
{
  struct pump *p = (struct pump *)((char *)tag - offsetof(struct pump, down.tag));
  pthread_mutex_lock(&p->down.lock);
  p->down.receiving = false;
  p->down.held = p->down.arriving;
  p->down.arriving = NULL;
  if (!ok || p->down.held == NULL) {
    p->down.over = true;
  } else if (!look(p)) {
    grpc_byte_buffer_destroy(p->down.held);
    p->down.held = NULL;
    p->down.over = true;
    grpc_call_cancel_with_status(p->call, GRPC_STATUS_INTERNAL, "the other side sent a malformed message", NULL);
  }
  pump_down_run(p);
  pthread_mutex_unlock(&p->down.lock);
  pump_unref(p);
}
