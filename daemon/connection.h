/* What a connection does when: a plain state machine, without sockets, streams, clocks or threads. Events go in,
 * actions come out.
 *
 *     F: a forward accepted a socket                    S: somebody dialled our service
 *
 *        ASKING (routers of the first version only)
 *           |     \
 *           |      token, or at once with a router of ours
 *           |        \
 *           |         OPENING                              OPENING   the target is dialled at once
 *           |            |                                    |
 *           |            | the other side answered            | it is known who dialled, and the target answered
 *           |            +----------------+-------------------+
 *           |                             |
 *           |                            OPEN        both directions flow, and end one by one
 *           |                             |
 *           |               reset, cut, failure, both ends
 *           |                             |
 *           |                          CLOSING       our last word is said; the stream, or the socket, is to end
 *           |                             |
 *           +---- refused -------------> GONE
 *
 * F's data goes out before anybody has answered. An end or a reset that comes before it is known who is at the other
 * side is held back until then: a peer of the first version is told nothing in-band, and with it one end ends both. S
 * gives its socket to the stream only then, so that its header goes before its data.
 */
#ifndef DAEMON_CONNECTION_H
#define DAEMON_CONNECTION_H

#include <stdbool.h>

enum connection_role { CONNECTION_FORWARD, CONNECTION_SERVICE };

enum connection_state { CONNECTION_ASKING, CONNECTION_OPENING, CONNECTION_OPEN, CONNECTION_CLOSING, CONNECTION_GONE };

/* What is known of the other side. */
enum connection_other { CONNECTION_UNKNOWN, CONNECTION_OURS, CONNECTION_FIRST_VERSION };

enum connection_event {
  CONNECTION_TOKEN,         /* F: the router gave a token */
  CONNECTION_TOKEN_REFUSED, /* F: it did not */
  CONNECTION_DIALLED,       /* S: the target's socket is there */
  CONNECTION_DIAL_FAILED,   /* S */
  CONNECTION_ANSWERED,      /* the other side's header came: it is there, and speaks as we do */
  CONNECTION_MISANSWERED,   /* it came, and is not what it must be */
  CONNECTION_ORIGINAL,      /* the other side is there, and speaks the first version */
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
  CONNECTION_SAY_HEADER = 1 << 1, /* S: in answer to the other side's */
  CONNECTION_DIAL = 1 << 2,
  CONNECTION_ATTACH = 1 << 3,          /* give the socket to the stream */
  CONNECTION_SAY_EOF = 1 << 4,         /* in-band */
  CONNECTION_HALF_CLOSE = 1 << 5,      /* nothing more is said */
  CONNECTION_SAY_RESET = 1 << 6,       /* in-band, and half-close */
  CONNECTION_CANCEL = 1 << 7,          /* the stream, at once */
  CONNECTION_SHUTDOWN_SOCKET = 1 << 8, /* its write side */
  CONNECTION_CLOSE_SOCKET = 1 << 9,
  CONNECTION_RESET_SOCKET = 1 << 10,
  CONNECTION_LINGER = 1 << 11,      /* end the socket's write side, throw away what it brings, until it ends */
  CONNECTION_START_TIMER = 1 << 12, /* again, if it runs: the time that is allowed for the state */
  CONNECTION_STOP_TIMER = 1 << 13,
  CONNECTION_FREE = 1 << 14,
};

struct connection {
  enum connection_role role;
  enum connection_state state;
  enum connection_other other;
  bool has_socket;
  bool local_eof, remote_eof;
  bool lingering;   /* the stream is over; the socket is to take what it was given, however slowly */
  bool dial_failed; /* to be said once it is known to whom */
};

/* Set it up, and return the first actions. */
/* `asks`: the router is to be asked for a token first; otherwise it dials by name. */
unsigned connection_start_forward(struct connection *c, bool asks);
/* `parked`: the stream is there already, and the next event is what came on it; otherwise there is a token. */
unsigned connection_start_service(struct connection *c, bool parked);
/* Returns the actions. An event that means nothing any more gives none. */
unsigned connection_step(struct connection *c, enum connection_event event);

#endif
