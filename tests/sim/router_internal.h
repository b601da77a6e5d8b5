/* What the files of the router share: router.c has its streams and pairs, router_life.c what becomes of it as a whole.
 */
#ifndef SIM_ROUTER_INTERNAL_H
#define SIM_ROUTER_INTERNAL_H

#include "router.h"

enum { INSTANCES_MAX = 256 };

struct instance {
  bool alive, draining;
  uint64_t since;
  uint64_t registration; /* of the service; 0: it is not there */
  uint32_t member;       /* whose that is */
  uint64_t left_at;
  bool was_there;
  struct splices *splices; /* NULL: there are none yet */
};

struct router {
  struct instance *newest;
  struct instance *all[INSTANCES_MAX];
  size_t instances;
  uint64_t streams;
  struct stream **live; /* those that may still matter, and some that do not */
  size_t count, room;
};

/* Forgets the streams that do not matter any more. */
void router_sweep(struct router *r);
void router_finish(struct stream *s, enum stream_end end);
/* Events: at the client, and at the router. */
void router_notice_loss(struct world *w, void *subject, uint64_t arg);
void router_notices(struct world *w, void *subject, uint64_t arg);
/* Its partner is there, or is looked for anew. */
void router_pair(struct stream *f);
bool router_is_there(const struct instance *i, const struct label *label);
/* A gRPC stream of the service, on which this label arrives. */
struct stream *router_to_service(struct world *w, struct instance *i, const struct label *label);

#endif
