/* The path of now, and perhaps one that is tried in its place.
 *
 *               path   attempt or timer
 *     connecting  -        x               every failure starts the timer, and the timer the next attempt
 *     connected   x        -
 *     renewing    x        x               the same, beside the path that still works
 *
 * An attempt that succeeds becomes the path; what was the path before is dropped only then. If the path is lost
 * meanwhile, nothing changes for the attempt. What the calls of a path are is in link_path.c.
 *
 * A router that was there and is lost is tried again soon, since connections wait for it; less so if it was there for a
 * moment only, and may be gone again as soon.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/lookups.h"
#include "carry/net/names.h"
#include "link_internal.h"
#include "network.h"
#include "proto/host/credential.h"

enum {
  BACKOFF_SOON_MS = 50,
  BACKOFF_MIN_MS = 200,
  BACKOFF_MAX_MS = 3000,
  STABLE_MS = 500, /* a connection that lasted so long was more than a moment */
};

static void timer_fired(uv_timer_t *timer);

uint32_t link_random(struct link *l)
{
  l->random ^= l->random << 13;
  l->random ^= l->random >> 17;
  l->random ^= l->random << 5;
  return l->random;
}

/* ---- Attempts. ---- */

static void tell(struct link *l)
{
  if (l->events->state != NULL)
    l->events->state(l, link_connected(l), l->trouble, l->arg);
}

/* Calls that start from now on go there. */
static void use_channel(struct link *l, struct link_path *p)
{
  if (p->lent || p->channel == NULL)
    return;
  if (l->channel != NULL)
    rpc_channel_close(l->channel);
  l->channel = p->channel;
  p->lent = true;
}

void link_use_attempt(struct link *l)
{
  if (l->path == NULL)
    use_channel(l, l->attempt);
}

static void try_later(struct link *l)
{
  uint64_t ms = l->backoff_ms;

  uv_timer_start(&l->timer, timer_fired, ms / 2 + link_random(l) % (ms / 2 + 1), 0);
  l->backoff_ms = ms * 3 / 2 < BACKOFF_MAX_MS ? ms * 3 / 2 : BACKOFF_MAX_MS;
}

static void set_trouble(struct link *l, const char *sentence, bool refused)
{
  bool news = strcmp(l->trouble, sentence) != 0 || l->refused != refused;

  l->refused = refused;

  snprintf(l->trouble, sizeof l->trouble, "%s", sentence);
  if (news)
    tell(l);
}

static void tell_failed(struct link *l)
{
  if (l->events->failed != NULL)
    l->events->failed(l, l->arg);
}

static void tell_not_renewed(struct link *l, const char *sentence)
{
  bool news = strcmp(l->renewal_trouble, sentence) != 0;

  snprintf(l->renewal_trouble, sizeof l->renewal_trouble, "%s", sentence);
  if (news && l->events->not_renewed != NULL)
    l->events->not_renewed(l, sentence, l->arg);
}

static void path_lost(struct link *l, const char *sentence, bool refused)
{
  struct link_path *p = l->path;

  l->backoff_ms = uv_now(l->loop) - l->connected_at >= STABLE_MS ? BACKOFF_SOON_MS : BACKOFF_MIN_MS;
  l->path = NULL;
  l->draining = false;
  link_path_drop(p);
  if (l->attempt != NULL)
    use_channel(l, l->attempt);
  else
    try_later(l);
  set_trouble(l, sentence, refused);
  tell_failed(l);
}

static void attempt_failed(struct link *l, const char *sentence, bool refused)
{
  struct link_path *p = l->attempt;

  l->attempt = NULL;
  link_path_drop(p);
  if (l->path != NULL && l->path->replaced) {
    path_lost(l, sentence, refused);
    return;
  }
  try_later(l);
  if (l->path == NULL)
    set_trouble(l, sentence, refused);
  else
    tell_not_renewed(l, sentence);
  tell_failed(l);
}

static void fail(struct link *l, struct link_path *p, const char *sentence, bool refused)
{
  if (p == l->path)
    path_lost(l, sentence, refused);
  else
    attempt_failed(l, sentence, refused);
}

void link_fail(struct link *l, struct link_path *p, const char *sentence)
{
  fail(l, p, sentence, false);
}

static struct trouble_where where_of(const struct link *l, const struct link_path *p)
{
  return (struct trouble_where){.target = l->target,
                                .proxy = l->proxied ? l->proxy_text : NULL,
                                .tls = l->options.tls,
                                .key = l->key != NULL,
                                .connected = p == l->path};
}

void link_not_found(struct link *l, struct link_path *p, const char *why, unsigned causes)
{
  struct trouble_where where = where_of(l, p);
  char sentence[TROUBLE_MAX];

  link_fail(l, p, trouble_not_found(&where, why, causes, sentence));
}

void link_lose(struct link *l, struct link_path *p, enum rpc_status status, const char *text)
{
  struct trouble_where where = where_of(l, p);
  char sentence[TROUBLE_MAX];

  trouble_sentence(&where, status, text, sentence);
  fail(l, p, sentence, status == RPC_UNAUTHENTICATED || status == RPC_PERMISSION_DENIED);
}

static void try_now(struct link *l)
{
  int err = link_path_open(&l->attempt, l);

  uv_timer_stop(&l->timer);
  if (err == 0)
    return;
  l->attempt = NULL;
  try_later(l);
  if (l->path == NULL)
    set_trouble(l, strerror(-err), false);
}

static void timer_fired(uv_timer_t *timer)
{
  try_now(timer->data);
}

/* ---- What becomes of them. ---- */

void link_up(struct link *l, struct link_path *p)
{
  struct link_path *former = l->path;

  l->attempt = NULL;
  l->path = p;
  l->draining = false;
  l->renewal_trouble[0] = '\0';
  l->connected_at = uv_now(l->loop);
  l->unanswered = l->silent = false;
  if (former != NULL)
    link_path_drop(former);
  use_channel(l, p);
  known_names_restart(&l->names, former == NULL);
  if (former == NULL) {
    l->connects++;
    l->refused = false;
    l->trouble[0] = '\0';
    tell(l);
  } else {
    l->renewals++;
    if (l->events->renewed != NULL)
      l->events->renewed(l, l->arg);
  }
}

void link_supersede(struct link *l)
{
  if (l->superseded)
    return;
  l->superseded = true;
  if (l->events->superseded != NULL)
    l->events->superseded(l, l->arg);
}

/* An original has no use for it, and is polled anyway. */
static bool can_renew(const struct link *l)
{
  return l->path != NULL && l->path->state == PATH_WATCHED && !l->path->replaced;
}

void link_begin_renewal(struct link *l)
{
  if (!can_renew(l) || l->attempt != NULL || uv_is_active((uv_handle_t *)&l->timer))
    return;
  l->backoff_ms = BACKOFF_SOON_MS;
  try_now(l);
}

void link_renew(struct link *l)
{
  struct link_path *p = l->attempt;

  if (l->closing || (l->path != NULL && !can_renew(l)))
    return;
  /* It may be on its way where there is none any more. */
  l->attempt = NULL;
  if (p != NULL)
    link_path_drop(p);
  l->backoff_ms = BACKOFF_SOON_MS;
  try_now(l);
}

/* Where many interfaces come and go, no attempt would ever come to its end. */
void link_renew_perhaps(struct link *l)
{
  if (l->attempt == NULL)
    link_renew(l);
}

static void network_changed(bool sure, void *arg)
{
  struct link *l = arg;

  names_renew(l->lookups->names);
  if (sure)
    link_renew(arg);
  else
    link_renew_perhaps(arg);
}

/* The router's address may be known from the start. */
static void watch_target(struct link *l)
{
  char peer[INET6_ADDRSTRLEN + 32];

  snprintf(peer, sizeof peer, "%s:%s", l->target[0] == '[' ? "ipv6" : "ipv4", l->target);
  network_watch(l->network, peer);
}

/* ---- Open, close. ---- */

static void free_link(struct link *l)
{
  known_names_free(&l->names);
  free(l->target);
  credential_free(l->ca_pem);
  credential_free(l->key);
  explicit_bzero(l->seed, sizeof l->seed);
  explicit_bzero(l->member_key, sizeof l->member_key);
  explicit_bzero(l->former_key, sizeof l->former_key);
  explicit_bzero(l->proxy.login, sizeof l->proxy.login);
  free(l);
}

void link_call_over(struct link *l)
{
  void (*closed)(void *) = l->closed;
  void *arg = l->closed_arg;

  if (--l->calls > 0 || !l->closing)
    return;
  if (l->channel != NULL)
    rpc_channel_close(l->channel);
  free_link(l);
  closed(arg);
}

int link_set_credentials(struct link *l, const char *key, const char *ca_pem)
{
  char *key_copy = key != NULL ? strdup(key) : NULL;
  char *ca_copy = ca_pem != NULL ? strdup(ca_pem) : NULL;

  if ((key != NULL && key_copy == NULL) || (ca_pem != NULL && ca_copy == NULL)) {
    credential_free(key_copy);
    credential_free(ca_copy);
    return -ENOMEM;
  }
  credential_free(l->key);
  credential_free(l->ca_pem);
  l->key = key_copy;
  l->ca_pem = ca_copy;
  return 0;
}

static void copy_identity(struct link *l, const struct link_identity *identity)
{
  _Static_assert((int)LINK_MEMBER_SIZE == (int)HEADER_MEMBER_SIZE, "a member has one size");
  _Static_assert((int)LINK_MEMBER_KEY_SIZE == (int)HEADER_MEMBER_KEY_SIZE, "and its key, too");
  l->instance = identity->instance;
  memcpy(l->seed, identity->seed, sizeof l->seed);
  memcpy(l->member_key, identity->member_key, sizeof l->member_key);
  l->has_former = identity->former_key != NULL;
  if (l->has_former)
    memcpy(l->former_key, identity->former_key, sizeof l->former_key);
  identity_of_seed(l->seed, l->public_key);
  member_of_key(l->member_key, l->member);
}

static int copy_options(struct link *l, const struct link_options *options)
{
  l->options = *options;
  const char *why;

  if (l->options.answer_ms == 0)
    l->options.answer_ms = LINK_ANSWER_MS;
  l->target = strdup(options->target);
  if (address_parse_router(options->target, 0, &l->router, &why) != 0)
    return -EINVAL;
  l->has_at = options->at != NULL;
  if (l->has_at)
    l->router = *options->at;
  int err = link_set_credentials(l, options->key, options->ca_pem);
  copy_identity(l, &options->identity);
  l->is_gate = options->gate != NULL;
  if (l->is_gate)
    l->gate = *options->gate;
  return l->target != NULL ? err : -ENOMEM;
}

static void find_proxy(struct link *l)
{
  char text[ADDRESS_TEXT_MAX];

  l->proxied = !l->has_at && proxy_find(&l->proxy, &l->router, getenv);
  if (l->proxied)
    snprintf(l->proxy_text, sizeof l->proxy_text, "%s (from %s)", address_format(&l->proxy.address, text),
             l->proxy.variable);
}

int link_open(struct link **out, struct lookups *lookups, struct rpc_queue *q, const struct link_options *options,
              const struct link_events *events, void *arg)
{
  struct link *l = calloc(1, sizeof *l);
  int err;

  if (l == NULL)
    return -ENOMEM;
  *l = (struct link){.lookups = lookups,
                     .loop = lookups->loop,
                     .q = q,
                     .events = events,
                     .arg = arg,
                     .backoff_ms = BACKOFF_MIN_MS,
                     .calls = 1};
  identity_random(&l->random, sizeof l->random);
  l->random |= 1;
  err = copy_options(l, options);
  find_proxy(l);
  if (err == 0) {
    const struct rpc_channel_options channel = {
        .target = l->target, .tls = options->tls, .ca_pem = l->ca_pem, .bearer = l->key, .nowhere = true};
    err = rpc_channel_open(&l->channel, q, &channel);
  }
  if (err == 0)
    err = uv_timer_init(l->loop, &l->timer);
  if (err != 0) {
    if (l->channel != NULL)
      rpc_channel_close(l->channel);
    free_link(l);
    return err;
  }
  l->timer.data = l;
  /* Without it, what is lost is noticed, but later. */
  if (network_open(&l->network, l->loop, network_changed, l) == 0) {
    l->calls++;
    watch_target(l);
  } else {
    l->network = NULL;
  }
  snprintf(l->trouble, sizeof l->trouble, "connecting to %s", l->target);
  uv_timer_start(&l->timer, timer_fired, 0, 0);
  *out = l;
  return 0;
}

static void timer_closed(uv_handle_t *handle)
{
  link_call_over(handle->data);
}

static void network_closed(void *arg)
{
  link_call_over(arg);
}

void link_close(struct link *l, void (*closed)(void *arg), void *arg)
{
  struct link_path *paths[] = {l->path, l->attempt};

  l->closing = true;
  l->closed = closed;
  l->closed_arg = arg;
  l->path = l->attempt = NULL;
  for (size_t i = 0; i < 2; i++) {
    if (paths[i] != NULL)
      link_path_drop(paths[i]);
  }
  link_cancel_queries(l);
  if (l->network != NULL)
    network_close(l->network, network_closed, l);
  l->network = NULL;
  uv_close((uv_handle_t *)&l->timer, timer_closed);
}
