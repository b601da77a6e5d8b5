/* gRPC's listener ends for good, without a word, when accept4 fails otherwise than with EAGAIN or EINTR: also when
 * descriptors or memory are short for a moment, or when a caller is gone before it was accepted. It cannot be told
 * otherwise, but it takes accept4 from where the dynamic linker finds it first, which is here.
 *
 * A connection that cannot be accepted now stays in the backlog. The next one that arrives wakes the listener, which
 * then accepts all that wait. Callers whose handshake is not answered try again, so there is a next one.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): glibc's names are reserved */
int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
  int accepted = (int)syscall(SYS_accept4, fd, address, size, flags);
  if (accepted >= 0)
    return accepted;
  switch (errno) {
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
    errno = EAGAIN;
    break;
  case ECONNABORTED:
  case EPROTO:
  case EPERM: /* a firewall's verdict */
    errno = EINTR;
    break;
  default:
    break;
  }
  return -1;
}
