/* Whether a request may go on to its service, as the service's owner says. Services that share a host and a path share
 * who may come, too: what the first of them that says it says. Fields are each one's own.
 */
#include "guard.h"

#include "gate_internal.h"

bool guard_lets_in(const struct gate *g, const char *const *services, size_t count, const char *client)
{
  for (size_t i = 0; i < count; i++) {
    const struct ruleset *r = rulesets_find(g->rules, services[i]);
    if (r != NULL && ruleset_has_clients(r))
      return ruleset_admits(r, client);
  }
  return true;
}

bool guard_admits(struct exchange *x, const char *const *services, size_t count)
{
  if (guard_lets_in(x->gate, services, count, x->client))
    return true;
  exchange_refuse(x, 403);
  return false;
}

const struct rewrite_fields *guard_fields(const struct gate *g, const char *service)
{
  static const struct rewrite_fields none;
  const struct ruleset *r = rulesets_find(g->rules, service);
  return r != NULL ? ruleset_fields(r) : &none;
}
