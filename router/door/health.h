/* Health checks (grpc.health.v1): whether the router takes new work. They are answered without a key, so that
 * monitors need none, and have bounds of their own, so that strangers take nothing from other callers. */
#ifndef ROUTER_HEALTH_H
#define ROUTER_HEALTH_H

#include <stdbool.h>

struct door;
struct health;
struct rpc_call;

/* The checks of a door. NULL when memory is short. */
struct health *health_open(struct door *d);
/* No check may go on any more. */
void health_close(struct health *all); /* NULL is fine */

/* True when the call asks for that: then it is taken. */
bool health_ask(struct health *all, struct rpc_call *c);

/* The router began to drain, or is about to end: watches are told, and in the end given their status. */
void health_wake(struct health *all);

#endif
