/* A load generator: how fast do bytes pass through a port? One process both sends and receives, so that one number
 * comes out: it listens on TARGET, dials PORT on loopback STREAMS times, sends on those and counts what arrives on the
 * accepted ones, each thread for itself, for SECONDS after half a second of warming up. Prints MB/s.
 *
 *     flood TARGET PORT STREAMS SECONDS
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 256 << 10, STREAMS_MAX = 64 };

struct stream {
  pthread_t sender, receiver;
  int out, in;
  _Atomic uint64_t received;
};

static void fail(const char *what)
{
  perror(what);
  exit(1);
}

static struct sockaddr_in loopback(const char *port)
{
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static void *stream_send(void *arg)
{
  struct stream *s = arg;
  char *block = calloc(1, BLOCK);
  while (block && send(s->out, block, BLOCK, MSG_NOSIGNAL) > 0) {
  }
  free(block);
  return NULL;
}

static void *stream_receive(void *arg)
{
  struct stream *s = arg;
  char *block = malloc(BLOCK);
  ssize_t size;
  while (block && (size = recv(s->in, block, BLOCK, 0)) > 0)
    atomic_fetch_add_explicit(&s->received, (uint64_t)size, memory_order_relaxed);
  free(block);
  return NULL;
}

static uint64_t streams_received(const struct stream *streams, size_t count)
{
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++)
    sum += atomic_load_explicit(&streams[i].received, memory_order_relaxed);
  return sum;
}

static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void pause_for(double seconds)
{
  struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
  nanosleep(&t, NULL);
}

static void stream_open(struct stream *s, int listener, const char *port)
{
  struct sockaddr_in to = loopback(port);
  s->out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s->out < 0 || connect(s->out, (struct sockaddr *)&to, sizeof(to)) || send(s->out, "!", 1, MSG_NOSIGNAL) != 1)
    fail("connect");
  s->in = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (s->in < 0 || pthread_create(&s->receiver, NULL, stream_receive, s) ||
      pthread_create(&s->sender, NULL, stream_send, s))
    fail("accept");
}

int main(int argc, char **argv)
{
  static struct stream streams[STREAMS_MAX];
  size_t count = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
  double seconds = argc == 5 ? strtod(argv[4], NULL) : 0;
  if (count == 0 || count > STREAMS_MAX || seconds <= 0) {
    fprintf(stderr, "usage: flood TARGET PORT STREAMS SECONDS\n");
    return 2;
  }
  struct sockaddr_in here = loopback(argv[1]);
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
      bind(listener, (struct sockaddr *)&here, sizeof(here)) || listen(listener, STREAMS_MAX))
    fail("listen");
  for (size_t i = 0; i < count; i++)
    stream_open(&streams[i], listener, argv[2]);
  pause_for(0.5);
  double start = now();
  uint64_t before = streams_received(streams, count);
  pause_for(seconds);
  uint64_t after = streams_received(streams, count);
  printf("%.0f\n", (double)(after - before) / (now() - start) / 1e6);
  for (size_t i = 0; i < count; i++) {
    shutdown(streams[i].out, SHUT_RDWR);
    shutdown(streams[i].in, SHUT_RDWR);
  }
  for (size_t i = 0; i < count; i++) {
    pthread_join(streams[i].sender, NULL);
    pthread_join(streams[i].receiver, NULL);
    close(streams[i].out);
    close(streams[i].in);
  }
  close(listener);
  return 0;
}
