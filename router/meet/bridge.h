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

#include "leg.h"
#include "proto/rpc/rpc.h"

struct router_limits;

/* Takes both calls and their first messages. `over` runs once, when both have closed. -ENOMEM: nothing was taken. */
int bridge_start(struct rpc_queue *q, const struct router_limits *limits, const struct leg legs[2],
                 void (*over)(void *arg), void *arg);

#endif
