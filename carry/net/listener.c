/* An address is bound in one go, all of its sockets or none, and then each socket is polled.
 *
 *     OPENING --bound--> OPEN --no descriptor, no memory--> STARVED --a round of accepts went through--> OPEN ...
 *        +--fails--> FAILED
 *
 * The kernel takes a descriptor before it looks for a connection, so a starved listener finds out that there are some
 * again by accepting, also when nobody connects. While starved its sockets are not polled: they would be ready all the
 * time.
 *
 * Unix sockets are bound, and unbound, by workers: the path may lead onto a file system that does not answer, or onto
 * the tree that this very loop serves. One path has one of them at a time, so that the file of the next listener there
 * is not taken for that of the last. The directory is held open, so that the file is removed where it was made.
 */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "listener_bind.h"
#include "lookups.h"
#include "proto/host/congestion.h"
#include "resolve.h"
#include "workers.h"

enum { ACCEPTS_PER_WAKE = 64, REST_MAX = 4096, RETRY_FIRST_MS = 100, RETRY_LAST_MS = 1000 };

enum listener_state { OPENING, OPEN, STARVED, FAILED };

/* Of its own, since its handle goes later than the descriptor. */
struct listening {
  uv_poll_t poll;
  struct listener *listener;
  int fd;
};

/* Binding a unix socket, and then unbinding it. */
struct unix_work {
  struct work work;
  struct listener *listener; /* NULL: closed */
  struct address address;
  struct endpoints endpoints;
  struct listener_binding binding;
  int error;
};

struct listener {
  struct lookups *lookups;
  uv_timer_t timer;
  enum listener_state state;
  bool closed;
  bool shared, given;
  int given_error;
  bool accepting; /* whoever closes it is inside `accepted` */
  struct address address;
  struct endpoints endpoints;      /* of a literal */
  struct resolve *resolve;         /* in flight */
  struct unix_work *work;          /* in flight */
  struct unix_work *bound;         /* of a unix socket, in OPEN and STARVED: what will unbind it */
  struct listener_binding binding; /* of OPEN and STARVED */
  struct listening *sockets[ENDPOINTS_MAX];
  unsigned count;
  uint64_t retry_ms;
  struct listener_events events;
  void *arg;
};

static void on_freed(uv_handle_t *handle)
{
  free(handle->data);
}

static void unbind_unix(struct work *w)
{
  listener_unbind(&((struct unix_work *)w)->binding);
}

static void unbound_unix(struct work *w, int error)
{
  (void)error;
  free(w);
}

/* No connection gets in any more; the file is removed when the file system allows it. Takes `work`. */
static void unbind_by_worker(struct unix_work *work)
{
  struct workers *workers = work->work.workers;

  listener_hush(&work->binding);
  work->work = (struct work){.run = unbind_unix, .done = unbound_unix, .key = work->address.path, .sure = true};
  if (workers_start(workers, &work->work) == 0)
    return;
  listener_abandon(&work->binding);
  free(work);
}

static void close_sockets(struct listener *l)
{
  for (unsigned i = 0; i < l->count; i++)
    uv_close((uv_handle_t *)&l->sockets[i]->poll, on_freed);
  l->count = 0;
  if (l->bound != NULL)
    unbind_by_worker(l->bound);
  else
    listener_abandon(&l->binding);
  l->bound = NULL;
}

static void fail(struct listener *l, int error, const char *why)
{
  l->state = FAILED;
  l->events.opened(l, error, why, l->arg);
}

static const char *describe_tcp(const struct sockaddr_storage *from, char out[ADDRESS_TEXT_MAX])
{
  const struct sockaddr_in *v4 = (const struct sockaddr_in *)from;
  const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)from;
  struct address a = {.kind = ADDRESS_TCP};

  if (from->ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &v6->sin6_addr, a.host, sizeof(a.host));
    a.port = ntohs(v6->sin6_port);
  } else {
    inet_ntop(AF_INET, &v4->sin_addr, a.host, sizeof(a.host));
    a.port = ntohs(v4->sin_port);
  }
  return address_format(&a, out);
}

static const char *describe_peer(int fd, const struct sockaddr_storage *from, char out[ADDRESS_TEXT_MAX])
{
  struct ucred who = {0};
  socklen_t size = sizeof(who);

  if (from->ss_family != AF_UNIX)
    return describe_tcp(from, out);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0)
    snprintf(out, ADDRESS_TEXT_MAX, "unix:pid %ld uid %lu", (long)who.pid, (unsigned long)who.uid);
  else
    snprintf(out, ADDRESS_TEXT_MAX, "unix");
  return out;
}

static void hand_over(struct listener *l, int fd, const struct sockaddr_storage *from)
{
  char peer[ADDRESS_TEXT_MAX];
  int on = 1;

  if (from->ss_family != AF_UNIX) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    congestion_choose(fd, (const struct sockaddr *)from);
  }
  l->accepting = true;
  l->events.accepted(l, fd, describe_peer(fd, from, peer), l->arg);
  l->accepting = false;
}

/* Errors of the one connection, which accept(2) says to treat as none at all. */
static bool is_connection_error(int error)
{
  switch (error) {
  case ECONNABORTED:
  case EINTR:
  case EPROTO:
  case EPERM:
  case ENETDOWN:
  case ENOPROTOOPT:
  case EHOSTDOWN:
  case ENONET:
  case EHOSTUNREACH:
  case EOPNOTSUPP:
  case ENETUNREACH:
    return true;
  default:
    return false;
  }
}

/* 0, or why accepting cannot go on for now. The listener may be closed afterwards. */
static int accept_some(struct listener *l, int fd, unsigned *accepted)
{
  for (unsigned i = 0; i < ACCEPTS_PER_WAKE && !l->closed; i++) {
    struct sockaddr_storage from = {0};
    socklen_t size = sizeof(from);
    int got = accept4(fd, (struct sockaddr *)&from, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (got >= 0) {
      ++*accepted;
      hand_over(l, got, &from);
    } else if (errno == EAGAIN)
      return 0;
    else if (!is_connection_error(errno))
      return -errno;
  }
  return 0;
}

static void on_timer(uv_timer_t *timer);

static void starve(struct listener *l, int error)
{
  bool told = l->state == STARVED;

  for (unsigned i = 0; i < l->count; i++)
    uv_poll_stop(&l->sockets[i]->poll);
  l->state = STARVED;
  if (!told)
    l->retry_ms = RETRY_FIRST_MS;
  uv_timer_start(&l->timer, on_timer, l->retry_ms, 0);
  if (!told)
    l->events.starved(l, error, l->arg);
}

static void on_readable(uv_poll_t *handle, int status, int events)
{
  struct listening *s = handle->data;
  struct listener *l = s->listener;
  unsigned accepted = 0;
  int error = status;

  (void)events;
  if (l->closed || l->state != OPEN)
    return;
  if (error == 0)
    error = accept_some(l, s->fd, &accepted);
  if (error != 0 && !l->closed)
    starve(l, error);
}

static int poll_all(struct listener *l)
{
  int rc = 0;

  for (unsigned i = 0; i < l->count && rc == 0; i++)
    rc = uv_poll_start(&l->sockets[i]->poll, UV_READABLE, on_readable);
  return rc;
}

static void recover(struct listener *l)
{
  unsigned accepted = 0;
  int error = 0;

  for (unsigned i = 0; i < l->count && error == 0 && !l->closed; i++)
    error = accept_some(l, l->sockets[i]->fd, &accepted);
  if (l->closed)
    return;
  if (error == 0)
    error = poll_all(l);
  if (error != 0) {
    l->retry_ms = accepted > 0 ? RETRY_FIRST_MS : l->retry_ms * 2;
    if (l->retry_ms > RETRY_LAST_MS)
      l->retry_ms = RETRY_LAST_MS;
    starve(l, error);
    return;
  }
  l->state = OPEN;
  l->events.starved(l, 0, l->arg);
}

static int add_socket(struct listener *l, int fd)
{
  struct listening *s = calloc(1, sizeof(*s));
  int rc;

  if (s == NULL)
    return -ENOMEM;
  rc = uv_poll_init(l->lookups->loop, &s->poll, fd);
  if (rc != 0) {
    free(s);
    return rc;
  }
  s->poll.data = s;
  s->listener = l;
  s->fd = fd;
  l->sockets[l->count++] = s;
  return 0;
}

static int poll_new(struct listener *l)
{
  int rc = 0;

  for (unsigned i = 0; i < l->binding.count && rc == 0; i++)
    rc = add_socket(l, l->binding.fds[i]);
  return rc == 0 ? poll_all(l) : rc;
}

/* The sockets of a successful binding are handed over. */
static void bound(struct listener *l, int error, const struct listener_binding *binding)
{
  char text[ADDRESS_TEXT_MAX];
  char why[LISTENER_WHY_MAX];

  if (error != 0) {
    fail(l, error, binding->why);
    return;
  }
  l->binding = *binding;
  error = poll_new(l);
  if (error != 0) {
    snprintf(why, sizeof(why), "listen on %s: %s", address_format(&l->address, text), strerror(-error));
    close_sockets(l);
    fail(l, error, why);
    return;
  }
  l->address = binding->address;
  l->state = OPEN;
  l->events.opened(l, 0, "", l->arg);
}

static void bind_tcp(struct listener *l, const struct endpoints *endpoints)
{
  struct listener_binding binding;
  int error = listener_bind(&binding, &l->address, endpoints, l->shared);

  bound(l, error, &binding);
}

static void on_resolved(int error, const char *why, const struct endpoints *found, bool complete, void *arg)
{
  struct listener *l = arg;

  if (!complete)
    return;
  l->resolve = NULL;
  if (error != 0)
    fail(l, error, why);
  else
    bind_tcp(l, found);
}

static void on_timer(uv_timer_t *timer)
{
  struct listener *l = timer->data;

  if (l->state == OPENING && l->given)
    bound(l, l->given_error, &l->binding);
  else if (l->state == OPENING)
    bind_tcp(l, &l->endpoints);
  else
    recover(l);
}

static void bind_unix(struct work *w)
{
  struct unix_work *work = (struct unix_work *)w;

  work->error = listener_bind(&work->binding, &work->address, &work->endpoints, false);
}

static void bound_unix(struct work *w, int error)
{
  struct unix_work *work = (struct unix_work *)w;
  struct listener *l = work->listener;

  if (error == 0)
    error = work->error;
  if (l == NULL && error == 0) {
    unbind_by_worker(work);
    return;
  }
  if (l != NULL) {
    l->work = NULL;
    l->bound = error == 0 ? work : NULL;
    bound(l, error, &work->binding);
  }
  if (error != 0)
    free(work);
}

static int start_unix(struct listener *l)
{
  struct unix_work *work = calloc(1, sizeof(*work));
  int rc;

  if (work == NULL)
    return -ENOMEM;
  work->work = (struct work){.run = bind_unix, .done = bound_unix, .key = work->address.path};
  work->listener = l;
  work->address = l->address;
  work->endpoints = l->endpoints;
  rc = workers_start(l->lookups->listeners, &work->work);
  if (rc != 0) {
    free(work);
    return rc;
  }
  l->work = work;
  return 0;
}

static struct listener *create(struct lookups *lookups, const struct listener_events *events, void *arg)
{
  struct listener *l = calloc(1, sizeof *l);

  if (l != NULL)
    *l = (struct listener){
        .lookups = lookups, .state = OPENING, .binding = {.directory = -1}, .events = *events, .arg = arg};
  return l;
}

/* `soon`: it has its sockets, or can have them, in the next turn. */
static void begin(struct listener **out, struct listener *l, bool soon)
{
  uv_timer_init(l->lookups->loop, &l->timer);
  l->timer.data = l;
  if (soon)
    uv_timer_start(&l->timer, on_timer, 0, 0);
  *out = l;
}

static int open_address(struct listener **out, struct lookups *lookups, const struct address *address, bool shared,
                        const struct listener_events *events, void *arg)
{
  struct listener *l = create(lookups, events, arg);
  int rc = 0;

  if (l == NULL)
    return -ENOMEM;
  l->address = *address;
  l->shared = shared;
  bool literal = resolve_literal(address, &l->endpoints);
  if (address->kind == ADDRESS_UNIX)
    rc = start_unix(l);
  else if (!literal)
    rc = resolve_start(&l->resolve, lookups, address, on_resolved, l);
  if (rc != 0) {
    free(l);
    return rc;
  }
  begin(out, l, literal && address->kind == ADDRESS_TCP);
  return 0;
}

int listener_open(struct listener **out, struct lookups *lookups, const struct address *address,
                  const struct listener_events *events, void *arg)
{
  return open_address(out, lookups, address, false, events, arg);
}

int listener_open_shared(struct listener **out, struct lookups *lookups, const struct address *address,
                         const struct listener_events *events, void *arg)
{
  return open_address(out, lookups, address, true, events, arg);
}

int listener_open_given(struct listener **out, struct lookups *lookups, const int *fds, unsigned count,
                        const struct listener_events *events, void *arg)
{
  struct listener *l = create(lookups, events, arg);

  if (l == NULL)
    return -ENOMEM;
  l->given = true;
  l->given_error = listener_take(&l->binding, fds, count);
  begin(out, l, true);
  return 0;
}

bool listener_is_beside(const struct listener *l)
{
  return l->binding.beside;
}

const struct address *listener_address(const struct listener *l)
{
  return &l->address;
}

/* The kernel has told these clients that they are connected, and would reset them with the socket. */
static void accept_rest(struct listener *l)
{
  if (l->address.kind == ADDRESS_TCP)
    listener_deafen(&l->binding);
  for (unsigned i = 0; i < l->count; i++) {
    unsigned accepted, sum = 0;
    do {
      accepted = 0;
    } while (accept_some(l, l->sockets[i]->fd, &accepted) == 0 && accepted > 0 && (sum += accepted) < REST_MAX);
  }
}

void listener_leave(struct listener *l)
{
  if (l->state != OPENING && l->state != FAILED && l->address.kind == ADDRESS_TCP && !l->given)
    listener_deafen(&l->binding);
}

void listener_close(struct listener *l)
{
  if (!l->accepting && !l->given)
    accept_rest(l);
  l->closed = true;
  if (l->resolve != NULL)
    resolve_forget(l->resolve);
  if (l->work != NULL)
    l->work->listener = NULL;
  close_sockets(l);
  uv_close((uv_handle_t *)&l->timer, on_freed);
}
