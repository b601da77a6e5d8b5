/* Hellos. The beginning of one that is understood is not complete; and what is no host is never told for one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "gate/tls/hello.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* From a copy of its size, so that a read beyond its end is seen. */
static enum hello read_copy(const uint8_t *data, size_t size, char name[HELLO_NAME_SIZE])
{
  uint8_t *copy = malloc(size > 0 ? size : 1);
  if (copy == NULL)
    abort();
  if (size > 0)
    memcpy(copy, data, size);
  enum hello result = hello_read(copy, size, name);
  free(copy);
  return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  char name[HELLO_NAME_SIZE], other[HELLO_NAME_SIZE];
  enum hello result = read_copy(data, size, name);

  if (result == HELLO_NAMED) {
    size_t length = strlen(name);
    if (length == 0 || strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-._") != length)
      abort();
  }
  if (result == HELLO_MORE || size == 0)
    return 0;
  /* What is known stays known, whatever follows; before that it was not complete. */
  for (size_t part = size - 1;; part /= 2) {
    enum hello early = read_copy(data, part, other);
    if (early != HELLO_MORE && early != result)
      abort();
    if (early == HELLO_NAMED && strcmp(name, other) != 0)
      abort();
    if (part == 0)
      return 0;
  }
}
