/* Members and connections are numbers here, and so many bytes in the glue. */
#ifndef SIM_NAME_H
#define SIM_NAME_H

#include <stdint.h>
#include <string.h>

#include "proto/wire/header.h"

_Static_assert(HEADER_MEMBER_SIZE == HEADER_CONNECTION_SIZE, "a name serves for both");

static inline void name_put(uint64_t number, uint8_t out[HEADER_MEMBER_SIZE])
{
  memset(out, 0, HEADER_MEMBER_SIZE);
  memcpy(out, &number, sizeof number);
}

static inline uint64_t name_get(const uint8_t bytes[HEADER_MEMBER_SIZE])
{
  uint64_t number;
  memcpy(&number, bytes, sizeof number);
  return number;
}

#endif
