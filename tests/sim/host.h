/* What the real tunnels of a process rest on: its way to the router, and its dials. */
#ifndef SIM_HOST_H
#define SIM_HOST_H

struct process;

void host_start(struct process *p);

#endif
