/* CreateService: a name is registered, or registered anew. The older registration of the same member or identity gives
 * way, and those who watch see nothing of that.
 */
#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <utlist.h>

#include "join.h"
#include "lost.h"
#include "names.h"
#include "proto/wire/public_name.h"
#include "publics.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "router/door/reply.h"
#include "service_internal.h"
#include "watch.h"

enum { RULES_MAX = 64 * 1024 + 256 };

/* A CreateService whose request was read; what is taken from it is NULL there. */
struct creation {
  struct rpc_call *call;
  Mindmeld__CreateServiceRequest *request;
};

static struct registry_time now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (struct registry_time){.seconds = t.tv_sec, .nanos = (int32_t)t.tv_nsec};
}

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

/* True: they are others. */
static bool rules_take(struct service *s, Mindmeld__CreateServiceRequest *request)
{
  struct services *all = router_names_services(s->names);
  ProtobufCBinaryData *rules = &request->rules;
  if (rules->len == s->rules_size && (rules->len == 0 || memcmp(rules->data, s->rules, rules->len) == 0))
    return false;
  all->rules_size += rules->len - s->rules_size;
  free(s->rules);
  s->rules = rules->data;
  s->rules_size = rules->len;
  *rules = (ProtobufCBinaryData){0};
  return true;
}

/* What it asks for now takes the place of what it had, which it keeps until then. 1: gates are told; 0; -ENOMEM. */
static int publics_take(struct service *s, Mindmeld__CreateServiceRequest *request)
{
  const struct host_claim as = service_claim(s);
  const struct publics_claim claim = {.grants = router_names_grants(s->names),
                                      .hosts = router_names_hosts(s->names),
                                      .service = s->name,
                                      .as = s->joined ? &as : NULL,
                                      .former = s->publics};
  struct publics *former = s->publics, *fresh = NULL;
  bool ruled = request->rules.len > 0;
  size_t count = ruled ? request->n_ruled_names : request->n_public_names;
  if (count > 0) {
    fresh = publics_claim(&claim, ruled ? request->ruled_names : request->public_names, count);
    if (!fresh)
      return -ENOMEM;
  }
  bool news = rules_take(s, request);
  news = !publics_same(former, fresh) || news;
  s->publics = fresh;
  s->unanswered = fresh != NULL;
  publics_leave(former, claim.hosts, &as);
  if (news) {
    registry_touch(router_names_registry(s->names), s->name);
    watch_wake(s->names);
  }
  return news;
}

/* The call is the service's from now on. True: its public names are others. */
static bool service_begin(struct service *s, const struct creation *by)
{
  s->call = by->call;
  s->sending = false;
  service_identify(s);
  rpc_call_set_arg(by->call, &service_events, s);
  /* Without a sign that the name is registered, its member would wait for ever. */
  static const struct rpc_metadata answers = {.key = "mindmeld-public", .value = "1"};
  int error = rpc_call_send_headers(by->call, &answers, 1);
  if (!error)
    error = publics_take(s, by->request);
  if (error < 0 && error != -EPIPE)
    rpc_call_cancel(by->call, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  else
    service_send(s);
  return error != 0;
}

static void service_move(struct service *s, struct caller *to)
{
  struct caller *from = s->caller;
  struct names *n = s->names;
  DL_DELETE2(*caller_services(from), s, own_prev, own_next);
  DL_APPEND2(*caller_services(to), s, own_prev, own_next);
  s->caller = to;
  service_leave_caller(n, from);
}

/* The name stays as it is: those who watch see nothing of this. */
static void service_replace(struct service *s, const struct creation *by, struct caller *caller)
{
  struct rpc_call *older = s->call;
  struct pending *pending = service_take_pending(s);
  bool moves = s->caller != caller;
  if (moves)
    service_move(s, caller);
  bool news = service_begin(s, by);
  reply_refuse(older, RPC_ABORTED, "a newer registration has taken over");
  /* Whoever was refused a public name asks again and again. */
  if (moves || news || !publics_any_refused(s->publics))
    door_report(router_names_door(s->names), "service \"%s\" registered anew by %s", s->name, rpc_call_peer(by->call));
  service_give_pending(s->names, pending);
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

/* What its rules would be is too much for the router. */
static bool rules_are_too_many(const struct names *n, const struct service *older, const struct creation *by)
{
  size_t all = router_names_services(n)->rules_size;
  return all - (older ? older->rules_size : 0) + by->request->rules.len > router_names_limits(n)->rules_bytes;
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
  if (by->request->rules.len > 0 && rules_are_too_many(n, older, by)) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router has no room for more of what services say of requests");
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
  else if (request->rules.len > RULES_MAX)
    opening_refuse(o, RPC_INVALID_ARGUMENT, "what a service says of requests has at most 64 KiB");
  else if (request->n_public_names > PUBLIC_GRANTED_MAX || request->n_ruled_names > PUBLIC_GRANTED_MAX)
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a service has at most 32 public names");
  else
    service_start(n, &(struct creation){.call = opening_take(o), .request = request}, &member);
  mindmeld__create_service_request__free_unpacked(request, NULL);
}
