/* A service is a name, perhaps a target, and while both the target and the router are there, a registration.
 *
 *     PENDING      no target, and back here from every state when the target goes
 *        |  target
 *        v
 *     REGISTERING -- registered --> ONLINE
 *        |      \                     |
 *        |       \-- refused, or the router or the stream is lost, or we are superseded --> OFFLINE
 *        |  ALREADY_EXISTS
 *        v
 *      TAKEN
 *
 * OFFLINE and TAKEN ask again by themselves, and stay until the answer differs, so that the state does not flicker.
 * They become REGISTERING when the router comes back, or when the target is written. The table below says the same, and
 * is checked.
 *
 * When the link is renewed, a second registration is made beside the first, on the new channel, and takes its place
 * once the router has it; meanwhile the service is what it was. If the first ends, the second is all there is.
 *
 * A router of the first version may still have the name that this daemon has just given up, or lost with its link. Then
 * ALREADY_EXISTS is no verdict yet: the router is asked again for a second. One of ours knows us, and replaces the
 * older registration.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "carry/link/link.h"
#include "proto/host/bug.h"
#include "registration.h"
#include "services_internal.h"

enum {
  WHY_SIZE = 256,
  AGAIN_MS = 100,          /* while an original may have our own former registration */
  RETRY_MIN_MS = 500,      /* after a stream that was lost while the router is there */
  RETRY_MAX_MS = 5000,     /* and after a refusal */
  PUBLIC_RETRY_MS = 15000, /* after a public name was refused */
  CONFIRM_MS = 50,         /* between two looks at the list of a router of the first version */
};

#define TO(state) (1u << (SERVICE_##state))

static const unsigned allowed[] = {
    [SERVICE_PENDING] = TO(REGISTERING) | TO(OFFLINE),
    [SERVICE_REGISTERING] = TO(PENDING) | TO(ONLINE) | TO(OFFLINE) | TO(TAKEN),
    [SERVICE_ONLINE] = TO(PENDING) | TO(OFFLINE) | TO(TAKEN),
    [SERVICE_OFFLINE] = TO(PENDING) | TO(REGISTERING) | TO(ONLINE) | TO(TAKEN),
    [SERVICE_TAKEN] = TO(PENDING) | TO(REGISTERING) | TO(ONLINE) | TO(OFFLINE),
};

static const char superseded[] = "a newer mmfs with this identity has taken the place of this one";

static int start(struct service *s, struct registration **r);
static bool may_register(const struct service *s);
static void timer_fired(uv_timer_t *timer);

static void ask_again(struct service *s, uint64_t ms)
{
  uv_timer_start(&s->timer, timer_fired, ms, 0);
}

void service_move(struct service *s, enum service_state state, const char *why)
{
  enum service_state before = s->state;

  if (before == state)
    return;
  if ((allowed[before] & (1u << state)) == 0) {
    bug_found();
    state = SERVICE_OFFLINE;
    why = "mmfs has a bug; please report it";
    ask_again(s, RETRY_MAX_MS);
  }
  s->owner->online += state == SERVICE_ONLINE;
  s->owner->online -= before == SERVICE_ONLINE;
  s->state = state;
  s->owner->events->changed(s, before, why, s->owner->arg);
}

static uint64_t next_retry(struct service *s)
{
  uint64_t ms = s->retry_ms;

  s->retry_ms = ms * 2 < RETRY_MAX_MS ? ms * 2 : RETRY_MAX_MS;
  return ms;
}

/* ---- The registration. ---- */

/* True when there was one. */
static bool drop(struct registration **r)
{
  struct registration *former = *r;

  *r = NULL;
  if (former != NULL)
    registration_drop(former);
  return former != NULL;
}

void service_drop(struct service *s)
{
  struct services *ss = s->owner;

  uv_timer_stop(&s->timer);
  s->renewing = false;
  drop(&s->renewal);
  if (!drop(&s->registration))
    return;
  if (s->state == SERVICE_TAKEN)
    return;
  left_names_add(&ss->left, s->name, uv_now(ss->loop));
  if (ss->events->left != NULL)
    ss->events->left(s->name, ss->arg);
}

/* The newer one counts, whether it is registered yet or not. */
static void replace(struct service *s)
{
  drop(&s->registration);
  s->registration = s->renewal;
  s->renewal = NULL;
  s->renewing = false;
}

static void registered(struct service *s, struct registration *r)
{
  if (r == s->renewal)
    replace(s);
  if (s->state == SERVICE_ONLINE)
    return;
  s->retry_ms = RETRY_MIN_MS;
  uv_timer_stop(&s->timer);
  service_move(s, SERVICE_ONLINE, NULL);
  service_answer_waits(s, 0, "");
}

/* What it is asked for changes: beside the present registration a newer one is made, which takes its place. */
static void renew(struct service *s)
{
  /* Of a renewal that was overtaken by this one. */
  drop(&s->renewal);
  uv_timer_stop(&s->timer);
  s->renewing = true;
  start(s, &s->renewal);
}

bool service_may_ask(const struct service *s)
{
  return may_register(s) && !link_original(s->owner->link) &&
         (s->state == SERVICE_ONLINE || s->state == SERVICE_REGISTERING);
}

void service_ask_publics(struct service *s)
{
  s->publics.given_up = false;
  if (service_may_ask(s) && s->registration != NULL)
    renew(s);
}

static void publics_told(struct service *s, const struct public_name *asked, const struct public_answer *answers,
                         size_t count)
{
  static const struct public_answer unknown = {
      .host = "", .url = "", .error = -EOPNOTSUPP, .why = "this router gives no public names: it is an older one"};
  struct services *ss = s->owner;
  bool changed = false;

  for (size_t i = 0; i < count; i++)
    changed |= publics_answered(s, &asked[i], &answers[i]);
  if (count == 0)
    changed = publics_all_answered(s, &unknown);
  if (s->publics.given_up)
    service_ask_publics(s);
  if (publics_refused(&s->publics) && !uv_is_active((uv_handle_t *)&s->timer))
    ask_again(s, PUBLIC_RETRY_MS);
  if (changed)
    ss->events->public_changed(s, ss->arg);
}

static void refused(struct service *s, enum service_state state, int error, const char *why)
{
  bool news = s->waits == NULL && s->state != state;

  service_revert(s);
  publics_end_waits(s, error, why);
  if (s->has_target)
    ask_again(s, RETRY_MAX_MS);
  service_move(s, s->has_target || state == SERVICE_TAKEN ? state : SERVICE_PENDING, why);
  if (news)
    s->owner->events->refused(s, error, why, s->owner->arg);
  service_answer_waits(s, error, why);
}

/* The stream ended without a lasting verdict. If the router is gone, the link will tell; else it is asked again. */
static void stream_lost(struct service *s, const char *text)
{
  if (s->state == SERVICE_ONLINE)
    s->again_until = uv_now(s->owner->loop) + SERVICE_AGAIN_FOR_MS;
  ask_again(s, next_retry(s));
  if (s->state == SERVICE_ONLINE)
    service_move(s, SERVICE_OFFLINE, text);
}

static void unlisted(struct service *s)
{
  ask_again(s, CONFIRM_MS);
}

static void token_arrived(struct service *s, const char *token)
{
  if (s->has_target)
    s->owner->events->token(s, token, s->owner->arg);
}

static bool is_verdict(enum rpc_status status)
{
  return status == RPC_ALREADY_EXISTS || status == RPC_PERMISSION_DENIED || status == RPC_UNAUTHENTICATED ||
         status == RPC_RESOURCE_EXHAUSTED || status == RPC_INVALID_ARGUMENT;
}

/* Ends one of the two. True when the other one counts. */
static bool one_ended(struct service *s, struct registration *r, enum rpc_status status)
{
  if (r == s->renewal) {
    s->renewal = NULL;
    if (!is_verdict(status)) {
      ask_again(s, next_retry(s));
      return true;
    }
    s->renewing = false;
    drop(&s->registration);
    return false;
  }
  s->registration = NULL;
  if (s->renewal == NULL)
    return false;
  replace(s);
  return true;
}

static void ended(struct service *s, struct registration *r, enum rpc_status status, const char *text)
{
  struct services *ss = s->owner;
  char why[WHY_SIZE];

  if (one_ended(s, r, status))
    return;
  if (status == RPC_ALREADY_EXISTS && link_original(ss->link) && uv_now(ss->loop) < s->again_until) {
    ask_again(s, AGAIN_MS);
  } else if (status == RPC_ALREADY_EXISTS) {
    refused(s, SERVICE_TAKEN, -EEXIST, "another mount has registered the name");
  } else if (is_verdict(status)) {
    snprintf(why, sizeof why, "the router refuses the service: %s", text);
    refused(s, SERVICE_OFFLINE, -rpc_status_errno(status), why);
  } else {
    stream_lost(s, status == RPC_OK ? "the router ended the registration" : text);
  }
}

static const struct registration_events registration_events = {.registered = registered,
                                                               .unlisted = unlisted,
                                                               .token = token_arrived,
                                                               .publics = publics_told,
                                                               .ended = ended,
                                                               .gone = services_release};

static int start(struct service *s, struct registration **r)
{
  struct services *ss = s->owner;
  int err = registration_start(r, ss, s, ss->link, &registration_events);

  if (err == 0) {
    ss->holds++;
    return 0;
  }
  *r = NULL;
  ask_again(s, next_retry(s));
  return err;
}

void service_begin(struct service *s)
{
  uv_timer_stop(&s->timer);
  if (start(s, &s->registration) == 0 && link_original(s->owner->link) && registration_look(s->registration) != 0)
    ask_again(s, CONFIRM_MS);
}

static bool may_register(const struct service *s)
{
  return s->has_target && link_connected(s->owner->link) && !link_superseded(s->owner->link);
}

static void timer_fired(uv_timer_t *timer)
{
  struct service *s = timer->data;

  if (s->renewing) {
    if (s->renewal == NULL)
      start(s, &s->renewal);
  } else if (s->registration != NULL && s->state == SERVICE_ONLINE) {
    if (publics_refused(&s->publics))
      renew(s);
  } else if (s->registration != NULL) {
    if (registration_look(s->registration) != 0)
      ask_again(s, next_retry(s));
  } else if (may_register(s)) {
    service_begin(s);
  }
}

/* ---- What the link tells. ---- */

void service_link_up(struct service *s)
{
  if (!may_register(s) || s->state != SERVICE_OFFLINE)
    return;
  s->retry_ms = RETRY_MIN_MS;
  s->again_until = uv_now(s->owner->loop) + SERVICE_AGAIN_FOR_MS;
  service_move(s, SERVICE_REGISTERING, NULL);
  service_begin(s);
}

static void go_offline(struct service *s, const char *why)
{
  service_drop(s);
  if (s->state == SERVICE_PENDING)
    return;
  service_move(s, s->has_target ? SERVICE_OFFLINE : SERVICE_PENDING, why);
  /* It will take effect later, as if it had been written now. */
  publics_end_waits(s, 0, "");
  service_answer_waits(s, 0, "");
}

const char *service_why_offline(const struct services *ss)
{
  if (link_connected(ss->link))
    return superseded;
  return link_refused(ss->link) ? link_trouble(ss->link) : "the router is not reachable";
}

void service_link_down(struct service *s)
{
  go_offline(s, service_why_offline(s->owner));
}

void service_link_renewed(struct service *s)
{
  if (!may_register(s))
    return;
  s->retry_ms = RETRY_MIN_MS;
  if (s->registration == NULL) {
    service_begin(s);
    return;
  }
  renew(s);
}

void service_superseded(struct service *s)
{
  go_offline(s, superseded);
}

void service_name_free(struct service *s)
{
  if (s->state != SERVICE_TAKEN || s->registration != NULL)
    return;
  if (may_register(s))
    service_begin(s);
  else if (!s->has_target)
    service_move(s, SERVICE_PENDING, NULL);
}

/* ---- Start and end. ---- */

int service_start(struct service *s, struct services *owner)
{
  int err = uv_timer_init(owner->loop, &s->timer);

  if (err != 0)
    return err;
  s->owner = owner;
  s->retry_ms = RETRY_MIN_MS;
  s->timer.data = s;
  owner->holds++;
  return 0;
}

static void service_freed(uv_handle_t *handle)
{
  struct service *s = handle->data;
  struct services *ss = s->owner;

  free(s);
  services_release(ss);
}

void service_end(struct service *s, int error, const char *why)
{
  struct services *ss = s->owner;

  publics_end_waits(s, error, why);
  service_answer_waits(s, error, why);
  ss->online -= s->state == SERVICE_ONLINE;
  ss->events->withdrawn(s, ss->arg);
  publics_free(s);
  service_free_rules(s);
  uv_close((uv_handle_t *)&s->timer, service_freed);
}
