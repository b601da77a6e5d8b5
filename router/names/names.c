/* The parts of the room, made and freed. */
#include "names.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalogue.h"
#include "hosts.h"
#include "join.h"
#include "lost.h"
#include "passes.h"
#include "registry.h"
#include "router/door/door.h"
#include "service.h"
#include "watch.h"

/* Names that are gone are remembered for watchers that are slow. */
enum { REGISTRY_MEMORY = 4096 };

struct names {
  struct door *door;
  struct names_events events;
  struct registry *registry;
  const struct grants *grants;
  struct hosts *hosts;
  struct lost *lost;
  struct services *services;
  struct presences *presences;
  struct watchers *watchers;
  struct passes *passes;
  char streams[NAMES_STREAMS_MAX];
  struct catalogue_kept listed;
};

static bool has_stayed(const uint8_t member[HEADER_MEMBER_SIZE], uint64_t since, void *arg)
{
  return join_has_stayed(arg, member, since);
}

struct names *router_names_open(struct door *d, const struct grants *grants)
{
  struct names *n = calloc(1, sizeof *n);
  if (!n)
    return NULL;
  n->door = d;
  n->grants = grants;
  n->registry = registry_open(door_limits(d)->services, REGISTRY_MEMORY);
  n->hosts = hosts_open(door_limits(d)->hosts_per_identity, door_limits(d)->gone_ms, has_stayed, n);
  n->lost = lost_open(door_limits(d)->lost);
  n->services = router_services_open();
  n->presences = presences_open();
  n->watchers = watchers_open(n);
  n->passes = passes_open();
  if (n->registry && n->hosts && n->lost && n->services && n->presences && n->watchers && n->passes)
    return n;
  router_names_close(n);
  return NULL;
}

void router_names_close(struct names *n)
{
  if (!n)
    return;
  catalogue_forget(&n->listed);
  watchers_close(n->watchers);
  passes_close(n->passes);
  presences_close(n->presences);
  router_services_close(n->services);
  lost_close(n->lost);
  hosts_close(n->hosts);
  registry_close(n->registry);
  free(n);
}

void router_names_listen(struct names *n, const struct names_events *events)
{
  n->events = *events;
}

void router_names_offer_streams(struct names *n, const char *address)
{
  snprintf(n->streams, sizeof n->streams, "%s", address);
}

const char *router_names_streams(const struct names *n)
{
  return n->streams;
}

struct door *router_names_door(const struct names *n)
{
  return n->door;
}

struct callers *router_names_callers(const struct names *n)
{
  return door_callers(n->door);
}

const struct router_limits *router_names_limits(const struct names *n)
{
  return door_limits(n->door);
}

const struct names_events *router_names_events(const struct names *n)
{
  return &n->events;
}

struct registry *router_names_registry(const struct names *n)
{
  return n->registry;
}

const struct grants *router_names_grants(const struct names *n)
{
  return n->grants;
}

struct hosts *router_names_hosts(const struct names *n)
{
  return n->hosts;
}

struct lost *router_names_lost(const struct names *n)
{
  return n->lost;
}

struct services *router_names_services(const struct names *n)
{
  return n->services;
}

struct presences *router_names_presences(const struct names *n)
{
  return n->presences;
}

struct watchers *router_names_watchers(const struct names *n)
{
  return n->watchers;
}

struct passes *router_names_passes(const struct names *n)
{
  return n->passes;
}

struct catalogue_kept *router_names_listed(struct names *n)
{
  return &n->listed;
}
