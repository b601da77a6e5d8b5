/* Hosts that are this machine, whatever its network is. Pure. */
#ifndef PROTO_LOOPBACK_H
#define PROTO_LOOPBACK_H

#include <netinet/in.h>
#include <stdbool.h>

/* 127.0.0.0/8. */
bool loopback_is_v4(struct in_addr address);
/* Such an address as text, ::1 without brackets, or the name localhost. */
bool loopback_is_host(const char *host);

#endif
