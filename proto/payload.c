/* Payload by hand: finds where its fields lie, and writes what stands before data. The field numbers are those of
 * mindmeld.proto. */
#include "payload.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "wire.h"

enum { FIELD_HEADER = 1, FIELD_DATA = 2, FIELD_EOF = 3, FIELD_RESET = 4 };

static void take_field(struct payload *out, const struct wire_field *field)
{
  if (field->number == FIELD_EOF && field->type == WIRE_VARINT)
    out->eof = field->value != 0;
  if (field->type != WIRE_BYTES)
    return;
  switch (field->number) {
  case FIELD_HEADER:
    out->has_header = true;
    out->has_data = false; /* the two are a oneof */
    out->header_at = field->at;
    out->header_size = field->size;
    break;
  case FIELD_DATA:
    out->has_data = true;
    out->has_header = false;
    out->data_at = field->at;
    out->data_size = field->size;
    break;
  case FIELD_RESET:
    out->has_reset = true;
    out->reset_at = field->at;
    out->reset_size = field->size;
    break;
  default:
    break;
  }
}

int payload_parse(const struct iovec *parts, size_t count, struct payload *out)
{
  struct wire w = wire_open(parts, count);
  struct wire_field field;
  int result;
  *out = (struct payload){0};
  while ((result = wire_next(&w, &field)) > 0)
    take_field(out, &field);
  return result;
}

void payload_copy(const struct iovec *parts, size_t count, size_t at, size_t size, void *out)
{
  uint8_t *to = out;
  for (size_t i = 0; i < count && size > 0; i++) {
    if (at >= parts[i].iov_len) {
      at -= parts[i].iov_len;
      continue;
    }
    size_t here = parts[i].iov_len - at;
    if (here > size)
      here = size;
    memcpy(to, (const uint8_t *)parts[i].iov_base + at, here);
    to += here;
    size -= here;
    at = 0;
  }
}

size_t payload_prefix(uint8_t out[PAYLOAD_PREFIX_MAX], size_t data_size, bool eof)
{
  size_t used = 0;
  if (eof) {
    out[used++] = FIELD_EOF << 3 | WIRE_VARINT;
    out[used++] = 1;
  }
  if (data_size > 0) {
    out[used++] = FIELD_DATA << 3 | WIRE_BYTES;
    for (; data_size >= 0x80; data_size >>= 7)
      out[used++] = (uint8_t)(data_size | 0x80);
    out[used++] = (uint8_t)data_size;
  }
  return used;
}
