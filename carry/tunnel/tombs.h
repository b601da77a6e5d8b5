/* Tombstones: connections that are over are remembered for a while, for another side that has not heard of the end.
 * Their number is bounded; the oldest go first. Pure: the clock (ms) is handed in.
 */
#ifndef CARRY_TOMBS_H
#define CARRY_TOMBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/header.h"

enum { TOMBS_MAX = 4096, TOMBS_MS = 60000 };

struct tombs;

struct tomb {
  uint8_t connection[HEADER_CONNECTION_SIZE];
  uint8_t member[HEADER_MEMBER_SIZE]; /* the other side */
  uint64_t received;                  /* of its direction */
  bool reset;                         /* or both directions ended well */
  const char *code, *reason;          /* of the reset; the tomb's own */
};

/* NULL when memory is short. */
struct tombs *tombs_open(void);
void tombs_close(struct tombs *ts); /* NULL is fine */
/* Copied. Short of memory, nothing is remembered. */
void tombs_add(struct tombs *ts, const struct tomb *tomb, uint64_t now);
/* NULL: there is none. Good until the next call here. */
const struct tomb *tombs_find(struct tombs *ts, const uint8_t connection[HEADER_CONNECTION_SIZE], uint64_t now);
size_t tombs_count(const struct tombs *ts);

#endif
