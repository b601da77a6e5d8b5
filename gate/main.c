/* mmgate: HTTP from outside, by names, to services. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "carry/settings/settings.h"
#include "gate.h"
#include "gate/paths/trust.h"
#include "parent.h"
#include "proto/host/activation.h"
#include "proto/host/exit_status.h"
#include "proto/host/hangup.h"
#include "proto/host/heap.h"
#include "proto/host/log_line.h"
#include "proto/host/standard.h"

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = standard_open;

enum {
  DRAIN_MS = 60000,
  ORPHAN_MS = 600000,        /* without a router, a gate whose router was killed */
  ORPHAN_DRAIN_MS = 3600000, /* and once there is another one: nobody has asked for an end of what is under way */
  SIGNALS = 3,
};

struct program {
  uv_loop_t loop;
  uv_signal_t signals[SIGNALS];
  uv_timer_t timer; /* of the drain */
  struct hangup hangup;
  struct parent parent;
  bool has_parent, orphan;
  bool alone; /* no other gate can listen where this one does */
  struct gate *gate;
  enum log_line_style style;
  bool draining, ending;
  int status;
};

struct arguments {
  struct settings settings;
  struct address http, https;
  struct gate_options gate;
  struct trust trust;
  int parent; /* the router's descriptor, which started this gate; -1: it did not */
  bool json;
};

static const char usage[] =
    "usage: mmgate [-o opt,...] [--http ADDRESS] [--https ADDRESS --certs DIR] [--acme-webroot DIR]\n"
    "              [--public http[s][:PORT]] [--trust NETWORKS] ROUTER\n"
    "\n"
    "Takes HTTP requests, and passes each on to the service whose public name it asks for, through the mmrouter at\n"
    "ROUTER, which is HOST, HOST:PORT or [V6]:PORT (port 443; on loopback 7000).\n"
    "\n"
    "  --http ADDRESS     where to listen: PORT (localhost), HOST:PORT, [V6]:PORT or unix:/PATH; 8080,\n"
    "                     if there is no --https\n"
    "  --https ADDRESS    the same for TLS\n"
    "  --certs DIR        the certificates and their keys, PEM; they are read anew when they change\n"
    "  --acme-webroot DIR where certbot and the like put their challenges\n"
    "  --public http[s][:PORT]\n"
    "                     what visitors type, where a front stands before the gate; may be given for both\n"
    "  --trust NETWORKS   fronts whose word is taken for who the client is: 10.0.0.0/8,unix; may be given again\n"
    "  --log text|json    how lines of the log look\n"
    "  -o opt,...         options, see below\n"
    "  -h, --help         print this\n"
    "  -V, --version      print the version\n"
    "\n"
    "options:\n" SETTINGS_HELP "\n"
    "A comma in FILE is written \\,\n";

/* ---- What is told ---- */

static void say(const char *sentence, void *arg)
{
  struct program *p = arg;
  char line[LOG_LINE_MAX];
  size_t size = log_line_write(line, p->style, "mmgate", time(NULL), sentence);
  (void)!write(STDERR_FILENO, line, size);
}

static void listening(const char *address, bool https, void *arg)
{
  struct program *p = arg;
  char sentence[GATE_WHY_MAX];
  snprintf(sentence, sizeof sentence, "listening on %s%s", address, https ? ", https" : "");
  say(sentence, arg);
  if (p->has_parent)
    parent_tell_listening(&p->parent);
}

/* ---- The end ---- */

static void closed(void *arg)
{
  struct program *p = arg;
  for (int i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t *)&p->signals[i], NULL);
  uv_close((uv_handle_t *)&p->timer, NULL);
  if (p->has_parent)
    parent_close(&p->parent);
}

static void end(void *arg)
{
  struct program *p = arg;
  if (p->ending)
    return;
  p->ending = true;
  uv_timer_stop(&p->timer);
  if (p->gate != NULL)
    gate_close(p->gate, closed, p);
  else
    closed(p);
}

static void drained_or_not(uv_timer_t *timer)
{
  end(timer->data);
}

/* From a callback of the gate it cannot be closed. */
static void end_soon(void *arg)
{
  struct program *p = arg;
  uv_timer_start(&p->timer, drained_or_not, 0, 0);
}

static void failed(int error, const char *why, void *arg)
{
  struct program *p = arg;
  say(why, p);
  p->status = exit_status(error);
  end_soon(p);
}

static void drain(struct program *p, uint64_t ms)
{
  p->draining = true;
  uv_timer_start(&p->timer, drained_or_not, ms, 0);
  if (p->gate != NULL)
    gate_drain(p->gate, end_soon, p);
}

static void signalled(uv_signal_t *handle, int number)
{
  struct program *p = handle->data;
  if (number == SIGHUP && !hangup_is_end(&p->hangup)) {
    if (p->gate != NULL)
      gate_reload(p->gate);
    return;
  }
  if (p->draining) {
    end(p);
    return;
  }
  drain(p, DRAIN_MS);
}

/* ---- The router that started it ---- */

static void nobody_came(uv_timer_t *timer)
{
  struct program *p = timer->data;
  say("ends: its router was killed, and there is no other one", p);
  drain(p, DRAIN_MS);
}

/* Killed, or else we would have been told to end. Visitors come and stay as before, until there is another router,
 * whose gate listens then. */
static void parent_gone(void *arg)
{
  struct program *p = arg;
  if (p->draining)
    return;
  p->orphan = true;
  if (p->alone)
    drain(p, ORPHAN_DRAIN_MS);
  else
    uv_timer_start(&p->timer, nobody_came, ORPHAN_MS, 0);
}

static void reached(void *arg)
{
  struct program *p = arg;
  if (!p->orphan || p->draining)
    return;
  say("makes way for the gate of the next router", p);
  drain(p, ORPHAN_DRAIN_MS);
}

/* ---- The beginning ---- */

static int open_loop(struct program *p)
{
  static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
  hangup_prepare(&p->hangup);
  int error = uv_loop_init(&p->loop);

  if (error == 0)
    error = uv_timer_init(&p->loop, &p->timer);
  p->timer.data = p;
  for (int i = 0; i < SIGNALS && error == 0; i++) {
    error = uv_signal_init(&p->loop, &p->signals[i]);
    p->signals[i].data = p;
    if (error == 0)
      error = uv_signal_start(&p->signals[i], signalled, numbers[i]);
  }
  return error;
}

static bool is_alone(const struct gate_entry *e)
{
  return e->address != NULL && e->address->kind == ADDRESS_UNIX && e->given_count == 0;
}

static int serve(const struct arguments *a)
{
  static const struct gate_events events = {.listening = listening, .reached = reached, .says = say, .failed = failed};
  struct program p = {.style = a->json ? LOG_LINE_JSON : log_line_style(STDERR_FILENO)};
  char why[GATE_WHY_MAX];
  int error = open_loop(&p);

  p.alone = is_alone(&a->gate.http) || is_alone(&a->gate.https);
  p.has_parent = error == 0 && a->parent >= 0;
  if (p.has_parent)
    error = parent_open(&p.parent, &p.loop, a->parent, parent_gone, &p);
  if (error != 0) {
    fprintf(stderr, "mmgate: %s\n", strerror(-error));
    return exit_status(error);
  }
  error = gate_open(&p.gate, &p.loop, &a->gate, &events, &p, why);
  if (error != 0) {
    say(why, &p);
    p.status = exit_status(error);
    end(&p);
  }
  uv_run(&p.loop, UV_RUN_DEFAULT);
  uv_loop_close(&p.loop);
  return p.status;
}

/* ---- The command line ---- */

enum {
  OPTION_HTTP = 256,
  OPTION_HTTPS,
  OPTION_CERTS,
  OPTION_WEBROOT,
  OPTION_PUBLIC,
  OPTION_TRUST,
  OPTION_LOG,
  OPTION_CHILD,
  OPTION_AT,
};

/* http or https, and perhaps a port. */
static int take_public(const char *text, struct gate_options *o)
{
  bool https = strncmp(text, "https", 5) == 0;
  const char *rest = text + (https ? 5 : 4);
  uint64_t port = https ? 443 : 80;

  if (strncmp(text, "http", 4) != 0)
    return -EINVAL;
  if (rest[0] == ':')
    port = settings_seconds(rest + 1, UINT16_MAX);
  else if (rest[0] != '\0')
    return -EINVAL;
  if (port == 0 || port > UINT16_MAX)
    return -EINVAL;
  if (https)
    o->public_https = (uint16_t)port;
  else
    o->public_http = (uint16_t)port;
  return 0;
}

static int take_address(struct option_list *list, const char *option, struct address *room, const struct address **out)
{
  const char *why;
  if (address_parse_listener(optarg, room, &why) != 0)
    return option_refuse(list, "%s \"%.100s\": %s", option, optarg, why);
  *out = room;
  return 0;
}

static int take_at(struct option_list *list, struct settings *s)
{
  const char *why;
  if (address_parse_router(optarg, 0, &s->at, &why) != 0)
    return option_refuse(list, "--at \"%.100s\": %s", optarg, why);
  s->has_at = true;
  return 0;
}

static int take(struct option_list *list, struct arguments *a, int letter)
{
  const char *why;

  switch (letter) {
  case OPTION_HTTP:
    return take_address(list, "--http", &a->http, &a->gate.http.address);
  case OPTION_HTTPS:
    return take_address(list, "--https", &a->https, &a->gate.https.address);
  case OPTION_CERTS:
    a->gate.certs = optarg;
    return 0;
  case OPTION_WEBROOT:
    a->gate.webroot = optarg;
    return 0;
  case OPTION_PUBLIC:
    if (take_public(optarg, &a->gate) != 0)
      return option_refuse(list, "--public \"%.100s\": http, https, http:PORT or https:PORT is wanted", optarg);
    return 0;
  case OPTION_TRUST:
    return trust_add(&a->trust, optarg, &why) == 0 ? 0 : option_refuse(list, "--trust \"%.100s\": %s", optarg, why);
  case OPTION_LOG:
    a->json = strcmp(optarg, "json") == 0;
    return a->json || strcmp(optarg, "text") == 0 ? 0 : option_refuse(list, "--log takes text or json");
  case OPTION_AT:
    return take_at(list, &a->settings);
  case OPTION_CHILD:
    a->parent = (int)settings_seconds(optarg, INT16_MAX);
    return a->parent <= INT16_MAX ? 0 : option_refuse(list, "--child takes a descriptor; it is for mmrouter");
  case 'o':
    return option_list_take(list, optarg);
  default:
    return option_refuse(list, "mmgate --help lists the options");
  }
}

static bool is_served(const struct gate_entry *e)
{
  return e->address != NULL || e->given_count > 0;
}

static int settle_entries(struct option_list *list, struct arguments *a)
{
  struct gate_options *o = &a->gate;

  o->https.given_count = activation_take("https", false, o->https.given, GATE_GIVEN_MAX);
  o->http.given_count = activation_take("https", true, o->http.given, GATE_GIVEN_MAX);
  if (is_served(&o->https) != (o->certs != NULL))
    return option_refuse(list, "--https and --certs are wanted together");
  if (!is_served(&o->http) && !is_served(&o->https))
    o->http.address = &a->http;
  return 0;
}

/* 0, or a negative errno with a sentence. *letter is that of the option after which nothing is served, or -1. */
static int parse(int argc, char *argv[], struct option_list *list, struct arguments *a, int *letter)
{
  static const struct option longer[] = {{"help", no_argument, NULL, 'h'},
                                         {"version", no_argument, NULL, 'V'},
                                         {"http", required_argument, NULL, OPTION_HTTP},
                                         {"https", required_argument, NULL, OPTION_HTTPS},
                                         {"certs", required_argument, NULL, OPTION_CERTS},
                                         {"acme-webroot", required_argument, NULL, OPTION_WEBROOT},
                                         {"public", required_argument, NULL, OPTION_PUBLIC},
                                         {"trust", required_argument, NULL, OPTION_TRUST},
                                         {"log", required_argument, NULL, OPTION_LOG},
                                         {"at", required_argument, NULL, OPTION_AT},
                                         {"child", required_argument, NULL, OPTION_CHILD},
                                         {0}};
  int error = 0;

  while (error == 0 && (*letter = getopt_long(argc, argv, "o:hV", longer, NULL)) != -1) {
    if (*letter == 'h' || *letter == 'V')
      return 0;
    error = take(list, a, *letter);
  }
  if (error == 0 && argc - optind != 1)
    return option_refuse(list, "ROUTER is wanted: mmgate [options] ROUTER");
  if (error == 0)
    error = settle_entries(list, a);
  return error == 0 ? settings_settle(list, argv[optind]) : error;
}

int main(int argc, char *argv[])
{
  struct arguments a = {.http = {.kind = ADDRESS_TCP, .host = "localhost", .port = 8080},
                        .parent = -1,
                        .gate = {.settings = &a.settings, .trust = &a.trust}};
  char why[OPTION_WHY_MAX];
  struct option_list list = {.program = "mmgate", .settings = &a.settings, .why = why};
  int letter = -1, status = 0;

  standard_signals();
  heap_keep();
  settings_default(&a.settings);
  int error = parse(argc, argv, &list, &a, &letter);
  if (error != 0) {
    fprintf(stderr, "mmgate: %s\n", why);
    status = exit_status(error);
  } else if (letter == 'h') {
    fputs(usage, stdout);
  } else if (letter == 'V') {
    puts("mmgate " MM_VERSION);
  } else {
    status = serve(&a);
  }
  settings_free(&a.settings);
  return status;
}
