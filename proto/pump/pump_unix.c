/* A unix socket knows no reset but one: when it is closed, by us or because this process is killed, its peer hears of
 * one if there are bytes that it sent and we have not read. So the last byte that came stays unread in the kernel,
 * while a copy of it goes on its way, until the end is orderly.
 *
 * That keeps the peer's whole last write charged to it, which must not make it believe that there is no room: so it is
 * only done after small ones. What is unread keeps the socket readable, too: so it is not asked whether it is, but
 * what comes is (EPOLLET).
 */
#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "pump_internal.h"

enum {
  WRITE_MAX = 704
}; /* it takes 1,280 bytes of the kernel's, and even a send buffer of 8 KiB counts as empty with it */

bool pump_unix_is(int fd)
{
  int domain = 0;
  socklen_t size = sizeof domain;
  return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

/* Bytes that came and were not read yet. */
static size_t fresh(const struct pump *p)
{
  int there = 0, read = p->up.held;
  if (ioctl(p->fd, FIONREAD, &there) != 0 || there < read)
    return 0;
  return (size_t)(there - read);
}

/* What follows the bytes that came: 0, the end; or -1 with errno. */
static ssize_t what_follows(const struct pump *p)
{
  struct pollfd end = {.fd = p->fd, .events = POLLRDHUP};
  int error = 0;
  socklen_t size = sizeof error;
  if (poll(&end, 1, 0) != 1 || fresh(p) > 0) {
    errno = EAGAIN;
    return -1;
  }
  if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error != 0) {
    errno = error;
    return -1;
  }
  return 0;
}

static void take_held(struct pump *p)
{
  char byte;
  if (p->up.held)
    recv(p->fd, &byte, 1, MSG_DONTWAIT);
  p->up.held = false;
}

ssize_t pump_unix_read(struct pump *p, void *room, size_t size)
{
  size_t count = fresh(p);
  if (count == 0)
    return what_follows(p);
  take_held(p);
  if (!p->up.holds || count > WRITE_MAX || count > size)
    return recv(p->fd, room, size, MSG_DONTWAIT);
  ssize_t n = count > 1 ? recv(p->fd, room, count - 1, MSG_DONTWAIT) : 0; /* less, if descriptors came with it */
  if (n < 0)
    return n;
  ssize_t last = recv(p->fd, (char *)room + n, 1, MSG_PEEK | MSG_DONTWAIT);
  p->up.held = last == 1;
  return n + (last == 1);
}

void pump_unix_let_go(struct pump *p)
{
  p->up.holds = false;
  take_held(p);
}
