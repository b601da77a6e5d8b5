/* A forward's stream that waits for its service's. */
#ifndef ROUTER_DIAL_H
#define ROUTER_DIAL_H

#include <stdbool.h>

#include "bridge.h"

struct caller;
struct router;
struct service;
struct token;

struct dial {
  struct router *router;
  struct leg leg;
  struct caller *caller; /* holds a stream */
  struct service *service;
  struct token *token; /* what the service shows to answer; NULL when it expired */
  struct rpc_timer *late;
  bool told;                /* service.c: the service knows of it */
  struct dial *prev, *next; /* service.c */
};

/* Ends the waiting with a status; the dial is freed. It must be out of the service's lists. */
void dial_fail(struct dial *d, enum rpc_status status, const char *text);

#endif
