/* The sockets of one listener, bound and listening: the part of listener.c that only makes system calls. */
#ifndef CARRY_LISTENER_BIND_H
#define CARRY_LISTENER_BIND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "address.h"
#include "endpoints.h"

enum { LISTENER_WHY_MAX = ADDRESS_TEXT_MAX + 256 };

struct listener_binding {
  unsigned count;
  int fds[ENDPOINTS_MAX]; /* non-blocking, close-on-exec */
  struct address address; /* with the port that was taken */
  bool shared;            /* other processes of this user may listen there, too */
  bool beside;            /* and one does */
  int directory;          /* of a unix socket, or -1 */
  dev_t dev;              /* of its file */
  ino_t ino;
  char why[LISTENER_WHY_MAX];
};

/* Listens on all endpoints of `a`, or on none; those of a network that the machine does not have are left out if there
 * are others. `shared`: also if another process of this user listens on that TCP port in the same way. 0 or a negative
 * errno, with a sentence in `why`. Any thread; looks up the path of a unix socket. */
int listener_bind(struct listener_binding *b, const struct address *a, const struct endpoints *endpoints, bool shared);
/* Takes sockets that listen already, all at one address. 0, or a negative errno, with a sentence in `why`; the
 * descriptors are closed then. Does not block. */
int listener_take(struct listener_binding *b, const int *fds, unsigned count);
/* Closes the sockets, and removes the unix socket's file if it is still this one. After a failed bind, or twice, it
 * does nothing. Any thread; looks up the path again. */
void listener_unbind(struct listener_binding *b);
/* The same, but the file stays, as if this process had been killed. Does not block. */
void listener_abandon(struct listener_binding *b);
/* Refuses connections from now on, as if the sockets were closed. Does not block. */
void listener_hush(const struct listener_binding *b);
/* No new connection gets in by TCP: a SYN is dropped, and the client repeats it after a second. Handshakes under way
 * complete. Does not block. */
void listener_deafen(const struct listener_binding *b);

#endif
