/* What the copy path shares with the callback interface: completion tags on the queue's own thread. Private to proto/.
 */
#ifndef PROTO_RPC_INTERNAL_H
#define PROTO_RPC_INTERNAL_H

#include <grpc/grpc.h>

#include "proto/host/errand.h"
#include "rpc.h"

/* Handed to grpc_call_start_batch. `complete` runs on the thread that takes completions, and must not block. */
struct rpc_tag {
  struct errand errand; /* on its way to the home thread, or until no lock is held */
  void (*complete)(struct rpc_tag *tag, bool ok);
  void (*on_home)(struct rpc_tag *tag, bool ok); /* set by rpc_queue_deliver */
  bool ok;
};

/* Makes what this thread wrote visible to the thread that takes the tag's completion, as far as TSan is concerned,
 * which cannot look into gRPC. Before the tag is given to gRPC; rpc_start_batch does it by itself. */
void rpc_tag_hand_over(struct rpc_tag *tag);

/* grpc_call_start_batch with the hand-over to the completing thread made visible to TSan. -EIO when gRPC refuses the
 * batch: then nothing completes. */
int rpc_start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);

/* The other half: on the thread that got the tag back, before it looks at what the tag stands for. */
void rpc_tag_take(void *tag);
/* Takes the tag and calls `complete`: what a loop over grpc_completion_queue_next or
 * grpc_completion_queue_thread_local_cache_flush does with a tag. */
void rpc_tag_complete(void *tag, bool ok);

/* Attached queues: runs `on_home` on the loop with this tag. Any thread; the tag must not be in use for anything else
 * until then. In order. Run queues: runs it at once; only on the home thread. */
void rpc_queue_deliver(struct rpc_queue *q, struct rpc_tag *tag, bool ok,
                       void (*on_home)(struct rpc_tag *tag, bool ok));

grpc_completion_queue *rpc_queue_cq(struct rpc_queue *q);
/* A number from 1 to RPC_MARK_MAX, which comes again only after all others. Home thread. */
enum { RPC_MARK_MAX = 999 };
uint32_t rpc_queue_mark(struct rpc_queue *q);
struct rpc_queue *rpc_channel_queue(struct rpc_channel *ch);
/* For the next socket (see unsent.h). */
unsigned rpc_channel_mark(const struct rpc_channel *ch);

/* The metadata that every call carries: mindmeld-version, and authorization if there is a key. The array belongs to the
 * channel. */
const grpc_metadata *rpc_channel_metadata(struct rpc_channel *ch, size_t *count);

/* The connection of the channel on which the next call should go. Whoever has it keeps it, and the channel after
 * rpc_channel_close, until rpc_lane_put. Home thread. */
struct rpc_lane;
struct rpc_lane *rpc_channel_take_lane(struct rpc_channel *ch);
/* `begun`: rpc_lane_begun was called. */
void rpc_lane_put(struct rpc_lane *lane, bool begun);
/* A call's headers have left. Any thread. */
void rpc_lane_begun(struct rpc_lane *lane);
/* One's have not, for longer than they should: see rpc_lanes_full. */
bool rpc_lane_full(struct rpc_lane *lane);
/* A call with no batch started yet. The caller unrefs it. NULL when gRPC has none. */
grpc_call *rpc_lane_create_call(struct rpc_lane *lane, const char *method, uint64_t deadline_ms);
/* A message of `size` is about to go on this call. Any thread. */
void rpc_lane_sends(struct rpc_lane *lane, grpc_call *call, size_t size);

/* A message is a byte buffer, and the other way round. */
static inline grpc_byte_buffer *rpc_message_buffer(struct rpc_message *m)
{
  return (grpc_byte_buffer *)m;
}

static inline struct rpc_message *rpc_message_from_buffer(grpc_byte_buffer *b)
{
  return (struct rpc_message *)b;
}

#endif
