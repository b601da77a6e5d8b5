/* What the copy path shares with the callback interface: completion tags on the queue's own thread. Private to proto/.
 */
#ifndef PROTO_RPC_INTERNAL_H
#define PROTO_RPC_INTERNAL_H

#include <grpc/grpc.h>

#include "rpc.h"

/* Handed to grpc_call_start_batch. `complete` runs on the thread that takes completions, and must not block. */
struct rpc_tag {
  void (*complete)(struct rpc_tag *tag, bool ok);
  struct rpc_tag *next; /* in the inbox of the home thread */
  bool ok;
};

/* grpc_call_start_batch with the hand-over to the completing thread made visible to TSan. -EIO when gRPC refuses the
 * batch: then nothing completes. */
int rpc_start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);

/* Attached queues: runs `on_home` on the loop with this tag. Any thread; the tag must not be in use for anything else
 * until then. In order. */
void rpc_queue_deliver(struct rpc_queue *q, struct rpc_tag *tag, bool ok,
                       void (*on_home)(struct rpc_tag *tag, bool ok));

grpc_completion_queue *rpc_queue_cq(struct rpc_queue *q);
struct rpc_queue *rpc_channel_queue(struct rpc_channel *ch);

/* A call on the channel with no batch started yet, and the metadata that every call carries: mindmeld-version, and
 * authorization if there is a key. The array belongs to the channel. The caller unrefs the call. */
grpc_call *rpc_channel_create_call(struct rpc_channel *ch, const char *method, uint64_t deadline_ms);
const grpc_metadata *rpc_channel_metadata(struct rpc_channel *ch, size_t *count);

#endif
