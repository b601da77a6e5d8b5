/* A forward is a list of listeners. A write has up to three steps:
 *
 *     ask the router, if the name is not known here -> open the listener, if there is none like it -> commit
 *
 * and any of them may refuse; until the commit nothing is changed. Only one case needs more: the new listener's port is
 * held by one that it replaces. That one *yields* then: it closes, the new one is tried again, and if it still cannot
 * be opened, the former one comes back.
 */
#include "forwards.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "address.h"
#include "link.h"
#include "listener.h"

enum { NAME_SIZE = 64, WHY_SIZE = 256 };

struct item {
  struct item *prev, *next;
  struct forward *forward;
  struct forward_write *write; /* whose it is until the commit */
  struct listener *listener;   /* NULL: it yielded */
  struct address declared, actual;
  bool returning; /* opened again after it yielded in vain */
  bool stale;     /* replaced, and to be closed when no line follows */
};

struct forward {
  UT_hash_handle hh;
  struct forwards *owner;
  struct item *items;
  struct forward_write *writes;
  char name[NAME_SIZE];
  bool continued; /* the next line is of the same write as the one before */
};

struct forward_write {
  struct forwards *owner;
  struct forward *forward; /* NULL: answered */
  struct forward_write *prev, *next;
  struct link_query *query;
  struct item *item;
  uv_timer_t timer;
  bool timer_closed;
  bool replace, more, retried;
  struct address address;
  forward_verdict_cb verdict;
  void *arg;
  int error; /* what to say when the timer ends */
};

struct forwards {
  uv_loop_t *loop;
  struct link *link;
  const struct forwards_events *events;
  void *arg;
  struct forward *table;
  unsigned holds; /* writes and handles that will call back */
  bool closing;
  uv_timer_t end; /* so that `closed` never comes inside forwards_close */
  void (*closed)(void *arg);
  void *closed_arg;
};

static void release(struct forwards *fs)
{
  if (--fs->holds > 0 || !fs->closing)
    return;
  void (*closed)(void *) = fs->closed;
  void *arg = fs->closed_arg;

  free(fs);
  closed(arg);
}

/* ---- Listeners. ---- */

static void item_free(struct item *item)
{
  struct forward *f = item->forward;

  if (item->listener != NULL)
    listener_close(item->listener);
  DL_DELETE(f->items, item);
  free(item);
}

/* It was listening, as far as anybody was told. */
static void item_drop(struct item *item, int error)
{
  struct forward *f = item->forward;
  struct address address = item->actual;

  item_free(item);
  f->owner->events->silent(f, &address, error, f->owner->arg);
}

/* "0" means a listener of its own: it is served by one that was made by a "0", but no two lines of a write share it. */
static bool serves(const struct item *item, const struct address *address)
{
  if (item->write != NULL || item->listener == NULL || item->returning)
    return false;
  if (address_equal(&item->actual, address))
    return true;
  if (item->forward->continued && address->kind == ADDRESS_TCP && address->port == 0 && !item->stale)
    return false;
  return address_equal(&item->declared, address);
}

static struct item *find_item(const struct forward *f, const struct address *address)
{
  struct item *item;

  DL_FOREACH(f->items, item)
  {
    if (serves(item, address))
      return item;
  }
  return NULL;
}

static void listener_opened(struct listener *l, int error, const char *why, void *arg);
static void listener_accepted(struct listener *l, int fd, const char *peer, void *arg);
static void listener_starved(struct listener *l, int error, void *arg);

static const struct listener_events listener_events = {
    .opened = listener_opened, .accepted = listener_accepted, .starved = listener_starved};

/* ---- Yielding. ---- */

static bool in_the_way(const struct item *item, const struct forward_write *w)
{
  const struct address *a = &w->address;

  if (item->write != NULL || item->listener == NULL || item->returning || !(w->replace || item->stale))
    return false;
  return a->kind == ADDRESS_TCP && item->actual.kind == ADDRESS_TCP && a->port == item->actual.port;
}

static bool yield(struct forward_write *w)
{
  struct item *item;
  bool any = false;

  DL_FOREACH(w->forward->items, item)
  {
    if (!in_the_way(item, w))
      continue;
    listener_close(item->listener);
    item->listener = NULL;
    any = true;
  }
  return any;
}

static void unyield(struct forward *f)
{
  struct item *item, *next;
  int err;

  DL_FOREACH_SAFE(f->items, item, next)
  {
    if (item->listener != NULL || item->write != NULL || item->stale)
      continue;
    item->returning = true;
    err = listener_open(&item->listener, f->owner->loop, &item->actual, &listener_events, item);
    if (err != 0) {
      item->listener = NULL;
      item_drop(item, err);
    }
  }
}

/* ---- Writes. ---- */

static void write_free(struct forward_write *w)
{
  struct forwards *owner = w->owner;

  if (!w->timer_closed || w->query != NULL)
    return;
  free(w);
  release(owner);
}

static void write_timer_closed(uv_handle_t *handle)
{
  struct forward_write *w = handle->data;

  w->timer_closed = true;
  write_free(w);
}

/* Does not tell. */
static void write_end(struct forward_write *w)
{
  struct forward *f = w->forward;

  DL_DELETE(f->writes, w);
  w->forward = NULL;
  if (w->query != NULL)
    link_ask_cancel(w->query);
  uv_close((uv_handle_t *)&w->timer, write_timer_closed);
}

static void refuse(struct forward_write *w, int error, const char *why)
{
  struct forward *f = w->forward;

  if (w->item != NULL) {
    item_free(w->item);
    w->item = NULL;
    unyield(f);
  }
  write_end(w);
  w->verdict(error, why, w->arg);
}

static void apply(struct forward *f, struct item *kept, bool replace, bool more)
{
  struct item *item;

  DL_FOREACH(f->items, item)
  {
    if (item == kept)
      item->stale = false;
    else if (replace && item->write == NULL)
      item->stale = true;
  }
  f->continued = more;
  if (!more)
    forward_settle(f);
}

static void commit(struct forward_write *w)
{
  struct item *item = w->item;
  struct forward *f = w->forward;

  item->write = NULL;
  item->actual = *listener_address(item->listener);
  w->item = NULL;
  f->owner->events->listening(f, &item->actual, f->owner->arg);
  apply(f, item, w->replace, w->more);
  write_end(w);
  w->verdict(0, "", w->arg);
}

static int open_item(struct forward_write *w)
{
  struct forward *f = w->forward;
  struct item *item = calloc(1, sizeof *item);
  int err;

  if (item == NULL)
    return -ENOMEM;
  *item = (struct item){.forward = f, .write = w, .declared = w->address, .actual = w->address};
  err = listener_open(&item->listener, f->owner->loop, &w->address, &listener_events, item);
  if (err != 0) {
    free(item);
    return err;
  }
  DL_APPEND(f->items, item);
  w->item = item;
  return 0;
}

static void listener_opened(struct listener *l, int error, const char *why, void *arg)
{
  struct item *item = arg;
  struct forward_write *w = item->write;
  int err;

  if (w == NULL) {
    item->returning = false;
    if (error != 0)
      item_drop(item, error);
    return;
  }
  if (error == 0) {
    commit(w);
    return;
  }
  if (error == -EADDRINUSE && !w->retried && yield(w)) {
    w->retried = true;
    listener_close(l);
    item->listener = NULL;
    err = listener_open(&item->listener, w->owner->loop, &w->address, &listener_events, item);
    if (err == 0)
      return;
    item->listener = NULL;
    refuse(w, err, "the listener cannot be opened");
    return;
  }
  refuse(w, error, why);
}

static void listener_accepted(struct listener *l, int fd, const char *peer, void *arg)
{
  struct item *item = arg;

  (void)l;
  item->forward->owner->events->accepted(item->forward, fd, peer, item->forward->owner->arg);
}

static void listener_starved(struct listener *l, int error, void *arg)
{
  struct item *item = arg;

  (void)l;
  item->forward->owner->events->starved(item->forward, error, item->forward->owner->arg);
}

static void list_answer(enum rpc_status status, const char *text, bool found, void *arg)
{
  struct forward_write *w = arg;
  char why[WHY_SIZE];
  int err;

  w->query = NULL;
  if (w->forward == NULL) {
    write_free(w);
    return;
  }
  if (status == RPC_OK && !found) {
    refuse(w, -ENOENT, "the router knows no such service");
    return;
  }
  /* A router that was lost meanwhile has not refused: the forward takes effect when it is back. */
  if (status != RPC_OK && link_connected(w->owner->link)) {
    snprintf(why, sizeof why, "the router was asked for the service, but: %s", text);
    refuse(w, -rpc_status_errno(status), why);
    return;
  }
  err = open_item(w);
  if (err != 0)
    refuse(w, err, "the listener cannot be opened");
}

static void write_over(uv_timer_t *timer)
{
  struct forward_write *w = timer->data;

  refuse(w, w->error, w->error == -ETIMEDOUT ? "no answer in time" : "interrupted");
}

static bool full(const struct forward *f, bool replace)
{
  const struct forward_write *w;
  const struct item *item;
  size_t count = 0;

  DL_FOREACH(f->writes, w)
  {
    count++;
  }
  DL_FOREACH(f->items, item)
  {
    count += !replace && !item->stale && item->write == NULL;
  }
  return count >= FORWARD_LISTENERS_MAX;
}

static int write_create(struct forward *f, struct forward_write **out)
{
  struct forward_write *w = calloc(1, sizeof *w);
  int err;

  if (w == NULL)
    return -ENOMEM;
  w->owner = f->owner;
  w->forward = f;
  w->error = -ETIMEDOUT;
  err = uv_timer_init(f->owner->loop, &w->timer);
  if (err != 0) {
    free(w);
    return err;
  }
  w->timer.data = w;
  uv_timer_start(&w->timer, write_over, FORWARD_VERDICT_MS, 0);
  DL_APPEND(f->writes, w);
  f->owner->holds++;
  *out = w;
  return 0;
}

int forward_write(struct forward *f, const struct address *address, bool replace, bool more, forward_verdict_cb verdict,
                  void *arg, struct forward_write **out, const char **why)
{
  struct forwards *fs = f->owner;
  struct item *there = find_item(f, address);
  bool ask = link_connected(fs->link) && !fs->events->known(f->name, fs->arg);
  struct forward_write *w;
  int err;

  /* Where a listener is, the service was known once; the connections tell if it is not. */
  if (there != NULL) {
    apply(f, there, replace, more);
    return 0;
  }
  if (full(f, replace)) {
    *why = "it has as many listeners as there can be";
    return -ENOSPC;
  }
  *why = "the listener cannot be opened";
  err = write_create(f, &w);
  if (err != 0)
    return err;
  w->address = *address;
  w->replace = replace;
  w->more = more;
  w->verdict = verdict;
  w->arg = arg;
  err = ask ? link_ask(&w->query, fs->link, f->name, FORWARD_VERDICT_MS, list_answer, w) : open_item(w);
  if (err != 0) {
    write_end(w);
    return err;
  }
  *out = w;
  return 1;
}

void forward_write_cancel(struct forward_write *w, int error)
{
  w->error = error;
  uv_timer_start(&w->timer, write_over, 0, 0);
}

void forward_settle(struct forward *f)
{
  struct item *item, *next;

  f->continued = false;
  DL_FOREACH_SAFE(f->items, item, next)
  {
    if (item->stale)
      item_drop(item, 0);
  }
}

/* ---- Open, create, remove, close. ---- */

int forwards_open(struct forwards **out, struct uv_loop_s *loop, struct link *link,
                  const struct forwards_events *events, void *arg)
{
  struct forwards *fs = calloc(1, sizeof *fs);
  int err;

  if (fs == NULL)
    return -ENOMEM;
  *fs = (struct forwards){.loop = loop, .link = link, .events = events, .arg = arg, .holds = 1};
  err = uv_timer_init(loop, &fs->end);
  if (err != 0) {
    free(fs);
    return err;
  }
  fs->end.data = fs;
  *out = fs;
  return 0;
}

static void remove_forward(struct forward *f, int error, const char *why)
{
  struct forwards *fs = f->owner;
  struct item *item, *next;

  HASH_DEL(fs->table, f);
  while (f->writes != NULL) {
    struct forward_write *w = f->writes;

    write_end(w);
    w->verdict(error, why, w->arg);
  }
  DL_FOREACH_SAFE(f->items, item, next)
  {
    if (item->write != NULL || item->stale)
      item_free(item);
    else
      item_drop(item, 0);
  }
  fs->events->gone(f, fs->arg);
  free(f);
}

void forward_remove(struct forward *f)
{
  remove_forward(f, -ENOENT, "the forward was removed meanwhile");
}

static void end_closed(uv_handle_t *handle)
{
  release(handle->data);
}

void forwards_close(struct forwards *fs, void (*closed)(void *arg), void *arg)
{
  struct forward *f, *next;

  fs->closing = true;
  fs->closed = closed;
  fs->closed_arg = arg;
  HASH_ITER(hh, fs->table, f, next)
  {
    remove_forward(f, -ECANCELED, "mmfs ends");
  }
  uv_close((uv_handle_t *)&fs->end, end_closed);
}

int forwards_create(struct forwards *fs, const char *name, struct forward **out, const char **why)
{
  struct forward *f;
  int err = service_name_check(name, why);

  if (err != 0)
    return err;
  if (forwards_find(fs, name) != NULL) {
    *why = "there is such a forward already";
    return -EEXIST;
  }
  if (HASH_COUNT(fs->table) >= FORWARDS_MAX) {
    *why = "there are as many forwards as there can be";
    return -ENOSPC;
  }
  *why = "memory is short";
  f = calloc(1, sizeof *f);
  if (f == NULL)
    return -ENOMEM;
  f->owner = fs;
  snprintf(f->name, sizeof f->name, "%s", name);
  HASH_ADD_STR(fs->table, name, f);
  if (f->hh.tbl == NULL) {
    free(f);
    return -ENOMEM;
  }
  *out = f;
  return 0;
}

struct forward *forwards_find(const struct forwards *fs, const char *name)
{
  struct forward *f;

  HASH_FIND_STR(fs->table, name, f);
  return f;
}

size_t forwards_count(const struct forwards *fs)
{
  return HASH_COUNT(fs->table);
}

const char *forward_name(const struct forward *f)
{
  return f->name;
}

const struct address *forward_listener(const struct forward *f, size_t index)
{
  const struct item *item;

  DL_FOREACH(f->items, item)
  {
    if (item->write != NULL || item->stale)
      continue;
    if (index == 0)
      return &item->actual;
    index--;
  }
  return NULL;
}
