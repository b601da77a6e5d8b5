/* A set is a list of items, each a listener or the trial of one. The hard case is a new listener whose port is held by
 * one that it replaces. Then the former one yields: it closes, the new one is tried again, and if that still cannot be
 * opened, the former one comes back.
 */
#include "listener_set.h"

#include <errno.h>
#include <stdlib.h>
#include <utlist.h>
#include <uv.h>

#include "carry/net/address.h"
#include "carry/net/listener.h"

struct listener_item {
  struct listener_item *prev, *next;
  struct listener_set *set;
  struct forward_write *write; /* whose trial it is; NULL: kept */
  struct listener *listener;   /* NULL: it yielded */
  struct address declared, actual;
  bool replace, retried; /* of a trial */
  bool returning;        /* opened again after it yielded in vain */
  bool stale;            /* replaced, and to be closed when no line follows */
  bool absent;           /* restored, and not listening yet */
  bool attempted;        /* of an absent one: it failed before */
};

static void item_free(struct listener_item *item)
{
  struct listener_set *set = item->set;

  if (item->listener != NULL)
    listener_close(item->listener);
  DL_DELETE(set->items, item);
  free(item);
}

/* It was listening, as far as was told; or it is absent. */
static void item_drop(struct listener_item *item, int error)
{
  struct listener_set *set = item->set;
  struct address address = item->actual;
  bool absent = item->absent;

  item_free(item);
  if (!absent)
    set->events->silent(set->forward, &address, error);
}

/* "0" means a listener of its own: it is served by one that was made by a "0", but no two lines that belong together
 * share it. */
static bool serves(const struct listener_item *item, const struct address *address)
{
  if (item->write != NULL || item->listener == NULL || item->returning || item->absent)
    return false;
  if (address_equal(&item->actual, address))
    return true;
  if (item->set->continued && address->kind == ADDRESS_TCP && address->port == 0 && !item->stale)
    return false;
  return address_equal(&item->declared, address);
}

struct listener_item *listener_set_find(const struct listener_set *set, const struct address *address)
{
  struct listener_item *item;

  DL_FOREACH(set->items, item)
  {
    if (serves(item, address))
      return item;
  }
  return NULL;
}

size_t listener_set_count(const struct listener_set *set)
{
  const struct listener_item *item;
  size_t count = 0;

  DL_FOREACH(set->items, item)
  {
    count += item->write == NULL && !item->stale;
  }
  return count;
}

const struct address *listener_set_address(const struct listener_set *set, size_t index)
{
  const struct listener_item *item;

  DL_FOREACH(set->items, item)
  {
    if (item->write != NULL || item->stale)
      continue;
    if (index == 0)
      return &item->actual;
    index--;
  }
  return NULL;
}

/* ---- Yielding. ---- */

static void listener_opened(struct listener *l, int error, const char *why, void *arg);
static void listener_accepted(struct listener *l, int fd, const char *peer, void *arg);
static void listener_starved(struct listener *l, int error, void *arg);

static const struct listener_events listener_events = {
    .opened = listener_opened, .accepted = listener_accepted, .starved = listener_starved};

static bool in_the_way(const struct listener_item *item, const struct listener_item *trial)
{
  const struct address *a = &trial->declared;

  if (item->write != NULL || item->listener == NULL || item->returning || item->absent)
    return false;
  if (!trial->replace && !item->stale)
    return false;
  return a->kind == ADDRESS_TCP && item->actual.kind == ADDRESS_TCP && a->port == item->actual.port;
}

static bool yield_to(const struct listener_item *trial)
{
  struct listener_item *item;
  bool any = false;

  DL_FOREACH(trial->set->items, item)
  {
    if (!in_the_way(item, trial))
      continue;
    listener_close(item->listener);
    item->listener = NULL;
    any = true;
  }
  return any;
}

static void unyield(struct listener_set *set)
{
  struct listener_item *item, *next;
  int err;

  DL_FOREACH_SAFE(set->items, item, next)
  {
    if (item->listener != NULL || item->write != NULL || item->stale || item->absent)
      continue;
    item->returning = true;
    err = listener_open(&item->listener, set->lookups, &item->actual, &listener_events, item);
    if (err != 0) {
      item->listener = NULL;
      item_drop(item, err);
    }
  }
}

/* ---- What the listeners tell. ---- */

static void absent_opened(struct listener_item *item, int error, const char *why)
{
  struct listener_set *set = item->set;
  bool first = !item->attempted;

  item->attempted = true;
  item->absent = error != 0;
  if (error == 0) {
    item->actual = *listener_address(item->listener);
  } else if (item->listener != NULL) {
    listener_close(item->listener);
    item->listener = NULL;
  }
  set->events->restored(set->forward, &item->actual, error, why, first);
}

static void listener_opened(struct listener *l, int error, const char *why, void *arg)
{
  struct listener_item *item = arg;
  struct listener_set *set = item->set;

  if (item->absent) {
    absent_opened(item, error, why);
    return;
  }
  if (item->write == NULL) {
    item->returning = false;
    if (error != 0)
      item_drop(item, error);
    return;
  }
  if (error == -EADDRINUSE && !item->retried && yield_to(item)) {
    item->retried = true;
    listener_close(l);
    error = listener_open(&item->listener, set->lookups, &item->declared, &listener_events, item);
    if (error == 0)
      return;
    item->listener = NULL;
    why = "the listener cannot be opened";
  }
  set->events->tried(item->write, error, why);
}

static void listener_accepted(struct listener *l, int fd, const char *peer, void *arg)
{
  const struct listener_set *set = ((struct listener_item *)arg)->set;

  (void)l;
  set->events->accepted(set->forward, fd, peer);
}

static void listener_starved(struct listener *l, int error, void *arg)
{
  const struct listener_set *set = ((struct listener_item *)arg)->set;

  (void)l;
  set->events->starved(set->forward, error);
}

/* ---- From a trial to the end. ---- */

int listener_set_try(struct listener_set *set, const struct address *address, bool replace, struct forward_write *w,
                     struct listener_item **out)
{
  struct listener_item *item = calloc(1, sizeof *item);
  int err;

  if (item == NULL)
    return -ENOMEM;
  *item = (struct listener_item){.set = set, .write = w, .declared = *address, .actual = *address, .replace = replace};
  err = listener_open(&item->listener, set->lookups, address, &listener_events, item);
  if (err != 0) {
    free(item);
    return err;
  }
  DL_APPEND(set->items, item);
  *out = item;
  return 0;
}

int listener_set_restore(struct listener_set *set, const struct address *address)
{
  struct listener_item *item;

  DL_FOREACH(set->items, item)
  {
    if (item->absent && address_equal(&item->declared, address))
      return 0;
  }
  item = calloc(1, sizeof *item);
  if (item == NULL)
    return -ENOMEM;
  *item = (struct listener_item){.set = set, .declared = *address, .actual = *address, .absent = true};
  if (listener_open(&item->listener, set->lookups, address, &listener_events, item) != 0) {
    free(item);
    return -ENOMEM;
  }
  DL_APPEND(set->items, item);
  return 0;
}

void listener_set_retry(struct listener_set *set)
{
  struct listener_item *item;

  DL_FOREACH(set->items, item)
  {
    /* One that cannot even be begun is tried the next time. */
    if (item->absent && item->listener == NULL && !item->stale &&
        listener_open(&item->listener, set->lookups, &item->declared, &listener_events, item) != 0)
      item->listener = NULL;
  }
}

bool listener_set_restoring(const struct listener_set *set)
{
  const struct listener_item *item;

  DL_FOREACH(set->items, item)
  {
    if (item->absent && !item->attempted)
      return true;
  }
  return false;
}

bool listener_set_lacks(const struct listener_set *set)
{
  const struct listener_item *item;

  DL_FOREACH(set->items, item)
  {
    if (item->absent)
      return true;
  }
  return false;
}

void listener_set_give_up(struct listener_item *item)
{
  struct listener_set *set = item->set;

  item_free(item);
  unyield(set);
}

const struct address *listener_set_keep(struct listener_item *item)
{
  struct listener_item *other, *next;

  item->write = NULL;
  item->actual = *listener_address(item->listener);
  /* The absent one is there now. */
  DL_FOREACH_SAFE(item->set->items, other, next)
  {
    if (other->absent && address_equal(&other->declared, &item->actual))
      item_drop(other, 0);
  }
  return &item->actual;
}

void listener_set_apply(struct listener_set *set, struct listener_item *kept, bool replace)
{
  struct listener_item *item;

  DL_FOREACH(set->items, item)
  {
    if (item == kept)
      item->stale = false;
    else if (replace && item->write == NULL)
      item->stale = true;
  }
  set->continued = true;
}

void listener_set_settle(struct listener_set *set)
{
  struct listener_item *item, *next;

  set->continued = false;
  DL_FOREACH_SAFE(set->items, item, next)
  {
    if (item->stale)
      item_drop(item, 0);
  }
}

void listener_set_clear(struct listener_set *set)
{
  struct listener_item *item, *next;

  DL_FOREACH_SAFE(set->items, item, next)
  {
    if (item->write != NULL || item->stale)
      item_free(item);
    else
      item_drop(item, 0);
  }
}
