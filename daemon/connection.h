/* What a connection does when: a plain state machine, without sockets, streams, clocks or threads. Events go in,
 * actions come out.
 *
 *     F: a forward accepted a socket          S: the router asked for a connection to our service
 *
 *        ASKING ---token---> OPENING             OPENING   stream and target are dialled at the same time
 *           |                   |                   |
 *           |                   +----- paired ------+---- paired, and the target answered
 *           |                            |
 *           |                           OPEN        both directions flow, and end one by one
 *           |                            |
 *           |               reset, cut, failure, both ends
 *           |                            |
 *           |                         CLOSING       our last word is said; the stream, or the socket, is to end
 *           |                            |
 *           +---- refused ------------> GONE
 *
 * An end or a reset that comes before it is known who is at the other side is held back until then: a peer of the first
 * version is told nothing in-band, and with it one end ends both.
 */
#ifndef DAEMON_CONNECTION_H
#define DAEMON_CONNECTION_H

#include <stdbool.h>

enum connection_role { CONNECTION_FORWARD, CONNECTION_SERVICE };

enum connection_state { CONNECTION_ASKING, CONNECTION_OPENING, CONNECTION_OPEN, CONNECTION_CLOSING, CONNECTION_GONE };

enum connection_event {
  CONNECTION_TOKEN,           /* F: the router gave a token */
  CONNECTION_TOKEN_REFUSED,   /* F: it did not */
  CONNECTION_DIALLED,         /* S: the target's socket is there */
  CONNECTION_DIAL_FAILED,     /* S */
  CONNECTION_PAIRED,          /* the other side is there, and speaks as we do */
  CONNECTION_PAIRED_ORIGINAL, /* the other side speaks the first version */
  CONNECTION_LOCAL_EOF,
  CONNECTION_SOCKET_FAILED,
  CONNECTION_REMOTE_EOF,
  CONNECTION_REMOTE_RESET,
  CONNECTION_STREAM_OK,     /* the stream ended in order, and all that came is delivered */
  CONNECTION_STREAM_FAILED, /* the stream is lost, or was refused */
  CONNECTION_TIMEOUT,
  CONNECTION_CUT, /* the user, or the end of the program */
};

/* To be carried out in the order of their values. */
enum connection_action {
  CONNECTION_OPEN_STREAM = 1 << 0,
  CONNECTION_DIAL = 1 << 1,
  CONNECTION_ATTACH = 1 << 2,          /* give the socket to the stream */
  CONNECTION_SAY_EOF = 1 << 3,         /* in-band, and half-close */
  CONNECTION_HALF_CLOSE = 1 << 4,      /* without a word */
  CONNECTION_SAY_RESET = 1 << 5,       /* in-band, and half-close */
  CONNECTION_CANCEL = 1 << 6,          /* the stream, at once */
  CONNECTION_SHUTDOWN_SOCKET = 1 << 7, /* its write side */
  CONNECTION_CLOSE_SOCKET = 1 << 8,
  CONNECTION_RESET_SOCKET = 1 << 9,
  CONNECTION_LINGER = 1 << 10,      /* end the socket's write side, throw away what it brings, until it ends */
  CONNECTION_START_TIMER = 1 << 11, /* again, if it runs: the time that is allowed for the state */
  CONNECTION_STOP_TIMER = 1 << 12,
  CONNECTION_FREE = 1 << 13,
};

struct connection {
  enum connection_role role;
  enum connection_state state;
  bool paired, original;
  bool has_socket;
  bool local_eof, remote_eof;
  bool lingering;   /* the stream is over; the socket is to take what it was given, however slowly */
  bool dial_failed; /* to be said once it is known to whom */
};

/* Sets it up, and returns the first actions. */
unsigned connection_start(struct connection *c, enum connection_role role);
/* Returns the actions. An event that means nothing any more gives none. */
unsigned connection_step(struct connection *c, enum connection_event event);

#endif
