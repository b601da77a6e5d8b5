/* Startup, admission, the methods, and the end:
 *
 *     SERVING --router_drain--> DRAINING --no connection left, drain_ms over, or told again--> ENDING --> freed
 *
 * While it drains, another router may have the address, new work is refused, and watches are told. At the end every
 * call that still runs gets its status.
 */
#include "router.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "entrance.h"
#include "router/door/door.h"
#include "router/door/health.h"
#include "router/door/opening.h"
#include "router/door/refusals.h"
#include "router/door/reply.h"
#include "router/door/secret.h"
#include "router/meet/arrival.h"
#include "router/meet/dial.h"
#include "router/meet/forward.h"
#include "router/meet/meet.h"
#include "router/meet/parked.h"
#include "router/meet/raws.h"
#include "router/meet/rendezvous.h"
#include "router/meet/trails.h"
#include "router/names/join.h"
#include "router/names/list.h"
#include "router/names/names.h"
#include "router/names/service.h"
#include "router/names/watch.h"

struct router {
  struct rpc_queue *queue;
  struct entrance entrance;
  char *key;
  struct grants grants;
  struct door *door;
  struct openings *openings;
  struct health *health;
  struct names *names;
  struct meet *meet;
  struct raws *raws; /* NULL: there are no raw streams */
  struct refusals refusals;
  struct rpc_timer *ageing;
  struct rpc_timer *patience;
  void (*done)(void *arg);
  void *done_arg;
};

static const char draining[] = "the router is draining";

static const struct router_limits *limits_of(const struct router *r)
{
  return door_limits(r->door);
}

/* ---- Calls ---- */

enum room { NAMES, MEET };

static const struct method {
  const char *name;
  enum room room;
  opening_cb on_message;
} methods[] = {
    {"/mindmeld.ProxyService/Connect", MEET, rendezvous_connect},
    {"/mindmeld.ProxyService/ProxyConnection", MEET, rendezvous_proxy},
    {"/mindmeld.ControlService/ForwardToService", MEET, router_forward_ask},
    {"/mindmeld.ControlService/CreateService", NAMES, router_service_create},
    {"/mindmeld.ControlService/Join", NAMES, join_ask},
    {"/mindmeld.ControlService/Trace", MEET, router_trails_ask},
    {"/mindmeld.ControlService/WatchServices", NAMES, watch_start},
    {"/mindmeld.ControlService/ListServices", NAMES, list_ask},
};

static void tell_refusal(struct router *r, const struct rpc_call *c, const char *why)
{
  uint64_t since, left_out = r->refusals.pace.left_out;
  if (!refusals_tell(&r->refusals, rpc_call_peer(c), door_now(), &since))
    return;
  r->refusals.pace.left_out = 0;
  if (left_out > 0)
    door_log(r->door, "%" PRIu64 " callers more were refused", left_out);
  if (since > 0)
    door_log(r->door, "%s is refused: %s; %" PRIu64 " times more since the last such line", rpc_call_peer(c), why,
             since);
  else
    door_log(r->door, "%s is refused: %s", rpc_call_peer(c), why);
}

/* A caller that is not let in is cut off with the status instead of being sent it: that costs less, and leaves nothing
 * of the call if the caller does not read. */
static bool let_in(struct router *r, struct rpc_call *c)
{
  if (!r->key)
    return true;
  char shown[SECRET_SHOWN_MAX];
  int size = rpc_call_metadata(c, "authorization", shown, sizeof shown);
  bool right = size >= 0 && strlen(shown) == (size_t)size && secret_shown(r->key, shown);
  explicit_bzero(shown, sizeof shown);
  if (right)
    return true;
  bool none = size == -ENOENT;
  tell_refusal(r, c, none ? "it shows no key" : "its key is wrong");
  rpc_call_cancel(c, none ? RPC_UNAUTHENTICATED : RPC_PERMISSION_DENIED,
                  none ? "this router wants a key" : "wrong key");
  return false;
}

static void on_call(struct rpc_server *s, struct rpc_call *c, void *arg)
{
  (void)s;
  struct router *r = arg;
  if (health_ask(r->health, c) || !let_in(r, c))
    return;
  rpc_call_forget_metadata(c);
  if (door_phase(r->door) != DOOR_SERVING) {
    reply_refuse(c, RPC_UNAVAILABLE, "%s", draining);
    return;
  }
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    if (strcmp(rpc_call_method(c), methods[i].name) == 0) {
      opening_start(r->openings, c, methods[i].on_message, methods[i].room == NAMES ? (void *)r->names : r->meet);
      return;
    }
  }
  reply_refuse(c, RPC_UNIMPLEMENTED, "this router does not know that method");
}

/* ---- Age ---- */

static void age_watch(struct router *r, uint64_t ms);

/* A front would cut them later, without a word. */
static void on_age(void *arg)
{
  struct router *r = arg;
  r->ageing = NULL;
  static const char old[] = "the stream is as old as it may become";
  uint64_t age_ms = limits_of(r)->stream_age_ms, next = rpc_server_end_old(r->entrance.server, age_ms, old);
  uint64_t raw_next = r->raws ? raws_end_old(r->raws, age_ms, RPC_UNAVAILABLE, old) : age_ms;
  age_watch(r, raw_next < next ? raw_next : next);
}

static void age_watch(struct router *r, uint64_t ms)
{
  if (rpc_timer_start(&r->ageing, r->queue, ms, on_age, r) != 0)
    door_log(r->door, "memory is short: streams become older than they should");
}

/* ---- Start ---- */

static void key_forget(struct router *r)
{
  if (r->key)
    explicit_bzero(r->key, strlen(r->key));
  free(r->key);
  r->key = NULL;
}

static void router_free(struct router *r)
{
  if (!r)
    return;
  meet_close(r->meet);
  router_names_close(r->names);
  health_close(r->health);
  openings_close(r->openings);
  door_close(r->door);
  key_forget(r);
  free(r);
}

static void on_connection_over(void *arg);

/* Each room sees those that were opened before it. False: memory is short. */
static bool rooms_open(struct router *r, const struct router_config *config)
{
  const struct door_config door = {
      .queue = r->queue, .limits = config->limits, .log = config->log, .log_arg = config->log_arg};
  r->door = door_open(&door);
  if (!r->door)
    return false;
  r->openings = openings_open(r->door);
  r->health = health_open(r->door);
  r->names = router_names_open(r->door, &r->grants);
  if (r->names)
    r->meet = meet_open(r->door, r->names, on_connection_over, r);
  return r->openings && r->health && r->meet;
}

static struct router *router_alloc(struct rpc_queue *q, const struct router_config *config)
{
  struct router *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->queue = q;
  r->grants = config->grants;
  r->key = config->key ? strdup(config->key) : NULL;
  if (rooms_open(r, config) && (r->key || !config->key))
    return r;
  router_free(r);
  return NULL;
}

/* Ends what comes by the router's own listeners. Without the home lock, which the raw thread may need. */
static void listeners_close(struct router *r)
{
  entrance_stop(&r->entrance);
  raws_end(r->raws);
  entrance_close(&r->entrance);
  raws_close(r->raws);
}

/* Raw streams come in the clear: not where TLS is asked for. */
static int raws_offer(struct router *r, const struct router_config *config)
{
  char address[NAMES_STREAMS_MAX] = ":";
  struct poller *p = entrance_poller(&r->entrance);
  if (!p || config->server.cert_pem)
    return 0;
  int error = raws_open(&r->raws, r->meet, p);
  if (error)
    return error;
  if (r->entrance.streams_port > 0)
    snprintf(address, sizeof address, ":%d", r->entrance.streams_port);
  router_names_offer_streams(r->names, address);
  return 0;
}

int router_start(struct router **out, struct rpc_queue *q, const struct router_config *config,
                 struct router_ports *ports)
{
  const struct entrance_config entrance = {.server = config->server, .streams = config->streams};
  struct router *r = router_alloc(q, config);
  if (!r)
    return -ENOMEM;
  int error = entrance_listen(&r->entrance, &entrance, &ports->refused);
  if (!error)
    error = raws_offer(r, config);
  if (!error)
    error = entrance_serve(&r->entrance, q, r->raws, on_call, r);
  if (error) {
    listeners_close(r);
    router_free(r);
    return error;
  }
  if (r->entrance.grpc_listens)
    door_log(r->door, "this gRPC takes no connections from others, so that it listens by itself%s",
             config->streams || config->server.cert_pem ? "" : ": raw streams need --streams");
  if (limits_of(r)->stream_age_ms > 0)
    age_watch(r, limits_of(r)->stream_age_ms);
  ports->port = r->entrance.port;
  ports->streams_port = r->entrance.streams_port;
  *out = r;
  return 0;
}

void router_admit(struct router *r)
{
  entrance_admit(&r->entrance);
}

/* ---- Other credentials ---- */

int router_set_key(struct router *r, const char *key)
{
  static const char changed[] = "the key of this router has changed";
  char *copy = strdup(key);
  if (!copy)
    return -ENOMEM;
  key_forget(r);
  r->key = copy;
  /* No refusal yet: they may have the new one already. */
  watch_end(r->names, RPC_UNAVAILABLE, changed);
  router_services_end(r->names, RPC_UNAVAILABLE, changed);
  parked_end_all(r->meet, RPC_UNAVAILABLE, changed);
  return 0;
}

int router_set_certificate(struct router *r, const char *cert_pem, const char *key_pem)
{
  return rpc_server_set_certificate(r->entrance.server, cert_pem, key_pem);
}

/* ---- End ---- */

static size_t connections(const struct router *r)
{
  return arrivals_paired(meet_arrivals(r->meet));
}

static void on_stopped(void *arg)
{
  struct router *r = arg;
  if (r->patience)
    rpc_timer_cancel(r->patience);
  if (r->ageing)
    rpc_timer_cancel(r->ageing);
  void (*done)(void *) = r->done;
  void *done_arg = r->done_arg;
  rpc_queue_unlock(r->queue);
  listeners_close(r);
  rpc_queue_lock(r->queue);
  door_report_left_out(r->door);
  door_log(r->door, "end");
  router_free(r);
  done(done_arg);
}

static void on_patience_over(void *arg)
{
  struct router *r = arg;
  r->patience = NULL;
  rpc_server_cancel_calls(r->entrance.server);
}

/* Connections are cut; everybody else gets a short time to hear the last status. */
static void router_end(struct router *r)
{
  if (r->patience)
    rpc_timer_cancel(r->patience);
  r->patience = NULL;
  door_enter(r->door, DOOR_ENDING);
  router_services_end(r->names, RPC_UNAVAILABLE, draining);
  watch_end(r->names, RPC_UNAVAILABLE, draining);
  health_wake(r->health);
  rpc_server_stop(r->entrance.server, on_stopped, r);
  if (rpc_timer_start(&r->patience, r->queue, limits_of(r)->farewell_ms, on_patience_over, r) != 0)
    rpc_server_cancel_calls(r->entrance.server);
}

static void on_drained(void *arg)
{
  struct router *r = arg;
  r->patience = NULL;
  door_log(r->door, "%zu connections did not end in time", connections(r));
  router_end(r);
}

void router_drain(struct router *r, void (*done)(void *arg), void *arg)
{
  if (door_phase(r->door) == DOOR_ENDING) {
    rpc_server_cancel_calls(r->entrance.server);
    return;
  }
  if (door_phase(r->door) == DOOR_DRAINING) {
    router_end(r);
    rpc_server_cancel_calls(r->entrance.server);
    return;
  }
  door_enter(r->door, DOOR_DRAINING);
  r->done = done;
  r->done_arg = arg;
  int error = entrance_leave(&r->entrance);
  if (error)
    door_log(r->door, "the address is not free yet: %s", strerror(-error));
  door_log(r->door, "draining, %zu connections live", connections(r));
  openings_refuse_all(r->openings, RPC_UNAVAILABLE, draining);
  router_dials_refuse_waiting(r->meet, RPC_UNAVAILABLE, draining);
  router_services_drain(r->names, RPC_UNAVAILABLE, draining);
  parked_end_all(r->meet, RPC_UNAVAILABLE, draining);
  watch_wake(r->names);
  health_wake(r->health);
  if (connections(r) == 0 || rpc_timer_start(&r->patience, r->queue, limits_of(r)->drain_ms, on_drained, r) != 0)
    router_end(r);
}

static void on_connection_over(void *arg)
{
  struct router *r = arg;
  if (door_phase(r->door) == DOOR_DRAINING && connections(r) == 0)
    router_end(r);
}
