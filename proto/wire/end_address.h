/* The address of one end of a connection, as it travels: so that a target can be told who its client is. Pure; any
 * thread. */
#ifndef PROTO_END_ADDRESS_H
#define PROTO_END_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockaddr;

enum { END_ADDRESS_V4 = 6, END_ADDRESS_V6 = 18 };

struct end_address {
  uint8_t size;                  /* 0: unknown; END_ADDRESS_V4 or END_ADDRESS_V6 */
  uint8_t bytes[END_ADDRESS_V6]; /* the address, then the port, both big-endian */
};

/* Who dialled, and what it dialled. */
struct end_addresses {
  struct end_address client, client_at;
};

/* Of an IPv4 or IPv6 socket; any other is unknown. An IPv4 address that is written as an IPv6 one is the former. */
struct end_address end_address_of(const struct sockaddr *name);
/* Reads 192.0.2.1:80 or [2001:db8::1]:80; anything else is unknown. */
struct end_address end_address_parse(const char *text);

#endif
