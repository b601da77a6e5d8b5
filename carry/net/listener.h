/* A listening socket: TCP or unix. On the loop's thread. */
#ifndef CARRY_LISTENER_H
#define CARRY_LISTENER_H

#include "address.h"

struct listener;
struct lookups;

struct listener_events {
  /* Listening since now (error 0), or not: a negative errno (EADDRINUSE, EADDRNOTAVAIL, EACCES, ...) with a sentence in
   * `why`, valid in the callback. Once. */
  void (*opened)(struct listener *l, int error, const char *why, void *arg);
  /* `fd` is connected, non-blocking, close-on-exec, with TCP_NODELAY, and the callee's; `peer` is the other end, and
   * lives as long as the callback. */
  void (*accepted)(struct listener *l, int fd, const char *peer, void *arg);
  /* Accepting stopped for lack of descriptors or memory (a negative errno), or goes on (0). It tries again by itself,
   * without spinning. */
  void (*starved)(struct listener *l, int error, void *arg);
};

/* Names resolve to one or several addresses, all of which are listened on, on the same port (0: a free one). A stale
 * unix socket is removed first: only a socket, and only if nobody answers on it. Unix sockets get mode 0600. `opened`
 * never comes inside this call, and not after listener_close. */
int listener_open(struct listener **out, struct lookups *lookups, const struct address *address,
                  const struct listener_events *events, void *arg);
/* With the port that was taken. After `opened` with 0. */
const struct address *listener_address(const struct listener *l);
/* Accepts the connections that the kernel has completed, inside this call unless it is made in `accepted`. Then stops
 * at once: the port is free; a unix socket refuses connections, and its file goes soon, if it is still this one. The
 * memory goes when the loop has let go. Due once for each listener_open that returned 0, even after an error of
 * `opened`. May be called from any of the callbacks. */
void listener_close(struct listener *l);

#endif
