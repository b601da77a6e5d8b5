/* What the fields of a head say of the body and of the connection. Pure. Any thread. */
#ifndef PROTO_HTTP1_FRAMING_H
#define PROTO_HTTP1_FRAMING_H

#include "head.h"
#include "refusal.h"

enum http1_body { HTTP1_NO_BODY, HTTP1_SIZED, HTTP1_CHUNKED, HTTP1_TO_CLOSE };

struct http1_framing {
  enum http1_body body;
  bool has_length; /* Content-Length is there, if only for information (HEAD, 304) */
  uint64_t length;
  bool persistent;       /* the connection can be used again */
  bool upgrade;          /* another protocol is asked for, or switched to, that may be passed on */
  bool expects_continue; /* of a request */
};

/* 0, or -1 with a refusal. */
int http1_framing_of_request(const struct http1_head *h, struct http1_framing *out, struct http1_refusal *why);
int http1_framing_of_answer(const struct http1_head *h, bool to_head, struct http1_framing *out,
                            struct http1_refusal *why);

#endif
