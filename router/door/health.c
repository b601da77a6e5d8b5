/* A call is a check until its request has said more. A check that does not go on makes room for those that come later;
 * a watch stays, so that there are few of one host, and not many in all.
 */
#include "health.h"

#include <errno.h>
#include <health.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "door.h"
#include "proto/rpc/peer_name.h"
#include "proto/rpc/rpc.h"
#include "reply.h"

#define PREFIX "/grpc.health.v1.Health/"

enum { UNTOLD = -1 };

struct health_call {
  struct health *all;
  struct rpc_call *call;
  bool watches; /* asked by Watch */
  bool settled; /* a watch whose request was understood */
  bool known;   /* it asks for something that is here */
  bool sending;
  bool ended; /* was given its status */
  int told;   /* the latest state that was sent */
  struct health_call *prev, *next;
};

struct health {
  struct door *door;
  struct health_call *checks, *watches; /* oldest first */
  size_t check_count, watch_count;
};

static const struct rpc_call_events forgotten = {.closed = NULL};

static int state_of(const struct health_call *h)
{
  if (!h->known)
    return GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;
  return door_phase(h->all->door) != DOOR_SERVING ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
                                                  : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
}

/* The router as a whole, or one of what it serves. */
static bool is_served(const char *service)
{
  static const char *const served[] = {"", "mindmeld", "mindmeld.ControlService", "mindmeld.ProxyService"};
  for (size_t i = 0; i < sizeof served / sizeof *served; i++) {
    if (strcmp(service, served[i]) == 0)
      return true;
  }
  return false;
}

/* ---- Lists ---- */

static void leave_list(struct health_call *h)
{
  struct health *all = h->all;
  /* The analyzer does not know that what is in a list has neighbours. */
  if (h->settled) {
    DL_DELETE(all->watches, h); /* NOLINT(clang-analyzer-core.NullDereference) */
    all->watch_count--;
  } else {
    DL_DELETE(all->checks, h); /* NOLINT(clang-analyzer-core.NullDereference) */
    all->check_count--;
  }
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  leave_list(arg);
  free(arg);
}

/* Nothing is kept of it. */
static void cut_off(struct health_call *h)
{
  struct rpc_call *c = h->call;
  leave_list(h);
  free(h);
  rpc_call_set_arg(c, &forgotten, NULL);
  rpc_call_cancel(c, RPC_RESOURCE_EXHAUSTED, "too many health checks at once");
}

static bool room_for_watch(const struct health *all, const struct rpc_call *c)
{
  const struct router_limits *limits = door_limits(all->door);
  const char *peer = rpc_call_peer(c);
  size_t host_size = peer_name_host_size(peer), of_host = 0;
  const struct health_call *h;
  DL_FOREACH(all->watches, h)
  {
    const char *other = rpc_call_peer(h->call);
    of_host += peer_name_host_size(other) == host_size && memcmp(peer, other, host_size) == 0;
  }
  return all->watch_count < limits->health_watches && of_host < limits->health_watches_per_host;
}

/* ---- Answers ---- */

static void end(struct health_call *h, enum rpc_status status, const char *text)
{
  if (h->ended)
    return;
  h->ended = true;
  reply_finish(h->call, status, text);
}

static void say_state(struct health_call *h, int state)
{
  Grpc__Health__V1__HealthCheckResponse answer = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
  answer.status = state;
  struct rpc_message *m = rpc_message_pack(&answer.base);
  int error = m ? rpc_call_send(h->call, m) : -ENOMEM;
  h->sending = error == 0;
  h->told = state;
  if (error && error != -EPIPE)
    end(h, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
}

static void watch_step(struct health_call *h)
{
  if (!h->sending && !h->ended && h->told != state_of(h))
    say_state(h, state_of(h));
  if (door_phase(h->all->door) == DOOR_ENDING && h->told == state_of(h))
    end(h, RPC_UNAVAILABLE, "the router is about to stop");
}

static void on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  struct health_call *h = arg;
  h->sending = false;
  if (h->settled)
    watch_step(h);
}

static void watch_begin(struct health_call *h)
{
  struct health *all = h->all;
  if (!room_for_watch(all, h->call)) {
    end(h, RPC_RESOURCE_EXHAUSTED, "too many health checks at once");
    return;
  }
  leave_list(h);
  h->settled = true;
  DL_APPEND(all->watches, h);
  all->watch_count++;
  watch_step(h);
}

static void check_answer(struct health_call *h)
{
  if (!h->known) {
    end(h, RPC_NOT_FOUND, "this router has no such service");
    return;
  }
  say_state(h, state_of(h));
  end(h, RPC_OK, "");
}

static void on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct health_call *h = arg;
  Grpc__Health__V1__HealthCheckRequest *request = NULL;
  if (m)
    request = (Grpc__Health__V1__HealthCheckRequest *)rpc_message_unpack(
        m, &grpc__health__v1__health_check_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    end(h, RPC_INVALID_ARGUMENT, "the message is not a HealthCheckRequest");
    return;
  }
  h->known = is_served(request->service);
  grpc__health__v1__health_check_request__free_unpacked(request, NULL);
  if (h->watches)
    watch_begin(h);
  else
    check_answer(h);
}

/* ---- Calls ---- */

static const struct rpc_call_events events = {.message = on_message, .sent = on_sent, .closed = on_closed};

struct health *health_open(struct door *d)
{
  struct health *all = calloc(1, sizeof *all);
  if (all)
    all->door = d;
  return all;
}

void health_close(struct health *all)
{
  free(all);
}

bool health_ask(struct health *all, struct rpc_call *c)
{
  const char *method = rpc_call_method(c);
  bool watches = strcmp(method, PREFIX "Watch") == 0;
  if (!watches && strcmp(method, PREFIX "Check") != 0)
    return false;
  rpc_call_forget_metadata(c);
  if (all->check_count >= door_limits(all->door)->health_checks)
    cut_off(all->checks);
  struct health_call *h = calloc(1, sizeof *h);
  if (!h) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return true;
  }
  *h = (struct health_call){.all = all, .call = c, .watches = watches, .told = UNTOLD};
  /* The analyzer takes what was just freed for still in the list. */
  DL_APPEND(all->checks, h); /* NOLINT(clang-analyzer-unix.Malloc) */
  all->check_count++;
  rpc_call_set_arg(c, &events, h);
  int error = rpc_call_receive(c);
  if (error && error != -EPIPE)
    end(h, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  return true;
}

void health_wake(struct health *all)
{
  struct health_call *h;
  DL_FOREACH(all->watches, h)
  {
    watch_step(h);
  }
  if (door_phase(all->door) != DOOR_ENDING)
    return;
  DL_FOREACH(all->checks, h)
  {
    end(h, RPC_UNAVAILABLE, "the router is about to stop");
  }
}
