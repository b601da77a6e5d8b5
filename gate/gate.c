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
#include "gate_internal.h"
#include "proto/host/nest.h"

static void stop_listening(struct gate *g)
{
  if (g->listener != NULL)
    listener_close(g->listener);
  g->listener = NULL;
}

/* ---- What the parts tell ---- */

static void refused(const char *why, void *arg)
{
  struct gate *g = arg;
  g->events->says(why, g->arg);
}

/* A host is somebody's with all its kinds; but what is to pass unread is not read. */
static void routes(const struct link_route *all, size_t count, void *arg)
{
  struct gate *g = arg;

  sites_begin(g->sites);
  for (size_t i = 0; i < count; i++) {
    if (!all[i].tls && sites_add(g->sites, all[i].host, all[i].path, all[i].service) != 0)
      g->events->says("short of memory: not all names can be served", g->arg);
  }
  sites_settle(g->sites, uv_now(g->loop));
  waits_told(g);
}

static const struct carrier_events carrier_news = {.tunnels = &upstream_events, .refused = refused, .routes = routes};

static void fail(struct gate *g, int error, const char *why)
{
  stop_listening(g);
  g->events->failed(error, why, g->arg);
}

/* What the router is told of the gate is only known here: the port. */
static int open_carrier(struct gate *g, char why[GATE_WHY_MAX])
{
  const struct gate_options *o = g->options;
  const struct address *own = listener_address(g->listener);
  struct link_gate gate = {.http_port = o->public_http, .https_port = o->public_https};

  _Static_assert((int)GATE_WHY_MAX >= (int)CARRIER_WHY_MAX, "one buffer for both");
  if (gate.http_port == 0 && gate.https_port == 0 && own->kind == ADDRESS_TCP)
    gate.http_port = own->port;
  return carrier_open(&g->carrier, g->loop, o->settings, &gate, &carrier_news, g, why);
}

static void opened(struct listener *l, int error, const char *why, void *arg)
{
  struct gate *g = arg;
  char text[ADDRESS_TEXT_MAX], carrier_why[GATE_WHY_MAX];

  if (error != 0) {
    fail(g, error, why);
    return;
  }
  address_format(listener_address(l), text);
  error = open_carrier(g, carrier_why);
  if (error != 0)
    fail(g, error, carrier_why);
  else
    g->events->listening(text, g->arg);
  if (error == 0 && listener_is_beside(l))
    g->events->says("another process listens there, too: each gets a share of the connections", g->arg);
}

static void accepted(struct listener *l, int fd, const char *peer, void *arg)
{
  (void)l;
  client_open(arg, fd, peer);
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
  if (g->clients != NULL || g->listener != NULL || drained == NULL)
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

void gate_drain(struct gate *g, void (*drained)(void *arg), void *arg)
{
  struct client *c, *next;

  g->draining = true;
  if (g->listener != NULL) {
    listener_leave(g->listener);
    poller_deadline_set(&g->leaving, &g->leave);
  }
  DL_FOREACH_SAFE(g->clients, c, next)
  {
    client_run(c);
  }
  g->drained = drained;
  g->drained_arg = arg;
  gate_client_gone(g);
}

static void close_next(void *arg)
{
  struct gate *g = arg;
  struct carrier *carrier = g->carrier;
  struct lookups *lookups = g->lookups;
  struct nest *nest = g->nest;

  if (carrier != NULL) {
    g->carrier = NULL;
    carrier_close(carrier, close_next, g);
  } else if (lookups != NULL) {
    g->lookups = NULL;
    lookups_close(lookups, close_next, g);
  } else if (nest != NULL) {
    g->nest = NULL;
    nest_close(nest, close_next, g);
  } else {
    void (*closed)(void *) = g->closed;
    void *closed_arg = g->closed_arg;
    sites_free(g->sites);
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
  backends_close(g);
}

void gate_close(struct gate *g, void (*closed)(void *arg), void *arg)
{
  close_connections(g);
  if (g->poller != NULL) {
    poller_delay_remove(g->poller, &g->head);
    poller_delay_remove(g->poller, &g->idle);
    poller_delay_remove(g->poller, &g->linger);
    poller_delay_remove(g->poller, &g->pool);
    poller_delay_remove(g->poller, &g->unsure);
    poller_delay_remove(g->poller, &g->settling);
    poller_delay_remove(g->poller, &g->leaving);
    poller_delay_remove(g->poller, &g->parting);
  }
  g->closed = closed;
  g->closed_arg = arg;
  close_next(g);
}

/* ---- The beginning ---- */

static void add_delays(struct gate *g)
{
  g->poller = nest_poller(g->nest);
  g->head = (struct poller_delay){.ms = GATE_HEAD_MS, .due = client_due};
  g->idle = (struct poller_delay){.ms = GATE_IDLE_MS, .due = client_due};
  g->linger = (struct poller_delay){.ms = GATE_LINGER_MS, .due = client_due};
  g->pool = (struct poller_delay){.ms = GATE_POOL_MS, .due = upstream_idle_too_long};
  poller_delay_add(g->poller, &g->head);
  poller_delay_add(g->poller, &g->idle);
  poller_delay_add(g->poller, &g->linger);
  poller_delay_add(g->poller, &g->pool);
  g->unsure = (struct poller_delay){.ms = GATE_UNSURE_MS, .due = waits_due};
  g->settling = (struct poller_delay){.ms = GATE_SETTLE_MS, .due = waits_settled};
  poller_delay_add(g->poller, &g->unsure);
  poller_delay_add(g->poller, &g->settling);
  g->leaving = (struct poller_delay){.ms = GATE_LEAVE_MS, .due = left};
  g->parting = (struct poller_delay){.ms = GATE_LEAVE_MS, .due = client_due};
  poller_delay_add(g->poller, &g->leaving);
  poller_delay_add(g->poller, &g->parting);
}

static int open_parts(struct gate *g)
{
  g->sites = sites_create();
  int error = g->sites != NULL ? nest_open(&g->nest, g->loop) : -ENOMEM;
  if (error != 0)
    return error;
  add_delays(g);
  error = lookups_open(&g->lookups, g->loop);
  if (error != 0)
    return error;
  if (g->options->given_count > 0)
    return listener_open_given(&g->listener, g->lookups, g->options->given, g->options->given_count, &listener_news, g);
  return listener_open_shared(&g->listener, g->lookups, &g->options->http, &listener_news, g);
}

int gate_open(struct gate **out, struct uv_loop_s *loop, const struct gate_options *options,
              const struct gate_events *events, void *arg, char why[GATE_WHY_MAX])
{
  struct gate *g = calloc(1, sizeof *g);
  int error = -ENOMEM;

  if (g != NULL) {
    *g = (struct gate){.loop = loop, .options = options, .events = events, .arg = arg};
    error = open_parts(g);
  }
  if (error == 0) {
    *out = g;
    return 0;
  }
  snprintf(why, GATE_WHY_MAX, "%s", strerror(-error));
  if (g != NULL)
    gate_close(g, NULL, NULL);
  return error;
}
