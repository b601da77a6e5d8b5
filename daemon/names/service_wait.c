/* Writes of a target that wait for the router to accept or refuse the name, for a bounded time. */
#include <errno.h>
#include <stdlib.h>
#include <utlist.h>

#include "services_internal.h"

struct service_wait {
  struct service *service; /* NULL: answered */
  struct service_wait *prev, *next;
  uv_timer_t timer;
  service_verdict_cb verdict;
  void *arg;
  int error; /* what to say when the timer ends */
  bool had_target;
  struct address former;
};

static void wait_freed(uv_handle_t *handle)
{
  struct service_wait *w = handle->data;
  struct services *ss = w->arg;

  free(w);
  services_release(ss);
}

static void answer(struct service_wait *w, int error, const char *why)
{
  struct service *s = w->service;
  service_verdict_cb verdict = w->verdict;
  void *arg = w->arg;

  DL_DELETE(s->waits, w);
  w->service = NULL;
  w->arg = s->owner;
  uv_close((uv_handle_t *)&w->timer, wait_freed);
  verdict(error, why, arg);
}

void service_answer_waits(struct service *s, int error, const char *why)
{
  while (s->waits != NULL)
    answer(s->waits, error, why);
}

static void wait_over(uv_timer_t *timer)
{
  struct service_wait *w = timer->data;

  answer(w, w->error,
         w->error == -ETIMEDOUT ? "the router gave no verdict in time; the registration goes on" : "interrupted");
}

void service_revert(struct service *s)
{
  const struct service_wait *first = s->waits;

  if (first == NULL)
    return;
  s->has_target = first->had_target;
  if (first->had_target)
    s->target = first->former;
}

struct service_wait *service_wait_create(struct service *s, service_verdict_cb verdict, void *arg)
{
  struct service_wait *w = calloc(1, sizeof *w);

  if (w == NULL)
    return NULL;
  *w = (struct service_wait){.service = s,
                             .verdict = verdict,
                             .arg = arg,
                             .error = -ETIMEDOUT,
                             .had_target = s->has_target,
                             .former = s->target};
  if (uv_timer_init(s->owner->loop, &w->timer) != 0) {
    free(w);
    return NULL;
  }
  w->timer.data = w;
  uv_timer_start(&w->timer, wait_over, SERVICE_VERDICT_MS, 0);
  DL_APPEND(s->waits, w);
  s->owner->holds++;
  return w;
}

void service_wait_cancel(struct service_wait *w, int error)
{
  w->error = error;
  uv_timer_start(&w->timer, wait_over, 0, 0);
}
