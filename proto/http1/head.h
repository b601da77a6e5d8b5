/* The head of a message: its first line and its fields, in memory of their own. On one thread at a time. */
#ifndef PROTO_HTTP1_HEAD_H
#define PROTO_HTTP1_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "grammar.h"

enum {
  HTTP1_HEAD_MAX = 64 * 1024, /* bytes, the ends of lines included; trailers count as well */
  HTTP1_FIELDS_MAX = 100,     /* of the head, and as many of the trailers */
  HTTP1_TARGET_MAX = 16 * 1024,
  HTTP1_METHOD_MAX = 32,
};

/* A part of the head's text, which may move while the head grows. */
struct http1_span {
  uint32_t at, size;
};

struct http1_field {
  struct http1_span name, value;
  bool dropped; /* it is not passed on */
};

struct http1_head {
  char *text;
  size_t size, capacity;
  struct http1_field *fields;
  unsigned count, room;
  struct http1_span method, target; /* of a request */
  struct http1_span reason;         /* of an answer */
  unsigned status;                  /* of an answer; 0: it is a request */
  unsigned minor;                   /* HTTP/1.minor */
};

/* Both of these: -ENOMEM. What was there stays. */
int http1_head_append(struct http1_head *h, const char *bytes, size_t size);
int http1_head_add_field(struct http1_head *h, struct http1_span name, struct http1_span value);
/* Empty, with its memory kept. */
void http1_head_reset(struct http1_head *h);
/* Zeroed, without memory. */
void http1_head_free(struct http1_head *h);

/* Good until the head grows. */
struct http1_text http1_head_text(const struct http1_head *h, struct http1_span span);
struct http1_text http1_head_name(const struct http1_head *h, unsigned field);
struct http1_text http1_head_value(const struct http1_head *h, unsigned field);
/* The first field from `from` on that has this name (lower case) and is not dropped; `count` if there is none. */
unsigned http1_head_find(const struct http1_head *h, const char *name, unsigned from);
void http1_head_drop(struct http1_head *h, const char *name);

#endif
