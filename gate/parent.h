/* The router that has started this gate, by a socket pair: it is told when the gate listens, and its end is seen. On
 * the loop's thread. */
#ifndef GATE_PARENT_H
#define GATE_PARENT_H

#include <stdbool.h>
#include <uv.h>

struct parent {
  uv_poll_t poll;
  int fd; /* -1: nobody has */
  void (*gone)(void *arg);
  void *arg;
};

/* Takes `fd`. `gone` comes once. 0, or a negative errno; parent_close is due in any case. */
int parent_open(struct parent *p, uv_loop_t *loop, int fd, void (*gone)(void *arg), void *arg);
void parent_tell_listening(struct parent *p);
/* It stays in memory until the loop has let go. */
void parent_close(struct parent *p); /* no harm if it is closed */

#endif
