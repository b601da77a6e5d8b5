/* Which counters were used already: no preamble is good twice, in whatever order they come. Pure; any thread. */
#ifndef PROTO_RAW_WINDOW_H
#define PROTO_RAW_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

enum { RAW_WINDOW_SIZE = 4096 };

/* All zero: none was used. */
struct raw_window {
  uint64_t highest;
  uint64_t used[RAW_WINDOW_SIZE / 64]; /* a bit for each of the highest and those below it */
};

/* Whether it was not used yet. Of one that lies RAW_WINDOW_SIZE or more below the highest that is not known any more,
 * and 0 does not occur: neither is fresh. */
bool raw_window_is_fresh(const struct raw_window *w, uint64_t counter);
/* Uses it. False: it is not fresh. Only for what is proven to come from the owner of the counters. */
bool raw_window_use(struct raw_window *w, uint64_t counter);

#endif
