/* Where the two streams of a connection find each other. The forward's comes first, with the token that
 * ForwardToService gave; its service is told a token of its own, and the stream that shows that one is its partner. */
#ifndef ROUTER_RENDEZVOUS_H
#define ROUTER_RENDEZVOUS_H

#include "opening.h"

struct token;

/* Connect, and the first version's ProxyConnection. */
void rendezvous_connect(struct opening *o, struct rpc_message *m);
void rendezvous_proxy(struct opening *o, struct rpc_message *m);
/* ForwardToService. */
void rendezvous_forward(struct opening *o, struct rpc_message *m);

/* For tokens_open: `arg` is the router. */
void rendezvous_token_lost(struct token *t, void *arg);

#endif
