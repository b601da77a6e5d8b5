/* Counting streams, and making pairs of them. */
#include "arrival.h"

#include <errno.h>
#include <stdlib.h>

#include "router/door/callers.h"
#include "router/door/reply.h"
#include "router/door/state.h"

struct pair {
  struct router *router;
  struct caller *callers[2];
};

static void stream_release(struct router *r, struct caller *caller)
{
  r->stream_count--;
  callers_release(r->callers, caller, CALLER_STREAMS);
}

bool arrival_start(struct arrival *out, struct router *r, const struct leg *leg, const struct member *m)
{
  *out = (struct arrival){.router = r, .leg = *leg};
  struct rpc_call *c = leg->call;
  int error = -ENFILE;
  if (r->stream_count < r->limits.streams)
    error = callers_hold(r->callers, &out->caller, m, rpc_call_peer(c), CALLER_STREAMS);
  if (!error) {
    r->stream_count++;
    return true;
  }
  rpc_message_free(leg->first);
  if (error == -ENFILE)
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "this router carries %zu streams at once", r->limits.streams);
  else if (error == -ENOSPC)
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may have %zu streams at once", r->limits.streams_per_caller);
  else
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  return false;
}

void arrival_gone(const struct arrival *a)
{
  rpc_message_free(a->leg.first);
  stream_release(a->router, a->caller);
}

void arrival_refuse(const struct arrival *a, enum rpc_status status, const char *text)
{
  arrival_gone(a);
  reply_refuse(a->leg.call, status, "%s", text);
}

static void on_over(void *arg)
{
  struct pair *p = arg;
  struct router *r = p->router;
  stream_release(r, p->callers[0]);
  stream_release(r, p->callers[1]);
  free(p);
  router_bridge_over(r);
}

void arrival_pair(const struct arrival *forward, const struct arrival *service)
{
  struct router *r = forward->router;
  struct leg legs[2] = {forward->leg, service->leg};
  /* An original has no use for a header. */
  if (service->leg.original && !forward->leg.original)
    legs[0].first = NULL;
  struct pair *p = malloc(sizeof *p);
  if (!p || bridge_start(r->queue, &r->limits, legs, on_over, p) != 0) {
    free(p);
    arrival_refuse(forward, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    arrival_refuse(service, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  if (!legs[0].first)
    rpc_message_free(forward->leg.first);
  *p = (struct pair){.router = r, .callers = {forward->caller, service->caller}};
  r->bridge_count++;
}
