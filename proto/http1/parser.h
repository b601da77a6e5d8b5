/* A strict HTTP/1 parser (RFC 9112): bytes go in, events come out. It reads requests, or the answers to them. What two
 * programs could read in two ways is refused.
 *
 *     START --first line--> FIELDS --empty line--> HEAD told --+--> LENGTH --all--+
 *                                                              +--> CHUNK_SIZE, CHUNK, CHUNK_END ... TRAILERS --+
 *                                                              +--> UNTIL_CLOSE --http1_parser_close--+         |
 *                                                              +--> no body -------> END told <-------+---------+
 *     END told --http1_parser_next--> START; any: REFUSED, for good
 *
 * Pure. On one thread at a time.
 */
#ifndef PROTO_HTTP1_PARSER_H
#define PROTO_HTTP1_PARSER_H

#include "framing.h"
#include "head.h"
#include "refusal.h"

enum http1_event {
  HTTP1_MORE,    /* all bytes are eaten, and more are needed */
  HTTP1_HEAD,    /* the head is there; `framing` says what follows */
  HTTP1_BODY,    /* `piece` is a part of the body, inside the bytes that were given */
  HTTP1_END,     /* the message is over; trailers are the fields from `trailers` on */
  HTTP1_REFUSED, /* see `refusal`; no byte after this one has a meaning */
};

enum http1_state {
  HTTP1_START,
  HTTP1_FIELDS,
  HTTP1_HEAD_TOLD,
  HTTP1_LENGTH,
  HTTP1_CHUNK_SIZE,
  HTTP1_CHUNK,
  HTTP1_CHUNK_END,
  HTTP1_TRAILERS,
  HTTP1_UNTIL_CLOSE,
  HTTP1_OVER,
  HTTP1_BROKEN,
};

struct http1_parser {
  bool answers;
  bool to_head; /* of an answer: the request was HEAD */
  bool blank;   /* an empty line was passed over before the request */
  enum http1_state state;
  struct http1_head head; /* from HTTP1_HEAD on; complete, trailers included, at HTTP1_END */
  unsigned trailers;      /* the first field of those */
  struct http1_framing framing;
  uint64_t left;   /* bytes of the body, or of the chunk */
  size_t line;     /* where the present line begins in the head's text */
  size_t overhead; /* bytes of chunk extensions so far */
  struct http1_text piece;
  struct http1_refusal refusal;
};

void http1_parser_init(struct http1_parser *p, bool answers);
void http1_parser_free(struct http1_parser *p);
/* Eats some of the bytes, up to the next event. Returns how many. */
size_t http1_parser_feed(struct http1_parser *p, const char *bytes, size_t size, enum http1_event *event);
/* So many bytes of the body have gone by unseen. False: they are not all of a body whose bytes need not be looked at,
 * and nothing has changed. What follows from it is told by the next feed, which may be of no bytes. */
bool http1_parser_skip(struct http1_parser *p, uint64_t size);
/* No byte follows: whether that ends the message (HTTP1_END), cuts it off (HTTP1_REFUSED), or there was none
 * (HTTP1_MORE). */
enum http1_event http1_parser_close(struct http1_parser *p);
/* After HTTP1_END: another message follows. `keep_memory`: at once. */
void http1_parser_next(struct http1_parser *p, bool keep_memory);
/* No byte of a message has come. */
bool http1_parser_is_idle(const struct http1_parser *p);

#endif
