/* The waiting room: dials whose service, or member, is not here and may come. Those for the same are in order of their
 * coming. Pure; one thread. */
#ifndef ROUTER_WAITING_H
#define ROUTER_WAITING_H

#include <stddef.h>

struct dial;
struct goal;
struct waiting;

/* For at most `max`. NULL when memory is short. */
struct waiting *waiting_open(size_t max);
/* Nobody may wait any more. */
void waiting_close(struct waiting *w); /* NULL is fine */

/* Lets it wait for this. 0, -ENOSPC or -ENOMEM. */
int waiting_add(struct waiting *w, struct dial *d, const struct goal *g);
void waiting_remove(struct waiting *w, struct dial *d);
/* The one that has waited longest for this, or NULL. */
struct dial *waiting_first(const struct waiting *w, const struct goal *g);
/* How many wait for this. */
size_t waiting_count(const struct waiting *w, const struct goal *g);
/* Some one that waits, or NULL. */
struct dial *waiting_any(const struct waiting *w);

#endif
