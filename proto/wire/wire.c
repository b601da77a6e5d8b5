/* The protobuf wire format: a tag (field number and type), then a varint, fixed bytes, or a length and bytes. Only
 * tags, varints and lengths are looked at. */
#include "wire.h"

#include <errno.h>
#include <sys/uio.h>

struct wire wire_open(const struct iovec *parts, size_t count)
{
  struct wire w = {.parts = parts, .count = count};
  for (size_t i = 0; i < count; i++)
    w.left += parts[i].iov_len;
  return w;
}

static bool skip(struct wire *w, uint64_t size)
{
  if (size > w->left)
    return false;
  size_t rest = (size_t)size;
  w->at += rest;
  w->left -= rest;
  while (rest > 0) {
    size_t here = w->parts->iov_len - w->offset;
    w->elsewhere |= w->parts->iov_base == NULL && here > 0;
    if (rest < here) {
      w->offset += rest;
      return true;
    }
    rest -= here;
    w->parts++;
    w->count--;
    w->offset = 0;
  }
  return true;
}

static bool read_byte(struct wire *w, uint8_t *out)
{
  if (w->left == 0)
    return false;
  while (w->offset == w->parts->iov_len) {
    w->parts++;
    w->count--;
    w->offset = 0;
  }
  if (w->parts->iov_base == NULL)
    return false;
  *out = ((const uint8_t *)w->parts->iov_base)[w->offset];
  return skip(w, 1);
}

static bool read_varint(struct wire *w, uint64_t *out)
{
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    uint8_t byte = 0;
    if (!read_byte(w, &byte) || (shift == 63 && byte > 1))
      return false;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (byte < 0x80) {
      *out = value;
      return true;
    }
  }
  return false;
}

static bool read_value(struct wire *w, struct wire_field *out)
{
  uint64_t size = 0;
  switch (out->type) {
  case WIRE_VARINT:
    return read_varint(w, &out->value);
  case WIRE_FIXED64:
    return skip(w, 8);
  case WIRE_FIXED32:
    return skip(w, 4);
  case WIRE_BYTES:
    if (!read_varint(w, &size))
      return false;
    out->at = w->at;
    out->size = (size_t)size;
    return skip(w, size);
  }
  return false;
}

int wire_next(struct wire *w, struct wire_field *out)
{
  if (w->left == 0)
    return 0;
  uint64_t tag = 0;
  w->elsewhere = false;
  if (!read_varint(w, &tag) || tag > UINT32_MAX || tag >> 3 == 0)
    return -EBADMSG;
  *out = (struct wire_field){.number = (uint32_t)(tag >> 3), .type = (enum wire_type)(tag & 7)};
  if (!read_value(w, out))
    return -EBADMSG;
  out->elsewhere = w->elsewhere;
  return 1;
}
