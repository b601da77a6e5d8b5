/* A forward's stream that waits for its service's. */
#ifndef ROUTER_DIAL_H
#define ROUTER_DIAL_H

#include <stdbool.h>

#include "arrival.h"

struct service;
struct token;

struct dial {
  struct arrival arrival;
  struct service *service;
  struct token *token; /* what the service shows to answer; NULL when it expired */
  struct rpc_timer *late;
  bool told;                /* service.c: the service knows of it */
  struct dial *prev, *next; /* service.c */
};

/* Takes the arrival. It waits for dial_ms at most, unread, or is refused at once. */
void dial_start(const struct arrival *a, struct service *s);
/* The waiting is over: the dial is freed, and what arrived is the caller's. */
struct arrival dial_take(struct dial *d);
/* Ends the waiting with a status; the dial is freed. It must be out of the service's lists. */
void dial_fail(struct dial *d, enum rpc_status status, const char *text);

#endif
