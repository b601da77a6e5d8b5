#include "rpc_timers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

enum { ROOM_MIN = 64 };

struct rpc_timer {
  struct rpc_timers *of;
  size_t index; /* in the heap */
  uint64_t at, number;
  void (*cb)(void *arg);
  void *arg;
};

static bool is_earlier(const struct rpc_timer *a, const struct rpc_timer *b)
{
  return a->at != b->at ? a->at < b->at : a->number < b->number;
}

static void put(struct rpc_timers *ts, size_t index, struct rpc_timer *t)
{
  ts->heap[index] = t;
  t->index = index;
}

/* Finds the place for a timer, when the one at `index` is free. */
static void sift_up(struct rpc_timers *ts, size_t index, struct rpc_timer *t)
{
  for (; index > 0 && is_earlier(t, ts->heap[(index - 1) / 2]); index = (index - 1) / 2)
    put(ts, index, ts->heap[(index - 1) / 2]);
  put(ts, index, t);
}

static void sift_down(struct rpc_timers *ts, size_t index, struct rpc_timer *t)
{
  for (size_t child; (child = 2 * index + 1) < ts->count; index = child) {
    if (child + 1 < ts->count && is_earlier(ts->heap[child + 1], ts->heap[child]))
      child++;
    if (is_earlier(t, ts->heap[child]))
      break;
    put(ts, index, ts->heap[child]);
  }
  put(ts, index, t);
}

/* Twice as much when it is full. */
static int make_room(struct rpc_timers *ts)
{
  if (ts->count < ts->room)
    return 0;
  size_t room = ts->room > 0 ? 2 * ts->room : ROOM_MIN;
  struct rpc_timer **heap = reallocarray(ts->heap, room, sizeof(struct rpc_timer *));
  if (!heap)
    return -ENOMEM;
  ts->heap = heap;
  ts->room = room;
  return 0;
}

int rpc_timers_add(struct rpc_timers *ts, struct rpc_timer **out, uint64_t at, void (*cb)(void *arg), void *arg)
{
  struct rpc_timer *t = malloc(sizeof *t);
  if (!t || make_room(ts) != 0) {
    free(t);
    return -ENOMEM;
  }
  *t = (struct rpc_timer){.of = ts, .at = at, .number = ts->started++, .cb = cb, .arg = arg};
  sift_up(ts, ts->count++, t);
  *out = t;
  return 0;
}

void rpc_timers_remove(struct rpc_timer *t)
{
  struct rpc_timers *ts = t->of;
  struct rpc_timer *last = ts->heap[--ts->count];
  if (last != t) {
    sift_up(ts, t->index, last);
    sift_down(ts, last->index, last);
  }
  free(t);
}

uint64_t rpc_timers_serve(struct rpc_timers *ts, uint64_t (*now)(void))
{
  while (ts->count > 0) {
    struct rpc_timer *t = ts->heap[0];
    /* The analyzer takes what was just freed for still in the heap. */
    if (t->at > now()) /* NOLINT(clang-analyzer-unix.Malloc) */
      return t->at;
    void (*cb)(void *) = t->cb;
    void *arg = t->arg;
    rpc_timers_remove(t);
    cb(arg);
  }
  return UINT64_MAX;
}

void rpc_timers_free(struct rpc_timers *ts)
{
  while (ts->count > 0)
    free(ts->heap[--ts->count]);
  free(ts->heap);
  ts->heap = NULL;
  ts->room = 0;
}
