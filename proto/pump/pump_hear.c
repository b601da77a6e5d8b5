/* What comes in on a stream: the words in it are looked at; data goes to the pump whose current stream it is. As long
 * as it is no pump's, one message is asked for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "mindmeld.pb-c.h"
#include "pump_internal.h"

void pump_hear_free(struct pump_stream *s)
{
  message_free(s->in.first);
  free(s->in.header);
  free(s->in.code);
  free(s->in.reason);
}

void pump_hear(struct pump_stream *s)
{
  const struct pump *p = atomic_load_explicit(&s->pump, memory_order_relaxed);
  s->stream->by_pipe = p != NULL && p->stream == s && s->stream->kind->splices && pump_splice_may_hear(p);
  s->in.receiving = true;
  pump_stream_ref(s);
  if (s->stream->kind->hear(s->stream))
    return;
  s->in.receiving = false;
  s->in.over = true;
  pump_stream_unref(s);
}

static void fail(struct pump_stream *s, const char *why)
{
  s->in.over = s->in.last = true;
  s->stream->kind->cancel(s->stream, RPC_INTERNAL, why);
}

/* ---- Words ---- */

static void keep_last_word(struct pump_stream *s, const struct payload *m, const struct iovec *parts, size_t count)
{
  uint8_t bytes[2 * (PUMP_RESET_CODE_MAX + PUMP_RESET_REASON_MAX)];
  Mindmeld__Reset *reset = NULL;
  if (m->reset_size <= sizeof bytes) {
    payload_copy(parts, count, m->reset_at, m->reset_size, bytes);
    reset = mindmeld__reset__unpack(NULL, m->reset_size, bytes);
  }
  if (reset == NULL)
    return;
  s->in.code = strndup(reset->code, PUMP_RESET_CODE_MAX - 1);
  s->in.reason = strndup(reset->reason, PUMP_RESET_REASON_MAX - 1);
  mindmeld__reset__free_unpacked(reset, NULL);
}

/* The first message of a peer of ours. False: it is malformed, or memory is short. */
static bool keep_header(struct pump_stream *s, const struct payload *m, const struct iovec *parts, size_t count)
{
  uint8_t bytes[HEADER_SIZE_MAX];
  const char *why;
  if (s->in.has_header || s->original || m->header_size > sizeof bytes)
    return false;
  s->in.has_header = true;
  s->in.header = malloc(sizeof *s->in.header);
  payload_copy(parts, count, m->header_at, m->header_size, bytes);
  if (s->in.header == NULL || header_unpack(bytes, m->header_size, s->in.header, &why) != 0)
    return false;
  s->in.limit = s->in.header->limit;
  pump_stream_tell(s, STREAM_HEADER);
  return true;
}

/* `parts`: room for as many as the message has, and one in a pipe. */
static bool parse(struct pump_stream *s, const struct message *message, struct iovec *parts, bool again,
                  struct payload *out)
{
  size_t count = message_iovecs(message, parts, message->count + 1);
  if (payload_parse(parts, count, out) != 0)
    return false;
  if (again)
    return true;
  if (out->has_header && !keep_header(s, out, parts, count))
    return false;
  if (out->has_reset || out->has_refused)
    keep_last_word(s, out, parts, count);
  return true;
}

/* False: it is malformed, or memory is short. `again`: its words are known already. */
static bool look(struct pump_stream *s, const struct message *message, bool again, struct payload *out)
{
  struct iovec few[PUMP_PARTS_MAX];
  if (message->count < PUMP_PARTS_MAX)
    return parse(s, message, few, again, out);
  struct iovec *many = calloc(message->count + 1, sizeof *many);
  bool good = many != NULL && parse(s, message, many, again, out);
  free(many);
  return good;
}

static void tell_last_word(struct pump_stream *s, const struct payload *payload)
{
  if (!payload->has_reset && !payload->has_refused)
    return;
  s->in.last = true;
  pump_stream_tell(s, payload->has_reset ? STREAM_RESET : STREAM_REFUSED);
}

/* ---- Messages ---- */

/* Its words are told now, and what else is in it waits for a pump. */
static void take_first(struct pump_stream *s, struct message *message)
{
  struct payload payload = {0};
  bool good = look(s, message, false, &payload);
  bool waits = good && (payload.has_data || payload.eof || payload.has_ack);
  if (waits)
    s->in.first = message;
  else
    message_free(message);
  if (!good)
    fail(s, "the other side sent a malformed message");
  else if (!waits && !payload.has_header && !payload.has_reset && !payload.has_refused)
    pump_hear(s); /* it was none */
  else
    tell_last_word(s, &payload);
}

/* Of a reset only what the socket has taken by now goes before it: who does not read would never hear of it. An end may
 * have gone before. */
static void take(struct pump *p, struct pump_stream *s, struct message *message, bool again, struct payload *payload)
{
  const char *why = NULL;
  if (!look(s, message, again, payload)) {
    message_free(message);
    *payload = (struct payload){0};
    why = "the other side sent a malformed message";
  } else {
    why = pump_down_take(p, message, payload);
  }
  if (payload->has_header && !again)
    pump_ack_greet(p);
  pump_down_write(p);
  if (payload->has_reset)
    pump_down_drop(p);
  if (!again)
    tell_last_word(s, payload);
  if (why != NULL)
    fail(s, why);
  else
    pump_down_keep(p);
}

void pump_hear_first(struct pump *p, struct pump_stream *s, struct payload *payload)
{
  struct message *message = s->in.first;
  s->in.first = NULL;
  if (message != NULL)
    take(p, s, message, true, payload);
}

void pump_hear_follow(struct pump *p, struct pump_stream *s, const struct payload *payload)
{
  if (payload->has_header && s->in.limit > 0) {
    pthread_mutex_lock(&p->up.lock);
    pump_up_limit(p, s->in.limit);
    pthread_mutex_unlock(&p->up.lock);
  }
  if (payload->has_ack && pump_up_acked(p, s, &payload->ack) != 0)
    s->stream->kind->cancel(s->stream, RPC_INTERNAL, "the other side acknowledged what was never sent");
  pump_ack_go(p);
}

void pump_hear_done(struct pump_stream *s, struct message *m)
{
  struct payload payload = {0};
  struct pump *p = pump_stream_lock(s, PUMP_DOWN);
  bool current = p != NULL && p->stream == s;
  s->in.receiving = false;
  if (m == NULL)
    s->in.over = true;
  else if (s->in.last || (p != NULL && !current))
    message_free(m);
  else if (p == NULL)
    take_first(s, m);
  else
    take(p, s, m, false, &payload);
  if (current)
    pump_down_run(p);
  else
    pump_stream_check_end(s, p);
  pump_stream_unlock(s, p, PUMP_DOWN);
  if (current)
    pump_hear_follow(p, s, &payload);
  pump_stream_unref(s);
}
