/* The parts of the daemon. They are opened from the bottom up, each on those below it, and closed from the top down,
 * each when the one before has called back.
 */
#include <stdio.h>
#include <string.h>

#include "carry/link/link.h"
#include "carry/net/lookups.h"
#include "carry/tunnel/answers.h"
#include "carry/tunnel/parked.h"
#include "carry/tunnel/tunnels.h"
#include "credentials.h"
#include "daemon/forwards/forwards.h"
#include "daemon/keep/state.h"
#include "daemon/names/catalogue.h"
#include "daemon/names/services.h"
#include "daemon/start/options.h"
#include "daemon/tap/taps.h"
#include "daemon/tree/tree.h"
#include "daemon_internal.h"
#include "proto/pump/pump.h"
#include "proto/raw/raw_line.h"
#include "proto/rpc/rpc.h"

static int open_below(struct daemon *d)
{
  const struct settings *settings = &d->options->carry;
  const struct link_options link_options = {
      .target = d->router,
      .tls = settings->tls,
      .ca_pem = credentials_ca(d->credentials),
      .key = credentials_key(d->credentials),
      .identity = {.seed = d->identity.seed,
                   .instance = d->identity.instance,
                   .member_key = d->identity.member_key,
                   .former_key = d->identity.has_former ? d->identity.former_key : NULL}};
  const struct pump_limits limits = {.window = settings->window,
                                     .budget = settings->budget,
                                     .near_us = PUMP_NEAR_US,
                                     .keepalive_s = d->options->keepalive_s};
  const struct tunnels_options tunnels_options = {.dial_ms = settings->dial_ms, .hold_ms = settings->hold_ms};
  int err = rpc_queue_create(&d->queue);

  credentials_start(d->credentials, &d->loop, &wiring_of_credentials, d);
  if (err == 0) {
    err = rpc_queue_attach(d->queue, &d->loop);
    if (err != 0) {
      rpc_queue_free(d->queue);
      d->queue = NULL;
    }
  }
  if (err == 0)
    err = pump_set_open(&d->pumps, rpc_queue_home(d->queue), &d->loop, &limits);
  if (err == 0)
    err = lookups_open(&d->lookups, &d->loop);
  if (err == 0)
    err = catalogue_open(&d->catalogue, &d->loop, wiring_of_catalogue, d);
  if (err == 0)
    err = link_open(&d->link, d->lookups, d->queue, &link_options, &wiring_of_link, d);
  if (err == 0)
    link_host_init(&d->host, d->link, d->pumps);
  if (err == 0 && !settings->no_raw)
    err = raw_set_open(&d->raws, rpc_queue_home(d->queue));
  if (err == 0 && d->raws != NULL)
    link_host_use_raw(&d->host, d->raws, wiring_of_host, d);
  if (err == 0)
    err = tunnels_open(&d->tunnels, d->lookups, &d->host.host, d->pumps, &tunnels_options, &wiring_of_tunnels, d);
  if (err == 0)
    err = taps_open(&d->taps, rpc_queue_home(d->queue), d->lookups, d->tunnels, &wiring_of_taps, d);
  if (err == 0)
    err = answers_open(&d->answers, &d->loop, &d->host.host, &wiring_of_answers, d);
  if (err == 0)
    err = services_open(&d->services, &d->loop, d->link, &wiring_of_services, d);
  if (err == 0)
    err = parked_open(&d->parked, &d->loop, &d->host.grpc, wiring_of_parked, d);
  if (err == 0 && d->raws != NULL)
    err = parked_open(&d->parked_raw, &d->loop, &d->host.raw, wiring_of_parked, d);
  if (err == 0)
    err = forwards_open(&d->forwards, d->lookups, d->link, &wiring_of_forwards, d);
  if (err != 0)
    snprintf(d->message, sizeof d->message, "%s", strerror(-err));
  return err;
}

static void unmounted(void *arg)
{
  struct daemon *d = arg;

  d->parts_events->unmounted(d);
}

static int open_tree(struct daemon *d)
{
  const struct tree_parts parts = {.router = d->router,
                                   .link = d->link,
                                   .host = &d->host,
                                   .catalogue = d->catalogue,
                                   .services = d->services,
                                   .forwards = d->forwards,
                                   .tunnels = d->tunnels,
                                   .taps = d->taps,
                                   .pumps = d->pumps,
                                   .window = d->options->carry.window,
                                   .budget = d->options->carry.budget,
                                   .events = d->events,
                                   .errors = d->errors};
  const struct tree_options options = {.mountpoint = d->mountpoint,
                                       .source = d->options->source,
                                       .mount_options = d->options->mount_options,
                                       .allow_other = d->options->allow_other,
                                       .unmounted = unmounted,
                                       .arg = d};

  return tree_open(&d->tree, &d->loop, &parts, &options, d->message, sizeof d->message);
}

int parts_open(struct daemon *d, const struct parts_events *events)
{
  int err;

  d->parts_events = events;
  err = open_below(d);
  return err == 0 ? open_tree(d) : err;
}

static void close_next(void *arg);

/* For the others a part is gone as soon as it begins to close. */
#define CLOSES(part, close)                                                                                            \
  static bool close_##part(struct daemon *d)                                                                           \
  {                                                                                                                    \
    __typeof__(d->part) closing = d->part;                                                                             \
    d->part = NULL;                                                                                                    \
    if (closing != NULL)                                                                                               \
      close(closing, close_next, d);                                                                                   \
    return closing != NULL;                                                                                            \
  }

CLOSES(tree, tree_close)
CLOSES(state, state_close)
CLOSES(forwards, forwards_close)
CLOSES(parked, parked_close)
CLOSES(parked_raw, parked_close)
CLOSES(answers, answers_close)
CLOSES(services, services_close)
CLOSES(tunnels, tunnels_close)
CLOSES(taps, taps_close)
CLOSES(link, link_close)
CLOSES(raws, raw_set_close)
CLOSES(catalogue, catalogue_close)
CLOSES(lookups, lookups_close)
CLOSES(pumps, pump_set_close)

static void queue_stopped(void *arg)
{
  struct daemon *d = arg;

  rpc_queue_free(d->queue);
  d->queue = NULL;
  close_next(d);
}

static bool close_queue(struct daemon *d)
{
  bool open = d->queue != NULL;

  if (open)
    rpc_queue_stop(d->queue, queue_stopped, d);
  return open;
}

/* It closes at once. */
static bool close_line(struct daemon *d)
{
  link_host_close(&d->host);
  return false;
}

/* From the top down. The state is closed first, so that it does not lose what the end withdraws. */
static bool (*const closes[])(struct daemon *d) = {
    close_tree,     close_state,   close_forwards, close_parked, close_parked_raw, close_answers,
    close_services, close_tunnels, close_taps,     close_line,   close_link,       close_catalogue,
    close_lookups,  close_pumps,   close_raws,     close_queue,
};

static void close_next(void *arg)
{
  struct daemon *d = arg;

  for (size_t i = 0; i < sizeof closes / sizeof *closes; i++)
    if (closes[i](d))
      return;
  d->parts_closed(d);
}

void parts_close(struct daemon *d, void (*closed)(struct daemon *d))
{
  d->parts_closed = closed;
  close_next(d);
}
