/* HTTP/2 with one client (RFC 9113), as a machine: bytes go in and come out, and in between are streams with news. It
 * calls nobody. Requests come out as heads of HTTP/1, answers go in as such.
 *
 *     http2_session_feed --> http2_session_next: a stream of which there is news --> request, body; closed
 *     http2_session_pull <-- http2_stream_head, _put, _finish
 *
 * A stream's window is given back only by http2_stream_took, so that no more than a window of each is ever held; of its
 * answer, what http2_stream_put is given. On one thread at a time.
 */
#ifndef GATE_HTTP2_SESSION_H
#define GATE_HTTP2_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/http1/framing.h"
#include "proto/http1/head.h"
#include "proto/http1/writer.h"

enum {
  HTTP2_PREFACE_SIZE = 24,
  HTTP2_STREAMS_MAX = 100,      /* at once */
  HTTP2_WINDOW = 64 * 1024 - 1, /* of a stream, in bytes */
};

extern const char http2_preface[HTTP2_PREFACE_SIZE + 1];

struct http2_session;

/* One request and its answer. To be read, but for `user`. */
struct http2_stream {
  struct http2_session *session;
  int32_t id;
  void *user;
  bool closed;      /* nothing can come or go any more; of what follows, nothing matters then */
  bool ended;       /* all of the request has come */
  unsigned refusal; /* the status that the request is to be answered with, since it is none; 0: it is one */
  struct http1_head head, trailers;
  struct http1_framing framing;
  struct http1_out body;   /* of the request: has come, and is to be taken */
  struct http1_out answer; /* its body: waits for the client's window, or for http2_session_pull */
  /* The session's own. */
  struct http1_out cookies; /* crumbs, joined */
  struct http1_span authority, path;
  bool https, in_trailers;
  unsigned fields; /* that came, and their bytes */
  size_t bytes;
  struct http1_head last; /* the answer's trailers */
  bool answer_over, deferred;
  bool has_news;
  struct http2_stream *prev, *next, *news_prev, *news_next;
};

/* -ENOMEM, or 0. Times are in ms, of a clock that does not go back. */
int http2_session_open(struct http2_session **out, uint64_t now);
/* With all its streams. NULL is fine. */
void http2_session_free(struct http2_session *s);

/* The client's bytes, from the first one of the preface on. */
void http2_session_feed(struct http2_session *s, const char *bytes, size_t size, uint64_t now);
/* Adds frames to `out` until that holds `most` bytes, or none is ready. */
void http2_session_pull(struct http2_session *s, struct http1_out *out, size_t most);
/* Nothing more is to be read or written, once what was pulled is sent. */
bool http2_session_is_over(const struct http2_session *s);
/* A stream of which there is news: a request, more of its body, its end, room in its answer, or the stream is closed.
 * NULL: of none. */
struct http2_stream *http2_session_next(struct http2_session *s);
struct http2_stream *http2_session_streams(struct http2_session *s); /* by `next` */
/* A head has begun to come, and is not complete. */
bool http2_session_in_head(const struct http2_session *s);

/* No new streams, as soon as the client can know: says so, and asks for an echo, which makes it definite. */
void http2_session_drain(struct http2_session *s);
bool http2_session_is_draining(const struct http2_session *s); /* and that is not definite */
/* It is definite though no echo came. */
void http2_session_drain_now(struct http2_session *s);
/* Says good-bye; what is under way is lost. */
void http2_session_end(struct http2_session *s);

/* It has news: its user wants it from http2_session_next. */
void http2_stream_wake(struct http2_stream *t);
/* So many bytes of the body have left the machine. */
void http2_stream_took(struct http2_stream *t, size_t size);
/* Fields that are dropped are not sent. */
void http2_stream_interim(struct http2_stream *t, const struct http1_head *h);
void http2_stream_head(struct http2_stream *t, const struct http1_head *h, const struct http1_framing *f);
void http2_stream_put(struct http2_stream *t, struct http1_text piece);
/* Trailers are the fields from `from` on. */
void http2_stream_finish(struct http2_stream *t, const struct http1_head *h, unsigned from);
/* Breaks off. `theirs`: since the client was too slow. */
void http2_stream_reset(struct http2_stream *t, bool theirs);
/* Of one that is closed; its memory. */
void http2_stream_free(struct http2_stream *t);

#endif
