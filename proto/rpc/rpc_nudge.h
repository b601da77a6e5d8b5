/* Wakes the thread of gRPC's that looks after its timers. Private to proto/. */
#ifndef PROTO_RPC_NUDGE_H
#define PROTO_RPC_NUDGE_H

enum { RPC_NUDGE_MS = 1000 };

/* Any thread, between grpc_init and grpc_shutdown. */
typedef void (*rpc_nudge_cb)(void);
rpc_nudge_cb rpc_nudge_find(void); /* NULL: this gRPC has none */

#endif
