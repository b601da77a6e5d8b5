/* A daemon: its link to the router, the table of its connections, and its tombstones. Thin: what carry/link/link.c and
 * carry/tunnel/tunnels.c do, without what users see.
 */
#ifndef SIM_PROCESS_H
#define SIM_PROCESS_H

#include "carry/tunnel/connection.h"
#include "carry/tunnel/tombs.h"
#include "flow.h"
#include "router.h"

enum process_role { ROLE_FORWARD, ROLE_SERVICE, ROLE_STRANGER, ROLES };

struct link {
  struct instance *instance; /* NULL: not connected */
  uint64_t registration;     /* of this connection with the router */
  bool trying;
};

struct process {
  struct world *w;
  enum process_role role;
  uint32_t member, former; /* former: of the process that this one follows; 0: none is known */
  bool dead;
  struct link link;
  struct connection_times times;
  struct side *sides; /* that are not gone */
  struct stock stock; /* of their queues */
  struct tombs *tombs;
  struct process *older; /* that was started before */
  uint64_t farewells;
};

void processes_start(struct world *w);
void processes_end(struct world *w);
const char *process_name(const struct process *p);
uint32_t process_member(const struct process *p);

/* ---- For the router ---- */

/* A stream of the service that will be given a label. */
void process_parked(struct stream *s);
/* This router is gone: whoever is connected with it notices some time later. */
void processes_lose(struct world *w, struct instance *i);
/* It drains: whoever is connected with it hears of it, and moves. */
void processes_drain(struct world *w, struct instance *i);

/* ---- For the connections ---- */

struct side *process_find(const struct process *p, uint64_t id);
/* How it ended is remembered. */
void process_bury(struct side *s);
/* Takes a stream whose last word is due. */
void process_farewell(struct process *p, struct line *l);

/* ---- Faults ---- */

/* The network is gone for so long: the process notices after at most `own_us`, the router after `router_us`. */
void process_cut(struct process *p, uint64_t own_us, uint64_t router_us, uint64_t down_us);
/* It is gone from one moment to the next, with all its sockets, and another one is started in its place. */
void process_crash(struct process *p);
/* Its streams should move, without any need. */
void process_renew(struct process *p);

#endif
