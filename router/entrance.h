/* How connections come in: by the router's own listeners, which hand to gRPC what is gRPC's; or, if this gRPC takes
 * none from others, by gRPC's listener. */
#ifndef ROUTER_ENTRANCE_H
#define ROUTER_ENTRANCE_H

#include <stdbool.h>

#include "proto/rpc/rpc.h"

struct front;

struct entrance {
  struct front *front; /* NULL: gRPC listens */
  struct rpc_server *server;
  int port;
};

/* Listens at the address of `options`; what comes waits until entrance_admit. 0, or what rpc_server_start failed with.
 */
int entrance_open(struct entrance *e, struct rpc_queue *q, const struct rpc_server_options *options,
                  rpc_server_call_cb on_call, void *arg);
void entrance_admit(struct entrance *e);
/* Nothing comes any more, so that another router may listen there. 0, or a negative errno if it still does. */
int entrance_leave(struct entrance *e);
/* The server is freed already, or about to be. */
void entrance_close(struct entrance *e);

#endif
