/* ListServices: all names at once. */
#ifndef ROUTER_LIST_H
#define ROUTER_LIST_H

#include "router/door/opening.h"

void list_ask(struct opening *o, struct rpc_message *m);

#endif
