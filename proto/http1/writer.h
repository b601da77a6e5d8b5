/* Messages, written in the one way that no program reads differently. Pure. On one thread at a time. */
#ifndef PROTO_HTTP1_WRITER_H
#define PROTO_HTTP1_WRITER_H

#include <stdint.h>

#include "framing.h"
#include "head.h"

/* Grows; freed by its owner. After a failure it takes nothing more. */
struct http1_out {
  char *bytes;
  size_t at, size, capacity; /* what waits is from `at` to `size` */
  bool failed;               /* out of memory */
};

void http1_out_put(struct http1_out *out, const char *bytes, size_t size);
void http1_out_puts(struct http1_out *out, const char *text);
void http1_out_text(struct http1_out *out, struct http1_text text);
void http1_out_number(struct http1_out *out, uint64_t number);
void http1_out_field(struct http1_out *out, const char *name, struct http1_text value);
size_t http1_out_waiting(const struct http1_out *out);
/* So many bytes are gone. */
void http1_out_drop(struct http1_out *out, size_t size);
void http1_out_free(struct http1_out *out);

void http1_write_request_line(struct http1_out *out, struct http1_text method, struct http1_text path);
/* The reason is the usual one if `reason` is empty. */
void http1_write_status_line(struct http1_out *out, unsigned status, struct http1_text reason);
/* Those from `from` up to `to` that are not dropped. */
void http1_write_fields(struct http1_out *out, const struct http1_head *h, unsigned from, unsigned to);
/* Content-Length, or Transfer-Encoding, or neither. */
void http1_write_framing(struct http1_out *out, enum http1_body body, bool has_length, uint64_t length);
void http1_write_chunk(struct http1_out *out, struct http1_text piece);
/* The last chunk, with trailers. */
void http1_write_last_chunk(struct http1_out *out, const struct http1_head *h, unsigned trailers);

const char *http1_reason(unsigned status);

#endif
