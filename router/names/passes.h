/* What a watch is given to open raw streams with: a name for itself, and a secret. A pass is good as long as its watch.
 * One thread. */
#ifndef ROUTER_PASSES_H
#define ROUTER_PASSES_H

#include <stdint.h>

#include "proto/wire/raw.h"
#include "proto/wire/raw_window.h"
#include "router/door/table.h"

struct passes;
struct raw;
struct raw_end;

struct pass {
  uint8_t watch[RAW_WATCH_SIZE];
  uint8_t secret[RAW_SECRET_SIZE]; /* until it was told */
  struct raw_keys keys;
  struct raw_window window; /* of the counters that were used */
  struct raw *warm, *legs;  /* the meeting room's: raw connections that have no partner yet */
  size_t warm_count;
  struct raw_end *ends; /* and those that have one */
  UT_hash_handle hh;
};

/* NULL when memory is short. */
struct passes *passes_open(void);
/* None may be there any more. */
void passes_close(struct passes *ps); /* NULL is fine */
/* NULL when memory is short. */
struct pass *pass_create(struct passes *ps);
/* Frees it. */
void pass_end(struct passes *ps, struct pass *p);
/* Forgets its secret. */
void pass_told(struct pass *p);
/* NULL: no watch has that name. */
struct pass *passes_find(const struct passes *ps, const uint8_t watch[RAW_WATCH_SIZE]);

#endif
