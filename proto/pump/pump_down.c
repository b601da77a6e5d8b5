/* Stream to socket. The bytes go out from the very memory they arrived in, past the few bytes that name the field.
 *
 * With a window at the other side the next message is asked for at once, and what the socket does not take is queued:
 * the window bounds that, and nothing that is said waits behind data that nobody reads, be it an ack, a reset or an
 * end. The budget of all queues is kept to by granting smaller windows; who goes far beyond what was granted loses the
 * stream, and with the next one is told anew. Without a window the next message is asked for only once this one is
 * written: that is the backpressure then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "pump_internal.h"

void pump_down_init(struct pump *p)
{
  pthread_mutex_init(&p->down.lock, NULL);
  p->down.queueing = true;
}

/* ---- The queue ---- */

/* Tells the budget what this pump has of it. */
static void account(struct pump *p)
{
  uint64_t queued = atomic_load_explicit(&p->queued, memory_order_relaxed);
  uint64_t promised = window_promised(p->down.said, queued), excess = window_promised(0, queued);
  uint64_t before = atomic_exchange_explicit(&p->promised, promised, memory_order_relaxed);
  if (promised != before)
    atomic_fetch_add_explicit(&p->set->promised, promised - before, memory_order_relaxed);
  if (excess != p->down.excess)
    atomic_fetch_add_explicit(&p->set->excess, excess - p->down.excess, memory_order_relaxed);
  p->down.excess = excess;
}

static void charge(struct pump *p, uint64_t cost)
{
  atomic_fetch_add_explicit(&p->queued, cost, memory_order_relaxed);
  atomic_fetch_add_explicit(&p->set->queued, cost, memory_order_relaxed);
  account(p);
}

static void refund(struct pump *p, uint64_t cost)
{
  atomic_fetch_sub_explicit(&p->queued, cost, memory_order_relaxed);
  atomic_fetch_sub_explicit(&p->set->queued, cost, memory_order_relaxed);
  account(p);
}

/* What it means to have beyond what it may have is its own affair. */
static void take_window(struct pump *p, uint64_t said)
{
  p->down.said = said < p->set->limits.window ? said : p->set->limits.window;
  account(p);
}

static void pop(struct pump *p)
{
  struct pump_message *m = p->down.first;
  p->down.first = m->next;
  if (m->charged)
    refund(p, m->left + WINDOW_MESSAGE_COST);
  message_free(m->message);
  free(m);
}

void pump_down_drop(struct pump *p)
{
  p->down.drop = true;
  while (p->down.first != NULL)
    pop(p);
  p->down.said = 0;
  account(p);
}

void pump_down_free(struct pump *p)
{
  pump_down_drop(p);
  pthread_mutex_destroy(&p->down.lock);
}

static void advance(struct pump_message *m, size_t n)
{
  while (n > 0) {
    size_t here = m->message->parts[m->part].size - m->part_used;
    if (n < here) {
      m->part_used += n;
      return;
    }
    n -= here;
    m->part++;
    m->part_used = 0;
  }
}

/* What of a message is still to be written, cut to it. Returns how many parts. */
static size_t unwritten(const struct pump_message *m, struct iovec *parts, size_t max)
{
  size_t count = 0, left = m->left, used = m->part_used;
  for (size_t i = m->part; left > 0 && count < max; i++, used = 0) {
    const struct bytes *b = &m->message->parts[i];
    size_t here = b->size - used < left ? b->size - used : left;
    parts[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)(b->at + used), .iov_len = here};
    left -= here;
  }
  return count;
}

/* Without memory for it, it stays as it is. */
static void make_small(struct pump_message *m)
{
  struct iovec parts[PUMP_PARTS_MAX];
  uint8_t bytes[PUMP_COPY_MAX];
  payload_copy(parts, unwritten(m, parts, PUMP_PARTS_MAX), 0, m->left, bytes);
  struct message *small = message_copy(bytes, m->left);
  if (small == NULL)
    return;
  message_free(m->message);
  m->message = small;
  m->part = m->part_used = 0;
}

/* The last message is the only one that may not be charged yet. */
void pump_down_keep(struct pump *p)
{
  struct pump_message *m = p->down.last;
  if (p->down.first == NULL || m->charged)
    return;
  m->charged = true;
  charge(p, m->left + WINDOW_MESSAGE_COST);
  if (m->left > 0 && m->left <= PUMP_COPY_MAX && m->message->count <= PUMP_PARTS_MAX && m->message->pipe == NULL)
    make_small(m);
}

/* ---- Arriving ---- */

static void show(const struct pump *p, const struct pump_message *m)
{
  struct pump_observer *o = p->observer;
  size_t left = m->left, used = m->part_used;
  if (o == NULL)
    return;
  if (m->message->pipe != NULL && left > 0) {
    o->to_socket(o, NULL, left);
    left = 0;
  }
  for (size_t i = m->part; left > 0; i++, used = 0) {
    const struct bytes *b = &m->message->parts[i];
    size_t here = b->size - used < left ? b->size - used : left;
    if (here > 0)
      o->to_socket(o, (const char *)b->at + used, here);
    left -= here;
  }
  if (m->eof)
    o->to_socket(o, "", 0);
}

static bool append(struct pump *p, struct message *message, const struct payload *payload, uint64_t skip)
{
  struct pump_message *m = calloc(1, sizeof *m);
  if (m == NULL)
    return false;
  m->message = message;
  m->eof = payload->eof;
  if (message->pipe != NULL && pipe_forget(message->pipe, (size_t)skip) != 0) {
    free(m);
    return false;
  }
  if (payload->has_data) {
    advance(m, payload->data_at + (message->pipe == NULL ? (size_t)skip : 0));
    m->left = payload->data_size - (size_t)skip;
  }
  if (p->down.first == NULL)
    p->down.first = m;
  else
    p->down.last->next = m;
  p->down.last = m;
  show(p, m);
  return true;
}

/* A peer of ours has no more under way, written or not. */
static bool is_too_much(const struct pump *p, uint64_t size)
{
  const struct pump_set *set = p->set;
  uint64_t queued = atomic_load_explicit(&p->queued, memory_order_relaxed) + size + WINDOW_MESSAGE_COST;
  return p->down.queueing &&
         window_overrun(set->limits.window, queued, atomic_load_explicit(&set->excess, memory_order_relaxed),
                        set->limits.budget);
}

const char *pump_down_take(struct pump *p, struct message *message, const struct payload *payload)
{
  if (payload->has_window && p->down.queueing && !p->down.drop)
    take_window(p, payload->window);
  struct sequence_in before = p->down.sequence;
  uint64_t size = payload->has_data ? payload->data_size : 0, skip = 0;
  int news = size > 0 || payload->eof ? sequence_in_message(&p->down.sequence, payload->has_offset, payload->offset,
                                                            size, payload->eof, &skip)
                                      : 0;
  const char *why = NULL;
  if (message->pipe != NULL && message->pipe->held != size)
    why = "the other side sent a malformed message";
  else if (news < 0)
    why = "the other side did not go on where it stopped";
  else if (news > 0 && !p->down.drop && is_too_much(p, size - skip))
    why = "the other side sent more than its limit allows";
  else if (news > 0 && !p->down.drop && !append(p, message, payload, skip))
    why = "memory is short";
  if (why != NULL)
    p->down.sequence = before;
  if (why != NULL || news == 0 || p->down.drop)
    message_free(message);
  return why;
}

/* ---- Writing ---- */

static ssize_t write_parts(struct pump *p, const struct pump_message *m)
{
  struct iovec parts[PUMP_PARTS_MAX];
  struct msghdr header = {.msg_iov = parts, .msg_iovlen = unwritten(m, parts, PUMP_PARTS_MAX)};
  return sendmsg(p->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* 0: all is written. -EAGAIN: the socket is full. -ENOTCONN: there is no socket yet. -EPIPE: it failed. */
static int write_message(struct pump *p, struct pump_message *m, uint64_t *written)
{
  while (m->left > 0) {
    if (p->fd < 0)
      return -ENOTCONN;
    ssize_t n = m->message->pipe != NULL ? pump_splice_write(p, m) : write_parts(p, m);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EAGAIN) {
      p->down.full = true;
      pump_watch_room(p);
      return -EAGAIN;
    }
    if (n < 0) {
      pump_tell_socket_failed(p, errno);
      return -EPIPE;
    }
    m->left -= (size_t)n;
    *written += (uint64_t)n;
    if (m->left > 0 && m->message->pipe == NULL)
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
  uint64_t before = atomic_fetch_add_explicit(&p->bytes_written, written, memory_order_relaxed);
  if (before + written > PUMP_LITTLE && !p->down.bounded && p->fd >= 0) {
    pump_socket_bound_unsent(p->fd, atomic_load_explicit(&p->set->pump_count, memory_order_relaxed));
    p->down.bounded = true;
  }
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

void pump_down_write(struct pump *p)
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

static bool may_receive(const struct pump *p)
{
  if (p->stream->in.receiving || p->stream->in.over || pump_splice_blocks(p))
    return false;
  return window_hears(p->down.queueing, p->down.first == NULL);
}

void pump_down_run(struct pump *p)
{
  struct pump_stream *s = p->stream;
  if (s != NULL && s->original && s->in.status_known && s->status != RPC_OK)
    pump_down_drop(p);
  pump_down_write(p);
  atomic_store_explicit(&p->down.blocked, pump_splice_blocks(p), memory_order_relaxed);
  if (s == NULL)
    return;
  if (may_receive(p))
    pump_hear(s);
  pump_stream_check_end(s, p);
}

void pump_down_ready(struct pump *p)
{
  pthread_mutex_lock(&p->down.lock);
  bool full = p->down.full;
  p->down.full = false;
  if (full)
    pump_down_run(p);
  pthread_mutex_unlock(&p->down.lock);
  if (full)
    pump_ack_go(p);
}
