/* What the writer and the reader of state files share. */
#ifndef DAEMON_STATE_FORMAT_INTERNAL_H
#define DAEMON_STATE_FORMAT_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wire/public_name.h"

#define HEAD "mindmeld state "
#define END "end"

/* With nothing but services and forwards; with public hosts; with ports, how targets are told of clients, or what is
 * said of requests. */
enum { VERSION = 3, PUBLIC_VERSION = 2, PLAIN_VERSION = 1 };
enum { LINE_MAX_SIZE = 8192, PAGE_PART = 3072 };

#define BASE64 sodium_base64_VARIANT_ORIGINAL

/* The words of lines with public names, by enum public_kind. */
enum { STATE_PUBLIC_WORDS = PUBLIC_PORT + 1 };
extern const char *const state_public_words[STATE_PUBLIC_WORDS];

/* CRC-32 of IEEE 802.3. */
uint32_t state_checksum(const char *bytes, size_t size);

#endif
