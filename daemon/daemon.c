/* The life of the daemon. First it reads the files and makes the checks that may fail, while there is a terminal to say
 * so. Then the process that stays opens the loop, the parts, the declarations of the state file, and the mount. At the
 * end, a part that does not call back is left behind after a few seconds: the end must not depend on a router, or on a
 * kernel that holds on to the mount.
 */
#include "daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "credentials.h"
#include "daemon/forwards/forwards.h"
#include "daemon/start/mountpoint.h"
#include "daemon/start/options.h"
#include "daemon/start/own_identity.h"
#include "daemon/tree/tree.h"
#include "daemon_internal.h"
#include "news.h"
#include "proto/host/exit_status.h"
#include "proto/host/home.h"
#include "proto/host/journal.h"
#include "proto/host/notify.h"
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

static void close_loop(struct daemon *d)
{
  uv_close((uv_handle_t *)&d->interrupted, NULL);
  uv_close((uv_handle_t *)&d->terminated, NULL);
  uv_close((uv_handle_t *)&d->hung_up, NULL);
  uv_close((uv_handle_t *)&d->restore_limit, NULL);
  uv_close((uv_handle_t *)&d->hear_limit, NULL);
  uv_close((uv_handle_t *)&d->end_limit, NULL);
  uv_close((uv_handle_t *)&d->alive, NULL);
}

static void end_forced(uv_timer_t *timer)
{
  struct daemon *d = timer->data;

  fprintf(stderr, "mmfs: some parts did not stop in time; exiting anyway\n");
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
  uv_timer_stop(&d->restore_limit);
  uv_timer_stop(&d->hear_limit);
  uv_timer_start(&d->end_limit, end_forced, END_MS, 0);
  alarm(END_ALARM_S);
  parts_close(d, close_loop);
}

static void signalled(uv_signal_t *handle, int number)
{
  struct daemon *d = handle->data;

  /* A second signal means: do not wait. */
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

static void unmounted(struct daemon *d)
{
  if (!d->ending)
    news_add(d, "ends: the tree was unmounted");
  end(d, 0);
}

/* ---- The beginning. ---- */

/* All that may block and needs no thread. */
static int prepare(struct daemon *d)
{
  const struct mmfs_options *o = d->options;
  char why[MOUNTPOINT_WHY_MAX] = "";
  int err = 0;

  _Static_assert((int)MOUNTPOINT_WHY_MAX >= (int)CREDENTIAL_WHY_MAX &&
                     (int)MOUNTPOINT_WHY_MAX >= (int)OWN_IDENTITY_WHY_MAX,
                 "one buffer for all");
  _Static_assert((int)MOUNTPOINT_WHY_MAX >= (int)STATE_FILE_WHY_MAX, "one buffer for all");
  address_format(&o->carry.router, d->router);
  err = credentials_open(&d->credentials, o->carry.key_file, o->carry.cafile, why);
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
  err = uv_timer_init(&d->loop, &d->restore_limit);
  if (err == 0)
    err = uv_timer_init(&d->loop, &d->hear_limit);
  if (err == 0)
    err = uv_timer_init(&d->loop, &d->end_limit);
  if (err == 0)
    err = uv_timer_init(&d->loop, &d->alive);
  if (err == 0)
    err = uv_signal_init(&d->loop, &d->interrupted);
  if (err == 0)
    err = uv_signal_init(&d->loop, &d->terminated);
  if (err == 0)
    err = uv_signal_init(&d->loop, &d->hung_up);
  d->restore_limit.data = d->hear_limit.data = d->end_limit.data = d->alive.data = d;
  d->interrupted.data = d->terminated.data = d->hung_up.data = d;
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

static void tell_failure(struct daemon *d)
{
  notify_say(d->notify, "STATUS", "%s", d->message);
  if (d->options->foreground)
    fprintf(stderr, "mmfs: %s\n", d->message);
  else
    background_failed(&d->background, d->status, d->message);
}

/* The process that started us goes on. */
static void announce(struct daemon *d)
{
  uv_timer_stop(&d->hear_limit);
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

static void router_heard(struct daemon *d)
{
  d->heard = true;
  if (d->served && !d->announced && !d->ending)
    announce(d);
}

/* The router gets a moment to answer, so that the first look at the tree finds its services, or finds them missing. */
static void serve_tree(struct daemon *d)
{
  int err = tree_serve(d->tree, d->state);

  uv_timer_stop(&d->restore_limit);
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
    uv_timer_start(&d->hear_limit, heard_late, HEARD_MS, 0);
}

static void restored_late(uv_timer_t *timer)
{
  serve_tree(timer->data);
}

static void forward_restored(struct daemon *d)
{
  if (!d->served && !d->ending && d->state != NULL && !forwards_restoring(d->forwards))
    serve_tree(d);
}

static const struct parts_events parts_events = {
    .router_heard = router_heard, .forward_restored = forward_restored, .unmounted = unmounted};

/* The declarations, and then the tree: at once, or when the restored forwards listen. A look-up that takes long delays
 * its forward, but not the mount. */
static int begin(struct daemon *d)
{
  int err = parts_open(d, &parts_events);

  if (err == 0 && d->options->state_file != NULL)
    err = declared_restore(d);
  declared_free(d);
  if (err != 0)
    return err;
  if (forwards_restoring(d->forwards))
    uv_timer_start(&d->restore_limit, restored_late, RESTORE_MS, 0);
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
  if (d->queue != NULL)
    home_run(rpc_queue_home(d->queue));
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
    signal(SIGHUP, SIG_IGN); /* until there is a handler */
    raise_limits();
    status = serve(d);
  }
  free_daemon(d);
  return status;
}
