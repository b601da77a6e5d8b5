/* mmfs: reads the command line, and lets the daemon do the rest. */
#include <stdio.h>

#include "daemon.h"
#include "daemon/start/options.h"
#include "proto/host/exit_status.h"
#include "proto/host/heap.h"
#include "proto/host/notify.h"
#include "proto/host/standard.h"

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = standard_open;

int main(int argc, char *argv[])
{
  struct mmfs_options options;
  struct notify notify;
  char why[OPTIONS_WHY_MAX];
  int status = 0;
  standard_signals();
  heap_keep();
  notify_open(&notify);
  int err = options_parse(&options, argc, (const char *const *)argv, why);

  if (err != 0) {
    fprintf(stderr, "mmfs: %s\n", why);
    notify_say(&notify, "STATUS", "%s", why);
    status = exit_status(err);
  } else if (options.action == MMFS_HELP) {
    fputs(options_usage(), stdout);
  } else if (options.action == MMFS_VERSION) {
    puts("mmfs " MM_VERSION);
  } else if (options.action == MMFS_MOUNT) {
    status = daemon_run(&options, &notify);
  }
  options_free(&options);
  notify_close(&notify);
  return status;
}
