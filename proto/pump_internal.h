/* The parts of a pump, for the files of the copy path: pump.c (its life, the stream, the events), pump_up.c (socket to
 * stream), pump_down.c (stream to socket), pump_set.c (the epoll set).
 *
 * Locks: `fd` changes only with both direction locks held (up first), so that either one makes it safe to use. The arm
 * lock is a leaf. References: the owner's until pump_close, one for each batch that is out, one for each event on its
 * way to the loop. Whoever drops the last one sends the pump to the loop to be freed there, so that no epoll batch
 * still names it.
 */
#ifndef PROTO_PUMP_INTERNAL_H
#define PROTO_PUMP_INTERNAL_H

#include <grpc/grpc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include "payload.h"
#include "pump.h"
#include "rpc_internal.h"
#include "slab.h"

enum { PUMP_RESET_CODE_MAX = 32, PUMP_RESET_REASON_MAX = 256 };

struct pump_set {
  struct rpc_queue *queue;
  struct pump_watch *watch; /* what libuv sees of the epoll set */
  int epoll;
  pthread_t loop_thread;
  struct slab_carver loop_carver, cq_carver; /* one for each thread that reads sockets */
  atomic_int bulk;                           /* pumps that read large */
  size_t pumps;                              /* loop thread */
  void (*closed)(void *arg);
  void *closed_arg;
};

struct pump_up {
  pthread_mutex_t lock;
  struct rpc_tag tag;
  grpc_byte_buffer *message; /* that is being sent */
  size_t read_size;
  bool sending;
  bool bulk;
  bool stopped;     /* the socket is not read any more */
  bool discard;     /* but to throw away what it brings */
  bool socket_over; /* it brings no more, which was told */
  bool eof_due, half_close_due;
  grpc_byte_buffer *reset_due;
  bool over; /* half-closed: nothing is sent any more */
};

struct pump_down {
  pthread_mutex_t lock;
  struct rpc_tag tag;
  grpc_byte_buffer *arriving; /* written by gRPC */
  grpc_byte_buffer *held;     /* that is being written to the socket */
  struct payload payload;     /* of held */
  size_t slice, slice_used;   /* where the writing stands in held */
  size_t left;                /* bytes of data that are not written yet */
  bool receiving;
  bool over; /* nothing more arrives */
  bool drop; /* data is not wanted any more */
  bool status_known;
  bool ended;
  char reset_code[PUMP_RESET_CODE_MAX];
  char reset_reason[PUMP_RESET_REASON_MAX];
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
  bool original_peer;
  int fd;
  atomic_bool shut; /* the socket's write side */

  pthread_mutex_t arm_lock;
  uint32_t armed;
  bool enabled; /* the epoll set would tell something */

  struct pump_up up;
  struct pump_down down;
  _Atomic uint64_t bytes_read, bytes_written;
  atomic_int socket_error;
  atomic_flag socket_failure_told;

  struct rpc_tag metadata_tag, status_tag;
  struct rpc_tag paired_tag, local_eof_tag, failed_tag, remote_eof_tag, reset_tag, ended_tag, free_tag;
  grpc_metadata_array metadata, trailers;
  grpc_status_code status;
  grpc_slice status_details;
};

void pump_ref(struct pump *p);
void pump_unref(struct pump *p);

/* Events, on their way to the loop. Any thread, with or without a direction lock. */
void pump_tell_local_eof(struct pump *p);
void pump_tell_socket_failed(struct pump *p, int error);
void pump_tell_remote_eof(struct pump *p);
void pump_tell_remote_reset(struct pump *p);
void pump_tell_ended(struct pump *p);

/* Arms the socket for EPOLLIN or EPOLLOUT in addition to what is armed; with 0 only failures are told. With a direction
 * lock held and fd >= 0. */
void pump_arm(struct pump *p, uint32_t events);

/* All with the direction's lock held. A completion of something else that turned up on the way is given back: to be
 * completed once no lock is held. */
struct rpc_stray {
  struct rpc_tag *tag;
  bool ok;
};
void pump_complete_stray(struct rpc_stray stray);
void pump_up_init(struct pump *p);
int pump_up_start(struct pump *p, grpc_byte_buffer *header, const grpc_metadata *metadata, size_t metadata_count);
struct rpc_stray pump_up_run(struct pump *p);
void pump_down_init(struct pump *p);
void pump_down_run(struct pump *p);
void pump_down_status(struct pump *p);
/* Frees what is held. */
void pump_down_drop(struct pump *p);

#endif
