/* What a seed draws, and the faults that follow from it. */
#ifndef SIM_CHAOS_H
#define SIM_CHAOS_H

#include "world.h"

/* Draws the plan, and sets up the connections. */
void chaos_plan(struct world *w, uint64_t attacks);
/* Has the faults happen, and in the end quiet. */
void chaos_start(struct world *w);

#endif
