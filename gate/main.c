/* mmgate: HTTP from outside, by names, to services. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "carry/net/address.h"
#include "carry/settings/settings.h"
#include "gate.h"
#include "gate/paths/sites.h"
#include "proto/host/exit_status.h"
#include "proto/host/heap.h"
#include "proto/host/log_line.h"
#include "proto/host/standard.h"

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = standard_open;

enum { DRAIN_MS = 60000, SIGNALS = 2 };

struct program {
  uv_loop_t loop;
  uv_signal_t signals[SIGNALS];
  uv_timer_t timer; /* of the drain */
  struct gate *gate;
  struct sites *sites;
  enum log_line_style style;
  bool draining, ending;
  int status;
};

struct arguments {
  struct settings settings;
  struct address http;
  struct sites *sites;
};

static const char usage[] =
    "usage: mmgate [-o opt,...] [--http ADDRESS] [--domain DOMAIN] [--route HOST[/PATH]=SERVICE]... ROUTER\n"
    "\n"
    "Takes HTTP requests, and passes each on to a service through the mmrouter at ROUTER, which is HOST, HOST:PORT or\n"
    "[V6]:PORT (port 443; on loopback 7000).\n"
    "\n"
    "  --http ADDRESS     where to listen: PORT (localhost), HOST:PORT, [V6]:PORT or unix:/PATH; 8080\n"
    "  --domain DOMAIN    requests for NAME.DOMAIN are for the service NAME\n"
    "  --route HOST[/PATH]=SERVICE\n"
    "                     requests for HOST, below PATH, are for SERVICE; the longest path wins\n"
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

static void listening(const char *address, void *arg)
{
  char sentence[GATE_WHY_MAX];
  snprintf(sentence, sizeof sentence, "listening on %s", address);
  say(sentence, arg);
}

/* ---- The end ---- */

static void closed(void *arg)
{
  struct program *p = arg;
  for (int i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t *)&p->signals[i], NULL);
  uv_close((uv_handle_t *)&p->timer, NULL);
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

static void signalled(uv_signal_t *handle, int number)
{
  struct program *p = handle->data;
  (void)number;
  if (p->draining) {
    end(p);
    return;
  }
  p->draining = true;
  uv_timer_start(&p->timer, drained_or_not, DRAIN_MS, 0);
  if (p->gate != NULL)
    gate_drain(p->gate, end_soon, p);
}

/* ---- The beginning ---- */

static int open_loop(struct program *p)
{
  static const int numbers[SIGNALS] = {SIGINT, SIGTERM};
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

static int serve(const struct arguments *a)
{
  static const struct gate_events events = {.listening = listening, .says = say, .failed = failed};
  struct program p = {.style = log_line_style(STDERR_FILENO)};
  char why[GATE_WHY_MAX];
  int error = open_loop(&p);

  if (error != 0) {
    fprintf(stderr, "mmgate: %s\n", strerror(-error));
    return exit_status(error);
  }
  error = gate_open(&p.gate, &p.loop, &a->settings, &a->http, a->sites, &events, &p, why);
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

enum { OPTION_HTTP = 256, OPTION_DOMAIN, OPTION_ROUTE };

static int take(struct option_list *list, struct arguments *a, int letter)
{
  const char *why;
  int error;

  switch (letter) {
  case OPTION_HTTP:
    if (address_parse_listener(optarg, &a->http, &why) != 0)
      return option_refuse(list, "--http \"%.100s\": %s", optarg, why);
    return 0;
  case OPTION_DOMAIN:
    return sites_set_domain(a->sites, optarg) == 0 ? 0 : option_out_of_memory(list);
  case OPTION_ROUTE:
    error = sites_add_text(a->sites, optarg);
    if (error == -EINVAL)
      return option_refuse(list, "--route \"%.100s\": HOST=SERVICE or HOST/PATH=SERVICE is wanted", optarg);
    return error == 0 ? 0 : option_out_of_memory(list);
  case 'o':
    return option_list_take(list, optarg);
  default:
    return option_refuse(list, "mmgate --help lists the options");
  }
}

/* 0, or a negative errno with a sentence. *letter is that of the option after which nothing is served, or -1. */
static int parse(int argc, char *argv[], struct option_list *list, struct arguments *a, int *letter)
{
  static const struct option longer[] = {{"help", no_argument, NULL, 'h'},
                                         {"version", no_argument, NULL, 'V'},
                                         {"http", required_argument, NULL, OPTION_HTTP},
                                         {"domain", required_argument, NULL, OPTION_DOMAIN},
                                         {"route", required_argument, NULL, OPTION_ROUTE},
                                         {0}};
  int error = 0;

  while (error == 0 && (*letter = getopt_long(argc, argv, "o:hV", longer, NULL)) != -1) {
    if (*letter == 'h' || *letter == 'V')
      return 0;
    error = take(list, a, *letter);
  }
  if (error == 0 && argc - optind != 1)
    return option_refuse(list, "ROUTER is wanted: mmgate [options] ROUTER");
  return error == 0 ? settings_settle(list, argv[optind]) : error;
}

int main(int argc, char *argv[])
{
  struct arguments a = {.http = {.kind = ADDRESS_TCP, .host = "localhost", .port = 8080}};
  char why[OPTION_WHY_MAX];
  struct option_list list = {.program = "mmgate", .settings = &a.settings, .why = why};
  int letter = -1, status = 0;

  standard_signals();
  heap_keep();
  settings_default(&a.settings);
  a.sites = sites_create();
  int error = a.sites != NULL ? parse(argc, argv, &list, &a, &letter) : option_out_of_memory(&list);
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
  sites_free(a.sites);
  settings_free(&a.settings);
  return status;
}
