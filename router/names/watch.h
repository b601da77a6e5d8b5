/* WatchServices: each watcher gets the catalogue, then changes and heartbeats. A slow one gets fewer messages, not
 * older ones: a message is made only when the one before is sent. */
#ifndef ROUTER_WATCH_H
#define ROUTER_WATCH_H

#include "router/door/opening.h"

struct gate_ports;
struct names;
struct presence;
struct watcher;
struct watchers;

/* NULL when memory is short. */
struct watchers *watchers_open(struct names *n);
/* Nobody may watch any more. */
void watchers_close(struct watchers *all); /* NULL is fine */

/* WatchServices. */
void watch_start(struct opening *o, struct rpc_message *m);

/* The watcher that was given this challenge (32 bytes), which is good once. NULL: it is gone, or there was none. */
struct watcher *watch_challenged(struct names *n, const uint8_t *challenge);
/* Whose watch it is: join_over is told of its end. NULL: nobody's any more. */
void watcher_is_of(struct watcher *w, struct presence *p);
const char *watcher_peer(const struct watcher *w);
/* Tells it so, once. */
void watcher_supersede(struct watcher *w);

/* Where the gates that watch are reached: of each kind, the port of the one that has watched longest. */
struct gate_ports watch_gates(struct names *n);

/* The register changed, members were lost, or the router began to drain. */
void watch_wake(struct names *n);

/* Ends all watchers, each after the news that there are. `text` must live as long as the router. */
void watch_end(struct names *n, enum rpc_status status, const char *text);

#endif
