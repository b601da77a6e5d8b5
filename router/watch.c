/* A watcher is a stream and a cursor. One timer beats for all of them. */
#include "watch.h"

#include <errno.h>
#include <mindmeld.pb-c.h>
#include <stdlib.h>

#include <utlist.h>

#include "catalogue.h"
#include "registry.h"
#include "reply.h"
#include "state.h"

struct watcher {
  struct router *router;
  struct rpc_call *call;
  struct registry_cursor cursor;
  bool sending;
  bool news;            /* there is something to tell, be it a heartbeat */
  enum rpc_status end;  /* to be given once there is no news */
  const char *end_text; /* NULL: it goes on */
  bool ended;           /* was given its status */
  struct watcher *prev, *next;
};

static void watcher_finish(struct watcher *w, enum rpc_status status, const char *text)
{
  w->ended = true;
  reply_finish(w->call, status, text);
}

static void watcher_send(struct watcher *w)
{
  const struct router *r = w->router;
  const struct catalogue_notes notes = {.draining = r->draining, .heartbeat_ms = (uint32_t)r->limits.heartbeat_ms};
  bool complete;
  struct rpc_message *m = catalogue_news(r->registry, &w->cursor, &notes, &complete);
  int error = m ? rpc_call_send(w->call, m) : -ENOMEM;
  if (error == 0) {
    w->sending = true;
    w->news = !complete;
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

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct watcher *w = arg;
  struct router *r = w->router;
  DL_DELETE(r->watchers, w);
  r->watcher_count--;
  if (r->beat && r->watcher_count == 0) {
    rpc_timer_cancel(r->beat);
    r->beat = NULL;
  }
  free(w);
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

void watch_start(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  Mindmeld__WatchServicesRequest *request =
      (Mindmeld__WatchServicesRequest *)rpc_message_unpack(m, &mindmeld__watch_services_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "that is not a WatchServicesRequest");
    return;
  }
  mindmeld__watch_services_request__free_unpacked(request, NULL);
  struct rpc_call *c = opening_take(o);
  if (r->watcher_count >= r->limits.watchers) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router may have %zu watchers at once", r->limits.watchers);
    return;
  }
  struct watcher *w = calloc(1, sizeof *w);
  if (!w || (!r->beat && beat_start(r) != 0)) {
    free(w);
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  w->router = r;
  w->call = c;
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
