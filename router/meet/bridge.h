/* Two streams joined: what comes on one goes out on the other, unread.
 *
 *     JOINED --both of ours said their end, or one that is an original, or one broke--> ENDING --both closed--> over
 *
 * Per direction at most one message is being sent and one waits; no more is taken from a stream while one waits for its
 * partner, so that who sends too fast is held back by whom it sends to.
 */
#ifndef ROUTER_BRIDGE_H
#define ROUTER_BRIDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/rpc/rpc.h"

struct router_limits;

struct leg {
  struct rpc_call *call;
  bool original;             /* its one end ends both */
  bool receiving;            /* a message was asked for already */
  struct rpc_message *first; /* what its partner gets before all else, or NULL */
};

/* Takes both calls and their first messages. `over` runs once, when both have closed. -ENOMEM: nothing was taken. */
int bridge_start(struct rpc_queue *q, const struct router_limits *limits, const struct leg legs[2],
                 void (*over)(void *arg), void *arg);

#endif
