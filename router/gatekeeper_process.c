/* The process that keeps a gate running. Nothing else goes on in it.
 *
 *     (none) --start--> coming --says that it listens--> serving --ends--> (none)
 *        +---------------- ends, after a pause ------------+
 *
 * Each gate has one end of a socket pair. It writes a byte when it listens; its end is seen here, and this process's
 * end there, by the end of the stream. One that is to take the place of another is started while the other still
 * serves. When the router is killed this process ends at once, and so the gate knows.
 */
#include "gatekeeper_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gatekeeper_spawn.h"
#include "proto/host/exit_status.h"

enum {
  PAUSE_FIRST_MS = 100,
  PAUSE_LAST_MS = 10000,
  STABLE_MS = 60000, /* one that served so long was more than a moment */
};

struct keeper {
  const struct gatekeeper_process *options;
  struct gatekeeper_order order; /* the latest that says how the router is reached */
  struct gate_process serving, coming, leaving;
  uint64_t pause_ms, start_at, serves_since; /* start_at 0: nothing is to be started */
  bool began;                                /* one has listened */
  unsigned ends;                             /* how often it was told to */
};

__attribute__((format(printf, 2, 3))) static void say(const struct keeper *k, const char *format, ...)
{
  char line[300];
  va_list values;
  va_start(values, format);
  vsnprintf(line, sizeof line, format, values);
  va_end(values);
  k->options->log(k->options->log_arg, line);
}

static uint64_t now_ms(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- A process ---- */

static int start(struct keeper *k)
{
  int error = gate_process_start(&k->coming, k->options->arguments, &k->order);
  if (error == -ENOENT)
    say(k, "cannot start the gate: there is no mmgate beside mmrouter, nor in PATH");
  else if (error != 0)
    say(k, "cannot start the gate: %s", strerror(-error));
  return error;
}

static void signal_to(const struct gate_process *p, int number)
{
  if (p->pid > 0)
    kill(p->pid, number);
}

/* Its end of the stream is closed: it is over, or about to be. Returns what waitpid tells. */
static int bury(struct gate_process *p)
{
  int status = 0;
  while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
    ;
  close(p->fd);
  *p = (struct gate_process){.fd = -1};
  return status;
}

static void start_later(struct keeper *k)
{
  if (k->serves_since != 0 && now_ms() - k->serves_since >= STABLE_MS)
    k->pause_ms = PAUSE_FIRST_MS;
  k->serves_since = 0;
  k->start_at = now_ms() + k->pause_ms;
  k->pause_ms = 2 * k->pause_ms < PAUSE_LAST_MS ? 2 * k->pause_ms : PAUSE_LAST_MS;
}

/* The router waits for the first one: whatever hinders it will hinder the next one, too. */
static void tell_first(const struct keeper *k, int status)
{
  unsigned char byte = (unsigned char)status;
  (void)send(k->options->fd, &byte, 1, MSG_NOSIGNAL);
}

static void ended(struct keeper *k, struct gate_process *p)
{
  bool came = p == &k->coming;
  int status = bury(p);
  if (k->ends > 0)
    return;
  if (!k->began) {
    tell_first(k, WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_AGAIN);
    _exit(EXIT_AGAIN);
  }
  if (WIFSIGNALED(status))
    say(k, "the gate was ended by signal %d, and is started again", WTERMSIG(status));
  else
    say(k, came ? "the gate could not begin, and is started again" : "the gate has ended, and is started again");
  if (k->coming.pid == 0)
    start_later(k);
}

static void listens(struct keeper *k)
{
  if (!k->began)
    tell_first(k, EXIT_SUCCESS);
  k->began = true;
  signal_to(&k->serving, SIGTERM);
  if (k->leaving.pid > 0) /* only one is waited for; this one is reaped with another */
    close(k->leaving.fd);
  k->leaving = k->serving;
  k->serving = k->coming;
  k->coming = (struct gate_process){.fd = -1};
  k->serves_since = now_ms();
}

static void hear(struct keeper *k, struct gate_process *p)
{
  char byte;
  ssize_t n = recv(p->fd, &byte, 1, MSG_DONTWAIT);
  bool over = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
  if (n > 0 && p == &k->coming)
    listens(k);
  else if (over && p == &k->leaving)
    bury(p);
  else if (over)
    ended(k, p);
}

/* Those that were replaced long ago. The others are waited for by their ids. */
static void reap(const struct keeper *k)
{
  siginfo_t info = {0};
  while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0) {
    if (info.si_pid == k->serving.pid || info.si_pid == k->coming.pid || info.si_pid == k->leaving.pid)
      return;
    waitpid(info.si_pid, NULL, 0);
    info.si_pid = 0;
  }
}

/* ---- What the router says ---- */

static void begin(struct keeper *k)
{
  if (k->began && k->coming.pid > 0) {
    signal_to(&k->coming, SIGTERM); /* it has read what was there before; another one follows */
    return;
  }
  int error = k->coming.pid == 0 ? start(k) : 0;
  if (error != 0 && !k->began) {
    tell_first(k, exit_status(error));
    _exit(EXIT_AGAIN);
  }
  if (error != 0)
    start_later(k);
}

static void obey(struct keeper *k)
{
  struct gatekeeper_order order;
  ssize_t n = recv(k->options->fd, &order, sizeof order, MSG_DONTWAIT);
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
    _exit(EXIT_SUCCESS); /* the router is gone: its gate sees that now */
  if (n != sizeof order)
    return;
  if (order.kind == ORDER_END) {
    k->ends++;
    signal_to(&k->serving, SIGTERM);
    signal_to(&k->coming, SIGTERM);
    return;
  }
  k->order = order;
  if (k->ends == 0)
    begin(k);
}

/* ---- The process ---- */

static int wait_ms(const struct keeper *k)
{
  uint64_t now = now_ms();
  if (k->start_at == 0)
    return STABLE_MS;
  return k->start_at > now ? (int)(k->start_at - now) : 0;
}

static void turn(struct keeper *k)
{
  struct pollfd all[] = {{.fd = k->options->fd, .events = POLLIN},
                         {.fd = k->serving.pid > 0 ? k->serving.fd : -1, .events = POLLIN},
                         {.fd = k->coming.pid > 0 ? k->coming.fd : -1, .events = POLLIN},
                         {.fd = k->leaving.pid > 0 ? k->leaving.fd : -1, .events = POLLIN}};
  if (poll(all, 4, wait_ms(k)) < 0)
    return;
  if (all[3].revents != 0)
    hear(k, &k->leaving);
  if (all[1].revents != 0)
    hear(k, &k->serving);
  if (all[2].revents != 0)
    hear(k, &k->coming);
  if (all[0].revents != 0)
    obey(k);
  if (k->start_at != 0 && k->ends == 0 && k->coming.pid == 0 && now_ms() >= k->start_at) {
    k->start_at = 0;
    if (start(k) != 0)
      start_later(k);
  }
  reap(k);
}

void gatekeeper_process_run(const struct gatekeeper_process *options)
{
  struct keeper k = {.options = options,
                     .serving = {.fd = -1},
                     .coming = {.fd = -1},
                     .leaving = {.fd = -1},
                     .pause_ms = PAUSE_FIRST_MS};
  while (k.ends == 0 || k.serving.pid > 0 || k.coming.pid > 0)
    turn(&k);
  _exit(EXIT_SUCCESS);
}
