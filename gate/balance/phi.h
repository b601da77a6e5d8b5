/* How much a silence says that somebody is dead: the phi accrual failure detector (N. Hayashibara, X. Defago, R. Yared,
 * T. Katayama, 2004). Who beats is expected to beat again after about as long as lately. phi is how unlikely it is that
 * a beat is still to come after the present silence, as the negative decimal logarithm of that probability: 1 is wrong
 * once in 10 times, 8 once in 100,000,000.
 *
 * As in Akka, the intervals are taken to be distributed normally; their deviation is never taken for less than
 * PHI_DEVIATION_MIN_MS, a pause of PHI_PAUSE_MS is always allowed for, and before anything is known the interval is
 * guessed to be PHI_GUESS_MS, give or take a quarter.
 *
 * The clock runs only while a beat is expected. Pure; one thread. Times are in ms, of a clock that does not go back.
 */
#ifndef GATE_PHI_H
#define GATE_PHI_H

#include <stdbool.h>
#include <stdint.h>

enum {
  PHI_INTERVALS = 64, /* so many are remembered */
  PHI_DEVIATION_MIN_MS = 100,
  PHI_PAUSE_MS = 3000,
  PHI_GUESS_MS = 1000,
};

/* Of a silence that is longer than any number tells. */
#define PHI_MAX 99.0

struct phi {
  uint32_t intervals[PHI_INTERVALS]; /* ms, in a ring */
  unsigned count, next;
  uint64_t sum, squares; /* of what is in it */
  bool running;
  uint64_t since;   /* when it began to run, if it does */
  uint64_t silence; /* before that, since the last beat */
};

void phi_init(struct phi *p);
/* A beat is expected from now on. No harm if it was. */
void phi_expect(struct phi *p, uint64_t now);
/* None is for now. The silence so far is remembered. */
void phi_rest(struct phi *p, uint64_t now);
/* It came. */
void phi_beat(struct phi *p, uint64_t now);
/* 0 to PHI_MAX. */
double phi_of(const struct phi *p, uint64_t now);

#endif
