/* Where the two streams of a connection find each other. The forward's comes first: it names the service, or the member
 * with which a connection goes on, or shows the token that ForwardToService gave. Its partner is a stream that the
 * member has parked; or else a service is told a token, and the stream that shows it is the partner. Who is not here
 * may be waited for. */
#ifndef ROUTER_RENDEZVOUS_H
#define ROUTER_RENDEZVOUS_H

#include "router/door/opening.h"

struct header;
struct leg;
struct meet;
struct token;

/* Connect, and the first version's ProxyConnection. */
void rendezvous_connect(struct opening *o, struct rpc_message *m);
void rendezvous_proxy(struct opening *o, struct rpc_message *m);

/* A leg that has said this. Takes it; there is no first message yet. */
void rendezvous_begin(struct meet *in, struct leg *leg, const struct header *h);

/* For tokens_open: `arg` is the room. */
void rendezvous_token_lost(struct token *t, void *arg);

#endif
