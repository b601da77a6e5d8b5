/* A server on a queue and thread of its own, which speaks for the other sides, and pumps on a loop.
 *
 * What an other side does by itself is chosen by the token in the header that opens its stream; everything else it is
 * told to say by the test, and what it saw can be asked at any time. It answers a half-close with the status OK, once
 * all that it was told to say is said, as the router does when both sides have half-closed.
 */
#ifndef TEST_PROTO_PUMP_FIXTURE_H
#define TEST_PROTO_PUMP_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "mindmeld.pb-c.h"
#include "proto/flow/window.h"
#include "proto/pump/pump.h"
#include "proto/rpc/rpc.h"
#include "proto/wire/header.h"

#include "holds.h"

enum {
  PATIENCE_MS = 20000,
  TICK_MS = 5,
  SIDES_MAX = 16,
  OTHERS_MAX = 512,
  FLOOD_MESSAGE = 1 << 16,
  FINITE = 32 << 20, /* more than sockets hold */
  LIMIT = 16 << 20,  /* of the other sides, unless a test says otherwise */
};

/* ---- The other sides ---- */

enum other_kind {
  OTHER_OURS,     /* "ours": answers with a header */
  OTHER_ECHO,     /* "echo": too, and echoes; acks what was acked of the echo */
  OTHER_SILENT,   /* "silent": answers when it is told to */
  OTHER_ORIGINAL, /* "original": echoes, and takes one end for both */
  OTHER_FLOOD,    /* "flood", "finite": an original that sends, without end or FINITE bytes, and reads nothing */
  OTHER_BRIDGE,   /* "left", "right": joined with each other, in the order in which they come, as the router does */
  OTHER_KINDS,
};

/* What an other side saw. */
struct seen {
  bool begun;               /* the header that opens the stream */
  char order[64];           /* of what came: Header, Data, Eof, Reset, reFusal, Ack alone, half-close (.); once for
                               several */
  Mindmeld__Header header;  /* the last, without what it points at */
  uint64_t offset, offsets; /* the last, and how many */
  uint64_t wrong;           /* messages whose bytes are others */
  uint64_t bytes, messages; /* of data and ends, as acks count them */
  uint64_t acks;
  Mindmeld__Ack ack; /* the last */
  uint64_t window;   /* the last */
  char reset_code[64], reset_reason[300];
  uint64_t said, said_messages;   /* the same of what it said */
  uint64_t acked, acked_messages; /* as it said last */
};

struct other {
  enum other_kind kind;
  struct rpc_call *call; /* NULL: closed */
  struct said *first, **end;
  struct other *partner; /* the other end of a bridge */
  struct rpc_message *opening;
  bool right;
  bool sending, receiving, half_closed, deaf;
  bool acks, fills; /* it acks each message at once; it sends as much as our acks allow */
  uint64_t flooded;
  struct seen seen;
};

struct said {
  struct said *next;
  struct rpc_message *message;
};

static struct {
  struct rpc_queue *queue;
  struct rpc_server *server;
  pthread_t thread;
  pthread_barrier_t started;
  int port;
  _Atomic uint64_t limit; /* what others say */
  atomic_bool acks;       /* they ack each message from the beginning */
  atomic_uint_fast64_t flooded;
  pthread_mutex_t lock; /* over what was seen */
  struct other others[OTHERS_MAX];
  atomic_int count; /* of others, in the order in which their streams came */
} remote;

static struct {
  uv_loop_t loop;
  uv_timer_t patience;
  int ticks; /* that are left of it */
  struct rpc_queue *queue;
  struct rpc_channel *channel;
  struct pump_set *set;
} here;

static inline void see_order(struct other *o, char what)
{
  size_t used = strlen(o->seen.order);
  if (used + 1 < sizeof o->seen.order && (used == 0 || o->seen.order[used - 1] != what))
    o->seen.order[used] = what;
}

static inline struct rpc_message *pack(const Mindmeld__Payload *p)
{
  struct rpc_message *m = rpc_message_pack(&p->base);
  ck_assert_ptr_nonnull(m);
  return m;
}

/* What is said, byte by byte, which comes again after a period. It is made once, before there are threads: tests are
 * not optimised under sanitizers. */
enum { BYTES_PERIOD = 1 << 16, BYTES_MAX = 100000 };
static uint8_t all_bytes[BYTES_PERIOD + BYTES_MAX];

static inline void make_bytes(void)
{
  for (size_t at = 0; at < sizeof all_bytes; at++)
    all_bytes[at] = (uint8_t)(at * 31 + (at >> 8));
}

/* BYTES_MAX of them. */
static inline const uint8_t *bytes_at(size_t at)
{
  return all_bytes + at % BYTES_PERIOD;
}

static inline void fill_bytes(uint8_t *out, size_t at, size_t size)
{
  for (size_t done = 0, n; done < size; done += n) {
    n = size - done < BYTES_MAX ? size - done : BYTES_MAX;
    memcpy(out + done, bytes_at(at + done), n);
  }
}

static inline bool are_bytes(const uint8_t *in, size_t at, size_t size)
{
  bool same = true;
  for (size_t done = 0, n; done < size; done += n) {
    n = size - done < BYTES_MAX ? size - done : BYTES_MAX;
    same = same && memcmp(in + done, bytes_at(at + done), n) == 0;
  }
  return same;
}

/* The bytes go on from message to message. Size 0: no data. */
static inline struct rpc_message *data_message(size_t at, size_t size, bool eof, uint64_t offset)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  uint8_t *bytes = malloc(size + 1);
  fill_bytes(bytes, at, size);
  p.payload_case = size > 0 ? MINDMELD__PAYLOAD__PAYLOAD_DATA : MINDMELD__PAYLOAD__PAYLOAD__NOT_SET;
  p.data = (ProtobufCBinaryData){size, bytes};
  p.eof = eof;
  p.offset = offset;
  struct rpc_message *m = pack(&p);
  free(bytes);
  return m;
}

static inline struct rpc_message *ack_message(uint64_t taken, uint64_t messages)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Ack ack = MINDMELD__ACK__INIT;
  ack.taken = taken;
  ack.messages = messages;
  p.ack = &ack;
  return pack(&p);
}

static inline struct rpc_message *window_message_of(uint64_t window)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  p.window = window;
  return pack(&p);
}

static inline struct rpc_message *reset_message(const char *code, const char *reason)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Reset reset = MINDMELD__RESET__INIT;
  reset.code = (char *)(uintptr_t)code;
  reset.reason = (char *)(uintptr_t)reason;
  p.reset = &reset;
  return pack(&p);
}

static inline struct rpc_message *header_message(uint64_t limit)
{
  struct header h = {.has_member = true, .has_connection = true, .limit = limit};
  uint8_t bytes[HEADER_SIZE_MAX];
  return rpc_message_copy(bytes, header_pack(&h, bytes));
}

static inline void other_send(struct other *o, struct rpc_message *m)
{
  if (o->sending) {
    struct said *s = calloc(1, sizeof *s);
    s->message = m;
    *o->end = s;
    o->end = &s->next;
    return;
  }
  o->sending = rpc_call_send(o->call, m) == 0;
}

static inline void other_receive(struct other *o)
{
  o->receiving = o->receiving || (!o->deaf && rpc_call_receive(o->call) == 0);
}

static inline void other_say_data(struct other *o, size_t size, bool eof)
{
  size_t at = (size_t)o->seen.said;
  pthread_mutex_lock(&remote.lock);
  o->seen.said += size + eof;
  o->seen.said_messages++;
  pthread_mutex_unlock(&remote.lock);
  other_send(o, data_message(at, size, eof, 0));
}

static inline void other_fill(struct other *o)
{
  enum { PIECE = 8 << 10 };
  while (o->fills && o->seen.said - o->seen.ack.taken +
                             WINDOW_MESSAGE_COST * (o->seen.said_messages - o->seen.ack.messages) + PIECE +
                             WINDOW_MESSAGE_COST <=
                         WINDOW_MIN)
    other_say_data(o, PIECE, false);
}

static inline void other_flood(struct other *o)
{
  uint64_t before = atomic_fetch_add(&remote.flooded, FLOOD_MESSAGE);
  if (o->flooded == 0 || before < o->flooded)
    other_send(o, data_message((size_t)before, FLOOD_MESSAGE, false, 0));
}

/* What this end of a bridge says next, if the other end can take it. */
static inline void other_pass_on(struct other *o)
{
  if (o == NULL || o->partner == NULL || o->partner->sending)
    return;
  if (!o->half_closed)
    other_receive(o);
  else if (o->partner->half_closed && !o->sending) {
    rpc_call_finish(o->call, RPC_OK, "");
    rpc_call_finish(o->partner->call, RPC_OK, "");
    o->partner->partner = NULL;
    o->partner = NULL;
  }
}

static inline void other_sent(struct rpc_call *c, void *arg)
{
  struct other *o = arg;
  o->sending = false;
  struct said *next = o->first;
  if (next != NULL) {
    o->first = next->next;
    if (o->first == NULL)
      o->end = &o->first;
    other_send(o, next->message);
    free(next);
  } else if (o->kind == OTHER_BRIDGE) {
    other_pass_on(o->partner);
  } else if (o->half_closed) {
    rpc_call_finish(c, RPC_OK, "");
  } else if (o->kind == OTHER_FLOOD) {
    other_flood(o);
  } else {
    other_receive(o);
  }
}

static inline void other_answer(struct other *o, bool original)
{
  const struct rpc_metadata metadata[] = {{"mindmeld-peer", original ? "original" : "2"}};
  ck_assert_int_eq(rpc_call_send_headers(o->call, metadata, 1), 0);
  if (!original)
    other_send(o, header_message(remote.limit));
}

static inline void other_join(struct other *left, struct other *right)
{
  left->partner = right;
  right->partner = left;
  const struct rpc_metadata metadata[] = {{"mindmeld-peer", "2"}};
  rpc_call_send_headers(left->call, metadata, 1);
  rpc_call_send_headers(right->call, metadata, 1);
  other_send(right, left->opening);
  left->opening = NULL;
  other_pass_on(left);
  other_pass_on(right);
}

static inline void other_find_partner(struct other *o)
{
  for (int i = 0; i < remote.count; i++) {
    struct other *of = &remote.others[i];
    if (of != o && of->kind == OTHER_BRIDGE && of->call != NULL && of->opening != NULL && of->right != o->right) {
      rpc_message_free(o->right ? o->opening : of->opening);
      *(o->right ? &o->opening : &of->opening) = NULL;
      other_join(o->right ? of : o, o->right ? o : of);
      return;
    }
  }
}

static inline void other_begin(struct other *o, const Mindmeld__Header *h, struct rpc_message *opening)
{
  static const char *const names[OTHER_BRIDGE] = {"ours", "echo", "silent", "original", "flood"};
  o->right = strcmp(h->token, "right") == 0;
  if (o->right || strcmp(h->token, "left") == 0) {
    o->kind = OTHER_BRIDGE;
    o->opening = opening;
    other_find_partner(o);
    return;
  }
  rpc_message_free(opening);
  ck_assert_uint_eq(h->member.len, 16);
  ck_assert_uint_eq(h->member_key.len, 32);
  o->kind = OTHER_FLOOD;
  o->flooded = strcmp(h->token, "finite") == 0 ? FINITE : 0;
  for (int kind = 0; kind < OTHER_BRIDGE; kind++)
    if (strcmp(names[kind], h->token) == 0)
      o->kind = (enum other_kind)kind;
  pthread_mutex_lock(&remote.lock);
  o->seen.begun = true;
  pthread_mutex_unlock(&remote.lock);
  if (o->kind != OTHER_SILENT)
    other_answer(o, o->kind == OTHER_ORIGINAL || o->kind == OTHER_FLOOD);
  if (o->kind == OTHER_FLOOD)
    other_flood(o);
  else
    other_receive(o);
}

static inline void other_see(struct other *o, const Mindmeld__Payload *p)
{
  bool data = p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA;
  pthread_mutex_lock(&remote.lock);
  if (p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_HEADER) {
    see_order(o, 'H');
    o->seen.header = *p->header;
  }
  if (p->offset != 0) {
    o->seen.offset = p->offset;
    o->seen.offsets++;
  }
  if (data)
    see_order(o, 'D');
  if (data)
    o->seen.wrong += !are_bytes(p->data.data, o->seen.offset + o->seen.bytes, p->data.len);
  if (p->eof)
    see_order(o, 'E');
  if (p->ack != NULL) {
    o->seen.acks++;
    o->seen.ack = *p->ack;
    if (!data && !p->eof)
      see_order(o, 'A');
  }
  if (p->window != 0)
    o->seen.window = p->window;
  if (p->reset != NULL) {
    see_order(o, 'R');
    snprintf(o->seen.reset_code, sizeof o->seen.reset_code, "%s", p->reset->code);
    snprintf(o->seen.reset_reason, sizeof o->seen.reset_reason, "%s", p->reset->reason);
  }
  if (p->refused != NULL) {
    see_order(o, 'F');
    snprintf(o->seen.reset_reason, sizeof o->seen.reset_reason, "%s", p->refused->reason);
  }
  o->seen.bytes += (data ? p->data.len : 0) + (p->eof != 0);
  o->seen.messages += data || p->eof;
  pthread_mutex_unlock(&remote.lock);
}

/* The echo has the same bytes in the same messages: what was taken of it is what we were given back of our window. */
static inline void other_echo(struct other *o, Mindmeld__Payload *p)
{
  pthread_mutex_lock(&remote.lock);
  o->seen.said = o->seen.bytes;
  o->seen.said_messages = o->seen.messages;
  pthread_mutex_unlock(&remote.lock);
  if (p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA || p->eof || p->ack != NULL)
    other_send(o, pack(p));
}

/* All that it saw. */
static inline void other_ack(struct other *o)
{
  pthread_mutex_lock(&remote.lock);
  o->seen.acked = o->seen.bytes;
  o->seen.acked_messages = o->seen.messages;
  pthread_mutex_unlock(&remote.lock);
  other_send(o, ack_message(o->seen.acked, o->seen.acked_messages));
}

static inline void other_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct other *o = arg;
  o->receiving = false;
  if (m == NULL) {
    o->half_closed = true;
    pthread_mutex_lock(&remote.lock);
    see_order(o, '.');
    pthread_mutex_unlock(&remote.lock);
    if (o->kind == OTHER_BRIDGE)
      other_pass_on(o);
    else if (!o->sending)
      rpc_call_finish(c, RPC_OK, "");
    return;
  }
  if (o->kind == OTHER_BRIDGE) {
    if (o->partner != NULL)
      other_send(o->partner, m);
    else
      rpc_message_free(m);
    return;
  }
  Mindmeld__Payload *p = (void *)rpc_message_unpack(m, &mindmeld__payload__descriptor);
  ck_assert_ptr_nonnull(p);
  if (o->kind == OTHER_KINDS) {
    ck_assert_int_eq(p->payload_case, MINDMELD__PAYLOAD__PAYLOAD_HEADER);
    other_begin(o, p->header, m);
  } else {
    rpc_message_free(m);
    other_see(o, p);
    if (o->kind == OTHER_ECHO || o->kind == OTHER_ORIGINAL)
      other_echo(o, p);
    else if (o->acks && (p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA || p->eof))
      other_ack(o);
    other_fill(o);
    if (!o->sending || (o->kind != OTHER_ECHO && o->kind != OTHER_ORIGINAL))
      other_receive(o);
  }
  mindmeld__payload__free_unpacked(p, NULL);
}

static inline void other_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct other *o = arg;
  o->call = NULL;
  if (o->partner != NULL) {
    o->partner->partner = NULL;
    rpc_call_cancel(o->partner->call, RPC_UNAVAILABLE, "the other end is gone");
    o->partner = NULL;
  }
  rpc_message_free(o->opening);
  o->opening = NULL;
  for (struct said *s = o->first, *next; s != NULL; s = next) {
    next = s->next;
    rpc_message_free(s->message);
    free(s);
  }
  o->first = NULL;
}

static inline void on_call(struct rpc_server *s, struct rpc_call *c, void *arg)
{
  static const struct rpc_call_events events = {.message = other_message, .sent = other_sent, .closed = other_closed};
  (void)s;
  (void)arg;
  ck_assert_int_lt(remote.count, OTHERS_MAX);
  struct other *o = &remote.others[remote.count++];
  o->kind = OTHER_KINDS;
  o->call = c;
  o->acks = remote.acks;
  o->end = &o->first;
  rpc_call_set_arg(c, &events, o);
  other_receive(o);
}

/* ---- What the test tells them ---- */

struct order {
  int other;
  void (*carry_out)(struct other *o, struct order *order);
  struct rpc_message *message;
  size_t size, count;
  bool flag;
  enum rpc_status status;
};

static inline void carry_out_order(void *arg)
{
  struct order *order = arg;
  struct other *o = &remote.others[order->other];
  if (o->call != NULL)
    order->carry_out(o, order);
  else
    rpc_message_free(order->message);
  free(order);
}

static inline void give_order(struct order order)
{
  struct order *copy = malloc(sizeof *copy);
  *copy = order;
  ck_assert_int_eq(rpc_queue_post(remote.queue, carry_out_order, copy), 0);
}

static inline void order_message(struct other *o, struct order *order)
{
  other_send(o, order->message);
}

static inline void tell_other(int other, struct rpc_message *m)
{
  give_order((struct order){.other = other, .carry_out = order_message, .message = m});
}

static inline void order_data(struct other *o, struct order *order)
{
  for (size_t i = 0; i < order->count; i++)
    other_say_data(o, order->size, order->flag);
}

static inline void tell_other_data(int other, size_t size, size_t count)
{
  give_order((struct order){.other = other, .carry_out = order_data, .size = size, .count = count});
}

static inline void tell_other_eof(int other, size_t size)
{
  give_order((struct order){.other = other, .carry_out = order_data, .size = size, .count = 1, .flag = true});
}

static inline void order_ack(struct other *o, struct order *order)
{
  (void)order;
  other_ack(o);
}

static inline void tell_other_ack(int other)
{
  give_order((struct order){.other = other, .carry_out = order_ack});
}

static inline void order_acks(struct other *o, struct order *order)
{
  o->acks = true;
  order_ack(o, order);
}

static inline void tell_other_acks(int other)
{
  give_order((struct order){.other = other, .carry_out = order_acks});
}

static inline void order_fill(struct other *o, struct order *order)
{
  o->fills = order->flag;
  other_fill(o);
}

static inline void tell_other_fill(int other, bool on)
{
  give_order((struct order){.other = other, .carry_out = order_fill, .flag = on});
}

static inline void order_answer(struct other *o, struct order *order)
{
  other_answer(o, order->flag);
}

static inline void tell_other_answer(int other, bool original)
{
  give_order((struct order){.other = other, .carry_out = order_answer, .flag = original});
}

static inline void order_finish(struct other *o, struct order *order)
{
  rpc_call_finish(o->call, order->status, "as told");
}

static inline void tell_other_finish(int other, enum rpc_status status)
{
  give_order((struct order){.other = other, .carry_out = order_finish, .status = status});
}

static inline void order_deaf(struct other *o, struct order *order)
{
  o->deaf = order->flag;
  if (!o->deaf)
    other_receive(o);
}

/* It reads no more; or again. */
static inline void tell_other_deaf(int other, bool deaf)
{
  give_order((struct order){.other = other, .carry_out = order_deaf, .flag = deaf});
}

static inline void order_cut(struct other *o, struct order *order)
{
  (void)order;
  rpc_call_cancel(o->call, RPC_UNAVAILABLE, "cut");
}

/* One that is no more is no loss. */
static inline void tell_other_cut(int other)
{
  give_order((struct order){.other = other, .carry_out = order_cut});
}

static inline struct seen seen_by(int other)
{
  pthread_mutex_lock(&remote.lock);
  struct seen seen = remote.others[other].seen;
  pthread_mutex_unlock(&remote.lock);
  return seen;
}

/* ---- Our side ---- */

/* A pump, and a stream, which need not be its own. */
struct side {
  struct pump *pump;
  struct pump_stream *stream;  /* what it said is in this side */
  struct pump_stream *current; /* of the pump */
  int fd;                      /* our end of the socket */
  bool header, original, local_eof, remote_eof, ended, refused;
  struct header said; /* by the other side */
  int socket_error;
  bool breaks; /* says a reset, and closes the socket, when that fails */
  char reset_code[64], reset_reason[256], text[256];
  enum rpc_status status;
};

static struct side sides[SIDES_MAX];

static inline void on_header(struct pump_stream *stream, const struct header *h, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(!s->header && !s->original);
  s->header = true;
  s->said = *h;
}

static inline void on_original(struct pump_stream *stream, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(!s->header && !s->original);
  s->original = true;
}

static inline void on_local_eof(struct pump *p, void *arg)
{
  struct side *s = arg;
  ck_assert(!s->local_eof);
  s->local_eof = true;
  if (!s->original)
    pump_send_eof(p, s->remote_eof);
  else
    pump_stream_half_close(s->current);
}

static inline void on_socket_failed(struct pump *p, int error, void *arg)
{
  struct side *s = arg;
  ck_assert_int_eq(s->socket_error, 0);
  s->socket_error = error;
  if (!s->breaks)
    return;
  pump_stream_send_reset(s->current, "", "broken");
  pump_close_socket(p, true);
}

static inline void on_remote_eof(struct pump *p, void *arg)
{
  struct side *s = arg;
  ck_assert(!s->remote_eof);
  s->remote_eof = true;
  pump_shutdown_socket(p);
  if (s->local_eof && s->current != NULL)
    pump_stream_half_close(s->current);
}

static inline void on_reset(struct pump_stream *stream, const char *code, const char *reason, void *arg)
{
  struct side *s = arg;
  ck_assert(s->reset_code[0] == '\0' && !s->refused && !s->ended);
  snprintf(s->reset_code, sizeof s->reset_code, "%s", code);
  snprintf(s->reset_reason, sizeof s->reset_reason, "%s", reason);
  if (s->pump != NULL && s->current == stream)
    pump_close_socket(s->pump, true);
}

static inline void on_refused(struct pump_stream *stream, const char *reason, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(s->reset_code[0] == '\0' && !s->refused && !s->ended);
  s->refused = true;
  snprintf(s->reset_reason, sizeof s->reset_reason, "%s", reason);
}

static inline void on_ended(struct pump_stream *stream, enum rpc_status status, const char *text, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(!s->ended);
  s->ended = true;
  s->status = status;
  snprintf(s->text, sizeof s->text, "%s", text);
}

static const struct pump_events pump_events = {
    .local_eof = on_local_eof, .socket_failed = on_socket_failed, .remote_eof = on_remote_eof};
static const struct pump_stream_events stream_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

/* Not everything that is waited for wakes the loop. */
static inline void tick(uv_timer_t *timer)
{
  (void)timer;
  ck_assert_msg(here.ticks-- > 0, "what was waited for did not happen");
}

static inline void start_patience(void)
{
  here.ticks = PATIENCE_MS / TICK_MS;
  uv_timer_start(&here.patience, tick, TICK_MS, TICK_MS);
}

static inline void stop_patience(void)
{
  uv_timer_stop(&here.patience);
}

#define WAIT_FOR(condition)                                                                                            \
  do {                                                                                                                 \
    start_patience();                                                                                                  \
    while (!(condition))                                                                                               \
      uv_run(&here.loop, UV_RUN_ONCE);                                                                                 \
    stop_patience();                                                                                                   \
  } while (0)

static inline void create_pump(int side)
{
  ck_assert_int_eq(pump_create(&sides[side].pump, here.set, &pump_events, &sides[side]), 0);
}

static inline void open_stream_with(int side, const struct header *h)
{
  const struct pump_stream_options options = {.channel = here.channel, .header = h};
  ck_assert_int_eq(pump_stream_open(&sides[side].stream, here.set, &options, &stream_events, &sides[side]), 0);
}

static inline void open_stream(int side, const char *token)
{
  struct header h = {.has_member = true, .member = {1}, .has_member_key = true, .member_key = {2}, .limit = LIMIT};
  snprintf(h.token, sizeof h.token, "%s", token);
  open_stream_with(side, &h);
}

/* The stream of one side becomes the current one of another's pump. */
static inline void use_stream(int side, int stream, const struct pump_attachment *a)
{
  ck_assert_int_eq(pump_attach(sides[side].pump, sides[stream].stream, a), 0);
  sides[side].current = sides[stream].stream;
}

static inline void open_pump(int side, const char *token)
{
  const struct pump_attachment first = {0};
  create_pump(side);
  open_stream(side, token);
  use_stream(side, side, &first);
}

/* One whose other side has nothing said yet. */
static inline void open_silent(int side)
{
  open_pump(side, "silent");
  WAIT_FOR(seen_by(side).begun);
}

/* One whose other side has answered. */
static inline void open_answered(int side, const char *token)
{
  open_pump(side, token);
  WAIT_FOR(sides[side].header || sides[side].original);
}

/* A real TCP connection, since resets are TCP's; with `small` it holds little. Returns the end that a pump may have. */
static inline int make_socket(int side, bool small)
{
  struct sockaddr_storage a;
  socklen_t size = sizeof a;
  int listener = socket(AF_INET, SOCK_STREAM, 0), pumped, little = 4096;
  ck_assert_int_eq(listen(listener, 1), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&a, &size), 0);
  sides[side].fd = socket(AF_INET, SOCK_STREAM, 0);
  if (small)
    ck_assert_int_eq(setsockopt(sides[side].fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
  ck_assert_int_eq(connect(sides[side].fd, (struct sockaddr *)&a, size), 0);
  pumped = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  ck_assert_int_ge(pumped, 0);
  if (small)
    ck_assert_int_eq(setsockopt(pumped, SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
  close(listener);
  fcntl(sides[side].fd, F_SETFL, O_NONBLOCK);
  return pumped;
}

static inline void give_socket(int side)
{
  ck_assert_int_eq(pump_give_socket(sides[side].pump, make_socket(side, false)), 0);
}

static inline void give_small_socket(int side)
{
  ck_assert_int_eq(pump_give_socket(sides[side].pump, make_socket(side, true)), 0);
}

static inline void reset_socket(int side)
{
  struct linger at_once = {1, 0};
  setsockopt(sides[side].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(sides[side].fd);
  sides[side].fd = -1;
}

static inline struct pump_counters counters(int side)
{
  return pump_counters(sides[side].pump);
}

/* ---- Before and after each test ---- */

static inline void set_flag(void *arg)
{
  *(bool *)arg = true;
}

static inline void close_stream(int side)
{
  struct pump_stream *stream = sides[side].stream;
  sides[side].stream = NULL;
  for (int i = 0; i < SIDES_MAX; i++)
    if (sides[i].current == stream)
      sides[i].current = NULL;
  if (stream != NULL)
    pump_stream_close(stream);
}

static inline void close_pump(int side)
{
  close_stream(side);
  if (sides[side].pump != NULL)
    pump_close(sides[side].pump);
  if (sides[side].fd >= 0)
    close(sides[side].fd);
  sides[side].pump = NULL;
  sides[side].current = NULL;
  sides[side].fd = -1;
}

static inline void close_set(void)
{
  bool closed = false;
  for (int i = 0; i < SIDES_MAX; i++)
    close_stream(i);
  for (int i = 0; i < SIDES_MAX; i++)
    close_pump(i);
  pump_set_close(here.set, set_flag, &closed);
  WAIT_FOR(closed);
}

static inline void open_set(uint64_t window, uint64_t budget)
{
  const struct pump_limits limits = {.window = window, .budget = budget};
  ck_assert_int_eq(pump_set_open(&here.set, here.queue, &here.loop, &limits), 0);
}

/* Before the first pump. */
static inline void use_limits(uint64_t window, uint64_t budget)
{
  close_set();
  open_set(window, budget);
}

static inline void server_stopped(void *arg)
{
  (void)arg;
  rpc_queue_stop(remote.queue, NULL, NULL);
}

static inline void stop_server(void *arg)
{
  (void)arg;
  rpc_server_stop(remote.server, server_stopped, NULL);
  rpc_server_cancel_calls(remote.server);
}

static inline void *serve(void *arg)
{
  (void)arg;
  const struct rpc_server_options options = {.address = "127.0.0.1:0"};
  ck_assert_int_eq(rpc_server_start(&remote.server, remote.queue, &options, on_call, NULL, &remote.port), 0);
  pthread_barrier_wait(&remote.started);
  rpc_queue_run(remote.queue);
  return NULL;
}

static inline void setup(void)
{
  memset(&here, 0, sizeof here);
  make_bytes();
  memset(sides, 0, sizeof sides);
  for (int i = 0; i < SIDES_MAX; i++)
    sides[i].fd = -1;
  uv_loop_init(&here.loop);
  uv_timer_init(&here.loop, &here.patience);

  remote.count = 0;
  memset(remote.others, 0, sizeof remote.others);
  remote.limit = LIMIT;
  remote.acks = false;
  atomic_store(&remote.flooded, 0);
  pthread_mutex_init(&remote.lock, NULL);
  pthread_barrier_init(&remote.started, NULL, 2);
  ck_assert_int_eq(rpc_queue_create(&remote.queue), 0);
  ck_assert_int_eq(pthread_create(&remote.thread, NULL, serve, NULL), 0);
  pthread_barrier_wait(&remote.started);

  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%d", remote.port);
  const struct rpc_channel_options options = {.target = target};
  ck_assert_int_eq(rpc_queue_create(&here.queue), 0);
  ck_assert_int_eq(rpc_queue_attach(here.queue, &here.loop), 0);
  ck_assert_int_eq(rpc_channel_open(&here.channel, here.queue, &options), 0);
  open_set(WINDOW_MAX, 4 * (uint64_t)WINDOW_MAX);
}

static inline void teardown(void)
{
  bool queue_stopped = false;
  close_set();
  rpc_channel_close(here.channel);
  rpc_queue_stop(here.queue, set_flag, &queue_stopped);
  WAIT_FOR(queue_stopped);
  rpc_queue_free(here.queue);

  ck_assert_int_eq(rpc_queue_post(remote.queue, stop_server, NULL), 0);
  pthread_join(remote.thread, NULL);
  pthread_barrier_destroy(&remote.started);
  pthread_mutex_destroy(&remote.lock);
  rpc_queue_free(remote.queue);

  uv_close((uv_handle_t *)&here.patience, NULL);
  uv_run(&here.loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&here.loop), 0);
}

/* ---- What flows ---- */

static inline void turn(void)
{
  uv_run(&here.loop, UV_RUN_NOWAIT);
}

static inline void turn_for(int ms)
{
  for (int i = 0; i < ms; i++) {
    turn();
    struct timespec one = {0, 1000000};
    nanosleep(&one, NULL);
  }
}

/* Time for what should not happen. */
static inline void turn_for_a_while(void)
{
  turn_for(100);
}

/* Gives the socket as much as it takes now. */
static inline size_t push(int side)
{
  static const uint8_t out[1 << 16];
  ssize_t n = send(sides[side].fd, out, sizeof out, MSG_NOSIGNAL);
  turn();
  return n > 0 ? (size_t)n : 0;
}

#define PUSH_UNTIL(side, condition)                                                                                    \
  do {                                                                                                                 \
    start_patience();                                                                                                  \
    while (!(condition))                                                                                               \
      push(side);                                                                                                      \
    stop_patience();                                                                                                   \
  } while (0)

/* Until nothing more is taken. */
static inline void push_until_held_back(int side)
{
  int idle = 0;
  start_patience();
  while (idle < 200) {
    idle = push(side) > 0 ? 0 : idle + 1;
    struct timespec ms = {0, 1000000};
    nanosleep(&ms, NULL);
  }
  stop_patience();
}

/* Reads until `total` bytes have come, which are those from `at` on. */
static inline void hear(int side, size_t at, size_t total)
{
  static uint8_t in[1 << 16];
  size_t wrong = 0;
  start_patience();
  for (size_t got = 0; got < total;) {
    size_t most = total - got < sizeof in ? total - got : sizeof in;
    ssize_t n = recv(sides[side].fd, in, most, 0);
    holds(n > 0 || (n < 0 && errno == EAGAIN));
    if (n < 0)
      n = 0;
    wrong += !are_bytes(in, at + got, (size_t)n);
    got += (size_t)n;
    turn();
  }
  stop_patience();
  ck_assert_uint_eq(wrong, 0);
}

static inline void hear_end(int side)
{
  uint8_t byte;
  ssize_t n;
  start_patience();
  while ((n = recv(sides[side].fd, &byte, 1, 0)) < 0 && errno == EAGAIN)
    turn();
  stop_patience();
  ck_assert_int_eq(n, 0);
}

#endif
