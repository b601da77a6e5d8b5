/* mmfs: reads the command line, and lets the daemon do the rest. */
#include <errno.h>
#include <stdio.h>

#include "daemon.h"
#include "options.h"
#include "proto/heap.h"
#include "proto/standard.h"

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = standard_open;

int main(int argc, char *argv[])
{
  struct mmfs_options options;
  char why[OPTIONS_WHY_MAX];
  int status = 0;
  heap_keep();
  int err = options_parse(&options, argc, (const char *const *)argv, why);

  if (err != 0) {
    fprintf(stderr, "mmfs: %s\n", why);
    status = err == -EINVAL ? 2 : 1;
  } else if (options.action == MMFS_HELP) {
    fputs(options_usage(), stdout);
  } else if (options.action == MMFS_VERSION) {
    puts("mmfs " MM_VERSION);
  } else if (options.action == MMFS_MOUNT) {
    status = daemon_run(&options);
  }
  options_free(&options);
  return status;
}
