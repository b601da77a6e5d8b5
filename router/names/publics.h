/* The public names of one service: what was asked for, what was granted of it, and the messages that tell of it. One
 * thread. */
#ifndef ROUTER_PUBLICS_H
#define ROUTER_PUBLICS_H

#include <mindmeld.pb-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hosts.h"

struct grants;
struct publics;
struct rpc_message;

/* The ports of gates; 0: none serves that. */
struct gate_ports {
  uint16_t http, https;
  bool tcp; /* they listen on those of services */
};

struct publics_claim {
  const struct grants *grants;
  struct hosts *hosts;
  const char *service;
  const struct host_claim *as;  /* NULL: it has not joined, and is refused all of them */
  const struct publics *former; /* what the service has until now; NULL: nothing */
};

/* Claims them; what is refused is known by its answer. NULL when memory is short. */
struct publics *publics_claim(const struct publics_claim *claim, Mindmeld__PublicName *const *asked, size_t count);
/* Leaves its hosts, and frees. */
void publics_leave(struct publics *p, struct hosts *hosts, const struct host_claim *as); /* NULL is fine */

/* Whether gates would be told the same of both, of which either may be NULL. */
bool publics_same(const struct publics *a, const struct publics *b);
/* Whether some of them are. */
bool publics_any_refused(const struct publics *p); /* NULL is fine */
/* The answers as a CreateServiceResponse. NULL when memory is short. */
struct rpc_message *publics_answer(const struct publics *p, const struct gate_ports *gates);

/* What is granted, for a message to a gate: an array that lives as long as `p`; *count may be 0. */
Mindmeld__PublicName **publics_granted(struct publics *p, size_t *count); /* NULL is fine */

#endif
