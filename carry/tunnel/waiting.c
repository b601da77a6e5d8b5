#include "waiting.h"

#include <utlist.h>

#include "carry_host.h"
#include "proto/pump/pump.h"

/* ---- What the streams tell ---- */

static void tell(struct waiting *w, struct waiting_news news)
{
  w->set->came(w, &news);
}

static void on_header(struct pump_stream *s, const struct header *h, void *arg)
{
  (void)s;
  tell(arg, (struct waiting_news){.what = WAITING_HEADER, .header = h});
}

static void on_original(struct pump_stream *s, void *arg)
{
  (void)s;
  tell(arg, (struct waiting_news){.what = WAITING_ORIGINAL});
}

static void on_reset(struct pump_stream *s, const char *code, const char *reason, void *arg)
{
  (void)s, (void)code;
  tell(arg, (struct waiting_news){.what = WAITING_RESET, .text = reason});
}

static void on_refused(struct pump_stream *s, const char *reason, void *arg)
{
  (void)s;
  tell(arg, (struct waiting_news){.what = WAITING_REFUSED, .text = reason});
}

static void on_ended(struct pump_stream *s, enum rpc_status status, const char *text, void *arg)
{
  (void)s;
  tell(arg, (struct waiting_news){.what = WAITING_ENDED, .status = status, .text = text});
}

static const struct pump_stream_events stream_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

/* ---- Deadlines ---- */

static void timer_fired(uv_timer_t *timer);

static void arm(struct waiting_set *set, uint64_t due_ms)
{
  uint64_t now = uv_now(set->loop);
  if (due_ms == UINT64_MAX || (uv_is_active((uv_handle_t *)&set->timer) && set->fires_ms <= due_ms))
    return;
  set->fires_ms = due_ms;
  uv_timer_start(&set->timer, timer_fired, due_ms > now ? due_ms - now : 0, 0);
}

static void timer_fired(uv_timer_t *timer)
{
  struct waiting_set *set = timer->data;
  struct waiting *w = set->oldest;
  /* Those that are added meanwhile stand behind these. */
  for (size_t left = set->count; left > 0; left--) {
    struct waiting *next = w->next;
    if (w->due_ms <= uv_now(set->loop))
      tell(w, (struct waiting_news){.what = WAITING_DUE});
    w = next;
  }
  DL_FOREACH(set->oldest, w)
  {
    arm(set, w->due_ms);
  }
}

void waiting_extend(struct waiting *w, uint64_t ms)
{
  w->due_ms = ms == WAITING_FOR_EVER ? UINT64_MAX : uv_now(w->set->loop) + ms;
  arm(w->set, w->due_ms);
}

/* ---- In and out ---- */

static void enter(struct waiting *w, uint64_t ms)
{
  DL_APPEND(w->set->oldest, w);
  w->set->count++;
  w->since_ms = uv_now(w->set->loop);
  waiting_extend(w, ms);
}

static int open_stream(struct waiting *w, struct pump_stream **out, const struct header *header)
{
  const struct carry_host *host = w->set->host;
  return host->open_stream(host, out, header, host->way(host).original, &stream_events, w);
}

int waiting_open_stream(struct waiting_set *set, struct waiting *w, const struct header *header, uint64_t ms)
{
  *w = (struct waiting){.set = set};
  int error = open_stream(w, &w->stream, header);
  if (error == 0)
    enter(w, ms);
  return error;
}

void waiting_adopt(struct waiting_set *set, struct waiting *w, struct pump_stream *s, uint64_t ms)
{
  *w = (struct waiting){.set = set, .stream = s};
  pump_stream_hand_over(s, &stream_events, w);
  enter(w, ms);
}

int waiting_open_again(struct waiting *w, const struct header *header)
{
  struct pump_stream *another = NULL;
  int error = open_stream(w, &another, header);
  if (error != 0)
    return error;
  pump_stream_close(w->stream);
  w->stream = another;
  return 0;
}

struct pump_stream *waiting_take(struct waiting *w)
{
  DL_DELETE(w->set->oldest, w); /* NOLINT(clang-analyzer-core.NullDereference) */
  w->set->count--;
  return w->stream;
}

/* ---- Open and close ---- */

int waiting_set_open(struct waiting_set *set)
{
  set->timer.data = set;
  return uv_timer_init(set->loop, &set->timer);
}

static void timer_closed(uv_handle_t *handle)
{
  struct waiting_set *set = handle->data;
  set->closed(set->owner);
}

void waiting_set_close(struct waiting_set *set, void (*closed)(void *owner))
{
  set->closed = closed;
  uv_close((uv_handle_t *)&set->timer, timer_closed);
}
