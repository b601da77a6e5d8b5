/* A router in this process, on the test's own loop, that answers as it is told; and a link to it. Waiting is always for
 * something, and bounded: WORLD_UNTIL(w, condition). */
#ifndef TEST_DAEMON_WORLD_H
#define TEST_DAEMON_WORLD_H

#include <check.h>
#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <uv.h>

#include "daemon/link.h"
#include "proto/rpc.h"

#define WORLD __attribute__((unused)) static

enum { WORLD_PATIENCE_MS = 30000, WORLD_NAMES = 16 };

struct world;

struct fake_call {
  struct world *w;
  void *user;
  struct rpc_call *call;
  char name[300]; /* of CreateService */
  bool watch, create;
  int sending;
  struct fake_call *prev, *next;
};

/* What the router does. */
struct fake_router {
  enum rpc_status watch_status; /* RPC_OK: it serves the watch */
  bool watch_mute;              /* it never answers */
  enum rpc_status list_status, create_status;
  unsigned refuse_creates; /* so many are refused with create_status; 0: all, if it is not RPC_OK */
  bool create_mute;        /* no verdict */
  const char *token;       /* for ForwardToService; NULL: it knows no service */
  bool first_version;      /* says nothing of itself, and lists what is registered */
  uint32_t heartbeat_ms;
  const char *names[WORLD_NAMES];
  size_t name_count;
};

struct world {
  uv_loop_t loop;
  struct rpc_queue *queue;
  struct rpc_server *server;
  struct fake_router router;
  struct fake_call *calls;
  int port;
  int watches, lists, creates, asks; /* that came */
  bool server_gone, link_gone, queue_gone;

  struct link *link;
  struct link_events events;
  int states, connects, losses, drains;
  char why[512];
  char names[WORLD_NAMES][64]; /* the catalogue, as the link told it */
  size_t name_count;
  void (*on_state)(struct world *w);
  void (*on_down)(struct world *w, const char *name);
  /* Of methods that the router does not know; `m` is freed afterwards. */
  void (*on_message)(struct fake_call *f, struct rpc_message *m);
  void (*on_closed)(struct fake_call *f, enum rpc_status status);
  void *user;
};

WORLD void world_impatient(uv_timer_t *t)
{
  (void)t;
  ck_abort_msg("nothing came for %d s", WORLD_PATIENCE_MS / 1000);
}

#define WORLD_UNTIL(w, condition)                                                                                      \
  do {                                                                                                                 \
    uv_timer_t patience_;                                                                                              \
    ck_assert_int_eq(uv_timer_init(&(w)->loop, &patience_), 0);                                                        \
    uv_timer_start(&patience_, world_impatient, WORLD_PATIENCE_MS, 0);                                                 \
    while (!(condition))                                                                                               \
      uv_run(&(w)->loop, UV_RUN_ONCE);                                                                                 \
    uv_close((uv_handle_t *)&patience_, NULL);                                                                         \
    uv_run(&(w)->loop, UV_RUN_NOWAIT);                                                                                 \
  } while (0)

WORLD void world_waited(uv_timer_t *t)
{
  *(bool *)t->data = true;
}

/* For what must not happen: gives it so long to happen. */
WORLD void world_idle(struct world *w, uint64_t ms)
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

/* ---- The router ---- */

WORLD void fake_watch_send(struct world *w, struct rpc_call *c, bool restart, const char **up, size_t up_count,
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
  ck_assert_int_eq(rpc_call_send(c, rpc_message_pack(&news.base)), 0);
}

WORLD struct fake_call *fake_find(struct world *w, bool watch, const char *name)
{
  struct fake_call *f;

  DL_FOREACH(w->calls, f)
  {
    if (watch ? f->watch : f->create && strcmp(f->name, name) == 0)
      return f;
  }
  return NULL;
}

WORLD void fake_news(struct world *w, const char *up, const char *down, bool draining)
{
  struct fake_call *f = fake_find(w, true, NULL);

  ck_assert_ptr_nonnull(f);
  WORLD_UNTIL(w, !f->sending);
  f->sending = 1;
  fake_watch_send(w, f->call, false, &up, up != NULL, &down, down != NULL, draining);
}

WORLD void fake_list(struct world *w, struct rpc_call *c)
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

WORLD void fake_create(struct world *w, struct fake_call *f, const struct rpc_message *m)
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
  f->create = true;
  if (!w->router.create_mute && !w->router.first_version)
    rpc_call_send_headers(f->call, &version, 1);
}

WORLD void fake_verdict(struct fake_call *f)
{
  static const struct rpc_metadata version = {"mindmeld-version", "2"};

  ck_assert_int_eq(rpc_call_send_headers(f->call, &version, 1), 0);
}

WORLD void fake_token(struct fake_call *f, const char *token)
{
  Mindmeld__CreateServiceResponse response = MINDMELD__CREATE_SERVICE_RESPONSE__INIT;
  char text[64];

  WORLD_UNTIL(f->w, !f->sending);
  f->sending = 1;
  snprintf(text, sizeof text, "%s", token);
  response.token = text;
  ck_assert_int_eq(rpc_call_send(f->call, rpc_message_pack(&response.base)), 0);
}

WORLD void fake_forward(struct world *w, struct rpc_call *c)
{
  Mindmeld__ForwardToServiceResponse response = MINDMELD__FORWARD_TO_SERVICE_RESPONSE__INIT;
  char token[64];

  if (w->router.token == NULL) {
    rpc_call_finish(c, RPC_NOT_FOUND, "no such service");
    return;
  }
  snprintf(token, sizeof token, "%s", w->router.token);
  response.token = token;
  ck_assert_int_eq(rpc_call_send(c, rpc_message_pack(&response.base)), 0);
  ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), 0);
}

WORLD void fake_message(struct rpc_call *c, struct rpc_message *m, void *arg)
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
      fake_watch_send(w, c, true, w->router.names, w->router.name_count, NULL, 0, false);
  } else if (strstr(rpc_call_method(c), "/ListServices") != NULL) {
    w->lists++;
    fake_list(w, c);
  } else if (strstr(rpc_call_method(c), "/CreateService") != NULL) {
    w->creates++;
    fake_create(w, f, m);
  } else if (strstr(rpc_call_method(c), "/ForwardToService") != NULL) {
    w->asks++;
    fake_forward(w, c);
  } else {
    rpc_call_finish(c, RPC_UNIMPLEMENTED, "unknown");
  }
  rpc_message_free(m);
}

WORLD void fake_sent(struct rpc_call *c, void *arg)
{
  struct fake_call *f = arg;

  (void)c;
  f->sending = 0;
}

WORLD void fake_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct fake_call *f = arg;

  (void)c;
  (void)text;
  if (f->w->on_closed != NULL)
    f->w->on_closed(f, status);
  DL_DELETE(f->w->calls, f);
  free(f);
}

WORLD void fake_call_came(struct rpc_server *s, struct rpc_call *c, void *arg)
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

/* On the port of before, if there was one. */
WORLD void world_router_start(struct world *w)
{
  char address[64];

  snprintf(address, sizeof address, "127.0.0.1:%d", w->port);
  const struct rpc_server_options options = {.address = address};

  ck_assert_int_eq(rpc_server_start(&w->server, w->queue, &options, fake_call_came, w, &w->port), 0);
}

WORLD void world_server_stopped(void *arg)
{
  struct world *w = arg;

  w->server = NULL;
}

WORLD void world_router_stop(struct world *w)
{
  if (w->server == NULL)
    return;
  rpc_server_stop(w->server, world_server_stopped, w);
  rpc_server_cancel_calls(w->server);
  WORLD_UNTIL(w, w->server == NULL);
}

/* ---- The link ---- */

WORLD bool world_has(const struct world *w, const char *name)
{
  for (size_t i = 0; i < w->name_count; i++) {
    if (strcmp(w->names[i], name) == 0)
      return true;
  }
  return false;
}

WORLD void world_state(struct link *l, bool connected, const char *why, void *arg)
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

WORLD void world_up(struct link *l, const struct link_service *service, void *arg)
{
  struct world *w = arg;

  (void)l;
  if (world_has(w, service->name))
    return;
  ck_assert_uint_lt(w->name_count, WORLD_NAMES);
  snprintf(w->names[w->name_count++], sizeof w->names[0], "%s", service->name);
}

WORLD void world_down(struct link *l, const char *name, void *arg)
{
  struct world *w = arg;

  (void)l;
  for (size_t i = 0; i < w->name_count; i++) {
    if (strcmp(w->names[i], name) != 0)
      continue;
    memmove(w->names[i], w->names[i + 1], (w->name_count - i - 1) * sizeof w->names[0]);
    w->name_count--;
    break;
  }
  if (w->on_down != NULL)
    w->on_down(w, name);
}

WORLD void world_draining(struct link *l, void *arg)
{
  struct world *w = arg;

  (void)l;
  w->drains++;
}

WORLD void world_open(struct world *w)
{
  *w = (struct world){0};
  ck_assert_int_eq(uv_loop_init(&w->loop), 0);
  ck_assert_int_eq(rpc_queue_create(&w->queue), 0);
  ck_assert_int_eq(rpc_queue_attach(w->queue, &w->loop), 0);
  w->events = (struct link_events){
      .state = world_state, .service_up = world_up, .service_down = world_down, .draining = world_draining};
  world_router_start(w);
}

WORLD void world_link(struct world *w, const char *key)
{
  char target[64];

  snprintf(target, sizeof target, "127.0.0.1:%d", w->port);
  const struct link_options options = {.target = target, .key = key, .loopback = true};

  ck_assert_int_eq(link_open(&w->link, &w->loop, w->queue, &options, &w->events, w), 0);
}

WORLD void world_link_closed(void *arg)
{
  struct world *w = arg;

  w->link_gone = true;
}

WORLD void world_queue_stopped(void *arg)
{
  struct world *w = arg;

  w->queue_gone = true;
}

WORLD void world_close(struct world *w)
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
  while (uv_run(&w->loop, UV_RUN_ONCE) != 0)
    ;
  ck_assert_int_eq(uv_loop_close(&w->loop), 0);
}

#endif
