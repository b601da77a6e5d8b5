/* accept() fails while descriptors or memory are short. Then strangers make room, since they may mean nothing; and if
 * there are none, it is tried again a moment later: what waits in the backlog is not told of twice. */
#include "front.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "listening.h"
#include "proto/host/congestion.h"
#include "proto/host/errand.h"

enum { ACCEPTS_PER_TURN = 64, AGAIN_MS = 100 };

/* One listening socket. */
struct acceptor {
  struct poller_watch watch;
  struct poller_deadline again;
  struct front *front;
  int fd;
  bool raw_only;
};

struct front {
  struct poller *poller;
  struct listening listening, streams;
  struct acceptor acceptors[2 * LISTENING_MAX];
  size_t acceptor_count;
  struct poller_delay again;
  struct strangers strangers;
  pthread_t thread;
  bool runs;
  struct errand admit;
  bool admits; /* the raw thread's */
};

/* mmrouter has an accept4 of its own, which hides from gRPC's listener why it fails. */
static int accept_one(const struct acceptor *a)
{
  union {
    struct sockaddr any;
    struct sockaddr_storage room;
  } peer = {.any = {.sa_family = AF_UNSPEC}};
  socklen_t size = sizeof peer;
  int fd = (int)syscall(SYS_accept4, a->fd, &peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd >= 0)
    congestion_choose(fd, &peer.any);
  return fd;
}

/* A descriptor is taken before it is seen whether there is anybody. */
static bool somebody_waits(int listener)
{
  struct pollfd ready = {.fd = listener, .events = POLLIN};
  return poll(&ready, 1, 0) > 0;
}

/* Whether to go on: another one may wait. */
static bool accept_failed(struct acceptor *a, int error)
{
  switch (error) {
  case EMFILE:
  case ENFILE:
  case ENOBUFS:
  case ENOMEM:
    if (!somebody_waits(a->fd))
      return false;
    if (strangers_drop_oldest(&a->front->strangers))
      return true;
    poller_deadline_set(&a->front->again, &a->again);
    return false;
  case EINTR:
  case ECONNABORTED:
  case EPROTO:
  case EPERM: /* a firewall's verdict */
    return true;
  default: /* nobody waits, or it listens no more */
    return false;
  }
}

static void accept_all(struct acceptor *a)
{
  if (!a->front->admits)
    return;
  for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
    int fd = accept_one(a);
    if (fd >= 0)
      strangers_add(&a->front->strangers, fd, a->raw_only);
    else if (!accept_failed(a, errno))
      return;
  }
  poller_again(a->front->poller, &a->watch);
}

static void on_ready(struct poller_watch *w, uint32_t events)
{
  (void)events;
  accept_all((struct acceptor *)((char *)w - offsetof(struct acceptor, watch)));
}

static void on_again(struct poller_deadline *d)
{
  accept_all((struct acceptor *)((char *)d - offsetof(struct acceptor, again)));
}

/* ---- Opening ---- */

static void acceptors_add(struct front *f, const struct listening *l, bool raw_only)
{
  for (size_t i = 0; i < l->count; i++)
    f->acceptors[f->acceptor_count++] =
        (struct acceptor){.watch = {.ready = on_ready}, .front = f, .fd = l->fds[i], .raw_only = raw_only};
}

static int listen_at(struct listening *out, const char *at, const char **address)
{
  int error = at != NULL ? listening_open(out, at) : 0;
  if (error)
    *address = at;
  return error;
}

int front_open(struct front **out, const struct front_config *config, const char **address)
{
  struct front *f = calloc(1, sizeof *f);
  if (f == NULL)
    return -ENOMEM;
  int error = poller_open(&f->poller);
  if (!error)
    error = listen_at(&f->listening, config->address, address);
  if (!error)
    error = listen_at(&f->streams, config->streams, address);
  if (error) {
    front_close(f);
    return error;
  }
  acceptors_add(f, &f->listening, false);
  acceptors_add(f, &f->streams, true);
  f->again = (struct poller_delay){.ms = AGAIN_MS, .due = on_again};
  *out = f;
  return 0;
}

int front_port(const struct front *f)
{
  return f->listening.port;
}

int front_streams_port(const struct front *f)
{
  return f->streams.port;
}

struct poller *front_poller(const struct front *f)
{
  return f->poller;
}

/* ---- The thread ---- */

static void *thread_run(void *arg)
{
  const struct front *f = arg;
  poller_run(f->poller);
  return NULL;
}

/* What was accepted meanwhile is closed, and the sockets are nobody's any more. */
static void stop_accepting(struct front *f)
{
  for (size_t i = 0; i < f->acceptor_count; i++)
    poller_remove(f->poller, f->acceptors[i].fd, &f->acceptors[i].watch);
  f->acceptor_count = 0;
  strangers_close(&f->strangers);
  poller_delay_remove(f->poller, &f->again);
}

int front_start(struct front *f, const struct strangers_config *strangers)
{
  int error = 0;
  strangers_open(&f->strangers, f->poller, strangers);
  poller_delay_add(f->poller, &f->again);
  for (size_t i = 0; i < f->acceptor_count && !error; i++)
    error = poller_add(f->poller, f->acceptors[i].fd, EPOLLIN | EPOLLET, &f->acceptors[i].watch);
  if (!error)
    error = -pthread_create(&f->thread, NULL, thread_run, f);
  f->runs = !error;
  if (error)
    stop_accepting(f);
  return error;
}

static void on_admit(struct errand *e)
{
  struct front *f = (struct front *)((char *)e - offsetof(struct front, admit));
  f->admits = true;
  for (size_t i = 0; i < f->acceptor_count; i++)
    accept_all(&f->acceptors[i]);
}

void front_admit(struct front *f)
{
  f->admit.run = on_admit;
  poller_post(f->poller, &f->admit);
}

void front_leave_address(struct front *f)
{
  listening_leave(&f->listening);
  listening_leave(&f->streams);
}

void front_stop(struct front *f)
{
  if (!f->runs)
    return;
  poller_stop(f->poller);
  pthread_join(f->thread, NULL);
  f->runs = false;
  stop_accepting(f);
}

void front_close(struct front *f)
{
  if (f == NULL)
    return;
  front_stop(f);
  listening_close(&f->listening);
  listening_close(&f->streams);
  if (f->poller != NULL)
    poller_close(f->poller);
  free(f);
}
