/* A daemon: the real tunnels, on a link to the router that is simulated: what carry/link/link.c does, and
 * carry/host/, without what users see.
 */
#ifndef SIM_PROCESS_H
#define SIM_PROCESS_H

#include <uv.h>

#include "carry/net/lookups.h"
#include "carry/tunnel/carry_host.h"
#include "flow.h"
#include "proto/wire/raw_window.h"
#include "router.h"

#define PROCESS_SERVICE "web"

enum process_role { ROLE_FORWARD, ROLE_SERVICE, ROLE_STRANGER, ROLES };

enum { LINK_COUNTERS = 256 };

struct link {
  struct instance *instance; /* NULL: not connected */
  uint64_t registration;     /* of this connection with the router */
  uint64_t counter;          /* of preambles by it */
  struct raw_window window;  /* the router's, of those */
  uint64_t used[LINK_COUNTERS];
  uint64_t grpc_until; /* the router said that there is nothing for raw streams */
  bool trying;
};

struct process {
  struct world *w;
  enum process_role role;
  uint32_t member, former; /* former: of the process that this one follows; 0: none is known */
  bool dead;
  struct link link;
  uv_loop_t loop;
  struct lookups lookups;
  struct pump_set *pumps;
  struct carry_host host;
  uint8_t name[16]; /* the member */
  uint64_t next_connection;
  struct tunnels *tunnels;
  struct side *sides;    /* that are not gone */
  struct stock stock;    /* of their queues */
  struct process *older; /* that was started before */
};

void processes_start(struct world *w);
/* Closes those that live: what they had must be gone. */
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
/* A forward accepts a socket, of the connection that will have this number. */
void process_forward(struct process *p, struct application *a, uint64_t connection);

/* ---- Faults ---- */

/* The network is gone for so long: the process notices after at most `own_us`, the router after `router_us`. */
void process_cut(struct process *p, uint64_t own_us, uint64_t router_us, uint64_t down_us);
/* It is gone from one moment to the next, with all its sockets, and another one is started in its place. */
void process_crash(struct process *p);
/* Its streams should move, without any need. */
void process_renew(struct process *p);

#endif
