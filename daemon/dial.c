/* A name is resolved, then its addresses are tried one after the other, each with an equal share of the time that is
 * left, until one is connected.
 *
 *     RESOLVING --endpoints--> CONNECTING --connected, or the last one failed--> DONE
 *         |                      |    ^
 *         |                      +----+  failed, or its share is over: the next endpoint
 *         +--fails, or the time is over, or cancelled (anywhere)--> DONE
 *
 * Of several failures the first is told, unless it only says that the machine has no such network. Being short of
 * descriptors ends it at once.
 *
 * A unix socket's path is looked up in the thread pool: it may lead onto a file system that does not answer, or onto
 * the tree that this very loop serves. When such a socket's backlog is full the kernel does not let us wait, so it is
 * asked again and again.
 */
#include "dial.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "address.h"
#include "resolve.h"

enum { WHY_MAX = ADDRESS_TEXT_MAX + 256, UNIX_RETRY_MS = 20 };

enum dial_state { RESOLVING, CONNECTING, DONE };

/* One endpoint that is being tried: of its own, since its handle outlives it. */
struct attempt {
  uv_poll_t poll;
  uv_work_t work;
  struct dial *dial; /* NULL: abandoned */
  struct endpoint to;
  int fd;
  int error;
};

struct dial {
  uv_loop_t *loop;
  uv_timer_t timer;
  enum dial_state state;
  bool cancelled;
  struct address to;
  struct resolve *resolve; /* in RESOLVING, of names */
  struct attempt *attempt;
  struct endpoints endpoints;
  unsigned next;
  uint64_t deadline;
  int error; /* of the attempts so far */
  dial_cb done;
  void *arg;
  char why[WHY_MAX];
};

static void attempt_next(struct dial *d);
static void on_timer(uv_timer_t *timer);

static bool is_shortage(int error)
{
  return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM;
}

static bool is_no_network(int error)
{
  return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL || error == -ENETUNREACH;
}

static void explain(struct dial *d, const char *reason)
{
  char text[ADDRESS_TEXT_MAX];

  snprintf(d->why, sizeof(d->why), "connect to %s: %s", address_format(&d->to, text), reason);
}

static void on_attempt_closed(uv_handle_t *handle)
{
  free(handle->data);
}

static void attempt_close(struct attempt *a)
{
  uv_close((uv_handle_t *)&a->poll, on_attempt_closed);
  close(a->fd);
}

static void on_dial_closed(uv_handle_t *handle)
{
  free(handle->data);
}

/* Gives the attempt up; a path that is being looked up frees itself later. */
static void attempt_abandon(struct dial *d)
{
  struct attempt *a = d->attempt;

  d->attempt = NULL;
  if (a == NULL)
    return;
  a->dial = NULL;
  if (a->to.bytes.ss_family == AF_UNIX)
    uv_cancel((uv_req_t *)&a->work);
  else
    attempt_close(a);
}

static void finish(struct dial *d, int fd)
{
  assert(d->state != DONE);
  d->state = DONE;
  attempt_abandon(d);
  if (d->resolve != NULL)
    resolve_forget(d->resolve);
  uv_close((uv_handle_t *)&d->timer, on_dial_closed);
  d->done(fd, d->why, d->arg);
}

static void finish_cancelled(struct dial *d)
{
  explain(d, strerror(ECANCELED));
  finish(d, -ECANCELED);
}

static void note_failure(struct dial *d, int error)
{
  if (d->error == 0 || is_shortage(error) || (is_no_network(d->error) && !is_no_network(error)))
    d->error = error;
  if (is_shortage(error))
    d->next = d->endpoints.count;
}

static void attempt_failed(struct dial *d, int error)
{
  attempt_abandon(d);
  note_failure(d, error);
  attempt_next(d);
}

/* With nobody listening on a port of the range that the kernel chooses from, a connect on the same machine may meet
 * itself. */
static bool is_connected_to_itself(int fd)
{
  struct sockaddr_storage here = {0};
  struct sockaddr_storage there = {0};
  socklen_t here_size = sizeof(here);
  socklen_t there_size = sizeof(there);

  return getsockname(fd, (struct sockaddr *)&here, &here_size) == 0 &&
         getpeername(fd, (struct sockaddr *)&there, &there_size) == 0 && here_size == there_size &&
         memcmp(&here, &there, here_size) == 0;
}

/* `fd` is handed over. */
static void connected(struct dial *d, int fd)
{
  int on = 1;

  if (d->to.kind == ADDRESS_TCP)
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  d->why[0] = '\0';
  finish(d, fd);
}

/* How it went. */
static int connect_error(int fd)
{
  int error = 0;
  socklen_t size = sizeof(error);

  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    error = errno;
  if (error == 0 && is_connected_to_itself(fd))
    error = ECONNREFUSED;
  return -error;
}

static void on_writable(uv_poll_t *handle, int status, int events)
{
  struct attempt *a = handle->data;
  struct dial *d = a->dial;
  int error;
  int fd = a->fd;

  (void)events;
  if (d == NULL)
    return;
  if (d->cancelled) {
    finish_cancelled(d);
    return;
  }
  /* libuv tells any failure of the socket as EBADF. */
  error = connect_error(fd);
  if (error == 0 && status < 0)
    error = status;
  if (error != 0) {
    attempt_failed(d, error);
    return;
  }
  d->attempt = NULL;
  a->dial = NULL;
  uv_close((uv_handle_t *)&a->poll, on_attempt_closed);
  connected(d, fd);
}

/* On one machine it is, at once. */
static bool is_decided(int fd)
{
  struct pollfd writable = {.fd = fd, .events = POLLOUT};

  return poll(&writable, 1, 0) == 1;
}

/* Unless it is decided, the kernel tells when it is. Takes `a` over in any case. */
static int attempt_tcp(struct dial *d, struct attempt *a)
{
  const struct sockaddr *to = (const struct sockaddr *)&a->to.bytes;
  bool decided = false;
  int rc;

  a->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (a->fd < 0 || (connect(a->fd, to, a->to.size) != 0 && errno != EINPROGRESS))
    rc = -errno;
  else if ((decided = is_decided(a->fd)))
    rc = connect_error(a->fd);
  else
    rc = uv_poll_init(d->loop, &a->poll, a->fd);
  if (rc != 0) {
    if (a->fd >= 0)
      close(a->fd);
    free(a);
    return rc;
  }
  if (decided) {
    int fd = a->fd;
    free(a);
    connected(d, fd);
    return 0;
  }
  a->poll.data = a;
  rc = uv_poll_start(&a->poll, UV_WRITABLE, on_writable);
  if (rc != 0) {
    attempt_close(a);
    return rc;
  }
  d->attempt = a;
  return 0;
}

/* In the thread pool. */
static void work_unix(uv_work_t *work)
{
  struct attempt *a = work->data;

  a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (a->fd < 0)
    a->error = -errno;
  else if (connect(a->fd, (const struct sockaddr *)&a->to.bytes, a->to.size) != 0) {
    a->error = -errno;
    close(a->fd);
    a->fd = -1;
  }
}

static void after_unix(uv_work_t *work, int status)
{
  struct attempt *a = work->data;
  struct dial *d = a->dial;
  int fd = a->fd;
  int error = status != 0 ? status : a->error;

  free(a);
  if (d == NULL) {
    if (fd >= 0)
      close(fd);
    return;
  }
  d->attempt = NULL;
  if (d->cancelled) {
    if (fd >= 0)
      close(fd);
    finish_cancelled(d);
  } else if (error == -EAGAIN) {
    uv_timer_start(&d->timer, on_timer, UNIX_RETRY_MS, 0);
  } else if (error != 0)
    attempt_failed(d, error);
  else
    connected(d, fd);
}

/* Takes `a` over in any case. */
static int attempt_unix(struct dial *d, struct attempt *a)
{
  int rc;

  a->work.data = a;
  rc = uv_queue_work(d->loop, &a->work, work_unix, after_unix);
  if (rc != 0) {
    free(a);
    return rc;
  }
  d->attempt = a;
  return 0;
}

static int attempt_start(struct dial *d, const struct endpoint *to)
{
  struct attempt *a = calloc(1, sizeof(*a));

  if (a == NULL)
    return -ENOMEM;
  a->dial = d;
  a->to = *to;
  a->fd = -1;
  return to->bytes.ss_family == AF_UNIX ? attempt_unix(d, a) : attempt_tcp(d, a);
}

static void attempt_next(struct dial *d)
{
  while (d->next < d->endpoints.count) {
    uint64_t now = uv_now(d->loop);
    uint64_t left = d->deadline > now ? d->deadline - now : 0;
    int rc;

    uv_timer_start(&d->timer, on_timer, left / (d->endpoints.count - d->next), 0);
    rc = attempt_start(d, &d->endpoints.at[d->next++]);
    if (rc == 0)
      return;
    note_failure(d, rc);
  }
  explain(d, strerror(-d->error));
  finish(d, d->error);
}

static void on_resolved(int error, const char *why, const struct endpoints *found, void *arg)
{
  struct dial *d = arg;

  d->resolve = NULL;
  if (d->cancelled)
    finish_cancelled(d);
  else if (error != 0) {
    snprintf(d->why, sizeof(d->why), "%s", why);
    finish(d, error);
  } else {
    d->endpoints = *found;
    d->state = CONNECTING;
    attempt_next(d);
  }
}

static void on_timer(uv_timer_t *timer)
{
  struct dial *d = timer->data;

  if (d->cancelled)
    finish_cancelled(d);
  else if (d->resolve != NULL) {
    snprintf(d->why, sizeof(d->why), "%s does not resolve: no answer in time", d->to.host);
    finish(d, -ETIMEDOUT);
  } else if (d->state == RESOLVING) { /* a literal */
    d->state = CONNECTING;
    attempt_next(d);
  } else if (d->attempt == NULL && uv_now(d->loop) < d->deadline) {
    d->next--;
    attempt_next(d);
  } else
    attempt_failed(d, -ETIMEDOUT);
}

int dial_start(struct dial **out, struct uv_loop_s *loop, const struct address *to, uint64_t timeout_ms, dial_cb done,
               void *arg)
{
  struct dial *d = calloc(1, sizeof(*d));
  bool literal;
  int rc;

  if (d == NULL)
    return -ENOMEM;
  d->loop = loop;
  d->to = *to;
  d->done = done;
  d->arg = arg;
  d->deadline = uv_now(loop) + timeout_ms;
  literal = resolve_literal(to, &d->endpoints);
  rc = literal ? 0 : resolve_start(&d->resolve, loop, to, on_resolved, d);
  if (rc != 0) {
    free(d);
    return rc;
  }
  uv_timer_init(loop, &d->timer);
  d->timer.data = d;
  uv_timer_start(&d->timer, on_timer, literal ? 0 : timeout_ms, 0);
  *out = d;
  return 0;
}

void dial_cancel(struct dial *d)
{
  if (d->state == DONE)
    return;
  d->cancelled = true;
  uv_timer_start(&d->timer, on_timer, 0, 0);
}
