/* Each waits with a message asked for: its end is noticed, and who speaks too early as well. The newest is taken first,
 * since it is the least likely to be dead without our knowing it. */
#include "parked.h"

#include <stdio.h>
#include <stdlib.h>

#include <utlist.h>

#include "arrival.h"
#include "dial.h"
#include "meet.h"
#include "router/door/callers.h"
#include "router/door/limits.h"

struct parked {
  struct leg_keeper keeper;
  struct arrival arrival;
  struct parked *prev, *next;         /* of its caller, newest first */
  struct parked *all_prev, *all_next; /* of the room */
};

struct parking {
  struct parked *oldest;
  size_t count;
};

struct parking *parking_open(void)
{
  return calloc(1, sizeof(struct parking));
}

void parking_close(struct parking *all)
{
  free(all);
}

static struct arrival parked_remove(struct parked *p)
{
  struct arrival a = p->arrival;
  struct parked **list = caller_parked(a.caller, a.leg.kind->number);
  struct parking *all = meet_parking(a.meet);
  /* The analyzer does not know that what is in a list has neighbours. */
  DL_DELETE(*list, p);                            /* NOLINT(clang-analyzer-core.NullDereference) */
  DL_DELETE2(all->oldest, p, all_prev, all_next); /* NOLINT(clang-analyzer-core.NullDereference) */
  all->count--;
  callers_release(meet_callers(a.meet), a.caller, CALLER_PARKED); /* it still holds a stream */
  free(p);
  return a;
}

static void on_said(struct leg_keeper *k, bool ended)
{
  struct arrival a = parked_remove((struct parked *)k);
  if (ended)
    arrival_refuse(&a, RPC_OK, "");
  else
    arrival_refuse(&a, RPC_INVALID_ARGUMENT, "a parked stream says nothing before it has a partner");
}

static void on_closed(struct leg_keeper *k)
{
  struct arrival a = parked_remove((struct parked *)k);
  arrival_gone(&a);
}

static bool parked_has_room(const struct arrival *a)
{
  const struct router_limits *limits = meet_limits(a->meet);
  char sentence[96];
  if (meet_parking(a->meet)->count >= limits->parked) {
    snprintf(sentence, sizeof sentence, "this router keeps %zu parked streams at once", limits->parked);
    arrival_refuse(a, RPC_RESOURCE_EXHAUSTED, sentence);
    return false;
  }
  if (callers_hold_more(meet_callers(a->meet), a->caller, CALLER_PARKED) != 0) {
    snprintf(sentence, sizeof sentence, "a caller may park %zu streams at once", limits->parked_per_caller);
    arrival_refuse(a, RPC_RESOURCE_EXHAUSTED, sentence);
    return false;
  }
  return true;
}

void parked_start(const struct arrival *a)
{
  struct parking *all = meet_parking(a->meet);
  struct arrival forward;
  if (!caller_joined(a->caller) && caller_holds(a->caller, CALLER_SERVICES) == 0) {
    arrival_refuse(a, RPC_FAILED_PRECONDITION, "only a member that has joined, or has a service, may park streams");
    return;
  }
  if (a->leg.kind == &leg_raw)
    caller_set_parks_raw(a->caller, true);
  if (router_dials_take_waiting(a->meet, caller_member(a->caller), a->leg.kind, &forward)) {
    arrival_pair(&forward, a);
    return;
  }
  if (!parked_has_room(a))
    return;
  struct parked *p = malloc(sizeof *p);
  if (p)
    *p = (struct parked){.keeper = {.said = on_said, .closed = on_closed}, .arrival = *a};
  if (!p || p->arrival.leg.kind->keep(&p->arrival.leg, &p->keeper) != 0) {
    free(p);
    callers_release(meet_callers(a->meet), a->caller, CALLER_PARKED);
    arrival_refuse(a, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  struct parked **list = caller_parked(a->caller, a->leg.kind->number);
  DL_PREPEND(*list, p);
  DL_APPEND2(all->oldest, p, all_prev, all_next);
  all->count++;
}

bool parked_take(struct caller *c, const struct leg_kind *kind, struct arrival *out)
{
  struct parked *newest = *caller_parked(c, kind->number);
  if (newest)
    *out = parked_remove(newest);
  return newest != NULL;
}

void parked_end(struct caller *c, enum rpc_status status, const char *text)
{
  struct arrival a;
  while (parked_take(c, &leg_call, &a) || parked_take(c, &leg_raw, &a))
    arrival_refuse(&a, status, text);
}

void parked_end_all(struct meet *in, enum rpc_status status, const char *text)
{
  struct parking *all = meet_parking(in);
  while (all->oldest) {
    struct arrival a = parked_remove(all->oldest); /* NOLINT(clang-analyzer-unix.Malloc) */
    arrival_refuse(&a, status, text);
  }
}
