/* Walks over the fields of one serialised protobuf message, wherever its bytes are cut. Pure; any thread. Private to
 * proto/. */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

struct wire {
  const struct iovec *parts;
  size_t count;
  size_t offset; /* in the first part that is left */
  size_t at;     /* in the message */
  size_t left;
  bool elsewhere; /* a part without memory was passed over */
};

struct wire_field {
  uint32_t number;
  enum wire_type type;
  uint64_t value; /* WIRE_VARINT */
  size_t at;      /* WIRE_BYTES */
  size_t size;    /* WIRE_BYTES */
  bool elsewhere; /* some of it is in a part without memory */
};

/* A part whose `iov_base` is NULL stands for bytes that are not in memory: they may be passed over, and not read. */
struct wire wire_open(const struct iovec *parts, size_t count);
/* 1 and a field, 0 at the end, -EBADMSG. Groups, which proto3 does not have, are malformed. */
int wire_next(struct wire *w, struct wire_field *out);

#endif
