/* A forward is a name and a set of listeners. A write has up to three steps:
 *
 *     ask the router, if the name is not known here -> open the listener, if there is none like it -> commit
 *
 * Any of them may refuse, and nothing changes before the commit. How listeners make way for each other is in
 * listener_set.c.
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

#include "carry/link/link.h"
#include "carry/net/address.h"
#include "carry/net/lookups.h"
#include "listener_set.h"

enum { NAME_SIZE = 64, WHY_SIZE = 256 };

struct forward {
  UT_hash_handle hh;
  struct forwards *owner;
  struct listener_set set;
  struct forward_write *writes;
  char name[NAME_SIZE];
};

struct forward_write {
  struct forwards *owner;
  struct forward *forward; /* NULL: answered */
  struct forward_write *prev, *next;
  struct link_query *query;
  struct listener_item *trial;
  uv_timer_t timer;
  bool timer_closed;
  bool question; /* no listener is to be opened */
  bool replace;
  struct address address;
  forward_verdict_cb verdict;
  void *arg;
  int error; /* what to say when the timer ends */
};

struct forwards {
  struct lookups *lookups;
  struct link *link;
  const struct forwards_events *events;
  void *arg;
  struct forward *table;
  unsigned holds; /* writes and handles that will call back */
  bool closing;
  uv_timer_t retry; /* while a listener is absent */
  uv_timer_t end;   /* so that `closed` never comes inside forwards_close */
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
  if (w->trial != NULL)
    listener_set_give_up(w->trial);
  w->trial = NULL;
  write_end(w);
  w->verdict(error, why, w->arg);
}

static void commit(struct forward_write *w)
{
  struct forward *f = w->forward;
  struct listener_item *item = w->trial;

  w->trial = NULL;
  f->owner->events->listening(f, listener_set_keep(item), f->owner->arg);
  listener_set_apply(&f->set, item, w->replace);
  write_end(w);
  w->verdict(0, "", w->arg);
}

static void tried(struct forward_write *w, int error, const char *why)
{
  if (error == 0)
    commit(w);
  else
    refuse(w, error, why);
}

static void reply_yes(struct forward_write *w)
{
  write_end(w);
  w->verdict(0, "", w->arg);
}

static int try_listener(struct forward_write *w)
{
  return listener_set_try(&w->forward->set, &w->address, w->replace, w, &w->trial);
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
    snprintf(why, sizeof why, "the router did not say whether it knows the service: %s", text);
    refuse(w, -rpc_status_errno(status), why);
    return;
  }
  if (w->question) {
    reply_yes(w);
    return;
  }
  err = try_listener(w);
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
  size_t count = replace ? 0 : listener_set_count(&f->set);

  DL_FOREACH(f->writes, w)
  {
    count++;
  }
  return count >= FORWARD_LISTENERS_MAX;
}

static int write_create(struct forward *f, forward_verdict_cb verdict, void *arg, struct forward_write **out)
{
  struct forward_write *w = calloc(1, sizeof *w);
  int err;

  if (w == NULL)
    return -ENOMEM;
  w->owner = f->owner;
  w->forward = f;
  w->verdict = verdict;
  w->arg = arg;
  w->error = -ETIMEDOUT;
  err = uv_timer_init(f->owner->lookups->loop, &w->timer);
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

static bool is_unknown(const struct forward *f)
{
  const struct forwards *fs = f->owner;

  return link_connected(fs->link) && !fs->events->known(f->name, fs->arg);
}

static int ask_router(struct forward_write *w)
{
  return link_ask(&w->query, w->owner->link, w->forward->name, FORWARD_VERDICT_MS, list_answer, w);
}

int forward_ask(struct forward *f, const struct address *there, forward_verdict_cb verdict, void *arg,
                struct forward_write **out)
{
  struct forward_write *w;
  int err;

  if (!is_unknown(f) || (there != NULL && listener_set_find(&f->set, there) != NULL))
    return 0;
  err = write_create(f, verdict, arg, &w);
  if (err != 0)
    return err;
  w->question = true;
  err = ask_router(w);
  if (err != 0) {
    write_end(w);
    return err;
  }
  *out = w;
  return 1;
}

int forward_write(struct forward *f, const struct address *address, bool replace, forward_verdict_cb verdict, void *arg,
                  struct forward_write **out, const char **why)
{
  struct listener_item *there = listener_set_find(&f->set, address);
  struct forward_write *w;
  int err;

  /* A name with a listener was known once. If it is not any more, its connections tell. */
  if (there != NULL) {
    listener_set_apply(&f->set, there, replace);
    return 0;
  }
  if (full(f, replace)) {
    *why = "the forward has too many listeners";
    return -ENOSPC;
  }
  *why = "the listener cannot be opened";
  err = write_create(f, verdict, arg, &w);
  if (err != 0)
    return err;
  w->address = *address;
  w->replace = replace;
  err = is_unknown(f) ? ask_router(w) : try_listener(w);
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
  listener_set_settle(&f->set);
}

/* ---- What the listeners tell. ---- */

static void silent(struct forward *f, const struct address *address, int error)
{
  f->owner->events->silent(f, address, error, f->owner->arg);
}

static void retry_fired(uv_timer_t *timer)
{
  struct forwards *fs = timer->data;
  struct forward *f, *next;
  bool lacks = false;

  HASH_ITER(hh, fs->table, f, next)
  {
    listener_set_retry(&f->set);
    lacks = lacks || listener_set_lacks(&f->set);
  }
  if (!lacks)
    uv_timer_stop(timer);
}

static void restored(struct forward *f, const struct address *address, int error, const char *why, bool first)
{
  struct forwards *fs = f->owner;

  if (error == 0) {
    fs->events->listening(f, address, fs->arg);
    return;
  }
  if (!uv_is_active((uv_handle_t *)&fs->retry))
    uv_timer_start(&fs->retry, retry_fired, FORWARD_RETRY_MS, FORWARD_RETRY_MS);
  if (first)
    fs->events->absent(f, address, error, why, fs->arg);
}

static void accepted(struct forward *f, int fd, const char *peer)
{
  f->owner->events->accepted(f, fd, peer, f->owner->arg);
}

static void starved(struct forward *f, int error)
{
  f->owner->events->starved(f, error, f->owner->arg);
}

static const struct listener_set_events set_events = {
    .tried = tried, .silent = silent, .restored = restored, .accepted = accepted, .starved = starved};

/* ---- Open, create, remove, close. ---- */

int forwards_open(struct forwards **out, struct lookups *lookups, struct link *link,
                  const struct forwards_events *events, void *arg)
{
  struct forwards *fs = calloc(1, sizeof *fs);
  int err;

  if (fs == NULL)
    return -ENOMEM;
  *fs = (struct forwards){.lookups = lookups, .link = link, .events = events, .arg = arg, .holds = 2};
  err = uv_timer_init(lookups->loop, &fs->end);
  if (err != 0) {
    free(fs);
    return err;
  }
  uv_timer_init(lookups->loop, &fs->retry);
  fs->end.data = fs->retry.data = fs;
  *out = fs;
  return 0;
}

static void remove_forward(struct forward *f, int error, const char *why)
{
  struct forwards *fs = f->owner;

  HASH_DEL(fs->table, f);
  while (f->writes != NULL) {
    struct forward_write *w = f->writes;

    write_end(w);
    w->verdict(error, why, w->arg);
  }
  listener_set_clear(&f->set);
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
  uv_close((uv_handle_t *)&fs->retry, end_closed);
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
    *why = "too many forwards are declared here";
    return -ENOSPC;
  }
  *why = "memory is short";
  f = calloc(1, sizeof *f);
  if (f == NULL)
    return -ENOMEM;
  f->owner = fs;
  f->set = (struct listener_set){.lookups = fs->lookups, .forward = f, .events = &set_events};
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

struct forward *forwards_next(const struct forwards *fs, const struct forward *f)
{
  return f == NULL ? fs->table : f->hh.next;
}

int forward_restore(struct forward *f, const struct address *address)
{
  return listener_set_restore(&f->set, address);
}

bool forwards_restoring(const struct forwards *fs)
{
  const struct forward *f;

  for (f = fs->table; f != NULL; f = f->hh.next)
    if (listener_set_restoring(&f->set))
      return true;
  return false;
}

const char *forward_name(const struct forward *f)
{
  return f->name;
}

const struct address *forward_listener(const struct forward *f, size_t index)
{
  return listener_set_address(&f->set, index);
}
