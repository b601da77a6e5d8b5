/* A file cannot be polled, and a terminal or a pipe must not be made non-blocking since others share it: so each
 * direction has a thread, which copies with one buffer. The kernel's room for the socket pair is all that is between
 * both ends, so whoever reads slowly slows down whoever writes.
 *
 * The thread that reads also waits for the end of the socket, so as not to outlive it. The one that writes does not
 * look whether anybody reads, as long as there is nothing to write: ssh closes both at once, and that is no failure.
 */
#include "joined.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "workers.h"

enum { BUFFER_SIZE = 64 * 1024 };

/* Whoever is the last, its thread or the loop, frees it. */
struct way {
  struct work work;
  struct joined *joined;
  int pair; /* our end of the socket pair: each way has a descriptor of its own */
  int other;
  bool reading;
  int error;
  bool at_source; /* it came of reading, not of writing */
  char buffer[BUFFER_SIZE];
};

struct joined {
  struct workers *workers;
  struct way *ways[2];
  const struct joined_events *events;
  void *arg;
  void (*closed)(void *arg);
  void *closed_arg;
};

/* ---- In a thread ---- */

static int write_all(int to, const char *bytes, size_t size)
{
  while (size > 0) {
    ssize_t n = write(to, bytes, size);
    if (n >= 0) {
      bytes += n;
      size -= (size_t)n;
    } else if (errno == EAGAIN) {
      poll(&(struct pollfd){.fd = to, .events = POLLOUT}, 1, -1); /* whoever gave it to us made it so */
    } else if (errno != EINTR) {
      return -errno;
    }
  }
  return 0;
}

/* Waits until there is something to read. False: there will be nobody to take it. */
static bool wait_to_read(const struct way *w)
{
  struct pollfd ends[] = {{.fd = w->reading ? w->other : w->pair, .events = POLLIN}, {.fd = w->pair}};
  int there = poll(ends, w->reading ? 2 : 1, -1);
  return there <= 0 || ends[0].revents != 0;
}

/* Until there is no more: w->error and w->at_source say why. */
static void copy(struct way *w, int from, int to)
{
  while (w->error == 0) {
    w->at_source = wait_to_read(w);
    ssize_t n = w->at_source ? read(from, w->buffer, sizeof w->buffer) : 0;
    if (!w->at_source)
      w->error = -EPIPE;
    else if (n == 0)
      return;
    else if (n < 0 && errno != EINTR && errno != EAGAIN)
      w->error = -errno;
    if (n > 0) {
      w->error = write_all(to, w->buffer, (size_t)n);
      w->at_source = false;
    }
  }
}

/* The number stays taken: the next file that is opened must not get it. */
static void close_other(int fd)
{
  int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  shutdown(fd, SHUT_WR); /* of a socket that somebody else has, too */
  if (nothing < 0)
    return;
  dup3(nothing, fd, 0);
  close(nothing);
}

static void run(struct work *work)
{
  struct way *w = (struct way *)work;
  copy(w, w->reading ? w->other : w->pair, w->reading ? w->pair : w->other);
  if (w->error != 0)
    return;
  if (w->reading)
    shutdown(w->pair, SHUT_WR);
  else
    close_other(w->other);
}

static void lost(struct work *work)
{
  struct way *w = (struct way *)work;
  close(w->pair);
  free(w);
}

/* ---- On the loop ---- */

static void done(struct work *work, int error)
{
  struct way *w = (struct way *)work;
  struct joined *j = w->joined;
  bool reading = w->reading;
  bool failed = w->error != 0 && w->at_source == reading; /* else the socket did, of which its owner knows more */
  int reason = w->error;
  (void)error; /* it is never closed before it ran */
  j->ways[reading] = NULL;
  lost(work);
  if (failed)
    j->events->failed(reading, reason, j->arg);
  else if (!reading)
    j->events->written(j->arg);
}

static int start(struct joined *j, int pair, int other, bool reading)
{
  struct way *w = malloc(sizeof *w);
  if (w == NULL || pair < 0) {
    int error = w == NULL ? -ENOMEM : -errno;
    free(w);
    if (pair >= 0)
      close(pair);
    return error;
  }
  w->work = (struct work){.run = run, .done = done, .lost = lost};
  w->joined = j;
  w->pair = pair;
  w->other = other;
  w->reading = reading;
  w->error = 0;
  w->at_source = false;
  int error = workers_start(j->workers, &w->work);
  if (error == 0)
    j->ways[reading] = w;
  else
    lost(&w->work);
  return error;
}

static void free_joined(void *arg)
{
  struct joined *j = arg;
  void (*closed)(void *) = j->closed;
  void *closed_arg = j->closed_arg;
  free(j);
  if (closed != NULL)
    closed(closed_arg);
}

void joined_close(struct joined *j, void (*closed)(void *arg), void *arg)
{
  j->closed = closed;
  j->closed_arg = arg;
  for (int i = 0; i < 2; i++) {
    struct way *w = j->ways[i];
    j->ways[i] = NULL;
    if (w != NULL)
      workers_forget(&w->work);
  }
  workers_close(j->workers, free_joined, j);
}

int joined_open(struct joined **out, struct uv_loop_s *loop, int from, int to, int *socket,
                const struct joined_events *events, void *arg)
{
  struct joined *j = calloc(1, sizeof *j);
  int pair[2] = {-1, -1};
  if (j == NULL)
    return -ENOMEM;
  j->events = events;
  j->arg = arg;
  int error = workers_open(&j->workers, loop, 2);
  if (error != 0) {
    free(j);
    return error;
  }
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    error = -errno;
  if (error == 0)
    error = start(j, fcntl(pair[0], F_DUPFD_CLOEXEC, 0), from, true);
  if (error == 0) {
    error = start(j, pair[0], to, false);
    pair[0] = -1;
  }
  if (error == 0 && fcntl(pair[1], F_SETFL, O_NONBLOCK) != 0)
    error = -errno;
  if (error == 0) {
    *socket = pair[1];
    *out = j;
    return 0;
  }
  for (int i = 0; i < 2; i++)
    if (pair[i] >= 0)
      close(pair[i]);
  joined_close(j, NULL, NULL);
  return error;
}
