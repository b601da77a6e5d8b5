/* A stream of a connection, let in and counted, on its way to its partner. */
#ifndef ROUTER_ARRIVAL_H
#define ROUTER_ARRIVAL_H

#include <stdbool.h>
#include <stddef.h>

#include "leg.h"

struct arrivals;
struct caller;
struct meet;
struct member;

/* `over` runs after each connection's end. NULL when memory is short. */
struct arrivals *arrivals_open(void (*over)(void *arg), void *arg);
/* No stream may be there any more. */
void arrivals_close(struct arrivals *as); /* NULL is fine */
/* How many connections there are. */
size_t arrivals_paired(const struct arrivals *as);

struct arrival {
  struct meet *meet;
  struct leg leg;
  struct caller *caller; /* holds a stream */
};

/* Takes the leg and its first message. False: it was refused. */
bool arrival_start(struct arrival *out, struct meet *in, const struct leg *leg, const struct member *m);
/* A forward's and a service's become a connection. Takes both, also when memory is short: then they are refused. */
void arrival_pair(const struct arrival *forward, const struct arrival *service);
/* Ends it with a status. */
void arrival_refuse(const struct arrival *a, enum rpc_status status, const char *text);
/* Its leg has closed. */
void arrival_gone(const struct arrival *a);

#endif
