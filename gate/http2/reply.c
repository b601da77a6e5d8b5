/* Answers. Their bodies wait in the stream, and are copied from there into frames as windows allow. */
#include <string.h>

#include "http2_internal.h"

enum { FIELDS_MAX = 2 * HTTP1_FIELDS_MAX + 2 };

/* Fields as nghttp2 wants them; it copies them. */
struct block {
  nghttp2_nv fields[FIELDS_MAX];
  size_t count;
  struct http1_out names;
};

static void add(struct block *b, const char *name, size_t name_size, const char *value, size_t value_size)
{
  if (b->count < FIELDS_MAX)
    b->fields[b->count++] = (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                                         .namelen = name_size,
                                         .value = (uint8_t *)(uintptr_t)value,
                                         .valuelen = value_size};
}

static void lower(struct http1_out *out, struct http1_text name)
{
  size_t at = out->size;
  http1_out_text(out, name);
  for (; at < out->size; at++)
    if (out->bytes[at] >= 'A' && out->bytes[at] <= 'Z')
      out->bytes[at] |= 0x20;
}

static void add_fields(struct block *b, const struct http1_head *h, unsigned from)
{
  size_t at = 0;

  for (unsigned i = from; i < h->count; i++)
    if (!h->fields[i].dropped)
      lower(&b->names, http1_head_name(h, i));
  for (unsigned i = from; i < h->count && !b->names.failed; i++) {
    if (h->fields[i].dropped)
      continue;
    size_t size = h->fields[i].name.size;
    struct http1_text value = http1_head_value(h, i);
    add(b, b->names.bytes + at, size, value.at, value.size);
    at += size;
  }
}

static bool add_status(struct block *b, char text[4], unsigned status)
{
  text[0] = (char)('0' + status / 100 % 10);
  text[1] = (char)('0' + status / 10 % 10);
  text[2] = (char)('0' + status % 10);
  text[3] = '\0';
  add(b, ":status", 7, text, 3);
  return !b->names.failed;
}

static void check(struct http2_stream *t, struct block *b, int error)
{
  if (error < 0 || b->names.failed)
    http2_session_give_up(t->session, NGHTTP2_INTERNAL_ERROR);
  http1_out_free(&b->names);
}

void http2_stream_interim(struct http2_stream *t, const struct http1_head *h)
{
  struct block b = {.count = 0};
  char status[4];

  add_status(&b, status, h->status);
  add_fields(&b, h, 0);
  check(t, &b,
        t->closed || b.names.failed
            ? 0
            : nghttp2_submit_headers(t->session->nghttp2, NGHTTP2_FLAG_NONE, t->id, NULL, b.fields, b.count, NULL));
}

void http2_stream_head(struct http2_stream *t, const struct http1_head *h, const struct http1_framing *f)
{
  nghttp2_data_provider body = {.source = {.ptr = t}, .read_callback = http2_reply_read};
  struct block b = {.count = 0};
  struct http1_out length = {0};
  char status[4];

  add_status(&b, status, h->status);
  add_fields(&b, h, 0);
  if (f->has_length) {
    http1_out_number(&length, f->length);
    add(&b, "content-length", 14, length.bytes, length.size);
    b.names.failed |= length.failed;
  }
  t->answer_over = f->body == HTTP1_NO_BODY;
  check(t, &b,
        t->closed || b.names.failed
            ? 0
            : nghttp2_submit_response(t->session->nghttp2, t->id, b.fields, b.count, t->answer_over ? NULL : &body));
  http1_out_free(&length);
}

static void resume(struct http2_stream *t)
{
  if (t->deferred && !t->closed)
    nghttp2_session_resume_data(t->session->nghttp2, t->id);
  t->deferred = false;
}

void http2_stream_put(struct http2_stream *t, struct http1_text piece)
{
  if (t->answer_over)
    return;
  http1_out_text(&t->answer, piece);
  if (t->answer.failed)
    http2_session_give_up(t->session, NGHTTP2_INTERNAL_ERROR);
  resume(t);
}

/* The head that they are in is not ours, and what was put is not sent yet. */
static int keep_trailers(struct http2_stream *t, const struct http1_head *h, unsigned from)
{
  for (unsigned i = from; i < h->count; i++) {
    struct http1_text name = http1_head_name(h, i), value = http1_head_value(h, i);
    struct http1_span name_span = {(uint32_t)t->last.size, (uint32_t)name.size};
    struct http1_span value_span = {(uint32_t)(t->last.size + name.size), (uint32_t)value.size};
    if (h->fields[i].dropped)
      continue;
    if (http1_head_append(&t->last, name.at, name.size) != 0 ||
        http1_head_append(&t->last, value.at, value.size) != 0 ||
        http1_head_add_field(&t->last, name_span, value_span) != 0)
      return -1;
  }
  return 0;
}

void http2_stream_finish(struct http2_stream *t, const struct http1_head *h, unsigned from)
{
  if (t->answer_over)
    return;
  if (keep_trailers(t, h, from) != 0)
    http2_session_give_up(t->session, NGHTTP2_INTERNAL_ERROR);
  t->answer_over = true;
  resume(t);
}

static void submit_trailers(struct http2_stream *t)
{
  struct block b = {.count = 0};
  add_fields(&b, &t->last, 0);
  check(t, &b, b.names.failed ? 0 : nghttp2_submit_trailer(t->session->nghttp2, t->id, b.fields, b.count));
}

ssize_t http2_reply_read(nghttp2_session *session, int32_t id, uint8_t *into, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
  struct http2_stream *t = source->ptr;
  size_t waiting = http1_out_waiting(&t->answer);
  (void)session, (void)id, (void)into, (void)arg;

  if (waiting == 0 && !t->answer_over) {
    t->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (waiting > size)
    return (ssize_t)size;
  if (t->answer_over) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (t->last.count > 0) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      submit_trailers(t);
    }
  }
  return (ssize_t)waiting;
}

int http2_reply_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t size,
                     nghttp2_data_source *source, void *arg)
{
  struct http2_session *s = arg;
  struct http2_stream *t = source->ptr;
  (void)session, (void)frame;

  if (http1_out_waiting(s->out) >= s->most)
    return NGHTTP2_ERR_WOULDBLOCK;
  http1_out_put(s->out, (const char *)header, 9);
  if (size > 0) {
    http1_out_put(s->out, t->answer.bytes + t->answer.at, size);
    http1_out_drop(&t->answer, size);
  }
  http2_stream_wake(t);
  return s->out->failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}
