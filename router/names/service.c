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
#include "names.h"
#include "proto/wire/identity.h"
#include "proto/wire/public_name.h"
#include "publics.h"
#include "registry.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "router/door/reply.h"
#include "watch.h"

/* A CreateService whose request was read. */
struct creation {
  struct rpc_call *call;
  const Mindmeld__CreateServiceRequest *request;
};

struct service {
  struct names *names;
  struct rpc_call *call;
  struct caller *caller;
  char name[REGISTRY_NAME_MAX + 1];
  uint64_t since;
  bool joined; /* as the identity that its member had when it registered */
  uint8_t identity[IDENTITY_SIZE];
  struct pending *untold, *told;
  size_t untold_count;
  bool sending;
  struct publics *publics; /* NULL: it has asked for none */
  bool unanswered;         /* it was not told what became of them */
  struct service *prev, *next;
  struct service *own_prev, *own_next; /* of its caller */
};

struct services {
  struct service *oldest;
};

struct services *router_services_open(void)
{
  return calloc(1, sizeof(struct services));
}

void router_services_close(struct services *ss)
{
  free(ss);
}

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

void router_service_forget(struct service *s, struct pending *p)
{
  /* The analyzer does not know that what is in a list has neighbours. */
  if (p->told) {
    DL_DELETE(s->told, p); /* NOLINT(clang-analyzer-core.NullDereference) */
  } else {
    DL_DELETE(s->untold, p); /* NOLINT(clang-analyzer-core.NullDereference) */
    s->untold_count--;
  }
}

static void service_fail(struct service *s, struct pending *p, enum rpc_status status, const char *text)
{
  router_service_forget(s, p);
  router_names_events(s->names)->failed(p, status, text);
}

static struct rpc_message *token_pack(const struct pending *p)
{
  Mindmeld__CreateServiceResponse answer = MINDMELD__CREATE_SERVICE_RESPONSE__INIT;
  answer.token = (char *)p->token; /* packing only reads it */
  return rpc_message_pack(&answer.base);
}

static void answers_send(struct service *s)
{
  struct gate_ports gates = watch_gates(s->names);
  struct rpc_message *m = publics_answer(s->publics, &gates);
  int error = m ? rpc_call_send(s->call, m) : -ENOMEM;
  s->unanswered = false;
  s->sending = error == 0;
  if (error && error != -EPIPE)
    rpc_call_cancel(s->call, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
}

static void service_send(struct service *s)
{
  if (s->unanswered && !s->sending)
    answers_send(s);
  while (s->untold && !s->sending) {
    struct pending *p = s->untold;
    struct rpc_message *m = p->token ? token_pack(p) : NULL;
    int error = m ? rpc_call_send(s->call, m) : -ENOMEM;
    if (error == -EPIPE)
      return;
    if (error) {
      service_fail(s, p, RPC_RESOURCE_EXHAUSTED, "the service could not be told");
      continue;
    }
    s->sending = true;
    router_service_forget(s, p);
    p->told = true;
    DL_APPEND(s->told, p);
  }
}

int router_service_tell(struct service *s, struct pending *p)
{
  if (s->untold_count >= router_names_limits(s->names)->unsent)
    return -ENOSPC;
  p->told = false;
  DL_APPEND(s->untold, p);
  s->untold_count++;
  service_send(s);
  return 0;
}

void router_service_hold(struct service *s, struct pending *p)
{
  p->told = true;
  DL_APPEND(s->told, p);
}

uint64_t router_service_since(const struct service *s)
{
  return s->since;
}

static void service_fail_pending(struct service *s, enum rpc_status status, const char *text)
{
  while (s->untold)
    service_fail(s, s->untold, status, text);
  while (s->told)
    service_fail(s, s->told, status, text);
}

struct publics *router_service_publics(const struct service *s)
{
  return s->publics;
}

void router_services_gates_changed(struct names *n)
{
  struct service *s;
  DL_FOREACH(router_names_services(n)->oldest, s)
  {
    s->unanswered = s->publics != NULL;
    service_send(s);
  }
}

/* All, oldest first. */
static struct pending *service_take_pending(struct service *s)
{
  struct pending *pending = s->told;
  DL_CONCAT(pending, s->untold);
  s->told = s->untold = NULL;
  s->untold_count = 0;
  return pending;
}

/* To whoever may take them now. */
static void pending_go_on(const struct names *n, struct pending *pending)
{
  struct pending *p;
  while ((p = pending) != NULL) {
    DL_DELETE(pending, p);
    router_names_events(n)->left(p);
  }
}

/* One that has joined may park streams without a service. */
static void caller_loses_service(struct names *n, struct caller *c)
{
  if (caller_holds(c, CALLER_SERVICES) == 1 && !caller_joined(c))
    router_names_events(n)->unparked(c, RPC_FAILED_PRECONDITION, "its member has no service any more");
  callers_release(router_names_callers(n), c, CALLER_SERVICES);
}

static struct host_claim claim_of(const struct service *s)
{
  struct host_claim claim = {.now = door_now()};
  memcpy(claim.identity, s->identity, sizeof claim.identity);
  if (caller_member(s->caller))
    memcpy(claim.member, caller_member(s->caller), sizeof claim.member);
  return claim;
}

static void publics_drop(struct service *s)
{
  const struct host_claim claim = claim_of(s);
  publics_leave(s->publics, router_names_hosts(s->names), &claim);
  s->publics = NULL;
}

static void service_remove(struct service *s)
{
  struct names *n = s->names;
  struct registry_leave how = {.at = door_now()};
  if (caller_member(s->caller))
    memcpy(how.member, caller_member(s->caller), sizeof how.member);
  registry_remove(router_names_registry(n), s->name, &how);
  publics_drop(s);
  watch_wake(n);
  DL_DELETE(router_names_services(n)->oldest, s);
  DL_DELETE2(*caller_services(s->caller), s, own_prev, own_next);
  caller_loses_service(n, s->caller);
  door_report(router_names_door(n), "service \"%s\" is gone", s->name);
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
  struct pending *pending = service_take_pending(s);
  struct names *n = s->names;
  service_remove(s);
  pending_go_on(n, pending);
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

void router_services_drain(struct names *n, enum rpc_status status, const char *text)
{
  struct service *s;
  DL_FOREACH(router_names_services(n)->oldest, s)
  {
    service_fail_pending(s, status, text);
  }
}

void router_services_end(struct names *n, enum rpc_status status, const char *text)
{
  struct service *s, *next;
  DL_FOREACH_SAFE(router_names_services(n)->oldest, s, next)
  {
    service_fail_pending(s, status, text);
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

/* A member speaks for its identity, and so does the next process of that identity. */
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

/* What it asks for now takes the place of what it had, which it keeps until then. False: memory is short. */
static bool publics_take(struct service *s, const Mindmeld__CreateServiceRequest *request)
{
  const struct host_claim as = claim_of(s);
  const struct publics_claim claim = {.grants = router_names_grants(s->names),
                                      .hosts = router_names_hosts(s->names),
                                      .service = s->name,
                                      .as = s->joined ? &as : NULL};
  struct publics *former = s->publics, *fresh = NULL;
  if (request->n_public_names > 0) {
    fresh = publics_claim(&claim, request->public_names, request->n_public_names);
    if (!fresh)
      return false;
  }
  bool news = !publics_same(former, fresh);
  s->publics = fresh;
  s->unanswered = fresh != NULL;
  publics_leave(former, claim.hosts, &as);
  if (news) {
    registry_touch(router_names_registry(s->names), s->name);
    watch_wake(s->names);
  }
  return true;
}

/* The call is the service's from now on. */
static void service_begin(struct service *s, const struct creation *by)
{
  s->call = by->call;
  s->sending = false;
  service_identify(s);
  rpc_call_set_arg(by->call, &events, s);
  /* Without a sign that the name is registered, its member would wait for ever. */
  static const struct rpc_metadata answers = {.key = "mindmeld-public", .value = "1"};
  int error = rpc_call_send_headers(by->call, &answers, 1);
  if (!error && !publics_take(s, by->request))
    error = -ENOMEM;
  if (error && error != -EPIPE)
    rpc_call_cancel(by->call, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  else
    service_send(s);
}

static void service_move(struct service *s, struct caller *to)
{
  struct caller *from = s->caller;
  struct names *n = s->names;
  DL_DELETE2(*caller_services(from), s, own_prev, own_next);
  DL_APPEND2(*caller_services(to), s, own_prev, own_next);
  s->caller = to;
  caller_loses_service(n, from);
}

/* The name stays as it is: those who watch see nothing of this. */
static void service_replace(struct service *s, const struct creation *by, struct caller *caller)
{
  struct rpc_call *older = s->call;
  struct pending *pending = service_take_pending(s);
  if (s->caller != caller)
    service_move(s, caller);
  service_begin(s, by);
  reply_refuse(older, RPC_ABORTED, "a newer registration has taken over");
  door_report(router_names_door(s->names), "service \"%s\" registered anew by %s", s->name, rpc_call_peer(by->call));
  pending_go_on(s->names, pending);
}

/* The caller holds a service for it. 0, -ENOSPC, -ENOMEM. */
static int service_add(struct names *n, const struct creation *by, struct caller *caller)
{
  const char *name = by->request->name;
  struct service *s = calloc(1, sizeof *s);
  int error = s ? registry_add(router_names_registry(n), name, now(), s) : -ENOMEM;
  if (error) {
    free(s);
    return error;
  }
  s->names = n;
  s->since = door_now();
  s->caller = caller;
  memcpy(s->name, name, strlen(name) + 1);
  DL_APPEND(router_names_services(n)->oldest, s);
  DL_APPEND2(*caller_services(caller), s, own_prev, own_next);
  door_report(router_names_door(n), "service \"%s\" registered by %s", name, rpc_call_peer(by->call));
  service_begin(s, by);
  watch_wake(n);
  router_names_events(n)->service_came(s, router_names_events(n)->arg);
  return 0;
}

static void service_start(struct names *n, const struct creation *by, const struct member *m)
{
  struct rpc_call *c = by->call;
  const char *name = by->request->name;
  struct service *older = registry_find(router_names_registry(n), name);
  struct caller *caller = m->given ? callers_find(router_names_callers(n), m->id) : NULL;
  if (m->given && lost_has(router_names_lost(n), m->id)) {
    reply_refuse(c, RPC_FAILED_PRECONDITION, "a newer process of this identity has taken over");
    return;
  }
  if (older && caller == older->caller) {
    service_replace(older, by, caller);
    return;
  }
  if (older && !(caller && service_is_of(older, caller))) {
    reply_refuse(c, RPC_ALREADY_EXISTS, "service \"%s\" already exists", name);
    return;
  }
  int error = callers_hold(router_names_callers(n), &caller, m, rpc_call_peer(c), CALLER_SERVICES);
  if (error == -ENOSPC) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may have %zu services at once",
                 router_names_limits(n)->services_per_caller);
    return;
  }
  if (error) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  if (older) {
    service_replace(older, by, caller);
    return;
  }
  error = service_add(n, by, caller);
  if (!error)
    return;
  if (error == -ENOSPC)
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router may have %zu services at once",
                 router_names_limits(n)->services);
  else
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  callers_release(router_names_callers(n), caller, CALLER_SERVICES);
}

void router_service_create(struct opening *o, struct rpc_message *m)
{
  struct names *n = opening_room(o);
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
  else if (request->n_public_names > PUBLIC_GRANTED_MAX)
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a service has at most 32 public names");
  else
    service_start(n, &(struct creation){.call = opening_take(o), .request = request}, &member);
  mindmeld__create_service_request__free_unpacked(request, NULL);
}
