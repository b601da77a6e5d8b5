/* The header of HAProxy's PROXY protocol, by which a target is told who its client is: the first bytes of a connection.
 * Pure; any thread. */
#ifndef PROTO_PROXY_HEADER_H
#define PROTO_PROXY_HEADER_H

#include <stddef.h>

struct end_addresses;

enum proxy_version { PROXY_OFF, PROXY_V1, PROXY_V2 };

enum { PROXY_HEADER_MAX = 107 };

/* Reads v1, v2 or off. 0 or -EINVAL. */
int proxy_version_parse(const char *text, enum proxy_version *out);
const char *proxy_version_name(enum proxy_version version);

/* Returns its size; 0 for PROXY_OFF. If the client is unknown, it says so; if only what the client dialled is, that is
 * the address of all zeroes. */
size_t proxy_header_write(enum proxy_version version, const struct end_addresses *ends, char out[PROXY_HEADER_MAX]);

#endif
