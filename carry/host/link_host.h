/* The link as what tunnels rest on. On the loop's thread. */
#ifndef CARRY_LINK_HOST_H
#define CARRY_LINK_HOST_H

#include "carry/tunnel/carry_host.h"

struct link;
struct pump_set;

struct link_host {
  struct carry_host host;
  struct link *link;
  struct pump_set *pumps;
};

/* All must outlive what rests on it; nothing is to be freed. */
void link_host_init(struct link_host *out, struct link *link, struct pump_set *pumps);

#endif
