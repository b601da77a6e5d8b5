/* A registered service: it lives as long as its CreateService stream, on which it is told of each connection that waits
 * for it. Its member, or another of the same identity, may register it anew, also when the older stream is dead without
 * our knowing it: then the newer one has the name at once, and is told of all that wait. */
#ifndef ROUTER_SERVICE_H
#define ROUTER_SERVICE_H

#include "router/door/opening.h"

struct caller;
struct dial;
struct router;
struct service;

/* CreateService. */
void router_service_create(struct opening *o, struct rpc_message *m);

const char *router_service_name(const struct service *s);
struct caller *router_service_caller(const struct service *s);

/* The one that this caller registered last, or NULL. */
struct service *router_service_latest(struct caller *c);

/* Tells the service of a dial, which is its to fail from now on (router_dial_fail), until router_service_forget.
 * -ENOSPC: too many are still to be told of. */
int router_service_tell(struct service *s, struct dial *d);
void router_service_forget(struct service *s, struct dial *d);

/* It is withdrawn, and its stream ends with a status. */
void router_service_end(struct service *s, enum rpc_status status, const char *text);

/* No connection will begin any more: all dials of all services fail. */
void router_services_drain(struct router *r, enum rpc_status status, const char *text);
/* How the services end when the router does; the dials fail. */
void router_services_end(struct router *r, enum rpc_status status, const char *text);

#endif
