#include "parent.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void readable(uv_poll_t *handle, int status, int events)
{
  struct parent *p = handle->data;
  char bytes[16];
  ssize_t n = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT);
  (void)status;
  (void)events;
  if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
    return;
  parent_close(p);
  p->gone(p->arg);
}

int parent_open(struct parent *p, uv_loop_t *loop, int fd, void (*gone)(void *arg), void *arg)
{
  *p = (struct parent){.fd = -1, .gone = gone, .arg = arg};
  if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return -errno;
  int error = uv_poll_init_socket(loop, &p->poll, fd);
  if (error != 0) {
    close(fd);
    return error;
  }
  p->poll.data = p;
  p->fd = fd;
  return uv_poll_start(&p->poll, UV_READABLE, readable);
}

void parent_tell_listening(struct parent *p)
{
  if (p->fd >= 0)
    (void)send(p->fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void parent_close(struct parent *p)
{
  if (p->fd < 0)
    return;
  uv_close((uv_handle_t *)&p->poll, NULL);
  close(p->fd);
  p->fd = -1;
}
