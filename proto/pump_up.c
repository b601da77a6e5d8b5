/* Socket to stream. A read goes straight into a slab, whose used part becomes the message; the send is started at once.
 * Usually it completes before the call returns, and the next read follows. When flow control holds it back, the
 * completion continues on the queue's thread: that is the backpressure.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "pump_internal.h"

enum {
  READ_MIN = 16 << 10,
  READ_BULK = 256 << 10,
  READ_MAX = SLAB_SIZE,
  COPY_MAX = 2 << 10,
  BULK_PUMPS_MAX = 2, /* with more of them, large messages only cost memory */
  TURNS_MAX = 8,      /* reads in a row before other sockets get their turn */
};

static void send_complete(struct rpc_tag *tag, bool ok);

void pump_up_init(struct pump *p)
{
  p->up.tag.complete = send_complete;
  p->up.read_size = READ_MIN;
}

static void send_done(struct pump *p, bool ok)
{
  grpc_byte_buffer_destroy(p->up.message);
  p->up.message = NULL;
  p->up.sending = false;
  if (!ok)
    p->up.stopped = p->up.over = true;
}

void pump_complete_stray(struct rpc_stray stray)
{
  if (stray.tag != NULL)
    rpc_tag_complete(stray.tag, stray.ok);
}

static void send_complete(struct rpc_tag *tag, bool ok)
{
  struct pump *p = (struct pump *)((char *)tag - offsetof(struct pump, up.tag));
  pthread_mutex_lock(&p->up.lock);
  send_done(p, ok);
  struct rpc_stray stray = pump_up_run(p);
  pthread_mutex_unlock(&p->up.lock);
  pump_complete_stray(stray);
  pump_unref(p);
}

/* Starts a batch whose completion, if it is immediate, comes back here rather than through the queue. (What comes back
 * may be another's: then this one is still to come.) */
static struct rpc_stray start(struct pump *p, const grpc_op *ops, size_t count)
{
  struct rpc_stray stray = {NULL, false};
  void *tag = NULL;
  int ok = 0;
  p->up.sending = true;
  pump_ref(p);
  grpc_completion_queue_thread_local_cache_init(rpc_queue_cq(p->set->queue));
  int error = rpc_start_batch(p->call, ops, count, &p->up.tag);
  if (grpc_completion_queue_thread_local_cache_flush(rpc_queue_cq(p->set->queue), &tag, &ok))
    stray = (struct rpc_stray){tag, ok != 0};
  if (error != 0) {
    send_done(p, false);
    pump_unref(p);
    grpc_call_cancel(p->call, NULL);
  } else if (stray.tag == &p->up.tag) {
    rpc_tag_take(stray.tag);
    send_done(p, stray.ok);
    pump_unref(p);
    stray.tag = NULL;
  }
  return stray;
}

int pump_up_start(struct pump *p, grpc_byte_buffer *header, const grpc_metadata *metadata, size_t metadata_count)
{
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}};
  ops[0].data.send_initial_metadata.count = metadata_count;
  ops[0].data.send_initial_metadata.metadata = (grpc_metadata *)(uintptr_t)metadata;
  ops[1].data.send_message.send_message = header;
  p->up.message = header;
  p->up.sending = true;
  pump_ref(p);
  int error = rpc_start_batch(p->call, ops, 2, &p->up.tag);
  if (error != 0) {
    send_done(p, false);
    pump_unref(p);
  }
  return error;
}

static struct rpc_stray send_message(struct pump *p, grpc_byte_buffer *message)
{
  grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
  op.data.send_message.send_message = message;
  p->up.message = message;
  return start(p, &op, 1);
}

static struct rpc_stray send_close(struct pump *p, grpc_byte_buffer *last)
{
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_MESSAGE}, {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
  ops[0].data.send_message.send_message = last;
  p->up.message = last;
  p->up.over = p->up.stopped = true;
  return last != NULL ? start(p, ops, 2) : start(p, ops + 1, 1);
}

static grpc_byte_buffer *eof_message(void)
{
  uint8_t bytes[PAYLOAD_PREFIX_MAX];
  grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, payload_prefix(bytes, 0, true));
  grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return message;
}

static grpc_byte_buffer *data_message(struct slab_carver *carver, const void *room, size_t size)
{
  uint8_t prefix[PAYLOAD_PREFIX_MAX];
  grpc_slice slices[2];
  slices[0] = grpc_slice_from_copied_buffer((const char *)prefix, payload_prefix(prefix, size, false));
  slices[1] = size <= COPY_MAX ? grpc_slice_from_copied_buffer(room, size) : slab_carver_take(carver, size);
  grpc_byte_buffer *message = grpc_raw_byte_buffer_create(slices, 2);
  grpc_slice_unref(slices[0]);
  grpc_slice_unref(slices[1]);
  return message;
}

static void set_bulk(struct pump *p, bool bulk)
{
  if (bulk == p->up.bulk)
    return;
  p->up.bulk = bulk;
  atomic_fetch_add_explicit(&p->set->bulk, bulk ? 1 : -1, memory_order_relaxed);
}

/* The next read is twice as large after a full one, half as large after one that filled less than a quarter. */
static void adapt(struct pump *p, size_t asked, size_t got)
{
  size_t most = atomic_load_explicit(&p->set->bulk, memory_order_relaxed) > BULK_PUMPS_MAX ? READ_BULK : READ_MAX;
  if (got == asked && asked < READ_MAX)
    p->up.read_size *= 2;
  else if (got < asked / 4 && asked > READ_MIN)
    p->up.read_size /= 2;
  if (p->up.read_size > most)
    p->up.read_size = most;
  set_bulk(p, p->up.read_size >= READ_BULK);
}

static void stop_reading(struct pump *p)
{
  p->up.stopped = true;
  set_bulk(p, false);
}

/* A reset outdoes an end. */
static struct rpc_stray say_last(struct pump *p)
{
  grpc_byte_buffer *last = p->up.reset_due;
  p->up.reset_due = NULL;
  stop_reading(p);
  if (last == NULL && p->up.eof_due)
    last = eof_message();
  return send_close(p, last);
}

/* A reset is told to one of the threads that use a socket, and is an end to the other. Only as long as our own end is
 * not said: both ends bring a connection to the same state. */
static bool was_reset(const struct pump *p)
{
  struct tcp_info info = {0};
  socklen_t size = sizeof info;
  return !atomic_load(&p->shut) && getsockopt(p->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
         info.tcpi_state == TCP_CLOSE;
}

/* What recv answered instead of bytes. */
static void read_none(struct pump *p, ssize_t n)
{
  int error = n < 0 ? errno : was_reset(p) ? ECONNRESET : 0;
  if (error == EAGAIN) {
    pump_arm(p, EPOLLIN);
    return;
  }
  stop_reading(p);
  p->up.socket_over = true;
  if (error == 0)
    pump_tell_local_eof(p);
  else
    pump_tell_socket_failed(p, error);
}

static void discard(struct pump *p)
{
  char waste[16 << 10];
  ssize_t n = 1;
  for (int turn = 0; turn < TURNS_MAX && n > 0; turn++)
    while ((n = recv(p->fd, waste, sizeof waste, MSG_DONTWAIT)) < 0 && errno == EINTR)
      ;
  if (n > 0)
    pump_arm(p, EPOLLIN);
  else
    read_none(p, n);
}

/* The calling thread's. What was started on the queue's thread may complete on the loop's. */
static struct slab_carver *carver_here(struct pump_set *set)
{
  return pthread_equal(pthread_self(), set->loop_thread) ? &set->loop_carver : &set->cq_carver;
}

/* One read and its send. False: nothing was read. */
static bool read_once(struct pump *p, struct rpc_stray *stray)
{
  struct slab_carver *carver = carver_here(p->set);
  size_t size = p->up.read_size;
  void *room = slab_carver_room(carver, size);
  ssize_t n = -1;
  if (room == NULL)
    errno = ENOMEM;
  else
    while ((n = recv(p->fd, room, size, MSG_DONTWAIT)) < 0 && errno == EINTR)
      ;
  if (n > 0) {
    atomic_fetch_add_explicit(&p->bytes_read, (uint64_t)n, memory_order_relaxed);
    *stray = send_message(p, data_message(carver, room, (size_t)n));
    adapt(p, size, (size_t)n);
    return true;
  }
  read_none(p, n);
  return false;
}

struct rpc_stray pump_up_run(struct pump *p)
{
  struct rpc_stray stray = {NULL, false};
  for (int turn = 0; !p->up.sending && !p->up.over && stray.tag == NULL; turn++) {
    if (p->up.reset_due != NULL || p->up.eof_due || p->up.half_close_due)
      return say_last(p);
    if (p->up.stopped || p->fd < 0)
      break;
    if (turn == TURNS_MAX) {
      pump_arm(p, EPOLLIN);
      return stray;
    }
    if (!read_once(p, &stray))
      break;
  }
  if (p->fd >= 0 && p->up.discard && !p->up.socket_over)
    discard(p);
  if (p->fd >= 0)
    pump_arm(p, 0);
  return stray;
}
