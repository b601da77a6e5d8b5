/* Tunnels through a tunnel or two are ordinary; more are a sign. */
#include "caution.h"

#include "hops.h"

void caution_start(struct caution *c)
{
  *c = (struct caution){.allowed = CAUTION_FEW};
}

bool caution_may_dial(const struct caution *c, uint64_t now)
{
  return c->silent || (now >= c->loop_until && c->unanswered < c->allowed);
}

void caution_dialled(struct caution *c)
{
  c->unanswered++;
}

void caution_answered(struct caution *c, unsigned most, size_t told_later, uint64_t now)
{
  c->silent = false;
  c->unanswered = told_later;
  if (most > HOPS_MAX)
    c->loop_until = now + CAUTION_LOOP_MS;
  if (most > HOPS_MAX / 2)
    c->allowed = CAUTION_FEW;
  else if (c->allowed < CAUTION_MANY)
    c->allowed *= 2;
}

void caution_unanswered(struct caution *c)
{
  c->silent = true;
  c->unanswered = 0;
}
