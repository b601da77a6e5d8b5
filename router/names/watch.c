/* A watcher is a stream and what it has seen. One timer beats for all of them. */
#include "watch.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdlib.h>

#include <utlist.h>

#include "catalogue.h"
#include "join.h"
#include "lost.h"
#include "names.h"
#include "passes.h"
#include "proto/wire/identity.h"
#include "publics.h"
#include "registry.h"
#include "router/door/callers.h"
#include "router/door/door.h"
#include "router/door/reply.h"
#include "router/door/table.h"
#include "service.h"

struct watcher {
  struct watchers *all;
  struct rpc_call *call;
  struct caller *caller; /* holds CALLER_WATCHERS for it */
  struct registry_cursor cursor;
  uint64_t lost_seen;
  uint8_t challenge[IDENTITY_CHALLENGE_SIZE];
  bool challenged;           /* and it was not answered yet */
  struct presence *presence; /* whose watch it is */
  struct pass *pass;         /* NULL: no raw streams are opened with this watch, or any more */
  bool gate;                 /* it is told the public names */
  struct gate_ports ports;   /* and where it is reached */
  bool greeted;              /* had its first message */
  bool superseded;           /* and was not told yet */
  bool sending;
  bool news;            /* there is something to tell, be it a heartbeat */
  enum rpc_status end;  /* to be given once there is no news */
  const char *end_text; /* NULL: it goes on */
  bool ended;           /* was given its status */
  struct watcher *prev, *next;
  UT_hash_handle hh; /* by challenge */
};

struct watchers {
  struct names *names;
  struct door *door;
  struct watcher *oldest;
  struct watcher *challenged;
  size_t count;
  struct rpc_timer *beat;
};

enum { CHALLENGE_SIZE = IDENTITY_CHALLENGE_SIZE };

struct watchers *watchers_open(struct names *n)
{
  struct watchers *all = calloc(1, sizeof *all);
  if (!all)
    return NULL;
  all->names = n;
  all->door = router_names_door(n);
  return all;
}

void watchers_close(struct watchers *all)
{
  free(all);
}

static void pass_drop(struct watcher *w)
{
  struct names *n = w->all->names;
  struct pass *p = w->pass;
  w->pass = NULL;
  if (!p)
    return;
  router_names_events(n)->pass_ends(p, router_names_events(n)->arg);
  pass_end(router_names_passes(n), p);
}

static void watcher_finish(struct watcher *w, enum rpc_status status, const char *text)
{
  w->ended = true;
  pass_drop(w);
  reply_finish(w->call, status, text);
}

static void watcher_send(struct watcher *w)
{
  const struct watchers *all = w->all;
  const struct router_limits *limits = door_limits(all->door);
  const struct registry *registry = router_names_registry(all->names);
  const struct lost *over = router_names_lost(all->names);
  const uint8_t *lost[CATALOGUE_PAGE];
  const size_t page = limits->page < CATALOGUE_PAGE ? limits->page : CATALOGUE_PAGE;
  uint64_t lost_seen = w->lost_seen;
  const struct catalogue_notes notes = {
      .draining = door_phase(all->door) != DOOR_SERVING,
      .superseded = w->superseded,
      .gate = w->gate,
      .heartbeat_ms = (uint32_t)limits->heartbeat_ms,
      .stream_age_ms = w->greeted ? 0 : limits->stream_age_ms,
      .challenge = w->greeted ? NULL : w->challenge,
      .streams = w->greeted || !w->pass ? NULL : router_names_streams(all->names),
      .pass = w->pass,
      .lost = lost,
      .lost_count = lost_read(over, &lost_seen, lost, page),
  };
  bool complete;
  struct rpc_message *m = catalogue_news(registry, &w->cursor, page, &notes, &complete);
  int error = m ? rpc_call_send(w->call, m) : -ENOMEM;
  if (error == 0) {
    w->sending = w->greeted = true;
    if (w->pass)
      pass_told(w->pass);
    w->superseded = false;
    w->lost_seen = lost_seen;
    w->news = !complete || lost_unseen(over, lost_seen);
  } else if (error != -EPIPE) {
    watcher_finish(w, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  }
}

static void watcher_step(struct watcher *w)
{
  if (w->news && !w->sending && !w->ended)
    watcher_send(w);
  if (w->end_text && !w->news && !w->ended)
    watcher_finish(w, w->end, w->end_text);
}

static void on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  struct watcher *w = arg;
  w->sending = false;
  watcher_step(w);
}

static void challenge_drop(struct watcher *w)
{
  if (w->challenged)
    HASH_DEL(w->all->challenged, w); /* NOLINT(clang-analyzer-core.NullDereference): it has neighbours */
  w->challenged = false;
}

static bool challenge_draw(struct watcher *w)
{
  identity_random(w->challenge, sizeof w->challenge);
  HASH_ADD(hh, w->all->challenged, challenge, CHALLENGE_SIZE, w);
  w->challenged = w->hh.tbl != NULL;
  return w->challenged;
}

struct watcher *watch_challenged(struct names *n, const uint8_t *challenge)
{
  struct watchers *all = router_names_watchers(n);
  struct watcher *w;
  HASH_FIND(hh, all->challenged, challenge, CHALLENGE_SIZE, w);
  if (w)
    challenge_drop(w);
  return w;
}

void watcher_is_of(struct watcher *w, struct presence *p)
{
  w->presence = p;
}

const char *watcher_peer(const struct watcher *w)
{
  return rpc_call_peer(w->call);
}

void watcher_supersede(struct watcher *w)
{
  w->superseded = w->news = true;
  watcher_step(w);
}

struct gate_ports watch_gates(struct names *n)
{
  struct gate_ports ports = {0};
  const struct watcher *w;
  DL_FOREACH(router_names_watchers(n)->oldest, w)
  {
    ports.http = ports.http ? ports.http : w->ports.http;
    ports.https = ports.https ? ports.https : w->ports.https;
    ports.tcp |= w->ports.tcp;
  }
  return ports;
}

static void gates_changed(struct names *n, struct gate_ports before)
{
  struct gate_ports now = watch_gates(n);
  if (now.http != before.http || now.https != before.https || now.tcp != before.tcp)
    router_services_gates_changed(n);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct watcher *w = arg;
  struct watchers *all = w->all;
  const struct gate_ports gates = watch_gates(all->names);
  challenge_drop(w);
  pass_drop(w);
  DL_DELETE(all->oldest, w);
  all->count--;
  if (all->beat && all->count == 0) {
    rpc_timer_cancel(all->beat);
    all->beat = NULL;
  }
  struct presence *presence = w->presence;
  callers_release(door_callers(all->door), w->caller, CALLER_WATCHERS);
  free(w);
  gates_changed(all->names, gates);
  if (presence)
    join_over(all->names, presence);
}

static const struct rpc_call_events events = {.sent = on_sent, .closed = on_closed};

void watch_wake(struct names *n)
{
  struct watcher *w;
  DL_FOREACH(router_names_watchers(n)->oldest, w)
  {
    w->news = true;
    watcher_step(w);
  }
}

static int beat_start(struct watchers *all);

static void on_beat(void *arg)
{
  struct watchers *all = arg;
  all->beat = NULL;
  watch_wake(all->names);
  /* A watcher that gets no heartbeats comes again, and starts the timer again. */
  beat_start(all);
}

static int beat_start(struct watchers *all)
{
  /* Somewhat faster than promised. */
  return rpc_timer_start(&all->beat, door_queue(all->door), door_limits(all->door)->heartbeat_ms * 9 / 10, on_beat,
                         all);
}

/* The caller of a watch: only its connection is known so far. NULL: it is refused. */
static struct caller *caller_of(struct watchers *all, struct rpc_call *c)
{
  const struct router_limits *limits = door_limits(all->door);
  const struct member nobody = {.given = false};
  struct caller *caller;
  if (all->count >= limits->watchers) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router may have %zu watchers at once", limits->watchers);
    return NULL;
  }
  int error = callers_hold(door_callers(all->door), &caller, &nobody, rpc_call_peer(c), CALLER_WATCHERS);
  if (error == 0)
    return caller;
  if (error == -ENOSPC)
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may watch %zu times at once", limits->watchers_per_caller);
  else
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  return NULL;
}

/* False: a port is none. `ports` may be zero: who asks is a gate all the same. */
static bool gate_read(const Mindmeld__Gate *gate, struct gate_ports *ports)
{
  if (!gate)
    return true;
  *ports =
      (struct gate_ports){.http = (uint16_t)gate->http_port, .https = (uint16_t)gate->https_port, .tcp = gate->ports};
  return gate->http_port <= UINT16_MAX && gate->https_port <= UINT16_MAX;
}

/* NULL: it was refused. */
static struct watcher *watcher_create(struct watchers *all, struct rpc_call *c)
{
  struct caller *caller = caller_of(all, c);
  if (!caller)
    return NULL;
  struct watcher *w = calloc(1, sizeof *w);
  if (w)
    w->all = all;
  if (!w || !challenge_draw(w) || (!all->beat && beat_start(all) != 0)) {
    if (w)
      challenge_drop(w);
    free(w);
    callers_release(door_callers(all->door), caller, CALLER_WATCHERS);
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return NULL;
  }
  w->call = c;
  w->caller = caller;
  w->news = true;
  /* Without memory for it, there are no raw streams. */
  if (*router_names_streams(all->names))
    w->pass = pass_create(router_names_passes(all->names));
  return w;
}

static void watcher_begin(struct watcher *w)
{
  struct watchers *all = w->all;
  const struct gate_ports gates = watch_gates(all->names);
  DL_APPEND(all->oldest, w);
  all->count++;
  rpc_call_set_arg(w->call, &events, w);
  int error = rpc_call_send_headers(w->call, NULL, 0);
  if (error && error != -EPIPE)
    watcher_finish(w, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  watcher_step(w);
  gates_changed(all->names, gates);
}

void watch_start(struct opening *o, struct rpc_message *m)
{
  struct watchers *all = router_names_watchers(opening_room(o));
  Mindmeld__WatchServicesRequest *request =
      (Mindmeld__WatchServicesRequest *)rpc_message_unpack(m, &mindmeld__watch_services_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a WatchServicesRequest");
    return;
  }
  struct gate_ports ports = {0};
  bool gate = request->gate != NULL, good = gate_read(request->gate, &ports);
  mindmeld__watch_services_request__free_unpacked(request, NULL);
  if (!good) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "a port of the gate is over 65535");
    return;
  }
  struct watcher *w = watcher_create(all, opening_take(o));
  if (!w)
    return;
  w->gate = gate;
  w->ports = ports;
  watcher_begin(w);
}

void watch_end(struct names *n, enum rpc_status status, const char *text)
{
  struct watcher *w;
  DL_FOREACH(router_names_watchers(n)->oldest, w)
  {
    w->end = status;
    w->end_text = text;
    watcher_step(w);
  }
}
