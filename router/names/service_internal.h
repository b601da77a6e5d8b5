/* What the files of a service share: service.c has its life, service_create.c how it begins, or is begun anew. One
 * thread. */
#ifndef ROUTER_SERVICE_INTERNAL_H
#define ROUTER_SERVICE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "hosts.h"
#include "proto/rpc/rpc.h"
#include "proto/wire/identity.h"
#include "registry.h"
#include "service.h"

struct service {
  struct names *names;
  struct rpc_call *call;
  struct caller *caller;
  char name[REGISTRY_NAME_MAX + 1];
  uint64_t since;
  bool joined; /* as the identity that its member had when it registered */
  uint8_t identity[IDENTITY_SIZE];
  struct pending *untold, *told;
  size_t untold_count;
  bool sending;
  struct publics *publics; /* NULL: it has asked for none */
  bool unanswered;         /* it was not told what became of them */
  uint8_t *rules;          /* what its owner says of requests: passed on unread; NULL: nothing */
  size_t rules_size;
  struct service *prev, *next;
  struct service *own_prev, *own_next; /* of its caller */
};

struct services {
  struct service *oldest;
  size_t rules_size; /* of all */
};

/* Of its call. */
extern const struct rpc_call_events service_events;

/* In whose name it holds its hosts. */
struct host_claim service_claim(const struct service *s);
/* What it is to be told, as far as it may be sent now. */
void service_send(struct service *s);
/* All, oldest first. */
struct pending *service_take_pending(struct service *s);
/* To whoever may take them now. */
void service_give_pending(const struct names *n, struct pending *pending);
/* The caller has one service fewer. */
void service_leave_caller(struct names *n, struct caller *c);

#endif
