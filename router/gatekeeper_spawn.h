/* The start of an mmgate as a child. */
#ifndef ROUTER_GATEKEEPER_SPAWN_H
#define ROUTER_GATEKEEPER_SPAWN_H

#include <sys/types.h>

#include "gatekeeper_process.h"

struct gate_process {
  pid_t pid; /* 0: there is none */
  int fd;    /* our end of the socket pair; -1 */
};

/* 0, or a negative errno; -ENOENT: no mmgate is found. */
int gate_process_start(struct gate_process *out, const char *const *arguments, const struct gatekeeper_order *order);

#endif
