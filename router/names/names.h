/* The names' room: which services there are, who watches them, and which process there is of each identity. Each part
 * belongs to the file that is named beside it. One thread.
 *
 * service.c, join.c and watch.c call each other, because what one holds ends with what another holds: a presence ends
 * with its watch, a service with its presence, and watches are told of both. */
#ifndef ROUTER_NAMES_H
#define ROUTER_NAMES_H

#include <stdint.h>

#include "proto/wire/header.h"
#include "proto/wire/status.h"

struct caller;
struct callers;
struct catalogue_kept;
struct door;
struct grants;
struct hosts;
struct lost;
struct names;
struct pass;
struct passes;
struct pending;
struct presences;
struct registry;
struct router_limits;
struct service;
struct services;
struct watchers;

/* What happens to the dials, which this room does not know. */
struct names_events {
  /* A service was to be told of this one, or was, and it has left the service's list: it ends with a status. */
  void (*failed)(struct pending *p, enum rpc_status status, const char *text);
  /* The same, but it goes on: its service is gone, or is somebody else's now. */
  void (*left)(struct pending *p);
  void (*service_came)(const struct service *s, void *arg);
  /* For good. */
  void (*member_lost)(const uint8_t member[HEADER_MEMBER_SIZE], void *arg);
  /* The caller's parked streams are not good any more. The caller holds something until this returns. */
  void (*unparked)(struct caller *c, enum rpc_status status, const char *text);
  /* Its watch is over, and raw streams are not opened with it any more; it is freed when this returns. */
  void (*pass_ends)(struct pass *p, void *arg);
  void *arg;
};

/* `grants` lives longer. NULL when memory is short. */
struct names *router_names_open(struct door *d, const struct grants *grants);
/* No service and no watcher may be there any more. */
void router_names_close(struct names *n); /* NULL is fine */
/* Before the first call comes. */
void router_names_listen(struct names *n, const struct names_events *events);

/* Watches are told from now on that raw streams are taken at `address`, as WatchServicesResponse.stream_addr has it. It
 * is copied. */
enum { NAMES_STREAMS_MAX = 16 };
void router_names_offer_streams(struct names *n, const char *address);
const char *router_names_streams(const struct names *n); /* "": nothing is offered */

struct door *router_names_door(const struct names *n);
/* The door's. */
struct callers *router_names_callers(const struct names *n);
const struct router_limits *router_names_limits(const struct names *n);
const struct names_events *router_names_events(const struct names *n);
struct registry *router_names_registry(const struct names *n); /* registry.c; holds the services by name */
const struct grants *router_names_grants(const struct names *n);
struct hosts *router_names_hosts(const struct names *n);         /* hosts.c */
struct lost *router_names_lost(const struct names *n);           /* lost.c */
struct services *router_names_services(const struct names *n);   /* service.c */
struct presences *router_names_presences(const struct names *n); /* join.c */
struct watchers *router_names_watchers(const struct names *n);   /* watch.c */
struct passes *router_names_passes(const struct names *n);       /* passes.c */
struct catalogue_kept *router_names_listed(struct names *n);     /* list.c */

#endif
