/* How connections come in: by the router's own listeners, which hand to gRPC what is gRPC's; or, if this gRPC takes
 * none from others, by gRPC's listener, and raw streams only by a port of their own. */
#ifndef ROUTER_ENTRANCE_H
#define ROUTER_ENTRANCE_H

#include <stdbool.h>

#include "proto/rpc/rpc.h"

struct front;
struct poller;
struct raws;

struct entrance_config {
  struct rpc_server_options server;
  const char *streams; /* HOST:PORT for raw streams alone, or NULL */
};

struct entrance {
  struct entrance_config config;
  bool grpc_listens;
  struct front *front; /* NULL: there is nothing to listen at but gRPC's */
  struct raws *raws;   /* NULL: no raw streams are taken */
  struct rpc_server *server;
  int port, streams_port; /* 0: there is none */
};

/* Listens, but at gRPC's; what comes waits until entrance_admit. `config` must stay. 0, or what listening_open failed
 * with; *refused: at which address. */
int entrance_listen(struct entrance *e, const struct entrance_config *config, const char **refused);
/* Of the raw thread, which does not run yet; NULL: there will be none. */
struct poller *entrance_poller(const struct entrance *e);
/* Serves, with raw streams for `raws` unless it is NULL. 0, or what rpc_server_start failed with; or a negative errno.
 */
int entrance_serve(struct entrance *e, struct rpc_queue *q, struct raws *raws, rpc_server_call_cb on_call, void *arg);
void entrance_admit(struct entrance *e);
/* Nothing comes any more, so that another router may listen there. 0, or a negative errno if it still does. */
int entrance_leave(struct entrance *e);
/* Waits for the raw thread, which may need the home lock. */
void entrance_stop(struct entrance *e);
/* It is stopped; the server is freed already, or about to be. */
void entrance_close(struct entrance *e);

#endif
