/* mmfs: reads the command line, and lets the daemon do the rest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon.h"
#include "options.h"
#include "proto/heap.h"

/* Who started us may have closed some of them. The next files to be opened would take their places, and the log would
 * be written into one of those. Before the constructors of libraries, which open files, too. */
static void open_standard(void)
{
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
      _exit(EXIT_FAILURE);
}

__attribute__((section(".preinit_array"), used)) static void (*const early)(void) = open_standard;

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
