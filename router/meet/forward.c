/* ProxyConnection does not say who calls, so that such a token is good for whoever shows it; the connection that asked
 * for it may have so many unused. */
#include "forward.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdio.h>

#include "meet.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "router/door/reply.h"
#include "router/names/names.h"
#include "router/names/registry.h"
#include "tokens.h"

static void forward_answer(struct meet *in, struct rpc_call *c, const char *name)
{
  struct tokens *tokens = meet_tokens(in);
  static const struct member nobody = {0};
  struct caller *caller;
  tokens_expire(tokens, door_now());
  int error = callers_hold(meet_callers(in), &caller, &nobody, rpc_call_peer(c), CALLER_TOKENS);
  if (error == -ENOSPC) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may have %zu unused tokens at once",
                 meet_limits(in)->tokens_per_caller);
    return;
  }
  struct token *t = NULL;
  if (!error) {
    error = tokens_make(tokens, door_now(), &t);
    if (error)
      callers_release(meet_callers(in), caller, CALLER_TOKENS);
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
  reply_answer(meet_door(in), c, rpc_message_pack(&answer.base));
}

void router_forward_ask(struct opening *o, struct rpc_message *m)
{
  struct meet *in = opening_room(o);
  Mindmeld__ForwardToServiceRequest *request =
      (Mindmeld__ForwardToServiceRequest *)rpc_message_unpack(m, &mindmeld__forward_to_service_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a ForwardToServiceRequest");
    return;
  }
  if (registry_find(router_names_registry(meet_names(in)), request->name))
    forward_answer(in, opening_take(o), request->name);
  else
    reply_refuse(opening_take(o), RPC_NOT_FOUND, "service \"%s\" does not exist",
                 registry_name_valid(request->name) ? request->name : "?");
  mindmeld__forward_to_service_request__free_unpacked(request, NULL);
}
