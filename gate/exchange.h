/* One request and its answer: what happens between a client, of whichever version of HTTP, and a target. The client's
 * side gives the request, and is told the answer. On the loop's thread.
 *
 *     exchange_begin; exchange_put and exchange_finish, while exchange_has_room      client --> target
 *     exchange_move, which calls interim, head, put, finish of the client's side     client <-- target
 *
 * Both directions are independent: an answer may be over before its request.
 */
#ifndef GATE_EXCHANGE_H
#define GATE_EXCHANGE_H

#include "gate/paths/trust.h"
#include "proto/host/poller.h"
#include "proto/http1/framing.h"
#include "proto/http1/target.h"

struct exchange;
struct gate;
struct page;
struct upstream;

enum { EXCHANGE_FAILURES_MAX = 3 };

/* What the client's side does. Heads and trailers are in upstream->parser, which is there in all but `refuse` and
 * `cut`; after these two, and after `finish`, the exchange has no upstream. */
struct exchange_side {
  /* Whether it takes more of the answer. */
  bool (*has_room)(struct exchange *x);
  void (*interim)(struct exchange *x);
  void (*head)(struct exchange *x);
  void (*put)(struct exchange *x, struct http1_text piece);
  void (*finish)(struct exchange *x);
  /* Another protocol is spoken, whose first bytes are `rest`. NULL: such an answer is none. */
  void (*switched)(struct exchange *x, struct http1_text rest);
  /* The answer is the gate's own; nothing of another one was told. */
  void (*refuse)(struct exchange *x, const struct page *page);
  /* It cannot be told in HTTP any more that something went wrong. */
  void (*cut)(struct exchange *x);
  /* exchange_move may get on. */
  void (*wake)(struct exchange *x);
};

/* The first eight are the client's side's, and stay as long as the exchange; the rest is zero before exchange_begin. */
struct exchange {
  struct gate *gate;
  const struct exchange_side *side;
  struct http1_head *request;
  const struct http1_framing *framing; /* of the request */
  const char *peer;                    /* whose connection it is, by its address */
  int client_fd;                       /* its socket */
  bool tls;                            /* it came by TLS */
  bool alone;                          /* its connection is never another client's */
  const char *client;                  /* whose request it is: the peer's, or what a front that is trusted says */
  char told_client[TRUST_CLIENT_SIZE];
  bool https; /* how that client came */
  struct http1_target target;
  struct upstream *upstream; /* NULL: it did not begin, or is over */
  bool request_over, answer_begun;
  bool to_head;  /* the answer has no body */
  bool switched; /* bytes are none of HTTP's any more */
  bool spoiled;  /* the upstream cannot be used again */
  /* The backends that have failed it (backends.c), which it does not go to again. */
  uint64_t failed_by[EXCHANGE_FAILURES_MAX];
  unsigned failures;
  bool repeated; /* one of them may have read it */
  /* Until its host is known, perhaps (waits.c). */
  bool waits;
  unsigned round;
  struct poller_deadline deadline;
  struct exchange *prev, *next;
};

/* `refuse` with a sentence about the status. */
void exchange_refuse(struct exchange *x, unsigned status);
/* The head has come. `refuse` may be called at once; or it waits until its host is known, and is woken then.
 * Meanwhile there is no room, and it may be finished if it has no body. */
void exchange_begin(struct exchange *x);
/* Whether the target takes more of the request. */
bool exchange_has_room(struct exchange *x);
void exchange_put(struct exchange *x, struct http1_text piece);
/* The request is over; its trailers are the fields of `h` from `from` on. */
void exchange_finish(struct exchange *x, struct http1_head *h, unsigned from);
/* Goes on with the answer. Whether something has moved. */
bool exchange_move(struct exchange *x);
/* Nobody waits for it any more. No harm if it is over. */
void exchange_drop(struct exchange *x);

#endif
