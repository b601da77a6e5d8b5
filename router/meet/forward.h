/* ForwardToService, of the first version: a token for a connection that is then opened by ProxyConnection. */
#ifndef ROUTER_FORWARD_H
#define ROUTER_FORWARD_H

#include "router/door/opening.h"

void router_forward_ask(struct opening *o, struct rpc_message *m);

#endif
