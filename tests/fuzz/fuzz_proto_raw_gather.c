/* Frames and words: the first byte says how they are cut. Cut or whole, the same is heard, and it lies inside. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/raw/raw_gather.h"
#include "proto/stream/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is heard, one behind the other, and how it ends. Returns that. */
static int hear(const uint8_t *data, size_t size, size_t cut, uint8_t *out, size_t *used)
{
  struct raw_gather g = {0};
  int got = 0;
  *used = 0;
  for (size_t at = 0; at < size && got == 0; at += cut) {
    struct message *m;
    bool is_word;
    size_t piece = size - at < cut ? size - at : cut;
    uint8_t *copy = malloc(piece);
    if (copy == NULL)
      abort();
    memcpy(copy, data + at, piece);
    raw_gather_put(&g, (struct bytes){.at = copy, .size = piece});
    while ((got = raw_gather_next(&g, &m, &is_word)) > 0) {
      out[(*used)++] = is_word;
      for (size_t i = 0; i < m->count; i++) {
        memcpy(out + *used, m->parts[i].at, m->parts[i].size);
        *used += m->parts[i].size;
      }
      message_free(m);
    }
    if (got == 0 && raw_gather_keep(&g) != 0)
      abort();
    free(copy);
  }
  raw_gather_free(&g);
  return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  if (size < 2)
    return 0;
  size_t cut = 1 + data[0], whole_used, cut_used;
  uint8_t *whole = malloc(size), *pieces = malloc(size);
  if (whole == NULL || pieces == NULL)
    abort();
  int whole_end = hear(data + 1, size - 1, size, whole, &whole_used);
  int cut_end = hear(data + 1, size - 1, cut, pieces, &cut_used);
  if (whole_end != cut_end || whole_used != cut_used || memcmp(whole, pieces, whole_used) != 0)
    abort();
  free(whole);
  free(pieces);
  return 0;
}
