/* What the owners of services say of requests, enforced: the one place where a request is let in or not, before it has
 * a target. On the loop's thread. */
#ifndef GATE_GUARD_H
#define GATE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

struct exchange;
struct gate;
struct rewrite_fields;

/* Whether a client with this address may come to one of `services`, whatever it speaks. */
bool guard_lets_in(const struct gate *g, const char *const *services, size_t count, const char *client);
/* `services` are those that the request could go to. False: it was refused. */
bool guard_admits(struct exchange *x, const char *const *services, size_t count);
/* What requests to this service get; good until the next list of routes. */
const struct rewrite_fields *guard_fields(const struct gate *g, const char *service);

#endif
