#include "fixture_daemon_streams.h"

struct streams streams;

static void stream_copy(uint8_t *out, bool *has, const ProtobufCBinaryData *bytes, size_t size)
{
  *has = bytes->len > 0;
  if (!*has)
    return;
  ck_assert_uint_eq(bytes->len, size);
  memcpy(out, bytes->data, size);
}

static void stream_keep_header(struct world *w, struct stream *s, const Mindmeld__Header *from)
{
  struct header *h = &s->latest;

  *h = (struct header){.park = from->park,
                       .limit = from->limit,
                       .epoch = from->epoch,
                       .established = from->established,
                       .received = from->received,
                       .hops = from->hops,
                       .origin = from->origin};
  snprintf(h->token, sizeof h->token, "%s", from->token);
  snprintf(h->service, sizeof h->service, "%s", from->service);
  stream_copy(h->member, &h->has_member, &from->member, sizeof h->member);
  stream_copy(h->member_key, &h->has_member_key, &from->member_key, sizeof h->member_key);
  stream_copy(h->connection, &h->has_connection, &from->connection, sizeof h->connection);
  stream_copy(h->attach, &h->has_attach, &from->attach, sizeof h->attach);
  s->ours = h->has_member && memcmp(h->member, link_member(w->link), sizeof h->member) == 0 &&
            (!h->has_member_key || memcmp(h->member_key, link_member_key(w->link), sizeof h->member_key) == 0);
  if (s->headers++ == 0)
    s->first = *h;
}

static void stream_keep_last_word(struct stream *s, const Mindmeld__Reset *word)
{
  snprintf(s->code, sizeof s->code, "%s", word->code);
  snprintf(s->reason, sizeof s->reason, "%s", word->reason);
}

static void stream_keep_data(struct stream *s, const Mindmeld__Payload *p)
{
  if (s->size == 0 && !s->eof)
    s->offset = p->offset;
  ck_assert_uint_le(s->size + p->data.len, sizeof s->data);
  if (p->data.len > 0)
    memcpy(s->data + s->size, p->data.data, p->data.len);
  s->size += p->data.len;
}

static void stream_keep(struct world *w, struct stream *s, const Mindmeld__Payload *p)
{
  bool data = p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA;

  ck_assert_msg(!s->reset && !s->refused, "something came after a last word");
  if (p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_HEADER)
    stream_keep_header(w, s, p->header);
  if (data && p->data.len > 0)
    stream_keep_data(s, p);
  else if (p->eof && s->size == 0)
    s->offset = p->offset;
  s->eof |= p->eof;
  if (p->ack != NULL)
    s->taken = p->ack->taken;
  if (p->reset != NULL || p->refused != NULL)
    stream_keep_last_word(s, p->reset != NULL ? p->reset : p->refused);
  s->reset |= p->reset != NULL;
  s->refused |= p->refused != NULL;
}

static struct stream *stream_new(struct fake_call *f)
{
  ck_assert_int_lt(streams.count, STREAMS_MAX);
  struct stream *s = &streams.all[streams.count++];

  *s = (struct stream){.call = f, .original = strstr(rpc_call_method(f->call), "/ProxyConnection") != NULL};
  f->user = s;
  return s;
}

static void stream_message(struct fake_call *f, struct rpc_message *m)
{
  struct stream *s = f->user;

  if (s == NULL && streams.refuse) {
    streams.refused++;
    rpc_call_finish(f->call, RPC_RESOURCE_EXHAUSTED, "as told");
    return;
  }
  if (s == NULL)
    s = stream_new(f);
  if (m == NULL) {
    s->half_closed = true;
    if (streams.oblige)
      rpc_call_finish(f->call, RPC_OK, NULL);
    return;
  }
  Mindmeld__Payload *p = (Mindmeld__Payload *)rpc_message_unpack(m, &mindmeld__payload__descriptor);
  ck_assert_ptr_nonnull(p);
  stream_keep(f->w, s, p);
  mindmeld__payload__free_unpacked(p, NULL);
  rpc_call_receive(f->call);
}

static void stream_closed(struct fake_call *f, enum rpc_status status)
{
  struct stream *s = f->user;

  if (s == NULL)
    return;
  s->call = NULL;
  s->status = status;
}

void streams_begin(struct world *w)
{
  streams = (struct streams){0};
  w->on_message = stream_message;
  w->on_closed = stream_closed;
}

int streams_live(void)
{
  int live = 0;

  for (int i = 0; i < streams.count; i++)
    live += streams.all[i].call != NULL;
  return live;
}

void stream_meet(struct stream *s, bool original)
{
  const struct rpc_metadata metadata[] = {{"mindmeld-version", "2"}, {"mindmeld-peer", original ? "original" : "2"}};

  ck_assert_int_eq(rpc_call_send_headers(s->call->call, metadata, 2), 0);
}

static void stream_say(struct world *w, struct stream *s, Mindmeld__Payload *p)
{
  WORLD_UNTIL(w, s->call == NULL || !s->call->sending);
  ck_assert_ptr_nonnull(s->call);
  s->call->sending = 1;
  ck_assert_int_eq(rpc_call_send(s->call->call, rpc_message_pack(&p->base)), 0);
}

void stream_say_header(struct world *w, struct stream *s, const struct header *h)
{
  uint8_t bytes[HEADER_SIZE_MAX];

  WORLD_UNTIL(w, s->call == NULL || !s->call->sending);
  ck_assert_ptr_nonnull(s->call);
  s->call->sending = 1;
  ck_assert_int_eq(rpc_call_send(s->call->call, rpc_message_copy(bytes, header_pack(h, bytes))), 0);
}

struct header stream_dial(const char *service, const uint8_t *connection)
{
  struct header h = {.has_member = true, .member = {7}, .limit = STREAM_LIMIT};

  snprintf(h.service, sizeof h.service, "%s", service);
  h.has_connection = connection != NULL;
  if (connection != NULL)
    memcpy(h.connection, connection, sizeof h.connection);
  return h;
}

struct header stream_answer(const struct stream *s, uint64_t received)
{
  struct header h = stream_dial("", s->latest.connection);

  h.epoch = s->latest.epoch;
  h.received = received;
  return h;
}

void stream_say_data_at(struct world *w, struct stream *s, uint64_t offset, const char *text, bool eof)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;

  p.payload_case = MINDMELD__PAYLOAD__PAYLOAD_DATA;
  p.data = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
  p.offset = offset;
  p.eof = eof;
  stream_say(w, s, &p);
}

void stream_say_data(struct world *w, struct stream *s, const char *text, bool eof)
{
  stream_say_data_at(w, s, 0, text, eof);
}

void stream_say_ack(struct world *w, struct stream *s, uint64_t taken, uint64_t messages)
{
  Mindmeld__Ack ack = MINDMELD__ACK__INIT;
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;

  ack.taken = taken;
  ack.messages = messages;
  p.ack = &ack;
  stream_say(w, s, &p);
}

void stream_say_eof(struct world *w, struct stream *s)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;

  p.eof = true;
  stream_say(w, s, &p);
}

void stream_say_last_word(struct world *w, struct stream *s, bool refused, const char *code, const char *reason)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Reset word = MINDMELD__RESET__INIT;
  char texts[2][128];

  snprintf(texts[0], sizeof texts[0], "%s", code);
  snprintf(texts[1], sizeof texts[1], "%s", reason);
  word.code = texts[0];
  word.reason = texts[1];
  if (refused)
    p.refused = &word;
  else
    p.reset = &word;
  stream_say(w, s, &p);
}

void stream_say_reset(struct world *w, struct stream *s, const char *code, const char *reason)
{
  stream_say_last_word(w, s, false, code, reason);
}

void stream_say_refused(struct world *w, struct stream *s, const char *reason)
{
  stream_say_last_word(w, s, true, "", reason);
}

void streams_oblige(void)
{
  streams.oblige = true;
  for (int i = 0; i < streams.count; i++) {
    if (streams.all[i].call != NULL && streams.all[i].half_closed)
      rpc_call_finish(streams.all[i].call->call, RPC_OK, NULL);
  }
}

void stream_finish(struct stream *s, enum rpc_status status, const char *text)
{
  ck_assert_ptr_nonnull(s->call);
  ck_assert_int_eq(rpc_call_finish(s->call->call, status, text), 0);
}
