/* The sets of all services, by name. Pure. On one thread at a time. */
#ifndef GATE_RULESETS_H
#define GATE_RULESETS_H

#include "ruleset.h"

struct rulesets;

struct rulesets *rulesets_create(void); /* NULL: out of memory */
void rulesets_free(struct rulesets *r); /* NULL is fine */

/* A new list: rulesets_begin, rulesets_put for each, rulesets_settle, which forgets the others. A service may be put
 * several times. -ENOMEM: the service has none, and must not be served. */
void rulesets_begin(struct rulesets *r);
int rulesets_put(struct rulesets *r, const char *service, const uint8_t *bytes, size_t size);
void rulesets_settle(struct rulesets *r);

/* NULL: nothing is said. Good until the next list. */
const struct ruleset *rulesets_find(const struct rulesets *r, const char *service);

#endif
