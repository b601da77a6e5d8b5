/* What all have of a loop's thread: the way to it from any thread, by errands, which run there in the order in which
 * they were sent; and a poller, which is nested in the loop. */
#ifndef PROTO_HOME_H
#define PROTO_HOME_H

#include "errand.h"

struct home;
struct poller;
struct uv_loop_s;

/* On the loop's thread. A negative errno. */
int home_open(struct home **out, struct uv_loop_s *loop);
/* On the loop's thread. */
struct poller *home_poller(struct home *h);
/* As nest_run. */
void home_run(struct home *h);
/* Once nothing is sent nor watched any more: what was sent still runs, then `closed` does, on the loop, and the home is
 * freed before. On the loop's thread. */
void home_close(struct home *h, void (*closed)(void *arg), void *arg);
/* Has it run on the loop, after what the loop is at now. It must not be on its way already. Any thread. */
void home_send(struct home *h, struct errand *e);

#endif
