/* The fields of one serialised Payload, read and written by hand, so that the data in it is never parsed or copied.
 * Pure; any thread. */
#ifndef PROTO_PAYLOAD_H
#define PROTO_PAYLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ack.h"

struct iovec;

enum { PAYLOAD_PREFIX_MAX = 32, PAYLOAD_ACK_MAX = 64 };

/* Offsets are into the message. A field that occurs twice: the last one counts, as in protobuf; unknown fields are
 * passed over. */
struct payload {
  unsigned fields; /* of those that are known, how many stand in it */
  bool has_data, has_header, has_reset, has_refused, has_ack, has_offset, has_window, eof;
  size_t data_at, data_size;
  size_t header_at, header_size;
  size_t reset_at, reset_size; /* of the reset, or the refusal */
  uint64_t offset, window;
  struct ack ack;
};

/* 0, or -EBADMSG. Of data, header, reset and refused looks only at tags and lengths, wherever the parts are cut. A part
 * whose `iov_base` is NULL stands for bytes that are not in memory, which only data may be. */
int payload_parse(const struct iovec *parts, size_t count, struct payload *out);

/* Copies bytes [at, at + size), which must lie inside. */
void payload_copy(const struct iovec *parts, size_t count, size_t at, size_t size, void *out);

/* The bytes that stand before `data_size` bytes of data (0: no data field) in a message. Returns how many; at most
 * PAYLOAD_PREFIX_MAX. */
size_t payload_prefix(uint8_t out[PAYLOAD_PREFIX_MAX], size_t data_size, bool eof);
/* The bytes that say where they begin, which stand before that prefix. Returns how many. */
size_t payload_offset(uint8_t out[PAYLOAD_PREFIX_MAX], uint64_t offset);
/* The bytes that say how much the sender means to have under way, which stand before that prefix, or are a message
 * alone. Returns how many. */
size_t payload_window(uint8_t out[PAYLOAD_PREFIX_MAX], uint64_t window);

/* The bytes of an ack, which stand before that prefix, or are a message alone. Returns how many. */
size_t payload_ack(uint8_t out[PAYLOAD_ACK_MAX], const struct ack *ack);

#endif
