#include "answers.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <uv.h>

#include "carry_host.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"

enum { ANSWER_MS = 15000, BEGUN_MS = 2000, LOOK_MS = 1000, WHY_SIZE = 256 };

struct answer {
  struct answers *owner;
  struct pump_stream *stream;
  uint64_t until, begun_by;
  struct answer *prev, *next;
  char service[HEADER_SERVICE_MAX + 1];
  char token[HEADER_TOKEN_MAX + 1];
};

struct answers {
  uv_loop_t *loop;
  uv_timer_t timer; /* runs while one waits */
  const struct carry_host *host;
  const struct answers_events *events;
  void *arg;
  struct answer *oldest;
  void (*closed)(void *arg);
  void *closed_arg;
};

static struct pump_stream *take(struct answer *a)
{
  struct pump_stream *s = a->stream;

  DL_DELETE(a->owner->oldest, a); /* NOLINT(clang-analyzer-core.NullDereference) */
  explicit_bzero(a->token, sizeof a->token);
  free(a);
  return s;
}

static void fail(struct answer *a, const char *text)
{
  a->owner->events->failed(a->service, text, a->owner->arg);
  pump_stream_close(take(a));
}

/* ---- What the streams tell. ---- */

static void on_header(struct pump_stream *s, const struct header *h, void *arg)
{
  struct answer *a = arg;
  struct answers *as = a->owner;

  take(a);
  as->events->taken(s, h, as->arg);
}

static void on_original(struct pump_stream *s, void *arg)
{
  struct answer *a = arg;
  struct answers *as = a->owner;
  char service[sizeof a->service];

  memcpy(service, a->service, sizeof service);
  take(a);
  as->events->taken_original(s, service, as->arg);
}

static void on_reset(struct pump_stream *s, const char *code, const char *reason, void *arg)
{
  (void)s, (void)code;
  fail(arg, reason);
}

static void on_refused(struct pump_stream *s, const char *reason, void *arg)
{
  (void)s;
  fail(arg, reason);
}

/* Who dialled may have given up before we came. */
static void on_ended(struct pump_stream *s, enum rpc_status status, const char *text, void *arg)
{
  char why[WHY_SIZE];

  (void)s;
  if (status == RPC_NOT_FOUND || status == RPC_ABORTED || status == RPC_OK) {
    pump_stream_close(take(arg));
    return;
  }
  /* Not to be taken for what the target did. */
  snprintf(why, sizeof why, "%s%s (%s)",
           status == RPC_UNAVAILABLE ? "the stream to the router was lost before it began: " : "",
           text[0] != '\0' ? text : "the stream to the router ended", rpc_status_name(status));
  fail(arg, why);
}

static const struct pump_stream_events stream_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

/* ---- The answers. ---- */

static int open_stream(struct answer *a)
{
  struct answers *as = a->owner;
  struct header header = {0};

  snprintf(header.token, sizeof header.token, "%s", a->token);
  a->begun_by = uv_now(as->loop) + BEGUN_MS;
  int err = as->host->open_stream(as->host, &a->stream, &header, as->host->way(as->host).original, &stream_events, a);
  explicit_bzero(&header, sizeof header);
  return err;
}

/* The token of one that has not even left is still good, and is said elsewhere. */
static void look_for_room(struct answers *as)
{
  struct answer *a, *next;

  DL_FOREACH_SAFE(as->oldest, a, next)
  {
    struct pump_stream *former = a->stream;

    if (uv_now(as->loop) < a->begun_by || !pump_stream_has_no_room(former))
      continue;
    if (open_stream(a) == 0)
      pump_stream_close(former);
    else
      a->stream = former;
  }
}

static void timer_fired(uv_timer_t *timer)
{
  struct answers *as = timer->data;

  /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was freed is not in the list any more */
  while (as->oldest != NULL && as->oldest->until <= uv_now(as->loop))
    fail(as->oldest, "the router did not say in time what the token was for");
  look_for_room(as);
  if (as->oldest == NULL)
    uv_timer_stop(timer);
}

void answers_start(struct answers *as, const char *service, const char *token)
{
  struct answer *a = strlen(token) <= HEADER_TOKEN_MAX ? calloc(1, sizeof *a) : NULL;
  int err = a != NULL ? 0 : -ENOMEM;

  if (err == 0) {
    a->owner = as;
    a->until = uv_now(as->loop) + ANSWER_MS;
    snprintf(a->service, sizeof a->service, "%s", service);
    snprintf(a->token, sizeof a->token, "%s", token);
    err = open_stream(a);
  }
  if (err != 0) {
    free(a);
    as->events->failed(service, strerror(-err), as->arg);
    return;
  }
  DL_APPEND(as->oldest, a);
  if (!uv_is_active((uv_handle_t *)&as->timer))
    uv_timer_start(&as->timer, timer_fired, LOOK_MS, LOOK_MS);
}

/* ---- Open and close. ---- */

int answers_open(struct answers **out, struct uv_loop_s *loop, const struct carry_host *host,
                 const struct answers_events *events, void *arg)
{
  struct answers *as = calloc(1, sizeof *as);
  int err = as != NULL ? uv_timer_init(loop, &as->timer) : -ENOMEM;

  if (err != 0) {
    free(as);
    return err;
  }
  as->loop = loop;
  as->host = host;
  as->events = events;
  as->arg = arg;
  as->timer.data = as;
  *out = as;
  return 0;
}

static void timer_closed(uv_handle_t *handle)
{
  struct answers *as = handle->data;
  void (*closed)(void *) = as->closed;
  void *arg = as->closed_arg;

  free(as);
  closed(arg);
}

void answers_close(struct answers *as, void (*closed)(void *arg), void *arg)
{
  while (as->oldest != NULL)
    pump_stream_close(take(as->oldest)); /* NOLINT(clang-analyzer-unix.Malloc): the same */
  as->closed = closed;
  as->closed_arg = arg;
  uv_close((uv_handle_t *)&as->timer, timer_closed);
}
