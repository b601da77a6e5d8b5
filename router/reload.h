/* Reads the files anew, on a thread of its own: at SIGHUP, and when they are others and have stayed so for a moment, so
 * that what is written file by file is read when it is whole. */
#ifndef ROUTER_RELOAD_H
#define ROUTER_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "files.h"

struct reload;
struct rpc_queue;

struct reload_options {
  struct rpc_queue *queue;
  const struct options *options;
  struct files_marks loaded; /* taken before they were read for the first time */
  uint64_t poll_ms;
  /* On the queue's home thread. What is left in `files` is freed; `why` is NULL, or a sentence: they cannot be used.
   * `asked`: by a signal. */
  void (*read)(struct files *files, const char *why, bool asked, void *arg);
  /* On the thread that reads: SIGHUP came. False: it does not ask for this. */
  bool (*asks)(void *arg);
  void *arg;
};

/* SIGHUP and RELOAD_END must be blocked in all threads. 0 or a negative errno. */
int reload_start(struct reload **out, const struct reload_options *options);
/* Waits for the thread, which may be held up by a file system: not for longer than a second. False: it goes on, and
 * what the options point to must stay. */
bool reload_stop(struct reload *r);

#define RELOAD_END SIGUSR1

#endif
