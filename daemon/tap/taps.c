/* The table of what is tapped, and what is told of it. What is seen waits as news, since it may be seen on another
 * thread, and with a pump's locks held; an errand brings it to the loop.
 *
 * Locks: a pump's before the one here. So nothing is asked of a tunnel while that is held.
 */
#include "taps.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "carry/tunnel/tunnels.h"
#include "proto/host/home.h"
#include "proto/host/journal.h"
#include "taps_internal.h"

enum { LOG_SIZE = 128 * 1024 };

/* ---- News ---- */

void taps_news(struct taps *ts)
{
  if (ts->sent)
    return;
  ts->sent = true;
  home_send(ts->home, &ts->errand);
}

static bool next_done(struct tap *tap, uint64_t *id)
{
  pthread_mutex_lock(&tap->owner->lock);
  bool found = captures_next_done(&tap->captures, id);
  pthread_mutex_unlock(&tap->owner->lock);
  return found;
}

static bool next_gone(struct tap *tap, uint64_t *id)
{
  pthread_mutex_lock(&tap->owner->lock);
  bool found = captures_next_gone(&tap->captures, id);
  pthread_mutex_unlock(&tap->owner->lock);
  return found;
}

static struct tap_line *take_lines(struct tap *tap)
{
  pthread_mutex_lock(&tap->owner->lock);
  struct tap_line *lines = tap->lines;
  tap->lines = NULL;
  tap->line_count = 0;
  pthread_mutex_unlock(&tap->owner->lock);
  return lines;
}

static void tell_lines(struct tap *tap)
{
  struct tap_line *lines = take_lines(tap), *line, *next;
  bool any = lines != NULL && tap->log != NULL;
  LL_FOREACH_SAFE(lines, line, next)
  {
    if (tap->log != NULL)
      journal_add(tap->log, "%s", line->text);
    free(line);
  }
  if (any)
    tap->owner->events->logged(tap->name, tap->owner->arg);
}

static void tell(struct tap *tap)
{
  struct taps *ts = tap->owner;
  uint64_t id;
  tell_lines(tap);
  while (next_done(tap, &id))
    ts->events->kept(tap->name, id, ts->arg);
  while (next_gone(tap, &id))
    ts->events->gone(tap->name, id, ts->arg);
}

void taps_close_if_done(struct taps *ts)
{
  if (!ts->closing || ts->replay_count > 0)
    return;
  pthread_mutex_lock(&ts->lock);
  taps_news(ts);
  pthread_mutex_unlock(&ts->lock);
}

static void finish_close(struct taps *ts)
{
  void (*closed)(void *) = ts->closed;
  void *arg = ts->closed_arg;
  pthread_mutex_destroy(&ts->lock);
  free(ts);
  closed(arg);
}

static void news_on_loop(struct errand *e)
{
  struct taps *ts = (struct taps *)((char *)e - offsetof(struct taps, errand));
  struct tap *tap, *next;
  pthread_mutex_lock(&ts->lock);
  ts->sent = false;
  pthread_mutex_unlock(&ts->lock);
  if (ts->closing && ts->replay_count == 0) {
    finish_close(ts);
    return;
  }
  HASH_ITER(hh, ts->table, tap, next)
  {
    tell(tap);
  }
}

/* ---- The table ---- */

struct tap *taps_find(const struct taps *ts, const char *service)
{
  struct tap *tap;
  HASH_FIND_STR(ts->table, service, tap);
  return tap;
}

static struct tap *get(struct taps *ts, const char *service)
{
  struct tap *tap = taps_find(ts, service);
  if (tap != NULL)
    return tap;
  tap = calloc(1, sizeof *tap);
  if (tap == NULL)
    return NULL;
  tap->owner = ts;
  snprintf(tap->name, sizeof tap->name, "%s", service);
  HASH_ADD_STR(ts->table, name, tap);
  if (tap->hh.tbl != NULL)
    return tap;
  free(tap);
  return NULL;
}

static void free_lines(struct tap *tap)
{
  struct tap_line *lines = take_lines(tap), *line, *next;
  LL_FOREACH_SAFE(lines, line, next)
  {
    free(line);
  }
}

/* It begins or ends to look at the connections that there are. */
static void follow(struct tap *tap)
{
  if (tap->log != NULL || tap->captures.limit > 0)
    tap_watch_all(tap);
  else
    tap_unwatch_all(tap);
}

static void set_limit(struct tap *tap, size_t limit)
{
  struct taps *ts = tap->owner;
  pthread_mutex_lock(&ts->lock);
  tap->captures.here = true;
  captures_set_limit(&tap->captures, limit);
  taps_news(ts);
  pthread_mutex_unlock(&ts->lock);
}

static void end_log(struct tap *tap)
{
  free_lines(tap);
  journal_free(tap->log);
  tap->log = NULL;
}

void taps_service_withdrawn(struct taps *ts, const char *service)
{
  struct tap *tap = taps_find(ts, service);
  if (tap == NULL)
    return;
  replays_end(ts, tap, ts->closing ? -ECANCELED : -ENOENT, ts->closing ? "mmfs ends" : "the service was withdrawn");
  tap_unwatch_all(tap);
  set_limit(tap, 0);
  end_log(tap);
  tell(tap);
  HASH_DEL(ts->table, tap);
  free(tap);
}

int taps_open(struct taps **out, struct home *home, struct lookups *lookups, struct tunnels *tunnels,
              const struct taps_events *events, void *arg)
{
  struct taps *ts = calloc(1, sizeof *ts);
  if (ts == NULL)
    return -ENOMEM;
  ts->home = home;
  ts->lookups = lookups;
  ts->tunnels = tunnels;
  ts->events = events;
  ts->arg = arg;
  ts->errand.run = news_on_loop;
  ts->loop_thread = pthread_self();
  pthread_mutex_init(&ts->lock, NULL);
  *out = ts;
  return 0;
}

void taps_close(struct taps *ts, void (*closed)(void *arg), void *arg)
{
  struct tap *tap, *next;
  ts->closing = true;
  ts->closed = closed;
  ts->closed_arg = arg;
  HASH_ITER(hh, ts->table, tap, next)
  {
    taps_service_withdrawn(ts, tap->name);
  }
  taps_close_if_done(ts);
}

/* ---- What users ask for ---- */

int taps_start_log(struct taps *ts, const char *service)
{
  struct tap *tap = get(ts, service);
  if (tap != NULL && tap->log == NULL)
    tap->log = journal_create(LOG_SIZE);
  if (tap == NULL || tap->log == NULL)
    return -ENOMEM;
  follow(tap);
  return 0;
}

void taps_forget_log(struct taps *ts, const char *service)
{
  struct tap *tap = taps_find(ts, service);
  if (tap == NULL)
    return;
  end_log(tap);
  follow(tap);
}

const char *taps_log(const struct taps *ts, const char *service, size_t *size)
{
  const struct tap *tap = taps_find(ts, service);
  *size = 0;
  return tap != NULL && tap->log != NULL ? journal_bytes(tap->log, size) : "";
}

int taps_set_limit(struct taps *ts, const char *service, size_t limit)
{
  struct tap *tap = get(ts, service);
  if (tap == NULL)
    return -ENOMEM;
  set_limit(tap, limit);
  follow(tap);
  return 0;
}

size_t taps_limit(const struct taps *ts, const char *service)
{
  const struct tap *tap = taps_find(ts, service);
  return tap != NULL ? tap->captures.limit : 0;
}

static struct taps_message message_of(const struct capture_side *side)
{
  return (struct taps_message){side->bytes != NULL ? side->bytes : "", side->size, side->cut};
}

int taps_kept(struct taps *ts, const char *service, uint64_t id, struct record *record, struct taps_message *request,
              struct taps_message *answer)
{
  struct tap *tap = taps_find(ts, service);
  pthread_mutex_lock(&ts->lock);
  const struct capture *k = tap != NULL ? captures_find(&tap->captures, id) : NULL;
  if (k != NULL) {
    *record = k->record;
    *request = message_of(&k->sides[DIALOGUE_REQUEST]);
    *answer = message_of(&k->sides[DIALOGUE_ANSWER]);
  }
  pthread_mutex_unlock(&ts->lock);
  return k != NULL ? 0 : -ENOENT;
}

void taps_drop(struct taps *ts, const char *service, uint64_t id)
{
  struct tap *tap = taps_find(ts, service);
  pthread_mutex_lock(&ts->lock);
  struct capture *k = tap != NULL ? captures_find(&tap->captures, id) : NULL;
  if (k != NULL) {
    tap->captures.here = true;
    captures_drop(&tap->captures, k);
    taps_news(ts);
  }
  pthread_mutex_unlock(&ts->lock);
}

void taps_drop_all(struct taps *ts, const char *service)
{
  struct tap *tap = taps_find(ts, service);
  size_t limit = taps_limit(ts, service);
  if (tap == NULL)
    return;
  set_limit(tap, 0);
  set_limit(tap, limit);
}
