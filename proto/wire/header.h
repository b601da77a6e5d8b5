/* The header that a stream of Connect begins with. Pure; any thread. */
#ifndef PROTO_HEADER_H
#define PROTO_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "end_address.h"

enum {
  HEADER_TOKEN_MAX = 128,
  HEADER_SERVICE_MAX = 63,
  HEADER_MEMBER_SIZE = 16,
  HEADER_MEMBER_KEY_SIZE = 32,
  HEADER_CONNECTION_SIZE = 16,
  HEADER_SIZE_MAX = 512, /* of one that is packed */
};

struct header {
  char token[HEADER_TOKEN_MAX + 1];     /* "": none */
  char service[HEADER_SERVICE_MAX + 1]; /* "": none */
  bool park;
  bool has_member, has_member_key, has_connection, has_attach;
  uint8_t member[HEADER_MEMBER_SIZE];
  uint8_t member_key[HEADER_MEMBER_KEY_SIZE];
  uint8_t connection[HEADER_CONNECTION_SIZE];
  uint8_t attach[HEADER_MEMBER_SIZE];
  uint64_t limit; /* 0: not told */
  uint64_t epoch;
  bool established;
  uint64_t received;
  uint32_t hops;
  uint64_t origin; /* 0: not told */
  struct end_addresses ends;
};

/* Writes a whole Payload message. Returns its size. */
size_t header_pack(const struct header *h, uint8_t out[HEADER_SIZE_MAX]);

/* Reads the field `Payload.header`. 0, or -EBADMSG with a sentence in `why`. */
int header_unpack(const uint8_t *bytes, size_t size, struct header *out, const char **why);

#endif
