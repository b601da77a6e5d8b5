/* A stream that is a gRPC call (see proto/stream/stream.h). */
#ifndef PROTO_RPC_STREAM_H
#define PROTO_RPC_STREAM_H

#include <stdbool.h>

struct rpc_channel;
struct stream;

/* One that did not start. `original_router`: ProxyConnection, whose other side speaks the first version; else Connect.
 * -ENOMEM. Home thread. */
int rpc_stream_create(struct stream **out, struct rpc_channel *ch, bool original_router);

#endif
