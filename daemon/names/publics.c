/* What is written adds a name, which waits for the answer of the router to the next registration. If it replaces what
 * was there, the former names are asked for as well until it is granted, so that nobody else gets them meanwhile: a
 * line that is refused changes nothing.
 */
#include "publics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "services_internal.h"

enum { WHY_SIZE = 256, URL_SIZE = PUBLIC_TEXT_SIZE + 32 };

struct public_item {
  struct public_name name;
  struct public_info info;
  char host[PUBLIC_HOST_SIZE], url[URL_SIZE], why[WHY_SIZE];
  struct public_wait *wait;     /* who has written it, and waits; or NULL */
  struct public_wait *replaced; /* goes when this one is answered; or NULL */
  struct public_item *prev, *next;
};

/* A write that waits for its verdict, for a bounded time. */
struct public_wait {
  struct service *service; /* until it is answered */
  struct services *owner;
  uv_timer_t timer;
  service_verdict_cb verdict;
  void *arg;
  int error; /* what to say when the timer ends */
};

static struct public_item *find(const struct publics *p, const struct public_name *name)
{
  struct public_item *i;

  DL_FOREACH(p->first, i)
  {
    if (public_name_equal(&i->name, name))
      return i;
  }
  return NULL;
}

static void item_remove(struct publics *p, struct public_item *i)
{
  DL_DELETE(p->first, i); /* NOLINT(clang-analyzer-core.NullDereference): it has neighbours */
  p->count--;
  p->given_up |= i->host[0] != '\0';
  free(i);
}

const struct public_item *publics_next(const struct publics *p, const struct public_item *item)
{
  return item == NULL ? p->first : item->next;
}

const struct public_name *publics_name(const struct public_item *item)
{
  return &item->name;
}

bool publics_refused(const struct publics *p)
{
  const struct public_item *i;

  DL_FOREACH(p->first, i)
  {
    if (i->info.error != 0 && i->info.error != -EOPNOTSUPP)
      return true;
  }
  return false;
}

/* ---- Waits ---- */

static void wait_freed(uv_handle_t *handle)
{
  struct public_wait *w = handle->data;
  struct services *ss = w->owner;

  free(w);
  services_release(ss);
}

/* What it wrote counts from now on, or not at all; what it was to replace goes, or stays. */
static void settle(struct publics *p, struct public_wait *w, bool good)
{
  struct public_item *i, *next;

  DL_FOREACH_SAFE(p->first, i, next)
  {
    if (i->replaced == w) {
      i->replaced = NULL;
      if (good)
        item_remove(p, i);
    } else if (i->wait == w) {
      i->wait = NULL;
      if (!good)
        item_remove(p, i);
    }
  }
}

static void answer(struct public_wait *w, int error, const char *why)
{
  /* One whose verdict is still to come has been accepted. */
  bool good = error == 0 || error == -ETIMEDOUT || error == -EINTR;

  settle(&w->service->publics, w, good);
  w->service->owner->events->public_changed(w->service, w->service->owner->arg);
  uv_close((uv_handle_t *)&w->timer, wait_freed);
  w->verdict(error, why, w->arg);
}

static void wait_over(uv_timer_t *timer)
{
  struct public_wait *w = timer->data;
  struct service *s = w->service;

  answer(w, w->error,
         w->error == -ETIMEDOUT ? "the router gave no verdict in time; the name is still asked for" : "interrupted");
  service_ask_publics(s);
}

void public_wait_cancel(struct public_wait *w, int error)
{
  w->error = error;
  uv_timer_start(&w->timer, wait_over, 0, 0);
}

static struct public_wait *wait_create(struct service *s, service_verdict_cb verdict, void *arg)
{
  struct public_wait *w = calloc(1, sizeof *w);

  if (w == NULL)
    return NULL;
  *w = (struct public_wait){.service = s, .owner = s->owner, .verdict = verdict, .arg = arg, .error = -ETIMEDOUT};
  if (uv_timer_init(s->owner->loop, &w->timer) != 0) {
    free(w);
    return NULL;
  }
  w->timer.data = w;
  uv_timer_start(&w->timer, wait_over, SERVICE_VERDICT_MS, 0);
  s->owner->holds++;
  return w;
}

void publics_end_waits(struct service *s, int error, const char *why)
{
  struct public_item *i;

  for (;;) {
    DL_FOREACH(s->publics.first, i)
    {
      if (i->wait != NULL)
        break;
    }
    if (i == NULL)
      return;
    answer(i->wait, error, why);
  }
}

/* ---- What is written, and answered ---- */

/* Those of its kind that are granted or asked for make way for it. */
static void replace_others(struct publics *p, const struct public_item *by, struct public_wait *w)
{
  struct public_item *i, *next;

  DL_FOREACH_SAFE(p->first, i, next)
  {
    if (i == by || public_name_kind(&i->name) != public_name_kind(&by->name) || i->wait != NULL)
      continue;
    if (w != NULL)
      i->replaced = w;
    else
      item_remove(p, i);
  }
}

static struct public_item *item_add(struct publics *p, const struct public_name *name)
{
  struct public_item *i = calloc(1, sizeof *i);

  if (i == NULL)
    return NULL;
  i->name = *name;
  i->info = (struct public_info){.name = &i->name, .host = i->host, .url = i->url, .why = i->why};
  DL_APPEND(p->first, i);
  p->count++;
  return i;
}

/* Whether the router is to be asked before the line is answered. */
static bool waits_for(const struct service *s, const struct public_item *i)
{
  return service_may_ask(s) && (i == NULL || i->info.error != 0);
}

int service_add_public(struct service *s, const struct public_name *name, bool replace, service_verdict_cb verdict,
                       void *arg, struct public_wait **out)
{
  struct publics *p = &s->publics;
  struct public_item *i = find(p, name);
  struct public_wait *w = NULL;

  if (i != NULL && i->wait != NULL)
    return -EBUSY;
  if (i == NULL && p->count >= (replace ? (size_t)PUBLIC_GRANTED_MAX : (size_t)PUBLIC_NAMES_MAX))
    return -ENOSPC;
  if (waits_for(s, i)) {
    w = wait_create(s, verdict, arg);
    if (w == NULL)
      return -ENOMEM;
  }
  bool asks = i == NULL || w != NULL;
  if (i == NULL)
    i = item_add(p, name);
  if (i == NULL) {
    if (w != NULL)
      uv_close((uv_handle_t *)&w->timer, wait_freed);
    return -ENOMEM;
  }
  i->replaced = NULL;
  i->wait = w;
  if (replace)
    replace_others(p, i, w);
  if (asks || p->given_up)
    service_ask_publics(s);
  s->owner->events->public_changed(s, s->owner->arg);
  *out = w;
  return w != NULL ? 1 : 0;
}

void service_remove_publics(struct service *s, enum public_kind kind)
{
  struct public_item *i, *next;

  DL_FOREACH_SAFE(s->publics.first, i, next)
  {
    if (public_name_kind(&i->name) == kind && i->wait == NULL)
      item_remove(&s->publics, i);
  }
  if (s->publics.given_up)
    service_ask_publics(s);
  s->owner->events->public_changed(s, s->owner->arg);
}

static bool copy(char *to, size_t size, const char *from)
{
  bool other = strncmp(to, from, size - 1) != 0;

  snprintf(to, size, "%s", from);
  return other;
}

/* What nobody waits to hear as the answer to a line: a refusal that is new, and each name that is granted. */
static void tell(struct service *s, const struct public_item *i, const struct public_answer *a)
{
  char sentence[WHY_SIZE + PUBLIC_TEXT_SIZE + PUBLIC_HOST_SIZE], text[PUBLIC_TEXT_SIZE];

  public_name_format(&i->name, text);
  if (a->error == 0 && strcmp(i->host, a->host) != 0)
    snprintf(sentence, sizeof sentence, "the public name %s is granted: %.250s", text, a->host);
  else if (a->error != 0 && a->error != i->info.error && i->wait == NULL)
    snprintf(sentence, sizeof sentence, "the public name %s is refused: %.200s", text, a->why);
  else
    return;
  s->owner->events->public_answered(s, a->error, sentence, s->owner->arg);
}

/* The port that the router has chosen is asked for from now on: so it is the same one by whatever router, and after a
 * restart. */
static void keep_port(struct publics *p, struct public_item *i, const char *host)
{
  const char *colon = strrchr(host, ':');
  struct public_name chosen;
  const char *why;

  if (public_name_kind(&i->name) != PUBLIC_PORT || public_name_port(&i->name) != 0 || colon == NULL)
    return;
  if (public_port_parse(colon + 1, &chosen, &why) != 0 || find(p, &chosen) != NULL)
    return;
  i->name = chosen;
  p->given_up = true;
}

bool publics_answered(struct service *s, const struct public_name *name, const struct public_answer *a)
{
  struct public_item *i = find(&s->publics, name);

  if (i == NULL)
    return false;
  tell(s, i, a);
  bool changed = i->info.error != a->error;
  changed = copy(i->host, sizeof i->host, a->host) || changed;
  changed = copy(i->url, sizeof i->url, a->url) || changed;
  changed = copy(i->why, sizeof i->why, a->why) || changed;
  i->info.error = a->error;
  if (a->error == 0)
    keep_port(&s->publics, i, a->host);
  if (i->wait != NULL)
    answer(i->wait, a->error, a->why);
  return changed;
}

bool publics_all_answered(struct service *s, const struct public_answer *a)
{
  struct public_item *i, *next;
  bool changed = false;

  DL_FOREACH_SAFE(s->publics.first, i, next)
  {
    const struct public_name name = i->name; /* it may go */

    changed |= publics_answered(s, &name, a);
  }
  return changed;
}

void publics_free(struct service *s)
{
  while (s->publics.first != NULL)
    item_remove(&s->publics, s->publics.first);
}

const struct public_info *service_public(const struct service *s, size_t index)
{
  const struct public_item *i;

  DL_FOREACH(s->publics.first, i)
  {
    if (i->wait == NULL && index-- == 0)
      return &i->info;
  }
  return NULL;
}
