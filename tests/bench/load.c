/* The load generator: one program with a word for each thing that the benchmark does at either end of a tunnel.
 *
 *     load serve AT                       a server for all of the words below; the first byte tells what is wanted
 *     load flood TO WAY STREAMS           WAY is sink, source, neglect (the server does not read) or ignore (we do not)
 *     load ping TO SECONDS INTERVAL       64 bytes there and back on one connection; INTERVAL seconds between them
 *     load first TO SECONDS               a new connection and a byte, until it is back
 *     load connect TO SECONDS CLIENTS     a connection, a byte there and back, and away
 *     load hold TO COUNT WIDTH            connections that stay, WIDTH of them being opened at any time
 *     load spawn SECONDS INTERVAL COMMAND...  how long a command takes
 *
 * AT and TO are PORT or ADDRESS:PORT. Servers, flood and hold stay until their input ends; serve and flood answer each
 * line of it with "RECEIVED SENT SECONDS": bytes so far, and the clock. The others print what they found, and end.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES_MAX = 4 << 20, THREAD_STACK = 128 << 10, BACKLOG = 4096 };

static char data[LOAD_DATA];

void load_fail(const char *what)
{
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

double load_now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void load_pause(double seconds)
{
  struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&t, NULL);
}

static struct sockaddr_in address_parse(const char *text)
{
  const char *colon = strrchr(text, ':');
  char host[INET_ADDRSTRLEN] = "127.0.0.1";
  if (colon)
    snprintf(host, sizeof(host), "%.*s", (int)(colon - text), text);
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(colon ? colon + 1 : text, NULL, 10))};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1 || address.sin_port == 0) {
    errno = EINVAL;
    load_fail(text);
  }
  return address;
}

int load_listen(const char *at)
{
  struct sockaddr_in address = address_parse(at);
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) ||
      bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG))
    load_fail(at);
  return fd;
}

/* Or -1. */
int load_dial(const char *to, bool nonblocking)
{
  struct sockaddr_in address = address_parse(to);
  int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
  if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)))
    load_fail("socket");
  if (connect(fd, (struct sockaddr *)&address, sizeof(address)) && errno != EINPROGRESS) {
    int error = errno;
    close(fd);
    errno = error;
    return -1;
  }
  return fd;
}

/* Nothing that could be made smaller on the way. */
void load_data_fill(void)
{
  uint64_t state = 88172645463325252;
  for (size_t at = 0; at < LOAD_DATA; at += sizeof(state)) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy(data + at, &state, sizeof(state));
  }
}

void load_send_all(struct load_flow *flow)
{
  ssize_t size;
  while ((size = send(flow->fd, data + flow->offset, LOAD_SEND, MSG_NOSIGNAL)) > 0) {
    flow->offset = (flow->offset + LOAD_SEND) % LOAD_DATA;
    atomic_fetch_add_explicit(&flow->moved, (uint64_t)size, memory_order_relaxed);
  }
}

void load_receive_all(struct load_flow *flow)
{
  char *room = malloc(LOAD_RECEIVE);
  ssize_t size;
  if (!room)
    load_fail("malloc");
  while ((size = recv(flow->fd, room, LOAD_RECEIVE, 0)) > 0)
    atomic_fetch_add_explicit(&flow->moved, (uint64_t)size, memory_order_relaxed);
  free(room);
}

void load_thread(void *(*work)(void *), void *arg)
{
  pthread_t thread;
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) || pthread_attr_setstacksize(&attributes, THREAD_STACK) ||
      pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED))
    load_fail("pthread_attr");
  int error = pthread_create(&thread, &attributes, work, arg);
  if (error) {
    errno = error;
    load_fail("pthread_create");
  }
  pthread_attr_destroy(&attributes);
}

void load_sample(struct load_samples *samples, double seconds)
{
  if (samples->count == samples->room) {
    if (samples->room >= SAMPLES_MAX)
      return;
    samples->room = samples->room ? 2 * samples->room : 4096;
    samples->values = realloc(samples->values, samples->room * sizeof(*samples->values));
    if (!samples->values)
      load_fail("realloc");
  }
  samples->values[samples->count++] = (uint32_t)(seconds * 1e6);
}

static int value_compare(const void *a, const void *b)
{
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

void load_samples_print(struct load_samples *samples)
{
  size_t count = samples->count;
  if (count == 0) {
    errno = ENODATA;
    load_fail("nothing was measured");
  }
  qsort(samples->values, count, sizeof(*samples->values), value_compare);
  printf("%zu %u %u\n", count, samples->values[count / 2], samples->values[count * 99 / 100]);
  free(samples->values);
}

int main(int argc, char **argv)
{
  static const struct {
    const char *name;
    int least;
    int (*run)(char **arguments);
  } words[] = {
      {"serve", 1, load_serve},     {"flood", 3, load_flood}, {"ping", 3, load_ping},   {"first", 2, load_first},
      {"connect", 3, load_connect}, {"hold", 3, load_hold},   {"spawn", 3, load_spawn},
  };
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (size_t i = 0; argc > 1 && i < sizeof(words) / sizeof(words[0]); i++)
    if (strcmp(argv[1], words[i].name) == 0 && argc - 2 >= words[i].least)
      return words[i].run(argv + 2);
  fprintf(stderr, "usage: load serve|flood|ping|first|connect|hold|spawn ARGUMENT...\n");
  return 2;
}
