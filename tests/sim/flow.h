/* One end of a connection as the copy path has it: what was read from the socket and is kept until the other side has
 * taken it, and what came and waits for the socket. The sequences and the windows are the real ones; around them stands
 * what the pump does with them, without threads and buffers.
 */
#ifndef SIM_FLOW_H
#define SIM_FLOW_H

#include "application.h"
#include "line.h"
#include "proto/flow/sequence.h"
#include "proto/flow/window.h"

struct flow;

struct flow_events {
  void (*local_eof)(void *arg);
  void (*socket_failed)(void *arg);
  void (*remote_eof)(void *arg);
};

/* What the queues of one daemon have of its budget. */
struct stock {
  uint64_t budget, promised, excess;
};

struct flow {
  struct world *w;
  struct stock *stock;
  const struct flow_events *events;
  void *arg;
  const char *name;
  uint64_t base, in_base;          /* where the counters begin; what headers say counts from there */
  uint32_t read_size;              /* at most */
  uint64_t own_limit, first_limit; /* what we queue; what the other side may send before it knows that */

  struct sequence_out out;
  struct sequence_in in;
  struct window window;
  struct acks acks;
  struct line *line; /* the current stream, and */
  uint64_t at;       /* where its next message begins, if it does not say so */
  struct application *socket;

  bool stopped;  /* the socket is not read any more, */
  bool discards; /* but emptied */
  bool eof_told, failed_told, remote_told;
  bool drop; /* what comes is not wanted any more */
  bool clock_runs, closed;
  bool heard;    /* an ack came */
  bool original; /* the other side speaks the first version: says nothing of how far it is, nor hears it */
  bool hostile;  /* the other side may break the rules */

  struct waiting *queue;
  size_t head, count, room;
  uint64_t queued;
  uint64_t said, promised, excess; /* what the other side means to have under way; what this one has of the stock */
  uint64_t window_said;            /* what we have said of it */
};

void flow_start(struct flow *f, struct world *w, const struct flow_events *events, void *arg);
void flow_close(struct flow *f);

bool flow_can_send_from(const struct flow *f, uint64_t received);
uint64_t flow_received(const struct flow *f);
/* The stream becomes the current one. `limit` 0: the other side said nothing yet; `answer`: NULL, or said first. */
void flow_attach(struct flow *f, struct line *l, uint64_t send_from, uint64_t limit, const struct label *answer);
void flow_detach(struct flow *f);
void flow_meet_original(struct flow *f);
/* All that came is written, or is not wanted. */
bool flow_is_empty(const struct flow *f);
/* What waits for the socket is not wanted any more. */
void flow_drop(struct flow *f);

void flow_give_socket(struct flow *f, struct application *a);
void flow_send_eof(struct flow *f, bool half_close);
void flow_shut_socket(struct flow *f);
void flow_linger_socket(struct flow *f);
void flow_close_socket(struct flow *f, bool reset);

/* ---- For the line ---- */

void flow_limit(struct flow *f, uint64_t limit);
/* It asks for the next message. */
bool flow_hears(const struct flow *f);
void flow_message(struct flow *f, const struct message *m);
bool flow_has_more(const struct flow *f);
/* What it is ready to queue, for a header. */
uint64_t flow_grant(const struct flow *f);
/* The other side answered, and is to know that it was heard. */
void flow_greet(struct flow *f);
void flow_run(struct flow *f);

#endif
