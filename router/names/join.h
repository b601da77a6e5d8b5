/* The present process of each identity. A process joins by signing the challenge of its watch, and is present as long
 * as that watch. Of two processes the one with the higher instance stays: the other one is told, its services and
 * parked streams end, and it is lost for good. */
#ifndef ROUTER_JOIN_H
#define ROUTER_JOIN_H

#include <stdbool.h>

#include "proto/wire/header.h"
#include "router/door/opening.h"

struct caller;
struct names;
struct presence;
struct presences;

/* NULL when memory is short. */
struct presences *presences_open(void);
/* Nobody may have joined any more. */
void presences_close(struct presences *ps); /* NULL is fine */

/* Join. */
void join_ask(struct opening *o, struct rpc_message *m);
/* Its watch has closed. */
void join_over(struct names *n, struct presence *p);

/* When this caller joined last, in ms; 0: it is not there. */
uint64_t join_since(struct caller *c);
/* Whether this member is there, and was before `at` (ms). */
bool join_has_stayed(const struct names *n, const uint8_t member[HEADER_MEMBER_SIZE], uint64_t at);

/* The identity (32 bytes) that a caller has joined as, or NULL. */
const uint8_t *join_identity(struct caller *c);

#endif
