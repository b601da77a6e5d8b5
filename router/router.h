/* The router: what every party can reach. Everything happens on its queue's home thread, or on the raw thread under the
 * home lock. */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include <stddef.h>
#include <stdint.h>

#include "proto/rpc/rpc.h"
#include "router/door/limits.h"
#include "router/names/grants.h"

struct router;

struct router_config {
  struct rpc_server_options server;
  const char *streams;  /* HOST:PORT for raw streams alone; NULL: they come by the server's address */
  const char *key;      /* NULL: everybody is let in */
  struct grants grants; /* points to what lives longer than the router */
  struct router_limits limits;
  void (*log)(void *arg, const char *line); /* one event, without a newline */
  void *log_arg;
};

/* Where a router listens. */
struct router_ports {
  int port, streams_port; /* 0: there is no port for raw streams alone */
  const char *refused;    /* after an error: of the two addresses, the one that cannot be had */
};

/* Listens. What config points to is copied. 0, -ENOMEM, or what rpc_server_start failed with. */
int router_start(struct router **out, struct rpc_queue *q, const struct router_config *config,
                 struct router_ports *ports);
/* Who has come, and comes, is served. Once, when nothing of the queue is used any more but by rpc_queue_run. */
void router_admit(struct router *r);

/* Replaces the key or the certificate of a router that has one. The key applies to calls from now on: connections that
 * were made with the former one go on; services and watches end, and come again with the key that they have then. The
 * certificate applies to connections from now on. Both are copied. 0, or -ENOMEM, and then nothing has changed. */
int router_set_key(struct router *r, const char *key);
int router_set_certificate(struct router *r, const char *cert_pem, const char *key_pem);

/* Tells the watchers, refuses new work, gives live connections drain_ms, and ends. `done` runs once, when the router is
 * freed. Called again before that: ends at once. */
void router_drain(struct router *r, void (*done)(void *arg), void *arg);

#endif
