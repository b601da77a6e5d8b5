/* Socket to stream. A read goes straight into a slab, whose used part becomes the message, which is kept until it is
 * acknowledged; the send is started at once. Usually it is done before the call returns, and the next read follows.
 * When flow control holds it back, the stream's answer continues, on whatever thread; when the window is full, an ack
 * does. On a new stream what is kept goes first.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "pump_internal.h"

enum {
  READ_MIN = 16 << 10,
  READ_BULK = 256 << 10,
  READ_MAX = SLAB_SIZE,
  BULK_PUMPS_MAX = 2, /* with more of them, large messages only cost memory */
  TURNS_MAX = 8,      /* reads in a row, and bytes, before other sockets get their turn */
  TURN_BYTES = 1 << 20,
  PREFIX_MAX = PAYLOAD_ACK_MAX + 3 * PAYLOAD_PREFIX_MAX,
};

void pump_up_init(struct pump *p)
{
  pthread_mutex_init(&p->up.lock, NULL);
  pump_keep_init(p);
  p->up.read_size = READ_MIN;
  p->up.windowed = true;
  window_start(&p->up.window, p->set->limits.window);
  p->up.window_said = WINDOW_MIN; /* as everybody knows */
}

/* ---- Sending ---- */

static size_t write_window(struct pump *p, uint8_t out[PAYLOAD_PREFIX_MAX])
{
  uint64_t meant = window_meant(&p->up.window);
  p->up.window_due = false;
  if (!p->up.windowed || meant == p->up.window_said)
    return 0;
  p->up.window_said = meant;
  return payload_window(out, meant);
}

/* What stands before data: an ack, if there is one to say, what is meant to be under way, if that is news, and the
 * names of the fields. `piece`: NULL, or data or the end. */
static size_t write_prefix(struct pump *p, uint8_t out[PREFIX_MAX], const struct piece *piece)
{
  size_t used = pump_ack_write(p, out);
  used += write_window(p, out + used);
  if (piece == NULL)
    return used;
  if (piece->at != p->stream->out.at)
    used += payload_offset(out + used, piece->at);
  return used + payload_prefix(out + used, piece->size, piece->size == 0);
}

/* What is not data, which may be nothing. An ack that was due may have gone meanwhile. */
static void say_alone(struct pump *p, bool last, struct errand **later)
{
  uint8_t prefix[PREFIX_MAX];
  struct stream_say what = {.head = prefix, .head_size = write_prefix(p, prefix, NULL), .last = last};
  if (what.head_size > 0 || last)
    pump_say(p->stream, &what, later);
}

/* Where the data of a message is: in memory, or in a pipe that is given away. False: memory is short, and the
 * connection is broken. */
static bool find_body(struct pump *p, const struct piece *piece, struct bytes *body, struct pooled_pipe **pipe)
{
  memcpy(body, piece->body, sizeof *body);
  if (!pump_splice_has(body))
    return true;
  *pipe = pump_splice_say(p, piece);
  if (*pipe != NULL)
    return true;
  int error = pump_splice_land(p);
  if (error != 0)
    pump_tell_socket_failed(p, -error);
  memcpy(body, piece->body, sizeof *body);
  return error == 0;
}

/* The next message of the sequence; with it the stream is half-closed if it is the last, and that is due. */
static void say_piece(struct pump *p, const struct piece *piece, struct errand **later)
{
  struct pump_stream *s = p->stream;
  uint8_t prefix[PREFIX_MAX];
  struct bytes body;
  struct stream_say what = {.head = prefix, .head_size = write_prefix(p, prefix, piece)};
  if (piece->size > 0 && !find_body(p, piece, &body, &what.pipe)) {
    s->out.over = true;
    pump_up_pause(p);
    pump_stream_cancel(s);
    return;
  }
  if (piece->size > 0 && what.pipe == NULL)
    what.body = &body;
  sequence_out_sent(&p->up.sequence);
  s->out.at = p->up.sequence.next;
  what.last = s->out.half_close_due && s->out.last_due.size == 0 && sequence_out_peek(&p->up.sequence) == NULL;
  pump_say(s, &what, later);
  pump_keep_sent(p);
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

void pump_up_pause(struct pump *p)
{
  set_bulk(p, false);
  pump_ack_stop(p);
}

void pump_up_free(struct pump *p)
{
  pump_keep_free(p);
  p->up.windowed = false;
  account(p);
  set_bulk(p, false);
  pthread_mutex_destroy(&p->up.lock);
}

/* Messages complete on two threads, and acks may overtake each other on the way from there. */
static bool is_overtaken(const struct window *w, const struct ack *ack)
{
  return ack->taken <= w->acked && ack->messages <= w->acked_messages;
}

static int take_ack(struct pump *p, const struct ack *ack)
{
  p->up.heard = true;
  return is_overtaken(&p->up.window, ack) ? 0 : window_acked(&p->up.window, ack, budget_here(p), pump_now_us());
}

int pump_up_acked(struct pump *p, const struct pump_stream *s, const struct ack *ack)
{
  struct errand *later = NULL;
  int error = 0;
  pthread_mutex_lock(&p->up.lock);
  if (!p->up.windowed)
    error = -EPROTO;
  else if (p->stream == s)
    error = take_ack(p, ack);
  if (error == 0)
    sequence_out_acked(&p->up.sequence, p->up.window.acked);
  pump_splice_acked(p);
  account(p);
  if (p->up.starved && window_room(&p->up.window) > 0) {
    p->up.starved = false;
    pump_up_run(p, &later);
  }
  pthread_mutex_unlock(&p->up.lock);
  errands_run(later);
  pump_splice_starved(p);
  return error;
}

void pump_up_limit(struct pump *p, uint64_t limit)
{
  window_limit(&p->up.window, limit);
  account(p);
}

void pump_up_resume(struct pump *p)
{
  window_resume(&p->up.window);
  if (p->up.window.sent > 0)
    p->up.window_said = 0;
}

bool pump_up_rest(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  if (p->up.charged > 0) {
    window_rest(&p->up.window, pump_now_us());
    account(p);
  }
  pump_keep_rest(p);
  p->up.window_due = p->up.windowed && window_meant(&p->up.window) < p->up.window_said;
  bool due = p->up.window_due;
  pthread_mutex_unlock(&p->up.lock);
  return due;
}

void pump_up_unwindowed(struct pump *p)
{
  p->up.windowed = false;
  p->up.starved = false;
  account(p);
  pump_ack_stop(p);
  pump_keep_sent(p);
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

/* What recv answered instead of bytes, with a negative errno. */
static void read_none(struct pump *p, int n)
{
  int error = n < 0 ? -n : was_reset(p) ? ECONNRESET : 0;
  p->up.dry = error == EAGAIN;
  if (p->up.dry)
    return;
  stop_reading(p);
  p->up.socket_over = true;
  if (error == 0)
    pump_tell(p, PUMP_LOCAL_EOF);
  else
    pump_tell_socket_failed(p, error);
}

static ssize_t receive(struct pump *p, void *room, size_t size)
{
  ssize_t n;
  do
    n = p->is_unix ? pump_unix_read(p, room, size) : recv(p->fd, room, size, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  return n;
}

static void discard(struct pump *p)
{
  char waste[16 << 10];
  ssize_t n = 1;
  for (int turn = 0; turn < TURNS_MAX && n > 0; turn++)
    n = receive(p, waste, sizeof waste);
  if (n > 0)
    pump_go_on(p);
  else
    read_none(p, n < 0 ? -errno : 0);
}

struct slab_carver *pump_carver_here(struct pump_set *set)
{
  return pthread_equal(pthread_self(), set->loop_thread) ? &set->loop_carver : &set->other_carver;
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
  return error;
}

/* As recv, but with a negative errno. */
static ssize_t read_by_copy(struct pump *p, size_t size, struct bytes *out)
{
  struct slab_carver *carver = pump_carver_here(p->set);
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

/* One read. Returns how many bytes; 0: nothing was read. When less came than could have, and little, what comes next is
 * worth waiting for. (Of what comes in a stream, more is usually there already.) */
static size_t read_once(struct pump *p)
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
  atomic_fetch_add_explicit(&p->bytes_read, (uint64_t)n, memory_order_relaxed);
  adapt(p, size, (size_t)n);
  p->up.dry = (size_t)n < size && n <= PUMP_COPY_MAX && !p->up.watchful && !p->is_unix;
  return (size_t)n;
}

/* When memory is short, the stream fails, and another one may fare better. */
static void add_eof(struct pump *p)
{
  if (sequence_out_add(&p->up.sequence, 0, NULL) != 0) {
    p->stream->out.over = true;
    pump_up_pause(p);
    pump_stream_cancel(p->stream);
    return;
  }
  p->up.eof_due = false;
  stop_reading(p);
  if (p->up.windowed)
    window_sent(&p->up.window, 1, pump_now_us());
}

/* What is there to be said, the most urgent first. False: nothing is. */
static bool say_next(struct pump *p, struct errand **later)
{
  struct pump_stream *s = p->stream;
  if (pump_say_word(s, sequence_out_peek(&p->up.sequence) != NULL, later))
    return true;
  if (p->up.eof_due)
    add_eof(p);
  if (s->out.over)
    return false;
  const struct piece *piece = sequence_out_peek(&p->up.sequence);
  if (piece != NULL)
    say_piece(p, piece, later);
  else if (s->out.half_close_due)
    say_alone(p, true, later);
  return piece != NULL || s->out.half_close_due;
}

void pump_up_run(struct pump *p, struct errand **later)
{
  size_t bytes = 0;
  for (int turn = 0; pump_say_can(p->stream);) {
    if (say_next(p, later))
      continue;
    if (p->up.stopped || p->up.dry || p->fd < 0)
      break;
    if (turn++ >= TURNS_MAX || bytes >= TURN_BYTES) {
      pump_go_on(p);
      break;
    }
    size_t n = read_once(p);
    if (n == 0)
      break;
    bytes += n;
  }
  if (pump_say_can(p->stream) && (p->up.window_due || pump_ack_due(p)))
    say_alone(p, false, later);
  if (p->fd >= 0 && p->up.discard && !p->up.socket_over && !p->up.dry)
    discard(p);
}

void pump_up_drain(struct pump *p)
{
  pthread_mutex_lock(&p->up.lock);
  while (p->stream != NULL && !p->up.stopped && p->fd >= 0 && read_once(p) > 0)
    ;
  pthread_mutex_unlock(&p->up.lock);
}

void pump_up_go(struct pump *p)
{
  struct errand *later = NULL;
  pthread_mutex_lock(&p->up.lock);
  pump_up_run(p, &later);
  pthread_mutex_unlock(&p->up.lock);
  errands_run(later);
  pump_splice_starved(p);
}

bool pump_up_ready(struct pump *p, bool watchful)
{
  struct errand *later = NULL;
  pthread_mutex_lock(&p->up.lock);
  p->up.dry = p->up.goes_on = false;
  p->up.watchful |= watchful;
  pump_up_run(p, &later);
  bool found = p->up.socket_over || p->up.goes_on;
  pthread_mutex_unlock(&p->up.lock);
  errands_run(later);
  pump_splice_starved(p);
  return found;
}
