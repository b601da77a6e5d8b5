/* A connection's header. What is taken is packed, and read again as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "proto/wire/header.h"
#include "proto/wire/payload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  struct header h, again;
  const char *why = NULL;
  if (header_unpack(data, size, &h, &why) != 0) {
    if (!why)
      abort();
    return 0;
  }
  uint8_t bytes[HEADER_SIZE_MAX], packed_again[HEADER_SIZE_MAX];
  struct iovec part = {.iov_base = bytes, .iov_len = header_pack(&h, bytes)};
  struct payload payload;
  if (part.iov_len > sizeof bytes || payload_parse(&part, 1, &payload) != 0 || !payload.has_header)
    abort();
  if (header_unpack(bytes + payload.header_at, payload.header_size, &again, &why) != 0)
    abort();
  if (header_pack(&again, packed_again) != part.iov_len || memcmp(bytes, packed_again, part.iov_len) != 0)
    abort();
  return 0;
}
