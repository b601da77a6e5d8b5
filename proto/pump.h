/* The copy path: one connected socket carried over one stream of Payload messages, without copying what it carries.
 *
 * Two threads work on a pump. The loop's thread reads the socket and sends; the queue's own thread takes messages and
 * writes them to the socket. Each direction has a lock of its own. All functions here are called on the loop's thread,
 * all events come there, and none inside a function that is called. The pump moves bytes and tells; what an end or a
 * failure means is decided above it.
 */
#ifndef PROTO_PUMP_H
#define PROTO_PUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status.h"

struct header;
struct rpc_channel;
struct rpc_queue;
struct pump;
struct pump_set;
struct uv_loop_s;

/* In bytes. */
struct pump_limits {
  uint64_t window; /* the most that one direction of one connection has under way, or queues */
  uint64_t budget; /* for all windows together beyond what each starts with, and for all queues together */
};

/* What the pumps of one loop share: the epoll set of their sockets, the pool of read buffers, the budget. */
int pump_set_open(struct pump_set **out, struct rpc_queue *q, struct uv_loop_s *loop, const struct pump_limits *limits);
/* Every pump must be closed. `closed` runs on the loop, when the set is freed. */
void pump_set_close(struct pump_set *set, void (*closed)(void *arg), void *arg);
uint64_t pump_set_windows(const struct pump_set *set); /* what the windows have of the budget now */
uint64_t pump_set_queued(const struct pump_set *set);  /* what the queues have of it */

struct pump_events {
  /* The other side's header: it is there, and speaks as we do; `h` lives as long as this callback. At most once. */
  void (*header)(struct pump *p, const struct header *h, void *arg);
  /* The other side is there, and speaks the first version: one end ends both, and nothing is said in-band. At most
   * once, and not after `header`. */
  void (*original)(struct pump *p, void *arg);
  /* The socket's peer sent its end. All that was read before is sent or being sent. At most once. */
  void (*local_eof)(struct pump *p, void *arg);
  /* The socket failed, with a positive errno; what comes for it is dropped from now on. At most once. */
  void (*socket_failed)(struct pump *p, int error, void *arg);
  /* The other side sent its end, and the socket took all that came before. At most once. */
  void (*remote_eof)(struct pump *p, void *arg);
  /* The other side broke the connection; the strings live as long as this callback. At most once. */
  void (*remote_reset)(struct pump *p, const char *code, const char *reason, void *arg);
  /* The stream is over. With RPC_OK all that came on it was written first, once there is a socket; otherwise what was
   * not written is dropped. `text` lives as long as this callback. At most once, and last but for what the socket
   * still tells. */
  void (*ended)(struct pump *p, enum rpc_status status, const char *text, void *arg);
};

struct pump_options {
  struct rpc_channel *channel;
  bool original_router;        /* ProxyConnection, the token inside the data; else Connect */
  const struct header *header; /* what the stream begins with; copied. Of it an original router gets the token only */
};

/* Opens the stream and sends its header. */
int pump_open(struct pump **out, struct pump_set *set, const struct pump_options *options,
              const struct pump_events *events, void *arg);

/* From now on events go there. */
void pump_hand_over(struct pump *p, const struct pump_events *events, void *arg);

/* Answers the other side's header. Before pump_attach, if at all. */
void pump_send_header(struct pump *p, const struct header *h);

/* Gives the pump a connected, non-blocking socket, which becomes the pump's, also on failure; bytes flow both ways from
 * now on. Once. */
int pump_attach(struct pump *p, int fd);

/* Says in-band that no data follows. After local_eof. */
void pump_send_eof(struct pump *p);
/* Half-closes the stream once what is due was said, with `eof` also that no data follows, in one message; what the
 * socket still brings is not read. */
void pump_half_close(struct pump *p, bool eof);
/* Says in-band that the connection is broken and half-closes the stream, as soon as it can take a message; if it was
 * half-closed before, cancels it. Strings are copied, and cut to what fits. What the socket still brings is not read.
 * A stream that is held back for long is the caller's to cancel. */
void pump_send_reset(struct pump *p, const char *code, const char *reason);
/* Ends the stream at once. `ended` follows if it did not come yet. */
void pump_cancel(struct pump *p);

/* Ends the socket's write side: after remote_eof or ended. */
void pump_shutdown_socket(struct pump *p);
/* After ended: ends the socket's write side, and throws away what it brings until local_eof or socket_failed, if
 * neither came yet. Then it can be closed without a reset. */
void pump_linger_socket(struct pump *p);
/* Closes the socket, if there is one; with `reset` its peer sees a connection reset. The stream goes on. */
void pump_close_socket(struct pump *p, bool reset);

/* No more events; the stream is cancelled if it still runs, the socket closed if it is still open. The pump is freed
 * once both threads have let go. */
void pump_close(struct pump *p);

struct pump_counters {
  uint64_t bytes_read;    /* from the socket */
  uint64_t bytes_written; /* to the socket */
  uint64_t window;  /* how much of what was read may be under way; 0: the other side does not tell how far it is */
  uint64_t unacked; /* how much is */
  uint64_t queued;  /* came from the other side, and waits for the socket */
  uint64_t rate;    /* bytes per second that the other side's socket took lately; 0: not known */
  uint64_t rtt_us;  /* through the router and back, without queues; 0: not known */
};
struct pump_counters pump_counters(struct pump *p);

#endif
