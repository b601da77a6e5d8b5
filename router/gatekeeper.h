/* mmgate beside the router, which takes HTTP for the services for as long as the router runs. It is started again when
 * it ends. It outlives a router that is killed, so that its visitors' connections go on, and makes way for the one of
 * the next router.
 *
 * A process of its own starts it: one that is started has copies of all descriptors until its exec, and epoll does not
 * forget a socket of which there is a copy. */
#ifndef ROUTER_GATEKEEPER_H
#define ROUTER_GATEKEEPER_H

#include <stddef.h>

struct gatekeeper {
  int fd; /* to the process; -1: there is none */
};

/* How the gate reaches the router. */
struct gatekeeper_way {
  const char *router; /* what it calls the router */
  const char *at;     /* HOST:PORT, where that is */
  const char *cafile; /* NULL: without TLS. The router's own certificates */
  const char *key;    /* NULL: none */
};

/* Before there are threads, or sockets. `arguments` are mmgate's, up to a NULL: where to listen, and the like. `log` is
 * called in the process. 0, or a negative errno. */
int gatekeeper_fork(struct gatekeeper *out, const char *const *arguments, void (*log)(void *arg, const char *line),
                    void *log_arg);
/* Starts the gate, and waits until it listens; it says itself why it does not. 0, or what to exit with. */
int gatekeeper_start(const struct gatekeeper *k, const struct gatekeeper_way *way);
/* Another one takes its place, which reads all files anew. */
void gatekeeper_renew(const struct gatekeeper *k, const struct gatekeeper_way *way);
/* It ends when its visitors have their answers; at the second call at once. */
void gatekeeper_end(const struct gatekeeper *k);
/* Waits a moment for its end, and leaves it to itself if it has visitors still. */
void gatekeeper_close(struct gatekeeper *k);

#endif
