/* Networks of IP addresses, and which of them an address is in. Pure. Any thread. */
#ifndef PROTO_NETWORK_H
#define PROTO_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct network {
  uint8_t address[16]; /* v4: as ::ffff:0:0/96 */
  uint8_t bits;        /* of the 16 bytes, how many count */
  bool v4;
};

enum { NETWORK_TEXT_SIZE = 52 };

/* "203.0.113.0/24", "2001:db8::/32", or an address alone. What is v4 inside v6 is v4. 0, or -EINVAL, and then *why is a
 * static phrase that says what to write. */
int network_parse(const char *text, size_t size, struct network *out, const char **why);
/* With all bits behind the prefix 0. Returns `out`. */
const char *network_format(const struct network *n, char out[NETWORK_TEXT_SIZE]);

/* The address in "1.2.3.4:5" or "[::1]:5", with all of its bits. False: there is none. */
bool network_of_client(const char *client, struct network *out);
bool network_has(const struct network *n, const struct network *address);

#endif
