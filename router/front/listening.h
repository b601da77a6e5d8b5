/* Sockets that listen for TCP connections at one address. */
#ifndef ROUTER_LISTENING_H
#define ROUTER_LISTENING_H

#include <stdbool.h>
#include <stddef.h>

enum { LISTENING_MAX = 8 };

/* One socket for each address that the host has. */
struct listening {
  int fds[LISTENING_MAX]; /* non-blocking; what they accept has TCP_NODELAY, and ends by a reset (SO_LINGER) */
  size_t count;
  int port;
};

/* HOST:PORT or [V6]:PORT; port 0 takes a free one. The address of all, v4's or v6's, stands for both. At least one of
 * a host's addresses can be had, or all is refused: -EADDRINUSE, -EADDRNOTAVAIL (also: the host does not resolve),
 * -EACCES, ... -EINVAL: that is no address. Blocks while the name is resolved. */
int listening_open(struct listening *out, const char *address);
/* Listens no more at once, so that another process may: what was not accepted is reset. Any thread; the sockets stay
 * open. */
void listening_leave(const struct listening *l);
void listening_close(struct listening *l);

#endif
