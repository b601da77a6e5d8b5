/* The declarations, on their way into the state file and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/forwards/forwards.h"
#include "daemon/keep/state.h"
#include "daemon/keep/state_file.h"
#include "daemon/keep/state_format.h"
#include "daemon/names/services.h"
#include "daemon/start/options.h"
#include "daemon/tree/tree.h"
#include "daemon_internal.h"
#include "news.h"

static const struct state_rules rules = {.services = SERVICES_MAX,
                                         .forwards = FORWARDS_MAX,
                                         .listeners = FORWARD_LISTENERS_MAX,
                                         .public_names = PUBLIC_NAMES_MAX,
                                         .check_name = service_name_check};

int declared_read(struct daemon *d, char why[STATE_FILE_WHY_MAX])
{
  char reason[STATE_WHY_MAX];
  int err = state_file_open(&d->state_file, d->options->state_file, &d->state_bytes, &d->state_size, why);

  if (err != 0 || d->state_bytes == NULL)
    return err;
  err = state_parse(d->state_bytes, d->state_size, &rules, &d->declared, reason);
  if (err != 0)
    snprintf(why, STATE_FILE_WHY_MAX,
             "%.300s: %.500s; the file is unchanged: repair it, or move it away to begin with nothing declared",
             d->options->state_file, reason);
  return err;
}

/* ---- Declared again. ---- */

/* The router is not connected yet, so no verdict comes here: later ones show in status, events and errors. */
static void no_verdict(int error, const char *why, void *arg)
{
  (void)error, (void)why, (void)arg;
}

static int restore_service(struct daemon *d, const struct state_declaration *item, const char **why)
{
  struct service_wait *wait;
  struct service *s;
  int err = services_declare(d->services, item->name, &s, why);

  if (err == 0 && item->has_address) {
    *why = "memory is short";
    err = service_set_target(s, &item->address, no_verdict, NULL, &wait);
  }
  if (err >= 0)
    tree_service_changed(d->tree, item->name);
  return err < 0 ? err : 0;
}

static int restore_public(struct daemon *d, const struct state_declaration *item, const char **why)
{
  struct service *s = services_find(d->services, item->name);
  struct public_wait *wait;

  *why = "memory is short";
  return s != NULL ? service_add_public(s, &item->public_name, false, no_verdict, NULL, &wait) : 0;
}

static int restore_proxy(struct daemon *d, const struct state_declaration *item, const char **why)
{
  struct service *s = services_find(d->services, item->name);

  (void)why;
  if (s != NULL)
    service_set_proxy(s, item->proxy);
  return 0;
}

/* A page is in parts, which follow each other. */
static int restore_page(struct service *s, const struct state_declaration *item)
{
  const struct rules_text *page = &service_rules(s)->of[RULE_OFFLINE];
  size_t size = page->size + item->text_size;
  char *whole = malloc(size);
  int err;

  if (whole == NULL)
    return -ENOMEM;
  if (page->size > 0)
    memcpy(whole, page->at, page->size);
  memcpy(whole + page->size, item->text, item->text_size);
  err = service_set_rule(s, RULE_OFFLINE, whole, size);
  free(whole);
  return err;
}

static int restore_rule(struct daemon *d, const struct state_declaration *item, const char **why)
{
  struct service *s = services_find(d->services, item->name);
  int err = 0;

  if (s != NULL && item->rule == RULE_OFFLINE)
    err = restore_page(s, item);
  else if (s != NULL)
    err = service_add_rule(s, item->rule, item->text, false);
  *why = err == -ENOMEM ? "memory is short" : "too much is said of requests";
  return err;
}

static int restore_forward(struct daemon *d, const struct state_declaration *item, const char **why)
{
  struct forward *f = forwards_find(d->forwards, item->name);
  int err = f != NULL ? 0 : forwards_create(d->forwards, item->name, &f, why);

  if (err == 0) {
    *why = "memory is short";
    err = forward_restore(f, &item->address);
  }
  if (err == 0)
    tree_forward_changed(d->tree, item->name);
  return err;
}

static int render(struct state_text *out, void *arg)
{
  const struct daemon *d = arg;
  struct service *s = NULL;
  struct forward *f = NULL;
  const struct address *listener;
  const struct public_info *name;

  state_text_begin(out);
  while ((s = services_next(d->services, s)) != NULL) {
    state_text_service(out, service_name(s), service_target(s));
    for (size_t i = 0; (name = service_public(s, i)) != NULL; i++)
      state_text_public(out, service_name(s), name->name);
    state_text_proxy(out, service_name(s), service_proxy(s));
    state_text_rules(out, service_name(s), service_rules(s));
  }
  while ((f = forwards_next(d->forwards, f)) != NULL)
    for (size_t i = 0; (listener = forward_listener(f, i)) != NULL; i++)
      state_text_forward(out, forward_name(f), listener);
  return state_text_end(out);
}

static void unkept(int error, const char *why, void *arg)
{
  struct daemon *d = arg;
  char sentence[STATE_FILE_WHY_MAX + 512];

  (void)error;
  snprintf(sentence, sizeof sentence, "the state is not saved in %.300s: %s; mmfs tries again", d->options->state_file,
           why);
  news_add_failure(d, sentence);
}

static void kept(void *arg)
{
  struct daemon *d = arg;

  news_add(d, "the state is saved in %.300s again", d->options->state_file);
}

static const struct state_events state_events = {.render = render, .unkept = unkept, .kept = kept};

int declared_restore(struct daemon *d)
{
  static int (*const restore[])(struct daemon * d, const struct state_declaration *item,
                                const char **why) = {[STATE_SERVICE] = restore_service,
                                                     [STATE_FORWARD] = restore_forward,
                                                     [STATE_PUBLIC] = restore_public,
                                                     [STATE_PROXY] = restore_proxy,
                                                     [STATE_RULE] = restore_rule};
  const char *why = "memory is short";
  int err = 0;

  for (size_t i = 0; err == 0 && i < d->declared.count; i++) {
    const struct state_declaration *item = &d->declared.items[i];

    err = restore[item->kind](d, item, &why);
    if (err != 0)
      snprintf(d->message, sizeof d->message, "%.300s: %s cannot be declared again: %s", d->options->state_file,
               item->name, why);
  }
  if (err != 0)
    return err;
  /* Only now: half of the declarations must never be saved. */
  err = state_open(&d->state, &d->loop, &d->state_file, d->state_bytes, d->state_size, &state_events, d);
  if (err != 0)
    snprintf(d->message, sizeof d->message, "memory is short");
  return err;
}

void declared_free(struct daemon *d)
{
  state_declarations_free(&d->declared);
  free(d->state_bytes);
  d->state_bytes = NULL;
}
