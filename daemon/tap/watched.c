/* One connection that is looked at, from the bytes that a pump shows to a line of the log. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <uv.h>

#include "carry/tunnel/tunnels.h"
#include "taps_internal.h"

static uint64_t now_ms(void)
{
  return uv_hrtime() / 1000000;
}

/* ---- What its dialogue tells ---- */

static struct watched *watched_of(struct dialogue *d)
{
  return (struct watched *)((char *)d - offsetof(struct watched, dialogue));
}

static void began(struct dialogue *d)
{
  struct watched *w = watched_of(d);
  record_begin(&w->record, ++w->tap->last_id, &d->parsers[DIALOGUE_REQUEST].head, now_ms());
  if (w->tunnel == NULL)
    snprintf(w->record.client, sizeof w->record.client, "replay");
  captures_begin(&w->tap->captures, w->record.id, &w->capture);
}

static void answered(struct dialogue *d)
{
  watched_of(d)->record.status = d->parsers[DIALOGUE_ANSWER].head.status;
}

static void passed(struct dialogue *d, enum dialogue_way way, const char *bytes, size_t size)
{
  struct watched *w = watched_of(d);
  if (w->capture != NULL)
    captures_add(&w->tap->captures, w->capture, way, bytes, size);
}

static void log_exchange(struct tap *tap, const struct record *record)
{
  struct tap_line *line = tap->line_count < TAP_LINES_MAX ? malloc(sizeof *line) : NULL;
  if (line == NULL)
    return;
  record_line(record, line->text);
  line->next = NULL;
  if (tap->lines == NULL)
    tap->lines = line;
  else
    tap->last_line->next = line;
  tap->last_line = line;
  tap->line_count++;
}

static void over(struct dialogue *d, bool whole)
{
  struct watched *w = watched_of(d);
  record_end(&w->record, d->bodies[DIALOGUE_REQUEST], d->bodies[DIALOGUE_ANSWER], whole, now_ms());
  log_exchange(w->tap, &w->record);
  if (w->capture != NULL)
    captures_end(&w->tap->captures, w->capture, &w->record);
  w->capture = NULL;
  taps_news(w->tap->owner);
}

static const struct dialogue_events dialogue_events = {
    .began = began, .answered = answered, .passed = passed, .over = over};

/* ---- What its pump shows ---- */

static void update_watches(struct watched *w)
{
  const struct dialogue *d = &w->dialogue;
  bool all = w->tap->captures.limit > 0;
  atomic_store_explicit(&w->observer.watches_to, dialogue_watches(d, DIALOGUE_REQUEST, all), memory_order_relaxed);
  atomic_store_explicit(&w->observer.watches_from, dialogue_watches(d, DIALOGUE_ANSWER, all), memory_order_relaxed);
}

void watched_see(struct watched *w, enum dialogue_way way, const char *bytes, size_t size)
{
  struct taps *ts = w->tap->owner;
  pthread_mutex_lock(&ts->lock);
  w->tap->captures.here = pthread_equal(pthread_self(), ts->loop_thread);
  dialogue_pass(&w->dialogue, way, bytes, size);
  update_watches(w);
  pthread_mutex_unlock(&ts->lock);
}

static void to_socket(struct pump_observer *o, const char *bytes, size_t size)
{
  watched_see((struct watched *)o, DIALOGUE_REQUEST, bytes, size);
}

static void from_socket(struct pump_observer *o, const char *bytes, size_t size)
{
  watched_see((struct watched *)o, DIALOGUE_ANSWER, bytes, size);
}

/* ---- Beginning and end ---- */

void watched_open(struct watched *w, struct tap *tap, struct tunnel *t)
{
  w->observer.to_socket = to_socket;
  w->observer.from_socket = from_socket;
  w->tap = tap;
  w->tunnel = t;
  dialogue_init(&w->dialogue, false, &dialogue_events);
  update_watches(w);
}

void watched_close(struct watched *w)
{
  struct taps *ts = w->tap->owner;
  pthread_mutex_lock(&ts->lock);
  w->tap->captures.here = true;
  dialogue_close(&w->dialogue);
  pthread_mutex_unlock(&ts->lock);
}

/* Short of memory, it goes by unseen. */
static void watch(struct tap *tap, struct tunnel *t, bool middle)
{
  struct watched *w = calloc(1, sizeof *w);
  if (w == NULL)
    return;
  watched_open(w, tap, t);
  if (middle)
    dialogue_init(&w->dialogue, true, &dialogue_events);
  DL_APPEND(tap->all, w);
  tunnel_observe(t, &w->observer);
}

static void unwatch(struct watched *w)
{
  DL_DELETE(w->tap->all, w);
  watched_close(w);
  free(w);
}

void tap_watch_all(struct tap *tap)
{
  struct tunnels *tunnels = tap->owner->tunnels;
  for (struct tunnel *t = NULL; (t = tunnels_next(tunnels, TUNNEL_SERVICE, tap->name, t)) != NULL;)
    if (tunnel_observer(t) == NULL)
      watch(tap, t, true);
}

void tap_unwatch_all(struct tap *tap)
{
  struct watched *w, *next;
  DL_FOREACH_SAFE(tap->all, w, next)
  {
    tunnel_observe(w->tunnel, NULL);
    unwatch(w);
  }
}

void taps_tunnel_opened(struct taps *ts, struct tunnel *t)
{
  if (ts->table == NULL)
    return;
  struct tunnel_info info = tunnel_info(t);
  struct tap *tap = info.role == TUNNEL_SERVICE ? taps_find(ts, info.service) : NULL;
  if (tap != NULL && (tap->log != NULL || tap->captures.limit > 0))
    watch(tap, t, false);
}

/* The pump has let go of it. */
void taps_tunnel_closed(struct taps *ts, struct tunnel *t)
{
  struct watched *w = (struct watched *)tunnel_observer(t);
  (void)ts;
  if (w != NULL)
    unwatch(w);
}
