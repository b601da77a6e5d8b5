/* One end of a connection, as it is watched: what its machine does, and whether what the glue does is what it asks for.
 */
#ifndef SIM_SIDE_H
#define SIM_SIDE_H

#include "application.h"
#include "carry/tunnel/connection.h"
#include "message.h"
#include "process.h"

struct flow;
struct pump_stream;
struct tunnel;

struct side {
  struct world *w;
  struct process *process;
  struct side *next_side, *next_stepped;
  struct side *former; /* of the same connection at S, before it began anew */
  struct pair *pair;   /* NULL: a stranger's */
  char name[8];
  struct tunnel *tunnel;     /* NULL: gone */
  struct connection machine; /* as it was last seen */
  struct flow *flow;
  struct application application;
  bool gone, stepped;
  bool own_doing; /* what broke the connection began here, */
  bool ended;     /* by its daemon or its user */
  bool dialled, gave_socket;
  bool attach_failed;  /* a stream that the machine has accepted */
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

/* A tunnel is there, which has done nothing yet; and it is gone. */
void side_opened(struct process *p, struct tunnel *t);
void side_closed(struct tunnel *t);
/* Its process is dead. */
void side_vanish(struct side *s);
struct pump_stream *side_current(const struct side *s);
/* After each event of the world: the machines that have stepped, and what the glue has made of it. */
void sides_check(struct world *w);

/* ---- What the glue does for the machine ---- */

/* False: there is no memory for it. */
bool side_opens(struct side *s, const struct label *h);
void side_uses(struct side *s, const struct pump_stream *stream);
void side_dials(struct side *s);

#endif
