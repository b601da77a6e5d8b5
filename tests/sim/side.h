/* One end of a connection: the real machine, and what carries out its actions on a flow, lines and a target. It follows
 * carry/tunnel/tunnel.c and tunnel_act.c, and checks at each step that what the machine asks for can be done.
 */
#ifndef SIM_SIDE_H
#define SIM_SIDE_H

#include "carry/tunnel/connection.h"
#include "flow.h"
#include "process.h"

struct side {
  struct world *w;
  struct process *process;
  struct side *next_side;
  struct pair *pair; /* NULL: a stranger's */
  char name[8];
  uint64_t id;
  uint32_t other; /* the member at the other side; F: once it has answered */
  struct connection machine;
  struct flow flow;
  struct application application;
  struct line *current, *next;
  const struct label *header; /* of the next stream, inside a step */
  bool dialling, gone, open_failed;
  bool own_doing; /* what broke the connection began here, */
  bool ended;     /* by its daemon or its user */
  bool gave_socket;
  uint64_t armed, timer;
  struct label opened; /* the latest stream's */
  bool opened_any;
  uint64_t accepted_epoch;
  uint64_t idle_steps; /* of CONNECTION_TIME at the same time */
  uint64_t stepped_at;
  uint64_t began_at; /* ms */
  bool had_stream, lost_stream;
  uint64_t stream_since; /* ms: it has had one all the time, and */
  uint64_t good_at;      /* the last time at which such a way had lasted */
  uint64_t hurry_since;  /* so many streams were opened, and so many reasons there were */
  unsigned hurry, reasons;
};

/* A forward accepted a socket. */
void side_start_forward(struct side *s, struct pair *pair);
/* A stream came for a connection that is not known. */
void side_start_service(struct process *p, struct line *l, const struct label *h);
/* And for one that is. */
void side_attach(struct side *s, struct line *l, const struct label *h);
void side_step(struct side *s, enum connection_event event);
/* Its process, whose first one it is, is dead. */
void side_vanish(struct side *s);

#endif
