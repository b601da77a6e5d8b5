/* What the files of the room share. */
#ifndef GATE_HTTP2_INTERNAL_H
#define GATE_HTTP2_INTERNAL_H

#include <nghttp2/nghttp2.h>

#include "frames.h"
#include "session.h"

enum { HTTP2_RESETS_KNOWN = 128 };

struct http2_session {
  nghttp2_session *nghttp2;
  struct http2_frames frames;
  struct http2_stream *streams, *news;
  struct http1_out *out; /* inside http2_session_pull; so much of it */
  size_t most;
  int32_t last;                       /* the highest stream that was opened */
  int32_t resets[HTTP2_RESETS_KNOWN]; /* streams that we have reset lately, as a ring */
  size_t reset_count;
  int32_t unsure;         /* of streams up to this one that is not known any more */
  bool draining, drained; /* that was said; for good */
  bool dead;
};

/* session.c: memory ran out, or the client is not to be dealt with. */
void http2_session_give_up(struct http2_session *s, uint32_t code);

/* stream.c. NULL: out of memory. */
struct http2_stream *http2_stream_create(struct http2_session *s, int32_t id);

/* fields.c: one field of a head or of trailers; false: the stream is to be reset. */
bool http2_field_came(struct http2_stream *t, struct http1_text name, struct http1_text value);
/* All have come. */
void http2_head_came(struct http2_stream *t, bool ended);

/* reply.c */
ssize_t http2_reply_read(nghttp2_session *session, int32_t id, uint8_t *into, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *arg);
int http2_reply_send(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t size,
                     nghttp2_data_source *source, void *arg);

#endif
