/* The token inside the data: whole, and byte by byte; what protobuf-c finds in the header is what we find. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mindmeld.pb-c.h"
#include "proto/wire/token_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct token_stream *t, const uint8_t *header, size_t size)
{
  Mindmeld__Header *h = mindmeld__header__unpack(NULL, size, header);
  if (h && strcmp(h->token, t->token) != 0)
    abort();
  if (h)
    mindmeld__header__free_unpacked(h, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct token_stream whole = {0}, pieces = {0};
  bool done = false, done_pieces = false;
  int used = token_stream_feed(&whole, data, size, &done);
  if (used > 0 && (size_t)used > size)
    abort();
  int result = 0;
  size_t at = 0;
  while (at < size && !done_pieces && result >= 0) {
    result = token_stream_feed(&pieces, data + at, 1, &done_pieces);
    at += result > 0 ? (size_t)result : 0;
  }
  if ((used < 0) != (result < 0) || (used >= 0 && (done != done_pieces || (size_t)used != at)))
    abort();
  if (used < 0 || !done)
    return 0;
  if (strcmp(whole.token, pieces.token) != 0 || strlen(whole.token) > TOKEN_MAX || whole.token[0] == '\0')
    abort();
  check_same(&whole, data + 4, (size_t)used - 4);
  return 0;
}
