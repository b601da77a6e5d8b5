/* What the socket brings. A read goes straight into a slab, whose used part becomes the body of a message; or through a
 * pipe (pump_splice.c). How much is asked for follows what came.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "pump_internal.h"

enum {
  READ_BULK = 256 << 10,
  READ_MAX = SLAB_LARGE,
  BULK_PUMPS_MAX = 2, /* with more of them, large messages only cost memory */
  DISCARDS_MAX = 8,   /* reads in a row, before other sockets get their turn */
};

void pump_read_bulk(struct pump *p, bool bulk)
{
  if (bulk == p->up.bulk)
    return;
  p->up.bulk = bulk;
  atomic_fetch_add_explicit(&p->set->bulk, bulk ? 1 : -1, memory_order_relaxed);
}

/* How much may be read now; 0: nothing, until an ack comes. */
static size_t room_for_read(const struct pump *p, size_t most)
{
  if (!p->up.windowed)
    return most;
  uint64_t room = window_room(&p->up.window);
  size_t message = window_message(&p->up.window);
  if (message < most)
    most = message;
  return room < most ? (size_t)room : most;
}

/* The next read may be twice as large after a full one, and is half as large after one that filled less than a quarter.
 * One that the window cut short says nothing. */
static void adapt(struct pump *p, size_t asked, size_t got)
{
  size_t most = atomic_load_explicit(&p->set->bulk, memory_order_relaxed) > BULK_PUMPS_MAX ? READ_BULK : READ_MAX;
  if (got == p->up.read_size && asked < READ_MAX)
    p->up.read_size *= 2;
  else if (got < asked / 4 && asked > PUMP_READ_MIN)
    p->up.read_size /= 2;
  if (p->up.read_size > most)
    p->up.read_size = most;
  pump_read_bulk(p, p->up.read_size >= READ_BULK);
}

void pump_read_stop(struct pump *p)
{
  p->up.stopped = true;
  pump_read_bulk(p, false);
}

/* A reset is told to one of the threads that use a socket, and is an end to the other. The socket's state tells it only
 * as long as our own end is not said: both ends bring a connection to the same state. */
static bool was_reset(const struct pump *p)
{
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  if (atomic_load(&p->socket_error) != 0)
    return true;
  return !atomic_load(&p->shut) && getsockopt(p->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         info.tcpi_state == TCP_CLOSE;
}

static void show(const struct pump *p, const struct bytes *read)
{
  if (p->observer != NULL)
    p->observer->from_socket(p->observer, pump_splice_has(read) ? NULL : (const char *)read->at, read->size);
}

/* What recv answered instead of bytes, with a negative errno. */
static void read_none(struct pump *p, int n)
{
  int error = n < 0 ? -n : was_reset(p) ? ECONNRESET : 0;
  p->up.dry = error == EAGAIN;
  if (p->up.dry)
    return;
  pump_read_stop(p);
  p->up.socket_over = true;
  if (error == 0) {
    show(p, &(struct bytes){0});
    pump_tell(p, PUMP_LOCAL_EOF);
  } else {
    pump_tell_socket_failed(p, error);
  }
}

static ssize_t receive(struct pump *p, void *room, size_t size)
{
  ssize_t n;
  do
    n = p->is_unix ? pump_unix_read(p, room, size) : recv(p->fd, room, size, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n;
}

void pump_read_discard(struct pump *p)
{
  char waste[16 << 10];
  ssize_t n = 1;
  for (int turn = 0; turn < DISCARDS_MAX && n > 0; turn++)
    n = receive(p, waste, sizeof waste);
  if (n > 0)
    pump_go_on(p);
  else
    read_none(p, n < 0 ? -errno : 0);
}

struct slab_carver *pump_carver_here(struct pump *p)
{
  struct pump_set *set = p->set;
  if (!pthread_equal(pthread_self(), set->loop_thread))
    return &set->other_large;
  return p->stream != NULL && p->stream->stream->kind->message_max > SLAB_SMALL ? &set->loop_large : &set->small;
}

/* What was read into the room. -ENOMEM. */
static int bytes_of(struct slab_carver *carver, const void *room, size_t size, struct bytes *out)
{
  if (size <= PUMP_COPY_MAX)
    return bytes_copy(out, room, size);
  *out = slab_carver_take(carver, size);
  return 0;
}

/* 0, or -ENOMEM: the connection is broken. */
static int add_data(struct pump *p, struct bytes *read)
{
  unsigned char body[SEQUENCE_BODY_SIZE] = {0};
  memcpy(body, read, sizeof *read);
  int error = sequence_out_add(&p->up.sequence, (uint32_t)read->size, body);
  if (error != 0 && !pump_splice_has(read))
    bytes_drop(read);
  else if (error == 0 && p->up.windowed)
    window_sent(&p->up.window, read->size, pump_now_us());
  pump_up_account(p);
  return error;
}

/* As recv, but with a negative errno. */
static ssize_t read_by_copy(struct pump *p, size_t size, struct bytes *out)
{
  struct slab_carver *carver = pump_carver_here(p);
  void *room = slab_carver_room(carver, size);
  if (room == NULL)
    return -ENOMEM;
  ssize_t n = receive(p, room, size);
  if (n < 0)
    return -errno;
  return n > 0 && bytes_of(carver, room, (size_t)n, out) != 0 ? -ENOMEM : n;
}

/* The same through a pipe. -ENOTSUP: not now. */
static ssize_t read_by_pipe(struct pump *p, size_t *size, struct bytes *out)
{
  if (!pump_splice_wants(p))
    return -ENOTSUP;
  *size = room_for_read(p, READ_BULK);
  size_t room = pump_splice_room(p);
  if (*size > room)
    *size = room;
  return *size > 0 ? pump_splice_read(p, *size, out) : -EBUSY;
}

/* When less came than could have, and little, what comes next is
 * worth waiting for. (Of what comes in a stream, more is usually there already.) */
size_t pump_read(struct pump *p)
{
  struct bytes read;
  size_t size;
  ssize_t n = read_by_pipe(p, &size, &read);
  if (n == -ENOTSUP) {
    size_t message_max = p->stream->stream->kind->message_max;
    size = room_for_read(p, p->up.read_size < message_max ? p->up.read_size : message_max);
    n = size > 0 ? read_by_copy(p, size, &read) : -EBUSY;
  }
  p->up.starved = n == -EBUSY;
  if (p->up.starved)
    return 0;
  if (n > 0 && add_data(p, &read) != 0)
    n = -ENOMEM;
  if (n <= 0) {
    read_none(p, (int)n);
    return 0;
  }
  show(p, &read);
  atomic_fetch_add_explicit(&p->bytes_read, (uint64_t)n, memory_order_relaxed);
  adapt(p, size, (size_t)n);
  p->up.dry = (size_t)n < size && n <= PUMP_COPY_MAX && !p->up.watchful && !p->is_unix;
  return (size_t)n;
}

void pump_read_drain(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  while (p->stream != NULL && !p->up.stopped && p->fd >= 0 && pump_read(p) > 0)
    ;
  pthread_mutex_unlock(&p->up.lock);
}
