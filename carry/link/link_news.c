/* What the router tells, to those who want to hear of it. Handlers may close the link: so after each, it is seen
 * whether the path still matters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"
#include "proto/wire/public_name.h"

static bool matters(const struct link_path *p)
{
  return p->state != PATH_OVER;
}

static void tell_up(struct link_path *p, const Mindmeld__Service *s)
{
  struct link *l = p->link;
  int64_t seconds = s->create_time != NULL ? s->create_time->seconds : 0;
  int32_t nanos = s->create_time != NULL ? s->create_time->nanos : 0;
  enum known_change change = known_names_add(&l->names, s->name, seconds, nanos);
  const struct link_service service = {.name = s->name, .created = seconds, .again = change == KNOWN_AGAIN};

  if (change != KNOWN_UNCHANGED && l->events->service_up != NULL)
    l->events->service_up(l, &service, l->arg);
}

/* Those that cannot be read are left out: what a router grants can be. */
static void tell_public(struct link_path *p, const Mindmeld__Service *s)
{
  struct link *l = p->link;
  struct public_name names[PUBLIC_GRANTED_MAX];
  char text[PUBLIC_TEXT_SIZE];
  const char *why;
  size_t count = 0;
  bool ruled = s->rules.len > 0;
  size_t all = ruled ? s->n_ruled_names : s->n_public_names;

  for (size_t i = 0; i < all && count < PUBLIC_GRANTED_MAX; i++) {
    const Mindmeld__PublicName *given = ruled ? s->ruled_names[i] : s->public_names[i];
    int size = snprintf(text, sizeof text, "%s%s", given->host, given->path);

    if (size > 0 && (size_t)size < sizeof text && public_name_told(text, given->tls, &names[count], &why) == 0)
      names[count++].per_client = given->per_client;
  }
  const struct link_public is = {.names = names, .count = count, .rules = s->rules.data, .rules_size = s->rules.len};
  l->events->service_public(l, s->name, &is, l->arg);
}

static void tell_down(const char *name, void *arg)
{
  struct link_path *p = arg;
  struct link *l = p->link;

  if (matters(p) && l->events->service_down != NULL)
    l->events->service_down(l, name, l->arg);
}

static void tell_missing(const char *name, void *arg)
{
  struct link_path *p = arg;
  struct link *l = p->link;

  if (matters(p) && l->events->service_missing != NULL)
    l->events->service_missing(l, name, l->arg);
}

static void tell_whole(struct link_path *p)
{
  known_names_complete(&p->link->names, p->whole ? tell_down : tell_missing, p);
  p->whole = true;
}

static void tell_lost(struct link_path *p, const ProtobufCBinaryData *member)
{
  struct link *l = p->link;

  if (member->len != LINK_MEMBER_SIZE || memcmp(member->data, l->member, LINK_MEMBER_SIZE) == 0)
    return;
  if (l->events->lost != NULL)
    l->events->lost(l, member->data, l->arg);
}

static void tell_draining(struct link *l)
{
  if (l->draining)
    return;
  l->draining = true;
  if (l->events->draining != NULL)
    l->events->draining(l, l->arg);
  if (!l->closing)
    link_begin_renewal(l);
}

void link_tell_news(struct link_path *p, const Mindmeld__WatchServicesResponse *news)
{
  struct link *l = p->link;

  if (news->superseded)
    link_supersede(l);
  for (size_t i = 0; i < news->n_lost && matters(p); i++)
    tell_lost(p, &news->lost[i]);
  if (news->restart && p->told)
    known_names_restart(&l->names, false);
  p->told = true;
  for (size_t i = 0; i < news->n_removed && matters(p); i++) {
    if (known_names_remove(&l->names, news->removed[i]))
      tell_down(news->removed[i], p);
  }
  for (size_t i = 0; i < news->n_services && matters(p); i++)
    tell_up(p, news->services[i]);
  for (size_t i = 0; i < news->n_services && matters(p) && l->events->service_public != NULL; i++)
    tell_public(p, news->services[i]);
  if (news->complete && matters(p))
    tell_whole(p);
  if (news->draining && matters(p))
    tell_draining(l);
}

void link_tell_list(struct link_path *p, const Mindmeld__ListServicesResponse *list)
{
  if (p->told)
    known_names_restart(&p->link->names, false);
  p->told = true;
  for (size_t i = 0; i < list->n_services && matters(p); i++)
    tell_up(p, list->services[i]);
  if (matters(p))
    tell_whole(p);
}
