/* A real router: who has a name or a parked stream, by what it has joined as, and for how long. */
#include "fixture_router_joining.h"
#include "runner.h"

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

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {
      {test_name_of_same_member, 0}, {test_name_of_same_identity, 0},
      {test_name_of_an_original, 0}, {test_name_at_the_limit, 0},
      {test_parked_lasts, 0},        {test_drain_refuses, 0},
      {test_stream_age, 0},          {test_churn, 4},
  };
  return fixture_suite("names", tests, sizeof tests / sizeof *tests);
}
