/* Streams that wait for a dial of any service of the member that opened them. They are there only while it has a
 * service; they save the time to ask for one, and are never a limit: without one, the service is told of the dial. */
#ifndef ROUTER_PARKED_H
#define ROUTER_PARKED_H

#include <stdbool.h>

#include "proto/status.h"

struct arrival;
struct caller;
struct router;

/* Takes the arrival, a member's. */
void parked_start(const struct arrival *a);
/* The one that came last. False: there is none. */
bool parked_take(struct caller *c, struct arrival *out);
/* All of this caller's end. */
void parked_end(struct caller *c, enum rpc_status status, const char *text);

#endif
