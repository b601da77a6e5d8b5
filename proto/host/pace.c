/* Each time costs every_ms, and the debt may be as large as at_once of them. */
#include "pace.h"

bool pace_allows(struct pace *p, uint64_t now, uint64_t at_once, uint64_t every_ms)
{
  if (p->paid < now)
    p->paid = now;
  if (p->paid + every_ms > now + at_once * every_ms) {
    p->left_out++;
    return false;
  }
  p->paid += every_ms;
  return true;
}
