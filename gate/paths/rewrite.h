/* A head as it is passed on: written anew, from what was understood of the one that came. Pure. */
#ifndef GATE_REWRITE_H
#define GATE_REWRITE_H

#include "forwarded.h"
#include "proto/http1/parser.h"
#include "proto/http1/target.h"
#include "proto/http1/writer.h"

/* A field that the owner of the service wants requests to have, in place of those of its name. */
struct rewrite_field {
  const char *name, *lower; /* the latter in lower case */
  struct http1_text value;
};
struct rewrite_fields {
  const struct rewrite_field *all;
  size_t count;
};

/* To the target. What is not passed on is dropped from the head; it may be written again. */
void rewrite_request(struct http1_out *out, struct http1_head *h, const struct http1_framing *f,
                     const struct http1_target *target, const struct rewrite_fields *own,
                     const struct forwarded_by *by);
/* To the client: status line and fields, without the end of the head, nor what says where the body ends. */
void rewrite_answer(struct http1_out *out, struct http1_parser *p);
/* A part of the body. */
void rewrite_piece(struct http1_out *out, struct http1_text piece, bool chunked);
/* The end of one in chunks; trailers are the fields from `from` on. */
void rewrite_trailers(struct http1_out *out, struct http1_head *h, unsigned from);

#endif
