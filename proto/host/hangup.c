/* A shell passes its terminal's hang-up on by kill(2), so that the signal itself does not tell; but then the terminal
 * is gone, and cannot be opened any more. */
#include "hangup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

/* 0 or a negative errno. */
static int open_terminal(void)
{
  int fd = open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  close(fd);
  return 0;
}

void hangup_prepare(struct hangup *h)
{
  struct sigaction now;
  bool ignored = sigaction(SIGHUP, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
  h->ends = !ignored && open_terminal() == 0;
}

bool hangup_is_end(const struct hangup *h)
{
  int error = h->ends ? open_terminal() : 0;
  return error == -ENXIO || error == -EIO;
}
