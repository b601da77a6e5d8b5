/* The way to a loop's thread, from any thread: errands, which run there in the order in which they were sent. */
#ifndef PROTO_HOME_H
#define PROTO_HOME_H

#include "errand.h"

struct uv_loop_s;
struct home;

/* On the loop's thread. A negative errno. */
int home_open(struct home **out, struct uv_loop_s *loop);
/* Once nothing is sent any more: what was sent still runs, then `closed` does, on the loop, and the home is freed when
 * that returns. On the loop's thread. */
void home_close(struct home *h, void (*closed)(void *arg), void *arg);
/* Has it run on the loop, after what the loop is at now. It must not be on its way already. Any thread. */
void home_send(struct home *h, struct errand *e);

#endif
