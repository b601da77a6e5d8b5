/* Answers to a request that the first byte says: GET or HEAD, in pieces. What is told in pieces is what is told of the
 * whole, and an end of the connection has one meaning.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate/paths/rewrite.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
  struct http1_parser parser;
  struct http1_out body;
  enum http1_event event;
  unsigned interim;
};

static void read_piece(struct reading *r, bool to_head, const char *bytes, size_t size)
{
  size_t at = 0;
  do {
    at += http1_parser_feed(&r->parser, bytes + at, size - at, &r->event);
    if (r->event == HTTP1_BODY)
      http1_out_text(&r->body, r->parser.piece);
    if (r->event == HTTP1_END && r->parser.head.status < 200) {
      r->interim++;
      http1_parser_next(&r->parser, true);
      r->parser.to_head = to_head;
      r->event = HTTP1_HEAD;
    }
  } while (r->event == HTTP1_HEAD || r->event == HTTP1_BODY);
}

static void read_all(struct reading *r, bool to_head, const char *bytes, size_t size, size_t step)
{
  http1_parser_init(&r->parser, true);
  r->parser.to_head = to_head;
  for (size_t at = 0; at < size && r->event != HTTP1_END && r->event != HTTP1_REFUSED; at += step) {
    size_t count = size - at < step ? size - at : step;
    char *copy = malloc(count);
    if (copy == NULL)
      abort();
    memcpy(copy, bytes + at, count);
    read_piece(r, to_head, copy, count);
    free(copy);
  }
  if (r->event == HTTP1_MORE)
    r->event = http1_parser_close(&r->parser);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct reading pieces = {.event = HTTP1_MORE}, whole = {.event = HTTP1_MORE};

  if (size < 2)
    return 0;
  const char *bytes = (const char *)data + 1;
  bool to_head = (data[0] & 64) != 0;
  read_all(&pieces, to_head, bytes, size - 1, 1 + data[0] % 64);
  read_all(&whole, to_head, bytes, size - 1, size - 1);
  if (pieces.event != whole.event || pieces.interim != whole.interim || pieces.body.size != whole.body.size ||
      (whole.body.size > 0 && memcmp(pieces.body.bytes, whole.body.bytes, whole.body.size) != 0))
    abort();
  http1_parser_free(&pieces.parser);
  http1_parser_free(&whole.parser);
  http1_out_free(&pieces.body);
  http1_out_free(&whole.body);
  return 0;
}
