/* The services that are declared here, by name: what concerns all of them, and how one begins and ends. The rest of its
 * life is in service.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "carry/link/link.h"
#include "services_internal.h"

const char services_full[] = "too many services are declared here";

void services_release(struct services *ss)
{
  if (--ss->holds > 0 || !ss->closing)
    return;
  void (*closed)(void *) = ss->closed;
  void *arg = ss->closed_arg;

  left_names_free(&ss->left);
  free(ss);
  closed(arg);
}

void services_link_changed(struct services *ss)
{
  bool linked = link_connected(ss->link);
  struct service *s, *next;

  if (linked == ss->linked)
    return;
  ss->linked = linked;
  HASH_ITER(hh, ss->table, s, next)
  {
    if (linked)
      service_link_up(s);
    else
      service_link_down(s);
  }
}

void services_link_renewed(struct services *ss)
{
  struct service *s, *next;

  HASH_ITER(hh, ss->table, s, next)
  {
    service_link_renewed(s);
  }
}

void services_superseded(struct services *ss)
{
  struct service *s, *next;

  HASH_ITER(hh, ss->table, s, next)
  {
    service_superseded(s);
  }
}

void services_name_free(struct services *ss, const char *name)
{
  struct service *s = services_find(ss, name);

  if (s != NULL)
    service_name_free(s);
}

/* ---- Open, declare, withdraw, close. ---- */

int services_open(struct services **out, struct uv_loop_s *loop, struct link *link,
                  const struct services_events *events, void *arg)
{
  struct services *ss = calloc(1, sizeof *ss);
  int err;

  if (ss == NULL)
    return -ENOMEM;
  *ss = (struct services){.loop = loop, .link = link, .events = events, .arg = arg, .linked = link_connected(link)};
  err = uv_timer_init(loop, &ss->end);
  if (err != 0) {
    free(ss);
    return err;
  }
  ss->end.data = ss;
  ss->holds = 1;
  *out = ss;
  return 0;
}

static void end_closed(uv_handle_t *handle)
{
  services_release(handle->data);
}

static void withdraw(struct service *s, int error, const char *why)
{
  service_drop(s);
  HASH_DEL(s->owner->table, s);
  service_end(s, error, why);
}

void services_withdraw(struct service *s)
{
  withdraw(s, -ENOENT, "the service was withdrawn meanwhile");
}

void services_close(struct services *ss, void (*closed)(void *arg), void *arg)
{
  struct service *s, *next;

  ss->closing = true;
  ss->closed = closed;
  ss->closed_arg = arg;
  HASH_ITER(hh, ss->table, s, next)
  {
    withdraw(s, -ECANCELED, "mmfs ends");
  }
  uv_close((uv_handle_t *)&ss->end, end_closed);
}

int services_declare(struct services *ss, const char *name, struct service **out, const char **why)
{
  struct service *s;
  int err = service_name_check(name, why);

  if (err != 0)
    return err;
  if (services_find(ss, name) != NULL) {
    *why = "it is declared here already";
    return -EEXIST;
  }
  if (HASH_COUNT(ss->table) >= SERVICES_MAX) {
    *why = services_full;
    return -ENOSPC;
  }
  *why = "memory is short";
  s = calloc(1, sizeof *s);
  if (s == NULL)
    return -ENOMEM;
  snprintf(s->name, sizeof s->name, "%s", name);
  HASH_ADD_STR(ss->table, name, s);
  if (s->hh.tbl == NULL) {
    free(s);
    return -ENOMEM;
  }
  err = service_start(s, ss);
  if (err != 0) {
    HASH_DEL(ss->table, s);
    free(s);
    return err;
  }
  *out = s;
  return 0;
}

struct service *services_find(const struct services *ss, const char *name)
{
  struct service *s;

  HASH_FIND_STR(ss->table, name, s);
  return s;
}

size_t services_count(const struct services *ss)
{
  return HASH_COUNT(ss->table);
}

size_t services_online(const struct services *ss)
{
  return ss->online;
}

struct service *services_next(const struct services *ss, const struct service *s)
{
  return s == NULL ? ss->table : s->hh.next;
}

const char *service_name(const struct service *s)
{
  return s->name;
}

enum service_state service_state(const struct service *s)
{
  return s->state;
}

const struct address *service_target(const struct service *s)
{
  return s->has_target ? &s->target : NULL;
}

const char *service_state_name(enum service_state state)
{
  static const char *const names[] = {
      [SERVICE_PENDING] = "pending", [SERVICE_REGISTERING] = "registering",
      [SERVICE_ONLINE] = "online",   [SERVICE_OFFLINE] = "offline",
      [SERVICE_TAKEN] = "taken",
  };

  return names[state];
}
