/* A message is a gRPC byte buffer under another name: slices, each counted by reference. */
#include <stdlib.h>
#include <sys/uio.h>

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/slice_buffer.h>
#include <protobuf-c/protobuf-c.h>

#include "proto/wire/payload.h"
#include "rpc_internal.h"

static grpc_slice_buffer *slices_of(const struct rpc_message *m)
{
  /* gRPC's own functions take a mutable buffer, also to look at it. */
  return &((grpc_byte_buffer *)(uintptr_t)m)->data.raw.slice_buffer;
}

static struct rpc_message *message_of(grpc_slice slice)
{
  grpc_byte_buffer *b = grpc_raw_byte_buffer_create(NULL, 0);
  if (b)
    grpc_slice_buffer_add(&b->data.raw.slice_buffer, slice);
  else
    grpc_slice_unref(slice);
  return rpc_message_from_buffer(b);
}

/* Memory of our own, since gRPC ends the process when it has none. */
static struct rpc_message *message_take(uint8_t *bytes, size_t size)
{
  return message_of(grpc_slice_new(bytes, size, free));
}

struct rpc_message *rpc_message_copy(const void *bytes, size_t size)
{
  struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
  uint8_t *copy = malloc(size ? size : 1);
  if (!copy)
    return NULL;
  payload_copy(&part, 1, 0, size, copy);
  return message_take(copy, size);
}

struct rpc_message *rpc_message_pack(const struct ProtobufCMessage *m)
{
  size_t size = protobuf_c_message_get_packed_size(m);
  uint8_t *bytes = malloc(size ? size : 1);
  if (!bytes)
    return NULL;
  return message_take(bytes, protobuf_c_message_pack(m, bytes));
}

struct ProtobufCMessage *rpc_message_unpack(const struct rpc_message *m, const struct ProtobufCMessageDescriptor *type)
{
  const grpc_slice_buffer *slices = slices_of(m);
  if (slices->count == 1)
    return protobuf_c_message_unpack(type, NULL, slices->length, GRPC_SLICE_START_PTR(slices->slices[0]));
  uint8_t *bytes = malloc(slices->length ? slices->length : 1);
  if (!bytes)
    return NULL;
  size_t used = 0;
  for (size_t i = 0; i < slices->count; i++) {
    struct iovec part = {GRPC_SLICE_START_PTR(slices->slices[i]), GRPC_SLICE_LENGTH(slices->slices[i])};
    payload_copy(&part, 1, 0, part.iov_len, bytes + used);
    used += part.iov_len;
  }
  struct ProtobufCMessage *out = protobuf_c_message_unpack(type, NULL, used, bytes);
  free(bytes);
  return out;
}

void rpc_message_free(struct rpc_message *m)
{
  if (m)
    grpc_byte_buffer_destroy(rpc_message_buffer(m));
}

size_t rpc_message_size(const struct rpc_message *m)
{
  return slices_of(m)->length;
}

struct rpc_message *rpc_message_cut(const struct rpc_message *m, const void *prefix, size_t prefix_size, size_t at,
                                    size_t size)
{
  const grpc_slice_buffer *from = slices_of(m);
  if (at > from->length || size > from->length - at)
    return NULL;
  grpc_byte_buffer *b = grpc_raw_byte_buffer_create(NULL, 0);
  if (!b)
    return NULL;
  grpc_slice_buffer *to = &b->data.raw.slice_buffer;
  if (prefix_size > 0)
    grpc_slice_buffer_add(to, grpc_slice_from_copied_buffer(prefix, prefix_size));
  for (size_t i = 0; i < from->count && size > 0; i++) {
    size_t length = GRPC_SLICE_LENGTH(from->slices[i]);
    if (at >= length) {
      at -= length;
      continue;
    }
    size_t here = length - at < size ? length - at : size;
    grpc_slice_buffer_add(to, grpc_slice_sub(from->slices[i], at, at + here));
    size -= here;
    at = 0;
  }
  return rpc_message_from_buffer(b);
}

size_t rpc_message_parts(const struct rpc_message *m, struct iovec *parts, size_t max)
{
  grpc_slice_buffer *slices = slices_of(m);
  for (size_t i = 0; i < slices->count && i < max; i++) {
    parts[i].iov_base = GRPC_SLICE_START_PTR(slices->slices[i]);
    parts[i].iov_len = GRPC_SLICE_LENGTH(slices->slices[i]);
  }
  return slices->count;
}
