/* A server that takes connections which others have accepted, with nothing read of them. Private to rpc_*.c. */
#ifndef PROTO_RPC_HANDED_H
#define PROTO_RPC_HANDED_H

#include <pthread.h>
#include <stdbool.h>

#include "rpc_args.h"

/* What gRPC listens at in place of an address. */
#define RPC_HANDED_ADDRESS "external:handed"

struct rpc_handed {
  pthread_mutex_t lock; /* over the handler, which goes with gRPC's server */
  void *handler;        /* NULL: nothing is taken, not yet or not any more */
};

int rpc_handed_open(struct rpc_handed *h); /* 0, or a negative errno */
void rpc_handed_close(struct rpc_handed *h);
/* Lets the server that is created with these arguments tell its handler. */
void rpc_handed_add_arg(struct rpc_handed *h, struct rpc_args *args);
/* `server` was created with the argument: takes connections with these credentials from now on. False: this gRPC is not
 * as expected, and nothing of it will be called. In any case the server listens, and must be shut down. */
bool rpc_handed_begin(struct rpc_handed *h, grpc_server *server, grpc_server_credentials *credentials);
/* Before the server is shut down. */
void rpc_handed_end(struct rpc_handed *h);
/* Takes the descriptor, whatever becomes of it. Any thread. */
void rpc_handed_take(struct rpc_handed *h, int fd);

#endif
