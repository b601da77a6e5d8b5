/* Copied bytes lie behind the head of their chunk: one allocation. */
#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct copy {
  struct chunk chunk;
  uint8_t bytes[];
};

static void copy_unused(struct chunk *c)
{
  free(c);
}

int bytes_copy(struct bytes *out, const void *from, size_t size)
{
  struct copy *copy = malloc(sizeof *copy + size);
  if (copy == NULL)
    return -ENOMEM;
  chunk_begin(&copy->chunk, 1, copy_unused);
  if (size > 0)
    memcpy(copy->bytes, from, size);
  *out = (struct bytes){.owner = &copy->chunk, .at = copy->bytes, .size = size};
  return 0;
}

int bytes_move_out(struct bytes *b)
{
  struct bytes own;
  int error = bytes_copy(&own, b->at, b->size);
  if (error != 0)
    return error;
  bytes_drop(b);
  *b = own;
  return 0;
}

void bytes_drop(struct bytes *b)
{
  if (b->owner != NULL)
    chunk_unref(b->owner);
  *b = (struct bytes){0};
}
