/* What must hold: of each step of a machine, of each attempt to take part in a connection, and of each connection as a
 * whole when all is quiet.
 */
#ifndef SIM_JUDGE_H
#define SIM_JUDGE_H

#include "application.h"
#include "side.h"

/* One connection, as the applications at both its ends see it. Of two, the first is F's. */
struct pair {
  struct world *w;
  unsigned index;
  uint64_t id;
  uint64_t bases[2]; /* where the counters of the directions begin */
  uint64_t limits[2], read_sizes[2];
  struct side *forward, *service;
  struct application target; /* what S will dial */
  unsigned targets;          /* how many were */
  bool excused;              /* somebody broke it off, or the other side could not be reached for long: */
  const char *excuse;
  bool held; /* too long */
  uint64_t buried_at;
  bool crashed;      /* the daemon at one end */
  uint64_t reset_at; /* since all was quiet */
  unsigned uses;     /* streams that became current when all was quiet */

  /* What S had before an attempt. */
  struct connection before;
  struct pump_stream *current;
};

/* All that this process has is lost. */
void judge_crash(struct process *p);
/* Why this connection need not end well; it began at this side. */
void judge_excuse(struct side *s, const char *why);
/* Its application reset the socket. */
void judge_reset(const struct side *s);
/* Around an attempt to dial or to attach, at S. `s`: NULL, or the connection that it names. */
void judge_attempt(struct side *s);
void judge_attempted(struct side *s, const struct label *h);
/* After each step of a machine, before its actions are carried out. */
void judge_step(struct side *s, const struct connection *before, enum connection_event event);
/* After each step, when its actions are carried out. */
void judge_streams(struct side *s);
/* It opens a stream. */
void judge_open(struct side *s);
/* A stream becomes current, which the other side has answered. */
void judge_use(struct side *s);
/* At the end of the world. */
void judge_end(struct world *w);

#endif
