/* While it waits nothing is received: what the forward sends early stays in the transport, within gRPC's flow control.
 *
 * Of a connection of the first version no header can be handed on, so its partner is always one that was told of it;
 * nor does it wait in the waiting room, since its forward expects to be answered at once.
 */
#include "dial.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "meet.h"
#include "parked.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "router/names/join.h"
#include "router/names/lost.h"
#include "router/names/names.h"
#include "router/names/registry.h"
#include "router/names/service.h"
#include "tokens.h"
#include "waiting.h"

enum { SENTENCE_MAX = REGISTRY_NAME_MAX + 64, HOPE_MS = 1000 };

static const char over_for_good[] = "that process is over for good";
static const char use_grpc[] = "not by raw streams: use gRPC";

struct dial *router_dial_of(struct pending *p)
{
  return (struct dial *)((char *)p - offsetof(struct dial, pending));
}

void router_dial_token_lost(struct dial *d)
{
  d->token = NULL;
  d->pending.token = NULL;
}

/* ---- The end of waiting ---- */

static void dial_leave(struct dial *d)
{
  if (d->service)
    router_service_forget(d->service, &d->pending);
  d->service = NULL;
  if (!d->queue)
    return;
  struct meet *in = d->arrival.meet;
  waiting_remove(meet_waiting(in), d);
  callers_release(meet_callers(in), d->arrival.caller, CALLER_WAITING); /* it still holds a stream */
}

static void dial_free(struct dial *d)
{
  if (d->late)
    rpc_timer_cancel(d->late);
  if (d->token)
    tokens_spend(meet_tokens(d->arrival.meet), d->token);
  free(d);
}

struct arrival router_dial_take(struct dial *d)
{
  struct arrival a = d->arrival;
  dial_leave(d);
  dial_free(d);
  return a;
}

void router_dial_fail(struct dial *d, enum rpc_status status, const char *text)
{
  d->service = NULL;
  struct arrival a = router_dial_take(d);
  arrival_refuse(&a, status, text);
}

static void on_closed(struct leg_keeper *k)
{
  struct arrival a = router_dial_take((struct dial *)k);
  arrival_gone(&a);
}

static void dial_fail_absent(struct dial *d)
{
  const struct goal *g = &d->goal;
  char sentence[SENTENCE_MAX] = "the member is not here";
  if (g->kind == GOAL_SERVICE)
    snprintf(sentence, sizeof sentence, "service \"%s\" %s", registry_name_valid(g->name) ? g->name : "?",
             registry_left(router_names_registry(meet_names(d->arrival.meet)), g->name) ? "is gone" : "does not exist");
  router_dial_fail(d, RPC_NOT_FOUND, sentence);
}

static void on_late(void *arg);

/* Instead of what was left. */
static void dial_set_patience(struct dial *d, uint64_t ms)
{
  if (d->late)
    rpc_timer_cancel(d->late);
  d->late = NULL;
  /* Without memory it waits until something else becomes of it. */
  rpc_timer_start(&d->late, door_queue(meet_door(d->arrival.meet)), ms, on_late, d);
}

/* It has parked some by now, but others stood before; or none. */
static void dial_hope_ends(struct dial *d)
{
  const struct meet *in = d->arrival.meet;
  const struct caller *c =
      d->service ? router_service_caller(d->service) : callers_find(meet_callers(in), d->goal.member);
  d->hopes = false;
  if (c && caller_parks_raw(c)) {
    dial_set_patience(d, meet_limits(in)->dial_ms);
    return;
  }
  dial_leave(d);
  router_dial_fail(d, RPC_UNIMPLEMENTED, use_grpc);
}

static void on_late(void *arg)
{
  struct dial *d = arg;
  char sentence[SENTENCE_MAX];
  d->late = NULL;
  if (d->hopes) {
    dial_hope_ends(d);
    return;
  }
  if (!d->service) {
    dial_leave(d);
    dial_fail_absent(d);
    return;
  }
  snprintf(sentence, sizeof sentence, "service \"%s\" did not answer", router_service_name(d->service));
  door_report(meet_door(d->arrival.meet), "%s", sentence);
  dial_leave(d);
  router_dial_fail(d, RPC_DEADLINE_EXCEEDED, sentence);
}

/* ---- Where it waits ---- */

/* What went lately may come again, unless its member has been there ever since: then it was withdrawn. */
static bool went_lately(const struct meet *in, const char *name, uint64_t now)
{
  const struct registry_leave *left = registry_left(router_names_registry(meet_names(in)), name);
  return left && now - left->at < meet_limits(in)->gone_ms && !join_has_stayed(meet_names(in), left->member, left->at);
}

/* All may come to a router that has just begun. */
static bool may_wait(const struct arrival *a, const struct goal *g)
{
  const struct meet *in = a->meet;
  uint64_t now = door_now();
  if (a->leg.original)
    return false;
  if (g->kind == GOAL_MEMBER)
    return true;
  if (door_age(meet_door(in)) < meet_limits(in)->young_ms)
    return registry_name_valid(g->name);
  return went_lately(in, g->name, now);
}

/* False: it is refused. */
static bool room_enter(struct dial *d, const struct goal *g)
{
  struct meet *in = d->arrival.meet;
  char sentence[SENTENCE_MAX];
  if (d->token)
    tokens_spend(meet_tokens(in), d->token);
  d->token = NULL;
  if (callers_hold_more(meet_callers(in), d->arrival.caller, CALLER_WAITING) != 0) {
    snprintf(sentence, sizeof sentence, "a caller may wait for others with %zu streams at once",
             meet_limits(in)->waiting_per_caller);
    router_dial_fail(d, RPC_RESOURCE_EXHAUSTED, sentence);
    return false;
  }
  int error = waiting_add(meet_waiting(in), d, g);
  if (!error)
    return true;
  callers_release(meet_callers(in), d->arrival.caller, CALLER_WAITING);
  router_dial_fail(d, RPC_RESOURCE_EXHAUSTED,
                   error == -ENOSPC ? "too many streams wait for members that are not here"
                                    : "the router is short of memory");
  return false;
}

static void service_enter(struct dial *d, struct service *s)
{
  struct meet *in = d->arrival.meet;
  int error = d->token ? 0 : tokens_make(meet_tokens(in), door_now(), &d->token);
  if (error) {
    router_dial_fail(d, RPC_RESOURCE_EXHAUSTED,
                     error == -ENOSPC ? "too many connections are being set up" : "the router is short of memory");
    return;
  }
  d->token->dial = d;
  d->token->owner = router_service_caller(s);
  d->service = s;
  d->pending.token = d->token->text;
  if (router_service_tell(s, &d->pending) != 0)
    router_dial_fail(d, RPC_RESOURCE_EXHAUSTED, "too many connections wait for the service to be told of them");
}

/* For a raw stream of this process. */
static void parked_await(struct dial *d, struct caller *c, struct service *s)
{
  const struct meet *in = d->arrival.meet;
  const uint8_t *member = caller_member(c);
  uint64_t since = caller_joined(c) || !s ? join_since(c) : router_service_since(s);
  bool young = member && door_now() - since < HOPE_MS;
  if (!member || (!caller_parks_raw(c) && !young)) {
    router_dial_fail(d, RPC_UNIMPLEMENTED, use_grpc);
    return;
  }
  d->hopes = !caller_parks_raw(c);
  dial_set_patience(d, d->hopes ? HOPE_MS : meet_limits(in)->dial_ms);
  const struct goal process = goal_member(member, d->arrival.leg.kind);
  if (!room_enter(d, &process) || !s)
    return;
  d->service = s;
  router_service_hold(s, &d->pending);
}

/* Who can take it now. */
struct takers {
  struct caller *caller;   /* the process that is here; NULL: none */
  struct service *service; /* may be told of it; NULL: none */
  struct arrival parked;   /* stands ready, and was taken */
  bool has_parked;
};

static struct takers takers_find(const struct arrival *a, const struct goal *g)
{
  const struct meet *in = a->meet;
  struct takers t = {.service = NULL};
  struct caller *c;
  if (g->kind == GOAL_SERVICE) {
    t.service = registry_find(router_names_registry(meet_names(in)), g->name);
    c = t.service ? router_service_caller(t.service) : NULL;
  } else {
    c = callers_find(meet_callers(in), g->member);
    t.service = c ? router_service_latest(c) : NULL;
  }
  t.caller = c && (t.service || caller_joined(c)) ? c : NULL;
  t.has_parked = c && !a->leg.original && parked_take(c, a->leg.kind, &t.parked);
  return t;
}

static void dial_settle(struct dial *d, const struct takers *t)
{
  const struct goal *g = &d->goal;
  if (d->arrival.leg.kind == &leg_raw && t->caller)
    parked_await(d, t->caller, t->service);
  else if (t->service)
    service_enter(d, t->service);
  else if (g->kind == GOAL_MEMBER && lost_has(router_names_lost(meet_names(d->arrival.meet)), g->member))
    router_dial_fail(d, RPC_FAILED_PRECONDITION, over_for_good);
  else if (may_wait(&d->arrival, g))
    room_enter(d, g);
  else
    dial_fail_absent(d);
}

void router_dial_start(const struct arrival *a, const struct goal *g)
{
  struct meet *in = a->meet;
  struct takers t = takers_find(a, g);
  if (t.has_parked) {
    arrival_pair(a, &t.parked);
    return;
  }
  struct dial *d = calloc(1, sizeof *d);
  if (!d || rpc_timer_start(&d->late, door_queue(meet_door(in)), meet_limits(in)->dial_ms, on_late, d) != 0) {
    free(d);
    arrival_refuse(a, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  d->keeper.closed = on_closed;
  d->arrival = *a;
  d->goal = *g;
  d->arrival.leg.kind->keep(&d->arrival.leg, &d->keeper);
  dial_settle(d, &t);
}

void router_dial_move(struct dial *d)
{
  d->service = NULL;
  d->hopes = false;
  dial_leave(d);
  struct takers t = takers_find(&d->arrival, &d->goal);
  if (t.has_parked) {
    struct arrival a = router_dial_take(d);
    arrival_pair(&a, &t.parked);
  } else {
    dial_settle(d, &t);
  }
}

/* ---- Those in the waiting room ---- */

/* Those that are there now: who moves may come to stand there again. */
static void dials_move(struct meet *in, const struct goal *g)
{
  struct dial *d;
  for (size_t n = waiting_count(meet_waiting(in), g); n > 0 && (d = waiting_first(meet_waiting(in), g)) != NULL; n--) {
    dial_leave(d);
    router_dial_move(d);
  }
}

void router_dials_service_came(struct meet *in, const struct service *s)
{
  static const struct leg_kind *const kinds[] = {&leg_call, &leg_raw};
  const uint8_t *member = caller_member(router_service_caller(s));
  for (size_t i = 0; i < LEG_KINDS; i++) {
    const struct goal name = goal_service(router_service_name(s), kinds[i]);
    dials_move(in, &name);
    if (member) {
      const struct goal process = goal_member(member, kinds[i]);
      dials_move(in, &process);
    }
  }
}

bool router_dials_take_waiting(struct meet *in, const uint8_t member[HEADER_MEMBER_SIZE], const struct leg_kind *kind,
                               struct arrival *out)
{
  const struct goal process = goal_member(member, kind);
  struct dial *oldest = waiting_first(meet_waiting(in), &process);
  if (oldest)
    *out = router_dial_take(oldest);
  return oldest != NULL;
}

void router_dials_member_lost(struct meet *in, const uint8_t member[HEADER_MEMBER_SIZE])
{
  struct arrival a;
  while (router_dials_take_waiting(in, member, &leg_call, &a) || router_dials_take_waiting(in, member, &leg_raw, &a))
    arrival_refuse(&a, RPC_FAILED_PRECONDITION, over_for_good);
}

void router_dials_refuse_waiting(struct meet *in, enum rpc_status status, const char *text)
{
  struct dial *d;
  while ((d = waiting_any(meet_waiting(in))) != NULL) {
    struct arrival a = router_dial_take(d);
    arrival_refuse(&a, status, text);
  }
}
