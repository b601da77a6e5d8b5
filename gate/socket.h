/* A non-blocking connected socket, watched by the edges of epoll, with what waits to be written; perhaps with TLS, of
 * which its user sees nothing: the handshake is part of reading. On the loop's thread.
 */
#ifndef GATE_SOCKET_H
#define GATE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/host/poller.h"
#include "proto/http1/writer.h"

struct tls;

struct gate_socket {
  struct poller_watch watch; /* first */
  struct poller *poller;
  struct tls *tls; /* NULL: none */
  int fd;
  bool readable, writable; /* as far as we know */
  bool hung_up;            /* the end, or an error, is to be read */
  bool ended;              /* the other side says no more */
  bool shut;               /* nor do we */
  int read_error, write_error;
  struct http1_out out;
  void (*ready)(struct gate_socket *s); /* something of the above has changed */
};

/* Takes `fd`, and `tls` on it (NULL: none), over in any case. 0, or a negative errno. */
int gate_socket_open(struct gate_socket *s, struct poller *poller, int fd, struct tls *tls,
                     void (*ready)(struct gate_socket *s));
/* Lets go of it, still open. It has no TLS, and nothing waits to be written. */
int gate_socket_release(struct gate_socket *s);
/* Whether a handshake is over, if there is to be one. */
bool gate_socket_is_greeted(const struct gate_socket *s);
/* Whether HTTP/2 was agreed upon in it. */
bool gate_socket_speaks_http2(const struct gate_socket *s);
/* The bytes that came; 0: none for now, or no more (`ended`, `read_error`). */
size_t gate_socket_read(struct gate_socket *s, char *into, size_t size);
/* Writes what waits. Whether all of it is gone; never after a write_error. */
bool gate_socket_flush(struct gate_socket *s);
/* Says its end; all is written. */
void gate_socket_shut(struct gate_socket *s);
/* A reset that came while nothing is read: a positive errno, or 0. */
int gate_socket_trouble(struct gate_socket *s);
/* `reset`: the other side is not to take this for an end. No harm if it is closed. */
void gate_socket_close(struct gate_socket *s, bool reset);

#endif
