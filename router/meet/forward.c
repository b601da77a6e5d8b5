/* ProxyConnection does not say who calls, so that such a token is good for whoever shows it; the connection that asked
 * for it may have so many unused. */
#include "forward.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdio.h>

#include "router/door/callers.h"
#include "router/door/reply.h"
#include "router/door/state.h"
#include "router/names/registry.h"
#include "tokens.h"

static void forward_answer(struct router *r, struct rpc_call *c, const char *name)
{
  static const struct member nobody = {0};
  struct caller *caller;
  tokens_expire(r->tokens, router_now());
  int error = callers_hold(r->callers, &caller, &nobody, rpc_call_peer(c), CALLER_TOKENS);
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
  reply_answer(r, c, rpc_message_pack(&answer.base));
}

void router_forward_ask(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  Mindmeld__ForwardToServiceRequest *request =
      (Mindmeld__ForwardToServiceRequest *)rpc_message_unpack(m, &mindmeld__forward_to_service_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a ForwardToServiceRequest");
    return;
  }
  if (registry_find(r->registry, request->name))
    forward_answer(r, opening_take(o), request->name);
  else
    reply_refuse(opening_take(o), RPC_NOT_FOUND, "service \"%s\" does not exist",
                 registry_name_valid(request->name) ? request->name : "?");
  mindmeld__forward_to_service_request__free_unpacked(request, NULL);
}
