/* The stream stays open without a message for most of its life. Dials that the service was not told of yet wait in
 * `untold`, those it has not answered yet in `told`; when the stream closes, both fail. */
#include "service.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "names.h"
#include "publics.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "router/door/reply.h"
#include "service_internal.h"
#include "watch.h"

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

void service_send(struct service *s)
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

const uint8_t *router_service_rules(const struct service *s, size_t *size)
{
  *size = s->rules_size;
  return s->rules;
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

struct pending *service_take_pending(struct service *s)
{
  struct pending *pending = s->told;
  DL_CONCAT(pending, s->untold);
  s->told = s->untold = NULL;
  s->untold_count = 0;
  return pending;
}

void service_give_pending(const struct names *n, struct pending *pending)
{
  struct pending *p;
  while ((p = pending) != NULL) {
    DL_DELETE(pending, p);
    router_names_events(n)->left(p);
  }
}

/* One that has joined may park streams without a service. */
void service_leave_caller(struct names *n, struct caller *c)
{
  if (caller_holds(c, CALLER_SERVICES) == 1 && !caller_joined(c))
    router_names_events(n)->unparked(c, RPC_FAILED_PRECONDITION, "its member has no service any more");
  callers_release(router_names_callers(n), c, CALLER_SERVICES);
}

struct host_claim service_claim(const struct service *s)
{
  struct host_claim claim = {.now = door_now()};
  memcpy(claim.identity, s->identity, sizeof claim.identity);
  if (caller_member(s->caller))
    memcpy(claim.member, caller_member(s->caller), sizeof claim.member);
  return claim;
}

static void publics_drop(struct service *s)
{
  const struct host_claim claim = service_claim(s);
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
  router_names_services(n)->rules_size -= s->rules_size;
  free(s->rules);
  watch_wake(n);
  DL_DELETE(router_names_services(n)->oldest, s);
  DL_DELETE2(*caller_services(s->caller), s, own_prev, own_next);
  service_leave_caller(n, s->caller);
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
  service_give_pending(n, pending);
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

const struct rpc_call_events service_events = {.sent = on_sent, .closed = on_closed};

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
