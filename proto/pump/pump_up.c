/* Socket to stream. What a read brings becomes a message, which is kept until it is acknowledged; the send is started
 * at once. Usually it is done before the call returns, and the next read follows. When flow control holds it back, the
 * stream's answer continues, on whatever thread; when the window is full, an ack does. On a new stream what is kept
 * goes first.
 */
#include <errno.h>
#include <string.h>

#include "pump_internal.h"

enum {
  TURNS_MAX = 8, /* reads in a row, and bytes, before other sockets get their turn */
  TURN_BYTES = 1 << 20,
  PREFIX_MAX = PAYLOAD_ACK_MAX + 3 * PAYLOAD_PREFIX_MAX,
};

void pump_up_init(struct pump *p)
{
  pthread_mutex_init(&p->up.lock, NULL);
  pump_keep_init(p);
  p->up.read_size = PUMP_READ_MIN;
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

/* What is not data, which may be nothing: an ack that was due may have gone meanwhile. Our header goes before. */
static void say_alone(struct pump *p, struct errand **later)
{
  uint8_t prefix[PREFIX_MAX];
  pump_ack_answered(p);
  if (pump_say_word(p->stream, false, later) && !pump_say_can(p->stream))
    return;
  const struct stream_say what = {.head = prefix, .head_size = write_prefix(p, prefix, NULL)};
  if (what.head_size > 0)
    pump_say(p->stream, &what, later);
}

/* Nothing is left to be said: a half-close says by itself that everything was taken. */
static void half_close(struct pump *p, struct errand **later)
{
  pump_say(p->stream, &(struct stream_say){.last = true}, later);
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

/* ---- The window ---- */

static void charge(_Atomic uint64_t *all, uint64_t *had, uint64_t has)
{
  if (has != *had)
    atomic_fetch_add_explicit(all, has - *had, memory_order_relaxed);
  *had = has;
}

void pump_up_account(struct pump *p)
{
  uint64_t size = p->up.windowed ? p->up.window.size : 0;
  uint64_t under_way = p->up.windowed ? window_unacked(&p->up.window) : 0;
  charge(&p->set->windows, &p->up.charged, size > WINDOW_MIN ? size - WINDOW_MIN : 0);
  charge(&p->set->begun, &p->up.begun, under_way < WINDOW_MIN ? under_way : WINDOW_MIN);
}

/* Half of what is left, so that there is always some for those that come later. */
static uint64_t budget_here(const struct pump *p)
{
  uint64_t used = atomic_load_explicit(&p->set->windows, memory_order_relaxed) +
                  atomic_load_explicit(&p->set->begun, memory_order_relaxed);
  return used < p->set->limits.budget ? (p->set->limits.budget - used) / 2 : 0;
}

void pump_up_pause(struct pump *p)
{
  pump_read_bulk(p, false);
  pump_ack_stop(p);
}

void pump_up_free(struct pump *p)
{
  pump_keep_free(p);
  p->up.windowed = false;
  pump_up_account(p);
  pump_read_bulk(p, false);
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
  pump_up_account(p);
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
  pump_up_account(p);
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
    pump_up_account(p);
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
  pump_up_account(p);
  pump_ack_stop(p);
  pump_keep_sent(p);
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
  pump_read_stop(p);
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
    half_close(p, later);
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
    size_t n = pump_read(p);
    if (n == 0)
      break;
    bytes += n;
  }
  if (pump_say_can(p->stream) && (p->up.window_due || pump_ack_due(p)))
    say_alone(p, later);
  if (p->fd >= 0 && p->up.discard && !p->up.socket_over && !p->up.dry)
    pump_read_discard(p);
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
