/* A listening socket: TCP or unix. On the loop's thread. */
#ifndef CARRY_LISTENER_H
#define CARRY_LISTENER_H

#include <stdbool.h>

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
/* The same, but other processes of this user may listen on that TCP port, too, if they do it in the same way: each gets
 * a share of the connections. */
int listener_open_shared(struct listener **out, struct lookups *lookups, const struct address *address,
                         const struct listener_events *events, void *arg);
/* On sockets that listen already at one address; other processes may have them, too. The descriptors are the
 * listener's, if this returns 0. */
int listener_open_given(struct listener **out, struct lookups *lookups, const int *fds, unsigned count,
                        const struct listener_events *events, void *arg);
/* Another process listened there when a shared one was opened. After `opened` with 0. */
bool listener_is_beside(const struct listener *l);
/* New connections by TCP go elsewhere from now on; those whose handshake is under way are still accepted, for which it
 * takes a moment until it is closed. What it does to clients of nobody else: their first attempt is not answered. */
void listener_leave(struct listener *l);
/* With the port that was taken. After `opened` with 0. */
const struct address *listener_address(const struct listener *l);
/* Accepts the connections that the kernel has completed, inside this call unless it is made in `accepted`; those of
 * given sockets are left to the others who have them. Then stops
 * at once: the port is free; a unix socket refuses connections, and its file goes soon, if it is still this one. The
 * memory goes when the loop has let go. Due once for each listener_open that returned 0, even after an error of
 * `opened`. May be called from any of the callbacks. */
void listener_close(struct listener *l);

#endif
