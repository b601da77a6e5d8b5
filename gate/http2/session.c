/* nghttp2 knows the frames, the windows and the compression, and refuses what RFC 9113 calls malformed; what HTTP/1
 * calls malformed is refused in fields.c. Its callbacks only note what is to be told.
 */
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "http2_internal.h"

enum {
  WINDOW = 1024 * 1024, /* of the connection, given back at once: that of each stream is the bound */
  SETTINGS_MAX = 32,
  RESETS = HTTP2_BUDGET, /* nghttp2's own bound is behind ours */
};

const char http2_preface[HTTP2_PREFACE_SIZE + 1] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static const uint8_t echo[8] = "draining";

void http2_session_give_up(struct http2_session *s, uint32_t code)
{
  if (!s->dead)
    nghttp2_session_terminate_session(s->nghttp2, code);
  s->dead = true;
}

/* ---- Streams that are over ---- */

/* Of those that we have reset, frames may come that the client sent before it knew. */
static void remember_reset(struct http2_session *s, int32_t id)
{
  int32_t *place = &s->resets[s->reset_count++ % HTTP2_RESETS_KNOWN];
  if (*place > s->unsure)
    s->unsure = *place;
  *place = id;
}

static bool was_reset(const struct http2_session *s, int32_t id)
{
  for (size_t i = 0; i < HTTP2_RESETS_KNOWN; i++)
    if (s->resets[i] == id)
      return true;
  return id <= s->unsure;
}

/* nghttp2 passes over frames of streams that are over. */
static int begin_frame(nghttp2_session *session, const nghttp2_frame_hd *header, void *arg)
{
  struct http2_session *s = arg;
  int32_t id = header->stream_id;

  if ((header->type != NGHTTP2_HEADERS && header->type != NGHTTP2_DATA) || s->drained)
    return 0;
  if (id <= s->last && nghttp2_session_find_stream(session, id) == NULL && !was_reset(s, id))
    http2_session_give_up(s, NGHTTP2_STREAM_CLOSED);
  if (header->type == NGHTTP2_HEADERS && id > s->last)
    s->last = id;
  return 0;
}

static int bad_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *arg)
{
  (void)session;
  (void)error;
  remember_reset(arg, frame->hd.stream_id);
  return 0;
}

/* ---- What came ---- */

static int begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
  struct http2_session *s = arg;
  struct http2_stream *t = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

  if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
    if (t != NULL)
      t->in_trailers = true;
    return 0;
  }
  t = http2_stream_create(s, frame->hd.stream_id);
  if (t == NULL || nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, t) != 0)
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  return 0;
}

static int field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                 const uint8_t *value, size_t value_size, uint8_t flags, void *arg)
{
  struct http2_stream *t = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
  struct http1_text name_text = {(const char *)name, name_size}, value_text = {(const char *)value, value_size};
  (void)flags;
  (void)arg;
  if (t == NULL || http2_field_came(t, name_text, value_text))
    return 0;
  nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, t->id, NGHTTP2_PROTOCOL_ERROR);
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Otherwise nghttp2 would leave the field out, and take the rest. */
static int bad_field(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                     const uint8_t *value, size_t value_size, uint8_t flags, void *arg)
{
  (void)session, (void)frame, (void)name, (void)name_size, (void)value, (void)value_size, (void)flags, (void)arg;
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t size, void *arg)
{
  struct http2_stream *t = nghttp2_session_get_stream_user_data(session, id);
  (void)flags;
  (void)arg;
  nghttp2_session_consume_connection(session, size);
  if (t == NULL)
    return 0;
  http1_out_put(&t->body, (const char *)bytes, size);
  http2_stream_wake(t);
  return t->body.failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static void stream_frame(struct http2_stream *t, const nghttp2_frame *frame)
{
  bool ended = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
    http2_head_came(t, ended);
  t->ended |= ended;
  http2_stream_wake(t);
}

static int frame_came(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
  struct http2_session *s = arg;
  struct http2_stream *t = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

  if (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) {
    if (t != NULL)
      stream_frame(t, frame);
  } else if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
    if (s->draining && memcmp(frame->ping.opaque_data, echo, sizeof echo) == 0)
      http2_session_drain_now(s);
  }
  return 0;
}

static int stream_closed(nghttp2_session *session, int32_t id, uint32_t code, void *arg)
{
  struct http2_stream *t = nghttp2_session_get_stream_user_data(session, id);
  (void)code;
  (void)arg;
  if (t == NULL)
    return 0;
  t->closed = true;
  http2_stream_wake(t);
  return 0;
}

/* ---- What went ---- */

/* An answer that is over before its request is all that is said; a stream that we had to reset has cost us. */
static int frame_went(nghttp2_session *session, const nghttp2_frame *frame, void *arg)
{
  struct http2_session *s = arg;
  bool ends = (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
              (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

  if (ends && nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0)
    nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
  if (frame->hd.type == NGHTTP2_DATA)
    http2_frames_earn(&s->frames, frame->hd.length);
  if (frame->hd.type != NGHTTP2_RST_STREAM)
    return 0;
  uint32_t code = frame->rst_stream.error_code;
  remember_reset(s, frame->hd.stream_id);
  bool ours = code == NGHTTP2_NO_ERROR || code == NGHTTP2_INTERNAL_ERROR || code == NGHTTP2_CANCEL;
  if (!ours && !http2_frames_spend(&s->frames, HTTP2_COST_RESET))
    http2_session_give_up(s, NGHTTP2_ENHANCE_YOUR_CALM);
  return 0;
}

/* ---- The session ---- */

static int callbacks_create(nghttp2_session_callbacks **out)
{
  if (nghttp2_session_callbacks_new(out) != 0)
    return -1;
  nghttp2_session_callbacks_set_on_begin_frame_callback(*out, begin_frame);
  nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(*out, bad_frame);
  nghttp2_session_callbacks_set_on_begin_headers_callback(*out, begin_headers);
  nghttp2_session_callbacks_set_on_header_callback(*out, field);
  nghttp2_session_callbacks_set_on_invalid_header_callback(*out, bad_field);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(*out, data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(*out, frame_came);
  nghttp2_session_callbacks_set_on_stream_close_callback(*out, stream_closed);
  nghttp2_session_callbacks_set_on_frame_send_callback(*out, frame_went);
  nghttp2_session_callbacks_set_send_data_callback(*out, http2_reply_send);
  return 0;
}

static int options_create(nghttp2_option **out)
{
  if (nghttp2_option_new(out) != 0)
    return -1;
  nghttp2_option_set_no_auto_window_update(*out, 1);
  nghttp2_option_set_no_closed_streams(*out, 1);
  nghttp2_option_set_max_settings(*out, SETTINGS_MAX);
  nghttp2_option_set_stream_reset_rate_limit(*out, RESETS, HTTP2_BUDGET_A_SECOND);
  return 0;
}

static int begin(struct http2_session *s)
{
  static const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_WINDOW},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP1_HEAD_MAX},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  };
  int error = nghttp2_submit_settings(s->nghttp2, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]);
  if (error == 0)
    error = nghttp2_session_set_local_window_size(s->nghttp2, NGHTTP2_FLAG_NONE, 0, WINDOW);
  return error;
}

int http2_session_open(struct http2_session **out, uint64_t now)
{
  nghttp2_session_callbacks *callbacks = NULL;
  nghttp2_option *options = NULL;
  struct http2_session *s = calloc(1, sizeof *s);
  bool done = s != NULL && callbacks_create(&callbacks) == 0 && options_create(&options) == 0 &&
              nghttp2_session_server_new2(&s->nghttp2, callbacks, s, options) == 0 && begin(s) == 0;

  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(options);
  if (!done) {
    http2_session_free(s);
    return -ENOMEM;
  }
  http2_frames_init(&s->frames, now);
  *out = s;
  return 0;
}

void http2_session_free(struct http2_session *s)
{
  if (s == NULL)
    return;
  nghttp2_session_del(s->nghttp2);
  while (s->streams != NULL)
    http2_stream_free(s->streams);
  free(s);
}

void http2_session_feed(struct http2_session *s, const char *bytes, size_t size, uint64_t now)
{
  if (s->dead)
    return;
  enum http2_verdict verdict = http2_frames_see(&s->frames, bytes, size, now);
  if (verdict != HTTP2_FRAMES_FINE) {
    http2_session_give_up(s, verdict == HTTP2_FRAMES_WRONG ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM);
    return;
  }
  ssize_t eaten = nghttp2_session_mem_recv(s->nghttp2, (const uint8_t *)bytes, size);
  if (eaten == NGHTTP2_ERR_NOMEM || eaten == NGHTTP2_ERR_CALLBACK_FAILURE)
    http2_session_give_up(s, NGHTTP2_INTERNAL_ERROR);
  else if (eaten < 0)
    http2_session_give_up(s, NGHTTP2_ENHANCE_YOUR_CALM);
}

void http2_session_pull(struct http2_session *s, struct http1_out *out, size_t most)
{
  const uint8_t *bytes;
  ssize_t size = 1;

  s->out = out;
  s->most = most;
  while (http1_out_waiting(out) < most && size > 0) {
    size = nghttp2_session_mem_send(s->nghttp2, &bytes);
    if (size > 0)
      http1_out_put(out, (const char *)bytes, (size_t)size);
  }
  s->dead |= size < 0;
  s->out = NULL;
}

bool http2_session_is_over(const struct http2_session *s)
{
  return s->dead || (!nghttp2_session_want_read(s->nghttp2) && !nghttp2_session_want_write(s->nghttp2));
}

bool http2_session_in_head(const struct http2_session *s)
{
  return http2_frames_in_head(&s->frames);
}

void http2_session_drain(struct http2_session *s)
{
  if (s->draining || s->dead)
    return;
  s->draining = true;
  nghttp2_submit_shutdown_notice(s->nghttp2);
  nghttp2_submit_ping(s->nghttp2, NGHTTP2_FLAG_NONE, echo);
}

bool http2_session_is_draining(const struct http2_session *s)
{
  return s->draining && !s->drained;
}

void http2_session_drain_now(struct http2_session *s)
{
  if (!s->drained && !s->dead)
    nghttp2_submit_goaway(s->nghttp2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(s->nghttp2),
                          NGHTTP2_NO_ERROR, NULL, 0);
  s->drained = true;
}

void http2_session_end(struct http2_session *s)
{
  http2_session_give_up(s, NGHTTP2_NO_ERROR);
}
