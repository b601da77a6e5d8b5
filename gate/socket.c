#include "socket.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gate/tls/tls.h"

static void on_ready(struct poller_watch *w, uint32_t events)
{
  struct gate_socket *s = (struct gate_socket *)w;
  const uint32_t over = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

  s->readable |= (events & (EPOLLIN | over)) != 0;
  s->writable |= (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
  s->hung_up |= (events & over) != 0;
  s->ready(s);
}

int gate_socket_open(struct gate_socket *s, struct poller *poller, int fd, struct tls *tls,
                     void (*ready)(struct gate_socket *s))
{
  *s = (struct gate_socket){.watch = {.ready = on_ready},
                            .poller = poller,
                            .tls = tls,
                            .fd = fd,
                            .readable = true,
                            .writable = true,
                            .ready = ready};
  int error = poller_add(poller, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &s->watch);
  if (error != 0) {
    tls_close(tls);
    close(fd);
    s->tls = NULL;
    s->fd = -1;
  }
  return error;
}

int gate_socket_release(struct gate_socket *s)
{
  int fd = s->fd;
  poller_remove(s->poller, fd, &s->watch);
  s->fd = -1;
  return fd;
}

bool gate_socket_is_greeted(const struct gate_socket *s)
{
  return s->tls == NULL || tls_is_open(s->tls);
}

bool gate_socket_speaks_http2(const struct gate_socket *s)
{
  return s->tls != NULL && tls_speaks_http2(s->tls);
}

/* ---- TLS ---- */

/* Records are small, and the writer after this one likes it large. Until TLS has nothing more the socket counts as
 * readable: some of what came may be kept in there, of which epoll knows nothing. */
static size_t read_tls(struct gate_socket *s, char *into, size_t size)
{
  enum tls_result result = TLS_DONE;
  size_t all = 0, got;

  while (all < size && (result = tls_read(s->tls, into + all, size - all, &got)) == TLS_DONE)
    all += got;
  if (result == TLS_WANTS_IN)
    s->readable = false;
  else if (result == TLS_WANTS_OUT)
    s->writable = false;
  else if (result == TLS_ENDED)
    s->ended = true;
  else if (result == TLS_FAILED)
    s->read_error = EPROTO;
  return all;
}

static void flush_tls(struct gate_socket *s)
{
  enum tls_result result = TLS_DONE;
  size_t put;

  while (result == TLS_DONE && http1_out_waiting(&s->out) > 0 && s->writable && s->write_error == 0) {
    result = tls_write(s->tls, s->out.bytes + s->out.at, http1_out_waiting(&s->out), &put);
    if (result == TLS_DONE)
      http1_out_drop(&s->out, put);
    else if (result == TLS_WANTS_OUT)
      s->writable = false;
    else if (result != TLS_WANTS_IN)
      s->write_error = EPIPE;
  }
}

/* ---- Bytes ---- */

size_t gate_socket_read(struct gate_socket *s, char *into, size_t size)
{
  if (!s->readable || s->ended || s->read_error != 0)
    return 0;
  if (s->tls != NULL)
    return read_tls(s, into, size);
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

static void flush_plain(struct gate_socket *s)
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
}

bool gate_socket_flush(struct gate_socket *s)
{
  if (s->tls != NULL)
    flush_tls(s);
  else
    flush_plain(s);
  if (s->out.failed && s->write_error == 0)
    s->write_error = ENOMEM;
  return http1_out_waiting(&s->out) == 0 && s->write_error == 0;
}

void gate_socket_shut(struct gate_socket *s)
{
  if (!s->shut && s->tls != NULL && s->read_error == 0 && s->write_error == 0)
    tls_shut(s->tls);
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
  tls_close(s->tls);
  s->tls = NULL;
  if (s->fd < 0)
    return;
  if (reset)
    setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
  poller_remove(s->poller, s->fd, &s->watch);
  close(s->fd);
  s->fd = -1;
}
