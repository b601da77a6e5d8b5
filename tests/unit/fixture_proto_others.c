#include "fixture_proto_others.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flow/window.h"
#include "proto/wire/header.h"

struct remote remote;

static void see_order(struct other *o, char what)
{
  size_t used = strlen(o->seen.order);
  if (used + 1 < sizeof o->seen.order && (used == 0 || o->seen.order[used - 1] != what))
    o->seen.order[used] = what;
}

struct message *packed(const Mindmeld__Payload *p)
{
  size_t size = mindmeld__payload__get_packed_size(p);
  uint8_t *bytes = malloc(size + 1);
  mindmeld__payload__pack(p, bytes);
  struct message *m = message_copy(bytes, size);
  free(bytes);
  return m;
}

static Mindmeld__Payload *unpacked(const struct message *m)
{
  uint8_t *bytes = malloc(m->size + 1);
  size_t used = 0;
  for (size_t i = 0; i < m->count; i++) {
    if (m->parts[i].size > 0)
      memcpy(bytes + used, m->parts[i].at, m->parts[i].size);
    used += m->parts[i].size;
  }
  Mindmeld__Payload *p = mindmeld__payload__unpack(NULL, used, bytes);
  ck_assert_ptr_nonnull(p);
  free(bytes);
  return p;
}

static uint8_t all_bytes[BYTES_PERIOD + BYTES_MAX];

static void make_bytes(void)
{
  for (size_t at = 0; at < sizeof all_bytes; at++)
    all_bytes[at] = (uint8_t)(at * 31 + (at >> 8));
}

const uint8_t *bytes_at(size_t at)
{
  return all_bytes + at % BYTES_PERIOD;
}

void fill_bytes(uint8_t *out, size_t at, size_t size)
{
  for (size_t done = 0, n; done < size; done += n) {
    n = size - done < BYTES_MAX ? size - done : BYTES_MAX;
    memcpy(out + done, bytes_at(at + done), n);
  }
}

bool are_bytes(const uint8_t *in, size_t at, size_t size)
{
  bool same = true;
  for (size_t done = 0, n; done < size; done += n) {
    n = size - done < BYTES_MAX ? size - done : BYTES_MAX;
    same = same && memcmp(in + done, bytes_at(at + done), n) == 0;
  }
  return same;
}

struct message *data_message(size_t at, size_t size, bool eof, uint64_t offset)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  uint8_t *bytes = malloc(size + 1);
  fill_bytes(bytes, at, size);
  p.payload_case = size > 0 ? MINDMELD__PAYLOAD__PAYLOAD_DATA : MINDMELD__PAYLOAD__PAYLOAD__NOT_SET;
  p.data = (ProtobufCBinaryData){size, bytes};
  p.eof = eof;
  p.offset = offset;
  struct message *m = packed(&p);
  free(bytes);
  return m;
}

struct message *ack_message(uint64_t taken, uint64_t messages)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Ack ack = MINDMELD__ACK__INIT;
  ack.taken = taken;
  ack.messages = messages;
  p.ack = &ack;
  return packed(&p);
}

struct message *window_message_of(uint64_t window)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  p.window = window;
  return packed(&p);
}

struct message *reset_message(const char *code, const char *reason)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Reset reset = MINDMELD__RESET__INIT;
  reset.code = (char *)(uintptr_t)code;
  reset.reason = (char *)(uintptr_t)reason;
  p.reset = &reset;
  return packed(&p);
}

struct message *header_message(uint64_t limit)
{
  struct header h = {.has_member = true, .has_connection = true, .limit = limit};
  uint8_t bytes[HEADER_SIZE_MAX];
  return message_copy(bytes, header_pack(&h, bytes));
}

static void finish(struct other *o, enum rpc_status status, const char *text)
{
  o->far->ops->finish(o->far, status, text);
}

static void other_send(struct other *o, struct message *m)
{
  if (o->sending) {
    struct said *s = calloc(1, sizeof *s);
    s->message = m;
    *o->end = s;
    o->end = &s->next;
    return;
  }
  o->sending = o->far->ops->send(o->far, m);
}

static void other_receive(struct other *o)
{
  o->receiving = o->receiving || (!o->deaf && o->far->ops->receive(o->far));
}

static void other_say_data(struct other *o, size_t size, bool eof)
{
  size_t at = (size_t)o->seen.said;
  pthread_mutex_lock(&remote.lock);
  o->seen.said += size + eof;
  o->seen.said_messages++;
  pthread_mutex_unlock(&remote.lock);
  other_send(o, data_message(at, size, eof, 0));
}

static void other_fill(struct other *o)
{
  enum { PIECE = 8 << 10 };
  while (o->fills && o->seen.said - o->seen.ack.taken +
                             WINDOW_MESSAGE_COST * (o->seen.said_messages - o->seen.ack.messages) + PIECE +
                             WINDOW_MESSAGE_COST <=
                         WINDOW_MIN)
    other_say_data(o, PIECE, false);
}

static void other_flood(struct other *o)
{
  uint64_t before = atomic_fetch_add(&remote.flooded, FLOOD_MESSAGE);
  if (o->flooded == 0 || before < o->flooded)
    other_send(o, data_message((size_t)before, FLOOD_MESSAGE, false, 0));
}

/* What this end of a bridge says next, if the other end can take it. */
static void other_pass_on(struct other *o)
{
  if (o == NULL || o->partner == NULL || o->partner->sending)
    return;
  if (!o->half_closed)
    other_receive(o);
  else if (o->partner->half_closed && !o->sending) {
    finish(o, RPC_OK, "");
    finish(o->partner, RPC_OK, "");
    o->partner->partner = NULL;
    o->partner = NULL;
  }
}

static void other_sent(void *arg)
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
    finish(o, RPC_OK, "");
  } else if (o->kind == OTHER_FLOOD) {
    other_flood(o);
  } else {
    other_receive(o);
  }
}

static void other_answer(struct other *o, bool original)
{
  o->far->ops->answer(o->far, original, 1);
  if (!original)
    other_send(o, header_message(remote.limit));
}

static void other_join(struct other *left, struct other *right)
{
  left->partner = right;
  right->partner = left;
  left->far->ops->answer(left->far, false, 1);
  right->far->ops->answer(right->far, false, 1);
  other_send(right, left->opening);
  left->opening = NULL;
  other_pass_on(left);
  other_pass_on(right);
}

static void other_find_partner(struct other *o)
{
  for (int i = 0; i < remote.count; i++) {
    struct other *of = &remote.others[i];
    if (of != o && of->kind == OTHER_BRIDGE && of->far != NULL && of->opening != NULL && of->right != o->right) {
      message_free(o->right ? o->opening : of->opening);
      *(o->right ? &o->opening : &of->opening) = NULL;
      other_join(o->right ? of : o, o->right ? o : of);
      return;
    }
  }
}

static void other_begin(struct other *o, const Mindmeld__Header *h, struct message *opening)
{
  static const char *const names[OTHER_BRIDGE] = {"ours", "echo", "silent", "original", "flood"};
  o->right = strcmp(h->token, "right") == 0;
  if (o->right || strcmp(h->token, "left") == 0) {
    o->kind = OTHER_BRIDGE;
    o->opening = opening;
    other_find_partner(o);
    return;
  }
  message_free(opening);
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

static void other_see(struct other *o, const Mindmeld__Payload *p)
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
static void other_echo(struct other *o, Mindmeld__Payload *p)
{
  pthread_mutex_lock(&remote.lock);
  o->seen.said = o->seen.bytes;
  o->seen.said_messages = o->seen.messages;
  pthread_mutex_unlock(&remote.lock);
  if (p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA || p->eof || p->ack != NULL)
    other_send(o, packed(p));
}

/* All that it saw. */
static void other_ack(struct other *o)
{
  pthread_mutex_lock(&remote.lock);
  o->seen.acked = o->seen.bytes;
  o->seen.acked_messages = o->seen.messages;
  pthread_mutex_unlock(&remote.lock);
  other_send(o, ack_message(o->seen.acked, o->seen.acked_messages));
}

static void other_message(void *arg, struct message *m)
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
      finish(o, RPC_OK, "");
    return;
  }
  if (o->kind == OTHER_BRIDGE) {
    if (o->partner != NULL)
      other_send(o->partner, m);
    else
      message_free(m);
    return;
  }
  Mindmeld__Payload *p = unpacked(m);
  if (o->kind == OTHER_KINDS) {
    ck_assert_int_eq(p->payload_case, MINDMELD__PAYLOAD__PAYLOAD_HEADER);
    other_begin(o, p->header, m);
  } else {
    message_free(m);
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

static void other_closed(void *arg)
{
  struct other *o = arg, *partner = o->partner;
  o->far = NULL;
  o->partner = NULL;
  if (partner != NULL) {
    partner->partner = NULL;
    partner->far->ops->cancel(partner->far, RPC_UNAVAILABLE, "the other end is gone");
  }
  message_free(o->opening);
  o->opening = NULL;
  for (struct said *s = o->first, *next; s != NULL; s = next) {
    next = s->next;
    message_free(s->message);
    free(s);
  }
  o->first = NULL;
}

void others_arrive(struct far *f)
{
  static const struct far_events events = {.message = other_message, .sent = other_sent, .closed = other_closed};
  ck_assert_int_lt(remote.count, OTHERS_MAX);
  struct other *o = &remote.others[remote.count++];
  o->kind = OTHER_KINDS;
  o->far = f;
  o->acks = remote.acks;
  o->end = &o->first;
  f->events = &events;
  f->arg = o;
  other_receive(o);
}

/* ---- What the test tells them ---- */

static void carry_out_order(void *arg)
{
  struct order *order = arg;
  struct other *o = &remote.others[order->other];
  if (o->far != NULL)
    order->carry_out(o, order);
  else
    message_free(order->message);
  free(order);
}

void give_order(struct order order)
{
  struct order *copy = malloc(sizeof *copy);
  *copy = order;
  if (remote.in_memory)
    carry_out_order(copy);
  else
    far_rpc_post(carry_out_order, copy);
}

static void order_message(struct other *o, struct order *order)
{
  other_send(o, order->message);
}

void tell_other(int other, struct message *m)
{
  give_order((struct order){.other = other, .carry_out = order_message, .message = m});
}

static void order_data(struct other *o, struct order *order)
{
  for (size_t i = 0; i < order->count; i++)
    other_say_data(o, order->size, order->flag);
}

void tell_other_data(int other, size_t size, size_t count)
{
  give_order((struct order){.other = other, .carry_out = order_data, .size = size, .count = count});
}

void tell_other_eof(int other, size_t size)
{
  give_order((struct order){.other = other, .carry_out = order_data, .size = size, .count = 1, .flag = true});
}

static void order_ack(struct other *o, struct order *order)
{
  (void)order;
  other_ack(o);
}

void tell_other_ack(int other)
{
  give_order((struct order){.other = other, .carry_out = order_ack});
}

static void order_acks(struct other *o, struct order *order)
{
  o->acks = true;
  order_ack(o, order);
}

void tell_other_acks(int other)
{
  give_order((struct order){.other = other, .carry_out = order_acks});
}

static void order_fill(struct other *o, struct order *order)
{
  o->fills = order->flag;
  other_fill(o);
}

void tell_other_fill(int other, bool on)
{
  give_order((struct order){.other = other, .carry_out = order_fill, .flag = on});
}

static void order_answer(struct other *o, struct order *order)
{
  other_answer(o, order->flag);
}

void tell_other_answer(int other, bool original)
{
  give_order((struct order){.other = other, .carry_out = order_answer, .flag = original});
}

static void order_finish(struct other *o, struct order *order)
{
  finish(o, order->status, "as told");
}

void tell_other_finish(int other, enum rpc_status status)
{
  give_order((struct order){.other = other, .carry_out = order_finish, .status = status});
}

static void order_deaf(struct other *o, struct order *order)
{
  o->deaf = order->flag;
  if (!o->deaf)
    other_receive(o);
}

void tell_other_deaf(int other, bool deaf)
{
  give_order((struct order){.other = other, .carry_out = order_deaf, .flag = deaf});
}

static void order_cut(struct other *o, struct order *order)
{
  (void)order;
  o->far->ops->cancel(o->far, RPC_UNAVAILABLE, "cut");
}

void tell_other_cut(int other)
{
  give_order((struct order){.other = other, .carry_out = order_cut});
}

struct seen seen_by(int other)
{
  pthread_mutex_lock(&remote.lock);
  struct seen seen = remote.others[other].seen;
  pthread_mutex_unlock(&remote.lock);
  return seen;
}

/* ---- Before and after each test ---- */

void others_start(bool in_memory)
{
  make_bytes();
  remote.count = 0;
  memset(remote.others, 0, sizeof remote.others);
  remote.limit = LIMIT;
  remote.acks = false;
  remote.in_memory = in_memory;
  atomic_store(&remote.flooded, 0);
  pthread_mutex_init(&remote.lock, NULL);
  if (!in_memory)
    remote.port = far_rpc_start(others_arrive);
}

void others_stop(void)
{
  if (!remote.in_memory)
    far_rpc_stop();
  pthread_mutex_destroy(&remote.lock);
}
