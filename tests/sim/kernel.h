/* The kernel under a router that is simulated: see kernel.c. */
#ifndef SIM_KERNEL_H
#define SIM_KERNEL_H

struct poller;
struct world;

struct poller *kernel_poller(struct world *w);

#endif
