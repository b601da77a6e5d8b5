/* The parts are opened from the bottom up, and closed in reverse, each when the one before has called back. The way to
 * the router is opened last: the router is told the port.
 */
#include "gate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <uv.h>

#include "carry/host/carrier.h"
#include "carry/link/link.h"
#include "carry/link/routes.h"
#include "carry/net/listener.h"
#include "carry/net/lookups.h"
#include "carry/settings/settings.h"
#include "carry/tunnel/tunnels.h"
#include "gate/tls/challenge.h"
#include "gate/tls/tls.h"
#include "gate_internal.h"
#include "proto/host/nest.h"
#include "proto/host/plain.h"
#include "renewal.h"

static void stop_listening(struct gate *g)
{
  if (g->http != NULL)
    listener_close(g->http);
  if (g->https != NULL)
    listener_close(g->https);
  g->http = g->https = NULL;
  tcp_close(g);
}

/* ---- What the parts tell ---- */

static void refused(const char *why, void *arg)
{
  struct gate *g = arg;
  g->events->says(why, g->arg);
}

/* A host is somebody's with all its kinds; but what is to pass unread is not read. What cannot be guarded is not
 * served. */
static int add_route(struct gate *g, const struct link_route *r)
{
  int error = rulesets_put(g->rules, r->service, r->rules, r->rules_size);
  if (error != 0)
    return error;
  if (r->per_client && apart_add(g, r->service) != 0)
    return -ENOMEM;
  if (r->port != 0)
    return tcp_add(g, r->port, r->service);
  backends_keep(g, r->service);
  return sites_add(r->tls ? g->passing : g->sites, r->host, r->path, r->service);
}

static void routes(const struct link_route *all, size_t count, void *arg)
{
  struct gate *g = arg;

  sites_begin(g->sites);
  sites_begin(g->passing);
  backends_begin(g);
  apart_clear(g);
  tcp_begin(g);
  rulesets_begin(g->rules);
  for (size_t i = 0; i < count; i++) {
    if (add_route(g, &all[i]) != 0)
      g->events->says("short of memory: not all names can be served", g->arg);
  }
  rulesets_settle(g->rules);
  sites_settle(g->sites, uv_now(g->loop));
  sites_settle(g->passing, uv_now(g->loop));
  backends_settle(g);
  tcp_settle(g);
  waits_told(g);
}

static void reached(void *arg)
{
  struct gate *g = arg;
  g->events->reached(g->arg);
}

static const struct carrier_events carrier_news = {
    .tunnels = &upstream_events, .refused = refused, .reached = reached, .routes = routes};

static void fail(struct gate *g, int error, const char *why)
{
  stop_listening(g);
  g->events->failed(error, why, g->arg);
}

/* 0: there is none. */
static uint16_t port_of(const struct listener *l)
{
  const struct address *own = l != NULL ? listener_address(l) : NULL;
  return own != NULL && own->kind == ADDRESS_TCP ? own->port : 0;
}

/* What the router is told of the gate is only known here: the ports. */
static int open_carrier(struct gate *g, char why[GATE_WHY_MAX])
{
  const struct gate_options *o = g->options;

  _Static_assert((int)GATE_WHY_MAX >= (int)CARRIER_WHY_MAX, "one buffer for both");
  g->ports = (struct link_gate){.http_port = o->public_http, .https_port = o->public_https};
  if (g->ports.http_port == 0 && g->ports.https_port == 0)
    g->ports = (struct link_gate){.http_port = port_of(g->http), .https_port = port_of(g->https)};
  g->ports.ports = tcp_address(g) != NULL;
  return carrier_open(&g->carrier, g->loop, o->settings, &g->ports, &carrier_news, g, why);
}

static void tell_address(struct gate *g, const struct listener *l)
{
  char text[ADDRESS_TEXT_MAX];
  if (l == NULL)
    return;
  g->events->listening(address_format(listener_address(l), text), l == g->https, g->arg);
  if (listener_is_beside(l))
    g->events->says("another process listens there, too: each gets a share of the connections", g->arg);
}

static void opened(struct listener *l, int error, const char *why, void *arg)
{
  struct gate *g = arg;
  char carrier_why[GATE_WHY_MAX];
  (void)l;

  if (error != 0) {
    fail(g, error, why);
    return;
  }
  if (--g->opening > 0)
    return;
  error = open_carrier(g, carrier_why);
  if (error != 0) {
    fail(g, error, carrier_why);
    return;
  }
  tell_address(g, g->http);
  tell_address(g, g->https);
}

static void accepted(struct listener *l, int fd, const char *peer, void *arg)
{
  struct gate *g = arg;
  if (l == g->https)
    newcomer_open(g, fd, peer);
  else
    client_open(g, fd, NULL, peer);
}

static void starved(struct listener *l, int error, void *arg)
{
  struct gate *g = arg;
  char sentence[GATE_WHY_MAX];
  (void)l;
  snprintf(sentence, sizeof sentence, error != 0 ? "cannot accept: %s" : "accepts again", strerror(-error));
  g->events->says(sentence, g->arg);
}

static const struct listener_events listener_news = {.opened = opened, .accepted = accepted, .starved = starved};

/* ---- The end ---- */

void gate_client_gone(struct gate *g)
{
  void (*drained)(void *) = g->drained;
  if (g->clients != NULL || g->newcomers != NULL || g->passages != NULL || g->passed > 0 || g->http != NULL ||
      g->https != NULL || drained == NULL)
    return;
  g->drained = NULL;
  drained(g->drained_arg);
}

/* Handshakes that were under way are over. */
static void left(struct poller_deadline *d)
{
  struct gate *g = (struct gate *)((char *)d - offsetof(struct gate, leave));
  stop_listening(g);
  gate_client_gone(g);
}

void gate_passed(struct gate *g)
{
  if (--g->passed == 0 && g->drained != NULL && g->http == NULL && g->https == NULL)
    poller_deadline_set(&g->leaving, &g->leave);
}

void gate_drain(struct gate *g, void (*drained)(void *arg), void *arg)
{
  struct client *c, *next;

  g->draining = true;
  if (g->http != NULL)
    listener_leave(g->http);
  if (g->https != NULL)
    listener_leave(g->https);
  tcp_leave(g);
  if (g->http != NULL || g->https != NULL)
    poller_deadline_set(&g->leaving, &g->leave);
  DL_FOREACH_SAFE(g->clients, c, next)
  {
    client_run(c);
  }
  newcomers_told(g);
  g->drained = drained;
  g->drained_arg = arg;
  gate_client_gone(g);
}

static void close_next(void *arg)
{
  struct gate *g = arg;
  struct carrier *carrier = g->carrier;
  struct renewal *renewal = g->renewal;
  struct lookups *lookups = g->lookups;
  struct nest *nest = g->nest;

  if (carrier != NULL) {
    g->carrier = NULL;
    carrier_close(carrier, close_next, g);
  } else if (renewal != NULL) {
    g->renewal = NULL;
    renewal_close(renewal, close_next, g);
  } else if (lookups != NULL) {
    g->lookups = NULL;
    lookups_close(lookups, close_next, g);
  } else if (nest != NULL) {
    g->nest = NULL;
    nest_close(nest, close_next, g);
  } else {
    void (*closed)(void *) = g->closed;
    void *closed_arg = g->closed_arg;
    tls_context_free(g->tls);
    sites_free(g->sites);
    apart_clear(g);
    sites_free(g->passing);
    rulesets_free(g->rules);
    free(g);
    if (closed != NULL)
      closed(closed_arg);
  }
}

static void close_connections(struct gate *g)
{
  stop_listening(g);
  g->drained = NULL;
  while (g->clients != NULL)
    client_close(g->clients);
  newcomers_close(g);
  passages_close(g);
  backends_close(g);
}

void gate_close(struct gate *g, void (*closed)(void *arg), void *arg)
{
  close_connections(g);
  if (g->poller != NULL) {
    poller_delay_remove(g->poller, &g->hello);
    poller_delay_remove(g->poller, &g->head);
    poller_delay_remove(g->poller, &g->idle);
    poller_delay_remove(g->poller, &g->linger);
    poller_delay_remove(g->poller, &g->pool);
    poller_delay_remove(g->poller, &g->retry);
    poller_delay_remove(g->poller, &g->reach);
    poller_delay_remove(g->poller, &g->unsure);
    poller_delay_remove(g->poller, &g->settling);
    poller_delay_remove(g->poller, &g->leaving);
    poller_delay_remove(g->poller, &g->parting);
    poller_delay_remove(g->poller, &g->stream);
  }
  g->closed = closed;
  g->closed_arg = arg;
  close_next(g);
}

/* ---- The beginning ---- */

static void add_delays(struct gate *g)
{
  g->poller = nest_poller(g->nest);
  g->hello = (struct poller_delay){.ms = GATE_HEAD_MS, .due = newcomer_due};
  g->head = (struct poller_delay){.ms = GATE_HEAD_MS, .due = client_due};
  g->idle = (struct poller_delay){.ms = GATE_IDLE_MS, .due = client_due};
  g->linger = (struct poller_delay){.ms = GATE_LINGER_MS, .due = client_due};
  g->pool = (struct poller_delay){.ms = GATE_POOL_MS, .due = upstream_idle_too_long};
  g->stream = (struct poller_delay){.ms = GATE_IDLE_MS, .due = streams_due};
  poller_delay_add(g->poller, &g->hello);
  poller_delay_add(g->poller, &g->head);
  poller_delay_add(g->poller, &g->idle);
  poller_delay_add(g->poller, &g->linger);
  poller_delay_add(g->poller, &g->pool);
  g->retry = (struct poller_delay){.ms = GATE_RETRY_MS, .due = tcp_due};
  poller_delay_add(g->poller, &g->retry);
  g->reach = (struct poller_delay){.ms = GATE_REACH_MS, .due = upstream_look};
  poller_delay_add(g->poller, &g->reach);
  g->unsure = (struct poller_delay){.ms = GATE_UNSURE_MS, .due = waits_due};
  g->settling = (struct poller_delay){.ms = GATE_SETTLE_MS, .due = waits_settled};
  poller_delay_add(g->poller, &g->unsure);
  poller_delay_add(g->poller, &g->settling);
  g->leaving = (struct poller_delay){.ms = GATE_LEAVE_MS, .due = left};
  g->parting = (struct poller_delay){.ms = GATE_LEAVE_MS, .due = client_due};
  poller_delay_add(g->poller, &g->leaving);
  poller_delay_add(g->poller, &g->parting);
  poller_delay_add(g->poller, &g->stream);
}

static int open_tls(struct gate *g, char why[GATE_WHY_MAX])
{
  int error = tls_context_create(&g->tls);
  if (error != 0)
    return error;
  const struct renewal_options options = {
      .dir = g->options->certs, .tls = g->tls, .says = g->events->says, .arg = g->arg};
  _Static_assert((int)GATE_WHY_MAX >= (int)RENEWAL_WHY_MAX, "one buffer for both");
  return renewal_open(&g->renewal, g->loop, &options, why);
}

static bool is_served(const struct gate_entry *e)
{
  return e->address != NULL || e->given_count > 0;
}

static int listen_at(struct gate *g, struct listener **out, const struct gate_entry *e)
{
  int error;

  if (!is_served(e))
    return 0;
  if (e->given_count > 0)
    error = listener_open_given(out, g->lookups, e->given, e->given_count, &listener_news, g);
  else
    error = listener_open_shared(out, g->lookups, e->address, &listener_news, g);
  g->opening += error == 0;
  return error;
}

static int open_parts(struct gate *g, char why[GATE_WHY_MAX])
{
  const struct gate_options *o = g->options;

  g->sites = sites_create();
  g->passing = sites_create();
  g->rules = rulesets_create();
  int error = g->sites != NULL && g->passing != NULL && g->rules != NULL ? nest_open(&g->nest, g->loop) : -ENOMEM;
  if (error != 0)
    return error;
  add_delays(g);
  error = o->webroot != NULL ? challenge_check(o->webroot) : 0;
  if (error != 0) {
    snprintf(why, GATE_WHY_MAX, "the webroot %.300s: %s", o->webroot, strerror(-error));
    plain_text(why);
  }
  if (error == 0 && is_served(&o->https))
    error = open_tls(g, why);
  if (error == 0)
    error = lookups_open(&g->lookups, g->loop);
  if (error == 0)
    error = listen_at(g, &g->http, &o->http);
  return error == 0 ? listen_at(g, &g->https, &o->https) : error;
}

void gate_reload(struct gate *g)
{
  if (g->renewal != NULL)
    renewal_now(g->renewal);
}

int gate_open(struct gate **out, struct uv_loop_s *loop, const struct gate_options *options,
              const struct gate_events *events, void *arg, char why[GATE_WHY_MAX])
{
  struct gate *g = calloc(1, sizeof *g);
  int error = -ENOMEM;

  why[0] = '\0';
  if (g != NULL) {
    *g = (struct gate){.loop = loop, .options = options, .events = events, .arg = arg};
    g->random = uv_hrtime() | 1; /* which is not 0 */
    error = open_parts(g, why);
  }
  if (error == 0) {
    *out = g;
    return 0;
  }
  if (why[0] == '\0')
    snprintf(why, GATE_WHY_MAX, "%s", strerror(-error));
  if (g != NULL)
    gate_close(g, NULL, NULL);
  return error;
}
