/* The loop of a thread that has epoll to itself: descriptors that are watched, work that goes on in the next turn,
 * errands from other threads, and deadlines.
 *
 * All of it belongs to one thread: the one that calls poller_turn or poller_run (before that, the one that will start
 * it). Only poller_post, poller_stop and poller_change may be called on any thread. Callbacks run inside poller_turn
 * and may call everything but poller_turn, poller_run and poller_close. */
#ifndef PROTO_POLLER_H
#define PROTO_POLLER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

struct errand;
struct poller;

/* Embedded in what watches a descriptor; zeroed but for `ready`. It may be freed once it is removed, also inside of a
 * `ready`. */
struct poller_watch {
  /* `events` as epoll tells them; 0: poller_again asked for it. */
  void (*ready)(struct poller_watch *w, uint32_t events);
  struct poller_watch *again_prev, *again_next; /* the poller's own */
};

/* One of the deadlines of a delay; zeroed before first use. */
struct poller_deadline {
  uint64_t at; /* the poller's own */
  struct poller_deadline *prev, *next;
};

/* Deadlines that all lie equally far ahead, so that a list of them is in order by itself. */
struct poller_delay {
  unsigned ms; /* at least 1 */
  void (*due)(struct poller_deadline *d);
  struct poller_deadline *waiting; /* the poller's own, NULL at first */
  struct poller_delay *prev, *next;
};

int poller_open(struct poller **out); /* 0, or a negative errno */
/* Runs what was posted and did not run yet. Nothing is watched any more; no other thread posts. */
void poller_close(struct poller *p);

/* One turn: waits at most `wait_ms` (-1: as long as it takes) until there is something to do, and does it. */
void poller_turn(struct poller *p, int wait_ms);
/* Its two halves, for one that has something to do in between; each wait is served once. */
void poller_wait(struct poller *p, int wait_ms);
void poller_serve(struct poller *p);
/* For a loop of another kind that takes turns (see nest.h): readable while there is something to do, but for what is
 * done by the clock; and in how many ms that is (-1: never). */
int poller_fd(const struct poller *p);
int poller_wait_ms(const struct poller *p);
void poller_run(struct poller *p);  /* turns until it is stopped */
void poller_stop(struct poller *p); /* poller_run returns after its turn, or at once if it is called later */

/* `events` as for epoll_ctl, EPOLLET included. 0, or a negative errno. */
int poller_add(struct poller *p, int fd, uint32_t events, struct poller_watch *w);
/* The descriptor is watched by `to` from now on; all that is true of it is told again. 0, or a negative errno: then all
 * is as before. */
int poller_hand_over(struct poller *p, int fd, uint32_t events, struct poller_watch *from, struct poller_watch *to);
/* Other events from now on, of which those that are true are told again. Any thread. 0, or a negative errno. */
int poller_change(struct poller *p, int fd, uint32_t events, struct poller_watch *w);
/* `ready` is not called any more, not even for what this turn has found already. `fd` -1: the descriptor is closed
 * before anything else happens, and no duplicate of it is left, so that epoll forgets it by itself. */
void poller_remove(struct poller *p, int fd, struct poller_watch *w);
/* `ready` is called in the next turn, once, with events 0; or with real ones, should there be any by then. */
void poller_again(struct poller *p, struct poller_watch *w);

/* Any thread. `run` is called on the poller's, in the order in which they were posted (errand.h). */
void poller_post(struct poller *p, struct errand *e);
/* The same on the poller's thread, which needs no waking. */
void poller_post_here(struct poller *p, struct errand *e);

void poller_delay_add(struct poller *p, struct poller_delay *d);
/* Forgets its deadlines with it. Not inside a `due`. */
void poller_delay_remove(struct poller *p, struct poller_delay *d);
/* `due` is called once, after `ms` from now, and may set it again. One that was set is set anew. */
void poller_deadline_set(struct poller_delay *d, struct poller_deadline *one);
void poller_deadline_clear(struct poller_delay *d, struct poller_deadline *one); /* no harm if it is not set */

#endif
