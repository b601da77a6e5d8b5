/* The beginning of every call. Until its first message a call may be of anybody, so such calls are bounded in number
 * and in time. */
#ifndef ROUTER_OPENING_H
#define ROUTER_OPENING_H

#include "proto/rpc/rpc.h"

struct door;
struct opening;
struct openings;
struct token_stream;

/* Receives a message, which becomes its own. It ends with one of opening_take, opening_refuse and opening_more. */
typedef void (*opening_cb)(struct opening *o, struct rpc_message *m);

/* Those of a door. NULL when memory is short. */
struct openings *openings_open(struct door *d);
/* No call may be opening any more. */
void openings_close(struct openings *os); /* NULL is fine */

/* `room` is whose method it is. */
void opening_start(struct openings *os, struct rpc_call *c, opening_cb begin, void *room);
void *opening_room(const struct opening *o);
/* The token that is being put together in this call, if it is an original's. NULL when memory is short. */
struct token_stream *opening_token(struct opening *o);

/* The call is the callee's now, which gives it events before it returns; the opening is freed. */
struct rpc_call *opening_take(struct opening *o);
/* Another message is needed. */
void opening_more(struct opening *o);
void opening_refuse(struct opening *o, enum rpc_status status, const char *text);

void openings_refuse_all(struct openings *os, enum rpc_status status, const char *text);

#endif
