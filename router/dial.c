/* While it waits nothing is received: what the forward sends early stays in the transport, within gRPC's flow control.
 */
#include "dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "service.h"
#include "state.h"
#include "tokens.h"

static void dial_free(struct dial *d)
{
  if (d->late)
    rpc_timer_cancel(d->late);
  if (d->token)
    tokens_spend(d->arrival.router->tokens, d->token);
  free(d);
}

struct arrival dial_take(struct dial *d)
{
  struct arrival a = d->arrival;
  service_forget(d->service, d);
  dial_free(d);
  return a;
}

void dial_fail(struct dial *d, enum rpc_status status, const char *text)
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
  struct arrival a = dial_take(arg);
  arrival_gone(&a);
}

static const struct rpc_call_events events = {.closed = on_closed};

static void on_late(void *arg)
{
  struct dial *d = arg;
  char sentence[REGISTRY_NAME_MAX + 64];
  snprintf(sentence, sizeof sentence, "service \"%s\" did not answer", service_name(d->service));
  router_log(d->arrival.router, "%s", sentence);
  d->late = NULL;
  service_forget(d->service, d);
  dial_fail(d, RPC_DEADLINE_EXCEEDED, sentence);
}

static int dial_equip(struct dial *d)
{
  struct router *r = d->arrival.router;
  int error = tokens_make(r->tokens, router_now(), &d->token);
  if (error)
    return error;
  d->token->dial = d;
  d->token->owner = service_caller(d->service);
  return rpc_timer_start(&d->late, r->queue, r->limits.dial_ms, on_late, d);
}

void dial_start(const struct arrival *a, struct service *s)
{
  struct dial *d = calloc(1, sizeof *d);
  if (!d) {
    arrival_refuse(a, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  d->arrival = *a;
  d->service = s;
  int error = dial_equip(d);
  if (error == -ENOSPC) {
    dial_fail(d, RPC_RESOURCE_EXHAUSTED, "too many connections are being set up");
    return;
  }
  if (error) {
    dial_fail(d, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  rpc_call_set_arg(a->leg.call, &events, d);
  if (service_tell(s, d) != 0)
    dial_fail(d, RPC_RESOURCE_EXHAUSTED, "too many connections wait for the service to be told of them");
}
