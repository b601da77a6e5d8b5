/* The parts of a call that its client's side and its server's side share. On the home thread. Private to rpc_*.c. */
#ifndef PROTO_RPC_PARTS_H
#define PROTO_RPC_PARTS_H

#include "rpc_internal.h"
#include "rpc_peer.h"

/* The batches of a call that may run at the same time. */
enum rpc_part {
  RPC_PART_OPEN,    /* client: both sides' initial metadata; server: its own, when it goes alone */
  RPC_PART_SEND,    /* a message */
  RPC_PART_RECEIVE, /* a message */
  RPC_PART_END,     /* client: the half-close; server: the status */
  RPC_PART_OVER,    /* client: the server's status; server: the end of the stream */
  RPC_PART_COUNT,
};

struct rpc_batch {
  struct rpc_tag tag;
  struct rpc_call *call;
  bool running;
};

struct rpc_call {
  struct rpc_queue *queue;
  struct rpc_lane *lane;        /* client */
  struct rpc_server *server;    /* server */
  struct rpc_call *prev, *next; /* in the server's list */
  grpc_call *call;
  struct rpc_call_events events;
  void *arg;

  struct rpc_batch batches[RPC_PART_COUNT];
  unsigned running;
  struct rpc_message *sending;
  grpc_byte_buffer *received;
  grpc_metadata_array metadata; /* the peer's */
  grpc_metadata_array trailers; /* client */
  grpc_status_code status;      /* client: the server's; server: what rpc_call_finish was given */
  grpc_slice text;
  enum rpc_status cancel_status; /* RPC_OK: not cancelled here */
  grpc_slice cancel_text;
  int cancelled;         /* server */
  char *method;          /* server */
  uint64_t began;        /* server; ms of uv_hrtime */
  struct rpc_peer *peer; /* server */

  bool headers_told; /* client */
  bool headers_sent; /* server */
  bool end_wanted;   /* rpc_call_end or rpc_call_finish was called */
  bool finished;     /* server: the status went out */
  bool in_ended;     /* the peer sends no more */
  bool null_due;     /* client: so it says, but whether in order is only known with the status */
  bool broken;       /* nothing can be started any more */
  bool over;         /* RPC_PART_OVER is done */
};

/* NULL when memory is short: `call` is then still the caller's. */
struct rpc_call *rpc_call_new(struct rpc_queue *q, grpc_call *call);
void rpc_call_delete(struct rpc_call *c);

/* -EIO: the batch did not start, and the call is cancelled. */
int rpc_call_batch(struct rpc_call *c, enum rpc_part part, const grpc_op *ops, size_t count);

/* A new array of `base`, and copies of `more`; -EINVAL for what HTTP/2 does not carry. */
int rpc_metadata_join(grpc_metadata **out, const grpc_metadata *base, size_t base_count,
                      const struct rpc_metadata *more, size_t more_count);
void rpc_metadata_free(grpc_metadata *array, size_t count);
/* The metadata that each of our calls and answers carries. */
grpc_metadata rpc_metadata_version(void);

/* The call closed, and is about to be freed. */
void rpc_server_call_gone(struct rpc_server *s, struct rpc_call *c);

#endif
