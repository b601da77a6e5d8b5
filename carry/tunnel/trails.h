/* Tells the router which connections were dialled for which, when there are many, and hears how many lie before each:
 * a loop may lead through mounts that do not recognise each other's connections. Private to the tunnels; on the loop's
 * thread.
 */
#ifndef DAEMON_TRAILS_H
#define DAEMON_TRAILS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct carry_question;
struct tunnels;

enum { TRAILS_BATCH = 64 };

struct trails_batch {
  size_t count;
  uint64_t origins[TRAILS_BATCH], dialled[TRAILS_BATCH];
};

struct trails {
  struct tunnels *tunnels;
  uv_timer_t timer;
  bool due;                        /* the timer runs */
  struct carry_question *question; /* for `asked` */
  struct trails_batch next, asked;
  bool timer_closed;
  void (*closed)(struct tunnels *ts);
};

void trails_open(struct trails *t, struct tunnels *ts);
/* For what came by `origin`, `dialled` was dialled just now: both of hops.h. */
void trails_add(struct trails *t, uint64_t origin, uint64_t dialled);
/* `closed` with the tunnels when nothing calls back any more. */
void trails_close(struct trails *t, void (*closed)(struct tunnels *ts));

#endif
