/* An error that may pass is tried again: an unattended machine should come back by itself. */
#include "exit_status.h"

#include <errno.h>
#include <stddef.h>

/* A wrong option, file, mountpoint or permission stays wrong. */
static const int final[] = {
    EINVAL,  ENOENT, ENOTDIR, EISDIR,       EACCES, EPERM,           ENOTEMPTY,  ELOOP, ENAMETOOLONG,
    EBADMSG, EFBIG,  EILSEQ,  EAFNOSUPPORT, EROFS,  EPROTONOSUPPORT, EPROTOTYPE, ENXIO, ENOTSUP,
};

int exit_status(int error)
{
  if (error == 0)
    return 0;
  for (size_t i = 0; i < sizeof final / sizeof *final; i++)
    if (error == -final[i])
      return EXIT_FINAL;
  return EXIT_AGAIN;
}
