/* The shared state, which the other rooms see only by the functions of the header. */
#include "door.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "callers.h"
#include "proto/host/pace.h"
#include "reply.h"

struct door {
  struct door_config config;
  struct callers *callers;
  struct replies *replies;
  struct pace reports;
  uint64_t opened; /* ms */
  enum door_phase phase;
};

uint64_t door_now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct callers *callers_of(const struct router_limits *limits)
{
  const size_t holds[CALLER_HOLDS] = {
      [CALLER_SERVICES] = limits->services_per_caller,
      [CALLER_STREAMS] = limits->streams_per_caller,
      [CALLER_PARKED] = limits->parked_per_caller,
      [CALLER_WAITING] = limits->waiting_per_caller,
      [CALLER_TOKENS] = limits->tokens_per_caller,
      [CALLER_WATCHERS] = limits->watchers_per_caller,
      [CALLER_JOINED] = 1,
  };
  return callers_open(holds);
}

struct door *door_open(const struct door_config *config)
{
  struct door *d = calloc(1, sizeof *d);
  if (!d)
    return NULL;
  d->config = *config;
  d->opened = door_now();
  d->callers = callers_of(&d->config.limits);
  d->replies = replies_open(&d->config.limits);
  if (d->callers && d->replies)
    return d;
  door_close(d);
  return NULL;
}

void door_close(struct door *d)
{
  if (!d)
    return;
  replies_close(d->replies);
  callers_close(d->callers);
  free(d);
}

struct rpc_queue *door_queue(const struct door *d)
{
  return d->config.queue;
}

const struct router_limits *door_limits(const struct door *d)
{
  return &d->config.limits;
}

struct callers *door_callers(const struct door *d)
{
  return d->callers;
}

struct replies *door_replies(const struct door *d)
{
  return d->replies;
}

uint64_t door_age(const struct door *d)
{
  return door_now() - d->opened;
}

enum door_phase door_phase(const struct door *d)
{
  return d->phase;
}

void door_enter(struct door *d, enum door_phase phase)
{
  d->phase = phase;
}

/* ---- Log ---- */

__attribute__((format(printf, 2, 0))) static void log_write(struct door *d, const char *format, va_list values)
{
  char line[512];
  vsnprintf(line, sizeof line, format, values);
  if (d->config.log)
    d->config.log(d->config.log_arg, line);
}

void door_log(struct door *d, const char *format, ...)
{
  va_list values;
  va_start(values, format);
  log_write(d, format, values);
  va_end(values);
}

void door_report_left_out(struct door *d)
{
  if (d->reports.left_out > 0)
    door_log(d, "%" PRIu64 " lines were left out: callers caused too many at once", d->reports.left_out);
  d->reports.left_out = 0;
}

void door_report(struct door *d, const char *format, ...)
{
  if (!pace_allows(&d->reports, door_now(), d->config.limits.reports, d->config.limits.report_ms))
    return;
  door_report_left_out(d);
  va_list values;
  va_start(values, format);
  log_write(d, format, values);
  va_end(values);
}
