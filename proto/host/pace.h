/* How often something may happen: so many times at once, and then once in so many ms. What happens too often is
 * counted. Pure: the clock is handed in. */
#ifndef PROTO_PACE_H
#define PROTO_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* Zeroed before first use. */
struct pace {
  uint64_t paid; /* ms: the time up to which what happened is accounted for */
  uint64_t left_out;
};

/* Whether it may happen at `now`, which never goes back; if not, it is counted in `left_out`. */
bool pace_allows(struct pace *p, uint64_t now, uint64_t at_once, uint64_t every_ms);

#endif
