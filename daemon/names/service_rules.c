/* What is said of the requests of one service goes to the router with the registration: so a change makes a newer
 * registration, once for all lines of a writer, and gates never see half of what was written.
 */
#include <errno.h>

#include "services_internal.h"

const struct rules *service_rules(const struct service *s)
{
  return &s->rules;
}

static int settle(struct service *s, size_t before, int error)
{
  struct services *ss = s->owner;

  ss->rules_size += rules_size(&s->rules) - before;
  if (error != 0)
    return error;
  s->rules_changed = true;
  ss->events->public_changed(s, ss->arg);
  return 0;
}

static bool has_room(const struct services *ss, size_t more)
{
  return ss->rules_size + more <= SERVICES_RULES_MAX;
}

int service_add_rule(struct service *s, int kind, const char *line, bool replace)
{
  size_t before = rules_size(&s->rules);

  if (!has_room(s->owner, RULE_LINE_SIZE))
    return -EDQUOT;
  return settle(s, before, rules_add(&s->rules, (enum rule_kind)kind, line, replace));
}

int service_set_rule(struct service *s, int kind, const void *bytes, size_t size)
{
  size_t before = rules_size(&s->rules);

  if (size > 0 && !has_room(s->owner, size))
    return -EDQUOT;
  return settle(s, before, rules_set(&s->rules, (enum rule_kind)kind, bytes, size));
}

void service_tell_rules(struct service *s)
{
  if (s->rules_changed && s->publics.count > 0)
    service_ask_publics(s);
}

void service_free_rules(struct service *s)
{
  s->owner->rules_size -= rules_size(&s->rules);
  rules_free(&s->rules);
}
