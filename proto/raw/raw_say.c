/* What goes out: the preamble, then frames. What is said first waits for the end of the turn, so that a dial and what
 * the application has sent by then leave together; a message behind which another one follows waits for that. What the
 * socket does not take is kept, heads as a copy and a body by reference or in its pipe, until it does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "raw_internal.h"

enum { PARTS_MAX = 4 };

/* What is said in one system call. */
struct outgoing {
  struct iovec parts[PARTS_MAX]; /* the heads, then the body if there is one */
  int heads, count;
  struct bytes body; /* not a reference of its own; none if there is a pipe */
  uint8_t length[RAW_FRAME_LENGTH_SIZE];
  uint8_t preamble[RAW_PREAMBLE_MAX];
};

static void add(struct outgoing *o, const void *bytes, size_t size)
{
  if (size > 0)
    o->parts[o->count++] = (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
}

static void drop_first(struct raw_stream *s)
{
  if (s->first == NULL)
    return;
  explicit_bzero(s->first, s->first_size);
  free(s->first);
  s->first = NULL;
}

static void drop_rest(struct raw_stream *s)
{
  free(s->rest);
  s->rest = NULL;
  s->rest_at = s->rest_size = 0;
}

void raw_say_free(struct raw_stream *s)
{
  drop_first(s);
  drop_rest(s);
  bytes_drop(&s->body);
  pipes_give(s->pipe);
  s->pipe = NULL;
}

/* ---- One system call ---- */

static void collect_waiting(struct raw_stream *s, struct outgoing *o)
{
  if (s->first != NULL) {
    s->place.index = 0;
    add(o, o->preamble, raw_line_seal(s->line, s->first, s->first_size, o->preamble, &s->place.counter));
    drop_first(s);
  }
  if (s->rest != NULL)
    add(o, s->rest + s->rest_at, s->rest_size - s->rest_at);
  o->body = s->body;
}

static void collect_frame(struct outgoing *o, const struct stream_say *what)
{
  size_t size = what->head_size + (what->body != NULL ? what->body->size : 0);
  if (what->pipe != NULL)
    size += what->pipe->held;
  if (size == 0)
    return;
  raw_frame_write(o->length, size);
  add(o, o->length, sizeof o->length);
  add(o, what->head, what->head_size);
  if (what->body != NULL)
    o->body = *what->body;
}

/* Of the heads what was not taken, which lies behind `taken` bytes. 0, or -ENOMEM. */
static int keep_heads(struct raw_stream *s, const struct outgoing *o, size_t taken)
{
  size_t size = 0, used = 0;
  for (int i = 0; i < o->heads; i++)
    size += o->parts[i].iov_len;
  if (size == taken) {
    drop_rest(s);
    return 0;
  }
  uint8_t *rest = malloc(size - taken);
  if (rest == NULL)
    return -ENOMEM;
  for (int i = 0; i < o->heads; i++) {
    size_t skip = taken < o->parts[i].iov_len ? taken : o->parts[i].iov_len, part = o->parts[i].iov_len - skip;
    if (part > 0)
      memcpy(rest + used, (const uint8_t *)o->parts[i].iov_base + skip, part);
    taken -= skip;
    used += part;
  }
  drop_rest(s);
  s->rest = rest;
  s->rest_size = (uint32_t)used;
  return 0;
}

/* `own`: the stream has a reference of the body already. */
static void keep_body(struct raw_stream *s, const struct outgoing *o, size_t taken, bool own)
{
  if (taken >= o->body.size) {
    if (own)
      bytes_drop(&s->body);
    return;
  }
  s->body = own ? o->body : bytes_share(&o->body);
  s->body.at += taken;
  s->body.size -= taken;
}

/* The pipe stands behind all else. As push. */
static bool drain(struct raw_stream *s)
{
  while (s->pipe != NULL && s->pipe->held > 0) {
    ssize_t n = pipe_drain(s->pipe, s->fd, s->pipe->held);
    if (n == -EAGAIN)
      return true;
    if (n <= 0) {
      errno = n < 0 ? (int)-n : EIO;
      return false;
    }
  }
  pipes_give(s->pipe);
  s->pipe = NULL;
  return true;
}

/* False: the connection is broken, and errno says how. */
static bool push(struct raw_stream *s, struct outgoing *o, bool own)
{
  o->heads = o->count;
  add(o, o->body.at, o->body.size);
  if (o->count == 0)
    return drain(s);
  struct msghdr m = {.msg_iov = o->parts, .msg_iovlen = (size_t)o->count};
  /* The end goes out in one segment with what stands before it. */
  bool more = s->pipe != NULL || s->last;
  ssize_t n = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
  if (n < 0 && errno != EAGAIN && errno != EINTR)
    return false;
  size_t taken = n > 0 ? (size_t)n : 0, heads = 0;
  if (paced_due(&s->paced, taken))
    raw_stream_do(s, RAW_DUE_PACE);
  for (int i = 0; i < o->heads; i++)
    heads += o->parts[i].iov_len;
  if (keep_heads(s, o, taken < heads ? taken : heads) != 0) {
    errno = ENOMEM;
    return false;
  }
  keep_body(s, o, taken > heads ? taken - heads : 0, own);
  return s->rest != NULL || drain(s);
}

static bool waits(const struct raw_stream *s)
{
  return s->rest != NULL || s->body.size > 0 || s->pipe != NULL;
}

static void half_close_if_due(struct raw_stream *s)
{
  if (!s->last || s->half_closed || waits(s))
    return;
  raw_socket_reset_on_close(s->fd, false);
  /* Where both have ended the close follows, and says the same. */
  if (!atomic_load(&s->heard_end))
    shutdown(s->fd, SHUT_WR);
  s->half_closed = true;
  raw_stream_do(s, RAW_DUE_HEAR);
}

/* ---- What is asked for ---- */

static enum stream_said result(struct raw_stream *s, bool good)
{
  if (!good) {
    raw_stream_fail_later(s, errno);
    return STREAM_BROKEN;
  }
  half_close_if_due(s);
  s->saying = waits(s);
  return s->saying ? STREAM_SAYING : STREAM_SAID;
}

/* The next one says it. */
static enum stream_said wait_for_next(struct raw_stream *s, struct outgoing *o)
{
  add(o, o->body.at, o->body.size);
  o->heads = o->count;
  if (keep_heads(s, o, 0) == 0)
    return STREAM_SAID;
  errno = ENOMEM;
  return result(s, false);
}

enum stream_said raw_say(struct stream *stream, const struct stream_say *what, struct errand **later)
{
  struct raw_stream *s = (struct raw_stream *)stream;
  struct outgoing o;
  enum stream_said said = STREAM_BROKEN;
  (void)later;
  o.count = o.heads = 0;
  o.body = (struct bytes){0};
  pthread_mutex_lock(&s->lock);
  if (!raw_stream_is_over(s) && !s->has_status && !s->last) {
    bool goes_now = !what->more || s->first != NULL || waits(s) || what->pipe != NULL;
    s->last = what->last;
    s->pipe = what->pipe;
    collect_waiting(s, &o);
    collect_frame(&o, what);
    said = goes_now ? result(s, push(s, &o, false)) : wait_for_next(s, &o);
  } else {
    pipes_give(what->pipe);
  }
  pthread_mutex_unlock(&s->lock);
  return said;
}

bool raw_say_go(struct raw_stream *s, bool *answer)
{
  struct outgoing o;
  bool good = true;
  o.count = o.heads = 0;
  *answer = false;
  pthread_mutex_lock(&s->lock);
  if (s->first != NULL || waits(s)) {
    collect_waiting(s, &o);
    good = push(s, &o, true);
    if (good)
      half_close_if_due(s);
  }
  *answer = good && s->saying && !waits(s);
  if (*answer)
    s->saying = false;
  else if (good)
    s->saying |= waits(s);
  pthread_mutex_unlock(&s->lock);
  return good;
}
