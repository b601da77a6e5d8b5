/* A watcher is a stream and what it has seen. One timer beats for all of them. */
#include "watch.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdlib.h>

#include <utlist.h>

#include "catalogue.h"
#include "join.h"
#include "lost.h"
#include "proto/wire/identity.h"
#include "registry.h"
#include "router/door/callers.h"
#include "router/door/reply.h"
#include "router/door/state.h"
#include "router/door/table.h"

struct watcher {
  struct router *router;
  struct rpc_call *call;
  struct caller *caller; /* holds CALLER_WATCHERS for it */
  struct registry_cursor cursor;
  uint64_t lost_seen;
  uint8_t challenge[IDENTITY_CHALLENGE_SIZE];
  bool challenged;           /* and it was not answered yet */
  struct presence *presence; /* whose watch it is */
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

enum { CHALLENGE_SIZE = IDENTITY_CHALLENGE_SIZE };

static void watcher_finish(struct watcher *w, enum rpc_status status, const char *text)
{
  w->ended = true;
  reply_finish(w->call, status, text);
}

static void watcher_send(struct watcher *w)
{
  const struct router *r = w->router;
  const uint8_t *lost[CATALOGUE_PAGE];
  const size_t page = r->limits.page < CATALOGUE_PAGE ? r->limits.page : CATALOGUE_PAGE;
  uint64_t lost_seen = w->lost_seen;
  const struct catalogue_notes notes = {
      .draining = r->draining,
      .superseded = w->superseded,
      .heartbeat_ms = (uint32_t)r->limits.heartbeat_ms,
      .stream_age_ms = w->greeted ? 0 : r->limits.stream_age_ms,
      .challenge = w->greeted ? NULL : w->challenge,
      .lost = lost,
      .lost_count = lost_read(r->lost, &lost_seen, lost, page),
  };
  bool complete;
  struct rpc_message *m = catalogue_news(r->registry, &w->cursor, page, &notes, &complete);
  int error = m ? rpc_call_send(w->call, m) : -ENOMEM;
  if (error == 0) {
    w->sending = w->greeted = true;
    w->superseded = false;
    w->lost_seen = lost_seen;
    w->news = !complete || lost_unseen(r->lost, lost_seen);
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
    HASH_DEL(w->router->challenged, w); /* NOLINT(clang-analyzer-core.NullDereference): it has neighbours */
  w->challenged = false;
}

static bool challenge_draw(struct watcher *w)
{
  identity_random(w->challenge, sizeof w->challenge);
  HASH_ADD(hh, w->router->challenged, challenge, CHALLENGE_SIZE, w);
  w->challenged = w->hh.tbl != NULL;
  return w->challenged;
}

struct watcher *watch_challenged(struct router *r, const uint8_t *challenge)
{
  struct watcher *w;
  HASH_FIND(hh, r->challenged, challenge, CHALLENGE_SIZE, w);
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

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct watcher *w = arg;
  struct router *r = w->router;
  challenge_drop(w);
  DL_DELETE(r->watchers, w);
  r->watcher_count--;
  if (r->beat && r->watcher_count == 0) {
    rpc_timer_cancel(r->beat);
    r->beat = NULL;
  }
  struct presence *presence = w->presence;
  callers_release(r->callers, w->caller, CALLER_WATCHERS);
  free(w);
  if (presence)
    join_over(r, presence);
}

static const struct rpc_call_events events = {.sent = on_sent, .closed = on_closed};

void watch_wake(struct router *r)
{
  struct watcher *w;
  DL_FOREACH(r->watchers, w)
  {
    w->news = true;
    watcher_step(w);
  }
}

static int beat_start(struct router *r);

static void on_beat(void *arg)
{
  struct router *r = arg;
  r->beat = NULL;
  watch_wake(r);
  /* A watcher without heartbeats comes again, and with it the timer. */
  beat_start(r);
}

static int beat_start(struct router *r)
{
  /* Somewhat faster than promised. */
  return rpc_timer_start(&r->beat, r->queue, r->limits.heartbeat_ms * 9 / 10, on_beat, r);
}

/* Who watches: nobody has said yet who that is but the connection. NULL: it is refused. */
static struct caller *caller_of(struct router *r, struct rpc_call *c)
{
  const struct member nobody = {.given = false};
  struct caller *caller;
  if (r->watcher_count >= r->limits.watchers) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router may have %zu watchers at once", r->limits.watchers);
    return NULL;
  }
  int error = callers_hold(r->callers, &caller, &nobody, rpc_call_peer(c), CALLER_WATCHERS);
  if (error == 0)
    return caller;
  if (error == -ENOSPC)
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "a caller may watch %zu times at once", r->limits.watchers_per_caller);
  else
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  return NULL;
}

void watch_start(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  Mindmeld__WatchServicesRequest *request =
      (Mindmeld__WatchServicesRequest *)rpc_message_unpack(m, &mindmeld__watch_services_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a WatchServicesRequest");
    return;
  }
  mindmeld__watch_services_request__free_unpacked(request, NULL);
  struct rpc_call *c = opening_take(o);
  struct caller *caller = caller_of(r, c);
  if (!caller)
    return;
  struct watcher *w = calloc(1, sizeof *w);
  if (w)
    w->router = r;
  if (!w || !challenge_draw(w) || (!r->beat && beat_start(r) != 0)) {
    if (w)
      challenge_drop(w);
    free(w);
    callers_release(r->callers, caller, CALLER_WATCHERS);
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  w->call = c;
  w->caller = caller;
  w->news = true;
  DL_APPEND(r->watchers, w);
  r->watcher_count++;
  rpc_call_set_arg(c, &events, w);
  int error = rpc_call_send_headers(c, NULL, 0);
  if (error && error != -EPIPE)
    watcher_finish(w, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  watcher_step(w);
}

void watch_end(struct router *r, enum rpc_status status, const char *text)
{
  struct watcher *w;
  DL_FOREACH(r->watchers, w)
  {
    w->end = status;
    w->end_text = text;
    watcher_step(w);
  }
}
