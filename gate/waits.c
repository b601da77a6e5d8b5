/* Requests for hosts that the gate has not been told of, and that it may be about to be told of: before the first list
 * of routes, and for a moment after it, while services that were declared beside the gate's own start find the router.
 * Each is looked up anew whenever there is another list, and is refused when its time is over. Afterwards nobody waits:
 * what is not in the list is not there.
 */
#include <utlist.h>

#include "gate_internal.h"

enum { WAITS_MAX = 1024 };

static void leave(struct gate *g, struct exchange *x)
{
  poller_deadline_clear(&g->unsure, &x->deadline);
  DL_DELETE(g->waiting, x);
  g->waiting_count--;
  x->waits = false;
}

bool waits_enter(struct exchange *x)
{
  struct gate *g = x->gate;
  if (g->settled || g->draining || g->waiting_count == WAITS_MAX)
    return false;
  DL_APPEND(g->waiting, x);
  g->waiting_count++;
  x->waits = true;
  x->round = g->round;
  poller_deadline_set(&g->unsure, &x->deadline);
  return true;
}

void waits_leave(struct exchange *x)
{
  if (x->waits)
    leave(x->gate, x);
}

/* Whoever waits again does so at the end of the list. Waking one may end others. */
static void look(struct gate *g)
{
  g->round++;
  while (g->waiting != NULL && g->waiting->round != g->round) {
    struct exchange *x = g->waiting;
    leave(g, x);
    exchange_route(x);
    x->side->wake(x);
  }
}

void waits_due(struct poller_deadline *d)
{
  struct exchange *x = (struct exchange *)((char *)d - offsetof(struct exchange, deadline));
  leave(x->gate, x);
  exchange_refuse_unknown(x);
  x->side->wake(x);
}

void waits_told(struct gate *g)
{
  if (!g->told)
    poller_deadline_set(&g->settling, &g->settle);
  g->told = true;
  look(g);
  newcomers_told(g);
}

void waits_settled(struct poller_deadline *d)
{
  struct gate *g = (struct gate *)((char *)d - offsetof(struct gate, settle));
  g->settled = true;
  look(g);
  newcomers_told(g);
}
