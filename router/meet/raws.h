/* Raw connections, from their first preamble to the end. Each is a watch's, says what it is for in a sealed preamble,
 * and is then a leg as a call is; those that are not yet for anything are kept warm.
 *
 * Their descriptors are the raw thread's. What becomes of them is decided under the home lock, on any thread; the raw
 * thread carries it out. */
#ifndef ROUTER_RAWS_H
#define ROUTER_RAWS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/wire/status.h"

struct meet;
struct pass;
struct poller;
struct poller_watch;
struct raws;

/* Before the raw thread runs. 0, or a negative errno. */
int raws_open(struct raws **out, struct meet *in, struct poller *p);
/* Ends all that is left. After the raw thread; without the home lock. */
void raws_end(struct raws *all); /* NULL is fine */
/* After the poller was closed, or when nothing came. */
void raws_close(struct raws *all); /* NULL is fine */

/* A connection that begins with this preamble, which stands on it unread. Takes the descriptor; `watched`: by this the
 * poller watches it, until this returns, or NULL. On the raw thread, without the home lock. */
void raws_arrive(struct raws *all, int fd, struct poller_watch *watched, const uint8_t *preamble, size_t size);

/* With the home lock. What waits for a dial, or is warm, is closed; pairs go on. */
void raws_pass_ends(struct raws *all, struct pass *p);
/* Ends those that have been there for `age_ms`; those that have no partner are told this. Returns the time in ms until
 * the next one reaches that age. With the home lock. */
uint64_t raws_end_old(struct raws *all, uint64_t age_ms, enum rpc_status status, const char *text);

#endif
