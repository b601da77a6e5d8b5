/* Which of several addresses to connect to, when (RFC 8305, "Happy Eyeballs"): families by turns, v6 first; the next
 * one when an attempt has failed, or has had 250 ms, and goes on beside it; the first that is connected wins. A plain
 * state machine: the clock, the addresses and the outcome of each attempt are handed in. Times are in ms.
 */
#ifndef CARRY_RACE_H
#define CARRY_RACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "endpoints.h"

enum { RACE_STEP_MS = 250, RACE_RESOLUTION_MS = 50, RACE_LATE_MS = 1000 };

/*     WAITING --race_next--> RUNNING --race_failed--> FAILED
 *        ^                      |
 *        +------race_again------+                                   */
enum race_state { RACE_WAITING, RACE_RUNNING, RACE_FAILED };

struct race_runner {
  enum race_state state;
  int error; /* FAILED; else 0 */
};

struct race {
  struct endpoints endpoints;
  struct race_runner runners[ENDPOINTS_MAX];
  unsigned waiting, running;
  bool complete; /* no more addresses come */
  bool stopped;  /* no more attempts can be made */
  int family;    /* of the latest attempt */
  uint64_t next; /* when there may be one more */
  uint64_t timeout, deadline;
  uint64_t idle; /* since when all have failed */
};

void race_begin(struct race *r, uint64_t now, uint64_t timeout);
/* Those that are there already are left as they are. v4 alone waits a moment for v6. */
void race_add(struct race *r, const struct endpoints *found, bool complete, uint64_t now);

/* The endpoint to begin with now, or -1. To be asked until it says so, and again at race_wake. */
int race_next(struct race *r, uint64_t now);
/* A lack of descriptors ends the race for the endpoints that have not begun. */
void race_failed(struct race *r, int index, int error, uint64_t now);
/* It could not even begin: later. */
void race_again(struct race *r, int index, uint64_t later);

/* Nothing can come of it any more. */
bool race_is_lost(const struct race *r, uint64_t now);
uint64_t race_wake(const struct race *r);

/* Once it is lost: the error that tells most; of several, the first; 0 if nothing was tried. Writes the causes:
 * "Connection refused", or several, each with its addresses. Returns how many there are in *causes. */
int race_error(const struct race *r, char *why, size_t size, unsigned *causes);

#endif
