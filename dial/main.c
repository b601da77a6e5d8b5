/* mmdial: one connection to a service, over standard input and output. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "carry/host/call.h"
#include "carry/net/address.h"
#include "carry/settings/settings.h"
#include "proto/host/exit_status.h"
#include "proto/host/heap.h"
#include "proto/host/standard.h"

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = standard_open;

enum { HUNG_UP_MS = 1000, END_MS = 5000, SIGNALS = 3 };

struct program {
  uv_loop_t loop;
  uv_signal_t signals[SIGNALS];
  uv_timer_t timer; /* hung up: until it is ended; ending: until that is given up */
  struct call *call;
  const char *service;
  bool ending;
  int status;
};

static const char usage[] =
    "usage: mmdial [-o opt,...] ROUTER SERVICE\n"
    "\n"
    "Dials SERVICE through the mmrouter at ROUTER, which is HOST, HOST:PORT or [V6]:PORT (port 443;\n"
    "on loopback 7000). Sends standard input to the service, and writes its output to standard output.\n"
    "\n"
    "  -o opt,...         options, see below\n"
    "  -h, --help         print this\n"
    "  -V, --version      print the version\n"
    "\n"
    "options:\n" SETTINGS_HELP "\n"
    "A comma in FILE is written \\,\n";

/* ---- The end ---- */

static void closed(void *arg)
{
  struct program *p = arg;

  for (int i = 0; i < SIGNALS; i++)
    uv_close((uv_handle_t *)&p->signals[i], NULL);
  uv_close((uv_handle_t *)&p->timer, NULL);
}

static void given_up(uv_timer_t *timer)
{
  _exit(((struct program *)timer->data)->status);
}

static void end(struct program *p, int status)
{
  if (p->ending)
    return;
  p->ending = true;
  p->status = status;
  uv_timer_start(&p->timer, given_up, END_MS, 0);
  if (p->call != NULL)
    call_close(p->call, closed, p);
  else
    closed(p);
}

static void over(const char *why, void *arg)
{
  struct program *p = arg;

  if (why != NULL)
    fprintf(stderr, "mmdial: %s: %s\n", p->service, why);
  end(p, why != NULL ? EXIT_AGAIN : 0);
}

static void hung_up_for_long(uv_timer_t *timer)
{
  end(timer->data, EXIT_AGAIN);
}

/* ssh hangs up as soon as it has ended our input: what it said last is still to go, and the end is to be orderly. */
static void signalled(uv_signal_t *handle, int number)
{
  struct program *p = handle->data;

  if (p->ending)
    _exit(p->status);
  if (number != SIGHUP)
    end(p, EXIT_AGAIN);
  else if (!uv_is_active((uv_handle_t *)&p->timer))
    uv_timer_start(&p->timer, hung_up_for_long, HUNG_UP_MS, 0);
}

/* ---- The beginning ---- */

static int open_loop(struct program *p)
{
  static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction now;
  int error = uv_loop_init(&p->loop);

  if (error == 0)
    error = uv_timer_init(&p->loop, &p->timer);
  p->timer.data = p;
  for (int i = 0; i < SIGNALS && error == 0; i++) {
    bool ignored = sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == SIG_IGN;
    error = uv_signal_init(&p->loop, &p->signals[i]);
    p->signals[i].data = p;
    if (error == 0 && !ignored)
      error = uv_signal_start(&p->signals[i], signalled, numbers[i]);
  }
  return error;
}

static int dial(const struct settings *settings, const char *service)
{
  struct program p = {.service = service};
  char why[CALL_WHY_MAX];
  int error = open_loop(&p);

  if (error != 0) {
    fprintf(stderr, "mmdial: %s\n", strerror(-error));
    return exit_status(error);
  }
  error = call_open(&p.call, &p.loop, settings, service, STDIN_FILENO, STDOUT_FILENO, over, &p, why);
  if (error != 0) {
    fprintf(stderr, "mmdial: %s\n", why);
    end(&p, exit_status(error));
  } else {
    call_run(p.call);
  }
  uv_run(&p.loop, UV_RUN_DEFAULT);
  uv_loop_close(&p.loop);
  return p.status;
}

/* ---- The command line ---- */

/* 0, or a negative errno with a sentence. *letter is that of the option after which nothing is dialled, or -1. */
static int parse(int argc, char *argv[], struct option_list *list, int *letter)
{
  static const struct option longer[] = {{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
  const char *why;
  int error = 0;

  while (error == 0 && (*letter = getopt_long(argc, argv, "o:hV", longer, NULL)) != -1) {
    if (*letter != 'o')
      return *letter == '?' ? option_refuse(list, "mmdial --help lists the options") : 0;
    error = option_list_take(list, optarg);
  }
  if (error == 0 && argc - optind != 2)
    return option_refuse(list, "ROUTER and SERVICE are wanted: mmdial [-o opt,...] ROUTER SERVICE");
  if (error == 0)
    error = settings_settle(list, argv[optind]);
  if (error == 0 && service_name_check(argv[optind + 1], &why) != 0)
    return option_refuse(list, "service \"%.100s\": %s", argv[optind + 1], why);
  return error;
}

int main(int argc, char *argv[])
{
  struct settings settings;
  char why[OPTION_WHY_MAX];
  struct option_list list = {.program = "mmdial", .settings = &settings, .why = why};
  int letter, status = 0;

  standard_signals();
  heap_keep();
  settings_default(&settings);
  int error = parse(argc, argv, &list, &letter);
  if (error != 0) {
    fprintf(stderr, "mmdial: %s\n", why);
    status = exit_status(error);
  } else if (letter == 'h') {
    fputs(usage, stdout);
  } else if (letter == 'V') {
    puts("mmdial " MM_VERSION);
  } else {
    status = dial(&settings, argv[optind + 1]);
  }
  settings_free(&settings);
  return status;
}
