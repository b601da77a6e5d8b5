/* Passes on what one part tells to the parts that need it: the parts know nothing of each other. On the way, news
 * become sentences (news.c), and entries of the tree come and go. While the daemon ends, parts that are gone are NULL.
 */
#include <errno.h>
#include <stdio.h>

#include "carry/link/link.h"
#include "carry/net/address.h"
#include "carry/tunnel/answers.h"
#include "carry/tunnel/parked.h"
#include "carry/tunnel/tunnels.h"
#include "credentials.h"
#include "daemon/forwards/forwards.h"
#include "daemon/keep/state.h"
#include "daemon/names/catalogue.h"
#include "daemon/names/services.h"
#include "daemon/tap/taps.h"
#include "daemon/tree/tree.h"
#include "daemon_internal.h"
#include "news.h"
#include "proto/host/notify.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"

/* After anything that changes what is declared. */
static void touch_state(struct daemon *d)
{
  if (d->state != NULL)
    state_touch(d->state);
}

/* After anything that decides whether somebody may dial us. */
static void update_parked(struct daemon *d)
{
  if (d->parked == NULL)
    return;
  bool wanted = (d->services != NULL && services_online(d->services) > 0) || tunnels_served(d->tunnels) > 0;

  parked_update(d->parked, wanted);
  if (d->parked_raw != NULL)
    parked_update(d->parked_raw, wanted);
}

/* A connected link is renewed beside its present path. */
static void credentials_changed(struct credentials *c, void *arg)
{
  struct daemon *d = arg;

  if (link_set_credentials(d->link, credentials_key(c), credentials_ca(c)) != 0) {
    news_credentials_changed(d, false);
    return;
  }
  news_credentials_changed(d, true);
  link_renew(d->link);
}

static void credentials_bad(struct credentials *c, const char *why, void *arg)
{
  (void)c;
  news_credentials_bad(arg, why);
}

static void credentials_reloaded(struct credentials *c, bool told, void *arg)
{
  struct daemon *d = arg;

  (void)c;
  if (!told)
    news_credentials_unchanged(d);
  notify_say(d->notify, "READY", "1");
}

const struct credentials_events wiring_of_credentials = {
    .changed = credentials_changed, .bad = credentials_bad, .reloaded = credentials_reloaded};

static void way_changed(struct daemon *d)
{
  /* Dials on the way to a router that was lost may not hear of that for a while. */
  if (d->tunnels != NULL && link_connected(d->link))
    tunnels_renew(d->tunnels);
  if (d->tunnels != NULL)
    tunnels_way_changed(d->tunnels);
  update_parked(d);
}

static void way_renewed(struct daemon *d)
{
  if (d->parked != NULL)
    parked_renew(d->parked);
  if (d->parked_raw != NULL)
    parked_renew(d->parked_raw);
  if (d->tunnels != NULL)
    tunnels_renew(d->tunnels);
}

static void link_state(struct link *l, bool connected, const char *why, void *arg)
{
  struct daemon *d = arg;

  news_link_state(d, l, connected, why);
  if (!connected)
    catalogue_lost(d->catalogue);
  if (d->services != NULL)
    services_link_changed(d->services);
  if (d->tunnels == NULL || link_host_follow(&d->host))
    way_changed(d);
  if (link_refused(l) && d->tunnels != NULL && tunnels_detached(d->tunnels) > 0)
    news_stranded(d, tunnels_detached(d->tunnels));
  d->parts_events->router_heard(d);
}

static void link_service_up(struct link *l, const struct link_service *service, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  if (catalogue_up(d->catalogue, service->name) == -EINVAL && !service->again)
    news_name_hidden(d, service->name);
}

static void link_service_down(struct link *l, const char *name, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  catalogue_down(d->catalogue, name);
  if (d->services != NULL)
    services_name_free(d->services, name);
}

static void link_service_missing(struct link *l, const char *name, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  catalogue_missing(d->catalogue, name);
  if (d->services != NULL)
    services_name_free(d->services, name);
}

static void link_renewed(struct link *l, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  news_link_renewed(d);
  if (d->services != NULL)
    services_link_renewed(d->services);
  if (d->tunnels == NULL || link_host_follow(&d->host))
    way_renewed(d);
}

void wiring_of_host(enum link_host_news news, void *arg)
{
  struct daemon *d = arg;

  if (news == LINK_HOST_UP)
    way_changed(d);
  else if (news == LINK_HOST_RENEWED)
    way_renewed(d);
  update_parked(d);
  if (d->tree != NULL)
    tree_link_changed(d->tree);
}

static void link_joined(struct link *l, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  own_identity_joined(&d->identity, &d->loop);
}

static void link_lost(struct link *l, const uint8_t *member, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  if (d->tunnels != NULL)
    tunnels_peer_lost(d->tunnels, member);
}

static void link_was_superseded(struct link *l, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  news_link_superseded(d);
  if (d->services != NULL)
    services_superseded(d->services);
  if (d->tunnels != NULL)
    tunnels_superseded(d->tunnels);
  update_parked(d);
}

static void link_draining(struct link *l, void *arg)
{
  (void)l;
  news_link_draining(arg);
}

static void link_failed(struct link *l, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  credentials_check(d->credentials);
}

static void link_not_renewed(struct link *l, const char *why, void *arg)
{
  (void)l;
  news_link_not_renewed(arg, why);
}

const struct link_events wiring_of_link = {.state = link_state,
                                           .failed = link_failed,
                                           .not_renewed = link_not_renewed,
                                           .service_up = link_service_up,
                                           .service_down = link_service_down,
                                           .service_missing = link_service_missing,
                                           .draining = link_draining,
                                           .renewed = link_renewed,
                                           .joined = link_joined,
                                           .lost = link_lost,
                                           .superseded = link_was_superseded};

void wiring_of_catalogue(const char *name, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_service_changed(d->tree, name);
}

static void service_changed(struct service *s, enum service_state before, const char *why, void *arg)
{
  struct daemon *d = arg;

  (void)before;
  news_service_changed(d, s, why);
  if (d->tree != NULL)
    tree_service_changed(d->tree, service_name(s));
  update_parked(d);
  touch_state(d);
}

static void service_refused(struct service *s, int error, const char *why, void *arg)
{
  news_service_refused(arg, s, error, why);
}

static void service_public_changed(struct service *s, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_public_changed(d->tree, service_name(s));
  touch_state(d);
}

static void service_public_answered(struct service *s, int error, const char *sentence, void *arg)
{
  news_service_public(arg, s, error, sentence);
}

static void service_token(struct service *s, const char *token, void *arg)
{
  struct daemon *d = arg;

  if (d->answers != NULL)
    answers_start(d->answers, service_name(s), token);
}

static void service_left(const char *name, void *arg)
{
  struct daemon *d = arg;

  catalogue_withdrawn(d->catalogue, name);
}

static void service_withdrawn(struct service *s, void *arg)
{
  struct daemon *d = arg;

  news_service_withdrawn(d, s);
  if (d->taps != NULL)
    taps_service_withdrawn(d->taps, service_name(s));
  if (d->tree != NULL)
    tree_service_changed(d->tree, service_name(s));
  update_parked(d);
  touch_state(d);
}

const struct services_events wiring_of_services = {.changed = service_changed,
                                                   .refused = service_refused,
                                                   .token = service_token,
                                                   .public_changed = service_public_changed,
                                                   .public_answered = service_public_answered,
                                                   .left = service_left,
                                                   .withdrawn = service_withdrawn};

static struct tunnels_target target_of(const struct daemon *d, const char *name)
{
  const struct service *s = services_find(d->services, name);

  if (s == NULL)
    return (struct tunnels_target){0};
  return (struct tunnels_target){.address = service_target(s), .proxy = service_proxy(s)};
}

void wiring_of_parked(struct pump_stream *stream, const struct header *h, void *arg)
{
  struct daemon *d = arg;
  const struct tunnels_target target = target_of(d, h->service);
  const char *why;

  /* A connection that goes on does not name its service any more. */
  if (h->established || service_name_check(h->service, &why) == 0)
    tunnels_accept(d->tunnels, stream, h, &target);
  else
    pump_stream_close(stream);
}

static void answer_original(struct pump_stream *stream, const char *service, void *arg)
{
  struct daemon *d = arg;
  const struct tunnels_target target = target_of(d, service);

  tunnels_accept_original(d->tunnels, stream, service, &target);
}

static void answer_failed(const char *service, const char *text, void *arg)
{
  news_answer_failed(arg, service, text);
}

const struct answers_events wiring_of_answers = {
    .taken = wiring_of_parked, .taken_original = answer_original, .failed = answer_failed};

static bool forward_known(const char *name, void *arg)
{
  struct daemon *d = arg;
  const struct service *s = services_find(d->services, name);

  if (s != NULL && service_state(s) != SERVICE_PENDING)
    return true;
  return catalogue_find(d->catalogue, name) == CATALOGUE_ONLINE;
}

static void forward_listening(struct forward *f, const struct address *address, void *arg)
{
  struct daemon *d = arg;

  news_forward_listening(d, f, address);
  touch_state(d);
  d->parts_events->forward_restored(d);
}

static void forward_silent(struct forward *f, const struct address *address, int error, void *arg)
{
  struct daemon *d = arg;

  touch_state(d);
  news_forward_silent(d, f, address, error);
}

static void forward_absent(struct forward *f, const struct address *address, int error, const char *why, void *arg)
{
  struct daemon *d = arg;

  (void)error;
  news_forward_absent(d, f, address, why);
  d->parts_events->forward_restored(d);
}

static void forward_accepted(struct forward *f, int fd, const char *peer, void *arg)
{
  struct daemon *d = arg;

  tunnels_forward(d->tunnels, forward_name(f), fd, peer, NULL);
}

static void forward_starved(struct forward *f, int error, void *arg)
{
  news_forward_starved(arg, f, error);
}

static void forward_gone(struct forward *f, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_forward_changed(d->tree, forward_name(f));
  touch_state(d);
}

const struct forwards_events wiring_of_forwards = {.known = forward_known,
                                                   .listening = forward_listening,
                                                   .silent = forward_silent,
                                                   .absent = forward_absent,
                                                   .accepted = forward_accepted,
                                                   .starved = forward_starved,
                                                   .gone = forward_gone};

static void tunnel_opened(struct tunnel *t, void *arg)
{
  struct daemon *d = arg;

  taps_tunnel_opened(d->taps, t);
  if (d->tree != NULL)
    tree_connection_opened(d->tree, t);
  update_parked(d);
}

static void tunnel_closed(struct tunnel *t, void *arg)
{
  struct daemon *d = arg;

  taps_tunnel_closed(d->taps, t);
  if (d->tree != NULL)
    tree_connection_closed(d->tree, t);
  update_parked(d);
}

static void tunnel_detached(struct tunnel *t, const char *why, void *arg)
{
  news_tunnel_detached(arg, t, why);
}

static void tunnel_resumed(struct tunnel *t, void *arg)
{
  news_tunnel_resumed(arg, t);
}

static void tunnel_failed(struct tunnel *t, const char *what, void *arg)
{
  news_tunnel_failed(arg, t, what);
}

const struct tunnels_events wiring_of_tunnels = {.opened = tunnel_opened,
                                                 .closed = tunnel_closed,
                                                 .detached = tunnel_detached,
                                                 .resumed = tunnel_resumed,
                                                 .failed = tunnel_failed};

static void tap_logged(const char *service, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_requests_changed(d->tree, service);
}

static void tap_kept(const char *service, uint64_t id, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_exchange_kept(d->tree, service, id);
}

static void tap_gone(const char *service, uint64_t id, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_exchange_gone(d->tree, service, id);
}

const struct taps_events wiring_of_taps = {.logged = tap_logged, .kept = tap_kept, .gone = tap_gone};
