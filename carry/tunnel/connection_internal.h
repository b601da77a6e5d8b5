/* What the files of the machine share: connection.c has the machine, connection_streams.c what becomes of its streams,
 * connection_end.c how it ends. Each function here changes the connection, and returns the actions that follow.
 */
#ifndef CARRY_CONNECTION_INTERNAL_H
#define CARRY_CONNECTION_INTERNAL_H

#include "connection.h"

#define NEVER UINT64_MAX

enum { BACKOFF_MIN_MS = 50 };

/* ---- connection.c ---- */

/* Only as the table of moves allows; else the connection is broken, and given up when the step is over. */
void connection_move(struct connection *c, enum connection_state to);
unsigned connection_gone(struct connection *c, unsigned actions);

/* ---- connection_streams.c ---- */

/* The next stream is current from now on. */
unsigned connection_use_next(struct connection *c, uint64_t now);
/* F: opens a stream by name: data goes out at once, so that it is current from the beginning. */
unsigned connection_dial(struct connection *c, uint64_t now);
/* The current stream is lost; F opens another one, at once or later. */
unsigned connection_detach(struct connection *c, uint64_t now);
/* F, make before break: the current stream is to be replaced; and that, once it is possible. */
unsigned connection_renew(struct connection *c, uint64_t now);
unsigned connection_renew_if_due(struct connection *c, uint64_t now);
/* F: of the next stream. */
unsigned connection_next_answered(struct connection *c, uint64_t now);
unsigned connection_lose_next(struct connection *c, uint64_t now);
/* F */
unsigned connection_router_up(struct connection *c, uint64_t now);
void connection_router_down(struct connection *c);
/* Any event of a router: whether it lets us in, on which it depends how long a connection is held. */
void connection_admit(struct connection *c, enum connection_event event, uint64_t now);
/* What is due of the streams. */
unsigned connection_streams_time(struct connection *c, uint64_t now);
unsigned connection_drop_streams(struct connection *c);
/* An answer was waited for in vain. */
void connection_grow_patient(struct connection *c);

/* ---- connection_end.c ---- */

/* Both ends are said, and our socket has taken everything. `actions` are those that say ours. */
unsigned connection_end_both(struct connection *c, unsigned actions);
/* It breaks on our side. The other side is told as soon as possible. */
unsigned connection_break(struct connection *c, uint64_t now);
/* The other side said that it is broken. */
unsigned connection_remote_reset(struct connection *c, uint64_t now);
/* With one of the first version: the stream is over, and the socket is to take what it was given. */
unsigned connection_linger(struct connection *c, uint64_t now);
/* Nothing can be said any more. */
unsigned connection_abandon(struct connection *c);
/* On a stream that has just become current. */
unsigned connection_say_last_word(struct connection *c, uint64_t now);
/* An event in CLOSING. */
unsigned connection_step_closing(struct connection *c, enum connection_event event, uint64_t now);

#endif
