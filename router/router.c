/* Startup, who is let in, which method is which, and the end:
 *
 *     SERVING --router_drain--> DRAINING --no connection left, drain_ms over, or told again--> ENDING --> freed
 *
 * While draining, another router may have the address, new work is refused, and whoever watches knows. At the end all
 * that still runs gets its status.
 */
#include "router.h"

#include <errno.h>
#include <inttypes.h>
#include <mindmeld.pb-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "router/door/callers.h"
#include "router/door/health.h"
#include "router/door/opening.h"
#include "router/door/reply.h"
#include "router/door/secret.h"
#include "router/door/state.h"
#include "router/meet/dial.h"
#include "router/meet/forward.h"
#include "router/meet/parked.h"
#include "router/meet/rendezvous.h"
#include "router/meet/tokens.h"
#include "router/meet/trails.h"
#include "router/meet/waiting.h"
#include "router/names/catalogue.h"
#include "router/names/join.h"
#include "router/names/lost.h"
#include "router/names/registry.h"
#include "router/names/service.h"
#include "router/names/watch.h"

/* Names that are gone are remembered for watchers that are slow. */
enum { REGISTRY_MEMORY = 4096 };

static const char draining[] = "the router is draining";

uint64_t router_now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- Log ---- */

__attribute__((format(printf, 2, 0))) static void log_write(struct router *r, const char *format, va_list values)
{
  char line[512];
  vsnprintf(line, sizeof line, format, values);
  if (r->log)
    r->log(r->log_arg, line);
}

void router_log(struct router *r, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  log_write(r, format, values);
  va_end(values);
}

static void tell_left_out(struct router *r)
{
  if (r->reports.left_out > 0)
    router_log(r, "%" PRIu64 " lines were left out: callers caused too many at once", r->reports.left_out);
  r->reports.left_out = 0;
}

void router_report(struct router *r, const char *format, ...)
{
  if (!pace_allows(&r->reports, router_now(), r->limits.reports, r->limits.report_ms))
    return;
  tell_left_out(r);
  va_list values;
  va_start(values, format);
  log_write(r, format, values);
  va_end(values);
}

/* ---- Calls ---- */

static void list_services(struct opening *o, struct rpc_message *m)
{
  struct router *r = opening_router(o);
  Mindmeld__ListServicesRequest *request =
      (Mindmeld__ListServicesRequest *)rpc_message_unpack(m, &mindmeld__list_services_request__descriptor);
  rpc_message_free(m);
  if (!request) {
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the message is not a ListServicesRequest");
    return;
  }
  mindmeld__list_services_request__free_unpacked(request, NULL);
  reply_answer(r, opening_take(o), catalogue_list(&r->listed, r->registry));
}

static const struct method {
  const char *name;
  opening_cb on_message;
} methods[] = {
    {"/mindmeld.ProxyService/Connect", rendezvous_connect},
    {"/mindmeld.ProxyService/ProxyConnection", rendezvous_proxy},
    {"/mindmeld.ControlService/ForwardToService", router_forward_ask},
    {"/mindmeld.ControlService/CreateService", router_service_create},
    {"/mindmeld.ControlService/Join", join_ask},
    {"/mindmeld.ControlService/Trace", router_trails_ask},
    {"/mindmeld.ControlService/WatchServices", watch_start},
    {"/mindmeld.ControlService/ListServices", list_services},
};

static void tell_refusal(struct router *r, const struct rpc_call *c, const char *why)
{
  uint64_t since, left_out = r->refusals.pace.left_out;
  if (!refusals_tell(&r->refusals, rpc_call_peer(c), router_now(), &since))
    return;
  r->refusals.pace.left_out = 0;
  if (left_out > 0)
    router_log(r, "%" PRIu64 " more callers were refused", left_out);
  if (since > 0)
    router_log(r, "%s is refused: %s; %" PRIu64 " more times since the last such line", rpc_call_peer(c), why, since);
  else
    router_log(r, "%s is refused: %s", rpc_call_peer(c), why);
}

/* Who is not let in is cut off with the status, rather than given it: that costs less, and nothing is left of the call
 * if the caller does not read. */
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
  if (health_ask(r, c) || !let_in(r, c))
    return;
  rpc_call_forget_metadata(c);
  if (r->draining) {
    reply_refuse(c, RPC_UNAVAILABLE, "%s", draining);
    return;
  }
  for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
    if (strcmp(rpc_call_method(c), methods[i].name) == 0) {
      opening_start(r, c, methods[i].on_message);
      return;
    }
  }
  reply_refuse(c, RPC_UNIMPLEMENTED, "this router does not know that method");
}

/* ---- Age ---- */

static void age_watch(struct router *r, uint64_t ms);

/* Something before us would cut them later, and without a word. */
static void on_age(void *arg)
{
  struct router *r = arg;
  r->ageing = NULL;
  age_watch(r, rpc_server_end_old(r->server, r->limits.stream_age_ms, "the stream is as old as it may become"));
}

static void age_watch(struct router *r, uint64_t ms)
{
  if (rpc_timer_start(&r->ageing, r->queue, ms, on_age, r) != 0)
    router_log(r, "memory is short: streams become older than they should");
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
  tokens_close(r->tokens);
  catalogue_forget(&r->listed);
  registry_close(r->registry);
  callers_close(r->callers);
  lost_close(r->lost);
  free(r->trails);
  waiting_close(r->waiting);
  key_forget(r);
  free(r);
}

static struct router *router_alloc(struct rpc_queue *q, const struct router_config *config)
{
  struct router *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->queue = q;
  r->started = router_now();
  r->limits = config->limits;
  r->log = config->log;
  r->log_arg = config->log_arg;
  const size_t holds[CALLER_HOLDS] = {
      [CALLER_SERVICES] = r->limits.services_per_caller,
      [CALLER_STREAMS] = r->limits.streams_per_caller,
      [CALLER_PARKED] = r->limits.parked_per_caller,
      [CALLER_WAITING] = r->limits.waiting_per_caller,
      [CALLER_TOKENS] = r->limits.tokens_per_caller,
      [CALLER_WATCHERS] = r->limits.watchers_per_caller,
      [CALLER_JOINED] = 1,
  };
  r->registry = registry_open(r->limits.services, REGISTRY_MEMORY);
  r->callers = callers_open(holds);
  r->tokens = tokens_open(r->limits.tokens, r->limits.token_ms, rendezvous_token_lost, r);
  r->lost = lost_open(r->limits.lost);
  r->waiting = waiting_open(r->limits.waiting);
  r->key = config->key ? strdup(config->key) : NULL;
  if (r->registry && r->callers && r->tokens && r->lost && r->waiting && (r->key || !config->key))
    return r;
  router_free(r);
  return NULL;
}

int router_start(struct router **out, struct rpc_queue *q, const struct router_config *config, int *port)
{
  struct router *r = router_alloc(q, config);
  if (!r)
    return -ENOMEM;
  int error = rpc_server_start(&r->server, q, &config->server, on_call, r, port);
  if (error) {
    router_free(r);
    return error;
  }
  if (r->limits.stream_age_ms > 0)
    age_watch(r, r->limits.stream_age_ms);
  *out = r;
  return 0;
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
  watch_end(r, RPC_UNAVAILABLE, changed);
  router_services_end(r, RPC_UNAVAILABLE, changed);
  parked_end_all(r, RPC_UNAVAILABLE, changed);
  return 0;
}

int router_set_certificate(struct router *r, const char *cert_pem, const char *key_pem)
{
  return rpc_server_set_certificate(r->server, cert_pem, key_pem);
}

/* ---- End ---- */

static void on_stopped(void *arg)
{
  struct router *r = arg;
  if (r->patience)
    rpc_timer_cancel(r->patience);
  if (r->ageing)
    rpc_timer_cancel(r->ageing);
  void (*done)(void *) = r->done;
  void *done_arg = r->done_arg;
  tell_left_out(r);
  router_log(r, "end");
  router_free(r);
  done(done_arg);
}

static void on_patience_over(void *arg)
{
  struct router *r = arg;
  r->patience = NULL;
  rpc_server_cancel_calls(r->server);
}

/* Connections are cut; everybody else gets a short time to hear the last status. */
static void router_end(struct router *r)
{
  if (r->patience)
    rpc_timer_cancel(r->patience);
  r->patience = NULL;
  r->ending = true;
  router_services_end(r, RPC_UNAVAILABLE, draining);
  watch_end(r, RPC_UNAVAILABLE, draining);
  health_wake(r);
  rpc_server_stop(r->server, on_stopped, r);
  if (rpc_timer_start(&r->patience, r->queue, r->limits.farewell_ms, on_patience_over, r) != 0)
    rpc_server_cancel_calls(r->server);
}

static void on_drained(void *arg)
{
  struct router *r = arg;
  r->patience = NULL;
  router_log(r, "%zu connections did not end in time", r->bridge_count);
  router_end(r);
}

void router_drain(struct router *r, void (*done)(void *arg), void *arg)
{
  if (r->ending) {
    rpc_server_cancel_calls(r->server);
    return;
  }
  if (r->draining) {
    router_end(r);
    rpc_server_cancel_calls(r->server);
    return;
  }
  r->draining = true;
  r->done = done;
  r->done_arg = arg;
  int error = rpc_server_leave_address(r->server);
  if (error)
    router_log(r, "the address is not free yet: %s", strerror(-error));
  router_log(r, "draining, %zu connections live", r->bridge_count);
  openings_refuse_all(r, RPC_UNAVAILABLE, draining);
  router_dials_refuse_waiting(r, RPC_UNAVAILABLE, draining);
  router_services_drain(r, RPC_UNAVAILABLE, draining);
  parked_end_all(r, RPC_UNAVAILABLE, draining);
  watch_wake(r);
  health_wake(r);
  if (r->bridge_count == 0 || rpc_timer_start(&r->patience, r->queue, r->limits.drain_ms, on_drained, r) != 0)
    router_end(r);
}

void router_bridge_over(struct router *r)
{
  r->bridge_count--;
  if (r->draining && !r->ending && r->bridge_count == 0)
    router_end(r);
}
