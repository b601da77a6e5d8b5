/* Whom a channel connects to, and as whom it speaks to him: in gRPC's words. Private to rpc_*.c. */
#ifndef PROTO_RPC_TARGET_H
#define PROTO_RPC_TARGET_H

#include "rpc.h"
#include "rpc_args.h"

/* All are of malloc, or NULL. */
struct rpc_target {
  char *uri;
  char *name;    /* HOST:PORT */
  char *host;    /* without brackets */
  char *headers; /* for the proxy */
  bool address, proxy, tls;
};

/* 0 or -ENOMEM; -EINVAL: the login is too long. To be freed in any case. */
int rpc_target_make(struct rpc_target *t, const struct rpc_channel_options *options);
void rpc_target_free(struct rpc_target *t);
/* They point into `t`. */
void rpc_target_add_args(const struct rpc_target *t, struct rpc_args *args);

#endif
