/* Streams that wait for a dial of any service of the member that opened them, or for a connection with it to go on.
 * They are there only while it has joined, or has a service; they save the time to ask for one, and are never a limit:
 * without one, a service is told of the dial. */
#ifndef ROUTER_PARKED_H
#define ROUTER_PARKED_H

#include <stdbool.h>

#include "proto/wire/status.h"

struct arrival;
struct caller;
struct leg_kind;
struct meet;
struct parking;

/* NULL when memory is short. */
struct parking *parking_open(void);
/* None may be parked any more. */
void parking_close(struct parking *all); /* NULL is fine */

/* Takes the arrival, a member's. Who has waited longest for that member, with a stream of the same kind, gets it at
 * once.
 */
void parked_start(const struct arrival *a);
/* The one of this kind that came last. False: there is none. */
bool parked_take(struct caller *c, const struct leg_kind *kind, struct arrival *out);
/* All of this caller's end. It must hold something beside them. */
void parked_end(struct caller *c, enum rpc_status status, const char *text);
/* Everybody's. */
void parked_end_all(struct meet *in, enum rpc_status status, const char *text);

#endif
