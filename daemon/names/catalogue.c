/* A table of names. Each has at most one date, at which it is no longer kept, or no longer hidden. One timer serves
 * all: it fires at the nearest date or before it, and looks through the table. */
#include "catalogue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "carry/net/address.h"

enum entry_state { ENTRY_UP, ENTRY_KEPT, ENTRY_HIDDEN };

struct entry {
  UT_hash_handle hh;
  enum entry_state state;
  uint64_t until; /* KEPT and HIDDEN, in the loop's time; 0: nobody knows yet */
  bool told;      /* HIDDEN: the router has it still, or again */
  char name[];
};

struct catalogue {
  uv_loop_t *loop;
  uv_timer_t timer;
  struct entry *entries;
  void (*changed)(const char *name, void *arg);
  void *arg;
  void (*closed)(void *arg);
  void *closed_arg;
};

static struct entry *find(const struct catalogue *c, const char *name)
{
  struct entry *e;

  HASH_FIND_STR(c->entries, name, e);
  return e;
}

static void forget(struct catalogue *c, struct entry *e)
{
  HASH_DEL(c->entries, e); /* NOLINT(clang-analyzer-unix.Malloc) */
  c->changed(e->name, c->arg);
  free(e);
}

static void timer_fired(uv_timer_t *timer);

static void wake_within(struct catalogue *c, uint64_t ms)
{
  if (!uv_is_active((uv_handle_t *)&c->timer) || uv_timer_get_due_in(&c->timer) > ms)
    uv_timer_start(&c->timer, timer_fired, ms, 0);
}

/* Does not look through the table: a router that starts anew misses all of its names, one after another. */
static void set_date(struct catalogue *c, struct entry *e, uint64_t ms)
{
  e->until = uv_now(c->loop) + ms;
  wake_within(c, ms);
}

static void timer_fired(uv_timer_t *timer)
{
  struct catalogue *c = timer->data;
  uint64_t now = uv_now(c->loop), nearest = UINT64_MAX;
  struct entry *e, *next;

  HASH_ITER(hh, c->entries, e, next)
  {
    if (e->until > now && e->until < nearest)
      nearest = e->until;
    if (e->until == 0 || e->until > now)
      continue;
    if (e->state == ENTRY_KEPT || !e->told) {
      forget(c, e);
    } else {
      e->state = ENTRY_UP;
      e->until = 0;
      c->changed(e->name, c->arg);
    }
  }
  if (nearest != UINT64_MAX)
    wake_within(c, nearest - now);
}

int catalogue_open(struct catalogue **out, struct uv_loop_s *loop, void (*changed)(const char *name, void *arg),
                   void *arg)
{
  struct catalogue *c = calloc(1, sizeof *c);
  int err;

  if (c == NULL)
    return -ENOMEM;
  c->loop = loop;
  c->changed = changed;
  c->arg = arg;
  err = uv_timer_init(loop, &c->timer);
  if (err != 0) {
    free(c);
    return err;
  }
  c->timer.data = c;
  *out = c;
  return 0;
}

static void timer_closed(uv_handle_t *handle)
{
  struct catalogue *c = handle->data;
  void (*closed)(void *) = c->closed;
  void *arg = c->closed_arg;
  struct entry *e, *next;

  HASH_ITER(hh, c->entries, e, next)
  {
    HASH_DEL(c->entries, e); /* NOLINT(clang-analyzer-unix.Malloc) */
    free(e);
  }
  free(c);
  closed(arg);
}

void catalogue_close(struct catalogue *c, void (*closed)(void *arg), void *arg)
{
  c->closed = closed;
  c->closed_arg = arg;
  uv_close((uv_handle_t *)&c->timer, timer_closed);
}

static int insert(struct catalogue *c, const char *name, struct entry **out)
{
  size_t length = strlen(name);
  struct entry *e;
  const char *why;

  if (service_name_check(name, &why) != 0)
    return -EINVAL;
  e = calloc(1, sizeof *e + length + 1);
  if (e == NULL)
    return -ENOMEM;
  memcpy(e->name, name, length + 1);
  HASH_ADD_KEYPTR(hh, c->entries, e->name, length, e);
  if (e->hh.tbl == NULL) {
    free(e);
    return -ENOMEM;
  }
  *out = e;
  return 0;
}

int catalogue_up(struct catalogue *c, const char *name)
{
  struct entry *e = find(c, name);
  int err;

  if (e == NULL) {
    err = insert(c, name, &e);
    if (err != 0)
      return err;
  } else if (e->state == ENTRY_HIDDEN) {
    e->told = true;
    return 0;
  } else if (e->state == ENTRY_UP) {
    return 0;
  }
  e->state = ENTRY_UP;
  e->told = true;
  e->until = 0;
  c->changed(e->name, c->arg);
  return 0;
}

void catalogue_down(struct catalogue *c, const char *name)
{
  struct entry *e = find(c, name);

  if (e != NULL)
    forget(c, e);
}

void catalogue_lost(struct catalogue *c)
{
  struct entry *e, *next;

  HASH_ITER(hh, c->entries, e, next)
  {
    if (e->state == ENTRY_HIDDEN) {
      forget(c, e);
    } else if (e->state == ENTRY_UP) {
      e->state = ENTRY_KEPT;
      c->changed(e->name, c->arg);
    }
  }
}

void catalogue_missing(struct catalogue *c, const char *name)
{
  struct entry *e = find(c, name);

  if (e == NULL)
    return;
  if (e->state == ENTRY_HIDDEN) {
    forget(c, e);
    return;
  }
  set_date(c, e, CATALOGUE_KEEP_MS);
  if (e->state == ENTRY_UP) {
    e->state = ENTRY_KEPT;
    c->changed(e->name, c->arg);
  }
}

void catalogue_withdrawn(struct catalogue *c, const char *name)
{
  struct entry *e = find(c, name);

  if (e != NULL && e->state == ENTRY_KEPT) {
    forget(c, e);
    return;
  }
  /* The news that it is up may still be under way. */
  if (e == NULL && insert(c, name, &e) != 0)
    return;
  e->state = ENTRY_HIDDEN;
  set_date(c, e, CATALOGUE_HIDE_MS);
  c->changed(e->name, c->arg);
}

enum catalogue_state catalogue_find(const struct catalogue *c, const char *name)
{
  const struct entry *e = find(c, name);

  if (e == NULL || e->state == ENTRY_HIDDEN)
    return CATALOGUE_NONE;
  return e->state == ENTRY_UP ? CATALOGUE_ONLINE : CATALOGUE_OFFLINE;
}

size_t catalogue_count(const struct catalogue *c)
{
  return HASH_COUNT(c->entries);
}
