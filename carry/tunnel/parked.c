/* A slot for each stream. One that was taken is replaced at once, and one that was lost or refused a little later,
 * together with all that were lost until then: the router may have no room for it, and nothing depends on it, since
 * without a parked stream the router asks for one. For the same reason nobody is told.
 *
 * Where streams are cut at some age, a connection's is renewed by the side that dialled, which does not know how long
 * ours had waited before it was dialled. So one that waits is replaced while it is young.
 */
#include "parked.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "carry_host.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"

enum {
  RETRY_MIN_MS = 100,
  RETRY_MAX_MS = 5000,
  YOUNG = 16, /* one part of so many of the greatest age */
};

struct slot {
  struct parked *owner;
  struct pump_stream *stream; /* NULL: empty */
  uint64_t opened_ms;
};

struct parked {
  uv_loop_t *loop;
  const struct carry_host *host;
  parked_taken_cb taken;
  void *arg;
  bool on;
  struct slot slots[PARKED_COUNT];
  uv_timer_t timer; /* runs while empty slots wait to be filled */
  uv_timer_t age_timer;
  int open_handles;
  uint64_t retry_ms;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void timer_fired(uv_timer_t *timer);

static void fill_later(struct parked *p)
{
  if (uv_is_active((uv_handle_t *)&p->timer))
    return;
  uv_timer_start(&p->timer, timer_fired, p->retry_ms, 0);
  p->retry_ms = p->retry_ms * 2 < RETRY_MAX_MS ? p->retry_ms * 2 : RETRY_MAX_MS;
}

static void empty(struct slot *s)
{
  struct pump_stream *stream = s->stream;

  s->stream = NULL;
  if (stream != NULL)
    pump_stream_close(stream);
}

/* A router that kept it for long is asked again soon: it may cut every stream at some age. */
static void lost(struct slot *s)
{
  struct parked *p = s->owner;

  if (uv_now(p->loop) - s->opened_ms >= RETRY_MAX_MS)
    p->retry_ms = RETRY_MIN_MS;
  empty(s);
  fill_later(p);
}

/* ---- What the streams tell. ---- */

static void fill(struct slot *s);

static void on_header(struct pump_stream *stream, const struct header *h, void *arg)
{
  struct slot *s = arg;
  struct parked *p = s->owner;

  s->stream = NULL;
  p->taken(stream, h, p->arg);
  if (p->on)
    fill(s);
}

/* An original has no use for a parked stream: the router is wrong. */
static void on_original(struct pump_stream *stream, void *arg)
{
  (void)stream;
  lost(arg);
}

static void on_reset(struct pump_stream *stream, const char *code, const char *reason, void *arg)
{
  (void)stream, (void)code, (void)reason;
  lost(arg);
}

static void on_refused(struct pump_stream *stream, const char *reason, void *arg)
{
  (void)stream, (void)reason;
  lost(arg);
}

static void on_ended(struct pump_stream *stream, enum rpc_status status, const char *text, void *arg)
{
  (void)stream, (void)status, (void)text;
  lost(arg);
}

static const struct pump_stream_events stream_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

/* ---- The slots. ---- */

static void fill(struct slot *s)
{
  struct parked *p = s->owner;
  const struct header header = {.park = true};

  s->opened_ms = uv_now(p->loop);
  if (p->host->open_stream(p->host, &s->stream, &header, false, &stream_events, s) != 0) {
    s->stream = NULL;
    fill_later(p);
  }
}

static void fill_all(struct parked *p)
{
  for (size_t i = 0; i < PARKED_COUNT; i++) {
    if (p->slots[i].stream == NULL)
      fill(&p->slots[i]);
  }
}

static void timer_fired(uv_timer_t *timer)
{
  fill_all(timer->data);
}

/* The new one is on its way before the old one goes. A dial that the router puts on the old one in that moment is lost
 * with it, and dialled again. */
static void replace(struct slot *s)
{
  struct pump_stream *former = s->stream;

  fill(s);
  if (former != NULL)
    pump_stream_close(former);
}

static void age_timer_fired(uv_timer_t *timer)
{
  struct parked *p = timer->data;
  uint64_t age = p->host->way(p->host).stream_age_ms;

  for (size_t i = 0; i < PARKED_COUNT && age > 0; i++) {
    if (p->slots[i].stream != NULL && uv_now(p->loop) - p->slots[i].opened_ms >= age / YOUNG)
      replace(&p->slots[i]);
  }
}

static void watch_age(struct parked *p)
{
  uint64_t age = p->host->way(p->host).stream_age_ms;

  if (age > 0)
    uv_timer_start(&p->age_timer, age_timer_fired, age / YOUNG / 4, age / YOUNG / 4);
  else
    uv_timer_stop(&p->age_timer);
}

static void empty_all(struct parked *p)
{
  uv_timer_stop(&p->timer);
  uv_timer_stop(&p->age_timer);
  for (size_t i = 0; i < PARKED_COUNT; i++)
    empty(&p->slots[i]);
}

void parked_update(struct parked *p, bool wanted)
{
  struct carry_way way = p->host->way(p->host);
  bool on = wanted && way.up && !way.original;

  if (on == p->on)
    return;
  p->on = on;
  p->retry_ms = RETRY_MIN_MS;
  if (!on) {
    empty_all(p);
    return;
  }
  fill_all(p);
  watch_age(p);
}

void parked_renew(struct parked *p)
{
  if (!p->on)
    return;
  for (size_t i = 0; i < PARKED_COUNT; i++)
    replace(&p->slots[i]);
  watch_age(p);
}

/* ---- Open and close. ---- */

int parked_open(struct parked **out, struct uv_loop_s *loop, const struct carry_host *host, parked_taken_cb taken,
                void *arg)
{
  struct parked *p = calloc(1, sizeof *p);
  int err;

  if (p == NULL)
    return -ENOMEM;
  *p = (struct parked){.loop = loop, .host = host, .taken = taken, .arg = arg};
  for (size_t i = 0; i < PARKED_COUNT; i++)
    p->slots[i].owner = p;
  err = uv_timer_init(loop, &p->timer);
  if (err == 0)
    err = uv_timer_init(loop, &p->age_timer);
  if (err != 0) {
    free(p);
    return err;
  }
  p->timer.data = p->age_timer.data = p;
  p->open_handles = 2;
  *out = p;
  return 0;
}

static void timer_closed(uv_handle_t *handle)
{
  struct parked *p = handle->data;
  void (*closed)(void *) = p->closed;
  void *arg = p->closed_arg;

  if (--p->open_handles > 0)
    return;
  free(p);
  closed(arg);
}

void parked_close(struct parked *p, void (*closed)(void *arg), void *arg)
{
  p->on = false;
  p->closed = closed;
  p->closed_arg = arg;
  empty_all(p);
  uv_close((uv_handle_t *)&p->timer, timer_closed);
  uv_close((uv_handle_t *)&p->age_timer, timer_closed);
}
