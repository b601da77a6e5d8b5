/* A poller nested in a libuv loop, which takes its turns: sockets are watched as epoll does it, without a handle and
 * several system calls for each. On the loop's thread. */
#ifndef PROTO_NEST_H
#define PROTO_NEST_H

struct nest;
struct poller;
struct uv_loop_s;

int nest_open(struct nest **out, struct uv_loop_s *loop); /* 0, or a negative errno */
struct poller *nest_poller(struct nest *n);
/* Runs the loop the other way round: nested in the poller, so that what the poller watches costs one wait and not two.
 * Returns when the nest is closed, or nothing keeps the loop alive; what is left is uv_run's. */
void nest_run(struct nest *n);
/* Nothing is watched any more. `closed` runs on the loop, when it is freed. */
void nest_close(struct nest *n, void (*closed)(void *arg), void *arg);

#endif
