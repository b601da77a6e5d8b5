/* Requests, in pieces whose sizes the first byte says. What is passed on is one request again, with the same method,
 * path and body, however strictly it is read; and pieces make no difference.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate/paths/rewrite.h"
#include "gate/paths/trust.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
  struct http1_parser parser;
  struct http1_out written, body;
  enum http1_event event;
  size_t eaten;
};

/* As from a front whose word is taken, who is in the network of some addresses that it names. */
static void pass_on(struct reading *r, const struct http1_target *target)
{
  struct trust trust = {0};
  struct forwarded_by by = {.client = "[::1]:1", .peer = "[::1]:1", .trusted = true};
  char client[TRUST_CLIENT_SIZE];
  const char *why;

  if (trust_add(&trust, "10.0.0.0/8", &why) != 0)
    abort();
  if (trust_client(&trust, &r->parser.head, client))
    by.client = client;
  by.https = trust_https(&r->parser.head, false);
  rewrite_request(&r->written, &r->parser.head, &r->parser.framing, target, &(struct rewrite_fields){0}, &by);
}

static void read_piece(struct reading *r, const char *bytes, size_t size)
{
  struct http1_target target;
  struct http1_refusal why;

  for (size_t at = 0;;) {
    size_t eaten = http1_parser_feed(&r->parser, bytes + at, size - at, &r->event);
    if (eaten > size - at || r->parser.head.size > HTTP1_HEAD_MAX)
      abort();
    at += eaten;
    r->eaten += eaten;
    if (r->event == HTTP1_BODY)
      http1_out_text(&r->body, r->parser.piece);
    if (r->event == HTTP1_HEAD && http1_target_of(&r->parser.head, &target, &why) != 0)
      abort();
    if (r->event == HTTP1_HEAD)
      pass_on(r, &target);
    else if (r->event == HTTP1_BODY)
      rewrite_piece(&r->written, r->parser.piece, r->parser.framing.body == HTTP1_CHUNKED);
    else if (r->event == HTTP1_END && r->parser.framing.body == HTTP1_CHUNKED)
      rewrite_trailers(&r->written, &r->parser.head, r->parser.trailers);
    if (r->event == HTTP1_MORE || r->event == HTTP1_END || r->event == HTTP1_REFUSED)
      return;
  }
}

/* Each piece is a copy of its size, so that a read beyond its end is seen. */
static void read_all(struct reading *r, const char *bytes, size_t size, size_t step)
{
  http1_parser_init(&r->parser, false);
  for (size_t at = 0; at < size && r->event != HTTP1_END && r->event != HTTP1_REFUSED; at += step) {
    size_t count = size - at < step ? size - at : step;
    char *copy = malloc(count);
    if (copy == NULL)
      abort();
    memcpy(copy, bytes + at, count);
    read_piece(r, copy, count);
    free(copy);
  }
}

static void release(struct reading *r)
{
  http1_parser_free(&r->parser);
  http1_out_free(&r->written);
  http1_out_free(&r->body);
}

static bool same(const struct http1_out *a, const struct http1_out *b)
{
  return a->size == b->size && (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct reading pieces = {.event = HTTP1_MORE}, whole = {.event = HTTP1_MORE}, again = {.event = HTTP1_MORE};

  if (size < 2)
    return 0;
  const char *bytes = (const char *)data + 1;
  read_all(&pieces, bytes, size - 1, 1 + data[0] % 64);
  read_all(&whole, bytes, size - 1, size - 1);
  if (pieces.event != whole.event || !same(&pieces.body, &whole.body))
    abort();
  if (whole.event == HTTP1_END) {
    read_all(&again, whole.written.bytes, whole.written.size, whole.written.size);
    /* What is added may be too much for one who is as strict. */
    bool too_much = again.event == HTTP1_REFUSED && again.parser.refusal.status != 400;
    if (!too_much && (again.event != HTTP1_END || again.eaten != whole.written.size || !same(&again.body, &whole.body)))
      abort();
  }
  release(&pieces);
  release(&whole);
  release(&again);
  return 0;
}
