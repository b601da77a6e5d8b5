/* A router in this process, on a thread of its own, and clients of it through proto/rpc/rpc.h on the test's loop.
 * Waiting is always for something, and bounded: FIXTURE_UNTIL(f, condition). */
#ifndef FIXTURE_ROUTER_CLIENTS_H
#define FIXTURE_ROUTER_CLIENTS_H

#include <check.h>
#include <mindmeld.pb-c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "proto/rpc/rpc.h"
#include "proto/wire/header.h"
#include "proto/wire/identity.h"
#include "proto/wire/payload.h"
#include "proto/wire/token_stream.h"
#include "router/router.h"

enum { FIXTURE_PATIENCE_MS = 30000, FIXTURE_BYTES_MAX = 1 << 16 };

struct fixture {
  struct rpc_queue *router_queue;
  struct router *router;
  pthread_t router_thread;
  atomic_bool router_over;
  char address[64];
  uv_loop_t loop;
  uv_timer_t tick;
  struct rpc_queue *queue;
  struct rpc_channel *channel;
  bool stopped;
  unsigned calls; /* alive */
};

/* A stream of a client. */
struct stream {
  struct fixture *f;
  struct rpc_call *call; /* NULL once closed */
  bool payloads;         /* that is what comes */
  bool headers, sending, receiving, reading, ended, closed;
  char peer[16], version[8]; /* metadata */
  unsigned sent, received;   /* messages */
  enum rpc_status status;
  char text[256];
  struct rpc_message *last; /* what came last */
  uint8_t bytes[FIXTURE_BYTES_MAX];
  size_t size; /* data that came, in all; the first of it is in `bytes` */
  bool eof, reset;
  unsigned told;        /* headers that came */
  size_t told_at;       /* how much data had come before the last of them */
  struct header header; /* the last of them */
};

/* ---- Waiting ---- */

void fixture_turn(struct fixture *f);

#define FIXTURE_UNTIL(f, condition)                                                                                    \
  do {                                                                                                                 \
    uint64_t patience_end = uv_hrtime() + (uint64_t)FIXTURE_PATIENCE_MS * 1000000;                                     \
    while (!(condition)) {                                                                                             \
      if (uv_hrtime() >= patience_end)                                                                                 \
        ck_abort_msg("this does not come true: %s", #condition);                                                       \
      fixture_turn(f);                                                                                                 \
    }                                                                                                                  \
  } while (0)

/* Lets things happen that should not. */
void fixture_linger(struct fixture *f, uint64_t ms);

/* ---- Streams ---- */

void stream_receive(struct stream *s);
void stream_on_headers(struct rpc_call *c, void *arg);
void stream_on_sent(struct rpc_call *c, void *arg);
void stream_on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg);

#define CONTROL "/mindmeld.ControlService/"
#define PROXY "/mindmeld.ProxyService/"

/* Lives until it has closed, and is freed by the caller. */
struct stream *stream_open_on(struct fixture *f, struct rpc_channel *channel, const char *method);
struct stream *stream_open(struct fixture *f, const char *method);
void stream_send(struct stream *s, struct rpc_message *m);
void stream_send_pack(struct stream *s, const ProtobufCMessage *m);
struct rpc_message *payload_message(const void *bytes, size_t size, bool eof);
void stream_send_data(struct stream *s, const void *bytes, size_t size);
void stream_say(struct stream *s, const char *text);
void stream_hears(struct stream *s, const char *text);
void stream_end(struct stream *s);

/* Waits for its status. */
void stream_closes(struct stream *s, enum rpc_status status);
void stream_closes_saying(struct stream *s, enum rpc_status status, const char *part);
void stream_drop(struct stream *s);

/* ---- What clients say ---- */

ProtobufCBinaryData binary(const uint8_t *bytes, size_t size);

/* Keys are one byte, repeated; 0: none. */
struct who {
  uint8_t claimed; /* the key whose member this says to be */
  uint8_t key;     /* the key that it shows */
};

static const struct who nobody = {0, 0}, member_s = {11, 11}, member_f = {22, 22}, thief = {11, 99};

struct who_bytes {
  uint8_t id[16], key[32];
};

struct who_bytes who_bytes(struct who who);
struct stream *create(struct fixture *f, const char *name, struct who who);
struct stream *created(struct fixture *f, const char *name, struct who who);

/* Receives the next token pushed to a service. */
void pushed(struct stream *service, unsigned nth, char token[TOKEN_MAX + 1]);

/* The answer to a request whose one message is packed already. */
struct asked {
  bool done;
  enum rpc_status status;
  char text[256];
  char token[TOKEN_MAX + 1];
  size_t services;  /* or hops */
  char names[4096]; /* joined by blanks */
  int64_t created;  /* of the last; or the last */
};

struct asking {
  struct asked *asked;
  const ProtobufCMessageDescriptor *type;
};

struct asked ask_on(struct fixture *f, struct rpc_channel *channel, const char *method, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *type);
struct asked list_on(struct fixture *f, struct rpc_channel *channel);
struct asked list(struct fixture *f);
struct asked forward_on(struct fixture *f, struct rpc_channel *channel, const char *name);
struct asked forward(struct fixture *f, const char *name);
struct header header_of(struct who who);
struct stream *connect_with(struct fixture *f, const struct header *h);

/* A forward of ours. The connection is one byte, repeated. */
struct header header_of_dial(const char *name, struct who who, uint8_t connection);
struct stream *dial(struct fixture *f, const char *name, struct who who);
struct stream *park(struct fixture *f, struct who who);

/* A stream that shows a token, as one of ours or as an original. */
struct stream *show(struct fixture *f, bool original, const char *token, struct who who);

/* Returns the watch of a process that has joined. */
struct stream *member_joins(struct fixture *f, struct who who, uint8_t seed, uint64_t instance);

/* A forward's stream, and then its service's. */
struct joined {
  struct stream *f, *s;
};

struct joined join(struct fixture *f, struct stream *service, const char *name, bool original_f, bool original_s);

/* Parked for sure: the router reads in order what comes on one connection. */
struct stream *parked(struct fixture *f, struct who who);
void talk(struct stream *f, struct stream *s);

/* Both have said their end; each half-closes after that. */
void part(struct stream *f, struct stream *s);

/* ---- The fixture ---- */

/* As a signal does. */
void fixture_drain(struct fixture *f);
struct rpc_channel *fixture_channel(struct fixture *f, const char *bearer);

/* Who dials what is not there is told so at once. */
struct router_limits fixture_limits(void);
void fixture_open_at(struct fixture *f, const char *address, const struct router_limits *limits, const char *key);
void fixture_open_streams(struct fixture *f, const char *streams);
void fixture_open_with(struct fixture *f, const struct router_limits *limits, const char *key);
void fixture_open(struct fixture *f);

/* Every stream must be closed. */
void fixture_close(struct fixture *f);

struct fixture_test {
  const TTest *test;
  int loop; /* 0: once, without a number */
};

Suite *fixture_suite(const char *name, const struct fixture_test *tests, size_t count);

#endif
