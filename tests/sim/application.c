#include "application.h"

static void tick(struct world *w, void *subject, uint64_t arg);

static bool wants_tick(const struct application *a)
{
  if (!a->began || a->over || a->resets)
    return false;
  bool to_send = a->offered < a->will_send || !a->ends;
  return to_send || (a->full && a->room == 0 && a->habit != HABIT_STUCK);
}

static void tick_later(struct application *a)
{
  struct world *w = a->w;
  if (a->ticking || !wants_tick(a))
    return;
  /* Nothing to do but wait for the other one's end. */
  bool waits = a->offered == a->will_send && a->habit == HABIT_ENDS_AFTER && !a->saw_end;
  if (waits && !(a->full && a->room == 0))
    return;
  a->ticking = true;
  world_after(w, roll(w, w->quiet ? 20 * MS : chance(w, 20) ? 3 * SECOND : a->pause_us), tick, a, 0);
}

static void reset(struct application *a)
{
  TRACE(a->w, "%s: the application resets", a->name);
  a->resets = true;
  a->failed(a->arg);
}

static void end(struct application *a)
{
  a->ends = true;
  a->closes = a->habit == HABIT_CLOSES;
  TRACE(a->w, "%s: the application %s after %llu bytes", a->name, a->closes ? "closes" : "ends",
        (unsigned long long)a->offered);
}

static void tick(struct world *w, void *subject, uint64_t arg)
{
  (void)arg;
  struct application *a = subject;
  a->ticking = false;
  if (!wants_tick(a))
    return;
  bool all = w->quiet;
  if (a->habit == HABIT_RESETS && !a->ends && (all || chance(w, 60))) {
    reset(a);
    return;
  }
  if (a->habit == HABIT_GIVES_UP && all) {
    reset(a);
    return;
  }
  uint64_t left = a->will_send - a->offered;
  uint64_t more = all ? left : roll(w, a->step + 1);
  a->offered += more < left ? more : left;
  bool waits = a->habit == HABIT_GIVES_UP || (a->habit == HABIT_ENDS_AFTER && !a->saw_end);
  if (a->offered == a->will_send && !a->ends && !waits)
    end(a);
  if (a->habit != HABIT_STUCK || chance(w, 300))
    a->room += all && a->habit != HABIT_STUCK ? UINT32_MAX : roll(w, a->step + 1);
  tick_later(a);
  a->ready(a->arg);
}

void application_begin(struct application *a, void (*ready)(void *arg), void (*failed)(void *arg), void *arg)
{
  a->began = true;
  a->ready = ready;
  a->failed = failed;
  a->arg = arg;
  tick_later(a);
}

void application_go_on(struct application *a)
{
  tick_later(a);
}

int application_read(struct application *a, uint32_t size)
{
  if (a->over)
    broken(a->w, "%s: a socket is read that is closed", a->name);
  if (a->resets)
    return APPLICATION_FAILED;
  uint64_t left = a->offered - a->read;
  if (left == 0 && a->ends) {
    a->end_read = true;
    return 0;
  }
  if (left == 0)
    return APPLICATION_AGAIN;
  uint64_t n = left < size ? left : size;
  a->read += n;
  return (int)n;
}

int application_write(struct application *a, const struct content *c)
{
  if (a->over || a->saw_end)
    broken(a->w, "%s: a socket is written that is shut", a->name);
  if (a->other != APPLICATION_ANYBODY && (c->origin != a->other || c->at != a->taken))
    broken(a->w, "%s: took %llu bytes, and is given byte %llu of %u", a->name, (unsigned long long)a->taken,
           (unsigned long long)c->at, c->origin);
  if (a->resets || a->closes)
    return APPLICATION_FAILED;
  uint64_t n = a->room < c->size ? a->room : c->size;
  a->room -= n;
  a->taken += n;
  a->full = n < c->size;
  if (n > 0)
    return (int)n;
  tick_later(a);
  return APPLICATION_AGAIN;
}

enum { DESCRIPTOR_FIRST = 1 << 20 };

int application_descriptor(struct application *a)
{
  struct world *w = a->w;
  if (w->socket_count == w->socket_room) {
    size_t room = w->socket_room > 0 ? 2 * w->socket_room : 16;
    struct application **sockets = world_alloc(w, room * sizeof(struct application *));
    for (size_t i = 0; i < w->socket_count; i++)
      sockets[i] = w->sockets[i];
    w->sockets = sockets;
    w->socket_room = room;
  }
  w->sockets[w->socket_count] = a;
  return DESCRIPTOR_FIRST + (int)w->socket_count++;
}

struct application *application_of(const struct world *w, int fd)
{
  return w->sockets[fd - DESCRIPTOR_FIRST];
}

void application_shut(struct application *a)
{
  if (a->over)
    broken(a->w, "%s: a socket is shut that is closed", a->name);
  TRACE(a->w, "%s: sees the end, after %llu bytes", a->name, (unsigned long long)a->taken);
  a->saw_end = true;
  tick_later(a);
}

void application_close(struct application *a, bool reset_it)
{
  if (a->over)
    return;
  TRACE(a->w, "%s: the socket is %s", a->name, reset_it ? "reset" : "closed");
  a->over = true;
  a->saw_reset = reset_it;
  /* To close is to send an end, and to have no ear for what comes. */
  a->saw_end |= !reset_it;
}
