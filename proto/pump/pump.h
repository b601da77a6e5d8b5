/* The copy path: a connected socket carried over streams of Payload messages, without copying what it carries.
 *
 * A pump is one end of a connection: a socket, what is on its way to the other end until that has taken it, and what
 * came and waits for the socket. A stream is one way to the other end. A pump has one current stream at a time, or
 * none; when it is given another one, both directions go on where they were.
 *
 * Two threads work on a pump. The loop's thread reads the socket and sends; the queue's own thread takes messages and
 * writes them to the socket. Each direction has a lock of its own. All functions here are called on the loop's thread,
 * all events come there, and none inside a function that is called. Pumps and streams move bytes and tell; what an end
 * or a failure means is decided above them.
 */
#ifndef PROTO_PUMP_H
#define PROTO_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/status.h"

struct header;
struct pump;
struct pump_set;
struct pump_stream;
struct rpc_channel;
struct rpc_queue;
struct uv_loop_s;

struct pump_limits {
  uint64_t window;      /* bytes: the most that one direction of one connection has under way, or queues */
  uint64_t budget;      /* bytes: for all windows together beyond what each starts with; the same for all queues */
  unsigned keepalive_s; /* a socket's peer that is silent for so long is asked whether it is there; 0: it is not */
};

/* What the pumps and streams of one loop share: the epoll set of their sockets, the pool of read buffers, the budget.
 */
int pump_set_open(struct pump_set **out, struct rpc_queue *q, struct uv_loop_s *loop, const struct pump_limits *limits);
/* Every pump and every stream must be closed. `closed` runs on the loop, when the set is freed. */
void pump_set_close(struct pump_set *set, void (*closed)(void *arg), void *arg);
uint64_t pump_set_windows(const struct pump_set *set); /* what the windows have of the budget now */
uint64_t pump_set_queued(const struct pump_set *set);  /* what waits for the sockets in all queues */

/* ---- Streams ---- */

struct pump_stream_events {
  /* The other side's header: it is there, and speaks as we do; `h` lives as long as this callback. At most once. */
  void (*header)(struct pump_stream *s, const struct header *h, void *arg);
  /* The other side is there, and speaks the first version: one end ends both, and nothing is said in-band. At most
   * once, and not after `header`. */
  void (*original)(struct pump_stream *s, void *arg);
  /* The other side broke the connection; the strings live as long as this callback. At most once. */
  void (*reset)(struct pump_stream *s, const char *code, const char *reason, void *arg);
  /* The other side has no use for this stream. At most once. */
  void (*refused)(struct pump_stream *s, const char *reason, void *arg);
  /* It is over; `text` lives as long as this callback. Between us and a first version, with RPC_OK, all that came on it
   * was written first, once there is a socket; with another status what was not written is dropped then. At most once,
   * and last. */
  void (*ended)(struct pump_stream *s, enum rpc_status status, const char *text, void *arg);
};

struct pump_stream_options {
  struct rpc_channel *channel;
  bool original_router;        /* ProxyConnection, the token inside the data; else Connect */
  const struct header *header; /* what the stream begins with; copied. Of it an original router gets the token only */
};

/* Opens a stream and sends its header. Until it is a pump's, nothing but the other side's first word is taken from it:
 * a header, a refusal, a reset (data of a first version waits in it). */
int pump_stream_open(struct pump_stream **out, struct pump_set *set, const struct pump_stream_options *options,
                     const struct pump_stream_events *events, void *arg);
/* From now on events go there. */
void pump_stream_hand_over(struct pump_stream *s, const struct pump_stream_events *events, void *arg);
/* Answers the other side's header, before all else, on a stream that does not become a pump's. */
void pump_stream_send_header(struct pump_stream *s, const struct header *h);
/* Says in-band that the connection is broken, or (`refused`) that this stream cannot take part in it, and half-closes
 * the stream, as soon as it can take a message; if it was half-closed before, cancels it. Strings are copied, and cut
 * to what fits. What a socket still brings is not read. A stream that is held back for long is the caller's to cancel.
 */
void pump_stream_send_reset(struct pump_stream *s, const char *code, const char *reason);
void pump_stream_send_refused(struct pump_stream *s, const char *reason);
/* Half-closes the stream once what is due was said: of a current stream all that the pump has, the end included. What
 * the socket still brings is not read then. */
void pump_stream_half_close(struct pump_stream *s);
/* Ends it at once. `ended` follows if it did not come yet. */
void pump_stream_cancel(struct pump_stream *s);
/* Of one that should have begun by now: true if it has not, though there is a connection, because what stands before
 * the router lets no further stream through. The next one goes elsewhere. */
bool pump_stream_has_no_room(struct pump_stream *s);
/* No more events; it is cancelled if it still runs, and if it is current, the pump has none from now on. It is freed
 * once both threads have let go. */
void pump_stream_close(struct pump_stream *s);

/* ---- Pumps ---- */

struct pump_events {
  /* The socket's peer sent its end. All that was read before is sent or being sent. At most once. */
  void (*local_eof)(struct pump *p, void *arg);
  /* The socket failed, with a positive errno; what comes for it is dropped from now on. At most once. */
  void (*socket_failed)(struct pump *p, int error, void *arg);
  /* The other side sent its end, and the socket took all that came before. At most once. */
  void (*remote_eof)(struct pump *p, void *arg);
};

/* Without a socket, and without a stream. */
int pump_create(struct pump **out, struct pump_set *set, const struct pump_events *events, void *arg);

/* How a stream becomes current. */
struct pump_attachment {
  bool original;               /* its other side speaks the first version; or else that is not known, or it is ours */
  uint64_t send_from;          /* what the other side has received already */
  uint64_t limit;              /* it said; 0: nothing yet */
  const struct header *answer; /* NULL, or to be said first. `received` and `limit` in it are filled in */
};

/* The stream becomes the current one, in place of the former, of which nothing is taken any more: that one is the
 * caller's to close. What the other side did not receive is sent again. -EPROTO: `send_from` cannot be (see
 * pump_can_send_from); then nothing has changed. */
int pump_attach(struct pump *p, struct pump_stream *s, const struct pump_attachment *a);
bool pump_can_send_from(struct pump *p, uint64_t received);
/* There is no current stream any more: the socket is not read until there is one; what came is still written. The
 * stream is the caller's to close. */
void pump_detach(struct pump *p);
/* How much of the other side's direction has arrived, its end included. */
uint64_t pump_received(struct pump *p);
/* What it is ready to queue, as a header is to say it. */
uint64_t pump_limit(const struct pump *p);
/* The other side has said an ack: it is there, and knows that we are. */
bool pump_is_heard(struct pump *p);

/* Gives the pump a connected, non-blocking socket, which becomes the pump's, also on failure. Once. Unless it ends in
 * order, its peer sees a reset, also when this process is killed. */
int pump_give_socket(struct pump *p, int fd);

/* For one that never becomes a pump's: closes it so that its peer sees a reset. */
void pump_discard_socket(int fd);

/* No data follows: the end is said behind what was read, and again on a later stream if it must be. After local_eof.
 * With `half_close` the current stream, if there is one, is half-closed in the same message. */
void pump_send_eof(struct pump *p, bool half_close);

/* Ends the socket's write side: after remote_eof, or the end of a stream of the first version. */
void pump_shutdown_socket(struct pump *p);
/* After that end: ends the socket's write side, and throws away what it brings until local_eof or socket_failed, if
 * neither came yet. Then it can be closed without a reset. */
void pump_linger_socket(struct pump *p);
/* Closes the socket, if there is one; with `reset` its peer sees a connection reset. Streams go on. */
void pump_close_socket(struct pump *p, bool reset);

/* No more events; the socket is reset if it is still open. Its current stream is the caller's to close, before. The
 * pump is freed once both threads have let go. */
void pump_close(struct pump *p);

struct pump_counters {
  uint64_t bytes_read;    /* from the socket */
  uint64_t bytes_written; /* to the socket */
  uint64_t window;  /* how much of what was read may be under way; 0: the other side does not tell how far it is */
  uint64_t unacked; /* how much is: kept, to be sent again if need be */
  uint64_t queued;  /* came from the other side, and waits for the socket */
  uint64_t rate;    /* bytes per second that the other side's socket took lately; 0: not known */
  uint64_t rtt_us;  /* through the router and back, without queues; 0: not known */
};
struct pump_counters pump_counters(struct pump *p);

#endif
