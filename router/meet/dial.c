/* While it waits nothing is received: what the forward sends early stays in the transport, within gRPC's flow control.
 *
 * Of a connection of the first version no header can be handed on, so its partner is always one that was told of it;
 * nor does it wait in the waiting room, since its forward expects to be answered at once.
 */
#include "dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "parked.h"
#include "router/door/callers.h"
#include "router/door/state.h"
#include "router/names/join.h"
#include "router/names/lost.h"
#include "router/names/service.h"
#include "tokens.h"
#include "waiting.h"

enum { SENTENCE_MAX = REGISTRY_NAME_MAX + 64 };

static const char over_for_good[] = "that process is over for good";

/* ---- The end of waiting ---- */

static void dial_leave(struct dial *d)
{
  if (d->service)
    router_service_forget(d->service, d);
  d->service = NULL;
  if (!d->queue)
    return;
  struct router *r = d->arrival.router;
  waiting_remove(r->waiting, d);
  callers_release(r->callers, d->arrival.caller, CALLER_WAITING); /* it still holds a stream */
}

static void dial_free(struct dial *d)
{
  if (d->late)
    rpc_timer_cancel(d->late);
  if (d->token)
    tokens_spend(d->arrival.router->tokens, d->token);
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
  struct arrival a = d->arrival;
  dial_free(d);
  arrival_refuse(&a, status, text);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct arrival a = router_dial_take(arg);
  arrival_gone(&a);
}

static const struct rpc_call_events events = {.closed = on_closed};

static void dial_fail_absent(struct dial *d)
{
  const struct goal *g = &d->goal;
  char sentence[SENTENCE_MAX] = "the member is not here";
  if (g->kind == GOAL_SERVICE)
    snprintf(sentence, sizeof sentence, "service \"%s\" %s", registry_name_valid(g->name) ? g->name : "?",
             registry_left(d->arrival.router->registry, g->name) ? "is gone" : "does not exist");
  router_dial_fail(d, RPC_NOT_FOUND, sentence);
}

static void on_late(void *arg)
{
  struct dial *d = arg;
  char sentence[SENTENCE_MAX];
  d->late = NULL;
  if (!d->service) {
    dial_leave(d);
    dial_fail_absent(d);
    return;
  }
  snprintf(sentence, sizeof sentence, "service \"%s\" did not answer", router_service_name(d->service));
  router_report(d->arrival.router, "%s", sentence);
  dial_leave(d);
  router_dial_fail(d, RPC_DEADLINE_EXCEEDED, sentence);
}

/* ---- Where it waits ---- */

/* What went lately may come again, unless its member has been there ever since: then it was withdrawn. */
static bool went_lately(const struct router *r, const char *name, uint64_t now)
{
  const struct registry_leave *left = registry_left(r->registry, name);
  return left && now - left->at < r->limits.gone_ms && !join_has_stayed(r, left->member, left->at);
}

/* All may come to a router that has just begun. */
static bool may_wait(const struct arrival *a, const struct goal *g)
{
  const struct router *r = a->router;
  uint64_t now = router_now();
  if (a->leg.original)
    return false;
  if (g->kind == GOAL_MEMBER)
    return true;
  if (now - r->started < r->limits.young_ms)
    return registry_name_valid(g->name);
  return went_lately(r, g->name, now);
}

static void room_enter(struct dial *d)
{
  struct router *r = d->arrival.router;
  char sentence[SENTENCE_MAX];
  if (d->token)
    tokens_spend(r->tokens, d->token);
  d->token = NULL;
  if (callers_hold_more(r->callers, d->arrival.caller, CALLER_WAITING) != 0) {
    snprintf(sentence, sizeof sentence, "a caller may wait for others with %zu streams at once",
             r->limits.waiting_per_caller);
    router_dial_fail(d, RPC_RESOURCE_EXHAUSTED, sentence);
    return;
  }
  int error = waiting_add(r->waiting, d);
  if (!error)
    return;
  callers_release(r->callers, d->arrival.caller, CALLER_WAITING);
  router_dial_fail(d, RPC_RESOURCE_EXHAUSTED,
                   error == -ENOSPC ? "too many streams wait for members that are not here"
                                    : "the router is short of memory");
}

static void service_enter(struct dial *d, struct service *s)
{
  struct router *r = d->arrival.router;
  int error = d->token ? 0 : tokens_make(r->tokens, router_now(), &d->token);
  if (error) {
    router_dial_fail(d, RPC_RESOURCE_EXHAUSTED,
                     error == -ENOSPC ? "too many connections are being set up" : "the router is short of memory");
    return;
  }
  d->token->dial = d;
  d->token->owner = router_service_caller(s);
  d->service = s;
  if (router_service_tell(s, d) != 0)
    router_dial_fail(d, RPC_RESOURCE_EXHAUSTED, "too many connections wait for the service to be told of them");
}

/* Who can take it now. */
struct takers {
  struct service *service; /* may be told of it; NULL: none */
  struct arrival parked;   /* stands ready, and was taken */
  bool has_parked;
};

static struct takers takers_find(const struct arrival *a, const struct goal *g)
{
  const struct router *r = a->router;
  struct takers t = {.service = NULL};
  struct caller *c;
  if (g->kind == GOAL_SERVICE) {
    t.service = registry_find(r->registry, g->name);
    c = t.service ? router_service_caller(t.service) : NULL;
  } else {
    c = callers_find(r->callers, g->member);
    t.service = c ? router_service_latest(c) : NULL;
  }
  t.has_parked = c && !a->leg.original && parked_take(c, &t.parked);
  return t;
}

static void dial_settle(struct dial *d, struct service *s)
{
  const struct goal *g = &d->goal;
  if (s)
    service_enter(d, s);
  else if (g->kind == GOAL_MEMBER && lost_has(d->arrival.router->lost, g->member))
    router_dial_fail(d, RPC_FAILED_PRECONDITION, over_for_good);
  else if (may_wait(&d->arrival, g))
    room_enter(d);
  else
    dial_fail_absent(d);
}

void router_dial_start(const struct arrival *a, const struct goal *g)
{
  struct router *r = a->router;
  struct takers t = takers_find(a, g);
  if (t.has_parked) {
    arrival_pair(a, &t.parked);
    return;
  }
  struct dial *d = calloc(1, sizeof *d);
  if (!d || rpc_timer_start(&d->late, r->queue, r->limits.dial_ms, on_late, d) != 0) {
    free(d);
    arrival_refuse(a, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  d->arrival = *a;
  d->goal = *g;
  rpc_call_set_arg(a->leg.call, &events, d);
  dial_settle(d, t.service);
}

void router_dial_move(struct dial *d)
{
  d->service = NULL;
  struct takers t = takers_find(&d->arrival, &d->goal);
  if (t.has_parked) {
    struct arrival a = router_dial_take(d);
    arrival_pair(&a, &t.parked);
  } else {
    dial_settle(d, t.service);
  }
}

/* ---- Those in the waiting room ---- */

static void dials_move(struct router *r, const struct goal *g)
{
  struct dial *d;
  while ((d = waiting_first(r->waiting, g)) != NULL) {
    dial_leave(d);
    router_dial_move(d);
  }
}

void router_dials_service_came(struct router *r, const struct service *s)
{
  const struct goal name = goal_service(router_service_name(s));
  const uint8_t *member = caller_member(router_service_caller(s));
  dials_move(r, &name);
  if (member) {
    const struct goal process = goal_member(member);
    dials_move(r, &process);
  }
}

bool router_dials_take_waiting(struct router *r, const uint8_t member[HEADER_MEMBER_SIZE], struct arrival *out)
{
  const struct goal process = goal_member(member);
  struct dial *oldest = waiting_first(r->waiting, &process);
  if (oldest)
    *out = router_dial_take(oldest);
  return oldest != NULL;
}

void router_dials_member_lost(struct router *r, const uint8_t member[HEADER_MEMBER_SIZE])
{
  struct arrival a;
  while (router_dials_take_waiting(r, member, &a))
    arrival_refuse(&a, RPC_FAILED_PRECONDITION, over_for_good);
}

void router_dials_refuse_waiting(struct router *r, enum rpc_status status, const char *text)
{
  struct dial *d;
  while ((d = waiting_any(r->waiting)) != NULL) {
    struct arrival a = router_dial_take(d);
    arrival_refuse(&a, status, text);
  }
}
