/* Addresses as they are written in the tree, in options and on the wire. Pure; no name is resolved here. */
#ifndef CARRY_ADDRESS_H
#define CARRY_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum address_kind { ADDRESS_TCP, ADDRESS_UNIX };

enum { ADDRESS_HOST_MAX = 253, ADDRESS_PATH_MAX = 107, ADDRESS_TEXT_MAX = 270 };

struct address {
  enum address_kind kind;
  char host[ADDRESS_HOST_MAX + 1]; /* a name, a v4 or a v6 address without brackets */
  uint16_t port;
  char path[ADDRESS_PATH_MAX + 1]; /* absolute */
};

/* PORT alone (localhost), HOST:PORT, [V6]:PORT or unix:/PATH; port 1 to 65535. */
int address_parse_target(const char *text, struct address *out, const char **why);
/* PORT alone (127.0.0.1), HOST:PORT, [V6]:PORT or unix:/PATH; port 0 to 65535. */
int address_parse_listener(const char *text, struct address *out, const char **why);
/* HOST[:PORT], [V6][:PORT]; `port` is the default, which may be 0. */
int address_parse_router(const char *text, uint16_t port, struct address *out, const char **why);
/* Whether any bytes behind `text` could make it one: see address_begun.c. */
int address_begun_target(const char *text, const char **why);
int address_begun_listener(const char *text, const char **why);
/* All: 0, -EINVAL or -ENAMETOOLONG, with *why a static phrase, lower case, for "x: <why>". */

/* As it would be written: "localhost:8080", "[::1]:80", "unix:/run/x". Returns `out`. */
const char *address_format(const struct address *a, char out[ADDRESS_TEXT_MAX]);
bool address_equal(const struct address *a, const struct address *b);
/* The name localhost, or one below it: this machine, also where no hosts file says so (RFC 6761). */
bool address_is_localhost(const struct address *a);
/* 127.0.0.0/8, ::1, the name localhost, or a unix socket. */
bool address_is_loopback(const struct address *a);

/* Whether a connection to `target` reaches a socket that listens at `listener`, as far as the two texts tell without
 * the addresses of the machine. */
bool address_leads_to(const struct address *target, const struct address *listener);

/* A DNS label: a-z, 0-9 and inner hyphens, 1 to 63. 0, -EINVAL or -ENAMETOOLONG, with *why, which states the rule. */
int service_name_check(const char *name, const char **why);

#endif
