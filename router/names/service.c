/* The stream stays open without a message for most of its life. Dials that the service was not told of yet wait in
 * `untold`, those it has not answered yet in `told`; when the stream closes, both fail. */
#include "service.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <utlist.h>

#include "join.h"
#include "lost.h"
#include "proto/wire/identity.h"
#include "registry.h"
#include "router/door/callers.h"
#include "router/door/reply.h"
#include "router/door/state.h"
#include "router/meet/dial.h"
#include "router/meet/parked.h"
#include "router/meet/tokens.h"
#include "watch.h"

struct service {
  struct router *router;
  struct rpc_call *call;
  struct caller *caller;
  char name[REGISTRY_NAME_MAX + 1];
  bool joined; /* as the identity that its member had when it registered */
  uint8_t identity[IDENTITY_SIZE];
  struct dial *untold, *told;
  size_t untold_count;
  bool sending;
  struct service *prev, *next;
  struct service *own_prev, *own_next; /* of its caller */
};

const char *router_service_name(const struct service *s)
{
  return s->name;
}

struct caller *router_service_caller(const struct service *s)
{
  return s->caller;
}

struct service *router_service_latest(struct caller *c)
{
  struct service *first = *caller_services(c);
  return first ? first->own_prev : NULL;
}

void router_service_forget(struct service *s, struct dial *d)
{
  /* The analyzer does not know that what is in a list has neighbours. */
  if (d->told) {
    DL_DELETE(s->told, d); /* NOLINT(clang-analyzer-core.NullDereference) */
  } else {
    DL_DELETE(s->untold, d); /* NOLINT(clang-analyzer-core.NullDereference) */
    s->untold_count--;
  }
}

static void service_fail_dial(struct service *s, struct dial *d, enum rpc_status status, const char *text)
{
  router_service_forget(s, d);
  router_dial_fail(d, status, text);
}

static struct rpc_message *token_pack(const struct dial *d)
{
  Mindmeld__CreateServiceResponse answer = MINDMELD__CREATE_SERVICE_RESPONSE__INIT;
  answer.token = d->token->text;
  return rpc_message_pack(&answer.base);
}

static void service_send(struct service *s)
{
  while (s->untold && !s->sending) {
    struct dial *d = s->untold;
    struct rpc_message *m = d->token ? token_pack(d) : NULL;
    int error = m ? rpc_call_send(s->call, m) : -ENOMEM;
    if (error == -EPIPE)
      return;
    if (error) {
      service_fail_dial(s, d, RPC_RESOURCE_EXHAUSTED, "the service could not be told");
      continue;
    }
    s->sending = true;
    router_service_forget(s, d);
    d->told = true;
    DL_APPEND(s->told, d);
  }
}

int router_service_tell(struct service *s, struct dial *d)
{
  if (s->untold_count >= s->router->limits.unsent)
    return -ENOSPC;
  d->told = false;
  DL_APPEND(s->untold, d);
  s->untold_count++;
  service_send(s);
  return 0;
}

static void service_fail_dials(struct service *s, enum rpc_status status, const char *text)
{
  while (s->untold)
    service_fail_dial(s, s->untold, status, text);
  while (s->told)
    service_fail_dial(s, s->told, status, text);
}

/* All, oldest first. */
static struct dial *service_take_dials(struct service *s)
{
  struct dial *dials = s->told;
  DL_CONCAT(dials, s->untold);
  s->told = s->untold = NULL;
  s->untold_count = 0;
  return dials;
}

/* To whoever may take them now. */
static void dials_go_on(struct dial *dials)
{
  struct dial *d;
  while ((d = dials) != NULL) {
    DL_DELETE(dials, d);
    router_dial_move(d);
  }
}

/* One that has joined may park streams without a service. */
static void caller_loses_service(struct router *r, struct caller *c)
{
  if (caller_holds(c, CALLER_SERVICES) == 1 && !caller_joined(c))
    parked_end(c, RPC_FAILED_PRECONDITION, "its member has no service any more");
  callers_release(r->callers, c, CALLER_SERVICES);
}

static void service_remove(struct service *s)
{
  struct router *r = s->router;
  struct registry_leave how = {.at = router_now()};
  if (caller_member(s->caller))
    memcpy(how.member, caller_member(s->caller), sizeof how.member);
  registry_remove(r->registry, s->name, &how);
  watch_wake(r);
  DL_DELETE(r->services, s);
  DL_DELETE2(*caller_services(s->caller), s, own_prev, own_next);
  caller_loses_service(r, s->caller);
  router_report(r, "service \"%s\" is gone", s->name);
  free(s);
}

static void on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  struct service *s = arg;
  s->sending = false;
  service_send(s);
}

static void service_close(struct service *s)
{
  struct dial *dials = service_take_dials(s);
  service_remove(s);
  dials_go_on(dials);
}

void router_service_end(struct service *s, enum rpc_status status, const char *text)
{
  struct rpc_call *c = s->call;
  service_close(s);
  reply_refuse(c, status, "%s", text);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  service_close(arg);
}

static const struct rpc_call_events events = {.sent = on_sent, .closed = on_closed};

void router_services_drain(struct router *r, enum rpc_status status, const char *text)
{
  struct service *s;
  DL_FOREACH(r->services, s)
  {
    service_fail_dials(s, status, text);
  }
}

void router_services_end(struct router *r, enum rpc_status status, const char *text)
{
  struct service *s, *next;
  DL_FOREACH_SAFE(r->services, s, next)
  {
    service_fail_dials(s, status, text);
    reply_refuse(s->call, status, "%s", text);
    service_remove(s);
  }
}

static struct registry_time now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (struct registry_time){.seconds = t.tv_sec, .nanos = (int32_t)t.tv_nsec};
}

/* ---- Registration ---- */

/* What a member says by its identity is also said by the next process of it. */
static bool service_is_of(const struct service *s, struct caller *c)
{
  const uint8_t *identity = join_identity(c);
  return identity && s->joined && memcmp(s->identity, identity, sizeof s->identity) == 0;
}

static void service_identify(struct service *s)
{
  const uint8_t *identity = join_identity(s->caller);
  s->joined = identity != NULL;
  if (identity)
    memcpy(s->identity, identity, sizeof s->identity);
}

/* The call is the service's from now on. */
static void service_begin(struct service *s, struct rpc_call *c)
{
  s->call = c;
  s->sending = false;
  service_identify(s);
  rpc_call_set_arg(c, &events, s);
  /* Without the sign that the name is registered, its member would wait for ever. */
  int error = rpc_call_send_headers(c, NULL, 0);
  if (error && error != -EPIPE)
    rpc_call_cancel(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
}

static void service_move(struct service *s, struct caller *to)
{
  struct caller *from = s->caller;
  struct router *r = s->router;
  DL_DELETE2(*caller_services(from), s, own_prev, own_next);
  DL_APPEND2(*caller_services(to), s, own_prev, own_next);
  s->caller = to;
  caller_loses_service(r, from);
}

/* The name stays as it is: those who watch see nothing of this. */
static void service_replace(struct service *s, struct rpc_call *c, struct caller *caller)
{
  struct rpc_call *older = s->call;
  struct dial *dials = service_take_dials(s);
  if (s->caller != caller)
    service_move(s, caller);
  service_begin(s, c);
  reply_refuse(older, RPC_ABORTED, "a newer registration has taken over");
  router_report(s->router, "service \"%s\" registered anew by %s", s->name, rpc_call_peer(c));
  dials_go_on(dials);
}

/* The caller holds a service for it. 0, -ENOSPC, -ENOMEM. */
static int service_add(struct router *r, struct rpc_call *c, const char *name, struct caller *caller)
{
  struct service *s = calloc(1, sizeof *s);
  int error = s ? registry_add(r->registry, name, now(), s) : -ENOMEM;
  if (error) {
    free(s);
    return error;
  }
  s->router = r;
  s->caller = caller;
  memcpy(s->name, name, strlen(name) + 1);
  DL_APPEND(r->services, s);
  DL_APPEND2(*caller_services(caller), s, own_prev, own_next);
  router_report(r, "service \"%s\" registered by %s", name, rpc_call_peer(c));
  service_begin(s, c);
  watch_wake(r);
  router_dials_service_came(r, s);
  return 0;
}

static void service_start(struct router *r, struct rpc_call *c, const char *name, const struct member *m)
{
  struct service *older = registry_find(r->registry, name);
  struct caller *caller = m->given ? callers_find(r->callers, m->id) : NULL;
  if (m->given && lost_has(r->lost, m->id)) {
    reply_refuse(c, RPC_FAILED_PRECONDITION, "a newer process of this identity has taken over");
    return;
  }
  if (older && caller == older->caller) {
    service_replace(older, c, caller);
    return;
  }
  if (older && !(caller && service_is_of(older, caller))) {
    reply_refuse(c, RPC_ALREADY_EXISTS, "service \"%s\" already exists", name);
    return;
  }
  int error = callers_hold(r->callers, &caller, m, rpc_call_peer(c), CALLER_SERVICES);
  if (error == -ENOSPC) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may have %zu services at once", r->limits.services_per_caller);
    return;
  }
  if (error) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  if (older) {
    service_replace(older, c, caller);
    return;
  }
  error = service_add(r, c, name, caller);
  if (!error)
    return;
  if (error == -ENOSPC)
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router may have %zu services at once", r->limits.services);
  else
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  callers_release(r->callers, caller, CALLER_SERVICES);
}

void router_service_create(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  Mindmeld__CreateServiceRequest *request =
      (Mindmeld__CreateServiceRequest *)rpc_message_unpack(m, &mindmeld__create_service_request__descriptor);
  rpc_message_free(m);
  struct member member;
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a CreateServiceRequest");
    return;
  }
  int error = member_read(&member, request->member.data, request->member.len, request->member_key.data,
                          request->member_key.len);
  if (!registry_name_valid(request->name))
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a service's name is 1 to 63 of a-z, 0-9 and inner hyphens");
  else if (error == -EACCES)
    opening_refuse(o, RPC_PERMISSION_DENIED, "that is not the member's key");
  else if (error)
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a member has 16 bytes, and its key 32");
  else
    service_start(r, opening_take(o), request->name, &member);
  mindmeld__create_service_request__free_unpacked(request, NULL);
}
