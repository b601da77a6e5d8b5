/* What the parts of the daemon tell each other passes through here: on its way it becomes lines in `events`, and
 * entries of the tree come and go. While the daemon ends, the parts that are gone already are NULL.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

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
#include "daemon/tree/journal.h"
#include "daemon/tree/tree.h"
#include "daemon_internal.h"
#include "proto/host/notify.h"
#include "proto/host/pace.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"

/* What others cause is told so often at once, and then once in so many ms. */
enum { DETACHED_TOLD = 8, CAUSED_AT_ONCE = 256, CAUSED_EVERY_MS = 5000 };

void news_add(struct daemon *d, const char *format, ...)
{
  char line[1024];
  va_list values;

  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  journal_add(d->events, "%s", line);
  if (d->tree != NULL)
    tree_journals_changed(d->tree);
}

void news_add_failure(struct daemon *d, const char *sentence)
{
  journal_add(d->errors, "%s", sentence);
  news_add(d, "%s", sentence);
}

/* Whether there is room for one more line that an application or another mmfs causes, connection by connection: they
 * must not fill the log, nor push all else out of `errors` and `events`. */
static bool may_tell_of_others(struct daemon *d)
{
  char sentence[128];
  uint64_t left_out = d->caused.left_out;

  if (!pace_allows(&d->caused, uv_now(&d->loop), CAUSED_AT_ONCE, CAUSED_EVERY_MS)) {
    if (left_out == 0)
      news_add_failure(d, "too many lines about connections at once: some are left out");
    return false;
  }
  if (left_out == 0)
    return true;
  snprintf(sentence, sizeof sentence, "%" PRIu64 " lines about connections were left out", left_out);
  d->caused.left_out = 0;
  news_add_failure(d, sentence);
  return true;
}

/* After anything that changes what is declared. */
static void touch_state(struct daemon *d)
{
  if (d->state != NULL)
    state_touch(d->state);
}

/* After anything on which it depends whether somebody may dial us. */
static void update_parked(struct daemon *d)
{
  if (d->parked != NULL)
    parked_update(d->parked,
                  (d->services != NULL && services_online(d->services) > 0) || tunnels_served(d->tunnels) > 0);
}

/* With a way to the router, it is renewed beside that. */
static void credentials_changed(struct credentials *c, void *arg)
{
  struct daemon *d = arg;

  if (link_set_credentials(d->link, credentials_key(c), credentials_ca(c)) != 0) {
    news_add_failure(d, "memory is short: the new key and authorities are not used yet");
    return;
  }
  news_add(d, "the key or the authorities have changed in their files");
  link_renew(d->link);
}

static void credentials_bad(struct credentials *c, const char *why, void *arg)
{
  char sentence[CREDENTIAL_WHY_MAX + 64];

  (void)c;
  snprintf(sentence, sizeof sentence, "%s; what was read before stays", why);
  news_add_failure(arg, sentence);
}

static void credentials_reloaded(struct credentials *c, bool told, void *arg)
{
  struct daemon *d = arg;

  (void)c;
  if (!told)
    news_add(d, "SIGHUP: nothing has changed in the files");
  notify_say(d->notify, "READY", "1");
}

const struct credentials_events news_of_credentials = {
    .changed = credentials_changed, .bad = credentials_bad, .reloaded = credentials_reloaded};

static void link_state(struct link *l, bool connected, const char *why, void *arg)
{
  struct daemon *d = arg;

  if (connected) {
    news_add(d, "connected to %s%s", d->router, link_original(l) ? ", which speaks the first version" : "");
    notify_say(d->notify, "STATUS", "connected to %s", d->router);
  } else {
    news_add(d, "not connected: %s", why);
    notify_say(d->notify, "STATUS", "not connected to %s: %s", d->router, why);
  }
  if (!connected)
    catalogue_lost(d->catalogue);
  if (d->services != NULL)
    services_link_changed(d->services);
  /* What is still on the way to a router that was lost may not be told of it for a while. */
  if (connected && d->tunnels != NULL)
    tunnels_renew(d->tunnels);
  if (d->tunnels != NULL)
    tunnels_way_changed(d->tunnels);
  if (link_refused(l) && d->tunnels != NULL && tunnels_detached(d->tunnels) > 0)
    news_add(d, "%zu connections are without a way, and given up in %d s unless the router lets this mount in",
             tunnels_detached(d->tunnels), TUNNELS_REFUSED_MS / 1000);
  update_parked(d);
  daemon_router_heard(d);
}

static void link_service_up(struct link *l, const struct link_service *service, void *arg)
{
  struct daemon *d = arg;

  (void)l;
  if (catalogue_up(d->catalogue, service->name) == -EINVAL && !service->again)
    news_add(d, "service \"%.100s\" of the router is hidden: it is not a name that can be used here", service->name);
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
  news_add(d, "connected to %s anew, in time", d->router);
  if (d->services != NULL)
    services_link_renewed(d->services);
  if (d->parked != NULL)
    parked_renew(d->parked);
  if (d->tunnels != NULL)
    tunnels_renew(d->tunnels);
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
  news_add_failure(
      d, "another mmfs with the identity of this mount, started later, has taken its place: services here are not "
         "registered any more, and their connections end; forwards go on");
  if (d->services != NULL)
    services_superseded(d->services);
  if (d->tunnels != NULL)
    tunnels_superseded(d->tunnels);
  update_parked(d);
}

static void link_draining(struct link *l, void *arg)
{
  (void)l;
  news_add(arg, "the router is about to stop");
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
  news_add(arg, "not connected anew: %s; the way that there is goes on", why);
}

const struct link_events news_of_link = {.state = link_state,
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

void news_of_catalogue(const char *name, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_service_changed(d->tree, name);
}

static void service_changed(struct service *s, enum service_state before, const char *why, void *arg)
{
  struct daemon *d = arg;

  (void)before;
  if (why != NULL)
    news_add(d, "service %s: %s: %s", service_name(s), service_state_name(service_state(s)), why);
  else
    news_add(d, "service %s: %s", service_name(s), service_state_name(service_state(s)));
  if (d->tree != NULL)
    tree_service_changed(d->tree, service_name(s));
  update_parked(d);
  touch_state(d);
}

static void service_refused(struct service *s, int error, const char *why, void *arg)
{
  struct daemon *d = arg;

  journal_add(d->errors, "register services/%s: %s (%s)", service_name(s), why, uv_err_name(error));
  if (d->tree != NULL)
    tree_journals_changed(d->tree);
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

  news_add(d, "service %s: withdrawn", service_name(s));
  if (d->tree != NULL)
    tree_service_changed(d->tree, service_name(s));
  update_parked(d);
  touch_state(d);
}

const struct services_events news_of_services = {.changed = service_changed,
                                                 .refused = service_refused,
                                                 .token = service_token,
                                                 .left = service_left,
                                                 .withdrawn = service_withdrawn};

static const struct address *target_of(const struct daemon *d, const char *name)
{
  const struct service *s = services_find(d->services, name);

  return s != NULL ? service_target(s) : NULL;
}

void news_of_parked(struct pump_stream *stream, const struct header *h, void *arg)
{
  struct daemon *d = arg;
  const char *why;

  /* What goes on does not say a service any more. */
  if (h->established || service_name_check(h->service, &why) == 0)
    tunnels_accept(d->tunnels, stream, h, target_of(d, h->service));
  else
    pump_stream_close(stream);
}

static void answer_original(struct pump_stream *stream, const char *service, void *arg)
{
  struct daemon *d = arg;

  tunnels_accept_original(d->tunnels, stream, service, target_of(d, service));
}

static void answer_failed(const char *service, const char *text, void *arg)
{
  char sentence[512];

  if (!may_tell_of_others(arg))
    return;
  snprintf(sentence, sizeof sentence, "connection to services/%s: %s", service, text);
  news_add_failure(arg, sentence);
}

const struct answers_events news_of_answers = {
    .taken = news_of_parked, .taken_original = answer_original, .failed = answer_failed};

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
  char text[ADDRESS_TEXT_MAX];

  news_add(d, "forward %s: listening on %s", forward_name(f), address_format(address, text));
  touch_state(d);
  daemon_forward_restored(d);
}

static void forward_silent(struct forward *f, const struct address *address, int error, void *arg)
{
  struct daemon *d = arg;
  char text[ADDRESS_TEXT_MAX];
  char sentence[512];

  touch_state(d);
  address_format(address, text);
  if (error == 0) {
    news_add(d, "forward %s: no longer listening on %s", forward_name(f), text);
    return;
  }
  snprintf(sentence, sizeof sentence, "forward %s: could not go on listening on %s: %s", forward_name(f), text,
           strerror(-error));
  news_add_failure(d, sentence);
}

static void forward_absent(struct forward *f, const struct address *address, int error, const char *why, void *arg)
{
  struct daemon *d = arg;
  char text[ADDRESS_TEXT_MAX];
  char sentence[1024];

  (void)error;
  snprintf(sentence, sizeof sentence, "forward %s: does not listen on %s yet: %.500s; it is tried again",
           forward_name(f), address_format(address, text), why);
  news_add_failure(d, sentence);
  daemon_forward_restored(d);
}

static void forward_accepted(struct forward *f, int fd, const char *peer, void *arg)
{
  struct daemon *d = arg;

  tunnels_forward(d->tunnels, forward_name(f), fd, peer);
}

static void forward_starved(struct forward *f, int error, void *arg)
{
  struct daemon *d = arg;
  char sentence[512];

  if (error == 0) {
    news_add(d, "forward %s: accepts connections again", forward_name(f));
    return;
  }
  snprintf(sentence, sizeof sentence, "forward %s: cannot accept connections for now: %s", forward_name(f),
           strerror(-error));
  news_add_failure(d, sentence);
}

static void forward_gone(struct forward *f, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_forward_changed(d->tree, forward_name(f));
  touch_state(d);
}

const struct forwards_events news_of_forwards = {.known = forward_known,
                                                 .listening = forward_listening,
                                                 .silent = forward_silent,
                                                 .absent = forward_absent,
                                                 .accepted = forward_accepted,
                                                 .starved = forward_starved,
                                                 .gone = forward_gone};

static void tunnel_opened(struct tunnel *t, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_connection_opened(d->tree, t);
  update_parked(d);
}

static void tunnel_closed(struct tunnel *t, void *arg)
{
  struct daemon *d = arg;

  if (d->tree != NULL)
    tree_connection_closed(d->tree, t);
  update_parked(d);
}

/* When a router ends, all are detached at once: the first few are told one by one. */
static void tunnel_detached(struct tunnel *t, const char *why, void *arg)
{
  struct daemon *d = arg;
  struct tunnel_info info = tunnel_info(t);

  if (tunnels_detached(d->tunnels) > DETACHED_TOLD + 1 || !may_tell_of_others(d))
    return;
  if (tunnels_detached(d->tunnels) <= DETACHED_TOLD)
    news_add(d, "connection %" PRIu64 " (%s): detached: %s", info.id, info.service, why);
  else
    news_add(d, "more connections are detached: see status");
}

static void tunnel_resumed(struct tunnel *t, void *arg)
{
  struct daemon *d = arg;
  struct tunnel_info info = tunnel_info(t);

  if (tunnels_detached(d->tunnels) > DETACHED_TOLD || !may_tell_of_others(d))
    return;
  if (tunnels_detached(d->tunnels) < DETACHED_TOLD)
    news_add(d, "connection %" PRIu64 " (%s): goes on", info.id, info.service);
  else
    news_add(d, "all but %d connections go on", DETACHED_TOLD);
}

static void tunnel_failed(struct tunnel *t, const char *sentence, void *arg)
{
  (void)t;
  if (may_tell_of_others(arg))
    news_add_failure(arg, sentence);
}

const struct tunnels_events news_of_tunnels = {.opened = tunnel_opened,
                                               .closed = tunnel_closed,
                                               .detached = tunnel_detached,
                                               .resumed = tunnel_resumed,
                                               .failed = tunnel_failed};
