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

#include "callers.h"
#include "dial.h"
#include "parked.h"
#include "registry.h"
#include "reply.h"
#include "state.h"
#include "tokens.h"
#include "watch.h"

struct service {
  struct router *router;
  struct rpc_call *call;
  struct caller *caller;
  char name[REGISTRY_NAME_MAX + 1];
  struct dial *untold, *told;
  size_t untold_count;
  bool sending;
  struct service *prev, *next;
  struct service *own_prev, *own_next; /* of its caller */
};

const char *service_name(const struct service *s)
{
  return s->name;
}

struct caller *service_caller(const struct service *s)
{
  return s->caller;
}

void service_forget(struct service *s, struct dial *d)
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
  service_forget(s, d);
  dial_fail(d, status, text);
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
    service_forget(s, d);
    d->told = true;
    DL_APPEND(s->told, d);
  }
}

int service_tell(struct service *s, struct dial *d)
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

static void service_remove(struct service *s)
{
  struct router *r = s->router;
  registry_remove(r->registry, s->name, router_now());
  watch_wake(r);
  DL_DELETE(r->services, s);
  DL_DELETE2(*caller_services(s->caller), s, own_prev, own_next);
  if (caller_holds(s->caller, CALLER_SERVICES) == 1)
    parked_end(s->caller, RPC_FAILED_PRECONDITION, "its member has no service any more");
  callers_release(r->callers, s->caller, CALLER_SERVICES);
  router_log(r, "service \"%s\" is gone", s->name);
  free(s);
}

static void on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  struct service *s = arg;
  s->sending = false;
  service_send(s);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct service *s = arg;
  char sentence[REGISTRY_NAME_MAX + 64];
  snprintf(sentence, sizeof sentence, "service \"%s\" is gone", s->name);
  service_fail_dials(s, RPC_NOT_FOUND, sentence);
  service_remove(s);
}

static const struct rpc_call_events events = {.sent = on_sent, .closed = on_closed};

void services_drain(struct router *r, enum rpc_status status, const char *text)
{
  struct service *s;
  DL_FOREACH(r->services, s)
  {
    service_fail_dials(s, status, text);
    parked_end(s->caller, status, text);
  }
}

void services_end(struct router *r, enum rpc_status status, const char *text)
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

/* Everything that a service holds, or nothing of it and a refusal. */
static struct service *service_register(struct router *r, struct rpc_call *c, const char *name, const struct member *m)
{
  struct caller *caller;
  int error = callers_hold(r->callers, &caller, m, rpc_call_peer(c), CALLER_SERVICES);
  if (error == -ENOSPC) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may have %zu services at once", r->limits.services_per_caller);
    return NULL;
  }
  struct service *s = error ? NULL : calloc(1, sizeof *s);
  if (!error)
    error = s ? registry_add(r->registry, name, now(), s) : -ENOMEM;
  if (!error) {
    s->caller = caller;
    return s;
  }
  free(s);
  if (error == -EEXIST)
    reply_refuse(c, RPC_ALREADY_EXISTS, "service \"%s\" already exists", name);
  else if (error == -ENOSPC)
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router may have %zu services at once", r->limits.services);
  else
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  if (s)
    callers_release(r->callers, caller, CALLER_SERVICES);
  return NULL;
}

static void service_start(struct router *r, struct rpc_call *c, const char *name, const struct member *m)
{
  struct service *s = service_register(r, c, name, m);
  if (!s)
    return;
  s->router = r;
  s->call = c;
  memcpy(s->name, name, strlen(name) + 1);
  DL_APPEND(r->services, s);
  DL_APPEND2(*caller_services(s->caller), s, own_prev, own_next);
  rpc_call_set_arg(c, &events, s);
  router_log(r, "service \"%s\" registered by %s", name, rpc_call_peer(c));
  /* Without the sign that the name is registered, its member would wait for ever. */
  int error = rpc_call_send_headers(c, NULL, 0);
  if (error && error != -EPIPE)
    rpc_call_cancel(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  watch_wake(r);
}

void service_create(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  Mindmeld__CreateServiceRequest *request =
      (Mindmeld__CreateServiceRequest *)rpc_message_unpack(m, &mindmeld__create_service_request__descriptor);
  rpc_message_free(m);
  struct member member;
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "that is not a CreateServiceRequest");
    return;
  }
  int error = member_read(&member, request->member.data, request->member.len, request->member_key.data,
                          request->member_key.len);
  if (!registry_name_valid(request->name))
    opening_refuse(o, RPC_INVALID_ARGUMENT,
                   "a service's name has 1 to 63 letters a-z, digits, and hyphens that do not stand at its ends");
  else if (error == -EACCES)
    opening_refuse(o, RPC_PERMISSION_DENIED, "that is not the member's key");
  else if (error)
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a member has 16 bytes, and its key 32");
  else
    service_start(r, opening_take(o), request->name, &member);
  mindmeld__create_service_request__free_unpacked(request, NULL);
}
