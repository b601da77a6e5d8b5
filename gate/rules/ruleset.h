/* What the owner of a service says of its requests, made ready for being asked at each of them. Pure. On one thread at
 * a time.
 */
#ifndef GATE_RULESET_H
#define GATE_RULESET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gate/paths/rewrite.h"

struct ruleset;

/* `bytes` is the message Rules, of which lines that are not understood are left out; but a list of which nothing is
 * understood admits nobody, and so does a message that is none. NULL: out of memory. */
struct ruleset *ruleset_create(const uint8_t *bytes, size_t size);
void ruleset_free(struct ruleset *r); /* NULL is fine */
bool ruleset_is_of(const struct ruleset *r, const uint8_t *bytes, size_t size);

/* Whether it says who may come, and whether `client` may: an address with its port, as listener.h tells it. */
bool ruleset_has_clients(const struct ruleset *r);
bool ruleset_admits(const struct ruleset *r, const char *client);

/* Good as long as the set. */
const struct rewrite_fields *ruleset_fields(const struct ruleset *r);

#endif
