/* A service is a name, perhaps a target, and while both the target and the router are there, a registration.
 *
 *     PENDING      no target, and back here from every state when the target goes
 *        |  target
 *        v
 *     REGISTERING -- registered --> ONLINE
 *        |      \                     |
 *        |       \-- refused, or the router or the stream is lost --> OFFLINE
 *        |  ALREADY_EXISTS
 *        v
 *      TAKEN
 *
 * OFFLINE and TAKEN ask again by themselves, and stay what they are until the answer differs: nobody wants to see a
 * state flicker. They become REGISTERING when the router comes back, or when the target is written. The table below
 * says the same, and is checked.
 *
 * A router of ours says by its initial metadata that the name is registered. One of the first version says nothing: it
 * is asked for its list until the name is there, twice, so that a refusal of the registration itself comes first.
 *
 * A router may have the name still that this very daemon has just given up, or lost with its link. Then ALREADY_EXISTS
 * is no verdict yet: for a second it is asked again.
 */
#include "services.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "address.h"
#include "link.h"
#include "mindmeld.pb-c.h"
#include "proto/rpc.h"

enum {
  NAME_SIZE = 64,
  WHY_SIZE = 256,
  AGAIN_MS = 100, /* while the router may have our own former registration */
  AGAIN_FOR_MS = 1000,
  RETRY_MIN_MS = 500,  /* after a stream that was lost while the router is there */
  RETRY_MAX_MS = 5000, /* and after a refusal */
  CONFIRM_MS = 50,     /* between two looks at the list of a router of the first version */
  LEFT_MS = 2000,
};

/* One CreateService stream. `service` is NULL once nobody wants it any more. */
struct registration {
  struct services *owner;
  struct service *service;
  struct rpc_call *call;
  struct link_query *query;
  unsigned seen; /* how often the name was on the list */
};

struct service_wait {
  struct service *service; /* NULL: answered */
  struct service_wait *prev, *next;
  uv_timer_t timer;
  service_verdict_cb verdict;
  void *arg;
  int error; /* what to say when the timer ends */
  bool had_target;
  struct address former;
};

/* A name that this daemon gave up a moment ago. */
struct left {
  struct left *prev, *next;
  uint64_t at;
  char name[NAME_SIZE];
};

struct service {
  UT_hash_handle hh;
  struct services *owner;
  char name[NAME_SIZE];
  enum service_state state;
  bool has_target;
  struct address target;
  struct registration *registration;
  struct service_wait *waits;
  uv_timer_t timer; /* when to ask the router again, or to look at its list again */
  uint64_t retry_ms;
  uint64_t again_until; /* until then ALREADY_EXISTS may be about ourselves */
};

struct services {
  uv_loop_t *loop;
  struct link *link;
  const struct services_events *events;
  void *arg;
  struct service *table;
  struct left *left;
  bool linked;
  unsigned holds; /* calls, queries and handles that will call back */
  bool closing;
  uv_timer_t end; /* so that `closed` never comes inside services_close */
  void (*closed)(void *arg);
  void *closed_arg;
};

#define TO(state) (1u << (SERVICE_##state))

static const unsigned allowed[] = {
    [SERVICE_PENDING] = TO(REGISTERING) | TO(OFFLINE),
    [SERVICE_REGISTERING] = TO(PENDING) | TO(ONLINE) | TO(OFFLINE) | TO(TAKEN),
    [SERVICE_ONLINE] = TO(PENDING) | TO(OFFLINE),
    [SERVICE_OFFLINE] = TO(PENDING) | TO(REGISTERING) | TO(ONLINE) | TO(TAKEN),
    [SERVICE_TAKEN] = TO(PENDING) | TO(REGISTERING) | TO(ONLINE) | TO(OFFLINE),
};

static void begin(struct service *s);
static void timer_fired(uv_timer_t *timer);

static void maybe_closed(struct services *ss)
{
  if (!ss->closing || ss->holds > 0)
    return;
  void (*closed)(void *) = ss->closed;
  void *arg = ss->closed_arg;
  struct left *l, *next;

  DL_FOREACH_SAFE(ss->left, l, next)
  {
    free(l);
  }
  free(ss);
  closed(arg);
}

static void release(struct services *ss)
{
  ss->holds--;
  maybe_closed(ss);
}

static void move(struct service *s, enum service_state state, const char *why)
{
  enum service_state before = s->state;

  if (before == state)
    return;
  if ((allowed[before] & (1u << state)) == 0)
    abort();
  s->state = state;
  s->owner->events->changed(s, before, why, s->owner->arg);
}

static void ask_again(struct service *s, uint64_t ms)
{
  uv_timer_start(&s->timer, timer_fired, ms, 0);
}

static uint64_t next_retry(struct service *s)
{
  uint64_t ms = s->retry_ms;

  s->retry_ms = ms * 2 < RETRY_MAX_MS ? ms * 2 : RETRY_MAX_MS;
  return ms;
}

/* ---- Names that were given up. ---- */

static void left_prune(struct services *ss)
{
  uint64_t now = uv_now(ss->loop);

  while (ss->left != NULL && ss->left->at + LEFT_MS < now) {
    struct left *l = ss->left;

    DL_DELETE(ss->left, l);
    free(l);
  }
}

static void left_add(struct services *ss, const char *name)
{
  struct left *l = calloc(1, sizeof *l);

  left_prune(ss);
  if (l != NULL) {
    l->at = uv_now(ss->loop);
    snprintf(l->name, sizeof l->name, "%s", name);
    DL_APPEND(ss->left, l);
  }
  if (ss->events->left != NULL)
    ss->events->left(name, ss->arg);
}

static bool left_lately(struct services *ss, const char *name)
{
  struct left *l;

  left_prune(ss);
  DL_FOREACH(ss->left, l)
  {
    if (strcmp(l->name, name) == 0)
      return true;
  }
  return false;
}

/* ---- Writers that wait for the verdict. ---- */

static void wait_freed(uv_handle_t *handle)
{
  struct service_wait *w = handle->data;
  struct services *ss = w->arg;

  free(w);
  release(ss);
}

static void answer(struct service_wait *w, int error, const char *why)
{
  struct service *s = w->service;
  service_verdict_cb verdict = w->verdict;
  void *arg = w->arg;

  DL_DELETE(s->waits, w);
  w->service = NULL;
  w->arg = s->owner;
  uv_close((uv_handle_t *)&w->timer, wait_freed);
  verdict(error, why, arg);
}

static void answer_all(struct service *s, int error, const char *why)
{
  while (s->waits != NULL)
    answer(s->waits, error, why);
}

static void wait_over(uv_timer_t *timer)
{
  struct service_wait *w = timer->data;

  answer(w, w->error,
         w->error == -ETIMEDOUT ? "the router gave no verdict in time; it is still being registered" : "interrupted");
}

/* The router refused: what was written by those who wait does not count. */
static void revert(struct service *s)
{
  const struct service_wait *first = s->waits;

  if (first == NULL)
    return;
  s->has_target = first->had_target;
  if (first->had_target)
    s->target = first->former;
}

/* ---- The registration. ---- */

static void registration_unref(struct registration *r)
{
  struct services *ss = r->owner;

  if (r->call != NULL || r->query != NULL)
    return;
  free(r);
  release(ss);
}

static void drop(struct service *s)
{
  struct registration *r = s->registration;

  uv_timer_stop(&s->timer);
  if (r == NULL)
    return;
  s->registration = NULL;
  r->service = NULL;
  rpc_call_cancel(r->call, RPC_CANCELLED, "withdrawn");
  if (r->query != NULL)
    link_ask_cancel(r->query);
  if (s->state != SERVICE_TAKEN)
    left_add(s->owner, s->name);
}

static void registered(struct service *s)
{
  if (s->state == SERVICE_ONLINE)
    return;
  s->retry_ms = RETRY_MIN_MS;
  uv_timer_stop(&s->timer);
  move(s, SERVICE_ONLINE, NULL);
  answer_all(s, 0, "");
}

static void refused(struct service *s, enum service_state state, int error, const char *why)
{
  bool news = s->waits == NULL && s->state != state;

  revert(s);
  if (s->has_target)
    ask_again(s, RETRY_MAX_MS);
  move(s, s->has_target || state == SERVICE_TAKEN ? state : SERVICE_PENDING, why);
  if (news)
    s->owner->events->refused(s, error, why, s->owner->arg);
  answer_all(s, error, why);
}

/* The stream ended without a verdict that lasts: the link will tell if the router is gone, else it is asked again. */
static void stream_lost(struct service *s, const char *text)
{
  if (s->state == SERVICE_ONLINE)
    s->again_until = uv_now(s->owner->loop) + AGAIN_FOR_MS;
  ask_again(s, next_retry(s));
  if (s->state == SERVICE_ONLINE)
    move(s, SERVICE_OFFLINE, text);
}

static void call_headers(struct rpc_call *c, void *arg)
{
  struct registration *r = arg;
  char version[16];

  /* A refusal has headers, too, but does not say this. */
  if (r->service != NULL && rpc_call_metadata(c, "mindmeld-version", version, sizeof version) > 0)
    registered(r->service);
}

static void call_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct registration *r = arg;
  Mindmeld__CreateServiceResponse *response = NULL;

  if (m == NULL)
    return;
  if (r->service != NULL)
    response = (Mindmeld__CreateServiceResponse *)rpc_message_unpack(m, &mindmeld__create_service_response__descriptor);
  rpc_message_free(m);
  if (r->service == NULL)
    return;
  registered(r->service);
  if (response != NULL) {
    if (r->service != NULL && r->service->has_target && response->token[0] != '\0')
      r->owner->events->token(r->service, response->token, &r->service->target, r->owner->arg);
    mindmeld__create_service_response__free_unpacked(response, NULL);
  }
  if (r->service != NULL)
    rpc_call_receive(c);
}

static void call_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct registration *r = arg;
  struct service *s = r->service;
  char why[WHY_SIZE];

  (void)c;
  r->call = NULL;
  r->service = NULL;
  if (r->query != NULL)
    link_ask_cancel(r->query);
  if (s == NULL) {
    registration_unref(r);
    return;
  }
  s->registration = NULL;
  switch (status) {
  case RPC_ALREADY_EXISTS:
    if (uv_now(s->owner->loop) < s->again_until)
      ask_again(s, AGAIN_MS);
    else
      refused(s, SERVICE_TAKEN, -EEXIST, "the name is taken by somebody else");
    break;
  case RPC_PERMISSION_DENIED:
  case RPC_UNAUTHENTICATED:
  case RPC_RESOURCE_EXHAUSTED:
  case RPC_INVALID_ARGUMENT:
    snprintf(why, sizeof why, "the router refuses it: %s", text);
    refused(s, SERVICE_OFFLINE, -rpc_status_errno(status), why);
    break;
  default:
    stream_lost(s, status == RPC_OK ? "the router ended the registration" : text);
    break;
  }
  registration_unref(r);
}

static const struct rpc_call_events call_events = {
    .headers = call_headers, .message = call_message, .closed = call_closed};

static void list_answer(enum rpc_status status, const char *text, bool found, void *arg)
{
  struct registration *r = arg;
  struct service *s = r->service;

  (void)text;
  r->query = NULL;
  if (s != NULL) {
    r->seen = status == RPC_OK && found ? r->seen + 1 : 0;
    if (r->seen >= 2)
      registered(s);
    else
      ask_again(s, CONFIRM_MS);
  }
  registration_unref(r);
}

static int look_at_list(struct registration *r)
{
  if (r->query != NULL)
    return 0;
  return link_ask(&r->query, r->owner->link, r->service->name, SERVICE_VERDICT_MS, list_answer, r);
}

static struct rpc_message *request_for(const struct service *s)
{
  Mindmeld__CreateServiceRequest request = MINDMELD__CREATE_SERVICE_REQUEST__INIT;
  uint8_t member[LINK_MEMBER_SIZE], key[LINK_MEMBER_KEY_SIZE];
  char name[NAME_SIZE];
  struct rpc_message *m;

  memcpy(name, s->name, sizeof name);
  request.name = name;
  if (!link_original(s->owner->link)) {
    memcpy(member, link_member(s->owner->link), sizeof member);
    memcpy(key, link_member_key(s->owner->link), sizeof key);
    request.member = (ProtobufCBinaryData){.len = sizeof member, .data = member};
    request.member_key = (ProtobufCBinaryData){.len = sizeof key, .data = key};
  }
  m = rpc_message_pack(&request.base);
  explicit_bzero(key, sizeof key);
  return m;
}

static int start_call(struct registration *r)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/CreateService"};
  struct rpc_message *request = request_for(r->service);
  int err;

  if (request == NULL)
    return -ENOMEM;
  err = rpc_call_start(&r->call, link_channel(r->owner->link), &options, &call_events, r);
  if (err != 0) {
    rpc_message_free(request);
    return err;
  }
  err = rpc_call_send(r->call, request);
  if (err == 0)
    err = rpc_call_end(r->call);
  if (err == 0)
    err = rpc_call_receive(r->call);
  /* Once it is started, `closed` tells what became of it. */
  if (err != 0 && err != -EPIPE)
    rpc_call_cancel(r->call, RPC_INTERNAL, strerror(-err));
  return 0;
}

static void begin(struct service *s)
{
  struct registration *r = calloc(1, sizeof *r);
  int err = -ENOMEM;

  uv_timer_stop(&s->timer);
  if (r != NULL) {
    *r = (struct registration){.owner = s->owner, .service = s};
    err = start_call(r);
    if (err != 0)
      free(r);
  }
  if (err != 0) {
    ask_again(s, next_retry(s));
    return;
  }
  s->owner->holds++;
  s->registration = r;
  if (link_original(s->owner->link) && look_at_list(r) != 0)
    ask_again(s, CONFIRM_MS);
}

static void timer_fired(uv_timer_t *timer)
{
  struct service *s = timer->data;

  if (s->registration != NULL) {
    if (look_at_list(s->registration) != 0)
      ask_again(s, next_retry(s));
    return;
  }
  if (!s->has_target || !link_connected(s->owner->link))
    return;
  begin(s);
}

/* ---- What the link tells. ---- */

static void link_up(struct service *s)
{
  if (!s->has_target || s->state != SERVICE_OFFLINE)
    return;
  s->retry_ms = RETRY_MIN_MS;
  s->again_until = uv_now(s->owner->loop) + AGAIN_FOR_MS;
  move(s, SERVICE_REGISTERING, NULL);
  begin(s);
}

static void link_down(struct service *s)
{
  drop(s);
  if (s->state == SERVICE_PENDING)
    return;
  move(s, s->has_target ? SERVICE_OFFLINE : SERVICE_PENDING, "the router is not reachable");
  /* It will take effect later, as if it had been written now. */
  answer_all(s, 0, "");
}

void services_link_changed(struct services *ss)
{
  bool linked = link_connected(ss->link);
  struct service *s, *next;

  if (linked == ss->linked)
    return;
  ss->linked = linked;
  HASH_ITER(hh, ss->table, s, next)
  {
    if (linked)
      link_up(s);
    else
      link_down(s);
  }
}

void services_name_free(struct services *ss, const char *name)
{
  struct service *s = services_find(ss, name);

  if (s == NULL || s->state != SERVICE_TAKEN || s->registration != NULL)
    return;
  if (s->has_target)
    begin(s);
  else
    move(s, SERVICE_PENDING, NULL);
}

/* ---- Open, declare, withdraw, close. ---- */

int services_open(struct services **out, struct uv_loop_s *loop, struct link *link,
                  const struct services_events *events, void *arg)
{
  struct services *ss = calloc(1, sizeof *ss);
  int err;

  if (ss == NULL)
    return -ENOMEM;
  *ss = (struct services){.loop = loop, .link = link, .events = events, .arg = arg, .linked = link_connected(link)};
  err = uv_timer_init(loop, &ss->end);
  if (err != 0) {
    free(ss);
    return err;
  }
  ss->end.data = ss;
  ss->holds = 1;
  *out = ss;
  return 0;
}

static void end_closed(uv_handle_t *handle)
{
  release(handle->data);
}

static void service_freed(uv_handle_t *handle)
{
  struct service *s = handle->data;
  struct services *ss = s->owner;

  free(s);
  release(ss);
}

static void withdraw(struct service *s, int error, const char *why)
{
  struct services *ss = s->owner;

  drop(s);
  HASH_DEL(ss->table, s);
  answer_all(s, error, why);
  ss->events->withdrawn(s, ss->arg);
  uv_close((uv_handle_t *)&s->timer, service_freed);
}

void services_withdraw(struct service *s)
{
  withdraw(s, -ENOENT, "the service was withdrawn meanwhile");
}

void services_close(struct services *ss, void (*closed)(void *arg), void *arg)
{
  struct service *s, *next;

  ss->closing = true;
  ss->closed = closed;
  ss->closed_arg = arg;
  HASH_ITER(hh, ss->table, s, next)
  {
    withdraw(s, -ECANCELED, "mmfs ends");
  }
  uv_close((uv_handle_t *)&ss->end, end_closed);
}

int services_declare(struct services *ss, const char *name, struct service **out, const char **why)
{
  struct service *s;
  int err = service_name_check(name, why);

  if (err != 0)
    return err;
  if (services_find(ss, name) != NULL) {
    *why = "it is declared here already";
    return -EEXIST;
  }
  if (HASH_COUNT(ss->table) >= SERVICES_MAX) {
    *why = "as many services as can be are declared here";
    return -ENOSPC;
  }
  *why = "memory is short";
  s = calloc(1, sizeof *s);
  if (s == NULL)
    return -ENOMEM;
  s->owner = ss;
  s->retry_ms = RETRY_MIN_MS;
  snprintf(s->name, sizeof s->name, "%s", name);
  HASH_ADD_STR(ss->table, name, s);
  if (s->hh.tbl == NULL) {
    free(s);
    return -ENOMEM;
  }
  err = uv_timer_init(ss->loop, &s->timer);
  if (err != 0) {
    HASH_DEL(ss->table, s);
    free(s);
    return err;
  }
  s->timer.data = s;
  ss->holds++;
  *out = s;
  return 0;
}

struct service *services_find(const struct services *ss, const char *name)
{
  struct service *s;

  HASH_FIND_STR(ss->table, name, s);
  return s;
}

size_t services_count(const struct services *ss)
{
  return HASH_COUNT(ss->table);
}

struct service *services_next(const struct services *ss, const struct service *s)
{
  return s == NULL ? ss->table : s->hh.next;
}

const char *service_name(const struct service *s)
{
  return s->name;
}

enum service_state service_state(const struct service *s)
{
  return s->state;
}

const struct address *service_target(const struct service *s)
{
  return s->has_target ? &s->target : NULL;
}

const char *service_state_name(enum service_state state)
{
  static const char *const names[] = {
      [SERVICE_PENDING] = "pending", [SERVICE_REGISTERING] = "registering",
      [SERVICE_ONLINE] = "online",   [SERVICE_OFFLINE] = "offline",
      [SERVICE_TAKEN] = "taken",
  };

  return names[state];
}

/* ---- The target. ---- */

static struct service_wait *wait_create(struct service *s, service_verdict_cb verdict, void *arg)
{
  struct service_wait *w = calloc(1, sizeof *w);

  if (w == NULL)
    return NULL;
  *w = (struct service_wait){.service = s,
                             .verdict = verdict,
                             .arg = arg,
                             .error = -ETIMEDOUT,
                             .had_target = s->has_target,
                             .former = s->target};
  if (uv_timer_init(s->owner->loop, &w->timer) != 0) {
    free(w);
    return NULL;
  }
  w->timer.data = w;
  uv_timer_start(&w->timer, wait_over, SERVICE_VERDICT_MS, 0);
  DL_APPEND(s->waits, w);
  s->owner->holds++;
  return w;
}

static void retarget(struct service *s, const struct address *target)
{
  s->has_target = true;
  s->target = *target;
}

int service_set_target(struct service *s, const struct address *target, service_verdict_cb verdict, void *arg,
                       struct service_wait **out)
{
  struct services *ss = s->owner;
  struct service_wait *w;

  if (!link_connected(ss->link)) {
    retarget(s, target);
    if (s->state == SERVICE_PENDING)
      move(s, SERVICE_OFFLINE, "the router is not reachable");
    return 0;
  }
  if (s->state == SERVICE_ONLINE) {
    retarget(s, target);
    return 0;
  }
  w = wait_create(s, verdict, arg);
  if (w == NULL)
    return -ENOMEM;
  *out = w;
  retarget(s, target);
  if (left_lately(ss, s->name))
    s->again_until = uv_now(ss->loop) + AGAIN_FOR_MS;
  move(s, SERVICE_REGISTERING, NULL);
  if (s->registration == NULL)
    begin(s);
  return 1;
}

void service_wait_cancel(struct service_wait *w, int error)
{
  w->error = error;
  uv_timer_start(&w->timer, wait_over, 0, 0);
}

void service_clear_target(struct service *s)
{
  if (s->state == SERVICE_PENDING)
    return;
  drop(s);
  s->has_target = false;
  move(s, SERVICE_PENDING, NULL);
  answer_all(s, -ENOENT, "the target was removed meanwhile");
}
