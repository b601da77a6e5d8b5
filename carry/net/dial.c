/* The race (race.h) with real sockets.
 *
 *     RACING --connected, or the race is lost, or nothing resolves, or cancelled--> DONE
 *
 * A unix socket's path is followed by a worker: it may lead onto a file system that does not answer, or onto the tree
 * that this very loop serves. When such a socket's backlog is full the kernel does not let us wait, so it is asked
 * again and again.
 */
#include "dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "address.h"
#include "lookups.h"
#include "proto/host/bug.h"
#include "proto/host/congestion.h"
#include "race.h"
#include "resolve.h"
#include "workers.h"

enum { CAUSES_MAX = 512, WHY_MAX = ADDRESS_TEXT_MAX + CAUSES_MAX, UNIX_RETRY_MS = 20 };

enum dial_state { RACING, DONE };

/* One endpoint that is being tried. It has memory of its own, because its handle, or its work, outlives the dial. */
struct attempt {
  struct work work;
  uv_poll_t poll;
  struct dial *dial; /* NULL: abandoned */
  int index;         /* in the race */
  struct endpoint to;
  int fd;
  int error;
};

struct dial {
  struct lookups *lookups;
  uv_timer_t timer;
  enum dial_state state;
  bool cancelled;
  struct address to;
  struct resolve *resolve;
  struct race race;
  struct attempt *attempts[ENDPOINTS_MAX];
  dial_cb done;
  dial_find_cb found; /* the one or the other */
  void *arg;
  char why[WHY_MAX];
};

static void go_on(struct dial *d);
static void on_timer(uv_timer_t *timer);

static uint64_t now_of(const struct dial *d)
{
  return uv_now(d->lookups->loop);
}

/* ---- Attempts. ---- */

static void on_freed(uv_handle_t *handle)
{
  free(handle->data);
}

static void close_fd(int fd)
{
  if (fd >= 0)
    close(fd);
}

/* Takes it out of the dial. */
static void let_go(struct attempt *a)
{
  a->dial->attempts[a->index] = NULL;
  a->dial = NULL;
}

static void abandon(struct attempt *a)
{
  let_go(a);
  if (a->to.bytes.ss_family == AF_UNIX) {
    workers_forget(&a->work);
  } else {
    uv_close((uv_handle_t *)&a->poll, on_freed);
    close(a->fd);
  }
}

_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "of either family");

static in_port_t port_of(const struct sockaddr_storage *a)
{
  in_port_t port;

  memcpy(&port, (const char *)a + offsetof(struct sockaddr_in, sin_port), sizeof(port));
  return port;
}

/* When nobody listens on a port of the kernel's own range, a connect on the same machine may be connected to itself. */
static bool is_connected_to_itself(int fd, const struct endpoint *to)
{
  struct sockaddr_storage here = {0};
  struct sockaddr_storage there = {0};
  socklen_t here_size = sizeof(here);
  socklen_t there_size = sizeof(there);

  return getsockname(fd, (struct sockaddr *)&here, &here_size) == 0 && port_of(&here) == port_of(&to->bytes) &&
         getpeername(fd, (struct sockaddr *)&there, &there_size) == 0 && here_size == there_size &&
         memcmp(&here, &there, here_size) == 0;
}

/* How it went. */
static int connect_error(int fd, const struct endpoint *to)
{
  int error = 0;
  socklen_t size = sizeof(error);

  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
    error = errno;
  if (error == 0 && is_connected_to_itself(fd, to))
    error = ECONNREFUSED;
  return -error;
}

/* ---- The end. ---- */

static void finish(struct dial *d, int fd, const struct endpoint *at, unsigned causes)
{
  if (d->state == DONE) {
    bug_found();
    close_fd(fd);
    return;
  }
  d->state = DONE;
  for (unsigned i = 0; i < ENDPOINTS_MAX; i++)
    if (d->attempts[i] != NULL)
      abandon(d->attempts[i]);
  if (d->resolve != NULL)
    resolve_forget(d->resolve);
  uv_close((uv_handle_t *)&d->timer, on_freed);
  if (d->done != NULL) {
    d->done(fd, d->why, d->arg);
    return;
  }
  close_fd(fd);
  d->found(fd < 0 && at == NULL ? fd : 0, at, d->why, causes, d->arg);
}

static void fail(struct dial *d, int error, const char *causes, unsigned count)
{
  char text[ADDRESS_TEXT_MAX];

  if (d->done != NULL)
    snprintf(d->why, sizeof(d->why), "connect to %s: %s", address_format(&d->to, text), causes);
  else
    snprintf(d->why, sizeof(d->why), "%s", causes);
  finish(d, error, NULL, count);
}

/* `fd` is handed over. */
static void connected(struct dial *d, int fd, const struct endpoint *at)
{
  struct endpoint winner = *at;
  int on = 1;

  if (d->to.kind == ADDRESS_TCP) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    congestion_choose(fd, (const struct sockaddr *)&winner.bytes);
  }
  finish(d, fd, &winner, 0);
}

static void attempt_failed(struct attempt *a, int error)
{
  struct dial *d = a->dial;

  race_failed(&d->race, a->index, error, now_of(d));
  abandon(a);
  go_on(d);
}

/* ---- TCP. ---- */

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
    fail(d, -ECANCELED, strerror(ECANCELED), 1);
    return;
  }
  /* libuv tells any failure of the socket as EBADF. */
  error = connect_error(fd, &a->to);
  if (error == 0 && status < 0)
    error = status;
  if (error != 0) {
    attempt_failed(a, error);
    return;
  }
  let_go(a);
  uv_close((uv_handle_t *)&a->poll, on_freed);
  connected(d, fd, &a->to);
}

/* On one machine it is, at once. */
static bool is_decided(int fd)
{
  struct pollfd writable = {.fd = fd, .events = POLLOUT};

  return poll(&writable, 1, 0) == 1;
}

/* 1: connected; 0: the kernel will tell. */
static int begin_tcp(struct dial *d, struct attempt *a)
{
  const struct sockaddr *to = (const struct sockaddr *)&a->to.bytes;
  int rc;

  a->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (a->fd < 0)
    return -errno;
  congestion_begin(a->fd);
  if (connect(a->fd, to, a->to.size) != 0 && errno != EINPROGRESS)
    return -errno;
  if (is_decided(a->fd)) {
    rc = connect_error(a->fd, &a->to);
    return rc == 0 ? 1 : rc;
  }
  rc = uv_poll_init(d->lookups->loop, &a->poll, a->fd);
  if (rc != 0)
    return rc;
  a->poll.data = a;
  /* This does not fail for a descriptor that could be initialised. */
  uv_poll_start(&a->poll, UV_WRITABLE, on_writable);
  return 0;
}

/* ---- Unix. ---- */

static void connect_unix(struct work *work)
{
  /* The kernel chooses a name then, by which hops.c recognises the connection; it works without one, too. */
  static const struct sockaddr any = {.sa_family = AF_UNIX};
  struct attempt *a = (struct attempt *)work;

  a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (a->fd >= 0)
    (void)bind(a->fd, &any, sizeof(any.sa_family));
  if (a->fd < 0 || connect(a->fd, (const struct sockaddr *)&a->to.bytes, a->to.size) != 0)
    a->error = -errno;
}

static void forgotten_unix(struct work *work)
{
  struct attempt *a = (struct attempt *)work;

  close_fd(a->fd);
  free(a);
}

static void decided_unix(struct work *work, int error)
{
  struct attempt *a = (struct attempt *)work;
  struct dial *d = a->dial;
  struct endpoint at = a->to;
  int index = a->index, fd = a->fd;

  if (error == 0)
    error = a->error;
  let_go(a);
  free(a);
  if (error != 0 || d->cancelled)
    close_fd(fd);
  if (d->cancelled) {
    fail(d, -ECANCELED, strerror(ECANCELED), 1);
  } else if (error == 0) {
    connected(d, fd, &at);
  } else {
    if (error == -EAGAIN)
      race_again(&d->race, index, now_of(d) + UNIX_RETRY_MS);
    else
      race_failed(&d->race, index, error, now_of(d));
    go_on(d);
  }
}

static int begin_unix(struct dial *d, struct attempt *a)
{
  a->work =
      (struct work){.run = connect_unix, .done = decided_unix, .lost = forgotten_unix, .key = endpoint_path(&a->to)};
  return workers_start(d->lookups->targets, &a->work);
}

/* ---- The race. ---- */

/* False: the dial is done. */
static bool begin(struct dial *d, int index)
{
  struct attempt *a = calloc(1, sizeof(*a));
  int rc = -ENOMEM;

  if (a != NULL) {
    *a = (struct attempt){.dial = d, .index = index, .to = d->race.endpoints.at[index], .fd = -1};
    rc = a->to.bytes.ss_family == AF_UNIX ? begin_unix(d, a) : begin_tcp(d, a);
  }
  if (rc == 0) {
    d->attempts[index] = a;
    return true;
  }
  int fd = a != NULL ? a->fd : -1;
  free(a);
  if (rc > 0) {
    connected(d, fd, &d->race.endpoints.at[index]);
    return false;
  }
  close_fd(fd);
  race_failed(&d->race, index, rc, now_of(d));
  return true;
}

static void lose(struct dial *d)
{
  char causes[CAUSES_MAX];
  unsigned count;
  int error;

  if (d->race.endpoints.count == 0) {
    snprintf(d->why, sizeof(d->why), "%s does not resolve: no answer in time", d->to.host);
    finish(d, -ETIMEDOUT, NULL, 1);
    return;
  }
  error = race_error(&d->race, causes, sizeof causes, &count);
  if (error == 0)
    fail(d, -ETIMEDOUT, strerror(ETIMEDOUT), 1);
  else
    fail(d, error, causes, count);
}

static void go_on(struct dial *d)
{
  uint64_t now = now_of(d), wake;
  int index;

  if (d->found != NULL && d->race.complete && d->race.endpoints.count == 1) {
    struct endpoint at = d->race.endpoints.at[0];

    finish(d, -EINPROGRESS, &at, 0);
    return;
  }
  while ((index = race_next(&d->race, now)) >= 0)
    if (!begin(d, index))
      return;
  if (race_is_lost(&d->race, now)) {
    lose(d);
    return;
  }
  wake = race_wake(&d->race);
  uv_timer_start(&d->timer, on_timer, wake > now ? wake - now : 0, 0);
}

static void on_resolved(int error, const char *why, const struct endpoints *found, bool complete, void *arg)
{
  struct dial *d = arg;

  if (complete)
    d->resolve = NULL;
  if (d->cancelled) {
    fail(d, -ECANCELED, strerror(ECANCELED), 1);
  } else if (error != 0) {
    snprintf(d->why, sizeof(d->why), "%s", why);
    finish(d, error, NULL, 1);
  } else {
    race_add(&d->race, found, complete, now_of(d));
    go_on(d);
  }
}

static void on_timer(uv_timer_t *timer)
{
  struct dial *d = timer->data;

  if (d->cancelled)
    fail(d, -ECANCELED, strerror(ECANCELED), 1);
  else
    go_on(d);
}

static int start(struct dial **out, struct lookups *lookups, const struct address *to, uint64_t timeout_ms,
                 struct dial *d)
{
  struct endpoints literal;
  int rc = 0;

  d->lookups = lookups;
  d->to = *to;
  race_begin(&d->race, now_of(d), timeout_ms);
  if (resolve_literal(to, &literal))
    race_add(&d->race, &literal, true, now_of(d));
  else
    rc = resolve_start(&d->resolve, lookups, to, on_resolved, d);
  if (rc != 0) {
    free(d);
    return rc;
  }
  uv_timer_init(lookups->loop, &d->timer);
  d->timer.data = d;
  uv_timer_start(&d->timer, on_timer, d->resolve == NULL ? 0 : timeout_ms, 0);
  *out = d;
  return 0;
}

int dial_start(struct dial **out, struct lookups *lookups, const struct address *to, uint64_t timeout_ms, dial_cb done,
               void *arg)
{
  struct dial *d = calloc(1, sizeof(*d));

  if (d == NULL)
    return -ENOMEM;
  d->done = done;
  d->arg = arg;
  return start(out, lookups, to, timeout_ms, d);
}

int dial_find(struct dial **out, struct lookups *lookups, const struct address *to, uint64_t timeout_ms,
              dial_find_cb found, void *arg)
{
  struct dial *d = calloc(1, sizeof(*d));

  if (d == NULL)
    return -ENOMEM;
  d->found = found;
  d->arg = arg;
  return start(out, lookups, to, timeout_ms, d);
}

void dial_cancel(struct dial *d)
{
  if (d->state == DONE)
    return;
  d->cancelled = true;
  uv_timer_start(&d->timer, on_timer, 0, 0);
}
