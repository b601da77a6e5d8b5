/* A request that somebody has written: what is made of it is one request, of which the same is made again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tap/written.h"
#include "proto/http1/parser.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds)
{
  if (!holds)
    abort();
}

static void check_one(const struct http1_out *out)
{
  enum http1_event event = HTTP1_HEAD;
  struct http1_parser p;
  size_t at = 0;
  http1_parser_init(&p, false);
  while (event == HTTP1_HEAD || event == HTTP1_BODY)
    at += http1_parser_feed(&p, out->bytes + at, out->size - at, &event);
  must(event == HTTP1_END && at == out->size);
  http1_parser_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct http1_out once, twice;
  const char *why = NULL;
  if (written_request((const char *)data, size, &once, &why) != 0) {
    must(why != NULL && once.bytes == NULL);
    return 0;
  }
  check_one(&once);
  must(written_request(once.bytes, once.size, &twice, &why) == 0);
  must(once.size == twice.size && memcmp(once.bytes, twice.bytes, once.size) == 0);
  http1_out_free(&once);
  http1_out_free(&twice);
  return 0;
}
