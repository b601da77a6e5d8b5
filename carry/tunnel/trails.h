/* Tells the router which connections were dialled for which, when there are many, and hears how many lie before each:
 * a loop may lead through mounts that do not recognise each other's connections. Where too many are dialled without an
 * answer, a target is dialled only once its connection was asked for. Private to the tunnels; on the loop's thread.
 */
#ifndef CARRY_TRAILS_H
#define CARRY_TRAILS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "caution.h"

struct address;
struct carry_question;
struct trails_held;
struct tunnel;
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
  bool hurries;                    /* since one is held */
  struct carry_question *question; /* for `asked` */
  struct trails_batch next, asked;
  struct caution caution;
  struct trails_held *held; /* those that were asked for come first */
  bool timer_closed;
  void (*closed)(struct tunnels *ts);
};

void trails_open(struct trails *t, struct tunnels *ts);
/* This connection's target was dialled just now. */
void trails_add(struct trails *t, const struct tunnel *tunnel);
/* Whether its target is not to be dialled yet: tunnel_dial_now is called later, unless it is forgotten first. */
bool trails_hold(struct trails *t, struct tunnel *tunnel, const struct address *target);
/* Also one that is not held. */
void trails_forget(struct trails *t, struct tunnel *tunnel);
/* `closed` with the tunnels when nothing calls back any more. */
void trails_close(struct trails *t, void (*closed)(struct tunnels *ts));

#endif
