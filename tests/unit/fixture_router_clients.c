#include "fixture_router_clients.h"

#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

/* ---- Waiting ---- */

static void fixture_tick(uv_timer_t *t)
{
  (void)t;
}

void fixture_turn(struct fixture *f)
{
  uv_run(&f->loop, UV_RUN_ONCE);
}

void fixture_linger(struct fixture *f, uint64_t ms)
{
  uint64_t end = uv_hrtime() + ms * 1000000;
  FIXTURE_UNTIL(f, uv_hrtime() >= end);
}

/* ---- Streams ---- */

void stream_receive(struct stream *s)
{
  if (s->reading && !s->receiving && !s->ended && s->call)
    s->receiving = rpc_call_receive(s->call) == 0;
}

void stream_on_headers(struct rpc_call *c, void *arg)
{
  struct stream *s = arg;
  s->headers = true;
  rpc_call_metadata(c, "mindmeld-peer", s->peer, sizeof s->peer);
  rpc_call_metadata(c, "mindmeld-version", s->version, sizeof s->version);
}

static void stream_take(struct stream *s, const struct rpc_message *m)
{
  if (!s->payloads)
    return;
  struct iovec parts[64];
  size_t count = rpc_message_parts(m, parts, 64);
  struct payload payload;
  if (count > 64 || payload_parse(parts, count, &payload) != 0)
    return;
  s->eof = s->eof || payload.eof;
  s->reset = s->reset || payload.has_reset;
  if (payload.has_header) {
    uint8_t bytes[HEADER_SIZE_MAX];
    const char *why;
    ck_assert_uint_le(payload.header_size, sizeof bytes);
    payload_copy(parts, count, payload.header_at, payload.header_size, bytes);
    ck_assert_int_eq(header_unpack(bytes, payload.header_size, &s->header, &why), 0);
    s->told++;
    s->told_at = s->size;
  }
  if (!payload.has_data)
    return;
  if (s->size + payload.data_size <= sizeof s->bytes)
    payload_copy(parts, count, payload.data_at, payload.data_size, s->bytes + s->size);
  s->size += payload.data_size;
}

static void stream_on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct stream *s = arg;
  s->receiving = false;
  if (!m) {
    s->ended = true;
    return;
  }
  s->received++;
  stream_take(s, m);
  rpc_message_free(s->last);
  s->last = m;
  stream_receive(s);
}

void stream_on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  struct stream *s = arg;
  s->sending = false;
  s->sent++;
}

void stream_on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  struct stream *s = arg;
  s->closed = true;
  s->call = NULL;
  s->status = status;
  snprintf(s->text, sizeof s->text, "%s", text);
  rpc_message_free(s->last);
  s->last = NULL;
  s->f->calls--;
}

static const struct rpc_call_events stream_events = {
    .headers = stream_on_headers, .message = stream_on_message, .sent = stream_on_sent, .closed = stream_on_closed};

struct stream *stream_open_on(struct fixture *f, struct rpc_channel *channel, const char *method)
{
  struct stream *s = calloc(1, sizeof *s);
  const struct rpc_call_options options = {.method = method};
  s->f = f;
  s->reading = true;
  s->payloads = strncmp(method, PROXY, strlen(PROXY)) == 0;
  ck_assert_int_eq(rpc_call_start(&s->call, channel, &options, &stream_events, s), 0);
  f->calls++;
  stream_receive(s);
  return s;
}

struct stream *stream_open(struct fixture *f, const char *method)
{
  return stream_open_on(f, f->channel, method);
}

void stream_send(struct stream *s, struct rpc_message *m)
{
  ck_assert_ptr_nonnull(m);
  FIXTURE_UNTIL(s->f, !s->sending || s->closed);
  if (s->closed) {
    rpc_message_free(m);
    return;
  }
  s->sending = rpc_call_send(s->call, m) == 0;
}

void stream_send_pack(struct stream *s, const ProtobufCMessage *m)
{
  stream_send(s, rpc_message_pack(m));
}

struct rpc_message *payload_message(const void *bytes, size_t size, bool eof)
{
  uint8_t *buffer = malloc(PAYLOAD_PREFIX_MAX + size);
  uint8_t prefix[PAYLOAD_PREFIX_MAX];
  size_t prefix_size = payload_prefix(prefix, size, eof);
  memcpy(buffer, prefix, prefix_size);
  if (size)
    memcpy(buffer + prefix_size, bytes, size);
  struct rpc_message *m = rpc_message_copy(buffer, prefix_size + size);
  free(buffer);
  return m;
}

void stream_send_data(struct stream *s, const void *bytes, size_t size)
{
  stream_send(s, payload_message(bytes, size, false));
}

void stream_say(struct stream *s, const char *text)
{
  stream_send_data(s, text, strlen(text));
}

void stream_hears(struct stream *s, const char *text)
{
  FIXTURE_UNTIL(s->f, s->size >= strlen(text) || s->closed);
  ck_assert_uint_eq(s->size, strlen(text));
  ck_assert_mem_eq(s->bytes, text, s->size);
  s->size = 0;
}

void stream_end(struct stream *s)
{
  if (s->call)
    rpc_call_end(s->call);
}

static void stream_cancel(struct stream *s)
{
  if (s->call)
    rpc_call_cancel(s->call, RPC_CANCELLED, "");
}

void stream_closes(struct stream *s, enum rpc_status status)
{
  FIXTURE_UNTIL(s->f, s->closed);
  ck_assert_msg(s->status == status, "%s, not %s: %s", rpc_status_name(s->status), rpc_status_name(status), s->text);
  free(s);
}

void stream_closes_saying(struct stream *s, enum rpc_status status, const char *part)
{
  FIXTURE_UNTIL(s->f, s->closed);
  ck_assert_msg(strstr(s->text, part) != NULL, "%s: %s", rpc_status_name(s->status), s->text);
  stream_closes(s, status);
}

void stream_drop(struct stream *s)
{
  stream_cancel(s);
  FIXTURE_UNTIL(s->f, s->closed);
  free(s);
}

/* ---- What clients say ---- */

ProtobufCBinaryData binary(const uint8_t *bytes, size_t size)
{
  return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)bytes};
}

struct who_bytes who_bytes(struct who who)
{
  struct who_bytes b;
  memset(b.key, who.claimed, sizeof b.key);
  member_of_key(b.key, b.id);
  memset(b.key, who.key, sizeof b.key);
  return b;
}

struct stream *create(struct fixture *f, const char *name, struct who who)
{
  struct stream *s = stream_open(f, CONTROL "CreateService");
  Mindmeld__CreateServiceRequest request = MINDMELD__CREATE_SERVICE_REQUEST__INIT;
  struct who_bytes b = who_bytes(who);
  request.name = (char *)(uintptr_t)name;
  if (who.claimed) {
    request.member = binary(b.id, sizeof b.id);
    request.member_key = binary(b.key, sizeof b.key);
  }
  stream_send_pack(s, &request.base);
  stream_end(s);
  return s;
}

struct stream *created(struct fixture *f, const char *name, struct who who)
{
  struct stream *s = create(f, name, who);
  FIXTURE_UNTIL(f, s->headers || s->closed);
  ck_assert_msg(!s->closed, "%s: %s", name, s->text);
  return s;
}

void pushed(struct stream *service, unsigned nth, char token[TOKEN_MAX + 1])
{
  FIXTURE_UNTIL(service->f, service->received >= nth || service->closed);
  ck_assert(!service->closed);
  Mindmeld__CreateServiceResponse *answer = (Mindmeld__CreateServiceResponse *)rpc_message_unpack(
      service->last, &mindmeld__create_service_response__descriptor);
  ck_assert_ptr_nonnull(answer);
  ck_assert_str_eq(answer->dial_addr, "");
  snprintf(token, TOKEN_MAX + 1, "%s", answer->token);
  mindmeld__create_service_response__free_unpacked(answer, NULL);
}

static void asked_list(struct asked *a, const struct rpc_message *m)
{
  Mindmeld__ListServicesResponse *list =
      (Mindmeld__ListServicesResponse *)rpc_message_unpack(m, &mindmeld__list_services_response__descriptor);
  ck_assert_ptr_nonnull(list);
  a->services = list->n_services;
  size_t used = 0;
  for (size_t i = 0; i < list->n_services && used < sizeof a->names; i++) {
    used += (size_t)snprintf(a->names + used, sizeof a->names - used, "%s%s", i ? " " : "", list->services[i]->name);
    a->created = list->services[i]->create_time->seconds;
  }
  mindmeld__list_services_response__free_unpacked(list, NULL);
}

static void asked_removed(struct asked *a, const struct rpc_message *m)
{
  Mindmeld__JoinResponse *response =
      (Mindmeld__JoinResponse *)rpc_message_unpack(m, &mindmeld__join_response__descriptor);
  ck_assert_ptr_nonnull(response);
  a->services = response->n_removed;
  size_t used = 0;
  for (size_t i = 0; i < response->n_removed && used < sizeof a->names; i++)
    used += (size_t)snprintf(a->names + used, sizeof a->names - used, "%s%s", i ? " " : "", response->removed[i]);
  mindmeld__join_response__free_unpacked(response, NULL);
}

static void asked_hops(struct asked *a, const struct rpc_message *m)
{
  Mindmeld__TraceResponse *response =
      (Mindmeld__TraceResponse *)rpc_message_unpack(m, &mindmeld__trace_response__descriptor);
  ck_assert_ptr_nonnull(response);
  a->services = response->n_hops;
  a->created = response->n_hops > 0 ? response->hops[response->n_hops - 1] : 0;
  mindmeld__trace_response__free_unpacked(response, NULL);
}

static void asked_done(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct asking *asking = arg;
  struct asked *a = asking->asked;
  a->done = true;
  a->status = status;
  snprintf(a->text, sizeof a->text, "%s", text);
  if (!answer)
    return;
  if (asking->type == &mindmeld__list_services_response__descriptor) {
    asked_list(a, answer);
    rpc_message_free(answer);
    return;
  }
  if (asking->type == &mindmeld__join_response__descriptor) {
    asked_removed(a, answer);
    rpc_message_free(answer);
    return;
  }
  if (asking->type == &mindmeld__trace_response__descriptor) {
    asked_hops(a, answer);
    rpc_message_free(answer);
    return;
  }
  Mindmeld__ForwardToServiceResponse *forward = (Mindmeld__ForwardToServiceResponse *)rpc_message_unpack(
      answer, &mindmeld__forward_to_service_response__descriptor);
  ck_assert_ptr_nonnull(forward);
  ck_assert_str_eq(forward->dial_addr, "");
  snprintf(a->token, sizeof a->token, "%s", forward->token);
  mindmeld__forward_to_service_response__free_unpacked(forward, NULL);
  rpc_message_free(answer);
}

struct asked ask_on(struct fixture *f, struct rpc_channel *channel, const char *method, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *type)
{
  struct asked asked = {0};
  struct asking asking = {&asked, type};
  struct rpc_call *call;
  const struct rpc_call_options options = {.method = method};
  ck_assert_int_eq(rpc_unary(&call, channel, &options, rpc_message_pack(request), asked_done, &asking), 0);
  FIXTURE_UNTIL(f, asked.done);
  return asked;
}

struct asked list_on(struct fixture *f, struct rpc_channel *channel)
{
  Mindmeld__ListServicesRequest request = MINDMELD__LIST_SERVICES_REQUEST__INIT;
  return ask_on(f, channel, CONTROL "ListServices", &request.base, &mindmeld__list_services_response__descriptor);
}

struct asked list(struct fixture *f)
{
  return list_on(f, f->channel);
}

struct asked forward_on(struct fixture *f, struct rpc_channel *channel, const char *name)
{
  Mindmeld__ForwardToServiceRequest request = MINDMELD__FORWARD_TO_SERVICE_REQUEST__INIT;
  request.name = (char *)(uintptr_t)name;
  return ask_on(f, channel, CONTROL "ForwardToService", &request.base,
                &mindmeld__forward_to_service_response__descriptor);
}

struct asked forward(struct fixture *f, const char *name)
{
  return forward_on(f, f->channel, name);
}

struct header header_of(struct who who)
{
  struct header h = {.has_member = who.claimed != 0, .has_member_key = who.claimed != 0};
  struct who_bytes b = who_bytes(who);
  memcpy(h.member, b.id, sizeof h.member);
  memcpy(h.member_key, b.key, sizeof h.member_key);
  return h;
}

struct stream *connect_with(struct fixture *f, const struct header *h)
{
  struct stream *s = stream_open(f, PROXY "Connect");
  uint8_t bytes[HEADER_SIZE_MAX];
  stream_send(s, rpc_message_copy(bytes, header_pack(h, bytes)));
  return s;
}

struct header header_of_dial(const char *name, struct who who, uint8_t connection)
{
  struct header h = header_of(who);
  snprintf(h.service, sizeof h.service, "%s", name);
  h.has_connection = true;
  memset(h.connection, connection, sizeof h.connection);
  h.limit = 1 << 20;
  h.hops = 3;
  h.origin = 0x123456789abcdef0;
  return h;
}

struct stream *dial(struct fixture *f, const char *name, struct who who)
{
  const struct header h = header_of_dial(name, who, 'c');
  return connect_with(f, &h);
}

struct stream *park(struct fixture *f, struct who who)
{
  struct header h = header_of(who);
  h.park = true;
  return connect_with(f, &h);
}

struct stream *show(struct fixture *f, bool original, const char *token, struct who who)
{
  if (!original) {
    struct header h = header_of(who);
    snprintf(h.token, sizeof h.token, "%s", token);
    return connect_with(f, &h);
  }
  struct stream *s = stream_open(f, PROXY "ProxyConnection");
  uint8_t bytes[TOKEN_STREAM_HEADER_MAX];
  int size = token_stream_write(bytes, sizeof bytes, token);
  ck_assert_int_gt(size, 0);
  stream_send_data(s, bytes, (size_t)size);
  return s;
}

/* Has the process join, with the challenge that its watch was given, as the identity of a seed of one byte. */
static struct asked ask_join(struct fixture *f, const uint8_t challenge[IDENTITY_CHALLENGE_SIZE], struct who who,
                             uint8_t seed, uint64_t instance)
{
  struct identity_claim claim = {.instance = instance};
  struct who_bytes b = who_bytes(who);
  uint8_t seed_bytes[IDENTITY_SEED_SIZE], signature[IDENTITY_SIGNATURE_SIZE];
  memset(seed_bytes, seed, sizeof seed_bytes);
  identity_of_seed(seed_bytes, claim.identity);
  memcpy(claim.member, b.id, sizeof claim.member);
  memcpy(claim.challenge, challenge, sizeof claim.challenge);
  identity_sign(&claim, seed_bytes, signature);
  Mindmeld__JoinRequest request = MINDMELD__JOIN_REQUEST__INIT;
  request.member = binary(b.id, sizeof b.id);
  request.member_key = binary(b.key, sizeof b.key);
  request.identity = binary(claim.identity, sizeof claim.identity);
  request.challenge = binary(claim.challenge, sizeof claim.challenge);
  request.signature = binary(signature, sizeof signature);
  request.instance = instance;
  return ask_on(f, f->channel, CONTROL "Join", &request.base, &mindmeld__join_response__descriptor);
}

struct stream *member_joins(struct fixture *f, struct who who, uint8_t seed, uint64_t instance)
{
  Mindmeld__WatchServicesRequest request = MINDMELD__WATCH_SERVICES_REQUEST__INIT;
  struct stream *watch = stream_open(f, CONTROL "WatchServices");
  stream_send_pack(watch, &request.base);
  stream_end(watch);
  FIXTURE_UNTIL(f, watch->received > 0 || watch->closed);
  ck_assert_msg(!watch->closed, "%s", watch->text);
  Mindmeld__WatchServicesResponse *news = (Mindmeld__WatchServicesResponse *)rpc_message_unpack(
      watch->last, &mindmeld__watch_services_response__descriptor);
  ck_assert_ptr_nonnull(news);
  ck_assert_uint_eq(news->challenge.len, IDENTITY_CHALLENGE_SIZE);
  struct asked asked = ask_join(f, news->challenge.data, who, seed, instance);
  ck_assert_msg(asked.status == RPC_OK, "%s", asked.text);
  mindmeld__watch_services_response__free_unpacked(news, NULL);
  return watch;
}

struct joined join(struct fixture *f, struct stream *service, const char *name, bool original_f, bool original_s)
{
  char token[TOKEN_MAX + 1];
  unsigned nth = service->received + 1;
  struct joined j;
  if (original_f) {
    struct asked asked = forward(f, name);
    ck_assert_msg(asked.status == RPC_OK, "%s", asked.text);
    j.f = show(f, true, asked.token, nobody);
  } else {
    j.f = dial(f, name, member_f);
  }
  pushed(service, nth, token);
  j.s = show(f, original_s, token, original_s ? nobody : member_s);
  return j;
}

struct stream *parked(struct fixture *f, struct who who)
{
  struct stream *s = park(f, who);
  FIXTURE_UNTIL(f, s->sent == 1 || s->closed);
  list(f);
  ck_assert_msg(!s->closed, "%s", s->text);
  return s;
}

void talk(struct stream *f, struct stream *s)
{
  for (int i = 0; i < 10; i++) {
    stream_say(f, "ping");
    stream_hears(s, "ping");
    stream_say(s, "pong");
    stream_hears(f, "pong");
  }
}

void part(struct stream *f, struct stream *s)
{
  stream_send(f, payload_message("", 0, true));
  stream_send(s, payload_message("", 0, true));
  FIXTURE_UNTIL(f->f, f->eof && s->eof);
  stream_end(f);
  stream_end(s);
  stream_closes(f, RPC_OK);
  stream_closes(s, RPC_OK);
}

/* ---- The fixture ---- */

static void *fixture_run(void *arg)
{
  struct fixture *f = arg;
  rpc_queue_run(f->router_queue);
  return NULL;
}

static void fixture_router_done(void *arg)
{
  struct fixture *f = arg;
  atomic_store(&f->router_over, true);
  rpc_queue_stop(f->router_queue, NULL, NULL);
}

static void fixture_router_drain(void *arg)
{
  struct fixture *f = arg;
  if (!atomic_load(&f->router_over))
    router_drain(f->router, fixture_router_done, f);
}

void fixture_drain(struct fixture *f)
{
  rpc_queue_post(f->router_queue, fixture_router_drain, f);
}

struct rpc_channel *fixture_channel(struct fixture *f, const char *bearer)
{
  const struct rpc_channel_options options = {.target = f->address, .bearer = bearer};
  struct rpc_channel *channel;
  ck_assert_int_eq(rpc_channel_open(&channel, f->queue, &options), 0);
  return channel;
}

struct router_limits fixture_limits(void)
{
  struct router_limits limits = router_limits_default();
  limits.young_ms = limits.gone_ms = 0;
  return limits;
}

static void fixture_open_config(struct fixture *f, const struct router_config *config)
{
  struct router_ports ports;
  memset(f, 0, sizeof *f);
  ck_assert_int_eq(rpc_queue_create(&f->router_queue), 0);
  ck_assert_int_eq(router_start(&f->router, f->router_queue, config, &ports), 0);
  router_admit(f->router);
  ck_assert_int_eq(pthread_create(&f->router_thread, NULL, fixture_run, f), 0);
  snprintf(f->address, sizeof f->address, "127.0.0.1:%d", ports.port);
  ck_assert_int_eq(uv_loop_init(&f->loop), 0);
  /* Conditions may be about time, or about another thread. */
  uv_timer_init(&f->loop, &f->tick);
  uv_timer_start(&f->tick, fixture_tick, 5, 5);
  ck_assert_int_eq(rpc_queue_create(&f->queue), 0);
  ck_assert_int_eq(rpc_queue_attach(f->queue, &f->loop), 0);
  f->channel = fixture_channel(f, config->key);
}

void fixture_open_at(struct fixture *f, const char *address, const struct router_limits *limits, const char *key)
{
  const struct router_config config = {
      .server = {.address = address}, .key = key, .limits = limits ? *limits : fixture_limits()};
  fixture_open_config(f, &config);
}

void fixture_open_streams(struct fixture *f, const char *streams)
{
  const struct router_config config = {
      .server = {.address = "127.0.0.1:0"}, .streams = streams, .limits = fixture_limits()};
  fixture_open_config(f, &config);
}

void fixture_open_with(struct fixture *f, const struct router_limits *limits, const char *key)
{
  fixture_open_at(f, "127.0.0.1:0", limits, key);
}

void fixture_open(struct fixture *f)
{
  fixture_open_with(f, NULL, NULL);
}

static void fixture_stopped(void *arg)
{
  ((struct fixture *)arg)->stopped = true;
}

void fixture_close(struct fixture *f)
{
  ck_assert_uint_eq(f->calls, 0);
  rpc_channel_close(f->channel);
  fixture_drain(f);
  fixture_drain(f);
  pthread_join(f->router_thread, NULL);
  ck_assert(atomic_load(&f->router_over));
  rpc_queue_free(f->router_queue);
  rpc_queue_stop(f->queue, fixture_stopped, f);
  FIXTURE_UNTIL(f, f->stopped);
  rpc_queue_free(f->queue);
  uv_close((uv_handle_t *)&f->tick, NULL);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&f->loop), 0);
}

Suite *fixture_suite(const char *name, const struct fixture_test *tests, size_t count)
{
  Suite *suite = suite_create(name);
  TCase *tcase = tcase_create(name);
  suite_add_tcase(suite, tcase);
  for (size_t i = 0; i < count; i++) {
    if (tests[i].loop > 0)
      tcase_add_loop_test(tcase, tests[i].test, 0, tests[i].loop);
    else
      tcase_add_test(tcase, tests[i].test);
  }
  tcase_set_timeout(tcase, 100);
  return suite;
}
