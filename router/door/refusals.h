/* Hosts that were refused lately, so that the log has a line for each, and no host fills it. Pure: the clock is handed
 * in. */
#ifndef ROUTER_REFUSALS_H
#define ROUTER_REFUSALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/host/pace.h"

enum { REFUSALS_HOSTS = 64, REFUSALS_HOST_MAX = 80, REFUSALS_AGAIN_MS = 60000, REFUSALS_AT_ONCE = 32 };

/* Zeroed before first use. */
struct refusals {
  struct refused {
    char host[REFUSALS_HOST_MAX];
    uint64_t told_at;
    uint64_t since; /* how often since it was told */
  } hosts[REFUSALS_HOSTS];
  size_t count;
  struct pace pace; /* of all lines */
};

/* Whether a line is due of this peer: the first time, and then once in REFUSALS_AGAIN_MS. `since` is how often its host
 * was refused without a line before. */
bool refusals_tell(struct refusals *rs, const char *peer, uint64_t now, uint64_t *since);

#endif
