/* What gRPC does not do about the address of a server. Private to rpc_*.c. */
#ifndef PROTO_RPC_BIND_H
#define PROTO_RPC_BIND_H

#include <stdint.h>

/* Tries HOST:PORT: 0 when it can be bound, or why not: -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EINVAL, ... Blocks while
 * the name is resolved. */
int rpc_bind_error(const char *address);
/* This process listens at the TCP port no more, so that another may. What has been accepted stays; what has not is
 * reset. 0, -ENOENT: it did not listen there, or what opendir failed with. */
int rpc_bind_release(uint16_t port);

#endif
