/* What a service has as its target, and what follows from that for its registration: without one there is none. How
 * the target is told who its client is. */
#include <errno.h>

#include "carry/link/link.h"
#include "services_internal.h"

static void retarget(struct service *s, const struct address *target)
{
  s->has_target = true;
  s->target_removed = false;
  s->target = *target;
}

int service_set_target(struct service *s, const struct address *target, service_verdict_cb verdict, void *arg,
                       struct service_wait **out)
{
  struct services *ss = s->owner;
  struct service_wait *w;

  if (!link_connected(ss->link) || link_superseded(ss->link)) {
    retarget(s, target);
    if (s->state == SERVICE_PENDING)
      service_move(s, SERVICE_OFFLINE, service_why_offline(ss));
    return 0;
  }
  if (s->state == SERVICE_ONLINE) {
    retarget(s, target);
    return 0;
  }
  w = service_wait_create(s, verdict, arg);
  if (w == NULL)
    return -ENOMEM;
  *out = w;
  retarget(s, target);
  if (left_names_has(&ss->left, s->name, uv_now(ss->loop)))
    s->again_until = uv_now(ss->loop) + SERVICE_AGAIN_FOR_MS;
  service_move(s, SERVICE_REGISTERING, NULL);
  if (s->registration == NULL)
    service_begin(s);
  return 1;
}

void service_set_proxy(struct service *s, enum proxy_version version)
{
  bool per_client = s->proxy != PROXY_OFF;

  if (s->proxy == version)
    return;
  s->proxy = version;
  /* Gates are to know. */
  if (per_client != (version != PROXY_OFF) && s->publics.count > 0)
    service_ask_publics(s);
  s->owner->events->public_changed(s, s->owner->arg);
}

enum proxy_version service_proxy(const struct service *s)
{
  return s->proxy;
}

void service_remove_target(struct service *s)
{
  s->target_removed = true;
  if (s->state == SERVICE_PENDING)
    return;
  service_drop(s);
  s->has_target = false;
  service_move(s, SERVICE_PENDING, NULL);
  publics_end_waits(s, 0, "");
  service_answer_waits(s, -ENOENT, "the target was removed meanwhile");
}

bool service_target_removed(const struct service *s)
{
  return s->target_removed;
}

void service_make_target(struct service *s)
{
  s->target_removed = false;
}
