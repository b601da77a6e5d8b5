/* The first line of a message, as spans of the head's text. Pure. */
#ifndef PROTO_HTTP1_FIRST_LINE_H
#define PROTO_HTTP1_FIRST_LINE_H

#include "head.h"
#include "refusal.h"

/* `line` is that line of h->text, without its end. 0, or -1 with a refusal. */
int http1_request_line(struct http1_head *h, struct http1_span line, struct http1_refusal *why);
/* The part of the former that looks at the method and the target, which are set. */
int http1_request_check(const struct http1_head *h, struct http1_refusal *why);
int http1_status_line(struct http1_head *h, struct http1_span line, struct http1_refusal *why);

#endif
