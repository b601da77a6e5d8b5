/* A server on a queue and thread of its own, a client on a loop, and what each of the server's methods does. */
#ifndef FIXTURE_PROTO_CALLS_H
#define FIXTURE_PROTO_CALLS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#include "proto/rpc/rpc.h"

enum { PATIENCE_MS = 20000, TEXT_SIZE = 4096 };

struct rpc_message *text_message(const char *text);

/* ---- The server ---- */

struct server {
  struct rpc_queue *queue;
  struct rpc_server *server;
  pthread_t thread;
  int port;
  atomic_int calls;   /* that came */
  atomic_int closed;  /* that ended */
  atomic_int last;    /* status of the last one */
  atomic_int nulls;   /* half-closes seen */
  atomic_int refused; /* sends and receives that were */
};

struct served {
  struct server *server;
  int left; /* messages to stream; -1 without end */
};

void serve_call(struct rpc_server *server, struct rpc_call *c, void *arg);
void *server_thread(void *arg);
void server_start_at(struct server *s, const char *address, const char *cert_pem, const char *key_pem);
void server_start(struct server *s, int port, const char *cert_pem, const char *key_pem);
void server_stop(struct server *s);

/* ---- The client ---- */

struct client {
  uv_loop_t loop;
  struct rpc_queue *queue;
  struct rpc_channel *channel;
  bool stopped;
};

/* Runs the loop until `*value` is at least `goal`. */
void loop_until(uv_loop_t *loop, const int *value, int goal);
void client_open_channel(struct client *c, struct rpc_channel_options options, int port);
void client_start(struct client *c);
void client_open(struct client *c, int port);
void client_stop(struct client *c);

/* ---- Calls, recorded ---- */

struct record {
  struct rpc_call *call;
  bool keep_receiving;
  int headers, messages, nulls, sent, closed;
  enum rpc_status status;
  char text[TEXT_SIZE];    /* of the status */
  char message[TEXT_SIZE]; /* the last one, if it is short */
  char extra[64];          /* metadata of the server */
  size_t bytes;
};

extern const struct rpc_call_events record_events;

void record_start(struct record *r, struct client *c, const char *method);
void record_unary(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg);

/* One request and its answer, with the loop run in between. */
void ask(struct record *r, struct client *c, const char *method, const char *request);

#endif
