/* A registered service: it lives as long as its CreateService stream, on which it is told of each connection that waits
 * for it. Its member, or another of the same identity, may register it anew, even if the older stream is dead and the
 * router does not know it: the newer one has the name at once, and is told of all waiting dials. */
#ifndef ROUTER_SERVICE_H
#define ROUTER_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "router/door/opening.h"

struct caller;
struct names;
struct publics;
struct service;
struct services;

/* A dial, as its service sees it. */
struct pending {
  const char *token; /* what the service is told of it, and shows to answer; NULL: it has expired */
  bool told;
  struct pending *prev, *next; /* the service's */
};

/* NULL when memory is short. */
struct services *router_services_open(void);
/* No service may be there any more. */
void router_services_close(struct services *ss); /* NULL is fine */

/* CreateService. */
void router_service_create(struct opening *o, struct rpc_message *m);

const char *router_service_name(const struct service *s);
struct caller *router_service_caller(const struct service *s);

/* NULL: it has asked for none. */
struct publics *router_service_publics(const struct service *s);
/* What its owner says of requests; NULL: nothing. Until it is registered anew. */
const uint8_t *router_service_rules(const struct service *s, size_t *size);
/* Gates came or went: the URLs are others. */
void router_services_gates_changed(struct names *n);

/* When it was registered, in ms. */
uint64_t router_service_since(const struct service *s);

/* The one that this caller registered last, or NULL. */
struct service *router_service_latest(struct caller *c);

/* Tells the service of a dial, which stays in its list until router_service_forget, or until one of the events `failed`
 * and `left`. -ENOSPC: the service was not told of too many others yet. */
int router_service_tell(struct service *s, struct pending *p);
/* The same, but the service is not told. */
void router_service_hold(struct service *s, struct pending *p);
void router_service_forget(struct service *s, struct pending *p);

/* Withdraws the service; its stream ends with a status. */
void router_service_end(struct service *s, enum rpc_status status, const char *text);

/* No connection will begin any more: all dials of all services fail. */
void router_services_drain(struct names *n, enum rpc_status status, const char *text);
/* How the services end when the router does; the dials fail. */
void router_services_end(struct names *n, enum rpc_status status, const char *text);

#endif
