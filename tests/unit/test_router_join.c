/* A real router: who joins, what a newer process takes over, and who hears that a member is over. */
#include "test_router_fixture.h"

#include "proto/identity.h"

enum { LOST_MAX = 1500 };

/* A watcher, and what it has heard of members. */
struct watch {
  struct stream *stream;
  bool greeted, draining, complete;
  uint8_t challenge[IDENTITY_CHALLENGE_SIZE];
  uint64_t stream_age_ms;
  unsigned messages, challenges, supersessions, went; /* names that were removed */
  size_t lost_count, largest;                         /* in one message */
  uint8_t (*lost)[HEADER_MEMBER_SIZE];
};

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

static struct watch *watch(struct fixture *f)
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

static void watch_drop(struct watch *w)
{
  ck_assert_uint_eq(w->challenges, 1);
  stream_drop(w->stream);
  free(w->lost);
  free(w);
}

static bool heard_lost(const struct watch *w, struct who who)
{
  struct who_bytes b = who_bytes(who);
  for (size_t i = 0; i < w->lost_count; i++) {
    if (memcmp(w->lost[i], b.id, sizeof b.id) == 0)
      return true;
  }
  return false;
}

/* ---- Joining ---- */

/* Seeds are one byte, repeated. */
struct request {
  struct who who;
  uint8_t seed;
  uint64_t instance;
  uint8_t former; /* a key; 0: none */
  const uint8_t *challenge;
  int spoiled; /* where a byte of the signed text or its signature is flipped; -1: nowhere */
  size_t cut;  /* a field that is one byte short: 1 to 5 */
};

static struct request request_of(const struct watch *w, struct who who, uint8_t seed, uint64_t instance)
{
  return (struct request){.who = who, .seed = seed, .instance = instance, .challenge = w->challenge, .spoiled = -1};
}

static struct asked ask_claim(struct fixture *f, const struct request *q)
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

static void joins_as(struct fixture *f, const struct request *q)
{
  struct asked asked = ask_claim(f, q);
  ck_assert_msg(asked.status == RPC_OK, "%s: %s", rpc_status_name(asked.status), asked.text);
}

static void joins(struct fixture *f, const struct watch *w, struct who who, uint8_t seed, uint64_t instance)
{
  const struct request q = request_of(w, who, seed, instance);
  joins_as(f, &q);
}

static void refused_as(struct fixture *f, const struct request *q, enum rpc_status status, const char *part)
{
  struct asked asked = ask_claim(f, q);
  ck_assert_msg(asked.status == status && strstr(asked.text, part), "%s: %s", rpc_status_name(asked.status),
                asked.text);
}

static void refused(struct fixture *f, const struct watch *w, struct who who, uint8_t seed, uint64_t instance,
                    enum rpc_status status, const char *part)
{
  const struct request q = request_of(w, who, seed, instance);
  refused_as(f, &q, status, part);
}

static bool may_park(struct fixture *f, struct who who)
{
  struct stream *s = park(f, who);
  /* What follows it on the connection is answered after it was let in. */
  for (int i = 0; i < 3 && !s->closed; i++)
    list(f);
  bool parked = !s->closed;
  stream_drop(s);
  return parked;
}

static const struct who first = {31, 31}, second = {32, 32}, third = {33, 33};

START_TEST(test_join)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f);
  ck_assert(!may_park(&f, first));
  joins(&f, w, first, 'a', 1);
  ck_assert(may_park(&f, first));
  ck_assert(!may_park(&f, second));
  struct watch *other = watch(&f);
  joins(&f, other, second, 'b', 0);
  ck_assert_int_ne(memcmp(w->challenge, other->challenge, sizeof w->challenge), 0);
  ck_assert_uint_eq(w->supersessions + other->supersessions, 0);
  ck_assert_uint_eq(w->lost_count + other->lost_count, 0);
  watch_drop(w);
  watch_drop(other);
  /* It is over with its watch. */
  FIXTURE_UNTIL(&f, !may_park(&f, first));
  fixture_close(&f);
}
END_TEST

START_TEST(test_challenge_is_used_up)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f), *open = watch(&f);
  const struct request q = request_of(w, first, 'a', 1);
  joins_as(&f, &q);
  refused_as(&f, &q, RPC_PERMISSION_DENIED, "challenge");
  struct request unknown = request_of(w, first, 'a', 1);
  uint8_t bytes[IDENTITY_CHALLENGE_SIZE] = {1};
  unknown.challenge = bytes;
  refused_as(&f, &unknown, RPC_PERMISSION_DENIED, "challenge");
  /* Of a watch that is closed it is as good as none. */
  memcpy(bytes, open->challenge, sizeof bytes);
  watch_drop(open);
  refused_as(&f, &unknown, RPC_PERMISSION_DENIED, "challenge");
  ck_assert(may_park(&f, first));
  watch_drop(w);
  fixture_close(&f);
}
END_TEST

START_TEST(test_forged)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *owner = watch(&f);
  joins(&f, owner, first, 'a', 5);
  struct stream *web = created(&f, "web", first);
  /* Any byte of the signature, and an instance that was not signed. */
  for (int at = 0; at <= IDENTITY_SIGNATURE_SIZE; at += 8) {
    struct watch *w = watch(&f);
    struct request q = request_of(w, second, 'a', 6);
    q.spoiled = at;
    refused_as(&f, &q, RPC_PERMISSION_DENIED, "signature");
    /* It had one try. */
    q.spoiled = -1;
    refused_as(&f, &q, RPC_PERMISSION_DENIED, "challenge");
    watch_drop(w);
  }
  struct watch *w = watch(&f);
  refused(&f, w, (struct who){31, 32}, 'a', 6, RPC_PERMISSION_DENIED, "member's key");
  /* A signature is for one member: with its own key, another's claim is worth nothing. */
  ck_assert(!owner->supersessions && !web->closed && may_park(&f, first));
  joins(&f, w, second, 'b', 9); /* what was malformed did not use up the challenge */
  watch_drop(w);
  stream_drop(web);
  watch_drop(owner);
  fixture_close(&f);
}
END_TEST

START_TEST(test_malformed)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f);
  struct request q = request_of(w, first, 'a', 1);
  q.former = 5;
  for (q.cut = 1; q.cut <= 6; q.cut++)
    refused_as(&f, &q, RPC_INVALID_ARGUMENT, q.cut == 6 ? "former" : "16 bytes");
  static const char *const bad[] = {"\xff\xff\xff", "\x0a\x7f", "\x07"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct stream *s = stream_open(&f, CONTROL "Join");
    stream_send(s, rpc_message_copy(bad[i], strlen(bad[i])));
    stream_closes(s, RPC_INVALID_ARGUMENT);
  }
  struct stream *s = stream_open(&f, CONTROL "Join");
  stream_end(s);
  stream_closes(s, RPC_INVALID_ARGUMENT);
  s = stream_open(&f, CONTROL "Join");
  stream_send(s, rpc_message_copy("", 0)); /* an empty request says nobody */
  stream_closes(s, RPC_INVALID_ARGUMENT);
  q.cut = 0;
  joins_as(&f, &q);
  watch_drop(w);
  fixture_close(&f);
}
END_TEST

/* ---- Two processes of one identity ---- */

START_TEST(test_older_or_equal_instance)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *owner = watch(&f);
  joins(&f, owner, first, 'a', 5);
  static const uint64_t instances[] = {0, 4, 5};
  for (size_t i = 0; i < sizeof instances / sizeof *instances; i++) {
    struct watch *w = watch(&f);
    refused(&f, w, second, 'a', instances[i], RPC_FAILED_PRECONDITION, "newer process");
    ck_assert(!may_park(&f, second));
    watch_drop(w);
  }
  ck_assert_uint_eq(owner->supersessions, 0);
  ck_assert(may_park(&f, first));
  /* A member is of one identity. */
  struct watch *w = watch(&f);
  refused(&f, w, first, 'b', 1, RPC_INVALID_ARGUMENT, "one identity");
  watch_drop(w);
  watch_drop(owner);
  fixture_close(&f);
}
END_TEST

START_TEST(test_same_member_again)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *older = watch(&f);
  joins(&f, older, first, 'a', 5);
  struct stream *web = created(&f, "web", first), *parked = park(&f, first);
  struct watch *newer = watch(&f);
  joins(&f, newer, first, 'a', 5);
  /* What was parked may be dead without our knowing it. */
  stream_closes_saying(parked, RPC_ABORTED, "joined anew");
  stream_drop(web);
  watch_drop(older);
  for (int i = 0; i < 10; i++)
    ck_assert(may_park(&f, first));
  ck_assert_uint_eq(newer->supersessions, 0);
  ck_assert_uint_eq(newer->lost_count, 0);
  watch_drop(newer);
  FIXTURE_UNTIL(&f, !may_park(&f, first));
  fixture_close(&f);
}
END_TEST

START_TEST(test_take_over)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *older = watch(&f), *other = watch(&f);
  joins(&f, older, first, 'a', 5);
  struct stream *services[3], *parked[3];
  for (int i = 0; i < 3; i++) {
    char name[8];
    snprintf(name, sizeof name, "n%d", i);
    services[i] = created(&f, name, first);
    parked[i] = park(&f, first);
  }
  struct stream *others = created(&f, "other", member_s);
  struct watch *newer = watch(&f);
  joins(&f, newer, second, 'a', 6);
  for (int i = 0; i < 3; i++) {
    stream_closes_saying(services[i], RPC_ABORTED, "newer process");
    stream_closes_saying(parked[i], RPC_ABORTED, "newer process");
  }
  FIXTURE_UNTIL(&f, older->supersessions == 1 && heard_lost(other, first) && heard_lost(newer, first));
  ck_assert(!older->stream->closed && !others->closed);
  /* Its names are free for the newer. */
  struct stream *again = created(&f, "n0", second);
  ck_assert(may_park(&f, second));
  /* The older one is over for good, even when the newer goes. */
  ck_assert(!may_park(&f, first));
  stream_closes_saying(create(&f, "n1", first), RPC_FAILED_PRECONDITION, "newer process");
  stream_drop(again);
  watch_drop(newer);
  FIXTURE_UNTIL(&f, !may_park(&f, second));
  struct watch *back = watch(&f);
  refused(&f, back, first, 'a', 7, RPC_FAILED_PRECONDITION, "newer process");
  ck_assert(heard_lost(back, first));
  ck_assert_uint_eq(older->supersessions, 1);
  ck_assert_uint_eq(other->lost_count, 1);
  watch_drop(back);
  watch_drop(older);
  watch_drop(other);
  stream_drop(others);
  fixture_close(&f);
}
END_TEST

/* Each newer process supersedes the one before. */
START_TEST(test_many_take_over)
{
  struct fixture f;
  enum { MANY = 20 };
  struct watch *watches[MANY];
  fixture_open(&f);
  for (unsigned i = 0; i < MANY; i++) {
    struct who who = {(uint8_t)(100 + i), (uint8_t)(100 + i)};
    watches[i] = watch(&f);
    joins(&f, watches[i], who, 'a', i);
  }
  struct watch *late = watch(&f);
  for (unsigned i = 0; i + 1 < MANY; i++) {
    struct who who = {(uint8_t)(100 + i), (uint8_t)(100 + i)};
    FIXTURE_UNTIL(&f, watches[i]->supersessions == 1 && heard_lost(watches[0], who));
    ck_assert(heard_lost(late, who));
  }
  ck_assert_uint_eq(late->lost_count, MANY - 1);
  ck_assert_uint_eq(watches[MANY - 1]->supersessions, 0);
  for (int i = 0; i < MANY; i++)
    watch_drop(watches[i]);
  watch_drop(late);
  fixture_close(&f);
}
END_TEST

START_TEST(test_former)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *other = watch(&f), *w = watch(&f);
  /* A ghost: its streams are still there, its watch is not. */
  struct stream *ghost = created(&f, "web", first), *parked = park(&f, first);
  struct request q = request_of(w, second, 'a', 6);
  q.former = first.key;
  joins_as(&f, &q);
  stream_closes_saying(ghost, RPC_ABORTED, "newer process");
  stream_closes(parked, RPC_FAILED_PRECONDITION);
  FIXTURE_UNTIL(&f, heard_lost(other, first) && heard_lost(w, first));
  /* Told again, it is no news; and a process is not its own predecessor. */
  struct watch *newer = watch(&f);
  q.challenge = newer->challenge;
  joins_as(&f, &q);
  struct watch *third_watch = watch(&f);
  q = request_of(third_watch, second, 'a', 6);
  q.former = second.key;
  joins_as(&f, &q);
  ck_assert(may_park(&f, second));
  struct watch *late = watch(&f);
  ck_assert(heard_lost(late, first));
  ck_assert_uint_eq(late->lost_count, 1);
  ck_assert_uint_eq(other->lost_count, 1);
  watch_drop(w);
  watch_drop(newer);
  watch_drop(third_watch);
  watch_drop(late);
  watch_drop(other);
  fixture_close(&f);
}
END_TEST

/* More than a message holds, and more than is kept. */
START_TEST(test_many_lost)
{
  struct fixture f;
  enum { MANY = 1300, KEPT = 1200 };
  struct router_limits limits = router_limits_default();
  limits.lost = KEPT;
  fixture_open_with(&f, &limits, NULL);
  struct watch *early = watch(&f);
  uint8_t seed[IDENTITY_SEED_SIZE], key[HEADER_MEMBER_KEY_SIZE];
  memset(seed, 's', sizeof seed);
  struct who_bytes b = who_bytes(first);
  for (unsigned i = 0; i < MANY; i++) {
    struct watch *w = watch(&f);
    struct identity_claim claim = {.instance = 1};
    uint8_t signature[IDENTITY_SIGNATURE_SIZE];
    identity_of_seed(seed, claim.identity);
    memcpy(claim.challenge, w->challenge, sizeof claim.challenge);
    memcpy(claim.member, b.id, sizeof claim.member);
    identity_sign(&claim, seed, signature);
    memset(key, 0xee, sizeof key);
    memcpy(key, &i, sizeof i);
    Mindmeld__JoinRequest request = MINDMELD__JOIN_REQUEST__INIT;
    request.member = binary(b.id, sizeof b.id);
    request.member_key = binary(b.key, sizeof b.key);
    request.identity = binary(claim.identity, sizeof claim.identity);
    request.instance = 1;
    request.challenge = binary(claim.challenge, sizeof claim.challenge);
    request.signature = binary(signature, sizeof signature);
    request.former_key = binary(key, sizeof key);
    struct asked asked = ask_on(&f, f.channel, CONTROL "Join", &request.base, &mindmeld__join_response__descriptor);
    ck_assert_msg(asked.status == RPC_OK, "%s", asked.text);
    watch_drop(w);
  }
  FIXTURE_UNTIL(&f, early->lost_count == MANY);
  struct watch *late = watch(&f);
  FIXTURE_UNTIL(&f, late->lost_count == KEPT);
  ck_assert_uint_le(late->largest, 1000);
  watch_drop(late);
  watch_drop(early);
  fixture_close(&f);
}
END_TEST

/* ---- Names ---- */

START_TEST(test_name_of_same_member)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f);
  struct stream *older = created(&f, "web", member_s), *parked = park(&f, member_s);
  int64_t since = list(&f).created;
  FIXTURE_UNTIL(&f, w->messages >= 2);
  struct stream *told = NULL, *waits = NULL;
  char token[TOKEN_MAX + 1], again[TOKEN_MAX + 1], last[TOKEN_MAX + 1];
  stream_drop(parked);
  told = dial(&f, "web", member_f);
  pushed(older, 1, token);
  struct stream *newer = created(&f, "web", member_s);
  stream_closes_saying(older, RPC_ABORTED, "newer registration");
  pushed(newer, 1, again);
  waits = dial(&f, "web", member_f);
  pushed(newer, 2, last);
  ck_assert_str_eq(list(&f).names, "web");
  ck_assert_int_eq(list(&f).created, since);
  /* Both are connected, and who watches saw nothing of it. */
  struct stream *a = show(&f, false, again, member_s), *b = show(&f, false, last, member_s);
  stream_say(told, "one");
  stream_hears(a, "one");
  stream_say(waits, "two");
  stream_hears(b, "two");
  ck_assert_uint_eq(w->went, 0);
  stream_drop(told);
  stream_drop(waits);
  stream_drop(a);
  stream_drop(b);
  stream_drop(newer);
  FIXTURE_UNTIL(&f, w->went == 1);
  watch_drop(w);
  fixture_close(&f);
}
END_TEST

START_TEST(test_name_of_same_identity)
{
  struct fixture f;
  fixture_open(&f);
  /* The former process' watch is gone, its service's stream not yet. */
  struct watch *former = watch(&f);
  joins(&f, former, first, 'a', 1);
  struct stream *ghost = created(&f, "web", first);
  watch_drop(former);
  struct watch *w = watch(&f), *stranger = watch(&f);
  joins(&f, stranger, third, 'b', 1);
  stream_closes_saying(create(&f, "web", third), RPC_ALREADY_EXISTS, "exists");
  stream_closes_saying(create(&f, "web", second), RPC_ALREADY_EXISTS, "exists");
  joins(&f, w, second, 'a', 2);
  struct stream *waits = dial(&f, "web", member_f);
  char token[TOKEN_MAX + 1];
  pushed(ghost, 1, token);
  struct stream *newer = created(&f, "web", second);
  stream_closes_saying(ghost, RPC_ABORTED, "newer registration");
  stream_closes(show(&f, false, token, first), RPC_PERMISSION_DENIED);
  pushed(newer, 1, token);
  struct stream *answer = show(&f, false, token, second);
  stream_say(waits, "hello");
  stream_hears(answer, "hello");
  ck_assert_uint_eq(w->went, 0);
  stream_drop(waits);
  stream_drop(answer);
  stream_drop(newer);
  watch_drop(w);
  watch_drop(stranger);
  fixture_close(&f);
}
END_TEST

/* An original's name is its stream's: a second one does not get it. */
START_TEST(test_name_of_an_original)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *older = created(&f, "web", nobody);
  stream_closes(create(&f, "web", nobody), RPC_ALREADY_EXISTS);
  stream_closes(create(&f, "web", member_s), RPC_ALREADY_EXISTS);
  stream_drop(older);
  fixture_close(&f);
}
END_TEST

/* A member may register again what it has, however much it has. */
START_TEST(test_name_at_the_limit)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.services_per_caller = limits.services = 1;
  fixture_open_with(&f, &limits, NULL);
  struct stream *older = created(&f, "web", member_s), *parked = park(&f, member_s);
  for (int i = 0; i < 5; i++) {
    struct stream *newer = created(&f, "web", member_s);
    stream_closes(older, RPC_ABORTED);
    older = newer;
  }
  stream_closes(create(&f, "other", member_s), RPC_RESOURCE_EXHAUSTED);
  ck_assert(!parked->closed);
  stream_drop(older);
  stream_closes(parked, RPC_FAILED_PRECONDITION);
  fixture_close(&f);
}
END_TEST

/* ---- Rights ---- */

START_TEST(test_parked_lasts)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f);
  joins(&f, w, first, 'a', 1);
  struct stream *web = created(&f, "web", first), *parked = park(&f, first);
  ck_assert(may_park(&f, first));
  /* Without a service; */
  stream_drop(web);
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  ck_assert(may_park(&f, first) && !parked->closed);
  /* with a service, without its watch; */
  web = created(&f, "web", first);
  watch_drop(w);
  w = watch(&f);
  ck_assert(may_park(&f, first) && !parked->closed);
  /* with neither. */
  stream_drop(web);
  stream_closes(parked, RPC_FAILED_PRECONDITION);
  watch_drop(w);
  fixture_close(&f);
}
END_TEST

START_TEST(test_drain_refuses)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.drain_ms = 3600000;
  limits.stream_age_ms = 1234567;
  fixture_open_with(&f, &limits, NULL);
  struct watch *w = watch(&f);
  ck_assert_uint_eq(w->stream_age_ms, 1234567);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  fixture_drain(&f);
  FIXTURE_UNTIL(&f, w->draining);
  refused(&f, w, first, 'a', 1, RPC_UNAVAILABLE, "draining");
  stream_end(j.f);
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_closes(web, RPC_UNAVAILABLE);
  FIXTURE_UNTIL(&f, w->stream->closed);
  watch_drop(w);
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  fixture_close(&f);
}
END_TEST

/* ---- Age ---- */

START_TEST(test_stream_age)
{
  struct fixture f;
  struct router_limits limits = router_limits_default();
  limits.stream_age_ms = 500;
  fixture_open_with(&f, &limits, NULL);
  for (int round = 0; round < 2; round++) {
    struct watch *w = watch(&f);
    ck_assert_uint_eq(w->stream_age_ms, 500);
    struct stream *web = created(&f, "web", member_s);
    struct joined j = join(&f, web, "web", false, false);
    struct stream *parked = park(&f, member_s);
    stream_closes_saying(web, RPC_UNAVAILABLE, "as old as it may become");
    stream_drop(parked);
    /* Of a pair the older one is cut, and takes the other with it. */
    FIXTURE_UNTIL(&f, j.f->closed && j.s->closed && w->stream->closed);
    ck_assert_int_eq(j.f->status, RPC_UNAVAILABLE);
    ck_assert(j.s->status == RPC_UNAVAILABLE || j.s->status == RPC_ABORTED);
    ck_assert_int_eq(w->stream->status, RPC_UNAVAILABLE);
    free(j.f);
    free(j.s);
    watch_drop(w);
    /* Newer ones are as good as ever. */
    ck_assert_int_eq(list(&f).status, RPC_OK);
  }
  fixture_close(&f);
}
END_TEST

/* ---- Everything at once ---- */

enum { CROWD = 6, IDENTITIES = 3, NAMES = 4, STREAMS = 60, WATCHES = 8, STEPS = 400 };

struct churn {
  struct fixture *f;
  uint64_t random;
  unsigned step;
  struct watch *watches[WATCHES];
  struct stream *streams[STREAMS];
};

static unsigned draw(struct churn *c, unsigned below)
{
  c->random = c->random * 6364136223846793005u + 1442695040888963407u;
  return (unsigned)(c->random >> 33) % below;
}

/* Who is lost never comes again, so that there are always new ones. */
static struct who draw_member(struct churn *c)
{
  uint8_t key = (uint8_t)(101 + c->step / 20 + draw(c, CROWD));
  return (struct who){key, key};
}

static void churn_join(struct churn *c, size_t at)
{
  if (c->watches[at])
    watch_drop(c->watches[at]);
  c->watches[at] = watch(c->f);
  struct who who = draw_member(c);
  struct request q = request_of(c->watches[at], who, (uint8_t)('a' + who.key % IDENTITIES), c->step / 40 + draw(c, 6));
  q.former = draw(c, 8) == 0 ? draw_member(c).key : 0;
  struct asked asked = ask_claim(c->f, &q);
  ck_assert_msg(asked.status == RPC_OK || asked.status == RPC_FAILED_PRECONDITION, "%s: %s",
                rpc_status_name(asked.status), asked.text);
}

static struct stream *churn_open(struct churn *c)
{
  char name[8];
  struct who who = draw_member(c);
  snprintf(name, sizeof name, "n%u", draw(c, NAMES));
  switch (draw(c, 4)) {
  case 0:
    return create(c->f, name, who);
  case 1:
    return park(c->f, who);
  case 2:
    return dial(c->f, name, who);
  default: {
    struct header h = header_of_dial("", who, 'c');
    struct who_bytes b = who_bytes(draw_member(c));
    h.has_attach = h.established = true;
    memcpy(h.attach, b.id, sizeof h.attach);
    return connect_with(c->f, &h);
  }
  }
}

/* Members join, take over and are lost while their services, parked streams and dials come and go. */
START_TEST(test_churn)
{
  struct fixture f;
  struct churn c = {.f = &f, .random = (uint64_t)_i};
  const struct router_limits limits = _i % 2 ? router_limits_default() : fixture_limits();
  fixture_open_with(&f, &limits, NULL);
  for (; c.step < STEPS; c.step++) {
    size_t at = draw(&c, STREAMS);
    if (draw(&c, 8) == 0)
      churn_join(&c, draw(&c, WATCHES));
    if (c.streams[at])
      stream_drop(c.streams[at]);
    c.streams[at] = draw(&c, 4) ? churn_open(&c) : NULL;
  }
  for (size_t i = 0; i < STREAMS; i++) {
    if (c.streams[i])
      stream_drop(c.streams[i]);
  }
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  for (size_t i = 0; i < WATCHES; i++) {
    if (c.watches[i])
      watch_drop(c.watches[i]);
  }
  fixture_close(&f);
}
END_TEST

int main(void)
{
  const struct fixture_test tests[] = {
      {test_join, 0},
      {test_challenge_is_used_up, 0},
      {test_forged, 0},
      {test_malformed, 0},
      {test_older_or_equal_instance, 0},
      {test_same_member_again, 0},
      {test_take_over, 0},
      {test_many_take_over, 0},
      {test_former, 0},
      {test_many_lost, 0},
      {test_name_of_same_member, 0},
      {test_name_of_same_identity, 0},
      {test_name_of_an_original, 0},
      {test_name_at_the_limit, 0},
      {test_parked_lasts, 0},
      {test_drain_refuses, 0},
      {test_stream_age, 0},
      {test_churn, 10},
  };
  return fixture_main("join", tests, sizeof tests / sizeof *tests);
}
