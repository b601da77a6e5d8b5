/* What is counted of the tunnels of each service in each role: those that live, and those that ended. Private to the
 * tunnels.
 */
#ifndef CARRY_TALLY_H
#define CARRY_TALLY_H

#include "tunnels.h"

/* A table of them is a pointer, NULL at first. None is removed before tally_free_all: there are as many as names were
 * used here. */
struct tally;

/* The one of this service and role, which is made if there is none. NULL when memory is short, or the name too long. */
struct tally *tally_get(struct tally **tallies, enum tunnel_role role, const char *service);
/* Lives as long as the tally. */
const char *tally_service(const struct tally *tally);
void tally_add(struct tally *tally, struct tunnel *t);
/* It ended: what it counted stays. */
void tally_remove(struct tally *tally, struct tunnel *t);
/* Of one service; of all when NULL. */
struct tunnels_stats tally_stats(const struct tally *tallies, enum tunnel_role role, const char *service);
/* The live one after `t`, or the first. */
struct tunnel *tally_next(const struct tally *tallies, enum tunnel_role role, const char *service,
                          const struct tunnel *t);
void tally_free_all(struct tally **tallies);

#endif
