/* The far end of a stream, whatever carries it: a gRPC call of a server on a thread of its own, or memory, which is
 * driven on the loop and has no threads. */
#ifndef FIXTURE_PROTO_FAR_H
#define FIXTURE_PROTO_FAR_H

#include <stdbool.h>

#include "proto/stream/message.h"
#include "proto/wire/status.h"

struct far;
struct home;
struct stream;

/* On the far end's thread. */
struct far_ops {
  /* Takes the message, also when it returns false: nothing more can be sent. One at a time; `sent` follows. */
  bool (*send)(struct far *f, struct message *m);
  bool (*receive)(struct far *f); /* `message` follows */
  /* How it answers before all else, which may be said so many times at once. */
  void (*answer)(struct far *f, bool original, int times);
  void (*finish)(struct far *f, enum rpc_status status, const char *text); /* behind what is sent */
  void (*cancel)(struct far *f, enum rpc_status status, const char *text);
};

struct far_events {
  void (*message)(void *arg, struct message *m); /* NULL: it has half-closed */
  void (*sent)(void *arg);
  void (*closed)(void *arg); /* the last; it is gone when this returns */
};

struct far {
  const struct far_ops *ops;
  const struct far_events *events; /* set by far_arrive_cb */
  void *arg;
};

/* A stream came. */
typedef void (*far_arrive_cb)(struct far *f);

/* ---- Over gRPC ---- */

/* A method that is refused at once, with RPC_UNIMPLEMENTED. */
#define FAR_UNKNOWN "/t/unknown"

int far_rpc_start(far_arrive_cb arrive); /* returns the port */
void far_rpc_post(void (*cb)(void *arg), void *arg);
/* Its queue is empty and its thread has ended when this returns. */
void far_rpc_stop(void);

/* ---- In memory ---- */

/* A stream that did not start. `arrive` is called when it does; all else is told on the loop. */
struct stream *far_memory_create(struct home *home, far_arrive_cb arrive);

#endif
