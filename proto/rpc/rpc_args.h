/* gRPC's settings, by name. Private to rpc_*.c. */
#ifndef PROTO_RPC_ARGS_H
#define PROTO_RPC_ARGS_H

#include <grpc/grpc.h>
#include <stdbool.h>

enum { RPC_ARGS_MAX = 32 };

struct rpc_args {
  grpc_arg all[RPC_ARGS_MAX];
  size_t count;
};

/* The key is not copied. */
void rpc_args_add(struct rpc_args *args, const char *key, int value);
/* Neither is. */
void rpc_args_add_text(struct rpc_args *args, const char *key, char *value);
/* Nor is what `pointer` points to. */
void rpc_args_add_pointer(struct rpc_args *args, const char *key, void *pointer, const grpc_arg_pointer_vtable *how);
/* The quota must outlast the use of `args`. */
void rpc_args_add_quota(struct rpc_args *args, grpc_resource_quota *quota);
/* Points into `args`. */
grpc_channel_args rpc_args_view(struct rpc_args *args);

/* What holds at both ends. */
void rpc_args_add_common(struct rpc_args *args);
/* A server's: a peer that does not answer is given up after some 15 seconds. */
enum { RPC_SERVER_ANSWER_MS = 10000 };
void rpc_args_add_keepalive(struct rpc_args *args);
/* A client's: pings, or none, and how long an answer may take. gRPC makes `answer_ms` the TCP_USER_TIMEOUT of the
 * socket, too. */
void rpc_args_add_client_keepalive(struct rpc_args *args, bool pings, int answer_ms);

#endif
