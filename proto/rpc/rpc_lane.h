/* The connections of a channel. What stands before a router lets only so many streams on one connection: 100 or 128 are
 * the usual numbers. Those above wait, without a word, until others have ended; gRPC does not tell the limit, nor that
 * one waits. So a call above a number that all let through goes on a further connection, a lane, which is opened for
 * it, and closed when there is room for its calls elsewhere. A router without a front would not need that, but cannot
 * be told from one behind a front; and what a lane costs it is a connection. On the home thread unless it says
 * otherwise. Private to rpc_*.c.
 */
#ifndef PROTO_RPC_LANE_H
#define PROTO_RPC_LANE_H

#include <grpc/grpc.h>
#include <stdatomic.h>

#include "rpc_internal.h"
#include "unsent.h"

enum {
  LANE_CALLS = 90, /* the rest of the lowest of those limits is for what does not last */
  LANE_CALLS_MIN = 4,
  LANES_MAX = 64,
};

struct rpc_lane {
  struct rpc_channel *channel;
  grpc_channel *connection;
  unsigned calls;
  atomic_uint begun;    /* calls that have left; any thread */
  struct unsent unsent; /* any thread */
  int fd;               /* where its socket was seen, or -1 */
  struct rpc_lane *prev, *next;
};

struct rpc_lanes {
  struct rpc_lane *all;
  unsigned count;
  unsigned limit; /* of calls on each */
};

/* A connection whose socket has this mark (see unsent.h). */
typedef grpc_channel *(*rpc_lane_connect_cb)(struct rpc_channel *ch, unsigned mark);

/* The first lane, which stays. */
int rpc_lanes_open(struct rpc_lanes *ls, struct rpc_channel *ch, rpc_lane_connect_cb connect);
/* No lane may have a call. */
void rpc_lanes_close(struct rpc_lanes *ls);
/* The lane for the next call, which counts until rpc_lanes_put. */
struct rpc_lane *rpc_lanes_take(struct rpc_lanes *ls, struct rpc_channel *ch, rpc_lane_connect_cb connect);
void rpc_lanes_put(struct rpc_lanes *ls, struct rpc_lane *lane);
/* A call has waited on this lane for longer than it should. True: it is connected, so that what stands before the
 * router lets no more through than have begun, there or on other lanes. */
bool rpc_lanes_full(struct rpc_lanes *ls, const struct rpc_lane *lane);
/* As rpc_channel_traffic. */
struct rpc_traffic rpc_lanes_traffic(struct rpc_lanes *ls);

#endif
