/* Which of several backends gets a request: the less busy of two random ones. Whoever always took the least busy one
 * would send all that comes at once to the same (M. Mitzenmacher, The Power of Two Choices, 2001).
 *
 * Those that are out get none, unless all are: then nothing is known against one that is not known against all, so the
 * last one is never out. Pure; one thread.
 */
#ifndef GATE_CHOOSE_H
#define GATE_CHOOSE_H

#include <stddef.h>
#include <stdint.h>

struct health;

enum { CHOOSE_MAX = 64 };

/* The place of one of them: `count` is from 1 to CHOOSE_MAX, and `random` any number. */
size_t choose(struct health *const *all, size_t count, uint64_t random, uint64_t now);

#endif
