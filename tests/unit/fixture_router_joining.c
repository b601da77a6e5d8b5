#include "fixture_router_joining.h"

#include "proto/wire/identity.h"

static void watch_take(struct watch *w, const Mindmeld__WatchServicesResponse *news)
{
  w->messages++;
  w->draining = w->draining || news->draining;
  w->complete = w->complete || news->complete;
  w->supersessions += news->superseded;
  w->went += (unsigned)news->n_removed;
  if (news->challenge.len > 0) {
    ck_assert_uint_eq(news->challenge.len, sizeof w->challenge);
    memcpy(w->challenge, news->challenge.data, sizeof w->challenge);
    w->challenges++;
  }
  if (!w->greeted)
    w->stream_age_ms = news->stream_age_ms;
  w->greeted = true;
  if (news->n_lost > w->largest)
    w->largest = news->n_lost;
  for (size_t i = 0; i < news->n_lost; i++) {
    ck_assert_uint_eq(news->lost[i].len, HEADER_MEMBER_SIZE);
    ck_assert_uint_lt(w->lost_count, LOST_MAX);
    memcpy(w->lost[w->lost_count++], news->lost[i].data, HEADER_MEMBER_SIZE);
  }
}

static void watch_on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct watch *w = arg;
  w->stream->receiving = false;
  if (!m)
    return;
  Mindmeld__WatchServicesResponse *news =
      (Mindmeld__WatchServicesResponse *)rpc_message_unpack(m, &mindmeld__watch_services_response__descriptor);
  ck_assert_ptr_nonnull(news);
  watch_take(w, news);
  mindmeld__watch_services_response__free_unpacked(news, NULL);
  rpc_message_free(m);
  stream_receive(w->stream);
}

static void watch_on_sent(struct rpc_call *c, void *arg)
{
  stream_on_sent(c, ((struct watch *)arg)->stream);
}

static void watch_on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  stream_on_closed(c, status, text, ((struct watch *)arg)->stream);
}

static const struct rpc_call_events watch_events = {
    .message = watch_on_message, .sent = watch_on_sent, .closed = watch_on_closed};

struct watch *watch(struct fixture *f)
{
  Mindmeld__WatchServicesRequest request = MINDMELD__WATCH_SERVICES_REQUEST__INIT;
  struct watch *w = calloc(1, sizeof *w);
  w->lost = calloc(LOST_MAX, sizeof *w->lost);
  w->stream = stream_open(f, CONTROL "WatchServices");
  rpc_call_set_arg(w->stream->call, &watch_events, w);
  stream_send_pack(w->stream, &request.base);
  stream_end(w->stream);
  FIXTURE_UNTIL(f, w->complete);
  ck_assert_uint_eq(w->challenges, 1);
  return w;
}

void watch_drop(struct watch *w)
{
  ck_assert_uint_eq(w->challenges, 1);
  stream_drop(w->stream);
  free(w->lost);
  free(w);
}

bool heard_lost(const struct watch *w, struct who who)
{
  struct who_bytes b = who_bytes(who);
  for (size_t i = 0; i < w->lost_count; i++) {
    if (memcmp(w->lost[i], b.id, sizeof b.id) == 0)
      return true;
  }
  return false;
}

/* ---- Joining ---- */

struct request request_of(const struct watch *w, struct who who, uint8_t seed, uint64_t instance)
{
  return (struct request){.who = who, .seed = seed, .instance = instance, .challenge = w->challenge, .spoiled = -1};
}

struct asked ask_claim(struct fixture *f, const struct request *q)
{
  struct identity_claim claim = {.instance = q->instance};
  struct who_bytes b = who_bytes(q->who);
  uint8_t seed[IDENTITY_SEED_SIZE], signature[IDENTITY_SIGNATURE_SIZE], former[HEADER_MEMBER_KEY_SIZE];
  memset(seed, q->seed, sizeof seed);
  memset(former, q->former, sizeof former);
  identity_of_seed(seed, claim.identity);
  memcpy(claim.challenge, q->challenge, sizeof claim.challenge);
  memcpy(claim.member, b.id, sizeof claim.member);
  identity_sign(&claim, seed, signature);
  if (q->spoiled >= 0 && q->spoiled < IDENTITY_SIGNATURE_SIZE)
    signature[q->spoiled] ^= 1;
  Mindmeld__JoinRequest request = MINDMELD__JOIN_REQUEST__INIT;
  request.member = binary(b.id, sizeof b.id);
  request.member_key = binary(b.key, sizeof b.key);
  request.identity = binary(claim.identity, sizeof claim.identity);
  request.instance = q->instance;
  request.challenge = binary(claim.challenge, sizeof claim.challenge);
  request.signature = binary(signature, sizeof signature);
  if (q->former)
    request.former_key = binary(former, sizeof former);
  ProtobufCBinaryData *const fields[] = {NULL,
                                         &request.member,
                                         &request.member_key,
                                         &request.identity,
                                         &request.challenge,
                                         &request.signature,
                                         &request.former_key};
  if (q->cut)
    fields[q->cut]->len--;
  if (q->spoiled == IDENTITY_SIGNATURE_SIZE)
    request.instance++;
  return ask_on(f, f->channel, CONTROL "Join", &request.base, &mindmeld__join_response__descriptor);
}

void joins_as(struct fixture *f, const struct request *q)
{
  struct asked asked = ask_claim(f, q);
  ck_assert_msg(asked.status == RPC_OK, "%s: %s", rpc_status_name(asked.status), asked.text);
}

void joins(struct fixture *f, const struct watch *w, struct who who, uint8_t seed, uint64_t instance)
{
  const struct request q = request_of(w, who, seed, instance);
  joins_as(f, &q);
}

void refused_as(struct fixture *f, const struct request *q, enum rpc_status status, const char *part)
{
  struct asked asked = ask_claim(f, q);
  ck_assert_msg(asked.status == status && strstr(asked.text, part), "%s: %s", rpc_status_name(asked.status),
                asked.text);
}

void refused(struct fixture *f, const struct watch *w, struct who who, uint8_t seed, uint64_t instance,
             enum rpc_status status, const char *part)
{
  const struct request q = request_of(w, who, seed, instance);
  refused_as(f, &q, status, part);
}

bool may_park(struct fixture *f, struct who who)
{
  struct stream *s = park(f, who);
  /* What follows it on the connection is answered after it was let in. */
  for (int i = 0; i < 3 && !s->closed; i++)
    list(f);
  bool parked = !s->closed;
  stream_drop(s);
  return parked;
}
