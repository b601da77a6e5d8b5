/* Socket to stream. A read goes straight into a slab, whose used part becomes the message; the send is started at once.
 * Usually it completes before the call returns, and the next read follows. When flow control holds it back, the
 * completion continues on the queue's thread; when the window is full, an ack does.
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
  TURNS_MAX = 8,      /* reads in a row, and bytes, before other sockets get their turn */
  TURN_BYTES = 1 << 20,
};

static void send_complete(struct rpc_tag *tag, bool ok);

void pump_up_init(struct pump *p)
{
  pthread_mutex_init(&p->up.lock, NULL);
  p->up.tag.complete = send_complete;
  p->up.read_size = READ_MIN;
  p->up.windowed = true;
  window_start(&p->up.window, p->set->limits.window);
}

static void send_done(struct pump *p, bool ok)
{
  grpc_byte_buffer_destroy(p->up.message);
  p->up.message = NULL;
  p->up.sending = false;
  if (ok)
    return;
  p->up.stopped = p->up.over = true;
  pump_ack_stop(p);
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
  pump_ack_stop(p);
  return last != NULL ? start(p, ops, 2) : start(p, ops + 1, 1);
}

/* What stands before `size` bytes of data: an ack, if there is one to say, and the names of the fields. */
static size_t write_prefix(struct pump *p, uint8_t out[PAYLOAD_ACK_MAX + PAYLOAD_PREFIX_MAX], size_t size, bool eof)
{
  size_t used = pump_ack_write(p, out);
  return used + payload_prefix(out + used, size, eof);
}

/* NULL: there is nothing to say. */
static grpc_byte_buffer *message_without_data(struct pump *p, bool eof)
{
  uint8_t bytes[PAYLOAD_ACK_MAX + PAYLOAD_PREFIX_MAX];
  size_t size = write_prefix(p, bytes, 0, eof);
  if (size == 0)
    return NULL;
  grpc_slice slice = grpc_slice_from_copied_buffer((const char *)bytes, size);
  grpc_byte_buffer *message = grpc_raw_byte_buffer_create(&slice, 1);
  grpc_slice_unref(slice);
  return message;
}

static grpc_byte_buffer *data_message(struct pump *p, struct slab_carver *carver, const void *room, size_t size)
{
  uint8_t prefix[PAYLOAD_ACK_MAX + PAYLOAD_PREFIX_MAX];
  grpc_slice slices[2];
  slices[0] = grpc_slice_from_copied_buffer((const char *)prefix, write_prefix(p, prefix, size, false));
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

/* ---- The window ---- */

/* Tells the budget what the window has beyond its beginning. */
static void account(struct pump *p)
{
  uint64_t size = p->up.windowed ? p->up.window.size : 0;
  uint64_t charged = size > WINDOW_MIN ? size - WINDOW_MIN : 0;
  atomic_fetch_add_explicit(&p->set->windows, charged - p->up.charged, memory_order_relaxed);
  p->up.charged = charged;
}

/* Half of what is left, so that there is always some for those that come later. */
static uint64_t budget_here(const struct pump *p)
{
  uint64_t used = atomic_load_explicit(&p->set->windows, memory_order_relaxed);
  return used < p->set->limits.budget ? (p->set->limits.budget - used) / 2 : 0;
}

void pump_up_free(struct pump *p)
{
  p->up.windowed = false;
  account(p);
  set_bulk(p, false);
  grpc_byte_buffer_destroy(p->up.header_due);
  grpc_byte_buffer_destroy(p->up.reset_due);
  pthread_mutex_destroy(&p->up.lock);
}

static struct rpc_stray feed(struct pump *p)
{
  p->up.starved = false;
  return pump_up_run(p);
}

/* Messages complete on two threads, and acks may overtake each other on the way from there. */
static bool is_overtaken(const struct window *w, const struct ack *ack)
{
  return ack->taken <= w->acked && ack->messages <= w->acked_messages;
}

int pump_up_acked(struct pump *p, const struct ack *ack)
{
  struct rpc_stray stray = {NULL, false};
  int error = 0;
  pthread_mutex_lock(&p->up.lock);
  if (!p->up.windowed)
    error = -EPROTO;
  else if (!is_overtaken(&p->up.window, ack))
    error = window_acked(&p->up.window, ack, budget_here(p), pump_now_us());
  account(p);
  if (p->up.starved && window_room(&p->up.window) > 0)
    stray = feed(p);
  pthread_mutex_unlock(&p->up.lock);
  pump_complete_stray(stray);
  return error;
}

void pump_up_limit(struct pump *p, uint64_t limit)
{
  pthread_mutex_lock(&p->up.lock);
  window_limit(&p->up.window, limit);
  account(p);
  pthread_mutex_unlock(&p->up.lock);
}

void pump_up_rest(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  if (p->up.charged > 0) {
    window_rest(&p->up.window, pump_now_us());
    account(p);
  }
  pthread_mutex_unlock(&p->up.lock);
}

void pump_up_unwindowed(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  p->up.windowed = false;
  account(p);
  struct rpc_stray stray = p->up.starved ? feed(p) : (struct rpc_stray){NULL, false};
  pthread_mutex_unlock(&p->up.lock);
  pump_complete_stray(stray);
}

/* How much may be read now; 0: nothing, until an ack comes. */
static size_t room_for_read(const struct pump *p)
{
  size_t most = p->up.read_size;
  if (!p->up.windowed)
    return most;
  uint64_t room = window_room(&p->up.window);
  size_t message = window_message(&p->up.window);
  if (message < most)
    most = message;
  return room < most ? (size_t)room : most;
}

/* ---- Reading ---- */

/* The next read may be twice as large after a full one, and is half as large after one that filled less than a quarter.
 * One that the window cut short says nothing. */
static void adapt(struct pump *p, size_t asked, size_t got)
{
  size_t most = atomic_load_explicit(&p->set->bulk, memory_order_relaxed) > BULK_PUMPS_MAX ? READ_BULK : READ_MAX;
  if (got == p->up.read_size && asked < READ_MAX)
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
  if (last != NULL)
    return send_close(p, last);
  if (p->up.eof_due)
    window_sent(&p->up.window, 1, pump_now_us());
  return send_close(p, message_without_data(p, p->up.eof_due));
}

static struct rpc_stray say_header(struct pump *p)
{
  grpc_byte_buffer *message = p->up.header_due;
  p->up.header_due = NULL;
  return send_message(p, message);
}

static struct rpc_stray say_eof(struct pump *p)
{
  p->up.eof_due = false;
  stop_reading(p);
  window_sent(&p->up.window, 1, pump_now_us());
  return send_message(p, message_without_data(p, true));
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
    pump_tell(p, PUMP_LOCAL_EOF);
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

/* One read and its send. Returns how many bytes; 0: nothing was read. */
static size_t read_once(struct pump *p, struct rpc_stray *stray)
{
  struct slab_carver *carver = carver_here(p->set);
  size_t size = room_for_read(p);
  p->up.starved = size == 0;
  if (p->up.starved)
    return 0;
  void *room = slab_carver_room(carver, size);
  ssize_t n = -1;
  if (room == NULL)
    errno = ENOMEM;
  else
    while ((n = recv(p->fd, room, size, MSG_DONTWAIT)) < 0 && errno == EINTR)
      ;
  if (n > 0) {
    atomic_fetch_add_explicit(&p->bytes_read, (uint64_t)n, memory_order_relaxed);
    if (p->up.windowed)
      window_sent(&p->up.window, (uint64_t)n, pump_now_us());
    rpc_channel_sends(p->channel, p->call, (size_t)n);
    *stray = send_message(p, data_message(p, carver, room, (size_t)n));
    adapt(p, size, (size_t)n);
    return (size_t)n;
  }
  read_none(p, n);
  return 0;
}

/* One word that is due, the most urgent first. False: none is. */
static bool say_next(struct pump *p, struct rpc_stray *stray)
{
  if (p->up.header_due != NULL)
    *stray = say_header(p);
  else if (p->up.reset_due != NULL || p->up.half_close_due)
    *stray = say_last(p);
  else if (p->up.eof_due)
    *stray = say_eof(p);
  else
    return false;
  return true;
}

struct rpc_stray pump_up_run(struct pump *p)
{
  struct rpc_stray stray = {NULL, false};
  size_t bytes = 0;
  for (int turn = 0; !p->up.sending && !p->up.over && stray.tag == NULL; turn++) {
    if (say_next(p, &stray))
      continue;
    if (p->up.stopped || p->fd < 0)
      break;
    if (turn >= TURNS_MAX || bytes >= TURN_BYTES) {
      pump_arm(p, EPOLLIN);
      break;
    }
    size_t n = read_once(p, &stray);
    if (n == 0)
      break;
    bytes += n;
  }
  if (!p->up.sending && !p->up.over && stray.tag == NULL && pump_ack_due(p))
    stray = send_message(p, message_without_data(p, false));
  if (p->fd >= 0 && p->up.discard && !p->up.socket_over)
    discard(p);
  if (p->fd >= 0)
    pump_arm(p, 0);
  return stray;
}

void pump_up_go(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  struct rpc_stray stray = pump_up_run(p);
  pthread_mutex_unlock(&p->up.lock);
  pump_complete_stray(stray);
}
