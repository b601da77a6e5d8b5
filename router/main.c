/* mmrouter: reads its options and files, serves on this thread, and turns signals into an orderly end. */
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "files.h"
#include "gatekeeper.h"
#include "options.h"
#include "proto/host/certificate.h"
#include "proto/host/exit_status.h"
#include "proto/host/hangup.h"
#include "proto/host/heap.h"
#include "proto/host/log_line.h"
#include "proto/host/notify.h"
#include "proto/host/standard.h"
#include "reload.h"
#include "router.h"

enum { WHY_MAX = 600, POLL_MS = 1000, WARN_DAYS = 14 };

struct program {
  struct options options;
  struct files files;
  struct files_marks marks;
  struct hangup hangup;
  struct reload *reload;
  struct rpc_queue *queue;
  struct router *router;
  struct gatekeeper gate;
  const char *gate_arguments[OPTIONS_GATE_MAX];
  char gate_router[CERTIFICATE_NAME_MAX + 20], gate_at[OPTIONS_LISTEN_MAX + 8];
  int port;
  struct notify notify;    /* the service manager */
  struct rpc_timer *alive; /* as long as the loop runs, the manager hears of it */
  bool ending;
  bool over; /* the router is freed */
};

static void say(void *arg, const char *line)
{
  const struct program *p = arg;
  char out[LOG_LINE_MAX];
  log_line_write(out, p->options.log_json ? LOG_LINE_JSON : log_line_style(STDERR_FILENO), "mmrouter", time(NULL),
                 line);
  fputs(out, stderr);
}

__attribute__((format(printf, 2, 3))) static void tell(struct program *p, const char *format, ...)
{
  char line[LOG_LINE_TEXT_MAX];
  va_list values;
  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  say(p, line);
}

/* Why it cannot start. Returns what to exit with. */
__attribute__((format(printf, 3, 4))) static int fail(struct program *p, int error, const char *format, ...)
{
  char why[LOG_LINE_TEXT_MAX];
  va_list values;
  va_start(values, format);
  vsnprintf(why, sizeof why, format, values);
  va_end(values);
  say(p, why);
  notify_say(&p->notify, "STATUS", "%s", why);
  return exit_status(error);
}

/* ---- The manager ---- */

static void tell_alive(void *arg)
{
  struct program *p = arg;
  notify_say(&p->notify, "WATCHDOG", "1");
  if (rpc_timer_start(&p->alive, p->queue, p->notify.alive_ms, tell_alive, p) != 0)
    p->alive = NULL;
}

static int host_size_of(const char *address)
{
  return (int)(strrchr(address, ':') - address);
}

static void tell_listening(struct program *p, const struct router_ports *ports)
{
  int host_size = host_size_of(p->options.listen), port = ports->port;
  static const char *const from[] = {
      [LISTEN_GIVEN] = "",
      [LISTEN_PORT] = ", as PORT in the environment says",
      [LISTEN_DEFAULT] = ", for this machine only; --listen HOST:PORT is for others",
  };
  tell(p, "listening on %.*s:%d%s", host_size, p->options.listen, port, from[p->options.listen_from]);
  if (p->options.streams)
    tell(p, "listening for raw streams on %.*s:%d", host_size_of(p->options.streams), p->options.streams,
         ports->streams_port);
  notify_say(&p->notify, "STATUS", "listening on %.*s:%d", host_size, p->options.listen, port);
  notify_say(&p->notify, "READY", "1");
  if (p->notify.alive_ms > 0)
    tell_alive(p);
}

/* ---- The gate ---- */

/* On this machine the way is short, but a certificate is for a name. */
static struct gatekeeper_way find_way(struct program *p)
{
  const char *listen = p->options.listen;
  char name[CERTIFICATE_NAME_MAX];
  bool all = strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0;
  snprintf(p->gate_at, sizeof p->gate_at, "%.*s:%d", all ? 9 : host_size_of(listen), all ? "127.0.0.1" : listen,
           p->port);
  if (p->files.cert && certificate_name(p->files.cert, name))
    snprintf(p->gate_router, sizeof p->gate_router, "https://%s:%d", name, p->port);
  else
    snprintf(p->gate_router, sizeof p->gate_router, "localhost:%d", p->port);
  return (struct gatekeeper_way){
      .router = p->gate_router, .at = p->gate_at, .cafile = p->options.tls_cert, .key = p->files.key};
}

static int fork_gatekeeper(struct program *p)
{
  p->gate.fd = -1;
  return router_options_gate(&p->options, p->gate_arguments) ? gatekeeper_fork(&p->gate, p->gate_arguments, say, p) : 0;
}

/* What to exit with, if it does not begin. Nobody is let in before: who comes then finds the gate. */
static int start_gate(struct program *p, int port)
{
  p->port = port;
  if (p->gate.fd < 0)
    return EXIT_SUCCESS;
  const struct gatekeeper_way way = find_way(p);
  return gatekeeper_start(&p->gate, &way);
}

static void renew_gate(struct program *p)
{
  const struct gatekeeper_way way = find_way(p);
  gatekeeper_renew(&p->gate, &way);
}

/* ---- Signals ---- */

static void on_done(void *arg)
{
  struct program *p = arg;
  p->over = true;
  if (p->alive)
    rpc_timer_cancel(p->alive);
  rpc_queue_stop(p->queue, NULL, NULL);
}

static void on_signal(void *arg)
{
  struct program *p = arg;
  if (p->over)
    return;
  p->ending = true;
  notify_say(&p->notify, "STOPPING", "1");
  notify_say(&p->notify, "STATUS", "draining");
  gatekeeper_end(&p->gate);
  router_drain(p->router, on_done, p);
}

enum { NO_MORE_SIGNALS = SIGUSR1 }; /* to the thread that waits for them */

static void end_signals(sigset_t *out)
{
  sigemptyset(out);
  sigaddset(out, NO_MORE_SIGNALS);
  sigaddset(out, SIGINT);
  sigaddset(out, SIGTERM);
}

static void *wait_for_signals(void *arg)
{
  struct program *p = arg;
  sigset_t signals;
  end_signals(&signals);
  for (;;) {
    siginfo_t info;
    int number = sigwaitinfo(&signals, &info);
    if (number == NO_MORE_SIGNALS && info.si_pid == getpid())
      return NULL;
    if (number == SIGINT || number == SIGTERM)
      rpc_queue_post(p->queue, on_signal, p);
  }
}

/* Threads that are started later inherit the mask. */
static void signals_prepare(struct program *p)
{
  sigset_t signals;
  end_signals(&signals);
  sigaddset(&signals, SIGHUP);
  hangup_prepare(&p->hangup);
  pthread_sigmask(SIG_BLOCK, &signals, NULL);
}

/* ---- Other files ---- */

static void tell_end_of_certificate(struct program *p, time_t until)
{
  char day[32];
  struct tm tm;
  bool over = until <= time(NULL);
  if (p->options.tls_cert && until - time(NULL) < WARN_DAYS * 86400L &&
      strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&until, &tm)) > 0)
    tell(p, over ? "the certificate in %s has expired at %s" : "the certificate in %s is valid until %s",
         p->options.tls_cert, day);
}

static int take_key(struct program *p, const struct files *files)
{
  if (!files->key || strcmp(files->key, p->files.key) == 0)
    return 0;
  int error = router_set_key(p->router, files->key);
  if (!error)
    tell(p, "the key that is in use is the one in %s now", p->options.key);
  return error ? error : 1;
}

static int take_certificate(struct program *p, const struct files *files)
{
  if (!files->cert || (strcmp(files->cert, p->files.cert) == 0 && strcmp(files->cert_key, p->files.cert_key) == 0))
    return 0;
  int error = router_set_certificate(p->router, files->cert, files->cert_key);
  if (error)
    return error;
  tell(p, "the certificate that is in use is the one in %s now", p->options.tls_cert);
  tell_end_of_certificate(p, files->cert_until);
  return 1;
}

static void take_files(struct program *p, struct files *files, bool asked)
{
  int key = take_key(p, files), cert = take_certificate(p, files);
  if (key < 0 || cert < 0) {
    tell(p, "memory is short: the former contents stay in use");
    return;
  }
  if (key + cert == 0 && asked)
    tell(p, "SIGHUP: nothing has changed");
  struct files former = p->files;
  p->files = *files;
  *files = former;
  if (key + cert > 0)
    renew_gate(p);
}

static void files_were_read(struct files *files, const char *why, bool asked, void *arg)
{
  struct program *p = arg;
  if (p->over)
    return;
  if (why)
    tell(p, "%s; the former contents stay in use", why);
  else
    take_files(p, files, asked);
  if (asked && !p->ending)
    notify_say(&p->notify, "READY", "1");
}

static bool hangup_asks(void *arg)
{
  struct program *p = arg;
  if (hangup_is_end(&p->hangup)) {
    rpc_queue_post(p->queue, on_signal, p);
    return false;
  }
  notify_say(&p->notify, "RELOADING", "1");
  return true;
}

static void watch_files(struct program *p)
{
  const struct reload_options options = {.queue = p->queue,
                                         .options = &p->options,
                                         .loaded = p->marks,
                                         .poll_ms = POLL_MS,
                                         .read = files_were_read,
                                         .asks = hangup_asks,
                                         .arg = p};
  int error = reload_start(&p->reload, &options);
  if (error)
    tell(p, "cannot read the files anew when they change: %s", strerror(-error));
}

/* A file system that does not answer may hold up that thread, but not the end of the program. */
static void stop_watching_files(struct program *p)
{
  if (p->reload && !reload_stop(p->reload))
    _exit(EXIT_SUCCESS);
}

/* ---- Serving ---- */

/* Why an address cannot be had. */
static const char *listen_trouble(const char *listen, int error)
{
  struct addrinfo *found = NULL;
  if (listen[0] == '[' || error != -EADDRNOTAVAIL)
    return strerror(-error);
  char *host = strndup(listen, strcspn(listen, ":"));
  bool unknown = host && getaddrinfo(host, NULL, NULL, &found) != 0;
  free(host);
  if (found)
    freeaddrinfo(found);
  return unknown ? "the host name does not resolve" : strerror(-error);
}

static int serve(struct program *p)
{
  struct router_config config = {
      .server = {.address = p->options.listen, .cert_pem = p->files.cert, .key_pem = p->files.cert_key},
      .streams = p->options.streams,
      .key = p->files.key,
      .grants = {.domain = p->options.domain,
                 .own = p->options.own_domains,
                 .first_port = p->options.first_port,
                 .last_port = p->options.last_port},
      .limits = router_limits_default(),
      .log = say,
      .log_arg = p,
  };
  config.limits.stream_age_ms = (uint64_t)p->options.stream_age_s * 1000;
  struct router_ports ports = {.refused = p->options.listen};
  int error = router_start(&p->router, p->queue, &config, &ports);
  if (error) {
    if (error == -EINVAL && p->files.cert)
      return fail(p, error, "cannot use %s and %s as a certificate and its private key, both PEM", p->options.tls_cert,
                  p->options.tls_key);
    return fail(p, error, "cannot listen on %s: %s", ports.refused, listen_trouble(ports.refused, error));
  }
  tell_listening(p, &ports);
  int status = start_gate(p, ports.port);
  pthread_t waiter;
  error = status ? 0 : pthread_create(&waiter, NULL, wait_for_signals, p);
  if (error)
    status = fail(p, -error, "cannot start: %s", strerror(error));
  if (status) {
    gatekeeper_end(&p->gate);
    router_drain(p->router, on_done, p);
  } else {
    watch_files(p);
  }
  router_admit(p->router);
  rpc_queue_run(p->queue);
  stop_watching_files(p);
  gatekeeper_close(&p->gate);
  if (!status) {
    pthread_kill(waiter, NO_MORE_SIGNALS);
    pthread_join(waiter, NULL);
  }
  return status;
}

/* Each connection from a machine takes a descriptor. */
static void descriptors_raise(void)
{
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

static int run(struct program *p)
{
  char why[FILES_WHY_MAX];
  p->marks = files_look(&p->options);
  int error = files_read(&p->files, &p->options, why);
  if (error)
    return fail(p, error, "%s", why);
  tell_end_of_certificate(p, p->files.cert_until);
  error = fork_gatekeeper(p);
  if (error)
    return fail(p, error, "cannot start: %s", strerror(-error));
  descriptors_raise();
  signals_prepare(p);
  error = rpc_queue_create(&p->queue);
  if (error)
    return fail(p, error, "cannot start: %s", strerror(-error));
  int status = serve(p);
  rpc_queue_free(p->queue);
  return status;
}

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = standard_open;

int main(int argc, char **argv)
{
  static struct program p;
  char why[WHY_MAX], usage[4096];
  standard_signals();
  heap_keep();
  notify_open(&p.notify);
  if (router_options_parse(&p.options, argc, (const char *const *)argv, getenv("PORT"), why, sizeof why) != 0) {
    fprintf(stderr, "mmrouter: %s\n", why);
    notify_say(&p.notify, "STATUS", "%s", why);
    return EXIT_FINAL;
  }
  if (p.options.version) {
    puts("mmrouter " MM_VERSION);
    return EXIT_SUCCESS;
  }
  if (p.options.help) {
    router_options_usage(usage, sizeof usage);
    fputs(usage, stdout);
    return EXIT_SUCCESS;
  }
  int status = run(&p);
  files_free(&p.files);
  notify_close(&p.notify);
  return status;
}
