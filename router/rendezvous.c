/* A forward's stream becomes a dial, which waits for the service's stream and not longer than dial_ms; what it sends
 * meanwhile is not read. A token that is shown with a wrong key stays good for whom it was given to. */
#include "rendezvous.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "callers.h"
#include "dial.h"
#include "header.h"
#include "reply.h"
#include "service.h"
#include "state.h"
#include "tokens.h"

struct pair {
  struct router *router;
  struct caller *callers[2];
};

/* A stream whose token is known, on its way to be a dial or half of a pair. */
struct arrival {
  struct router *router;
  struct leg leg;
  struct caller *caller;
};

static int stream_hold(struct router *r, struct caller **out, const struct header *h, struct rpc_call *c)
{
  if (r->stream_count >= r->limits.streams)
    return -ENFILE;
  int error = callers_hold(r->callers, out, &h->member, rpc_call_peer(c), CALLER_STREAMS);
  r->stream_count += error == 0;
  return error;
}

static void stream_release(struct router *r, struct caller *caller)
{
  r->stream_count--;
  callers_release(r->callers, caller, CALLER_STREAMS);
}

static void arrival_refuse(struct arrival *a, enum rpc_status status, const char *text)
{
  rpc_message_free(a->leg.first);
  stream_release(a->router, a->caller);
  reply_refuse(a->leg.call, status, "%s", text);
}

void rendezvous_token_lost(struct token *t, void *arg)
{
  struct router *r = arg;
  if (t->dial)
    t->dial->token = NULL;
  else
    callers_release(r->callers, t->owner, CALLER_TOKENS);
}

static void token_use(struct router *r, struct token *t)
{
  rendezvous_token_lost(t, r);
  tokens_spend(r->tokens, t);
}

/* ---- Waiting ---- */

static void dial_free(struct dial *d)
{
  if (d->late)
    rpc_timer_cancel(d->late);
  if (d->token)
    token_use(d->router, d->token);
  free(d);
}

void dial_fail(struct dial *d, enum rpc_status status, const char *text)
{
  struct arrival a = {.router = d->router, .leg = d->leg, .caller = d->caller};
  dial_free(d);
  arrival_refuse(&a, status, text);
}

static void dial_on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  (void)arg;
  rpc_message_free(m);
}

static void dial_on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  (void)arg;
}

static void dial_on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct dial *d = arg;
  struct router *r = d->router;
  service_forget(d->service, d);
  rpc_message_free(d->leg.first);
  stream_release(r, d->caller);
  dial_free(d);
}

static const struct rpc_call_events dial_events = {
    .message = dial_on_message, .sent = dial_on_sent, .closed = dial_on_closed};

static void dial_on_late(void *arg)
{
  struct dial *d = arg;
  char sentence[REGISTRY_NAME_MAX + 64];
  snprintf(sentence, sizeof sentence, "service \"%s\" did not answer", service_name(d->service));
  router_log(d->router, "%s", sentence);
  d->late = NULL;
  service_forget(d->service, d);
  dial_fail(d, RPC_DEADLINE_EXCEEDED, sentence);
}

static int dial_equip(struct dial *d)
{
  struct router *r = d->router;
  int error = tokens_make(r->tokens, router_now(), &d->token);
  if (error)
    return error;
  d->token->dial = d;
  d->token->owner = service_caller(d->service);
  return rpc_timer_start(&d->late, r->queue, r->limits.dial_ms, dial_on_late, d);
}

static void dial_start(struct arrival *a, struct service *s)
{
  struct router *r = a->router;
  struct dial *d = calloc(1, sizeof *d);
  if (!d) {
    arrival_refuse(a, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  *d = (struct dial){.router = r, .leg = a->leg, .caller = a->caller, .service = s};
  int error = dial_equip(d);
  if (error == -ENOSPC) {
    dial_fail(d, RPC_RESOURCE_EXHAUSTED, "too many connections are being set up");
    return;
  }
  if (error) {
    dial_fail(d, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  rpc_call_set_arg(d->leg.call, &dial_events, d);
  if (service_tell(s, d) != 0)
    dial_fail(d, RPC_RESOURCE_EXHAUSTED, "too many connections wait for the service to be told of them");
}

/* ---- Arriving ---- */

static void on_over(void *arg)
{
  struct pair *p = arg;
  struct router *r = p->router;
  stream_release(r, p->callers[0]);
  stream_release(r, p->callers[1]);
  free(p);
  router_bridge_over(r);
}

static void pair_start(struct arrival *service_side, struct dial *d)
{
  struct router *r = d->router;
  struct pair *p = calloc(1, sizeof *p);
  const struct leg legs[2] = {d->leg, service_side->leg};
  service_forget(d->service, d);
  if (!p || bridge_start(r->queue, &r->limits, legs, on_over, p) != 0) {
    free(p);
    dial_fail(d, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    arrival_refuse(service_side, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  *p = (struct pair){.router = r, .callers = {d->caller, service_side->caller}};
  r->bridge_count++;
  dial_free(d);
}

static void token_found(struct arrival *a, struct token *t)
{
  struct router *r = a->router;
  if (t->dial) {
    pair_start(a, t->dial);
    return;
  }
  struct service *s = registry_find(r->registry, t->service);
  char sentence[REGISTRY_NAME_MAX + 64];
  snprintf(sentence, sizeof sentence, "service \"%s\" is gone", t->service);
  token_use(r, t);
  if (s) {
    dial_start(a, s);
  } else {
    router_log(r, "a connection came too late: %s", sentence);
    arrival_refuse(a, RPC_NOT_FOUND, sentence);
  }
}

/* Takes `first`. */
static void stream_arrive(struct router *r, struct rpc_call *c, bool original, const struct header *h,
                          struct rpc_message *first)
{
  struct arrival a = {.router = r, .leg = {.call = c, .original = original, .first = first}};
  int error = stream_hold(r, &a.caller, h, c);
  if (error) {
    rpc_message_free(first);
    if (error == -EACCES)
      reply_refuse(c, RPC_PERMISSION_DENIED, "that is not the member's key");
    else if (error == -ENFILE)
      reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "this router carries %zu streams at once", r->limits.streams);
    else if (error == -ENOSPC)
      reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may have %zu streams at once", r->limits.streams_per_caller);
    else
      reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  struct token *t = tokens_find(r->tokens, router_now(), h->token);
  if (!t) {
    arrival_refuse(&a, RPC_NOT_FOUND, "unknown or expired token");
  } else if (!caller_matches(t->owner, &h->member)) {
    router_log(r, "%s showed a token that was given to another member", rpc_call_peer(c));
    arrival_refuse(&a, RPC_PERMISSION_DENIED, "the token was given to another member");
  } else {
    token_found(&a, t);
  }
}

void rendezvous_connect(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  struct header h;
  const char *why;
  enum rpc_status status = header_read(m, &h, &why);
  rpc_message_free(m);
  if (status != RPC_OK)
    opening_refuse(o, status, why);
  else
    stream_arrive(r, opening_take(o), false, &h, NULL);
}

void rendezvous_proxy(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  struct token_stream *t = opening_token(o);
  struct header h = {0};
  struct rpc_message *rest = NULL;
  bool done = false;
  const char *why = "the router is short of memory";
  enum rpc_status status = t ? header_feed(m, t, &done, &rest, &why) : RPC_RESOURCE_EXHAUSTED;
  rpc_message_free(m);
  if (status != RPC_OK) {
    opening_refuse(o, status, why);
  } else if (!done) {
    opening_more(o);
  } else {
    snprintf(h.token, sizeof h.token, "%s", t->token);
    stream_arrive(r, opening_take(o), true, &h, rest);
  }
}

/* ---- Asking ---- */

static void forward_answer(struct router *r, struct rpc_call *c, const char *name, const struct member *m)
{
  struct caller *caller;
  tokens_expire(r->tokens, router_now());
  int error = callers_hold(r->callers, &caller, m, rpc_call_peer(c), CALLER_TOKENS);
  if (error == -EACCES) {
    reply_refuse(c, RPC_PERMISSION_DENIED, "that is not the member's key");
    return;
  }
  if (error == -ENOSPC) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may have %zu unused tokens at once", r->limits.tokens_per_caller);
    return;
  }
  struct token *t = NULL;
  if (!error) {
    error = tokens_make(r->tokens, router_now(), &t);
    if (error)
      callers_release(r->callers, caller, CALLER_TOKENS);
  }
  if (error) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "%s",
                 error == -ENOSPC ? "too many connections are being set up" : "the router is short of memory");
    return;
  }
  t->owner = caller;
  snprintf(t->service, sizeof t->service, "%s", name);
  Mindmeld__ForwardToServiceResponse answer = MINDMELD__FORWARD_TO_SERVICE_RESPONSE__INIT;
  answer.token = t->text;
  reply_answer(c, rpc_message_pack(&answer.base));
}

void rendezvous_forward(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  Mindmeld__ForwardToServiceRequest *request =
      (Mindmeld__ForwardToServiceRequest *)rpc_message_unpack(m, &mindmeld__forward_to_service_request__descriptor);
  rpc_message_free(m);
  struct member member;
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "that is not a ForwardToServiceRequest");
    return;
  }
  if (!member_read(&member, request->member.data, request->member.len, request->member_key.data,
                   request->member_key.len))
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a member has 16 bytes, and its key 32");
  else if (!registry_find(r->registry, request->name))
    reply_refuse(opening_take(o), RPC_NOT_FOUND, "service \"%s\" does not exist",
                 registry_name_valid(request->name) ? request->name : "?");
  else
    forward_answer(r, opening_take(o), request->name, &member);
  mindmeld__forward_to_service_request__free_unpacked(request, NULL);
}
