/* What an identity's file says, as text. Pure. */
#ifndef DAEMON_IDENTITY_TEXT_H
#define DAEMON_IDENTITY_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/identity.h"

enum { IDENTITY_TEXT_MAX = 1024, IDENTITY_MACHINE_SIZE = 16 };

/* Of the process that used it last. All but `instance` is secret. */
struct identity_text {
  uint8_t seed[IDENTITY_SEED_SIZE];
  uint64_t instance;
  uint8_t member_key[HEADER_MEMBER_KEY_SIZE];
  /* Where that was: version 2. */
  bool has_machine;
  uint8_t machine[IDENTITY_MACHINE_SIZE];
  /* Of the process before, which that one has not said to be over yet: the last lines, which can be cut off. */
  bool has_former;
  uint8_t former_key[HEADER_MEMBER_KEY_SIZE];
};

/* Its length, without the final NUL. */
size_t identity_text_write(const struct identity_text *from, char out[IDENTITY_TEXT_MAX]);
/* Takes nothing but what identity_text_write writes, to the last byte. 0; -EPROTONOSUPPORT: of another version;
 * -EINVAL: damaged. */
int identity_text_read(const char *text, size_t size, struct identity_text *out);
/* Two digits, of which letters are small, for each byte. False: they are others. Reads no further than it must. */
bool identity_text_hex(const char *text, uint8_t *out, size_t size);

#endif
