/* A stream that was taken is replaced when the dial that it brought is on its way to the target, which a caller waits
 * for; at once, if few are left. One that was lost or refused is replaced a little later, together with all that were
 * lost until then: the router may have no room for it, and nothing depends on it, since without a parked stream the
 * router asks for one. For the same reason nobody is told.
 *
 * Where streams are cut at some age, a connection's is renewed by the side that dialled, which does not know how long
 * ours had waited before it was dialled. So one that waits is replaced while it is young.
 */
#include "parked.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

#include "carry_host.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"
#include "waiting.h"

enum {
  SOON_MS = 2,
  FEW = PARKED_COUNT / 2,
  RETRY_MIN_MS = 100,
  RETRY_MAX_MS = 5000,
  YOUNG = 16, /* one part of so many of the greatest age */
};

struct parked {
  struct waiting_set set;
  parked_taken_cb taken;
  void *arg;
  bool on;
  uv_timer_t retry; /* runs while fewer wait than should */
  bool soon;        /* only because some were taken */
  uint64_t retry_ms;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- One more ---- */

static void retry_fired(uv_timer_t *timer);

static void fill_later(struct parked *p)
{
  if (uv_is_active((uv_handle_t *)&p->retry))
    return;
  p->soon = false;
  uv_timer_start(&p->retry, retry_fired, p->retry_ms, 0);
  p->retry_ms = p->retry_ms * 2 < RETRY_MAX_MS ? p->retry_ms * 2 : RETRY_MAX_MS;
}

static uint64_t young_ms(const struct parked *p)
{
  uint64_t age = p->set.host->way(p->set.host).stream_age_ms;
  if (age == 0)
    return WAITING_FOR_EVER;
  return age > YOUNG ? age / YOUNG : 1;
}

static int add(struct parked *p)
{
  const struct header header = {.park = true};
  struct waiting *w = malloc(sizeof *w);
  int error = w != NULL ? waiting_open_stream(&p->set, w, &header, young_ms(p)) : -ENOMEM;
  if (error != 0) {
    free(w);
    fill_later(p);
  }
  return error;
}

static void fill(struct parked *p)
{
  while (p->set.count < PARKED_COUNT && add(p) == 0)
    ;
}

static void retry_fired(uv_timer_t *timer)
{
  fill(timer->data);
}

static void replace_taken(struct parked *p)
{
  bool due = uv_is_active((uv_handle_t *)&p->retry);
  if (p->set.count < FEW || (due && !p->soon)) {
    add(p);
  } else if (!due) {
    p->soon = true;
    uv_timer_start(&p->retry, retry_fired, SOON_MS, 0);
  }
}

/* ---- What becomes of one ---- */

static void drop(struct waiting *w)
{
  pump_stream_close(waiting_take(w));
  free(w);
}

static void taken(struct waiting *w, const struct header *h)
{
  struct parked *p = w->set->owner;
  struct pump_stream *s = waiting_take(w);
  free(w);
  p->taken(s, h, p->arg);
  if (p->on)
    replace_taken(p);
}

/* A router that kept it for long is asked again soon: it may cut every stream at some age. */
static void lost(struct waiting *w)
{
  struct parked *p = w->set->owner;
  if (uv_now(p->set.loop) - w->since_ms >= RETRY_MAX_MS)
    p->retry_ms = RETRY_MIN_MS;
  drop(w);
  fill_later(p);
}

/* The new one is on its way before the old one goes. A dial that the router puts on the old one in that moment is lost
 * with it, and dialled again. */
static void replace(struct waiting *w)
{
  add(w->set->owner);
  drop(w);
}

static void came(struct waiting *w, const struct waiting_news *news)
{
  if (news->what == WAITING_HEADER)
    taken(w, news->header);
  else if (news->what == WAITING_DUE)
    replace(w);
  else
    lost(w); /* an original has no use for a parked stream, either: the router is wrong */
}

/* ---- How many wait ---- */

static void drop_all(struct parked *p)
{
  uv_timer_stop(&p->retry);
  while (p->set.oldest != NULL)
    drop(p->set.oldest); /* NOLINT(clang-analyzer-unix.Malloc): what was freed is not in the list any more */
}

void parked_update(struct parked *p, bool wanted)
{
  struct carry_way way = p->set.host->way(p->set.host);
  bool on = wanted && way.up && !way.original;
  if (on == p->on)
    return;
  p->on = on;
  p->retry_ms = RETRY_MIN_MS;
  if (on)
    fill(p);
  else
    drop_all(p);
}

void parked_renew(struct parked *p)
{
  if (!p->on)
    return;
  for (size_t left = p->set.count; left > 0; left--)
    replace(p->set.oldest); /* NOLINT(clang-analyzer-unix.Malloc): the same */
  fill(p);
}

/* ---- Open and close ---- */

int parked_open(struct parked **out, struct uv_loop_s *loop, const struct carry_host *host, parked_taken_cb taken_cb,
                void *arg)
{
  struct parked *p = malloc(sizeof *p);
  if (p == NULL)
    return -ENOMEM;
  *p = (struct parked){.set = {.loop = loop, .host = host, .came = came, .owner = p}, .taken = taken_cb, .arg = arg};
  p->retry.data = p;
  int error = uv_timer_init(loop, &p->retry);
  if (error == 0)
    error = waiting_set_open(&p->set);
  if (error != 0)
    free(p);
  else
    *out = p;
  return error;
}

static void retry_closed(uv_handle_t *handle)
{
  struct parked *p = handle->data;
  void (*closed)(void *) = p->closed;
  void *arg = p->closed_arg;
  free(p);
  closed(arg);
}

static void set_closed(void *owner)
{
  struct parked *p = owner;
  uv_close((uv_handle_t *)&p->retry, retry_closed);
}

void parked_close(struct parked *p, void (*closed)(void *arg), void *arg)
{
  p->on = false;
  p->closed = closed;
  p->closed_arg = arg;
  drop_all(p);
  waiting_set_close(&p->set, set_closed);
}
