/* Health checks by those who have no key: what they are told, and how little they can take. */
#include <health.pb-c.h>

#include "fixture_router_clients.h"
#include "runner.h"

#define HEALTH "/grpc.health.v1.Health/"

enum {
  SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING,
  NOT_SERVING = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING,
  SERVICE_UNKNOWN = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN,
};

static const char *const served[] = {"", "mindmeld", "mindmeld.ControlService", "mindmeld.ProxyService"};

/* A router with a key, and somebody who has none. */
struct stranger {
  struct fixture f;
  struct rpc_channel *channel;
};

static void stranger_open(struct stranger *st, const struct router_limits *limits)
{
  fixture_open_with(&st->f, limits, "key");
  st->channel = fixture_channel(&st->f, NULL);
}

static void stranger_close(struct stranger *st)
{
  rpc_channel_close(st->channel);
  fixture_close(&st->f);
}

static struct stream *silent(struct stranger *st, const char *method)
{
  return stream_open_on(&st->f, st->channel, method);
}

static struct stream *ask(struct stranger *st, const char *method, const char *service)
{
  struct stream *s = silent(st, method);
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  request.service = (char *)(uintptr_t)service;
  stream_send_pack(s, &request.base);
  stream_end(s);
  return s;
}

/* The message, which is a varint in field 1: what gRPC's own clients read. */
static int state_in(const struct rpc_message *m)
{
  struct iovec part;
  ck_assert_uint_eq(rpc_message_size(m), 2);
  ck_assert_uint_eq(rpc_message_parts(m, &part, 1), 1);
  ck_assert_uint_eq(((const uint8_t *)part.iov_base)[0], 0x08);
  return ((const uint8_t *)part.iov_base)[1];
}

static void hears(struct stream *s, unsigned nth, int state)
{
  FIXTURE_UNTIL(s->f, s->received >= nth || s->closed);
  ck_assert_msg(!s->closed, "%s", s->text);
  ck_assert_uint_eq(s->received, nth);
  ck_assert_int_eq(state_in(s->last), state);
}

/* A Check's answer, with its status behind it. */
struct answer {
  bool done;
  enum rpc_status status;
  int state;
};

static void on_answer(enum rpc_status status, const char *text, struct rpc_message *m, void *arg)
{
  struct answer *a = arg;
  (void)text;
  *a = (struct answer){.done = true, .status = status, .state = m ? state_in(m) : 0};
  rpc_message_free(m);
}

static struct answer check(struct stranger *st, const char *service)
{
  const struct rpc_call_options options = {.method = HEALTH "Check"};
  Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
  struct answer answer = {0};
  struct rpc_call *call;
  request.service = (char *)(uintptr_t)service;
  ck_assert_int_eq(rpc_unary(&call, st->channel, &options, rpc_message_pack(&request.base), on_answer, &answer), 0);
  FIXTURE_UNTIL(&st->f, answer.done);
  return answer;
}

START_TEST(test_without_a_key)
{
  struct stranger st;
  stranger_open(&st, NULL);
  for (size_t i = 0; i < sizeof served / sizeof *served; i++) {
    struct answer answer = check(&st, served[i]);
    ck_assert_int_eq(answer.status, RPC_OK);
    ck_assert_int_eq(answer.state, SERVING);
    struct stream *w = ask(&st, HEALTH "Watch", served[i]);
    hears(w, 1, SERVING);
    stream_drop(w);
  }
  ck_assert_int_eq(check(&st, "web").status, RPC_NOT_FOUND);
  struct stream *w = ask(&st, HEALTH "Watch", "web");
  hears(w, 1, SERVICE_UNKNOWN);
  stream_drop(w);
  struct stream *bad = silent(&st, HEALTH "Check");
  stream_send(bad, rpc_message_copy("\x0a\x05x", 3));
  stream_closes_saying(bad, RPC_INVALID_ARGUMENT, "HealthCheckRequest");
  bad = silent(&st, HEALTH "Watch");
  stream_end(bad);
  stream_closes_saying(bad, RPC_INVALID_ARGUMENT, "HealthCheckRequest");
  /* Nothing else is open to them. */
  stream_closes(silent(&st, HEALTH "List"), RPC_UNAUTHENTICATED);
  ck_assert_int_eq(list_on(&st.f, st.channel).status, RPC_UNAUTHENTICATED);
  stranger_close(&st);
}
END_TEST

/* As long as it drains, who may watch hears so; a Check on a connection that is there, too. */
START_TEST(test_drain)
{
  struct stranger st;
  struct router_limits limits = router_limits_default();
  limits.drain_ms = 3600000;
  stranger_open(&st, &limits);
  struct stream *w = ask(&st, HEALTH "Watch", ""), *none = ask(&st, HEALTH "Watch", "none");
  struct stream *late = silent(&st, HEALTH "Check");
  hears(w, 1, SERVING);
  hears(none, 1, SERVICE_UNKNOWN);
  struct stream *web = created(&st.f, "web", member_s);
  struct joined j = join(&st.f, web, "web", false, false);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  fixture_drain(&st.f);
  hears(w, 2, NOT_SERVING);
  ck_assert_int_eq(check(&st, "").state, NOT_SERVING);
  ck_assert_uint_eq(none->received, 1);
  stream_end(j.f);
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_closes(web, RPC_UNAVAILABLE);
  stream_closes(w, RPC_UNAVAILABLE);
  stream_closes(none, RPC_UNAVAILABLE);
  stream_closes(late, RPC_UNAVAILABLE);
  FIXTURE_UNTIL(&st.f, atomic_load(&st.f.router_over));
  stranger_close(&st);
}
END_TEST

/* Who says nothing makes room, who watches does not; who has the key does not notice. */
START_TEST(test_limits)
{
  struct stranger st;
  struct router_limits limits = router_limits_default();
  limits.health_checks = 2;
  limits.health_watches_per_host = 2;
  limits.openings = 1;
  stranger_open(&st, &limits);
  struct stream *opening = stream_open(&st.f, PROXY "Connect");
  struct stream *checks[3];
  for (size_t i = 0; i < 3; i++)
    checks[i] = silent(&st, i == 1 ? HEALTH "Watch" : HEALTH "Check");
  FIXTURE_UNTIL(&st.f, checks[0]->closed || checks[1]->closed || checks[2]->closed);
  struct stream *w[2] = {ask(&st, HEALTH "Watch", ""), ask(&st, HEALTH "Watch", "none")};
  hears(w[0], 1, SERVING);
  hears(w[1], 1, SERVICE_UNKNOWN);
  stream_closes_saying(ask(&st, HEALTH "Watch", ""), RPC_RESOURCE_EXHAUSTED, "too many health checks");
  ck_assert_int_eq(check(&st, "").state, SERVING);
  stream_drop(w[0]);
  /* The router may hear of that a moment later. */
  for (bool took = false; !took;) {
    w[0] = ask(&st, HEALTH "Watch", "");
    FIXTURE_UNTIL(&st.f, w[0]->received > 0 || w[0]->closed);
    took = !w[0]->closed;
    if (!took)
      free(w[0]);
  }
  ck_assert(!opening->closed);
  for (size_t i = 0; i < 3; i++)
    stream_drop(checks[i]);
  stream_drop(w[0]);
  stream_drop(w[1]);
  stream_drop(opening);
  stranger_close(&st);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{test_without_a_key, 0}, {test_drain, 0}, {test_limits, 0}};
  return fixture_suite("health", tests, sizeof tests / sizeof *tests);
}
