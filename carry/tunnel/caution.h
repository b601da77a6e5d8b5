/* How many targets may be dialled before the router has said what lies before those that were dialled already. Pure.
 *
 * A loop goes on while a question about it is on its way, so it is the number of dials without an answer that is
 * bounded. Answers that show nothing raise it, so that many honest connections are not delayed.
 */
#ifndef CARRY_CAUTION_H
#define CARRY_CAUTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CAUTION_FEW = 64, CAUTION_MANY = 1024, CAUTION_LOOP_MS = 5000 };

struct caution {
  size_t allowed, unanswered;
  bool silent;         /* there was no answer in time: nothing waits for one until there is */
  uint64_t loop_until; /* a loop was found: each target waits until its connection was asked for */
};

void caution_start(struct caution *c);
bool caution_may_dial(const struct caution *c, uint64_t now);
/* One was dialled, of which the router is told. */
void caution_dialled(struct caution *c);
/* The most hops that an answer showed; `told_later` of those dialled were not in its question. */
void caution_answered(struct caution *c, unsigned most, size_t told_later, uint64_t now);
void caution_unanswered(struct caution *c);

#endif
