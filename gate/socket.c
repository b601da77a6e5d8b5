#include "socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_ready(struct poller_watch *w, uint32_t events)
{
  struct gate_socket *s = (struct gate_socket *)w;
  const uint32_t over = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

  s->readable |= (events & (EPOLLIN | over)) != 0;
  s->writable |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
  s->hung_up |= (events & over) != 0;
  s->ready(s);
}

int gate_socket_open(struct gate_socket *s, struct poller *poller, int fd, void (*ready)(struct gate_socket *s))
{
  *s = (struct gate_socket){
      .watch = {.ready = on_ready}, .poller = poller, .fd = fd, .readable = true, .writable = true, .ready = ready};
  int error = poller_add(poller, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &s->watch);
  if (error != 0) {
    close(fd);
    s->fd = -1;
  }
  return error;
}

size_t gate_socket_read(struct gate_socket *s, char *into, size_t size)
{
  if (!s->readable || s->ended || s->read_error != 0)
    return 0;
  ssize_t n = recv(s->fd, into, size, 0);
  if (n > 0) {
    /* What comes after a short read is an edge; an end that is known already is none. */
    s->readable = (size_t)n == size || s->hung_up;
    return (size_t)n;
  }
  if (n == 0)
    s->ended = true;
  else if (errno == EAGAIN || errno == EINTR)
    s->readable = errno == EINTR;
  else
    s->read_error = errno;
  return 0;
}

bool gate_socket_flush(struct gate_socket *s)
{
  while (http1_out_waiting(&s->out) > 0 && s->writable && s->write_error == 0) {
    ssize_t n = send(s->fd, s->out.bytes + s->out.at, http1_out_waiting(&s->out), MSG_NOSIGNAL);
    if (n >= 0)
      http1_out_drop(&s->out, (size_t)n);
    else if (errno == EAGAIN)
      s->writable = false;
    else if (errno != EINTR)
      s->write_error = errno;
  }
  if (s->out.failed && s->write_error == 0)
    s->write_error = ENOMEM;
  return http1_out_waiting(&s->out) == 0 && s->write_error == 0;
}

void gate_socket_shut(struct gate_socket *s)
{
  if (!s->shut)
    shutdown(s->fd, SHUT_WR);
  s->shut = true;
}

int gate_socket_trouble(struct gate_socket *s)
{
  int error = 0;
  if (s->read_error != 0)
    return s->read_error;
  if (s->hung_up && !s->ended)
    getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error});
  if (error != 0)
    s->read_error = error;
  return error;
}

void gate_socket_close(struct gate_socket *s, bool reset)
{
  http1_out_free(&s->out);
  if (s->fd < 0)
    return;
  if (reset)
    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
  poller_remove(s->poller, s->fd, &s->watch);
  close(s->fd);
  s->fd = -1;
}
