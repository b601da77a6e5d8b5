/* What speaks for the other sides of streams, over gRPC or in memory (see fixture_proto_far.h).
 *
 * What an other side does by itself is chosen by the token in the header that opens its stream; everything else it is
 * told to say by the test, and what it saw can be asked at any time. It answers a half-close with the status OK, once
 * all that it was told to say is said, as the router does when both sides have half-closed.
 */
#ifndef FIXTURE_PROTO_OTHERS_H
#define FIXTURE_PROTO_OTHERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fixture_proto_far.h"
#include "mindmeld.pb-c.h"

enum {
  OTHERS_MAX = 512,
  FLOOD_MESSAGE = 1 << 16,
  FINITE = 32 << 20, /* more than sockets hold */
  LIMIT = 16 << 20,  /* of the other sides, unless a test says otherwise */
};

enum other_kind {
  OTHER_OURS,     /* "ours": answers with a header */
  OTHER_ECHO,     /* "echo": too, and echoes; acks what was acked of the echo */
  OTHER_SILENT,   /* "silent": answers when it is told to */
  OTHER_ORIGINAL, /* "original": echoes, and takes one end for both */
  OTHER_FLOOD,    /* "flood", "finite": an original that sends, without end or FINITE bytes, and reads nothing */
  OTHER_BRIDGE,   /* "left", "right": joined with each other, in the order in which they come, as the router does */
  OTHER_KINDS,
};

/* What an other side saw. */
struct seen {
  bool begun;               /* the header that opens the stream */
  char order[64];           /* of what came: Header, Data, Eof, Reset, reFusal, Ack alone, half-close (.); once for
                               several */
  Mindmeld__Header header;  /* the last, without what it points at */
  uint64_t offset, offsets; /* the last, and how many */
  uint64_t wrong;           /* messages whose bytes are others */
  uint64_t bytes, messages; /* of data and ends, as acks count them */
  uint64_t acks;
  Mindmeld__Ack ack; /* the last */
  uint64_t window;   /* the last */
  char reset_code[64], reset_reason[300];
  uint64_t said, said_messages;   /* the same of what it said */
  uint64_t acked, acked_messages; /* as it said last */
};

struct other {
  enum other_kind kind;
  struct far *far; /* NULL: closed */
  struct said *first, **end;
  struct other *partner; /* the other end of a bridge */
  struct message *opening;
  bool right;
  bool sending, receiving, half_closed, deaf;
  bool acks, fills; /* it acks each message at once; it sends as much as our acks allow */
  uint64_t flooded;
  struct seen seen;
};

struct said {
  struct said *next;
  struct message *message;
};

struct remote {
  bool in_memory;
  int port;               /* or */
  _Atomic uint64_t limit; /* what others say */
  atomic_bool acks;       /* they ack each message from the beginning */
  atomic_uint_fast64_t flooded;
  pthread_mutex_t lock; /* over what was seen */
  struct other others[OTHERS_MAX];
  atomic_int count; /* of others, in the order in which their streams came */
};

extern struct remote remote;

struct message *packed(const Mindmeld__Payload *p);

/* What is said, byte by byte, which comes again after a period. It is made once, before there are threads: tests are
 * not optimised under sanitizers. */
enum { BYTES_PERIOD = 1 << 16, BYTES_MAX = 100000 };

/* BYTES_MAX of them. */
const uint8_t *bytes_at(size_t at);
void fill_bytes(uint8_t *out, size_t at, size_t size);
bool are_bytes(const uint8_t *in, size_t at, size_t size);

/* The bytes go on from message to message. Size 0: no data. */
struct message *data_message(size_t at, size_t size, bool eof, uint64_t offset);
struct message *ack_message(uint64_t taken, uint64_t messages);
struct message *window_message_of(uint64_t window);
struct message *reset_message(const char *code, const char *reason);
struct message *header_message(uint64_t limit);

/* ---- What the test tells them ---- */

struct order {
  int other;
  void (*carry_out)(struct other *o, struct order *order);
  struct message *message;
  size_t size, count;
  bool flag;
  enum rpc_status status;
};

void give_order(struct order order);
void tell_other(int other, struct message *m);
void tell_other_data(int other, size_t size, size_t count);
void tell_other_eof(int other, size_t size);
void tell_other_ack(int other);
void tell_other_acks(int other);
void tell_other_fill(int other, bool on);
void tell_other_answer(int other, bool original);
void tell_other_finish(int other, enum rpc_status status);

/* It reads no more; or again. */
void tell_other_deaf(int other, bool deaf);

/* One that is no more is no loss. */
void tell_other_cut(int other);
struct seen seen_by(int other);

/* ---- Before and after each test ---- */

void others_start(bool in_memory);
void others_stop(void);
/* A stream in memory came. */
void others_arrive(struct far *f);

#endif
