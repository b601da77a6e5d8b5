/* The copy path: carries a connected socket over streams of Payload messages, without copying the data.
 *
 * A pump is one end of a connection: a socket, the data that the other end has not acknowledged yet, and the data that
 * waits for the socket. A stream is one way to the other end. A pump has one current stream, or none; on a new one both
 * directions go on where they stopped.
 *
 * Two threads may work on a pump. The loop's thread reads the socket and sends; a thread that the stream's kind may
 * have takes messages and writes them to the socket. Each direction has a lock of its own. All functions here must be
 * called on the loop's thread; all events come there, and never inside a function. Pumps and streams move bytes and
 * report; their owner decides what an end or a failure means.
 */
#ifndef PROTO_PUMP_H
#define PROTO_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/wire/status.h"

struct header;
struct home;
struct pump;
struct pump_observer;
struct pump_set;
struct pump_stream;
struct stream;
struct uv_loop_s;

/* Of a way whose ends are on one machine, with what streams in bulk make each other wait. */
enum { PUMP_NEAR_US = 10000 };

struct pump_limits {
  uint64_t window;  /* bytes: the most that one direction of one connection has under way, or queues */
  uint64_t budget;  /* bytes: when so much is under way in all together, no window grows; and for all queues together
                       beyond what each starts with */
  uint64_t near_us; /* data in bulk is spliced where the round trip is shorter than this; 0: nowhere */
  unsigned keepalive_s; /* after so long a silence a socket's peer is asked whether it is there; 0: never */
};

/* What the pumps and streams of one loop share: the epoll set of their sockets, the pool of read buffers, the budget.
 */
int pump_set_open(struct pump_set **out, struct home *home, struct uv_loop_s *loop, const struct pump_limits *limits);
/* Every pump and every stream must be closed before. `closed` runs on the loop, when the set is freed. */
void pump_set_close(struct pump_set *set, void (*closed)(void *arg), void *arg);
uint64_t pump_set_windows(const struct pump_set *set); /* bytes of the budget that the windows have now */
uint64_t pump_set_queued(const struct pump_set *set);  /* bytes that wait for the sockets in all queues */

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
  /* The stream is over; `text` lives as long as this callback. If the other side is of the first version, RPC_OK comes
   * after all data of the stream has been written to the socket; any other status drops the data that was not written.
   * At most once, and last. */
  void (*ended)(struct pump_stream *s, enum rpc_status status, const char *text, void *arg);
};

struct pump_stream_options {
  bool original_router;        /* gets the token only, inside the data, and its other side speaks the first version */
  const struct header *header; /* what the stream begins with; copied */
};

/* Starts a stream, of any kind, with its header. Takes `stream`, even on failure. Until the stream is a pump's, only
 * the other side's first word is read: a header, a refusal or a reset. Data of a first version waits in the stream. */
int pump_stream_open(struct pump_stream **out, struct pump_set *set, struct stream *stream,
                     const struct pump_stream_options *options, const struct pump_stream_events *events, void *arg);
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
/* Half-closes the stream after all that is due on it: on a current stream all that the pump has, the end included. The
 * socket is not read any more then. */
void pump_stream_half_close(struct pump_stream *s);
/* What kind of stream it is, as one word. */
const char *pump_stream_kind(const struct pump_stream *s);
/* Ends it at once. `ended` follows if it did not come yet. */
void pump_stream_cancel(struct pump_stream *s);
/* To be asked when the stream should have begun: true if there is a connection and the stream has not begun, because a
 * front of the router lets no further stream through. The next stream goes on another connection. */
bool pump_stream_has_no_room(struct pump_stream *s);
/* Ends all events. A stream that still runs is cancelled, and a pump whose current stream it was has none. The stream
 * is freed once both threads have let go. */
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

/* Makes the stream current. The former one is not read any more; the caller closes it. Data that the other side did not
 * receive is sent again. -EPROTO: `send_from` is not possible (see pump_can_send_from), and nothing has changed. */
int pump_attach(struct pump *p, struct pump_stream *s, const struct pump_attachment *a);
bool pump_can_send_from(struct pump *p, uint64_t received);
/* Leaves the pump without a current stream: the socket is not read until there is one, but data that came is still
 * written. The caller closes the stream. */
void pump_detach(struct pump *p);
/* How much of the other side's direction has arrived, its end included. */
uint64_t pump_received(struct pump *p);
/* What it is ready to queue, as a header is to say it. */
uint64_t pump_limit(const struct pump *p);
/* The other side has said an ack: it is there, and knows that we are. */
bool pump_is_heard(struct pump *p);

/* Gives the pump a connected, non-blocking socket, and the ownership of it, even on failure. Once. Its peer sees a
 * reset unless the connection ends in order, also when this process is killed. */
int pump_give_socket(struct pump *p, int fd);

/* Closes a socket that never becomes a pump's, so that its peer sees a reset. */
void pump_discard_socket(int fd);

/* Sends the end behind the data that was read, and again on a later stream if need be. After local_eof. With
 * `half_close` the current stream, if there is one, is half-closed in the same message. */
void pump_send_eof(struct pump *p, bool half_close);

/* Ends the socket's write side: after remote_eof, or the end of a stream of the first version. */
void pump_shutdown_socket(struct pump *p);
/* After that end: ends the socket's write side, and throws away its data until local_eof or socket_failed. Then the
 * socket can be closed without a reset. */
void pump_linger_socket(struct pump *p);
/* Closes the socket, if there is one; with `reset` its peer sees a connection reset. Streams go on. */
void pump_close_socket(struct pump *p, bool reset);

/* Shows it what goes through the socket. NULL: nobody does any more; when it returns the former one is not called any
 * more. It must live until then, or until pump_close returns. */
void pump_observe(struct pump *p, struct pump_observer *o);

/* Ends all events; an open socket is reset. The caller closes the current stream before. The pump is freed once both
 * threads have let go. */
void pump_close(struct pump *p);

struct pump_counters {
  uint64_t bytes_read;    /* from the socket */
  uint64_t bytes_written; /* to the socket */
  uint64_t spliced;       /* bytes of both that were never in our memory */
  uint64_t window;  /* how much of what was read may be under way; 0: the other side does not tell how far it is */
  uint64_t unacked; /* how much is: kept, to be sent again if need be */
  uint64_t queued;  /* came from the other side, and waits for the socket */
  uint64_t rate;    /* bytes per second that the other side's socket took lately; 0: not known */
  uint64_t rtt_us;  /* through the router and back, without queues; 0: not known */
};
struct pump_counters pump_counters(struct pump *p);

#endif
