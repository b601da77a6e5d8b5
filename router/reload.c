/* The thread sleeps in sigtimedwait, which both a signal and the time end. */
#include "reload.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proto/rpc/rpc.h"

enum { END_S = 1 };

struct reload {
  struct reload_options options;
  struct files_marks latest; /* at the last look */
  pthread_t thread;
};

/* What was read, on its way to the loop. */
struct reading {
  void (*read)(struct files *files, const char *why, bool asked, void *arg);
  void *arg;
  struct files files;
  bool bad, asked;
  char why[FILES_WHY_MAX];
};

static void reading_free(struct reading *reading)
{
  files_free(&reading->files);
  free(reading);
}

static void on_read(void *arg)
{
  struct reading *reading = arg;
  reading->read(&reading->files, reading->bad ? reading->why : NULL, reading->asked, reading->arg);
  reading_free(reading);
}

/* When memory is short, or it is too late, the files count as not changed yet. */
static void read_files(struct reload *r, bool asked)
{
  struct files_marks now = files_look(r->options.options);
  struct reading *reading = calloc(1, sizeof *reading);
  if (!reading)
    return;
  reading->read = r->options.read;
  reading->arg = r->options.arg;
  reading->asked = asked;
  reading->bad = files_read(&reading->files, r->options.options, reading->why) != 0;
  if (rpc_queue_post(r->options.queue, on_read, reading) != 0)
    reading_free(reading);
  else
    r->options.loaded = r->latest = now;
}

static void look(struct reload *r)
{
  struct files_marks before = r->latest;
  r->latest = files_look(r->options.options);
  if (files_same(&before, &r->latest) && !files_same(&r->options.loaded, &r->latest))
    read_files(r, false);
}

static void *watch(void *arg)
{
  struct reload *r = arg;
  const struct timespec poll = {.tv_sec = (time_t)(r->options.poll_ms / 1000),
                                .tv_nsec = (long)(r->options.poll_ms % 1000) * 1000000};
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGHUP);
  sigaddset(&signals, RELOAD_END);
  for (;;) {
    siginfo_t info;
    int number = sigtimedwait(&signals, &info, &poll);
    if (number == RELOAD_END && info.si_pid == getpid())
      return NULL;
    if (number == SIGHUP && r->options.asks(r->options.arg))
      read_files(r, true);
    else if (number < 0 && errno == EAGAIN)
      look(r);
  }
}

int reload_start(struct reload **out, const struct reload_options *options)
{
  struct reload *r = calloc(1, sizeof *r);
  if (!r)
    return -ENOMEM;
  r->options = *options;
  r->latest = options->loaded;
  int error = pthread_create(&r->thread, NULL, watch, r);
  if (error) {
    free(r);
    return -error;
  }
  *out = r;
  return 0;
}

bool reload_stop(struct reload *r)
{
  struct timespec end;
  clock_gettime(CLOCK_REALTIME, &end);
  end.tv_sec += END_S;
  pthread_kill(r->thread, RELOAD_END);
  if (pthread_timedjoin_np(r->thread, NULL, &end) != 0)
    return false;
  free(r);
  return true;
}
