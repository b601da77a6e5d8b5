/* Why a server cannot listen, which gRPC does not tell. Private to rpc_*.c. */
#ifndef PROTO_RPC_BIND_H
#define PROTO_RPC_BIND_H

/* Tries HOST:PORT: 0 when it can be bound, or why not: -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, -EINVAL, ... Blocks while
 * the name is resolved. */
int rpc_bind_error(const char *address);

#endif
