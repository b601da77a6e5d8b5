/* The part of libuv that the glue uses: timers, and handles that are closed. Each loop is a process's. */
#include <uv.h>

#include "process.h"

/* A timer is the glue's memory, and may be gone when it would have fired; this is not. */
struct alarm {
  struct process *process;
  uv_timer_t *timer; /* NULL: closed */
  uv_timer_cb fire;
  uv_close_cb closed;
  uint64_t number; /* of the latest start */
  bool active;
};

static struct alarm *alarm_of(const uv_handle_t *handle)
{
  return handle->u.reserved[0];
}

uint64_t uv_now(const uv_loop_t *loop)
{
  const struct process *p = loop->data;
  return world_ms(p->w);
}

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
  struct process *p = loop->data;
  struct alarm *a = world_alloc(p->w, sizeof *a);
  a->process = p;
  a->timer = timer;
  timer->loop = loop;
  timer->u.reserved[0] = a;
  return 0;
}

static void fired(struct world *w, void *subject, uint64_t number)
{
  (void)w;
  struct alarm *a = subject;
  if (a->process->dead || !a->active || a->number != number)
    return;
  a->active = false;
  a->fire(a->timer);
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb fire, uint64_t ms, uint64_t repeat)
{
  struct alarm *a = alarm_of((uv_handle_t *)timer);
  struct world *w = a->process->w;
  if (repeat != 0 || a->closed != NULL)
    broken(w, "a timer is started that repeats, or is closed");
  a->fire = fire;
  a->active = true;
  uint64_t at = (world_ms(w) + ms) * MS;
  world_at(w, at > w->now ? at : w->now, fired, a, ++a->number);
  return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
  alarm_of((uv_handle_t *)timer)->active = false;
  return 0;
}

int uv_is_active(const uv_handle_t *handle)
{
  return alarm_of(handle)->active;
}

static void closed(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct alarm *a = subject;
  uv_handle_t *handle = (uv_handle_t *)a->timer;
  if (a->process->dead)
    return;
  a->timer = NULL;
  a->closed(handle);
}

void uv_close(uv_handle_t *handle, uv_close_cb done)
{
  struct alarm *a = alarm_of(handle);
  struct world *w = a->process->w;
  if (a->closed != NULL)
    broken(w, "a timer is closed twice");
  a->active = false;
  a->closed = done;
  world_after(w, 0, closed, a, 0);
}

const char *uv_err_name(int error)
{
  (void)error;
  return "EIO";
}
