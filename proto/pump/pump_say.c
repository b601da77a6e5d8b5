/* What goes out on a stream: one message at a time; the words that are not data. */
#include <string.h>

#include "pump_internal.h"

bool pump_say_can(const struct pump_stream *s)
{
  return s != NULL && !s->out.sending && !s->out.over;
}

static void nothing_more(struct pump_stream *s)
{
  struct pump *p = atomic_load_explicit(&s->pump, memory_order_relaxed);
  s->out.over = true;
  if (p != NULL && p->stream == s)
    pump_up_pause(p);
}

/* There was a reference for the answer. */
static void take_answer(struct pump_stream *s, enum stream_said answer)
{
  s->out.sending = answer == STREAM_SAYING;
  if (answer == STREAM_BROKEN)
    nothing_more(s);
  if (answer != STREAM_SAYING)
    pump_stream_unref(s);
}

void pump_say_start(struct pump_stream *s, const void *first, size_t size, struct errand **later)
{
  pump_stream_ref(s);
  take_answer(s, s->stream->kind->start(s->stream, first, size, later));
}

void pump_say(struct pump_stream *s, const struct stream_say *what, struct errand **later)
{
  if (what->last)
    nothing_more(s);
  pump_stream_ref(s);
  take_answer(s, s->stream->kind->say(s->stream, what, later));
}

/* Of a stream that is not current: no data. */
static void run(struct pump_stream *s, struct pump *p, struct errand **later)
{
  if (p != NULL && p->stream == s) {
    pump_up_run(p, later);
    return;
  }
  while (pump_say_can(s)) {
    if (pump_say_word(s, false, later))
      continue;
    if (!s->out.half_close_due)
      break;
    pump_say(s, &(struct stream_say){.last = true}, later);
  }
}

void pump_say_go(struct pump_stream *s)
{
  struct errand *later = NULL;
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  run(s, p, &later);
  pump_stream_unlock(s, p, PUMP_UP);
  errands_run(later);
  if (p != NULL)
    pump_splice_starved(p);
}

void pump_say_done(struct pump_stream *s, bool ok)
{
  struct errand *later = NULL;
  struct pump *p = pump_stream_lock(s, PUMP_UP);
  s->out.sending = false;
  if (!ok)
    nothing_more(s);
  run(s, p, &later);
  pump_stream_unlock(s, p, PUMP_UP);
  errands_run(later);
  if (p != NULL)
    pump_splice_starved(p);
  pump_stream_unref(s);
}

void pump_say_header(struct pump_stream *s, const struct header *h)
{
  uint8_t packed[HEADER_SIZE_MAX];
  size_t size = header_pack(h, packed);
  bytes_drop(&s->out.header_due);
  if (bytes_copy(&s->out.header_due, packed, size) != 0) {
    s->out.over = true;
    pump_stream_cancel(s);
  }
  explicit_bzero(packed, sizeof packed);
}

static void say_word(struct pump_stream *s, struct bytes *due, bool last, bool more, struct errand **later)
{
  struct bytes word = *due;
  *due = (struct bytes){0};
  pump_say(s, &(struct stream_say){.body = &word, .last = last, .more = more}, later);
  bytes_drop(&word);
}

/* Something is due behind the header. */
static bool more_follows(const struct pump_stream *s, const struct pump *p, bool data)
{
  return data || s->out.last_due.size > 0 || s->out.half_close_due || (p != NULL && p->up.eof_due);
}

static bool say_header(struct pump_stream *s, bool data, struct errand **later)
{
  struct pump *p = atomic_load_explicit(&s->pump, memory_order_relaxed);
  if (p != NULL && p->stream != s)
    p = NULL;
  bool more = more_follows(s, p, data);
  if (p != NULL && !more && pump_ack_answer_waits(p))
    return false;
  if (p != NULL)
    pump_ack_answered(p);
  say_word(s, &s->out.header_due, false, more, later);
  return true;
}

bool pump_say_word(struct pump_stream *s, bool data, struct errand **later)
{
  if (s->out.header_due.size > 0)
    return say_header(s, data, later);
  if (s->out.last_due.size == 0 || (data && s->out.last_waits))
    return false;
  say_word(s, &s->out.last_due, true, false, later);
  return true;
}
