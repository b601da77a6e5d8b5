/* The streams of a session: those of which there is news, and what is taken of them. */
#include <stdlib.h>
#include <utlist.h>

#include "http2_internal.h"

struct http2_stream *http2_stream_create(struct http2_session *s, int32_t id)
{
  struct http2_stream *t = calloc(1, sizeof *t);
  if (t == NULL)
    return NULL;
  t->session = s;
  t->id = id;
  DL_APPEND(s->streams, t);
  return t;
}

void http2_stream_free(struct http2_stream *t)
{
  struct http2_session *s = t->session;
  if (t->has_news)
    DL_DELETE2(s->news, t, news_prev, news_next);
  DL_DELETE(s->streams, t);
  http1_head_free(&t->head);
  http1_head_free(&t->trailers);
  http1_head_free(&t->last);
  http1_out_free(&t->body);
  http1_out_free(&t->answer);
  http1_out_free(&t->cookies);
  free(t);
}

void http2_stream_wake(struct http2_stream *t)
{
  if (!t->has_news)
    DL_APPEND2(t->session->news, t, news_prev, news_next);
  t->has_news = true;
}

struct http2_stream *http2_session_next(struct http2_session *s)
{
  struct http2_stream *t = s->news;
  if (t == NULL)
    return NULL;
  DL_DELETE2(s->news, t, news_prev, news_next);
  t->has_news = false;
  return t;
}

struct http2_stream *http2_session_streams(struct http2_session *s)
{
  return s->streams;
}

void http2_stream_took(struct http2_stream *t, size_t size)
{
  if (!t->closed && size > 0)
    nghttp2_session_consume_stream(t->session->nghttp2, t->id, size);
}

void http2_stream_reset(struct http2_stream *t, bool theirs)
{
  if (!t->closed)
    nghttp2_submit_rst_stream(t->session->nghttp2, NGHTTP2_FLAG_NONE, t->id,
                              theirs ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR);
}
