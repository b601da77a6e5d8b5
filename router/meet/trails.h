/* Trace: which connection to a service was dialled for which, as the services' daemons tell it, so that they hear how
 * many lie before each. proto/README.md says what that is for. */
#ifndef ROUTER_TRAILS_H
#define ROUTER_TRAILS_H

#include <stdint.h>

#include "router/door/opening.h"

struct trail;

enum { TRAILS_MAX = 16384, TRAILS_PER_CALL = 64, TRAILS_HOPS_MAX = 16, TRAILS_MS = 10000 };

/* Where a connection of a target is remembered: a table of TRAILS_MAX, in which the newer takes the place of the older,
 * for TRAILS_MS. */
void router_trails_add(struct trail *table, uint64_t origin, uint64_t dialled, uint64_t now);
/* How many connections to services lie before one that came by `origin`; it is not counted further than to
 * TRAILS_HOPS_MAX. */
unsigned router_trails_hops(const struct trail *table, uint64_t origin, uint64_t now);
/* For free(). NULL when memory is short. */
struct trail *router_trails_create(void);

void router_trails_ask(struct opening *o, struct rpc_message *m);

#endif
