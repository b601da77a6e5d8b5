/* A stranger: a client of the router like any other, with a member of its own, who wants into the connections of
 * others. */
#ifndef SIM_ATTACK_H
#define SIM_ATTACK_H

#include "world.h"

void attack_start(struct world *w);

#endif
