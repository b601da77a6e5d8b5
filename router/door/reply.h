/* Answers to calls of which no state is kept: the caller may forget the call when these return. */
#ifndef ROUTER_REPLY_H
#define ROUTER_REPLY_H

#include "proto/rpc/rpc.h"

struct replies;
struct door;
struct router_limits;

__attribute__((format(printf, 3, 4))) void reply_refuse(struct rpc_call *c, enum rpc_status status, const char *format,
                                                        ...);
/* The one message of a unary call; takes `m`. NULL: memory was short. */
void reply_answer(struct door *d, struct rpc_call *c, struct rpc_message *m);

/* Gives a status to a call whose owner waits for `closed`. */
void reply_finish(struct rpc_call *c, enum rpc_status status, const char *text);

/* The answers that are under way, for a door. Points to `limits`. NULL when memory is short. */
struct replies *replies_open(const struct router_limits *limits);
/* None may be under way any more. */
void replies_close(struct replies *as); /* NULL is fine */

#endif
