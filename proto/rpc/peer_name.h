/* The other end of a connection as gRPC writes it: "ipv4:192.0.2.1:443", "ipv6:%5B::1%5D:443", "unix:". Pure. */
#ifndef PROTO_PEER_NAME_H
#define PROTO_PEER_NAME_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer_name {
  uint8_t address[16]; /* one of version 4 is mapped: ::ffff:192.0.2.1 */
  uint16_t port;
};

/* False: it is no IP address with a port. */
bool peer_name_parse(struct peer_name *out, const char *text);
void peer_name_map(uint8_t out[16], const struct in_addr *v4);
/* How much of it is the host: all but the port. */
size_t peer_name_host_size(const char *text);

#endif
