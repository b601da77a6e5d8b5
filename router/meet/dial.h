/* A forward's stream that waits for its partner:
 *
 *     in the waiting room <--> at a service --> taken, or failed
 *
 * A call's service is told, and answers. A raw stream is taken by the next one that its member parks, for which it
 * waits in the waiting room, too. It is unread for that long. */
#ifndef ROUTER_DIAL_H
#define ROUTER_DIAL_H

#include <stdbool.h>

#include "arrival.h"
#include "goal.h"
#include "router/names/service.h"

struct token;
struct waiting_queue;

struct dial {
  struct leg_keeper keeper;
  struct arrival arrival;
  struct goal goal;
  struct waiting_queue *queue; /* waiting.c; NULL: it is not in the waiting room */
  struct service *service;     /* NULL: it is at none */
  struct pending pending;      /* in that service's list */
  struct token *token;         /* what the service shows to answer; NULL: there was none yet, or it expired */
  struct rpc_timer *late;
  bool hopes;               /* that its member parks raw streams, which it has not done yet */
  struct dial *prev, *next; /* waiting.c */
};

struct dial *router_dial_of(struct pending *p);
/* Its token has expired. */
void router_dial_token_lost(struct dial *d);

/* Takes the arrival. It gets a parked stream, or waits for dial_ms at most, or is refused at once. */
void router_dial_start(const struct arrival *a, const struct goal *g);
/* The dial is in no service's list, for its service is gone or another stands in its place, or it has left the waiting
 * room: it goes on to whoever its goal is now. */
void router_dial_move(struct dial *d);
/* The waiting is over, wherever: the dial is freed, and what arrived is the caller's. */
struct arrival router_dial_take(struct dial *d);
/* Ends the waiting with a status; the dial is freed. It must be in no service's list. */
void router_dial_fail(struct dial *d, enum rpc_status status, const char *text);

/* For those in the waiting room. The service is registered; the member is over for good; nobody will come any more. */
void router_dials_service_came(struct meet *in, const struct service *s);
void router_dials_member_lost(struct meet *in, const uint8_t member[HEADER_MEMBER_SIZE]);
void router_dials_refuse_waiting(struct meet *in, enum rpc_status status, const char *text);
/* Who has waited longest for this member, with a stream of this kind. False: nobody does. */
bool router_dials_take_waiting(struct meet *in, const uint8_t member[HEADER_MEMBER_SIZE], const struct leg_kind *kind,
                               struct arrival *out);

#endif
