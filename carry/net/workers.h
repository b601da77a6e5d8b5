/* Threads for what may block, and for ever: names that are looked up, paths that lead who knows where. Each kind of
 * work has workers of its own, and so many at most, so that no kind waits for another. Of the work with one key one
 * runs at a time: what hangs keeps one thread, however often it is asked for. On the loop's thread, unless it says
 * otherwise.
 */
#ifndef CARRY_WORKERS_H
#define CARRY_WORKERS_H

#include <stdbool.h>

struct uv_loop_s;
struct workers;

/* Part of what the caller allocates and frees. */
struct work {
  void (*run)(struct work *w);             /* in a thread of the workers' */
  void (*done)(struct work *w, int error); /* then, on the loop: 0, or -ECANCELED if it was closed before it ran */
  void (*lost)(struct work *w);            /* in place of `done`, when it was forgotten: in any thread */
  const char *key;                         /* lives as long as the work; NULL: it has none */
  bool sure;                               /* it is not cancelled by the end */

  struct workers *workers; /* the rest is theirs */
  struct work *prev, *next;
  int state;
  bool forgotten;
};

int workers_open(struct workers **out, struct uv_loop_s *loop, unsigned most);
/* What has not begun is cancelled, unless it is `sure`; the rest is waited for, unless it is forgotten. */
void workers_close(struct workers *ws, void (*closed)(void *arg), void *arg);

/* `done` never comes inside. -EAGAIN: there can be no thread. */
int workers_start(struct workers *ws, struct work *w);
/* Nobody waits for it any more. `lost` may come inside, or much later, when even the workers are closed. */
void workers_forget(struct work *w);

#endif
