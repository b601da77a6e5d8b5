/* What the parts of the router share. Each field belongs to the file that is named beside it; the others only ask. */
#ifndef ROUTER_STATE_H
#define ROUTER_STATE_H

#include <stdbool.h>

#include "limits.h"
#include "proto/host/pace.h"
#include "refusals.h"
#include "router/names/catalogue.h"

struct answer;
struct callers;
struct lost;
struct health_call;
struct opening;
struct parked;
struct presence;
struct registry;
struct service;
struct tokens;
struct trail;
struct waiting;
struct watcher;

struct router {
  struct rpc_queue *queue;
  struct rpc_server *server;
  struct router_limits limits;
  void (*log)(void *arg, const char *line);
  void *log_arg;
  char *key;

  struct registry *registry; /* holds the services by name */
  struct catalogue_kept listed;
  struct callers *callers;
  struct tokens *tokens;
  struct lost *lost;
  struct trail *trails;    /* trails.c; NULL until the first is told */
  struct waiting *waiting; /* dial.c */
  uint64_t started;        /* ms */

  struct opening *openings; /* opening.c */
  size_t opening_count;
  struct answer *answers; /* reply.c */
  size_t answer_count, answer_bytes;
  struct service *services;   /* service.c */
  struct presence *presences; /* join.c */
  struct watcher *watchers;   /* watch.c */
  struct watcher *challenged;
  size_t watcher_count;
  struct rpc_timer *beat;
  struct health_call *health_checks, *health_watches; /* health.c */
  size_t health_check_count, health_watch_count;
  size_t stream_count;   /* arrival.c */
  struct parked *parked; /* parked.c */
  size_t parked_count;
  size_t bridge_count; /* arrival.c */

  struct pace reports; /* router.c */
  struct refusals refusals;
  struct rpc_timer *ageing;
  bool draining;
  bool ending;
  struct rpc_timer *patience;
  void (*done)(void *arg);
  void *done_arg;
};

/* An event of the router's own. */
__attribute__((format(printf, 2, 3))) void router_log(struct router *r, const char *format, ...);
/* One that a caller causes: of too many at once, only the number is told. */
__attribute__((format(printf, 2, 3))) void router_report(struct router *r, const char *format, ...);
/* A connection is over. */
void router_bridge_over(struct router *r);
uint64_t router_now(void); /* ms */

#endif
