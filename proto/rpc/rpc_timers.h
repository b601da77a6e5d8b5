/* The timers of one queue: a heap, so that thousands of different lengths cost no more than each other's logarithm. On
 * the queue's home thread; private to proto/. */
#ifndef PROTO_RPC_TIMERS_H
#define PROTO_RPC_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct rpc_timer;

/* Zeroed before first use. */
struct rpc_timers {
  struct rpc_timer **heap; /* the earliest first */
  size_t count, room;
  uint64_t started; /* so many so far: of two for the same time, the first started runs first */
};

/* `at` is in nanoseconds, of the clock that rpc_timers_serve is told. 0 or -ENOMEM. */
int rpc_timers_add(struct rpc_timers *ts, struct rpc_timer **out, uint64_t at, void (*cb)(void *arg), void *arg);
void rpc_timers_remove(struct rpc_timer *t); /* and frees it */
/* Runs what is due at `now`, and frees it. When the next one is due; UINT64_MAX: there is none. Callbacks may add and
 * remove. */
uint64_t rpc_timers_serve(struct rpc_timers *ts, uint64_t (*now)(void));
void rpc_timers_free(struct rpc_timers *ts);

#endif
