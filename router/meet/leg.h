/* One stream of a connection, as the meeting room has it: a gRPC call, or a raw connection. Two of one kind become a
 * pair. */
#ifndef ROUTER_LEG_H
#define ROUTER_LEG_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/wire/status.h"

struct leg;
struct meet;
struct raw;
struct rpc_call;
struct rpc_message;

/* Who has a leg that waits. */
struct leg_keeper {
  /* It said something too early, or, `ended`, that nothing more follows. The leg is the keeper's still. NULL: that is
   * not asked for. */
  void (*said)(struct leg_keeper *k, bool ended);
  void (*closed)(struct leg_keeper *k); /* there is no leg any more */
};

enum { LEG_KINDS = 2, LEG_PEER_MAX = 80 };

struct leg_kind {
  unsigned number; /* less than LEG_KINDS */
  /* As gRPC writes it, in `room` or elsewhere. */
  const char *(*peer)(const struct leg *l, char room[LEG_PEER_MAX]);
  /* What happens is told from now on. 0 or -ENOMEM. */
  int (*keep)(struct leg *l, struct leg_keeper *k);
  /* Takes the leg, but not its first message; nothing is told any more. */
  void (*refuse)(const struct leg *l, enum rpc_status status, const char *text);
  /* Takes both, the forward's first, with their first messages; they are of this kind. `over` runs once, when both have
   * closed. -ENOMEM: nothing was taken. */
  int (*join)(struct meet *in, const struct leg *legs, void (*over)(void *arg), void *arg);
};

extern const struct leg_kind leg_call, leg_raw;

struct leg {
  const struct leg_kind *kind;
  union {
    struct rpc_call *call;
    struct raw *raw;
  };
  struct rpc_message *first; /* what its partner gets before all else, or NULL */
  bool original;             /* a call whose one end ends both */
  bool receiving;            /* a call that was asked for a message already */
};

#endif
