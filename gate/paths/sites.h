/* Which service a request is for: by its host, and by the longest path that its own begins with. Pure. On one thread at
 * a time. */
#ifndef GATE_SITES_H
#define GATE_SITES_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/http1/grammar.h"

struct sites;

/* The hosts that have nothing any more are remembered: so many, and so long (ms). */
enum { SITES_LEFT_MAX = 4096, SITES_LEFT_MS = 3600 * 1000 };

struct sites *sites_create(void); /* NULL: out of memory */
void sites_free(struct sites *r); /* NULL is fine */

/* A new list: sites_begin, sites_add for each, sites_settle. `host` is in lower case, without a port; `path` is "" or
 * begins with "/". They come sorted by host; several with the same host and path share them. What memory does not
 * suffice for is not there. Times are in ms, of any clock that does not go back. */
void sites_begin(struct sites *r);
int sites_add(struct sites *r, const char *host, const char *path, const char *service);
void sites_settle(struct sites *r, uint64_t now);

/* How many services there are for it; at most `most` are told in `services`, good until the next list. */
size_t sites_find(const struct sites *r, struct http1_text host, struct http1_text path, const char **services,
                  size_t most);
/* Whether the host has any. */
bool sites_have(const struct sites *r, struct http1_text host);
/* Whether the host is somebody's, or was: also before the first list, when nobody can say that it is not. */
bool sites_know(const struct sites *r, struct http1_text host, uint64_t now);

#endif
