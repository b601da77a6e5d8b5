/* gRPC as callbacks: the part of gRPC C core that mindmeld uses, for clients and for the server.
 *
 * A queue has one home thread, on which every callback of its calls, servers and timers runs, one at a time, and on
 * which every function here must be called unless it says otherwise:
 *   - rpc_queue_run: the calling thread becomes the home thread (the router);
 *   - rpc_queue_attach: the home thread is a libuv loop's; a thread of the queue's own takes completions and hands them
 *     to the loop (the daemon).
 *
 * Functions return 0 or a negative errno. A start that fails never calls back; a callback never fires inside the
 * function that started it.
 */
#ifndef PROTO_RPC_H
#define PROTO_RPC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/status.h"

struct home;
struct uv_loop_s;
struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;

/* ---- Messages: one gRPC message, held by reference, never copied. ---- */
struct rpc_message;

/* Copies `size` bytes. NULL when memory is short. The caller frees, or hands it to rpc_call_send. Any thread. */
struct rpc_message *rpc_message_copy(const void *bytes, size_t size);
/* Serialises a protobuf-c message (pass &m.base). NULL when memory is short. */
struct rpc_message *rpc_message_pack(const struct ProtobufCMessage *m);
/* Parses into a new protobuf-c message that the caller frees with its own *__free_unpacked; NULL when malformed or
 * memory is short. */
struct ProtobufCMessage *rpc_message_unpack(const struct rpc_message *m, const struct ProtobufCMessageDescriptor *type);
void rpc_message_free(struct rpc_message *m); /* NULL is fine */
size_t rpc_message_size(const struct rpc_message *m);
/* A new message that holds bytes [at, at + size) of `m` by reference, behind `prefix_size` copied bytes. NULL when
 * memory is short or the range is outside. */
struct rpc_message *rpc_message_cut(const struct rpc_message *m, const void *prefix, size_t prefix_size, size_t at,
                                    size_t size);
/* Points `parts` at the message's bytes, which stay the message's. Returns how many parts there are, which may be more
 * than `max`. */
struct iovec;
size_t rpc_message_parts(const struct rpc_message *m, struct iovec *parts, size_t max);

/* ---- Queues ---- */
struct rpc_queue;

/* The first queue sets gRPC's resolver in the environment: create it before there are other threads. */
int rpc_queue_create(struct rpc_queue **out);
/* Serves completions until rpc_queue_stop, then drains what is pending, and returns. */
void rpc_queue_run(struct rpc_queue *q);
/* The home lock of a run queue: rpc_queue_run holds it whenever it does not wait. Who holds it on another thread may
 * call what is the home thread's, and touch what belongs to it; callbacks stay on the home thread. A callback may give
 * it up for a while. Not recursive. */
void rpc_queue_lock(struct rpc_queue *q);
void rpc_queue_unlock(struct rpc_queue *q);
/* Makes the loop's thread the home thread. Call on that thread, before anything else is done with the queue. */
int rpc_queue_attach(struct rpc_queue *q, struct uv_loop_s *loop);
/* The way to that thread, which is the queue's, until rpc_queue_stop. NULL: it is not attached. */
struct home *rpc_queue_home(struct rpc_queue *q);
/* Every call, server and timer of the queue must be closed first. On a run queue: makes rpc_queue_run return. On an
 * attached queue: ends its thread (waits for it) and closes its loop handle; `stopped` runs on the loop when that is
 * done. */
void rpc_queue_stop(struct rpc_queue *q, void (*stopped)(void *arg), void *arg);
/* After rpc_queue_run returned, or after `stopped`. */
void rpc_queue_free(struct rpc_queue *q);

/* Runs `cb` on the home thread, once. Any thread, also one that handles a signal by sigwait. -ENOMEM, or -ECANCELED
 * after rpc_queue_stop. */
int rpc_queue_post(struct rpc_queue *q, void (*cb)(void *arg), void *arg);

/* A timer for queues that have no loop (-ENOTSUP for those that have). One shot; home thread, or with its lock. */
struct rpc_timer;
int rpc_timer_start(struct rpc_timer **out, struct rpc_queue *q, uint64_t ms, void (*cb)(void *arg), void *arg);
/* The callback will not run any more; frees the timer. After the callback has run: do not call. */
void rpc_timer_cancel(struct rpc_timer *t);

/* ---- Calls ---- */
struct rpc_call;

struct rpc_metadata {
  const char *key; /* lower case */
  const char *value;
};

/* A callback that is NULL is skipped; a message without a callback is freed. */
struct rpc_call_events {
  /* Client: the server's initial metadata came. At most once, before the first message. A server that sends only a
   * status has none. If the server does not show mindmeld-version, this comes with its first message, since gRPC does
   * not tell whether there is any metadata. */
  void (*headers)(struct rpc_call *c, void *arg);
  /* Answers rpc_call_receive. `m` belongs to the callee; NULL means that the peer has ended its direction in order.
   * When the call failed, this does not come: see closed. */
  void (*message)(struct rpc_call *c, struct rpc_message *m, void *arg);
  /* Answers rpc_call_send: the message was handed to the transport within its flow control, and another may be sent.
   * When the call failed, this does not come. */
  void (*sent)(struct rpc_call *c, void *arg);
  /* The last callback, always: nothing is pending, and the call is freed when this returns. Client: the server's
   * status. Server: RPC_OK when the status that was given to rpc_call_finish went out, RPC_CANCELLED when the peer
   * cancelled or vanished. `text` lives as long as this callback. */
  void (*closed)(struct rpc_call *c, enum rpc_status status, const char *text, void *arg);
};

/* One message out or in at a time: rpc_call_send before `sent`, or rpc_call_receive before `message`, is -EBUSY. After
 * the call has failed: -EPIPE. */

/* Takes `m`, even on failure. */
int rpc_call_send(struct rpc_call *c, struct rpc_message *m);
/* Client: ends this direction, with or after the message that is being sent. */
int rpc_call_end(struct rpc_call *c);
int rpc_call_receive(struct rpc_call *c);
/* Ends the call at once, and drops all queued messages: `closed` is the only event that follows. Harmless when the call
 * has already ended. A client that cancels sees this status in `closed` (RPC_OK: RPC_CANCELLED). */
void rpc_call_cancel(struct rpc_call *c, enum rpc_status status, const char *text);
/* Metadata of the peer: the server's after `headers`, the client's at any time. Copies the value with a final NUL.
 * Returns its length, -ENOENT, or -E2BIG. */
int rpc_call_metadata(const struct rpc_call *c, const char *key, char *value, size_t size);
/* Frees the metadata, which will not be asked for any more: a call may live long. */
void rpc_call_forget_metadata(struct rpc_call *c);
void rpc_call_set_arg(struct rpc_call *c, const struct rpc_call_events *events, void *arg);

/* ---- Client ---- */
struct rpc_channel;

/* Over a thin line, or beside a large upload, an answer takes seconds. Heartbeats tell earlier that the peer is gone.
 */
enum { RPC_ANSWER_MS = 20000 };

struct sockaddr;

/* An HTTP proxy, which is asked by CONNECT for a connection to the router. */
struct rpc_proxy {
  const char *login; /* NULL, or USER:PASSWORD */
};

struct rpc_channel_options {
  const char *target;             /* HOST:PORT, [V6]:PORT: what the router is called, also by its certificate */
  const struct sockaddr *address; /* v4 or v6: where to connect to; NULL: gRPC looks the target up */
  const struct rpc_proxy *proxy;  /* NULL; or what is at `address` */
  bool nowhere;                   /* it is not connected: calls fail at once */
  bool tls;                       /* else plaintext */
  const char *ca_pem;             /* with tls: the text of the roots to trust; NULL for the system's */
  const char *bearer;             /* NULL, or the key that each call shows */
  bool keepalive;                 /* HTTP/2 pings: only to routers of ours */
  int answer_ms;                  /* how long a ping, or what was sent, may be without an answer; 0: RPC_ANSWER_MS */
};

/* Starts connecting at once. Copies all options, and ignores the environment. -EINVAL: HTTP/2 cannot carry the key, or
 * `ca_pem` has no certificate. */
int rpc_channel_open(struct rpc_channel **out, struct rpc_queue *q, const struct rpc_channel_options *options);
/* The channel goes when its last call has closed. */
void rpc_channel_close(struct rpc_channel *ch);
/* What the kernel knows of the channel's present connections; 0: nothing. */
struct rpc_traffic {
  uint64_t bytes;  /* that came, and that the other end's kernel acknowledged: what grows moves */
  uint32_t rtt_us; /* there and back, lately; of the slowest */
};
struct rpc_traffic rpc_channel_traffic(struct rpc_channel *ch);

struct rpc_call_options {
  const char *method;                  /* "/mindmeld.ControlService/ListServices" */
  const struct rpc_metadata *metadata; /* in addition to mindmeld-version and authorization */
  size_t metadata_count;
  uint64_t deadline_ms; /* from now; 0: none */
};

/* `closed` always follows a start that succeeded. Messages come only after rpc_call_receive; headers and closed come by
 * themselves, but a message that is not received holds back the server's status. -EINVAL: HTTP/2 cannot carry the
 * metadata. */
int rpc_call_start(struct rpc_call **out, struct rpc_channel *ch, const struct rpc_call_options *options,
                   const struct rpc_call_events *events, void *arg);

/* The other end of the connection, as gRPC writes it ("ipv4:192.0.2.1:443"), once something has come from there.
 * Returns its length, -ENOENT, or -E2BIG. */
int rpc_call_remote(const struct rpc_call *c, char *out, size_t size);

/* One request, one answer. Takes `request`, even on failure; NULL is -ENOMEM. `done` runs once: `answer` belongs to
 * the callee, and is NULL unless status is RPC_OK. The call may be cancelled by rpc_call_cancel until `done`. */
int rpc_unary(struct rpc_call **out, struct rpc_channel *ch, const struct rpc_call_options *options,
              struct rpc_message *request,
              void (*done)(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg), void *arg);

/* ---- Server ---- */
struct rpc_server;

struct rpc_server_options {
  const char *address;  /* HOST:PORT; port 0 takes a free one. NULL: it does not listen, see rpc_server_take */
  const char *cert_pem; /* NULL: plaintext */
  const char *key_pem;
};

/* A call arrived. The callee gives it events with rpc_call_set_arg before it returns, and in the end rpc_call_finish
 * (or rpc_call_cancel). */
typedef void (*rpc_server_call_cb)(struct rpc_server *s, struct rpc_call *c, void *arg);

/* -EADDRINUSE, -EADDRNOTAVAIL, -EACCES, ...: the address cannot be used. -EINVAL: the form of the address, the
 * certificate or the key is wrong. Blocks while the name is resolved. */
int rpc_server_start(struct rpc_server **out, struct rpc_queue *q, const struct rpc_server_options *options,
                     rpc_server_call_cb on_call, void *arg, int *port);
/* Whether rpc_server_take works, under TLS if there is a certificate: it is tried out, which takes some milliseconds,
 * or 2 s if nothing comes of it. After rpc_queue_create. */
bool rpc_server_can_take(const char *cert_pem, const char *key_pem);
/* For a server without an address: serves a connection that was accepted elsewhere, and of which nothing was read. The
 * descriptor is non-blocking; it becomes gRPC's, or is closed when the server stops. Any thread, until `stopped`. */
void rpc_server_take(struct rpc_server *s, int fd);
/* Shows this certificate on new connections; present ones go on. Both texts are PEM that certificate_check accepts. 0,
 * -ENOMEM, or -EINVAL: the server speaks no TLS. */
int rpc_server_set_certificate(struct rpc_server *s, const char *cert_pem, const char *key_pem);
/* Takes no new connections, so that another server may listen at its address at once. Present connections go on, and
 * may bring calls. 0, or a negative errno if the server still listens. */
int rpc_server_leave_address(struct rpc_server *s);
/* No new calls; `stopped` runs when the last call has closed and the last connection has gone (a client that does not
 * answer keeps its own for some 10 s, unless rpc_server_cancel_calls follows), and the server is freed. */
void rpc_server_stop(struct rpc_server *s, void (*stopped)(void *arg), void *arg);
/* Ends the calls that began `age_ms` ago or earlier: clients see UNAVAILABLE and this text. Returns the time in ms
 * until the next call reaches that age. */
uint64_t rpc_server_end_old(struct rpc_server *s, uint64_t age_ms, const char *text);
/* Cancels all running calls: clients see UNAVAILABLE, or the status of an rpc_call_cancel. After rpc_server_stop it
 * also ends connections. */
void rpc_server_cancel_calls(struct rpc_server *s);

const char *rpc_call_method(const struct rpc_call *c);
const char *rpc_call_peer(const struct rpc_call *c); /* "ipv4:127.0.0.1:55" */
/* Sends initial metadata at once; otherwise it goes with the first message or the status. At most once. */
int rpc_call_send_headers(struct rpc_call *c, const struct rpc_metadata *metadata, size_t count);
/* The same, with the first message behind it: one write, and one wake-up of the receiver. Takes `m`, even on failure,
 * as rpc_call_send does. */
int rpc_call_send_first(struct rpc_call *c, const struct rpc_metadata *metadata, size_t count, struct rpc_message *m);
/* Sends the status, after a message that is being sent. `closed` follows, also when this fails with -EPIPE. */
int rpc_call_finish(struct rpc_call *c, enum rpc_status status, const char *text);

#endif
