#include "fixture_proto_joiner.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/wire/header.h"
#include "proto/wire/payload.h"
#include "proto/wire/raw.h"

#include "holds.h"

enum { ENDS_MAX = 256, BUFFER = 64 << 10, WORDS_MAX = 16 };

struct end {
  int fd; /* -1: closed */
  struct end *partner;
  uint64_t epoch;
  bool parks, has_header;
  uint8_t first[RAW_FIRST_MAX];
  size_t first_size;
  struct raw_place place;
  uint8_t buffer[BUFFER]; /* came here, or a preamble as far as it came */
  size_t at, size;
  bool over, passed;
};

static struct joiner {
  pthread_t thread;
  int listener;
  atomic_bool stopped;
  _Atomic uint64_t cut;
  struct raw_keys keys;
  struct end ends[ENDS_MAX];
  size_t count;
} joiner;

static void reset(struct end *e)
{
  setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
  close(e->fd);
  e->fd = -1;
}

static void reset_both(struct end *e)
{
  reset(e);
  if (e->partner != NULL && e->partner->fd >= 0)
    reset(e->partner);
}

static void arrive(void)
{
  int fd = accept4(joiner.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0)
    return;
  holds(joiner.count < ENDS_MAX);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
  struct end *e = &joiner.ends[joiner.count++];
  e->fd = fd;
}

static void read_header(struct end *e)
{
  struct iovec part = {.iov_base = e->first, .iov_len = e->first_size};
  struct payload payload;
  struct header h;
  const char *why;
  holds(payload_parse(&part, 1, &payload) == 0 && payload.has_header);
  holds(header_unpack(e->first + payload.header_at, payload.header_size, &h, &why) == 0);
  e->epoch = h.epoch;
  e->parks = !h.has_connection;
  e->has_header = true;
}

static void join(struct end *dialled, struct end *parked)
{
  dialled->partner = parked;
  parked->partner = dialled;
  parked->size = dialled->size = 0;
  uint8_t word[RAW_WORD_MAX];
  size_t size = raw_word_seal_first(word, &joiner.keys, &parked->place, dialled->first, dialled->first_size);
  holds(send(parked->fd, word, size, MSG_NOSIGNAL) == (ssize_t)size || errno == ECONNRESET || errno == EPIPE);
}

static void find_partner(struct end *e)
{
  for (size_t i = 0; i < joiner.count; i++) {
    struct end *other = &joiner.ends[i];
    if (other->fd >= 0 && other->has_header && other->partner == NULL && other->epoch == e->epoch &&
        other->parks != e->parks) {
      join(e->parks ? other : e, e->parks ? e : other);
      return;
    }
  }
}

static void answer_question(struct end *e)
{
  uint8_t word[RAW_WORD_MAX];
  size_t size = raw_word_seal_status(word, &joiner.keys, &e->place, RPC_OK, "");
  holds(send(e->fd, word, size, MSG_NOSIGNAL) == (ssize_t)size);
  close(e->fd);
  e->fd = -1;
}

/* A greeting is followed by another preamble; what comes behind a header stays in the socket. */
static void take_preamble(struct end *e, const struct raw_head *head)
{
  e->size = 0;
  int size = raw_preamble_open(&joiner.keys, e->buffer, e->buffer + RAW_HEAD_SIZE, e->first);
  holds(size >= 0);
  e->first_size = (size_t)size;
  e->place = (struct raw_place){.counter = head->counter};
  if (size == 1)
    answer_question(e);
  else if (size > 1) {
    read_header(e);
    find_partner(e);
  }
}

static void read_preamble(struct end *e)
{
  struct raw_head head = {0};
  size_t whole = RAW_HEAD_SIZE;
  if (e->size >= RAW_HEAD_SIZE) {
    holds(raw_head_read(e->buffer, &head) == 0);
    whole += head.sealed;
  }
  ssize_t n = recv(e->fd, e->buffer + e->size, whole - e->size, MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN)
    return;
  if (n <= 0) {
    reset(e);
    return;
  }
  e->size += (size_t)n;
  if (e->size == whole && whole > RAW_HEAD_SIZE)
    take_preamble(e, &head);
}

/* False: it failed. */
static bool pass(struct end *from, struct end *to)
{
  if (from->size == 0 && !from->over) {
    ssize_t n = recv(from->fd, from->buffer, sizeof from->buffer, MSG_DONTWAIT);
    from->over = n == 0;
    from->at = 0;
    from->size = n > 0 ? (size_t)n : 0;
    if (n < 0 && errno != EAGAIN)
      return false;
  }
  if (from->size > 0) {
    ssize_t n = send(to->fd, from->buffer + from->at, from->size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
      return false;
    from->at += n > 0 ? (size_t)n : 0;
    from->size -= n > 0 ? (size_t)n : 0;
  }
  if (from->over && from->size == 0 && !from->passed) {
    from->passed = true;
    return shutdown(to->fd, SHUT_WR) == 0;
  }
  return true;
}

static void serve(struct end *e)
{
  if (e->fd < 0)
    return;
  if (!e->has_header) {
    read_preamble(e);
    return;
  }
  if (e->partner == NULL)
    return;
  bool is_cut = atomic_load(&joiner.cut) == e->epoch;
  if (is_cut || !pass(e, e->partner))
    reset_both(e);
  else if (e->passed && e->partner->passed) {
    close(e->fd);
    close(e->partner->fd);
    e->fd = e->partner->fd = -1;
  }
}

static void *run(void *arg)
{
  (void)arg;
  while (!atomic_load(&joiner.stopped)) {
    struct pollfd polled[ENDS_MAX + 1];
    nfds_t count = 0;
    polled[count++] = (struct pollfd){.fd = joiner.listener, .events = POLLIN};
    for (size_t i = 0; i < joiner.count; i++) {
      const struct end *e = &joiner.ends[i];
      bool reads = !e->has_header || (e->size == 0 && !e->over), writes = e->partner != NULL && e->partner->size > 0;
      if (e->fd >= 0 && (!e->has_header || e->partner != NULL))
        polled[count++] =
            (struct pollfd){.fd = e->fd, .events = (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0))};
    }
    poll(polled, count, 1);
    arrive();
    for (size_t i = 0; i < joiner.count; i++)
      serve(&joiner.ends[i]);
  }
  return NULL;
}

void joiner_start(struct raw_line_options *out)
{
  memset(&joiner, 0, sizeof joiner);
  memset(out, 0, sizeof *out);
  struct sockaddr_in *at = (struct sockaddr_in *)&out->address;
  socklen_t size = sizeof *at;
  *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  memset(out->secret, 's', sizeof out->secret);
  raw_keys_derive(&joiner.keys, out->secret);
  joiner.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  holds(bind(joiner.listener, (struct sockaddr *)at, size) == 0 && listen(joiner.listener, 64) == 0);
  holds(getsockname(joiner.listener, (struct sockaddr *)at, &size) == 0);
  holds(pthread_create(&joiner.thread, NULL, run, NULL) == 0);
}

void joiner_stop(void)
{
  atomic_store(&joiner.stopped, true);
  pthread_join(joiner.thread, NULL);
  for (size_t i = 0; i < joiner.count; i++)
    if (joiner.ends[i].fd >= 0)
      close(joiner.ends[i].fd);
  close(joiner.listener);
}

void joiner_cut(uint64_t epoch)
{
  atomic_store(&joiner.cut, epoch);
}
