/* Whether the line to the router is only slow when it seems dead. A caller that waits for an answer gives up after a
 * while; but over a thin line, or beside an upload that fills the modem's queue, the answer may take longer than that.
 * Bytes that came or were acknowledged are counted from time to time: a line in use carries more than pings and
 * heartbeats, and a slow line carries little.
 */
#ifndef CARRY_LINK_LINE_H
#define CARRY_LINK_LINE_H

#include <stdbool.h>
#include <stdint.h>

enum {
  LINE_LOOK_MS = 2000,       /* less than that says nothing */
  LINE_IDLE_RATE = 400,      /* bytes per second: pings and heartbeats make no more */
  LINE_SLOW_RATE = 64 << 10, /* a line that carries more has nothing in it that waits for long */
  LINE_SLOW_RTT_US = 150000, /* a packet or two on a thin line */
};

/* Times in milliseconds; all zero is right before the first look. */
struct link_line {
  uint64_t moved, looked_at;
  bool slow;
};

/* `moved` is the count of now. */
void link_line_look(struct link_line *line, uint64_t moved, uint64_t now);
/* It is in use, and slow. */
bool link_line_is_slow(const struct link_line *line, uint64_t moved, uint64_t now);

#endif
