/* Everything that is about time rather than bytes: round trips, first bytes, connections in a row or at once, and how
 * long a command takes. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PING = 64, CLIENTS_MAX = 256, EVENTS = 256 };
static const double WARM_UP = 0.2, PATIENCE = 60;

int load_ping(char **arguments)
{
  double seconds = strtod(arguments[1], NULL), interval = strtod(arguments[2], NULL);
  char message[PING], room[PING];
  memset(message, LOAD_ECHO, sizeof(message));
  struct load_samples samples = {0};
  int fd = load_dial(arguments[0], false);
  if (fd < 0)
    load_fail("connect");
  double begin = load_now(), start = begin;
  while (start < begin + WARM_UP + seconds) {
    if (send(fd, message, sizeof(message), MSG_NOSIGNAL) != sizeof(message))
      load_fail("send");
    for (size_t heard = 0; heard < sizeof(room);) {
      ssize_t size = recv(fd, room, sizeof(room) - heard, 0);
      if (size <= 0)
        load_fail("recv");
      heard += (size_t)size;
    }
    double end = load_now();
    if (start >= begin + WARM_UP)
      load_sample(&samples, end - start);
    if (end < start + interval)
      load_pause(start + interval - end);
    start = load_now();
  }
  load_samples_print(&samples);
  return 0;
}

/* One connection until its first byte. */
static bool try_connection(const char *to)
{
  char byte = LOAD_ECHO;
  int fd = load_dial(to, false);
  bool fine = fd >= 0 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1;
  if (fd >= 0)
    close(fd);
  return fine;
}

int load_first(char **arguments)
{
  double seconds = strtod(arguments[1], NULL);
  struct load_samples samples = {0};
  double begin = load_now(), start = begin;
  while (start < begin + WARM_UP + seconds) {
    if (!try_connection(arguments[0]))
      load_fail("a connection");
    double end = load_now();
    if (start >= begin + WARM_UP)
      load_sample(&samples, end - start);
    start = end;
  }
  load_samples_print(&samples);
  return 0;
}

struct client {
  _Alignas(64) _Atomic uint64_t done;
  _Atomic uint64_t failed;
  const char *to;
};

static void *client_work(void *arg)
{
  struct client *client = arg;
  for (;;) {
    bool fine = try_connection(client->to);
    atomic_fetch_add_explicit(fine ? &client->done : &client->failed, 1, memory_order_relaxed);
    if (!fine)
      load_pause(0.001);
  }
  return NULL;
}

static uint64_t clients_done(struct client *clients, size_t count, uint64_t *failed)
{
  uint64_t done = 0;
  *failed = 0;
  for (size_t i = 0; i < count; i++) {
    done += atomic_load_explicit(&clients[i].done, memory_order_relaxed);
    *failed += atomic_load_explicit(&clients[i].failed, memory_order_relaxed);
  }
  return done;
}

/* Prints connections per second, and how many failed. */
int load_connect(char **arguments)
{
  static struct client clients[CLIENTS_MAX];
  double seconds = strtod(arguments[1], NULL);
  size_t count = strtoul(arguments[2], NULL, 10);
  if (count == 0 || count > CLIENTS_MAX) {
    errno = EINVAL;
    load_fail("connect");
  }
  for (size_t i = 0; i < count; i++) {
    clients[i].to = arguments[0];
    load_thread(client_work, &clients[i]);
  }
  uint64_t failed;
  load_pause(WARM_UP);
  double start = load_now();
  uint64_t before = clients_done(clients, count, &failed);
  load_pause(seconds);
  uint64_t after = clients_done(clients, count, &failed);
  printf("%.1f %llu\n", (double)(after - before) / (load_now() - start), (unsigned long long)failed);
  return 0;
}

struct held {
  int fd;
  bool asked;
  double start;
};

static void held_open(struct held *held, int epoll, const char *to)
{
  *held = (struct held){.start = load_now(), .fd = load_dial(to, true)};
  struct epoll_event event = {.events = EPOLLOUT, .data.ptr = held};
  if (held->fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, held->fd, &event))
    load_fail("connect");
}

/* Whether it came to its end, and if so, whether that is a good one. */
static bool held_step(struct held *held, int epoll, bool *fine)
{
  char byte = LOAD_ECHO;
  *fine = true;
  if (!held->asked) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = held};
    held->asked = true;
    *fine = send(held->fd, &byte, 1, MSG_NOSIGNAL) == 1 && !epoll_ctl(epoll, EPOLL_CTL_MOD, held->fd, &event);
    if (*fine)
      return false;
  } else {
    ssize_t size = recv(held->fd, &byte, 1, 0);
    if (size < 0 && errno == EAGAIN)
      return false;
    *fine = size == 1;
  }
  epoll_ctl(epoll, EPOLL_CTL_DEL, held->fd, NULL);
  if (!*fine)
    close(held->fd);
  return true;
}

/* Prints how many stand, how many failed, and after how many seconds all were there; then how long one took. */
int load_hold(char **arguments)
{
  size_t count = strtoul(arguments[1], NULL, 10), width = strtoul(arguments[2], NULL, 10);
  size_t opened = 0, done = 0, stand = 0;
  struct held *held = calloc(count, sizeof(*held));
  struct load_samples samples = {0};
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (!held || epoll < 0)
    load_fail("hold");
  double begin = load_now();
  while (done < count && load_now() < begin + PATIENCE) {
    while (opened < count && opened - done < width)
      held_open(&held[opened++], epoll, arguments[0]);
    struct epoll_event events[EVENTS];
    int ready = epoll_wait(epoll, events, EVENTS, 1000);
    for (int i = 0; i < ready; i++) {
      bool fine;
      struct held *one = events[i].data.ptr;
      if (!held_step(one, epoll, &fine))
        continue;
      done++;
      if (fine) {
        stand++;
        load_sample(&samples, load_now() - one->start);
      }
    }
  }
  printf("%zu %zu %.6f\n", stand, count - stand, load_now() - begin);
  load_samples_print(&samples);
  while (getchar() != EOF) {
  }
  free(held);
  return 0;
}

int load_spawn(char **arguments)
{
  double seconds = strtod(arguments[0], NULL), interval = strtod(arguments[1], NULL);
  struct load_samples samples = {0};
  posix_spawn_file_actions_t actions;
  if (posix_spawn_file_actions_init(&actions) ||
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0))
    load_fail("posix_spawn_file_actions");
  double begin = load_now(), start = begin;
  while (start < begin + seconds) {
    pid_t pid;
    int status;
    if (posix_spawnp(&pid, arguments[2], &actions, NULL, arguments + 2, environ) || waitpid(pid, &status, 0) != pid ||
        status != 0) {
      errno = ECHILD;
      load_fail(arguments[2]);
    }
    double end = load_now();
    load_sample(&samples, end - start);
    if (end < start + interval)
      load_pause(start + interval - end);
    start = load_now();
  }
  posix_spawn_file_actions_destroy(&actions);
  load_samples_print(&samples);
  return 0;
}
