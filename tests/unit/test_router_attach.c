/* A real router: connections that go on with one process, and dials of what is not here yet. */
#include "fixture_router_clients.h"
#include "router/door/door.h"
#include "runner.h"

enum { BULK = 256 * 1024, FOREVER = 3600000, ALL_IN_TURN = 8, ATTACKS = 600 };

/* ---- What clients say ---- */

/* A forward of `who` goes on with a connection to the process of a key. */
static struct header header_of_attach(uint8_t key, struct who who, uint8_t connection)
{
  struct header h = header_of_dial("", who, connection);
  const struct who_bytes to = who_bytes((struct who){key, key});
  h.has_attach = h.established = true;
  memcpy(h.attach, to.id, sizeof h.attach);
  h.epoch = 7;
  h.received = 1ull << 40;
  return h;
}

static struct stream *attach(struct fixture *f, uint8_t key, struct who who, uint8_t connection)
{
  const struct header h = header_of_attach(key, who, connection);
  return connect_with(f, &h);
}

/* It has come to the router, and waits there. */
static struct stream *waits(struct stream *s)
{
  FIXTURE_UNTIL(s->f, s->sent > 0 || s->closed);
  list(s->f);
  ck_assert_msg(!s->headers && !s->closed, "%s", s->text);
  return s;
}

/* Whether the forward's header came first, without what is only for the router. */
static void told_of(struct stream *s, const struct header *sent)
{
  FIXTURE_UNTIL(s->f, s->told > 0 || s->closed);
  ck_assert_msg(s->told == 1, "%s", s->text);
  ck_assert_uint_eq(s->told_at, 0);
  struct header shown = *sent;
  shown.has_member_key = shown.has_attach = false;
  memset(shown.member_key, 0, sizeof shown.member_key);
  memset(shown.attach, 0, sizeof shown.attach);
  ck_assert_mem_eq(&s->header, &shown, sizeof shown);
}

/* Answers the nth token that a service was told. */
static struct stream *answer(struct stream *service, unsigned nth, struct who who)
{
  char token[TOKEN_MAX + 1];
  pushed(service, nth, token);
  return show(service->f, false, token, who);
}

/* ---- To a process that is here ---- */

START_TEST(test_to_parked)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s), *other = created(&f, "other", member_f);
  struct stream *p = parked(&f, member_s), *theirs = parked(&f, member_f);
  const struct header h = header_of_attach(member_s.key, member_f, 'c');
  struct stream *a = connect_with(&f, &h);
  stream_say(a, "early");
  told_of(p, &h);
  stream_hears(p, "early");
  ck_assert_str_eq(p->peer, "2");
  talk(a, p);
  part(a, p);
  ck_assert(!theirs->headers && !theirs->closed);
  ck_assert_uint_eq(web->received, 0);
  stream_drop(theirs);
  stream_drop(web);
  stream_drop(other);
  fixture_close(&f);
}
END_TEST

START_TEST(test_to_service)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *other = created(&f, "other", member_f), *web = created(&f, "web", member_s);
  struct stream *ssh = created(&f, "ssh", member_s);
  const struct header h = header_of_attach(member_s.key, member_f, 'c');
  struct stream *a = connect_with(&f, &h);
  struct stream *s = answer(ssh, 1, member_s); /* whichever: the latest */
  told_of(s, &h);
  talk(a, s);
  part(a, s);
  ck_assert_uint_eq(web->received + other->received, 0);
  stream_drop(ssh);
  stream_drop(web);
  stream_drop(other);
  fixture_close(&f);
}
END_TEST

/* Its names are withdrawn, but it is still there, and so are its connections. */
START_TEST(test_to_joined)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *watch = member_joins(&f, member_s, 's', 1);
  struct stream *web = created(&f, "web", member_s);
  struct stream *p = parked(&f, member_s);
  stream_drop(web);
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  ck_assert(!p->closed);
  const struct header h = header_of_attach(member_s.key, member_f, 'c');
  struct stream *a = connect_with(&f, &h);
  told_of(p, &h);
  talk(a, p);
  part(a, p);
  p = parked(&f, member_s);
  stream_drop(watch);
  stream_closes_saying(p, RPC_FAILED_PRECONDITION, "its member");
  fixture_close(&f);
}
END_TEST

/* ---- To a process that comes ---- */

START_TEST(test_waits_for_service)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *a[ALL_IN_TURN], *s[ALL_IN_TURN];
  for (unsigned i = 0; i < ALL_IN_TURN; i++)
    a[i] = waits(attach(&f, member_s.key, member_f, (uint8_t)i));
  struct stream *other = created(&f, "other", member_f);
  struct stream *web = create(&f, "web", member_s);
  web->reading = false; /* but for the message that it has asked for: each token is seen */
  for (unsigned i = 0; i < ALL_IN_TURN; i++) {
    s[i] = answer(web, i + 1, member_s);
    FIXTURE_UNTIL(&f, s[i]->told == 1);
    ck_assert_uint_eq(s[i]->header.connection[0], i);
    web->receiving = rpc_call_receive(web->call) == 0;
  }
  for (unsigned i = 0; i < ALL_IN_TURN; i++) {
    talk(a[i], s[i]);
    part(a[i], s[i]);
  }
  ck_assert_uint_eq(other->received, 0);
  stream_drop(other);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_waits_for_parked)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *a[ALL_IN_TURN], *s[ALL_IN_TURN];
  for (unsigned i = 0; i < ALL_IN_TURN; i++)
    a[i] = waits(attach(&f, member_s.key, member_f, (uint8_t)i));
  struct stream *watch = member_joins(&f, member_s, 's', 1);
  for (unsigned i = 0; i < ALL_IN_TURN; i++) {
    s[i] = park(&f, member_s);
    FIXTURE_UNTIL(&f, s[i]->told == 1 || s[i]->closed);
    ck_assert_msg(!s[i]->closed, "%s", s[i]->text);
    ck_assert_uint_eq(s[i]->header.connection[0], i);
  }
  for (unsigned i = 0; i < ALL_IN_TURN; i++) {
    talk(a[i], s[i]);
    part(a[i], s[i]);
  }
  struct stream *p = parked(&f, member_s);
  ck_assert(!p->headers);
  stream_drop(p);
  stream_drop(watch);
  fixture_close(&f);
}
END_TEST

/* What is sent while it waits does not gather in the router. */
START_TEST(test_early_data_is_bounded)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *a = waits(attach(&f, member_s.key, member_f, 'c'));
  uint8_t *bulk = calloc(1, BULK);
  enum { MESSAGES = 512 };
  unsigned count = 0;
  for (bool stuck = false; count < MESSAGES && !stuck; count++) {
    stream_send_data(a, bulk, BULK);
    uint64_t end = uv_hrtime() + 300 * 1000000ull;
    FIXTURE_UNTIL(&f, !a->sending || uv_hrtime() >= end);
    stuck = a->sending;
  }
  ck_assert_uint_lt(count, MESSAGES);
  struct stream *web = created(&f, "web", member_s);
  struct stream *s = answer(web, 1, member_s);
  FIXTURE_UNTIL(&f, s->size == (size_t)count * BULK);
  free(bulk);
  s->size = 0;
  talk(a, s);
  part(a, s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- To a process that does not come ---- */

START_TEST(test_expires)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.dial_ms = 50;
  limits.waiting = 1;
  fixture_open_with(&f, &limits, NULL);
  for (int i = 0; i < 3; i++)
    stream_closes_saying(attach(&f, member_s.key, member_f, 'c'), RPC_NOT_FOUND, "the member is not here");
  fixture_close(&f);
}
END_TEST

START_TEST(test_does_not_answer)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.dial_ms = 50;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  stream_closes_saying(attach(&f, member_s.key, member_f, 'c'), RPC_DEADLINE_EXCEEDED, "did not answer");
  stream_closes(answer(web, 1, member_s), RPC_NOT_FOUND);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_goes_while_it_waits)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.waiting = 1;
  fixture_open_with(&f, &limits, NULL);
  struct stream *a = waits(attach(&f, member_s.key, member_f, 1));
  stream_drop(a);
  /* Of which the router may hear later. */
  for (;;) {
    a = attach(&f, member_s.key, member_f, 2);
    FIXTURE_UNTIL(&f, a->sent > 0 || a->closed);
    list(&f);
    if (!a->closed)
      break;
    stream_closes(a, RPC_RESOURCE_EXHAUSTED);
  }
  struct stream *web = created(&f, "web", member_s);
  struct stream *s = answer(web, 1, member_s);
  FIXTURE_UNTIL(&f, s->told == 1);
  ck_assert_uint_eq(s->header.connection[0], 2);
  part(a, s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_limits)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.waiting_per_caller = 2;
  limits.waiting = 3;
  fixture_open_with(&f, &limits, NULL);
  static const struct who third = {33, 33};
  struct stream *a = waits(attach(&f, 77, member_f, 1)), *b = waits(attach(&f, 78, member_f, 2));
  stream_closes_saying(attach(&f, 79, member_f, 3), RPC_RESOURCE_EXHAUSTED, "wait for others with 2 streams");
  struct stream *c = waits(attach(&f, 77, third, 4));
  stream_closes_saying(attach(&f, 77, third, 5), RPC_RESOURCE_EXHAUSTED, "too many streams wait");
  /* Who is here is dialled all the same. */
  struct stream *web = created(&f, "web", member_s);
  struct stream *d = attach(&f, member_s.key, member_f, 6);
  struct stream *s = answer(web, 1, member_s);
  talk(d, s);
  part(d, s);
  /* What was waited for makes room. */
  static const struct who comes = {77, 77};
  struct stream *came = created(&f, "came", comes);
  struct stream *s1 = answer(came, 2, comes);
  talk(c, s1);
  part(c, s1);
  struct stream *e = waits(attach(&f, 79, member_f, 7)), *g = waits(attach(&f, 79, third, 8));
  stream_closes(attach(&f, 79, member_f, 9), RPC_RESOURCE_EXHAUSTED);
  stream_drop(e);
  stream_drop(g);
  stream_drop(a);
  stream_drop(b);
  stream_drop(came);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_drain)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.drain_ms = limits.young_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  struct stream *watch = member_joins(&f, member_f, 'f', 1);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  talk(j.f, j.s);
  struct stream *p = parked(&f, member_f);
  struct stream *a = waits(attach(&f, 77, member_f, 1)), *b = waits(attach(&f, 78, member_f, 2));
  struct stream *c = waits(dial(&f, "soon", member_f));
  fixture_drain(&f);
  stream_closes_saying(a, RPC_UNAVAILABLE, "draining");
  stream_closes_saying(b, RPC_UNAVAILABLE, "draining");
  stream_closes_saying(c, RPC_UNAVAILABLE, "draining");
  stream_closes_saying(p, RPC_UNAVAILABLE, "draining");
  talk(j.f, j.s);
  part(j.f, j.s);
  stream_closes(web, RPC_UNAVAILABLE);
  stream_closes(watch, RPC_UNAVAILABLE);
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  fixture_close(&f);
}
END_TEST

/* ---- A process that is over for good ---- */

START_TEST(test_lost)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *older = member_joins(&f, member_s, 's', 1);
  struct stream *a = waits(attach(&f, member_s.key, member_f, 1));
  static const struct who next = {12, 12};
  struct stream *newer = member_joins(&f, next, 's', 2);
  stream_closes_saying(a, RPC_FAILED_PRECONDITION, "over for good");
  stream_closes_saying(attach(&f, member_s.key, member_f, 2), RPC_FAILED_PRECONDITION, "over for good");
  stream_closes(park(&f, member_s), RPC_FAILED_PRECONDITION);
  a = waits(attach(&f, next.key, member_f, 3));
  struct stream *p = park(&f, next);
  talk(a, p);
  part(a, p);
  stream_drop(newer);
  stream_drop(older);
  fixture_close(&f);
}
END_TEST

START_TEST(test_lost_when_told)
{
  struct fixture f;
  fixture_open(&f);
  static const struct who next = {12, 12};
  struct stream *older = member_joins(&f, member_s, 's', 1);
  struct stream *web = created(&f, "web", member_s);
  struct stream *a = attach(&f, member_s.key, member_f, 1);
  char token[TOKEN_MAX + 1];
  pushed(web, 1, token); /* and is not answered */
  struct stream *newer = member_joins(&f, next, 's', 2);
  stream_closes(web, RPC_ABORTED);
  stream_closes_saying(a, RPC_FAILED_PRECONDITION, "over for good");
  stream_closes(show(&f, false, token, member_s), RPC_NOT_FOUND);
  stream_drop(newer);
  stream_drop(older);
  fixture_close(&f);
}
END_TEST

/* ---- Names ---- */

START_TEST(test_young)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.young_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  struct stream *a[ALL_IN_TURN], *s[ALL_IN_TURN];
  for (unsigned i = 0; i < ALL_IN_TURN; i++) {
    const struct header h = header_of_dial("web", member_f, (uint8_t)i);
    a[i] = waits(connect_with(&f, &h));
  }
  /* What no service can be called is not waited for, nor can an original wait. */
  stream_closes_saying(dial(&f, "../web", member_f), RPC_NOT_FOUND, "service \"?\" does not exist");
  ck_assert_int_eq(forward(&f, "web").status, RPC_NOT_FOUND);
  struct stream *other = created(&f, "other", member_s), *watch = member_joins(&f, member_s, 's', 1);
  struct stream *p = parked(&f, member_s);
  for (unsigned i = 0; i < ALL_IN_TURN; i++)
    ck_assert(!a[i]->headers && !a[i]->closed);
  struct stream *web = create(&f, "web", member_s);
  web->reading = false;
  s[0] = p;
  for (unsigned i = 0; i < ALL_IN_TURN; i++) {
    if (i > 0) {
      s[i] = answer(web, i, member_s);
      web->receiving = rpc_call_receive(web->call) == 0;
    }
    FIXTURE_UNTIL(&f, s[i]->told == 1);
    ck_assert_uint_eq(s[i]->header.connection[0], i);
    ck_assert_str_eq(s[i]->header.service, "web");
    talk(a[i], s[i]);
  }
  for (unsigned i = 0; i < ALL_IN_TURN; i++)
    part(a[i], s[i]);
  ck_assert_uint_eq(other->received, 0);
  stream_drop(web);
  stream_drop(other);
  stream_drop(watch);
  fixture_close(&f);
}
END_TEST

START_TEST(test_young_and_nobody_comes)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.young_ms = FOREVER;
  limits.dial_ms = 50;
  fixture_open_with(&f, &limits, NULL);
  stream_closes_saying(dial(&f, "web", member_f), RPC_NOT_FOUND, "service \"web\" does not exist");
  fixture_close(&f);
}
END_TEST

START_TEST(test_gone_lately)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.gone_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct asked asked = forward(&f, "web");
  stream_drop(web);
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  stream_closes_saying(show(&f, true, asked.token, nobody), RPC_NOT_FOUND, "service \"web\" is gone");
  stream_closes_saying(dial(&f, "never", member_f), RPC_NOT_FOUND, "service \"never\" does not exist");
  struct stream *a = waits(dial(&f, "web", member_f));
  /* Whose it is has no meaning. */
  static const struct who third = {33, 33};
  web = created(&f, "web", third);
  struct stream *s = answer(web, 1, third);
  talk(a, s);
  part(a, s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* Its member has been there ever since, so that it will not come by itself. */
START_TEST(test_withdrawn)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.gone_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  struct stream *watch = member_joins(&f, member_s, 1, 1);
  stream_drop(created(&f, "web", member_s));
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  stream_closes_saying(dial(&f, "web", member_f), RPC_NOT_FOUND, "service \"web\" is gone");
  stream_drop(watch);
  fixture_close(&f);
}
END_TEST

/* It has lost its router, and is back, but has not registered yet. */
START_TEST(test_gone_and_joined_since)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.gone_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  stream_drop(created(&f, "web", member_s));
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  uint64_t then = door_now();
  FIXTURE_UNTIL(&f, door_now() > then);
  struct stream *watch = member_joins(&f, member_s, 1, 1);
  struct stream *a = waits(dial(&f, "web", member_f));
  struct stream *web = created(&f, "web", member_s);
  struct stream *s = answer(web, 1, member_s);
  talk(a, s);
  part(a, s);
  stream_drop(web);
  stream_drop(watch);
  fixture_close(&f);
}
END_TEST

START_TEST(test_gone_and_nobody_comes)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.gone_ms = FOREVER;
  limits.dial_ms = 50;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  stream_drop(web);
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  stream_closes_saying(dial(&f, "web", member_f), RPC_NOT_FOUND, "service \"web\" is gone");
  fixture_close(&f);
}
END_TEST

/* The service goes after it was told: whoever has the name next is told instead. */
START_TEST(test_goes_when_told)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.gone_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  const struct header h = header_of_dial("web", member_f, 1), h2 = header_of_attach(member_s.key, member_f, 2);
  struct stream *a = connect_with(&f, &h);
  char token[TOKEN_MAX + 1];
  pushed(web, 1, token);
  struct stream *b = connect_with(&f, &h2);
  pushed(web, 2, token);
  stream_drop(web);
  FIXTURE_UNTIL(&f, list(&f).services == 0);
  /* Nobody can answer by what the service was told. */
  stream_closes(show(&f, false, token, member_s), RPC_NOT_FOUND);
  ck_assert(!a->closed && !b->closed);
  static const struct who third = {33, 33};
  web = created(&f, "web", third);
  struct stream *s = answer(web, 1, third);
  told_of(s, &h);
  talk(a, s);
  ck_assert(!b->closed);
  struct stream *ssh = created(&f, "ssh", member_s);
  struct stream *s2 = answer(ssh, 1, member_s);
  told_of(s2, &h2);
  talk(b, s2);
  part(a, s);
  part(b, s2);
  ck_assert_uint_eq(web->received, 1);
  stream_drop(ssh);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* A process that is back registers what it had, before the router knows that the older stream is dead: as the same
 * member, as the next of its identity, or as that while the older watch is gone and its services are not. */
START_TEST(test_replaced)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.gone_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  static const struct who next = {12, 12};
  const struct who newer = _i == 0 ? member_s : next;
  struct stream *watch = member_joins(&f, member_s, 's', 1);
  struct stream *web = created(&f, "web", member_s);
  const struct header h = header_of_dial("web", member_f, 1), h2 = header_of_attach(member_s.key, member_f, 2);
  struct stream *a = connect_with(&f, &h);
  char token[TOKEN_MAX + 1];
  pushed(web, 1, token);
  struct stream *b = connect_with(&f, &h2);
  pushed(web, 2, token);
  if (_i == 2)
    stream_drop(watch);
  struct stream *watch2 = member_joins(&f, newer, 's', 2);
  struct stream *web2 = create(&f, "web", newer);
  web2->reading = false;
  stream_closes(web, RPC_ABORTED);
  struct stream *s = answer(web2, 1, newer);
  told_of(s, &h);
  talk(a, s);
  part(a, s);
  if (_i == 0) {
    web2->receiving = rpc_call_receive(web2->call) == 0;
    s = answer(web2, 2, newer);
    told_of(s, &h2);
    talk(b, s);
    part(b, s);
  } else {
    /* A connection goes on with its own process, or not at all. */
    if (_i == 2)
      stream_drop(b);
    else
      stream_closes_saying(b, RPC_FAILED_PRECONDITION, "over for good");
    list(&f);
    ck_assert_uint_eq(web2->received, 1);
  }
  stream_drop(web2);
  if (_i != 2)
    stream_drop(watch);
  stream_drop(watch2);
  fixture_close(&f);
}
END_TEST

/* While it is being told of many: the newer stream is told of all of them, in their order. */
START_TEST(test_replaced_while_told)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  enum { MANY = 100 };
  limits.unsent = MANY;
  fixture_open_with(&f, &limits, NULL);
  struct stream **a = calloc(MANY, sizeof(struct stream *));
  for (unsigned i = 0; i < MANY; i++) {
    struct header h = header_of_attach(member_s.key, member_f, 0);
    memcpy(h.connection, &i, sizeof i);
    a[i] = waits(connect_with(&f, &h));
  }
  struct stream *web = create(&f, "web", member_s), *web2 = create(&f, "web", member_s);
  web2->reading = false; /* but for the message that it has asked for */
  stream_closes(web, RPC_ABORTED);
  for (unsigned i = 0; i < MANY; i++) {
    struct stream *s = answer(web2, i + 1, member_s);
    FIXTURE_UNTIL(&f, s->told == 1 || s->closed);
    ck_assert_msg(!s->closed, "%s", s->text);
    ck_assert_mem_eq(s->header.connection, &i, sizeof i);
    web2->receiving = rpc_call_receive(web2->call) == 0;
    stream_drop(a[i]);
    stream_closes(s, RPC_ABORTED);
  }
  free(a);
  stream_drop(web2);
  fixture_close(&f);
}
END_TEST

/* ---- Attacks ---- */

START_TEST(test_stolen)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *p = parked(&f, member_s);
  struct stream *a = attach(&f, member_s.key, member_f, 'c');
  FIXTURE_UNTIL(&f, p->told == 1);
  struct stream *spare = parked(&f, member_s), *waiting = waits(attach(&f, 77, member_f, 'd'));
  unsigned seed = 4711;
  for (int i = 0; i < ATTACKS; i++) {
    /* As whoever dialled, with any key but its own. */
    struct header h = header_of_attach(i % 2 ? member_s.key : 77, member_f, 'c');
    h.epoch = (uint64_t)rand_r(&seed);
    h.received = (uint64_t)rand_r(&seed);
    h.member_key[rand_r(&seed) % 32] ^= (uint8_t)(1 + rand_r(&seed) % 255);
    if (i % 3 == 0) {
      /* As the process it is with. */
      h = header_of(member_s);
      h.park = true;
      h.member[rand_r(&seed) % 16] ^= (uint8_t)(1 + rand_r(&seed) % 255);
    }
    stream_closes_saying(connect_with(&f, &h), RPC_PERMISSION_DENIED, "not the member's key");
    if (i % 100 == 0)
      talk(a, p);
  }
  ck_assert(!spare->headers && !spare->closed && !waiting->headers && !waiting->closed);
  ck_assert_uint_eq(p->told, 1);
  talk(a, p);
  part(a, p);
  stream_drop(spare);
  stream_drop(waiting);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* Many who wait for nobody, and go without a word. */
START_TEST(test_flood)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.waiting_per_caller = 8;
  limits.young_ms = FOREVER;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  enum { FLOOD = 64 };
  static const struct who flooder = {66, 66};
  struct stream *flood[FLOOD];
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < FLOOD; i++)
      flood[i] = i % 2 ? attach(&f, (uint8_t)(100 + i), flooder, (uint8_t)i) : dial(&f, "none", flooder);
    struct stream *a = attach(&f, member_s.key, member_f, 'c');
    struct stream *s = answer(web, (unsigned)round + 1, member_s);
    talk(a, s);
    part(a, s);
    for (int i = 0; i < FLOOD; i++)
      stream_drop(flood[i]);
  }
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{test_to_parked, 0},
                                       {test_to_service, 0},
                                       {test_to_joined, 0},
                                       {test_waits_for_service, 0},
                                       {test_waits_for_parked, 0},
                                       {test_early_data_is_bounded, 0},
                                       {test_expires, 0},
                                       {test_does_not_answer, 0},
                                       {test_goes_while_it_waits, 0},
                                       {test_limits, 0},
                                       {test_drain, 0},
                                       {test_lost, 0},
                                       {test_lost_when_told, 0},
                                       {test_young, 0},
                                       {test_young_and_nobody_comes, 0},
                                       {test_gone_lately, 0},
                                       {test_withdrawn, 0},
                                       {test_gone_and_joined_since, 0},
                                       {test_gone_and_nobody_comes, 0},
                                       {test_goes_when_told, 0},
                                       {test_replaced, 3},
                                       {test_replaced_while_told, 0},
                                       {test_stolen, 0},
                                       {test_flood, 0}};
  return fixture_suite("attach", tests, sizeof tests / sizeof *tests);
}
