/* The fronts whose word is taken for who the client is (RFC 7239, and the older X-Forwarded-For). Pure. On one thread
 * at a time. */
#ifndef GATE_TRUST_H
#define GATE_TRUST_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/http1/head.h"
#include "proto/rules/network.h"

enum { TRUST_MAX = 64, TRUST_CLIENT_SIZE = 56 };

/* All zero: nobody. */
struct trust {
  struct network all[TRUST_MAX];
  size_t count;
  bool local; /* those who come by a unix socket */
};

/* Adds networks with commas between them, or "unix". -EINVAL, and then *why is a static phrase that says what to write.
 */
int trust_add(struct trust *t, const char *list, const char **why);
/* `client` is an address with its port, as listener.h tells it. */
bool trust_has(const struct trust *t, const char *client);
/* What a front that is trusted says: the last address of X-Forwarded-For that is no such front's, or the first of all;
 * port 0. False: it says none, and `out` is untouched. */
bool trust_client(const struct trust *t, const struct http1_head *h, char out[TRUST_CLIENT_SIZE]);
/* Whether it says that the client came by https; `otherwise` if it says neither. */
bool trust_https(const struct http1_head *h, bool otherwise);

#endif
