/* The server. One thread takes connections, reads their first byte, and answers whatever is small; a connection that
 * wants bulk gets a thread of its own, so that bulk is moved by plain blocking calls and counted without sharing. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, SMALL = 4096, FRESH = 0 };

struct bulk {
  struct load_flow flow;
  enum load_role role;
  LIST_ENTRY(bulk) entry;
};

struct server {
  int epoll, listener;
  pthread_mutex_t lock; /* the list, and what is left of those that ended */
  LIST_HEAD(, bulk) bulks;
  uint64_t received, sent;
};

static struct server server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void bulk_count(const struct bulk *b, uint64_t *received, uint64_t *sent)
{
  *(b->role == LOAD_SINK ? received : sent) += atomic_load_explicit(&b->flow.moved, memory_order_relaxed);
}

static void *bulk_work(void *arg)
{
  struct bulk *b = arg;
  if (b->role == LOAD_SINK)
    load_receive_all(&b->flow);
  else
    load_send_all(&b->flow);
  pthread_mutex_lock(&server.lock);
  LIST_REMOVE(b, entry);
  bulk_count(b, &server.received, &server.sent);
  pthread_mutex_unlock(&server.lock);
  close(b->flow.fd);
  free(b);
  return NULL;
}

static void bulk_begin(int fd, enum load_role role)
{
  static size_t next;
  struct bulk *b = aligned_alloc(_Alignof(struct bulk), sizeof(*b));
  if (!b || epoll_ctl(server.epoll, EPOLL_CTL_DEL, fd, NULL) || fcntl(fd, F_SETFL, 0))
    load_fail("a bulk connection");
  *b = (struct bulk){.flow = {.fd = fd, .offset = next}, .role = role};
  next = (next + LOAD_DATA / 8) % LOAD_DATA;
  pthread_mutex_lock(&server.lock);
  LIST_INSERT_HEAD(&server.bulks, b, entry);
  pthread_mutex_unlock(&server.lock);
  load_thread(bulk_work, b);
}

/* A connection is an event's number: its descriptor, and above it what is known of its role. */
static uint64_t connection(int fd, unsigned role)
{
  return (uint64_t)role << 32 | (uint32_t)fd;
}

static void watch(int operation, int fd, unsigned role)
{
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = connection(fd, role)};
  if (epoll_ctl(server.epoll, operation, fd, &event))
    load_fail("epoll_ctl");
}

static void accept_all(void)
{
  int fd;
  while ((fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
    watch(EPOLL_CTL_ADD, fd, FRESH);
  }
  if (errno != EAGAIN && errno != ECONNABORTED)
    load_fail("accept");
}

static void answer(int fd, unsigned role)
{
  char room[SMALL];
  /* Of a connection that wants something else than an echo, no more than its first byte is taken here. */
  ssize_t size = recv(fd, room, role == FRESH ? 1 : sizeof(room), 0);
  if (size < 0 && errno == EAGAIN)
    return;
  if (size <= 0) {
    close(fd);
    return;
  }
  if (role == FRESH) {
    role = (unsigned char)room[0];
    if (role == LOAD_NEGLECT) {
      epoll_ctl(server.epoll, EPOLL_CTL_DEL, fd, NULL);
      return;
    }
    if (role == LOAD_SINK || role == LOAD_SOURCE) {
      bulk_begin(fd, role);
      return;
    }
    watch(EPOLL_CTL_MOD, fd, LOAD_ECHO);
    ssize_t more = recv(fd, room + 1, sizeof(room) - 1, 0);
    size += more > 0 ? more : 0;
  }
  if (send(fd, room, (size_t)size, MSG_NOSIGNAL) != size)
    close(fd);
}

static void *serve(void *arg)
{
  (void)arg;
  struct epoll_event events[EVENTS];
  for (;;) {
    int count = epoll_wait(server.epoll, events, EVENTS, -1);
    if (count < 0 && errno != EINTR)
      load_fail("epoll_wait");
    for (int i = 0; i < count; i++) {
      int fd = (int)(uint32_t)events[i].data.u64;
      if (fd == server.listener)
        accept_all();
      else
        answer(fd, (unsigned)(events[i].data.u64 >> 32));
    }
  }
  return NULL;
}

int load_serve(char **arguments)
{
  load_data_fill();
  server.listener = load_listen(arguments[0]);
  server.epoll = epoll_create1(EPOLL_CLOEXEC);
  if (server.epoll < 0)
    load_fail("epoll_create1");
  watch(EPOLL_CTL_ADD, server.listener, FRESH);
  load_thread(serve, NULL);
  printf("ready\n");
  for (int c; (c = getchar()) != EOF;) {
    if (c != '\n')
      continue;
    pthread_mutex_lock(&server.lock);
    uint64_t received = server.received, sent = server.sent;
    for (struct bulk *b = server.bulks.lh_first; b; b = b->entry.le_next)
      bulk_count(b, &received, &sent);
    pthread_mutex_unlock(&server.lock);
    printf("%llu %llu %.6f\n", (unsigned long long)received, (unsigned long long)sent, load_now());
  }
  return 0;
}
