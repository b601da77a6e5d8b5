/* The parts are opened from the bottom up, and closed in reverse, each when the one before has called back. Those that
 * are closed are NULL.
 */
#include "carrier.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "carry/link/link.h"
#include "carry/link/routes.h"
#include "carry/net/lookups.h"
#include "carry/settings/settings.h"
#include "carry/tunnel/tunnels.h"
#include "link_host.h"
#include "proto/host/certificate.h"
#include "proto/host/credential.h"
#include "proto/host/home.h"
#include "proto/pump/pump.h"
#include "proto/raw/raw_line.h"
#include "proto/rpc/rpc.h"
#include "proto/wire/identity.h"

enum { ROUTES_DOUBT_MS = 15000, ROUTES_AGAIN_MS = 1000 };

struct carrier {
  struct uv_loop_s *loop;
  struct rpc_queue *queue;
  struct pump_set *pumps;
  struct raw_set *raws; /* NULL: streams are gRPC calls only */
  struct lookups *lookups;
  struct link *link;
  struct link_host host;
  struct tunnels *tunnels;
  struct routes routes;
  uv_timer_t routes_timer; /* when to tell them, or to look at those in doubt */
  bool routes_told_later;
  bool has_timer;
  const struct carrier_events *events;
  void *arg;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- What the link tells ---- */

static void way_changed(struct carrier *c)
{
  if (c->tunnels == NULL)
    return;
  /* What is still on the way to a router that was lost may not be told of it for a while. */
  if (link_connected(c->link))
    tunnels_renew(c->tunnels);
  tunnels_way_changed(c->tunnels);
}

static void way_renewed(struct carrier *c)
{
  if (c->tunnels != NULL)
    tunnels_renew(c->tunnels);
}

static void host_told(enum link_host_news news, void *arg)
{
  if (news == LINK_HOST_UP)
    way_changed(arg);
  else if (news == LINK_HOST_RENEWED)
    way_renewed(arg);
}

static void routes_changed(struct carrier *c);

static void link_state(struct link *l, bool connected, const char *why, void *arg)
{
  struct carrier *c = arg;

  if (c->tunnels == NULL)
    return;
  if ((connected || link_refused(l)) && c->events->reached != NULL)
    c->events->reached(c->arg);
  if (connected && c->has_timer)
    routes_changed(c); /* that there are none is told as well */
  if (link_host_follow(&c->host))
    way_changed(c);
  if (link_refused(l) && link_connects(l) == 0)
    c->events->refused(why, c->arg);
}

static void link_renewed(struct link *l, void *arg)
{
  struct carrier *c = arg;

  (void)l;
  if (c->tunnels != NULL && link_host_follow(&c->host))
    way_renewed(c);
}

static void link_lost(struct link *l, const uint8_t *member, void *arg)
{
  struct carrier *c = arg;

  (void)l;
  if (c->tunnels != NULL)
    tunnels_peer_lost(c->tunnels, member);
}

/* ---- The routes of a gate ---- */

static void routes_look(uv_timer_t *timer)
{
  struct carrier *c = timer->data;
  const struct link_route *all;
  size_t count;
  uint64_t next, now = uv_now(c->loop);

  if (routes_expire(&c->routes, now, &next))
    c->routes_told_later = true;
  if (c->routes_told_later && routes_list(&c->routes, &all, &count) == 0) {
    c->routes_told_later = false;
    c->events->routes(all, count, c->arg);
  }
  if (c->routes_told_later)
    next = now + ROUTES_AGAIN_MS;
  if (next != 0)
    uv_timer_start(&c->routes_timer, routes_look, next - now, 0);
}

/* Once for all that the router tells at once. */
static void routes_changed(struct carrier *c)
{
  c->routes_told_later = true;
  uv_timer_start(&c->routes_timer, routes_look, 0, 0);
}

static void link_public(struct link *l, const char *name, const struct link_public *is, void *arg)
{
  struct carrier *c = arg;

  (void)l;
  if (c->has_timer && routes_put(&c->routes, name, is))
    routes_changed(c);
}

static void link_down(struct link *l, const char *name, void *arg)
{
  struct carrier *c = arg;

  (void)l;
  if (c->has_timer && routes_drop(&c->routes, name))
    routes_changed(c);
}

/* A router that has started anew may not know it yet. */
static void link_missing(struct link *l, const char *name, void *arg)
{
  struct carrier *c = arg;

  (void)l;
  if (!c->has_timer)
    return;
  routes_doubt(&c->routes, name, uv_now(c->loop) + ROUTES_DOUBT_MS);
  routes_look(&c->routes_timer);
}

static const struct link_events link_news = {.state = link_state, .renewed = link_renewed, .lost = link_lost};
static const struct link_events gate_news = {.state = link_state,
                                             .renewed = link_renewed,
                                             .lost = link_lost,
                                             .service_public = link_public,
                                             .service_down = link_down,
                                             .service_missing = link_missing};

/* ---- The end ---- */

static void close_next(void *arg);

static void timer_closed(uv_handle_t *handle)
{
  close_next(handle->data);
}

static void queue_stopped(void *arg)
{
  struct carrier *c = arg;

  rpc_queue_free(c->queue);
  c->queue = NULL;
  close_next(c);
}

static void close_next(void *arg)
{
  struct carrier *c = arg;
  struct carrier open = *c;

  if (open.has_timer) {
    c->has_timer = false;
    routes_free(&c->routes);
    uv_close((uv_handle_t *)&c->routes_timer, timer_closed);
  } else if (open.tunnels != NULL) {
    c->tunnels = NULL;
    tunnels_close(open.tunnels, close_next, c);
  } else if (open.link != NULL) {
    c->link = NULL;
    link_host_close(&c->host);
    link_close(open.link, close_next, c);
  } else if (open.lookups != NULL) {
    c->lookups = NULL;
    lookups_close(open.lookups, close_next, c);
  } else if (open.pumps != NULL) {
    c->pumps = NULL;
    pump_set_close(open.pumps, close_next, c);
  } else if (open.raws != NULL) {
    c->raws = NULL;
    raw_set_close(open.raws, close_next, c);
  } else if (open.queue != NULL) {
    rpc_queue_stop(open.queue, queue_stopped, c);
  } else {
    free(c);
    if (open.closed != NULL)
      open.closed(open.closed_arg);
  }
}

void carrier_close(struct carrier *c, void (*closed)(void *arg), void *arg)
{
  c->closed = closed;
  c->closed_arg = arg;
  close_next(c);
}

/* ---- The beginning ---- */

static int read_files(const struct settings *s, char **key, char **ca, char why[CARRIER_WHY_MAX])
{
  char phrase[CERTIFICATE_WHY_MAX];
  int error = 0;

  _Static_assert((int)CARRIER_WHY_MAX >= (int)CREDENTIAL_WHY_MAX, "one buffer for both");
  if (s->key_file != NULL)
    error = credential_read_key(s->key_file, key, why);
  if (error == 0 && s->cafile != NULL)
    error = credential_read_pem(s->cafile, ca, why);
  if (error != 0 || *ca == NULL)
    return error;
  error = certificate_check_roots(*ca, phrase);
  if (error != 0)
    snprintf(why, CARRIER_WHY_MAX, "the file %.300s: %s", s->cafile, phrase);
  return error;
}

static int open_link(struct carrier *c, const struct settings *s, const struct link_gate *gate, const char *key,
                     const char *ca)
{
  char router[ADDRESS_TEXT_MAX];
  uint8_t seed[IDENTITY_SEED_SIZE], member_key[HEADER_MEMBER_KEY_SIZE];
  const struct link_options options = {.target = address_format(&s->router, router),
                                       .at = s->has_at ? &s->at : NULL,
                                       .tls = s->tls,
                                       .ca_pem = ca,
                                       .key = key,
                                       .gate = gate,
                                       .identity = {.seed = seed, .instance = 1, .member_key = member_key}};

  identity_random(seed, sizeof seed);
  identity_random(member_key, sizeof member_key);
  int error = link_open(&c->link, c->lookups, c->queue, &options, gate != NULL ? &gate_news : &link_news, c);
  explicit_bzero(seed, sizeof seed);
  explicit_bzero(member_key, sizeof member_key);
  return error;
}

static int open_parts(struct carrier *c, const struct settings *s, const struct link_gate *gate, const char *key,
                      const char *ca)
{
  const struct pump_limits limits = {.window = s->window, .budget = s->budget, .near_us = PUMP_NEAR_US};
  const struct tunnels_options options = {.dial_ms = s->dial_ms, .hold_ms = s->hold_ms};
  int error = rpc_queue_create(&c->queue);

  if (error != 0)
    return error;
  error = rpc_queue_attach(c->queue, c->loop);
  if (error != 0) {
    rpc_queue_free(c->queue);
    c->queue = NULL;
    return error;
  }
  error = pump_set_open(&c->pumps, rpc_queue_home(c->queue), c->loop, &limits);
  if (error == 0)
    error = lookups_open(&c->lookups, c->loop);
  if (error == 0)
    error = open_link(c, s, gate, key, ca);
  if (error != 0)
    return error;
  link_host_init(&c->host, c->link, c->pumps);
  if (!s->no_raw)
    error = raw_set_open(&c->raws, rpc_queue_home(c->queue));
  if (error != 0)
    return error;
  if (c->raws != NULL)
    link_host_use_raw(&c->host, c->raws, host_told, c);
  return tunnels_open(&c->tunnels, c->lookups, &c->host.host, c->pumps, &options, c->events->tunnels, c->arg);
}

int carrier_open(struct carrier **out, struct uv_loop_s *loop, const struct settings *settings,
                 const struct link_gate *gate, const struct carrier_events *events, void *arg,
                 char why[CARRIER_WHY_MAX])
{
  struct carrier *c = calloc(1, sizeof *c);
  char *key = NULL, *ca = NULL;
  int error = -ENOMEM;

  why[0] = '\0';
  if (c != NULL) {
    *c = (struct carrier){.loop = loop, .events = events, .arg = arg};
    if (gate != NULL) {
      uv_timer_init(loop, &c->routes_timer); /* which does not fail */
      c->routes_timer.data = c;
      c->has_timer = true;
    }
    error = read_files(settings, &key, &ca, why);
    if (error == 0)
      error = open_parts(c, settings, gate, key, ca);
    credential_free(key);
    credential_free(ca);
  }
  if (error == 0) {
    *out = c;
    return 0;
  }
  if (why[0] == '\0')
    snprintf(why, CARRIER_WHY_MAX, "%s", strerror(-error));
  if (c != NULL)
    carrier_close(c, NULL, NULL);
  return error;
}

struct tunnels *carrier_tunnels(struct carrier *c)
{
  return c->tunnels;
}

void carrier_run(struct carrier *c)
{
  home_run(rpc_queue_home(c->queue));
}
