/* Payload by hand: finds where its fields lie, and writes what stands before data. The field numbers are those of
 * mindmeld.proto. */
#include "payload.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "wire.h"

enum {
  FIELD_HEADER = 1,
  FIELD_DATA = 2,
  FIELD_EOF = 3,
  FIELD_RESET = 4,
  FIELD_ACK = 5,
  FIELD_OFFSET = 6,
  FIELD_REFUSED = 7,
  FIELD_WINDOW = 8,
  FIELD_LAST = FIELD_WINDOW,
};
enum { ACK_TAKEN = 1, ACK_MESSAGES = 2, ACK_HELD_US = 3, ACK_QUEUED = 4, ACK_LIMIT = 5 };

enum { ACK_BYTES_MAX = 256 }; /* of an ack with fields that we do not know */

static int parse_ack(const uint8_t *bytes, size_t size, struct ack *out)
{
  struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
  struct wire w = wire_open(&part, 1);
  struct wire_field field;
  int result;
  while ((result = wire_next(&w, &field)) > 0) {
    if (field.type != WIRE_VARINT)
      continue;
    if (field.number == ACK_TAKEN)
      out->taken = field.value;
    else if (field.number == ACK_MESSAGES)
      out->messages = field.value;
    else if (field.number == ACK_HELD_US)
      out->held_us = (uint32_t)field.value;
    else if (field.number == ACK_QUEUED)
      out->queued = field.value;
    else if (field.number == ACK_LIMIT)
      out->limit = field.value;
  }
  return result;
}

static int take_ack(const struct iovec *parts, size_t count, const struct wire_field *field, struct payload *out)
{
  uint8_t bytes[ACK_BYTES_MAX];
  if (field->size > sizeof bytes)
    return -EBADMSG;
  payload_copy(parts, count, field->at, field->size, bytes);
  out->has_ack = true;
  return parse_ack(bytes, field->size, &out->ack);
}

static void take_field(struct payload *out, const struct wire_field *field)
{
  if (field->number == FIELD_EOF && field->type == WIRE_VARINT)
    out->eof = field->value != 0;
  if (field->number == FIELD_OFFSET && field->type == WIRE_VARINT) {
    out->has_offset = true;
    out->offset = field->value;
  }
  if (field->number == FIELD_WINDOW && field->type == WIRE_VARINT) {
    out->has_window = true;
    out->window = field->value;
  }
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
  case FIELD_REFUSED:
    out->has_reset = field->number == FIELD_RESET;
    out->has_refused = field->number == FIELD_REFUSED;
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
  while ((result = wire_next(&w, &field)) > 0) {
    if (field.elsewhere && field.number != FIELD_DATA)
      return -EBADMSG;
    out->fields += field.number <= FIELD_LAST;
    take_field(out, &field);
    if (field.number == FIELD_ACK && field.type == WIRE_BYTES && take_ack(parts, count, &field, out) != 0)
      return -EBADMSG;
  }
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

static size_t put_varint(uint8_t *out, uint64_t value)
{
  size_t used = 0;
  for (; value >= 0x80; value >>= 7)
    out[used++] = (uint8_t)(value | 0x80);
  out[used++] = (uint8_t)value;
  return used;
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
    used += put_varint(out + used, data_size);
  }
  return used;
}

size_t payload_offset(uint8_t out[PAYLOAD_PREFIX_MAX], uint64_t offset)
{
  out[0] = FIELD_OFFSET << 3 | WIRE_VARINT;
  return 1 + put_varint(out + 1, offset);
}

size_t payload_window(uint8_t out[PAYLOAD_PREFIX_MAX], uint64_t window)
{
  out[0] = FIELD_WINDOW << 3 | WIRE_VARINT;
  return 1 + put_varint(out + 1, window);
}

static size_t put_field(uint8_t *out, int number, uint64_t value)
{
  if (value == 0)
    return 0;
  out[0] = (uint8_t)(number << 3 | WIRE_VARINT);
  return 1 + put_varint(out + 1, value);
}

size_t payload_ack(uint8_t out[PAYLOAD_ACK_MAX], const struct ack *ack)
{
  enum { BEFORE = 2 };
  size_t used = BEFORE;
  used += put_field(out + used, ACK_TAKEN, ack->taken);
  used += put_field(out + used, ACK_MESSAGES, ack->messages);
  used += put_field(out + used, ACK_HELD_US, ack->held_us);
  used += put_field(out + used, ACK_QUEUED, ack->queued);
  used += put_field(out + used, ACK_LIMIT, ack->limit);
  out[0] = FIELD_ACK << 3 | WIRE_BYTES;
  out[1] = (uint8_t)(used - BEFORE);
  return used;
}
