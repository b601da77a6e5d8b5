/* The parts are made from the bottom up: what must be read or may fail for the user's sake first, while there is a
 * terminal to say so; then, in the process that stays, the loop, gRPC, the link, what rests on it, and the tree at
 * last. They are taken down in reverse, each when the one before has called back. Whatever does not call back is left
 * behind after a few seconds: the end must not depend on a router, nor on a kernel that holds on to the mount.
 */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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
#include "daemon/start/mountpoint.h"
#include "daemon/start/options.h"
#include "daemon/start/own_identity.h"
#include "daemon/tree/journal.h"
#include "daemon/tree/tree.h"
#include "daemon_internal.h"
#include "proto/host/exit_status.h"
#include "proto/host/notify.h"
#include "proto/pump/pump.h"
#include "proto/rpc/rpc.h"

#define MACHINE_ID "/etc/machine-id"

enum {
  EVENTS_SIZE = 256 * 1024,
  ERRORS_SIZE = 64 * 1024,
  RESTORE_MS = 2000,
  HEARD_MS = 2000,
  END_MS = 5000,
  END_ALARM_S = 8, /* if not even the loop runs any more */
};

/* ---- The end. ---- */

static void close_next(void *arg);

static void queue_stopped(void *arg)
{
  struct daemon *d = arg;

  rpc_queue_free(d->queue);
  d->queue = NULL;
  close_next(d);
}

static bool close_upper(struct daemon *d)
{
  struct tree *tree = d->tree;
  struct forwards *forwards = d->forwards;
  struct parked *parked = d->parked;
  struct answers *answers = d->answers;
  struct services *services = d->services;
  struct tunnels *tunnels = d->tunnels;
  struct state *state = d->state;

  if (tree != NULL) {
    d->tree = NULL;
    tree_close(tree, close_next, d);
  } else if (state != NULL) {
    /* Before anything is withdrawn for the end's sake. */
    d->state = NULL;
    state_close(state, close_next, d);
  } else if (forwards != NULL) {
    d->forwards = NULL;
    forwards_close(forwards, close_next, d);
  } else if (parked != NULL) {
    d->parked = NULL;
    parked_close(parked, close_next, d);
  } else if (answers != NULL) {
    d->answers = NULL;
    answers_close(answers, close_next, d);
  } else if (services != NULL) {
    d->services = NULL;
    services_close(services, close_next, d);
  } else if (tunnels != NULL) {
    d->tunnels = NULL;
    tunnels_close(tunnels, close_next, d);
  } else {
    return false;
  }
  return true;
}

static bool close_lower(struct daemon *d)
{
  struct link *link = d->link;
  struct catalogue *catalogue = d->catalogue;
  struct lookups *lookups = d->lookups;
  struct pump_set *pumps = d->pumps;

  if (link != NULL) {
    d->link = NULL;
    link_close(link, close_next, d);
  } else if (catalogue != NULL) {
    d->catalogue = NULL;
    catalogue_close(catalogue, close_next, d);
  } else if (lookups != NULL) {
    d->lookups = NULL;
    lookups_close(lookups, close_next, d);
  } else if (pumps != NULL) {
    d->pumps = NULL;
    pump_set_close(pumps, close_next, d);
  } else if (d->queue != NULL) {
    rpc_queue_stop(d->queue, queue_stopped, d);
  } else {
    return false;
  }
  return true;
}

static void close_next(void *arg)
{
  struct daemon *d = arg;

  if (close_upper(d) || close_lower(d))
    return;
  uv_close((uv_handle_t *)&d->interrupted, NULL);
  uv_close((uv_handle_t *)&d->terminated, NULL);
  uv_close((uv_handle_t *)&d->hung_up, NULL);
  uv_close((uv_handle_t *)&d->watchdog, NULL);
  uv_close((uv_handle_t *)&d->alive, NULL);
}

static void end_forced(uv_timer_t *timer)
{
  struct daemon *d = timer->data;

  fprintf(stderr, "mmfs: not everything could be ended in order\n");
  _exit(d->status);
}

static void end(struct daemon *d, int status)
{
  if (d->ending)
    return;
  d->ending = true;
  d->status = status;
  credentials_stop(d->credentials);
  notify_say(d->notify, "STOPPING", "1");
  uv_timer_start(&d->watchdog, end_forced, END_MS, 0);
  alarm(END_ALARM_S);
  close_next(d);
}

static void signalled(uv_signal_t *handle, int number)
{
  struct daemon *d = handle->data;

  /* Who asks twice does not want to wait. */
  if (d->ending)
    _exit(d->status);
  news_add(d, "ends: %s", number == SIGINT ? "interrupted" : number == SIGHUP ? "hung up" : "terminated");
  end(d, 0);
}

static void hung_up(uv_signal_t *handle, int number)
{
  struct daemon *d = handle->data;

  if (hangup_is_end(&d->hangup)) {
    signalled(handle, number);
    return;
  }
  if (d->ending)
    return;
  notify_say(d->notify, "RELOADING", "1");
  credentials_reload(d->credentials);
}

static void unmounted(void *arg)
{
  struct daemon *d = arg;

  if (!d->ending)
    news_add(d, "ends: the tree was unmounted");
  end(d, 0);
}

/* ---- The beginning. ---- */

/* What may block, and needs no thread. */
static int prepare(struct daemon *d)
{
  const struct mmfs_options *o = d->options;
  char why[MOUNTPOINT_WHY_MAX] = "";
  int err = 0;

  _Static_assert((int)MOUNTPOINT_WHY_MAX >= (int)CREDENTIAL_WHY_MAX &&
                     (int)MOUNTPOINT_WHY_MAX >= (int)OWN_IDENTITY_WHY_MAX,
                 "one buffer for all");
  _Static_assert((int)MOUNTPOINT_WHY_MAX >= (int)STATE_FILE_WHY_MAX, "one buffer for all");
  address_format(&o->router, d->router);
  err = credentials_open(&d->credentials, o->key_file, o->cafile, why);
  if (err == 0)
    err = mountpoint_prepare(o->mountpoint, &d->mountpoint, why);
  if (err == 0) {
    err = own_identity_open(&d->identity, o->identity_file, d->mountpoint, MACHINE_ID, why);
    if (err == 0 && why[0] != '\0')
      news_add(d, "%s", why);
  }
  if (err == 0 && o->state_file != NULL)
    err = declared_read(d, why);
  if (err != 0)
    snprintf(d->message, sizeof d->message, "%s", why);
  return err;
}

static void raise_limits(void)
{
  struct rlimit limit;

  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

static void tell_alive(uv_timer_t *timer)
{
  const struct daemon *d = timer->data;

  notify_say(d->notify, "WATCHDOG", "1");
}

static int open_loop(struct daemon *d)
{
  int err = uv_loop_init(&d->loop);

  if (err != 0)
    return err;
  err = uv_timer_init(&d->loop, &d->watchdog);
  if (err == 0)
    err = uv_timer_init(&d->loop, &d->alive);
  if (err == 0)
    err = uv_signal_init(&d->loop, &d->interrupted);
  if (err == 0)
    err = uv_signal_init(&d->loop, &d->terminated);
  if (err == 0)
    err = uv_signal_init(&d->loop, &d->hung_up);
  d->watchdog.data = d->alive.data = d->interrupted.data = d->terminated.data = d->hung_up.data = d;
  if (err == 0 && d->notify->alive_ms > 0)
    err = uv_timer_start(&d->alive, tell_alive, d->notify->alive_ms, d->notify->alive_ms);
  if (err == 0)
    err = uv_signal_start(&d->interrupted, signalled, SIGINT);
  if (err == 0)
    err = uv_signal_start(&d->terminated, signalled, SIGTERM);
  if (err == 0)
    err = uv_signal_start(&d->hung_up, hung_up, SIGHUP);
  return err;
}

static int open_parts(struct daemon *d)
{
  const struct link_options link_options = {
      .target = d->router,
      .tls = d->options->tls,
      .ca_pem = credentials_ca(d->credentials),
      .key = credentials_key(d->credentials),
      .identity = {.seed = d->identity.seed,
                   .instance = d->identity.instance,
                   .member_key = d->identity.member_key,
                   .former_key = d->identity.has_former ? d->identity.former_key : NULL}};
  const struct pump_limits limits = {
      .window = d->options->window, .budget = d->options->budget, .keepalive_s = d->options->keepalive_s};
  const struct tunnels_options tunnels_options = {.dial_ms = d->options->dial_ms, .hold_ms = d->options->hold_ms};
  int err = rpc_queue_create(&d->queue);

  credentials_start(d->credentials, &d->loop, &news_of_credentials, d);
  if (err == 0) {
    err = rpc_queue_attach(d->queue, &d->loop);
    if (err != 0) {
      rpc_queue_free(d->queue);
      d->queue = NULL;
    }
  }
  if (err == 0)
    err = pump_set_open(&d->pumps, d->queue, &d->loop, &limits);
  if (err == 0)
    err = lookups_open(&d->lookups, &d->loop);
  if (err == 0)
    err = catalogue_open(&d->catalogue, &d->loop, news_of_catalogue, d);
  if (err == 0)
    err = link_open(&d->link, d->lookups, d->queue, &link_options, &news_of_link, d);
  if (err == 0)
    link_host_init(&d->host, d->link, d->pumps);
  if (err == 0)
    err = tunnels_open(&d->tunnels, d->lookups, &d->host.host, d->pumps, &tunnels_options, &news_of_tunnels, d);
  if (err == 0)
    err = answers_open(&d->answers, &d->loop, &d->host.host, &news_of_answers, d);
  if (err == 0)
    err = services_open(&d->services, &d->loop, d->link, &news_of_services, d);
  if (err == 0)
    err = parked_open(&d->parked, &d->loop, &d->host.host, news_of_parked, d);
  if (err == 0)
    err = forwards_open(&d->forwards, d->lookups, d->link, &news_of_forwards, d);
  if (err != 0)
    snprintf(d->message, sizeof d->message, "%s", strerror(-err));
  return err;
}

static int open_tree(struct daemon *d)
{
  const struct tree_parts parts = {.router = d->router,
                                   .link = d->link,
                                   .catalogue = d->catalogue,
                                   .services = d->services,
                                   .forwards = d->forwards,
                                   .tunnels = d->tunnels,
                                   .pumps = d->pumps,
                                   .window = d->options->window,
                                   .budget = d->options->budget,
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

static void tell_failure(struct daemon *d)
{
  notify_say(d->notify, "STATUS", "%s", d->message);
  if (d->options->foreground)
    fprintf(stderr, "mmfs: %s\n", d->message);
  else
    background_failed(&d->background, d->status, d->message);
}

/* Whoever started us goes on. */
static void announce(struct daemon *d)
{
  uv_timer_stop(&d->watchdog);
  d->announced = true;
  if (!d->options->foreground)
    notify_say(d->notify, "MAINPID", "%d", (int)getpid());
  notify_say(d->notify, "READY", "1");
  if (!d->options->foreground && background_ready(&d->background) != 0)
    end(d, EXIT_AGAIN);
}

static void heard_late(uv_timer_t *timer)
{
  announce(timer->data);
}

void daemon_router_heard(struct daemon *d)
{
  d->heard = true;
  if (d->served && !d->announced && !d->ending)
    announce(d);
}

/* The router has a moment to be heard, so that what is looked at first is there, or is known to be missing. */
static void serve_tree(struct daemon *d)
{
  int err = tree_serve(d->tree, d->state);

  uv_timer_stop(&d->watchdog);
  if (err != 0) {
    snprintf(d->message, sizeof d->message, "%s", strerror(-err));
    end(d, exit_status(err));
    return;
  }
  d->served = true;
  news_add(d, "mounted %s on %s", d->router, d->mountpoint);
  if (d->heard)
    announce(d);
  else
    uv_timer_start(&d->watchdog, heard_late, HEARD_MS, 0);
}

static void restored_late(uv_timer_t *timer)
{
  serve_tree(timer->data);
}

void daemon_forward_restored(struct daemon *d)
{
  if (!d->served && !d->ending && d->state != NULL && !forwards_restoring(d->forwards))
    serve_tree(d);
}

/* What is declared, and then the tree: at once, or when the forwards that were restored listen. A name that is looked
 * up for one may keep them waiting, but not the mount. */
static int begin(struct daemon *d)
{
  int err = open_parts(d);

  if (err == 0)
    err = open_tree(d);
  if (err == 0 && d->options->state_file != NULL)
    err = declared_restore(d);
  declared_free(d);
  if (err != 0)
    return err;
  if (forwards_restoring(d->forwards))
    uv_timer_start(&d->watchdog, restored_late, RESTORE_MS, 0);
  else
    serve_tree(d);
  return 0;
}

static int serve(struct daemon *d)
{
  int err = open_loop(d);

  if (err != 0) {
    snprintf(d->message, sizeof d->message, "%s", strerror(-err));
    d->status = exit_status(err);
    tell_failure(d);
    return d->status;
  }
  err = begin(d);
  if (err != 0)
    end(d, exit_status(err));
  uv_run(&d->loop, UV_RUN_DEFAULT);
  uv_loop_close(&d->loop);
  if (!d->served && d->status != 0)
    tell_failure(d);
  return d->status;
}

static void free_daemon(struct daemon *d)
{
  journal_free(d->events);
  journal_free(d->errors);
  declared_free(d);
  state_file_close(&d->state_file);
  free(d->mountpoint);
  credentials_free(d->credentials);
  own_identity_close(&d->identity);
  free(d);
}

int daemon_run(const struct mmfs_options *options, const struct notify *notify)
{
  struct daemon *d = calloc(1, sizeof *d);
  int err, status;

  if (d == NULL) {
    fprintf(stderr, "mmfs: memory is short\n");
    return EXIT_AGAIN;
  }
  d->options = options;
  d->notify = notify;
  d->state_file = (struct state_file){.directory = -1, .lock = -1};
  d->identity.lock = -1;
  d->events = journal_create(EVENTS_SIZE);
  d->errors = journal_create(ERRORS_SIZE);
  if (d->events != NULL)
    journal_echo(d->events, "mmfs");
  err = d->events != NULL && d->errors != NULL ? 0 : -ENOMEM;
  if (err != 0)
    snprintf(d->message, sizeof d->message, "memory is short");
  else
    err = prepare(d);
  if (err == 0 && !options->foreground) {
    err = background_start(&d->background, "mmfs");
    if (err != 0)
      snprintf(d->message, sizeof d->message, "cannot go to the background: %s", strerror(-err));
  }
  if (err != 0) {
    fprintf(stderr, "mmfs: %s\n", d->message);
    notify_say(d->notify, "STATUS", "%s", d->message);
    status = exit_status(err);
  } else {
    hangup_prepare(&d->hangup);
    signal(SIGHUP, SIG_IGN); /* until it is heard */
    raise_limits();
    status = serve(d);
  }
  free_daemon(d);
  return status;
}
