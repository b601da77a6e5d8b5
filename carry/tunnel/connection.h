/* What a connection does when: a plain state machine, without sockets, streams, clocks or threads. Events go in,
 * actions come out, and a deadline for the next CONNECTION_TIME.
 *
 *     F: a forward accepted a socket                    S: a stream came that dials our service
 *
 *        WAITING    for the router
 *           |     \
 *           |     ASKING (routers of the first version only)
 *           |     /
 *        OPENING    dialled; again if the stream is lost       OPENING   the target is dialled, once
 *           |                                                     |
 *           | the other side answered                             | the target answered
 *           +--------------------------+--------------------------+
 *                                      |
 *                                     OPEN       both directions flow, and end one by one
 *                                      |
 *                       both ends, a reset, a cut, a failure
 *                                      |
 *                                   CLOSING      our last word is said; the other side is to hear it
 *                                      |
 *                                     GONE
 *
 * Between two of ours a connection outlives its streams. It has a current one, or it is detached; and it may have a
 * next one, which becomes current once the other side has accepted it. F opens streams, each with a higher epoch; S
 * takes what is newer than all it has accepted. As long as F has had no header of S, it dials the service by name, and
 * its data begins at 0; from then on it attaches to that very process of S, and both go on from what the other has
 * received.
 *
 *     F, OPEN or CLOSING
 *        current            next               what happens
 *        -                  -                  detached: attaches when the router is there, with back-off
 *        -                  opened             attaching
 *        live               -                  as usual
 *        live               opened             before the current one is cut, it is to be replaced
 *
 * A side is done when both directions have ended, its socket has taken all, and a stream that carried its last word has
 * ended well: half-closing a stream says "I have taken everything, and you may forget". Otherwise F attaches again, and
 * S waits for that. S waits in vain if only S lost the end of the stream; it cannot know that, and must not forget data
 * that F may lack. When a connection is over, S leaves a tombstone, which answers F.
 *
 * While F has had no header of S, it gives up when its time is over, and cannot tell S, which it does not know. So S
 * holds a connection for long only when it knows that F has heard of it. A stream that lasts does not show that: the
 * router, or F, may have stood still. So F sends an ack within two seconds, even if nothing was taken.
 *
 * Until the version of the other side is known, an end or a reset is held back: a peer of the first version is told
 * nothing in-band; there one end ends both directions, and the end of the stream is the end of the connection.
 */
#ifndef CARRY_CONNECTION_H
#define CARRY_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

enum connection_role { CONNECTION_FORWARD, CONNECTION_SERVICE };

enum connection_state {
  CONNECTION_WAITING,
  CONNECTION_ASKING,
  CONNECTION_OPENING,
  CONNECTION_OPEN,
  CONNECTION_CLOSING,
  CONNECTION_GONE,
};

/* What is known of the other side. */
enum connection_other { CONNECTION_UNKNOWN, CONNECTION_OURS, CONNECTION_FIRST_VERSION };

enum connection_event {
  CONNECTION_ROUTER_UP,       /* F: a router of ours is there */
  CONNECTION_ROUTER_ORIGINAL, /* F: a router of the first version is there */
  CONNECTION_ROUTER_DOWN,     /* F: none is */
  CONNECTION_ROUTER_REFUSED,  /* one is, and does not let us in: no outage. Over with any of these three, also for S */
  CONNECTION_TOKEN,           /* F: the router gave a token */
  CONNECTION_TOKEN_REFUSED,   /* F: it did not */
  CONNECTION_RENEW,           /* F: streams should move: the router drains, they grow old, the network changed */
  CONNECTION_DIALLED,         /* S: the target's socket is there */
  CONNECTION_DIAL_FAILED,     /* S */
  CONNECTION_HEARD,           /* S: the other side knows that we are there: it acknowledged something, or attaches */
  CONNECTION_LOCAL_EOF,
  CONNECTION_SOCKET_FAILED,
  CONNECTION_REMOTE_EOF, /* and our socket has taken all */
  CONNECTION_PEER_LOST,  /* the process at the other side is over for good */
  CONNECTION_CUT,        /* the user */
  CONNECTION_END,        /* the end of the program: there is a second left */
  CONNECTION_TIME,       /* the deadline is there */
  /* Of the current stream. */
  CONNECTION_ANSWERED,    /* F: the other side's header came: it is there, and speaks as we do */
  CONNECTION_MISANSWERED, /* F: it came, and is not what it must be */
  CONNECTION_ORIGINAL,    /* F: the other side is there, and speaks the first version */
  CONNECTION_REMOTE_RESET,
  CONNECTION_STREAM_OK,     /* it ended in order */
  CONNECTION_STREAM_LOST,   /* it ended otherwise, and another one may fare better; a refusal by S is that, too */
  CONNECTION_STREAM_FAILED, /* it was refused for good. (As long as F has had no header; afterwards as LOST.) */
  /* Of the next stream: F. */
  CONNECTION_NEXT_ANSWERED,
  CONNECTION_NEXT_MISANSWERED,
  CONNECTION_NEXT_RESET,
  CONNECTION_NEXT_LOST, /* it ended, however, or was refused */
};

/* To be carried out in the order of their values. */
enum connection_action {
  CONNECTION_ASK = 1 << 0,          /* F: for a token */
  CONNECTION_OPEN_STREAM = 1 << 1,  /* F: the next one, with `epoch`; by name, or if `established` to the member */
  CONNECTION_DROP_CURRENT = 1 << 2, /* close it: there is no current stream any more */
  CONNECTION_USE_NEXT = 1 << 3,     /* it becomes the current one, in place of the former, which is closed. S: with our
                                       header, unless it speaks the first version */
  CONNECTION_DROP_NEXT = 1 << 4,    /* close it */
  CONNECTION_REFUSE_NEXT = 1 << 5,  /* S: say so on it, and let it end */
  CONNECTION_DIAL = 1 << 6,
  CONNECTION_GIVE_SOCKET = 1 << 7,      /* to the pump */
  CONNECTION_SAY_EOF = 1 << 8,          /* in-band */
  CONNECTION_HALF_CLOSE = 1 << 9,       /* the current stream: nothing more is said */
  CONNECTION_SAY_RESET = 1 << 10,       /* in-band, on the current stream, and half-close it */
  CONNECTION_CANCEL = 1 << 11,          /* the current stream, at once */
  CONNECTION_SHUTDOWN_SOCKET = 1 << 12, /* its write side */
  CONNECTION_CLOSE_SOCKET = 1 << 13,
  CONNECTION_RESET_SOCKET = 1 << 14,
  CONNECTION_LINGER = 1 << 15, /* end the socket's write side, throw away what it brings, until it ends */
  CONNECTION_BURY = 1 << 16,   /* S: leave a tombstone: `reset` or not */
  CONNECTION_FREE = 1 << 17,
};

/* How long things may take, in milliseconds. */
struct connection_times {
  uint64_t dial;    /* F: from the accepted socket to the other side's answer */
  uint64_t hold;    /* without a stream */
  uint64_t refused; /* likewise, while the router does not let us in; if that is shorter */
};

struct connection {
  enum connection_role role;
  enum connection_state state;
  enum connection_other other;
  const struct connection_times *times;
  bool established; /* F: had a header of S. S: always */
  bool heard;       /* S: the other side has had a header of ours, for certain */
  bool router;      /* F: one of ours is there, as far as is known */
  bool asked;       /* F: the router is of the first version */
  bool has_current, has_next;
  bool has_socket;
  bool local_eof, remote_eof;
  bool reset;        /* our last word is a reset */
  bool reset_heard;  /* the other side's is */
  bool renew_due;    /* F: the current stream is to be replaced */
  bool in_time;      /* F: the next stream was opened while the current one worked */
  bool lingering;    /* the stream is over; the socket is to take what it was given, however slowly */
  bool ending;       /* the program is */
  bool broken;       /* by a bug of ours: it was given up */
  uint64_t epoch;    /* F: of the latest stream. S: the highest that was accepted */
  uint64_t backoff;  /* ms */
  uint64_t patience; /* how many times longer than usual an answer is waited for */

  /* Times; UINT64_MAX: none. */
  uint64_t dial_until;  /* F: nobody answered */
  uint64_t next_until;  /* F: the next stream is given up */
  uint64_t retry_at;    /* F: another one is tried */
  uint64_t hold_until;  /* there is no current stream, and this is how long that may be */
  uint64_t close_until; /* the current stream is given up, on which our last word is */
  uint64_t reset_until; /* F: after that it is not tried again to say our reset */
  uint64_t current_at;  /* since when it has had a current stream, one or another */
  uint64_t shaky_since; /* since then no stream has lasted */
  uint64_t detached_at; /* when the current stream was lost */
  uint64_t refused_at;  /* since then the router does not let us in */
};

/* They set it up, and return the first actions. Times in milliseconds, of a clock that does not go back. `times` is
 * kept. */
unsigned connection_start_forward(struct connection *c, const struct connection_times *times, uint64_t now);
/* A stream came that says this epoch (0 if it speaks the first version), which is the next one. */
unsigned connection_start_service(struct connection *c, const struct connection_times *times, bool original,
                                  uint64_t epoch, uint64_t now);

/* Returns the actions. An event that means nothing any more gives none. */
unsigned connection_step(struct connection *c, enum connection_event event, uint64_t now);

/* The line is slow: a dial waits for so long more. */
void connection_wait_longer(struct connection *c, uint64_t ms, uint64_t now);

/* S: a stream came for this connection, which is the next one (an earlier next one there is not: they are accepted or
 * refused at once). `possible`: it is of the member that dialled, and what it says it has received can be. */
unsigned connection_attached(struct connection *c, uint64_t epoch, bool possible, uint64_t now);

/* When CONNECTION_TIME is due; UINT64_MAX: not at all. */
uint64_t connection_deadline(const struct connection *c);
/* It lives without a stream, and none is on its way that was opened in time. */
bool connection_detached(const struct connection *c);

#endif
