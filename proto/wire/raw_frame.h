/* Frames: what the two sides of a pair of raw streams say, each one a Payload behind its length. Pure; any thread. */
#ifndef PROTO_RAW_FRAME_H
#define PROTO_RAW_FRAME_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

enum {
  RAW_FRAME_LENGTH_SIZE = 4,
  RAW_FRAME_MAX = 1 << 20, /* of the Payload */
};

/* `size` is from 1 to RAW_FRAME_MAX. */
static inline void raw_frame_write(uint8_t out[RAW_FRAME_LENGTH_SIZE], size_t size)
{
  for (size_t i = 0; i < RAW_FRAME_LENGTH_SIZE; i++)
    out[i] = (uint8_t)(size >> 8 * (RAW_FRAME_LENGTH_SIZE - 1 - i));
}

/* The size of the Payload that follows, or -EBADMSG: what came is no frame. */
static inline int raw_frame_read(const uint8_t length[RAW_FRAME_LENGTH_SIZE])
{
  uint32_t size = 0;
  for (size_t i = 0; i < RAW_FRAME_LENGTH_SIZE; i++)
    size = size << 8 | length[i];
  return size >= 1 && size <= RAW_FRAME_MAX ? (int)size : -EBADMSG;
}

#endif
