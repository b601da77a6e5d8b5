/* The connections that calls come on: one is known as long as it has a call. Home thread. Private to rpc_*.c. */
#ifndef PROTO_RPC_PEER_H
#define PROTO_RPC_PEER_H

#include <stddef.h>

struct rpc_peer;
struct rpc_peers;

struct rpc_peers *rpc_peers_open(void); /* NULL when memory is short */
/* All must be put back. */
void rpc_peers_close(struct rpc_peers *ps);

/* `name` is what gRPC calls it; copied. NULL when memory is short. */
struct rpc_peer *rpc_peer_get(struct rpc_peers *ps, const char *name);
void rpc_peer_put(struct rpc_peers *ps, struct rpc_peer *p); /* NULL is fine */

const char *rpc_peer_name(const struct rpc_peer *p);
/* A message of `size` is about to go there. */
void rpc_peer_sends(struct rpc_peer *p, size_t size);

#endif
