/* From hosts to socket addresses, without blocking. On the loop's thread. */
#ifndef CARRY_RESOLVE_H
#define CARRY_RESOLVE_H

#include <stdbool.h>

#include "endpoints.h"

struct address;
struct lookups;
struct resolve;

enum { RESOLVE_WHY_MAX = 512 };

/* `found` has the addresses that are known so far, v6 first. The callback comes once or twice: when the first family
 * has been found, unless the other one is known by then; and with `complete`, when nothing more comes. `error` is 0, or
 * a negative errno if nothing was found at all (-EADDRNOTAVAIL: the name does not resolve) with a sentence in `why`;
 * both live as long as the callback. */
typedef void (*resolve_cb)(int error, const char *why, const struct endpoints *found, bool complete, void *arg);

/* An address, a unix path, and localhost with all names below it need no look-up: true, with the endpoints. */
bool resolve_literal(const struct address *a, struct endpoints *out);
/* The `host` and `port` of a TCP address. The resolve is freed when `done` returns from `complete`. */
int resolve_start(struct resolve **out, struct lookups *lookups, const struct address *a, resolve_cb done, void *arg);
/* In place of `done`, which does not come any more; also inside it. */
void resolve_forget(struct resolve *r);

#endif
