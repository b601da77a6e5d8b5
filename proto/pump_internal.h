/* The parts of a pump, for the files of the copy path: pump.c (its life, the stream, the events), pump_up.c (socket to
 * stream), pump_down.c (stream to socket), pump_ack.c (what the other side is told of the socket's progress),
 * pump_set.c (the epoll set, the clock).
 *
 * Locks: `fd` changes only with both direction locks held (up first), so that either one makes it safe to use. The arm
 * lock and the ack lock are leaves. References: the owner's until pump_close, one for each batch that is out, one for
 * each event on its way to the loop, one while an ack waits for the clock. Whoever drops the last one sends the pump to
 * the loop to be freed there, so that no epoll batch still names it.
 */
#ifndef PROTO_PUMP_INTERNAL_H
#define PROTO_PUMP_INTERNAL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "header.h"
#include "heap.h"
#include "payload.h"
#include "pump.h"
#include "rpc_internal.h"
#include "slab.h"
#include "window.h"

enum { PUMP_RESET_CODE_MAX = 32, PUMP_RESET_REASON_MAX = 256 };

struct pump_set {
  struct rpc_queue *queue;
  struct pump_watch *watch; /* what libuv sees of the set */
  struct pump_limits limits;
  int epoll;
  pthread_t loop_thread;
  struct slab_carver loop_carver, cq_carver; /* one for each thread that reads sockets */
  atomic_int bulk;                           /* pumps that read large */
  _Atomic uint64_t windows, queued;          /* of the budget */
  atomic_bool held_back;                     /* a queue was, by the budget */
  struct pump *pumps;                        /* loop thread; freed ones leave */
  size_t pump_count;
  struct heap_crowd crowd;
  void (*closed)(void *arg);
  void *closed_arg;

  pthread_mutex_t clock_lock;
  struct pump *waiting; /* for an ack's time */
  bool clock_runs;
  struct rpc_tag clock_tag;
};

struct pump_up {
  pthread_mutex_t lock;
  struct rpc_tag tag;
  grpc_byte_buffer *message; /* that is being sent */
  size_t read_size;
  struct window window;
  uint64_t charged; /* what it has of the budget */
  bool windowed;    /* the other side tells how far it is */
  bool starved;     /* by the window */
  bool sending;
  bool bulk;
  bool stopped;     /* the socket is not read any more */
  bool discard;     /* but to throw away what it brings */
  bool socket_over; /* it brings no more, which was told */
  bool eof_due, half_close_due;
  grpc_byte_buffer *header_due, *reset_due;
  bool over; /* half-closed: nothing is sent any more */
};

/* A message that came, as far as it is not written yet. */
struct pump_message {
  struct pump_message *next;
  grpc_byte_buffer *buffer;
  size_t slice, slice_used; /* where its data begins */
  size_t left;              /* bytes of data */
  bool eof, charged;
};

struct pump_down {
  pthread_mutex_t lock;
  struct rpc_tag tag;
  grpc_byte_buffer *arriving; /* written by gRPC */
  struct pump_message *first, *last;
  bool queueing; /* more is asked for though some is unwritten: the other side has a window */
  bool receiving;
  bool over; /* nothing more arrives */
  bool drop; /* data is not wanted any more */
  bool reset_told;
  bool has_header;
  bool status_known;
  bool ended;
  struct header *header;           /* until it is told */
  uint64_t limit;                  /* it said */
  char *reset_code, *reset_reason; /* NULL: none came, or memory was short */
};

struct pump_acks {
  pthread_mutex_t lock;
  struct acks acks;
  atomic_bool stopped; /* nothing can be said any more, or the other side would not understand it */
  atomic_bool waiting; /* in the set's list, or about to be */
  struct pump *next;   /* in that list */
};

struct pump {
  struct pump_set *set;
  struct rpc_channel *channel;
  grpc_call *call;
  const struct pump_events *events;
  void *arg;
  atomic_int refs;
  bool closed; /* loop thread */
  bool original_router;
  struct pump *prev, *next; /* of the set */
  int fd;
  atomic_bool shut; /* the socket's write side */

  pthread_mutex_t arm_lock;
  uint32_t armed;
  bool enabled; /* the epoll set would tell something */

  struct pump_up up;
  struct pump_down down;
  struct pump_acks acks;
  _Atomic uint64_t bytes_read, bytes_written;
  _Atomic uint64_t queued; /* down, as the window counts it; changes with that lock held */
  atomic_int socket_error; /* the first */

  struct rpc_tag metadata_tag, status_tag;
  struct rpc_tag loop_tag; /* events on their way to the loop; in the end, to be freed there */
  atomic_uint untold;      /* bits: events that loop_tag brings */
  grpc_metadata_array metadata, trailers;
  grpc_status_code status;
  grpc_slice status_details;
};

void pump_ref(struct pump *p);
void pump_unref(struct pump *p);

/* In this order, if several are told at once. */
enum pump_event {
  PUMP_HEADER,
  PUMP_ORIGINAL,
  PUMP_LOCAL_EOF,
  PUMP_SOCKET_FAILED,
  PUMP_REMOTE_EOF,
  PUMP_REMOTE_RESET,
  PUMP_ENDED,
  PUMP_EVENTS,
};

/* Tells the owner, on the loop. Each but the failure at most once. Any thread, with or without a direction lock. */
void pump_tell(struct pump *p, enum pump_event event);
void pump_tell_socket_failed(struct pump *p, int error);

/* Arms the socket for EPOLLIN or EPOLLOUT in addition to what is armed; with 0 only failures are told. With a direction
 * lock held and fd >= 0. */
void pump_arm(struct pump *p, uint32_t events);

/* ---- pump_up.c and pump_down.c: with the direction's lock held, unless told otherwise ---- */

/* A completion of something else that turned up on the way is given back: to be completed once no lock is held. */
struct rpc_stray {
  struct rpc_tag *tag;
  bool ok;
};
void pump_complete_stray(struct rpc_stray stray);
void pump_up_init(struct pump *p);
void pump_up_free(struct pump *p);
int pump_up_start(struct pump *p, grpc_byte_buffer *header, const grpc_metadata *metadata, size_t metadata_count);
struct rpc_stray pump_up_run(struct pump *p);
/* Takes the lock itself. */
void pump_up_go(struct pump *p);
/* The other side never tells how far it is. Takes the lock itself. */
void pump_up_unwindowed(struct pump *p);
/* What the other side's messages say of our direction. Take the lock themselves; -EPROTO: it cannot be. */
int pump_up_acked(struct pump *p, const struct ack *ack);
void pump_up_limit(struct pump *p, uint64_t limit);
/* Once a second. Takes the lock itself. */
void pump_up_rest(struct pump *p);
void pump_down_init(struct pump *p);
/* The lock is to be let go before pump_ack_go. */
void pump_down_run(struct pump *p);
void pump_down_status(struct pump *p);
/* Data is not wanted any more, nor ends; what is queued is freed. */
void pump_down_drop(struct pump *p);
void pump_down_free(struct pump *p);

/* ---- pump_ack.c: with any direction lock held, but for the last two ---- */

uint64_t pump_now_us(void);
void pump_ack_init(struct pump *p);
void pump_ack_free(struct pump *p);
void pump_ack_stop(struct pump *p);
void pump_ack_taken(struct pump *p, uint64_t bytes, uint64_t messages);
bool pump_ack_due(struct pump *p);
/* If there is one to say, writes the field and returns its size; else 0. */
size_t pump_ack_write(struct pump *p, uint8_t out[PAYLOAD_ACK_MAX]);
/* After pump_down_run: says an ack if it is time, or sees to it that it will be. Without locks held. */
void pump_ack_go(struct pump *p);
/* The clock struck: on the loop. False: nobody waits any more. */
bool pump_ack_clock(struct pump_set *set);

/* ---- pump_set.c ---- */

/* Has pump_ack_clock called until it returns false. Any thread. */
void pump_set_start_clock(struct pump_set *set);
/* For queues. */
bool pump_set_has_budget(const struct pump_set *set);
/* On the loop. */
void pump_set_add(struct pump_set *set, struct pump *p);
void pump_set_remove(struct pump_set *set, struct pump *p);

#endif
