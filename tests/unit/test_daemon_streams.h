/* The streams of connections at the router of test_daemon_world.h: what came on each, and what is said on it. */
#ifndef TEST_DAEMON_STREAMS_H
#define TEST_DAEMON_STREAMS_H

#include "test_daemon_world.h"

enum { STREAM_DATA_MAX = 4096, STREAMS_MAX = 256, STREAM_CONNECTION_SIZE = 16 };

struct stream {
  struct fake_call *call; /* NULL: closed */
  enum rpc_status status; /* of the closed one */
  bool original;          /* ProxyConnection */
  int headers;
  /* Of the first header. */
  bool park;
  char token[130], service[64];
  /* Of the last one. */
  bool has_member, has_key, has_connection;
  uint8_t connection[STREAM_CONNECTION_SIZE];
  uint64_t limit;

  char data[STREAM_DATA_MAX];
  size_t size;
  bool eof, half_closed, reset;
  char code[32], reason[300];
  uint64_t taken;
};

struct streams {
  struct stream all[STREAMS_MAX];
  int count;
  bool refuse; /* new ones */
  int refused;
};

WORLD struct streams streams;

WORLD void stream_keep_header(struct world *w, struct stream *s, const Mindmeld__Header *h)
{
  if (s->headers++ == 0) {
    s->park = h->park;
    snprintf(s->token, sizeof s->token, "%s", h->token);
    snprintf(s->service, sizeof s->service, "%s", h->service);
  }
  s->has_member = h->member.len == LINK_MEMBER_SIZE && memcmp(h->member.data, link_member(w->link), h->member.len) == 0;
  s->has_key = h->member_key.len == LINK_MEMBER_KEY_SIZE &&
               memcmp(h->member_key.data, link_member_key(w->link), h->member_key.len) == 0;
  s->has_connection = h->connection.len == STREAM_CONNECTION_SIZE;
  if (s->has_connection)
    memcpy(s->connection, h->connection.data, STREAM_CONNECTION_SIZE);
  s->limit = h->limit;
}

WORLD void stream_keep(struct world *w, struct stream *s, const Mindmeld__Payload *p)
{
  ck_assert_msg(!s->reset, "something came after a reset");
  if (p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_HEADER)
    stream_keep_header(w, s, p->header);
  if (p->payload_case == MINDMELD__PAYLOAD__PAYLOAD_DATA && p->data.len > 0) {
    ck_assert_uint_le(s->size + p->data.len, sizeof s->data);
    memcpy(s->data + s->size, p->data.data, p->data.len);
    s->size += p->data.len;
  }
  s->eof |= p->eof;
  if (p->ack != NULL)
    s->taken = p->ack->taken;
  if (p->reset != NULL) {
    s->reset = true;
    snprintf(s->code, sizeof s->code, "%s", p->reset->code);
    snprintf(s->reason, sizeof s->reason, "%s", p->reset->reason);
  }
}

WORLD struct stream *stream_new(struct fake_call *f)
{
  ck_assert_int_lt(streams.count, STREAMS_MAX);
  struct stream *s = &streams.all[streams.count++];

  *s = (struct stream){.call = f, .original = strstr(rpc_call_method(f->call), "/ProxyConnection") != NULL};
  f->user = s;
  return s;
}

WORLD void stream_message(struct fake_call *f, struct rpc_message *m)
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
    return;
  }
  Mindmeld__Payload *p = (Mindmeld__Payload *)rpc_message_unpack(m, &mindmeld__payload__descriptor);
  ck_assert_ptr_nonnull(p);
  stream_keep(f->w, s, p);
  mindmeld__payload__free_unpacked(p, NULL);
  rpc_call_receive(f->call);
}

WORLD void stream_closed(struct fake_call *f, enum rpc_status status)
{
  struct stream *s = f->user;

  if (s == NULL)
    return;
  s->call = NULL;
  s->status = status;
}

/* After world_open. */
WORLD void streams_begin(struct world *w)
{
  streams = (struct streams){0};
  w->on_message = stream_message;
  w->on_closed = stream_closed;
}

WORLD int streams_live(void)
{
  int live = 0;

  for (int i = 0; i < streams.count; i++)
    live += streams.all[i].call != NULL;
  return live;
}

/* What the router tells of the other side. */
WORLD void stream_meet(struct stream *s, bool original)
{
  const struct rpc_metadata metadata[] = {{"mindmeld-version", "2"}, {"mindmeld-peer", original ? "original" : "2"}};

  ck_assert_int_eq(rpc_call_send_headers(s->call->call, metadata, 2), 0);
}

WORLD void stream_say(struct world *w, struct stream *s, Mindmeld__Payload *p)
{
  WORLD_UNTIL(w, s->call == NULL || !s->call->sending);
  ck_assert_ptr_nonnull(s->call);
  s->call->sending = 1;
  ck_assert_int_eq(rpc_call_send(s->call->call, rpc_message_pack(&p->base)), 0);
}

/* Any of `service` and `connection` may be NULL. */
WORLD void stream_say_header(struct world *w, struct stream *s, const char *service, const uint8_t *connection)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Header h = MINDMELD__HEADER__INIT;
  uint8_t member[LINK_MEMBER_SIZE] = {7};
  char name[64];

  snprintf(name, sizeof name, "%s", service != NULL ? service : "");
  h.service = name;
  h.member = (ProtobufCBinaryData){sizeof member, member};
  if (connection != NULL)
    h.connection = (ProtobufCBinaryData){STREAM_CONNECTION_SIZE, (uint8_t *)(uintptr_t)connection};
  h.limit = 1 << 20;
  p.payload_case = MINDMELD__PAYLOAD__PAYLOAD_HEADER;
  p.header = &h;
  stream_say(w, s, &p);
}

WORLD void stream_say_data(struct world *w, struct stream *s, const char *text, bool eof)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;

  p.payload_case = MINDMELD__PAYLOAD__PAYLOAD_DATA;
  p.data = (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
  p.eof = eof;
  stream_say(w, s, &p);
}

WORLD void stream_say_eof(struct world *w, struct stream *s)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;

  p.eof = true;
  stream_say(w, s, &p);
}

WORLD void stream_say_reset(struct world *w, struct stream *s, const char *code, const char *reason)
{
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Reset r = MINDMELD__RESET__INIT;
  char texts[2][128];

  snprintf(texts[0], sizeof texts[0], "%s", code);
  snprintf(texts[1], sizeof texts[1], "%s", reason);
  r.code = texts[0];
  r.reason = texts[1];
  p.reset = &r;
  stream_say(w, s, &p);
}

WORLD void stream_finish(struct stream *s, enum rpc_status status, const char *text)
{
  ck_assert_ptr_nonnull(s->call);
  ck_assert_int_eq(rpc_call_finish(s->call->call, status, text), 0);
}

#endif
