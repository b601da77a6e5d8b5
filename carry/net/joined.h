/* Two descriptors of any kind, such as standard input and output, in place of one connected socket: what is read from
 * the one arrives at the socket, and what the socket is given is written to the other. On the loop's thread.
 */
#ifndef CARRY_JOINED_H
#define CARRY_JOINED_H

#include <stdbool.h>

struct joined;
struct uv_loop_s;

struct joined_events {
  /* All that came from the socket is written, and `to` is closed, unless it was a reset that ended it. At most once. */
  void (*written)(void *arg);
  /* Reading `from` (or writing `to`) failed; the socket hears of no end. At most once for each. */
  void (*failed)(bool reading, int error, void *arg);
};

/* `*socket` is the caller's. When `from` ends, so does what comes from the socket; when the socket's write side is shut
 * down, `to` is closed. Neither descriptor is made non-blocking, which others would notice who share it. 0 or a
 * negative errno. */
int joined_open(struct joined **out, struct uv_loop_s *loop, int from, int to, int *socket,
                const struct joined_events *events, void *arg);
/* Does not wait for a copy under way: a write may be stuck for ever. */
void joined_close(struct joined *j, void (*closed)(void *arg), void *arg);

#endif
