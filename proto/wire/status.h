/* gRPC's status codes, and the one table that turns them into errnos and words. Pure; any thread. */
#ifndef PROTO_STATUS_H
#define PROTO_STATUS_H

enum rpc_status {
  RPC_OK,
  RPC_CANCELLED,
  RPC_UNKNOWN,
  RPC_INVALID_ARGUMENT,
  RPC_DEADLINE_EXCEEDED,
  RPC_NOT_FOUND,
  RPC_ALREADY_EXISTS,
  RPC_PERMISSION_DENIED,
  RPC_RESOURCE_EXHAUSTED,
  RPC_FAILED_PRECONDITION,
  RPC_ABORTED,
  RPC_OUT_OF_RANGE,
  RPC_UNIMPLEMENTED,
  RPC_INTERNAL,
  RPC_UNAVAILABLE,
  RPC_DATA_LOSS,
  RPC_UNAUTHENTICATED,
};

/* The positive errno that a shell user can act on; 0 for RPC_OK; never EIO. */
int rpc_status_errno(enum rpc_status status);
/* "NOT_FOUND"; "UNKNOWN" for a number that gRPC does not have. */
const char *rpc_status_name(enum rpc_status status);

#endif
