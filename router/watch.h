/* WatchServices: each watcher gets the catalogue, then changes and heartbeats. A slow one gets fewer messages, not
 * older ones: a message is made only when the one before is sent. */
#ifndef ROUTER_WATCH_H
#define ROUTER_WATCH_H

#include "opening.h"

/* WatchServices. */
void watch_start(struct opening *o, struct rpc_message *m);

/* The register changed, or the router began to drain. */
void watch_wake(struct router *r);

/* Ends all watchers, each after the news that there are. `text` must live as long as the router. */
void watch_end(struct router *r, enum rpc_status status, const char *text);

#endif
