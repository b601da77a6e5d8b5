#include "fixture_daemon_world.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/lookups.h"

void world_impatient(uv_timer_t *t)
{
  (void)t;
  ck_abort_msg("nothing came for %d s", WORLD_PATIENCE_MS / 1000);
}

static void world_waited(uv_timer_t *t)
{
  *(bool *)t->data = true;
}

void world_idle(struct world *w, uint64_t ms)
{
  uv_timer_t timer;
  bool over = false;

  ck_assert_int_eq(uv_timer_init(&w->loop, &timer), 0);
  timer.data = &over;
  uv_timer_start(&timer, world_waited, ms, 0);
  WORLD_UNTIL(w, over);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&w->loop, UV_RUN_NOWAIT);
}

static void world_answered(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  (void)text;
  ck_assert_int_eq(status, RPC_UNIMPLEMENTED);
  ck_assert_ptr_null(answer);
  ++*(int *)arg;
}

void world_settle(struct world *w)
{
  enum { ROUNDS = 3 };
  const struct rpc_call_options call = {.method = "/mindmeld.ControlService/Settle"};
  struct rpc_call *asking;

  for (int answers = 0, asked = 0; answers < ROUNDS;) {
    ck_assert_int_eq(
        rpc_unary(&asking, link_channel(w->link), &call, rpc_message_copy("", 0), world_answered, &answers), 0);
    asked++;
    WORLD_UNTIL(w, answers == asked);
  }
}

/* ---- The router ---- */

void fake_watch_send(struct world *w, struct fake_call *f, bool restart, const char **up, size_t up_count,
                     const char **down, size_t down_count, bool draining)
{
  Mindmeld__WatchServicesResponse news = MINDMELD__WATCH_SERVICES_RESPONSE__INIT;
  Mindmeld__Service services[WORLD_NAMES], *pointers[WORLD_NAMES];
  Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
  char texts[2 * WORLD_NAMES][64], *removed[WORLD_NAMES];

  time.seconds = 1000;
  for (size_t i = 0; i < up_count; i++) {
    mindmeld__service__init(&services[i]);
    snprintf(texts[i], sizeof texts[i], "%s", up[i]);
    services[i].name = texts[i];
    services[i].create_time = &time;
    pointers[i] = &services[i];
  }
  for (size_t i = 0; i < down_count; i++) {
    snprintf(texts[WORLD_NAMES + i], sizeof texts[0], "%s", down[i]);
    removed[i] = texts[WORLD_NAMES + i];
  }
  news.services = pointers;
  news.n_services = up_count;
  news.removed = removed;
  news.n_removed = down_count;
  news.restart = restart;
  news.complete = true;
  news.draining = draining;
  news.heartbeat_ms = w->router.heartbeat_ms;
  if (restart) {
    static uint8_t watch[RAW_WATCH_SIZE] = {'w'}, secret[RAW_SECRET_SIZE] = {'s'};
    if (w->router.stream_addr != NULL) {
      news.stream_addr = (char *)(uintptr_t)w->router.stream_addr;
      news.stream_watch = (ProtobufCBinaryData){.len = sizeof watch, .data = watch};
      news.stream_secret = (ProtobufCBinaryData){.len = sizeof secret, .data = secret};
    }
    news.stream_age_ms = w->router.stream_age_ms;
    if (w->router.challenges) {
      identity_random(f->challenge, sizeof f->challenge);
      news.challenge = (ProtobufCBinaryData){.len = sizeof f->challenge, .data = f->challenge};
    }
  }
  ck_assert_int_eq(rpc_call_send(f->call, rpc_message_pack(&news.base)), 0);
}

void fake_watch_tell(struct fake_call *f, const void *lost, size_t lost_size, bool superseded)
{
  Mindmeld__WatchServicesResponse news = MINDMELD__WATCH_SERVICES_RESPONSE__INIT;
  ProtobufCBinaryData member = {.len = lost_size, .data = (uint8_t *)(uintptr_t)lost};

  news.lost = &member;
  news.n_lost = lost_size > 0;
  news.superseded = superseded;
  WORLD_UNTIL(f->w, !f->sending);
  f->sending = 1;
  ck_assert_int_eq(rpc_call_send(f->call, rpc_message_pack(&news.base)), 0);
}

struct fake_call *fake_find(struct world *w, bool watch, const char *name)
{
  struct fake_call *f;

  DL_FOREACH(w->calls, f)
  {
    if (watch ? f->watch : f->create && strcmp(f->name, name) == 0)
      return f;
  }
  return NULL;
}

void fake_news(struct world *w, const char *up, const char *down, bool draining)
{
  struct fake_call *f = fake_find(w, true, NULL);

  ck_assert_ptr_nonnull(f);
  WORLD_UNTIL(w, !f->sending);
  f->sending = 1;
  fake_watch_send(w, f, false, &up, up != NULL, &down, down != NULL, draining);
}

static void fake_list(struct world *w, struct rpc_call *c)
{
  Mindmeld__ListServicesResponse list = MINDMELD__LIST_SERVICES_RESPONSE__INIT;
  Mindmeld__Service services[2 * WORLD_NAMES], *pointers[2 * WORLD_NAMES];
  char texts[WORLD_NAMES][64];
  struct fake_call *f;

  if (w->router.list_status != RPC_OK) {
    rpc_call_finish(c, w->router.list_status, "as told");
    return;
  }
  list.services = pointers;
  for (size_t i = 0; i < w->router.name_count; i++) {
    snprintf(texts[i], sizeof texts[i], "%s", w->router.names[i]);
    pointers[list.n_services] = &services[list.n_services];
    mindmeld__service__init(&services[list.n_services]);
    services[list.n_services++].name = texts[i];
  }
  DL_FOREACH(w->calls, f)
  {
    if (!f->create || w->router.create_mute)
      continue;
    pointers[list.n_services] = &services[list.n_services];
    mindmeld__service__init(&services[list.n_services]);
    services[list.n_services++].name = f->name;
  }
  ck_assert_int_eq(rpc_call_send(c, rpc_message_pack(&list.base)), 0);
  ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), 0);
}

static void fake_create(struct world *w, struct fake_call *f, const struct rpc_message *m)
{
  static const struct rpc_metadata version = {"mindmeld-version", "2"};
  Mindmeld__CreateServiceRequest *request =
      (Mindmeld__CreateServiceRequest *)rpc_message_unpack(m, &mindmeld__create_service_request__descriptor);

  ck_assert_ptr_nonnull(request);
  snprintf(f->name, sizeof f->name, "%s", request->name);
  ck_assert_uint_eq(request->member.len, w->router.first_version ? 0 : LINK_MEMBER_SIZE);
  ck_assert_uint_eq(request->member_key.len, w->router.first_version ? 0 : LINK_MEMBER_KEY_SIZE);
  mindmeld__create_service_request__free_unpacked(request, NULL);
  if (w->router.create_status != RPC_OK) {
    rpc_call_finish(f->call, w->router.create_status, "as told");
    if (w->router.refuse_creates > 0 && --w->router.refuse_creates == 0)
      w->router.create_status = RPC_OK;
    return;
  }
  if (w->router.replaces && fake_find(w, false, f->name) != NULL) {
    struct fake_call *former = fake_find(w, false, f->name);

    former->create = false;
    rpc_call_finish(former->call, RPC_ABORTED, "taken over");
  }
  f->create = true;
  if (!w->router.create_mute && !w->router.first_version)
    rpc_call_send_headers(f->call, &version, 1);
}

struct fake_call *fake_joining(struct world *w)
{
  struct fake_call *f;

  DL_SEARCH_SCALAR(w->calls, f, join, true);
  ck_assert_ptr_nonnull(f);
  return f;
}

int fake_count_watches(const struct world *w)
{
  const struct fake_call *f;
  int count = 0;

  DL_FOREACH(w->calls, f)
  {
    count += f->watch;
  }
  return count;
}

void fake_join_verdict(struct fake_call *f)
{
  Mindmeld__JoinResponse response = MINDMELD__JOIN_RESPONSE__INIT;
  char *takes = (char *)f->w->router.takes;

  response.n_removed = takes != NULL;
  response.removed = &takes;
  if (f->w->router.join_status == RPC_OK) {
    ck_assert_int_eq(rpc_call_send(f->call, rpc_message_pack(&response.base)), 0);
    ck_assert_int_eq(rpc_call_finish(f->call, RPC_OK, NULL), 0);
  } else {
    ck_assert_int_eq(rpc_call_finish(f->call, f->w->router.join_status, "as told"), 0);
  }
}

static void fake_trace(struct world *w, struct fake_call *f, const struct rpc_message *m)
{
  Mindmeld__TraceRequest *request =
      (Mindmeld__TraceRequest *)rpc_message_unpack(m, &mindmeld__trace_request__descriptor);

  ck_assert_ptr_nonnull(request);
  ck_assert_uint_eq(request->n_origin, request->n_dialled);
  f->traced = request->n_origin;
  mindmeld__trace_request__free_unpacked(request, NULL);
  w->traces++;
}

size_t fake_trace_verdict(struct world *w, unsigned hops)
{
  Mindmeld__TraceResponse response = MINDMELD__TRACE_RESPONSE__INIT;
  uint32_t all[64];
  struct fake_call *f;

  DL_FOREACH(w->calls, f)
  {
    if (f->traced > 0)
      break;
  }
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_le(f->traced, 64);
  response.n_hops = f->traced;
  response.hops = all;
  for (size_t i = 0; i < f->traced; i++)
    all[i] = hops;
  f->traced = 0;
  ck_assert_int_eq(rpc_call_send(f->call, rpc_message_pack(&response.base)), 0);
  ck_assert_int_eq(rpc_call_finish(f->call, RPC_OK, NULL), 0);
  return response.n_hops;
}

/* What a router must see in it. */
static void fake_join(struct world *w, struct fake_call *f, const struct rpc_message *m)
{
  Mindmeld__JoinRequest *request = (Mindmeld__JoinRequest *)rpc_message_unpack(m, &mindmeld__join_request__descriptor);
  struct identity_claim claim = {0};
  uint8_t member[LINK_MEMBER_SIZE];
  const struct fake_call *watch;

  ck_assert_ptr_nonnull(request);
  ck_assert_uint_eq(request->member.len, sizeof claim.member);
  ck_assert_uint_eq(request->member_key.len, LINK_MEMBER_KEY_SIZE);
  ck_assert_uint_eq(request->identity.len, sizeof claim.identity);
  ck_assert_uint_eq(request->challenge.len, sizeof claim.challenge);
  ck_assert_uint_eq(request->signature.len, IDENTITY_SIGNATURE_SIZE);
  memcpy(claim.member, request->member.data, sizeof claim.member);
  memcpy(claim.identity, request->identity.data, sizeof claim.identity);
  memcpy(claim.challenge, request->challenge.data, sizeof claim.challenge);
  claim.instance = w->instance = request->instance;
  w->former = request->former_key.len == LINK_MEMBER_KEY_SIZE;
  member_of_key(request->member_key.data, member);
  ck_assert_mem_eq(member, claim.member, sizeof member);
  ck_assert(identity_verify(&claim, request->signature.data));
  DL_SEARCH_SCALAR(w->calls, watch, watch, true);
  while (watch != NULL && memcmp(watch->challenge, claim.challenge, sizeof claim.challenge) != 0)
    watch = watch->next;
  ck_assert_ptr_nonnull(watch);
  mindmeld__join_request__free_unpacked(request, NULL);
  f->join = true;
  if (!w->router.join_mute)
    fake_join_verdict(f);
}

void fake_verdict(struct fake_call *f)
{
  static const struct rpc_metadata version = {"mindmeld-version", "2"};

  ck_assert_int_eq(rpc_call_send_headers(f->call, &version, 1), 0);
}

void fake_token(struct fake_call *f, const char *token)
{
  Mindmeld__CreateServiceResponse response = MINDMELD__CREATE_SERVICE_RESPONSE__INIT;
  char text[64];

  WORLD_UNTIL(f->w, !f->sending);
  f->sending = 1;
  snprintf(text, sizeof text, "%s", token);
  response.token = text;
  ck_assert_int_eq(rpc_call_send(f->call, rpc_message_pack(&response.base)), 0);
}

static void fake_forward(struct world *w, struct rpc_call *c)
{
  Mindmeld__ForwardToServiceResponse response = MINDMELD__FORWARD_TO_SERVICE_RESPONSE__INIT;
  char token[64];

  if (w->router.token == NULL) {
    rpc_call_finish(c, RPC_NOT_FOUND, "no such service");
    return;
  }
  snprintf(token, sizeof token, "%s", w->router.token);
  response.token = token;
  int error = rpc_call_send(c, rpc_message_pack(&response.base));
  ck_assert(error == 0 || error == -EPIPE); /* the question may have been taken back */
  if (error == 0)
    ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), 0);
}

static void fake_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct fake_call *f = arg;
  struct world *w = f->w;

  if (w->on_message != NULL && strstr(rpc_call_method(c), "/mindmeld.ControlService/") == NULL) {
    w->on_message(f, m);
    rpc_message_free(m);
    return;
  }
  if (m == NULL)
    return;
  if (strstr(rpc_call_method(c), "/WatchServices") != NULL) {
    w->watches++;
    f->watch = w->router.watch_status == RPC_OK;
    if (w->router.watch_status != RPC_OK)
      rpc_call_finish(c, w->router.watch_status, "as told");
    else if (!w->router.watch_mute && (f->sending = 1))
      fake_watch_send(w, f, true, w->router.names, w->router.name_count, NULL, 0, w->router.drains);
  } else if (strstr(rpc_call_method(c), "/Join") != NULL) {
    w->joins++;
    fake_join(w, f, m);
  } else if (strstr(rpc_call_method(c), "/ListServices") != NULL) {
    w->lists++;
    fake_list(w, c);
  } else if (strstr(rpc_call_method(c), "/CreateService") != NULL) {
    w->creates++;
    fake_create(w, f, m);
  } else if (strstr(rpc_call_method(c), "/Trace") != NULL && w->router.traces) {
    fake_trace(w, f, m);
  } else if (strstr(rpc_call_method(c), "/ForwardToService") != NULL) {
    w->asks++;
    fake_forward(w, c);
  } else {
    rpc_call_finish(c, RPC_UNIMPLEMENTED, "unknown");
  }
  rpc_message_free(m);
}

static void fake_sent(struct rpc_call *c, void *arg)
{
  struct fake_call *f = arg;

  (void)c;
  f->sending = 0;
}

static void fake_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct fake_call *f = arg;

  (void)c;
  (void)text;
  if (f->w->on_closed != NULL)
    f->w->on_closed(f, status);
  DL_DELETE(f->w->calls, f);
  free(f);
}

static void fake_call_came(struct rpc_server *s, struct rpc_call *c, void *arg)
{
  static const struct rpc_call_events events = {.message = fake_message, .sent = fake_sent, .closed = fake_closed};
  struct world *w = arg;
  struct fake_call *f = calloc(1, sizeof *f);

  (void)s;
  ck_assert_ptr_nonnull(f);
  f->w = w;
  f->call = c;
  DL_APPEND(w->calls, f);
  rpc_call_set_arg(c, &events, f);
  ck_assert_int_eq(rpc_call_receive(c), 0);
}

void world_router_start(struct world *w)
{
  char address[64];

  snprintf(address, sizeof address, "127.0.0.1:%d", w->port);
  const struct rpc_server_options options = {.address = address};

  ck_assert_int_eq(rpc_server_start(&w->server, w->queue, &options, fake_call_came, w, &w->port), 0);
}

static void world_server_stopped(void *arg)
{
  struct world *w = arg;

  w->server = NULL;
}

void world_router_stop(struct world *w)
{
  if (w->server == NULL)
    return;
  rpc_server_stop(w->server, world_server_stopped, w);
  rpc_server_cancel_calls(w->server);
  WORLD_UNTIL(w, w->server == NULL);
}

/* ---- The link ---- */

bool world_has(const struct world *w, const char *name)
{
  for (size_t i = 0; i < w->name_count; i++) {
    if (strcmp(w->names[i], name) == 0)
      return true;
  }
  return false;
}

static void world_state(struct link *l, bool connected, const char *why, void *arg)
{
  struct world *w = arg;

  ck_assert_int_eq(link_connected(l), connected);
  ck_assert_int_eq(connected, why[0] == '\0');
  w->states++;
  w->connects += connected;
  w->losses += !connected;
  snprintf(w->why, sizeof w->why, "%s", why);
  if (w->on_state != NULL)
    w->on_state(w);
}

static void world_up(struct link *l, const struct link_service *service, void *arg)
{
  struct world *w = arg;

  (void)l;
  if (world_has(w, service->name))
    return;
  ck_assert_uint_lt(w->name_count, WORLD_NAMES);
  snprintf(w->names[w->name_count++], sizeof w->names[0], "%s", service->name);
}

static void world_forget(struct world *w, const char *name)
{
  for (size_t i = 0; i < w->name_count; i++) {
    if (strcmp(w->names[i], name) != 0)
      continue;
    memmove(w->names[i], w->names[i + 1], (w->name_count - i - 1) * sizeof w->names[0]);
    w->name_count--;
    break;
  }
}

static void world_down(struct link *l, const char *name, void *arg)
{
  struct world *w = arg;

  (void)l;
  w->downs++;
  world_forget(w, name);
  if (w->on_down != NULL)
    w->on_down(w, name);
}

static void world_missing(struct link *l, const char *name, void *arg)
{
  struct world *w = arg;

  (void)l;
  w->missing++;
  world_forget(w, name);
}

static void world_renewed(struct link *l, void *arg)
{
  struct world *w = arg;

  w->renewals++;
  ck_assert_uint_eq(link_renewals(l), (unsigned)w->renewals);
  if (w->on_renewed != NULL)
    w->on_renewed(w);
}

static void world_lost(struct link *l, const uint8_t *member, void *arg)
{
  struct world *w = arg;

  (void)l;
  w->losts++;
  memcpy(w->lost, member, sizeof w->lost);
}

static void world_joined(struct link *l, void *arg)
{
  struct world *w = arg;

  (void)l;
  w->joined++;
}

static void world_superseded(struct link *l, void *arg)
{
  struct world *w = arg;

  ck_assert(link_superseded(l));
  w->supersessions++;
  if (w->on_superseded != NULL)
    w->on_superseded(w);
}

static void world_draining(struct link *l, void *arg)
{
  struct world *w = arg;

  (void)l;
  w->drains++;
}

void world_open(struct world *w)
{
  *w = (struct world){0};
  own_identity_make(&w->identity);
  ck_assert_int_eq(uv_loop_init(&w->loop), 0);
  ck_assert_int_eq(rpc_queue_create(&w->queue), 0);
  ck_assert_int_eq(rpc_queue_attach(w->queue, &w->loop), 0);
  ck_assert_int_eq(lookups_open(&w->lookups, &w->loop), 0);
  w->events = (struct link_events){.state = world_state,
                                   .service_up = world_up,
                                   .service_down = world_down,
                                   .service_missing = world_missing,
                                   .draining = world_draining,
                                   .renewed = world_renewed,
                                   .lost = world_lost,
                                   .joined = world_joined,
                                   .superseded = world_superseded};
  world_router_start(w);
}

void world_link(struct world *w, const char *key)
{
  char target[64];

  snprintf(target, sizeof target, "127.0.0.1:%d", w->port);
  const struct link_options options = {
      .target = target,
      .key = key,
      .identity = {.seed = w->identity.seed,
                   .instance = w->identity.instance,
                   .member_key = w->identity.member_key,
                   .former_key = w->identity.has_former ? w->identity.former_key : NULL},
      .answer_ms = w->answer_ms};

  ck_assert_int_eq(link_open(&w->link, w->lookups, w->queue, &options, &w->events, w), 0);
}

void world_link_closed(void *arg)
{
  struct world *w = arg;

  w->link_gone = true;
}

static void world_queue_stopped(void *arg)
{
  struct world *w = arg;

  w->queue_gone = true;
}

void world_close(struct world *w)
{
  if (w->link != NULL) {
    link_close(w->link, world_link_closed, w);
    ck_assert(!w->link_gone);
    WORLD_UNTIL(w, w->link_gone);
  }
  world_router_stop(w);
  rpc_queue_stop(w->queue, world_queue_stopped, w);
  while (!w->queue_gone)
    uv_run(&w->loop, UV_RUN_ONCE);
  rpc_queue_free(w->queue);
  lookups_close(w->lookups, NULL, NULL);
  while (uv_run(&w->loop, UV_RUN_ONCE) != 0)
    ;
  ck_assert_int_eq(uv_loop_close(&w->loop), 0);
}
