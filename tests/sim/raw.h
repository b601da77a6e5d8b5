/* Streams that are TCP connections: at the client, a message is a frame; at the router, a preamble says what they are
 * for, a word answers it, and from the pair on the router's real code passes the bytes.
 */
#ifndef SIM_RAW_H
#define SIM_RAW_H

#include "router.h"

struct raw;
struct splices;

/* ---- For router.c: a stream that is raw has one ---- */

/* A client opens one, and says its preamble. */
void raw_dial(struct stream *s, const struct label *label);
/* One of the service's, which it has parked. */
void raw_parked(struct stream *s);
void raw_send(struct stream *s, const struct message *m);
/* The client ends it: a reset, unless it is over in order. */
void raw_abandon(struct stream *s);
/* Nothing passes any more; and the router notices that. */
void raw_cut(struct stream *s);
void raw_router_notices(struct stream *s);
/* The router: pairs F with S, which gets this label; or refuses it with a word; or ends it. */
void raw_pair(struct stream *f, struct stream *s, struct splices *splices, const struct label *label);
void raw_refuse(struct stream *f, enum stream_end how);
void raw_end(struct stream *s);
/* The router is dead: all it had is closed by its kernel. */
void raw_vanish(struct stream *s);

/* ---- For raw.c: what router.c makes of it ---- */

/* A preamble is whole, and was not used before. */
void router_arrived(struct stream *f, const struct label *label);
/* The pair is over, or the client is gone. */
void router_raw_over(struct stream *s);
void router_tell_end(struct stream *s, enum stream_end end);

#endif
