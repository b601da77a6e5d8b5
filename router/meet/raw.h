/* One raw connection until it is one of a pair, and what its files share. Private to raw*.c.
 *
 *     come --greeting--> WARM --preamble--> LEG --> DECIDED --> one of a pair, or LINGERS, or gone
 *       `----------------preamble----------^
 *
 * Up to DECIDED it is under the home lock, except for the descriptor; from then on it is the raw thread's alone. */
#ifndef ROUTER_RAW_H
#define ROUTER_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leg.h"
#include "proto/host/errand.h"
#include "proto/host/poller.h"
#include "proto/wire/raw.h"

struct pass;
struct raw_pair;
struct rpc_queue;
struct splices;

enum raw_state { RAW_COMES, RAW_WARM, RAW_LEG, RAW_DECIDED, RAW_LINGERS };

struct raw {
  struct poller_watch watch;
  struct poller_deadline late; /* RAW_LINGERS */
  struct poller_deadline slow; /* RAW_WARM, and a part of a preamble has come */
  struct errand decided;       /* what is done about it */
  struct raws *all;
  int fd;
  enum raw_state state;
  bool watched;      /* the poller has it */
  struct pass *pass; /* NULL: its watch is over */
  struct raw_keys keys;
  uint64_t counter; /* of the latest preamble */
  uint64_t began;   /* ms; RAW_LEG */
  struct leg_keeper *keeper;
  enum rpc_status status; /* to be told */
  char *text;
  struct raw *prev, *next;         /* of its pass: warm, or legs */
  struct raw *all_prev, *all_next; /* of all: warm, or legs, or those that linger */
};

struct raws {
  struct meet *meet;
  struct rpc_queue *queue;
  struct poller *poller;
  struct splices *splices;
  struct raw *warm, *legs; /* oldest first */
  size_t warm_count;
  struct raw_pair *pairs;
  struct raw_end *orphans; /* of pairs, whose watch is over */
  struct errand adopt;
  bool adopting;

  struct errands decisions; /* that were not carried out yet */
  bool deciding;            /* the raw thread has the lock, and will see to them */
  struct errand carry_out;  /* else it was asked to */
  bool asked;

  struct raw *lingering; /* the raw thread's; oldest first */
  size_t lingering_count;
  struct poller_delay linger, slow;
};

/* The raw thread takes the home lock, and gives it back; then it carries out what was decided. */
void raws_enter(struct raws *all);
void raws_leave(struct raws *all);
/* With the home lock: `e` runs on the raw thread, without it. */
void raws_decide(struct raws *all, struct errand *e, void (*run)(struct errand *e));

/* With the home lock: it is in no list any more, and nobody's, but for what was decided. */
void raw_decide(struct raw *r, void (*run)(struct errand *e));
/* A decision: its end, without a word. */
void raw_reset(struct errand *e);
/* Frees it; the descriptor is somebody else's. */
void raw_free(struct raw *r);
/* It is taken out of its lists. */
void raw_unlist(struct raw *r);
/* A status for its preamble, then its end. With the home lock. */
void raw_refuse(struct raw *r, enum rpc_status status, const char *text);
void raw_linger_close_all(struct raws *all);
void raw_linger_ready(struct raw *r);
void raw_linger_late(struct poller_deadline *d);

/* ---- Pairs (raw_pair.c) ---- */

/* One of a pair, in its pass's list. */
struct raw_end {
  struct pass *pass; /* NULL: its watch is over */
  int fd;
  struct raw_end *prev, *next;
};

int raw_pair_join(struct raws *all, const struct leg legs[2], void (*over)(void *arg), void *arg);
/* Its watch is over. With the home lock. */
void raw_pairs_orphan(struct raws *all, struct pass *p);
uint64_t raw_pairs_end_old(struct raws *all, uint64_t now, uint64_t age_ms);
/* After the raw thread; without the home lock. */
void raw_pairs_end(struct raws *all);

#endif
