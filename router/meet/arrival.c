/* Counting streams, and making pairs of them. */
#include "arrival.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "meet.h"
#include "proto/rpc/rpc.h"
#include "router/door/callers.h"
#include "router/door/limits.h"

struct arrivals {
  size_t streams, pairs;
  void (*over)(void *arg);
  void *arg;
};

struct pair {
  struct meet *meet;
  struct caller *callers[2];
};

struct arrivals *arrivals_open(void (*over)(void *arg), void *arg)
{
  struct arrivals *as = calloc(1, sizeof *as);
  if (!as)
    return NULL;
  as->over = over;
  as->arg = arg;
  return as;
}

void arrivals_close(struct arrivals *as)
{
  free(as);
}

size_t arrivals_paired(const struct arrivals *as)
{
  return as->pairs;
}

static void stream_release(struct meet *in, struct caller *caller)
{
  meet_arrivals(in)->streams--;
  callers_release(meet_callers(in), caller, CALLER_STREAMS);
}

bool arrival_start(struct arrival *out, struct meet *in, const struct leg *leg, const struct member *m)
{
  const struct router_limits *limits = meet_limits(in);
  struct arrivals *as = meet_arrivals(in);
  *out = (struct arrival){.meet = in, .leg = *leg};
  char room[LEG_PEER_MAX], sentence[96] = "the router is short of memory";
  int error = -ENFILE;
  if (as->streams < limits->streams)
    error = callers_hold(meet_callers(in), &out->caller, m, m->given ? "" : leg->kind->peer(leg, room), CALLER_STREAMS);
  if (!error) {
    as->streams++;
    return true;
  }
  rpc_message_free(leg->first);
  if (error == -ENFILE)
    snprintf(sentence, sizeof sentence, "this router carries %zu streams at once", limits->streams);
  else if (error == -ENOSPC)
    snprintf(sentence, sizeof sentence, "a caller may have %zu streams at once", limits->streams_per_caller);
  leg->kind->refuse(leg, RPC_RESOURCE_EXHAUSTED, sentence);
  return false;
}

void arrival_gone(const struct arrival *a)
{
  rpc_message_free(a->leg.first);
  stream_release(a->meet, a->caller);
}

void arrival_refuse(const struct arrival *a, enum rpc_status status, const char *text)
{
  arrival_gone(a);
  a->leg.kind->refuse(&a->leg, status, text);
}

static void on_over(void *arg)
{
  struct pair *p = arg;
  struct meet *in = p->meet;
  struct arrivals *as = meet_arrivals(in);
  stream_release(in, p->callers[0]);
  stream_release(in, p->callers[1]);
  free(p);
  as->pairs--;
  as->over(as->arg);
}

void arrival_pair(const struct arrival *forward, const struct arrival *service)
{
  struct meet *in = forward->meet;
  struct leg legs[2] = {forward->leg, service->leg};
  /* An original has no use for a header. */
  if (service->leg.original && !forward->leg.original)
    legs[0].first = NULL;
  struct pair *p = malloc(sizeof *p);
  if (!p || forward->leg.kind->join(in, legs, on_over, p) != 0) {
    free(p);
    arrival_refuse(forward, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    arrival_refuse(service, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  if (!legs[0].first)
    rpc_message_free(forward->leg.first);
  *p = (struct pair){.meet = in, .callers = {forward->caller, service->caller}};
  meet_arrivals(in)->pairs++;
}
