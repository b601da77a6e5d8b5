/* A real router: services that are dialled by their name, and streams that are parked for them. */
#include "fixture_router_clients.h"
#include "runner.h"

enum { BULK = 256 * 1024 };

/* Whether the forward's header came first, and as it should. */
static void told(struct stream *s, const char *name, struct who who)
{
  const struct header sent = header_of_dial(name, who, 'c');
  FIXTURE_UNTIL(s->f, s->told > 0 || s->closed);
  ck_assert_msg(s->told == 1, "%s", s->text);
  ck_assert_uint_eq(s->told_at, 0);
  ck_assert_str_eq(s->header.service, name);
  ck_assert_str_eq(s->header.token, "");
  ck_assert(!s->header.park && !s->header.has_member_key);
  ck_assert(s->header.has_member && s->header.has_connection);
  ck_assert_mem_eq(s->header.member, sent.member, sizeof sent.member);
  ck_assert_mem_eq(s->header.connection, sent.connection, sizeof sent.connection);
  ck_assert_uint_eq(s->header.limit, sent.limit);
}

/* With a parked stream, or by a token. */
static struct joined joined(struct fixture *f, struct stream *service, const char *name, bool by_parked)
{
  if (!by_parked)
    return join(f, service, name, false, false);
  struct joined j;
  j.s = parked(f, member_s);
  j.f = dial(f, name, member_f);
  return j;
}

START_TEST(test_newest_parked_first)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s), *ssh = created(&f, "ssh", member_s);
  struct stream *older = parked(&f, member_s), *newer = parked(&f, member_s);
  struct stream *a = dial(&f, "web", member_f);
  told(newer, "web", member_f);
  ck_assert_str_eq(newer->peer, "2");
  FIXTURE_UNTIL(&f, a->headers);
  ck_assert_str_eq(a->peer, "2");
  ck_assert(!older->headers);
  talk(a, newer);
  /* For any of its services. */
  struct stream *b = dial(&f, "ssh", member_f);
  told(older, "ssh", member_f);
  talk(b, older);
  talk(a, newer);
  ck_assert_uint_eq(web->received + ssh->received, 0);
  part(a, newer);
  part(b, older);
  stream_drop(web);
  stream_drop(ssh);
  fixture_close(&f);
}
END_TEST

START_TEST(test_parked_exhausted)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *p = parked(&f, member_s);
  struct stream *a = dial(&f, "web", member_f);
  told(p, "web", member_f);
  struct joined j = join(&f, web, "web", false, false);
  told(j.s, "web", member_f);
  talk(a, p);
  talk(j.f, j.s);
  ck_assert_uint_eq(web->received, 1);
  part(j.f, j.s);
  part(a, p);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_parked_of_another)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s), *other = created(&f, "other", member_f);
  struct stream *p = parked(&f, member_f);
  struct joined j = join(&f, web, "web", false, false);
  talk(j.f, j.s);
  ck_assert(!p->headers && !p->closed);
  /* But its own may: who dials is of no matter. */
  struct stream *a = dial(&f, "other", member_f);
  told(p, "other", member_f);
  talk(a, p);
  part(a, p);
  part(j.f, j.s);
  stream_drop(web);
  stream_drop(other);
  fixture_close(&f);
}
END_TEST

/* The service's side answers with a header of its own. */
START_TEST(test_answer_passes)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = joined(&f, web, "web", _i == 0);
  told(j.s, "web", member_f);
  struct header h = {.has_connection = true, .limit = 4711};
  uint8_t bytes[HEADER_SIZE_MAX];
  memset(h.connection, 'c', sizeof h.connection);
  stream_send(j.s, rpc_message_copy(bytes, header_pack(&h, bytes)));
  FIXTURE_UNTIL(&f, j.f->told == 1);
  ck_assert_uint_eq(j.f->header.limit, 4711);
  talk(j.f, j.s);
  part(j.f, j.s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- Early data ---- */

START_TEST(test_early_data)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *p = _i == 0 ? parked(&f, member_s) : NULL;
  struct stream *a = dial(&f, "web", member_f);
  stream_say(a, "one ");
  stream_say(a, "two ");
  stream_send(a, payload_message("three", 5, true));
  if (!p) {
    char token[TOKEN_MAX + 1];
    pushed(web, 1, token);
    fixture_linger(&f, 20);
    p = show(&f, false, token, member_s);
  }
  told(p, "web", member_f);
  stream_hears(p, "one two three");
  FIXTURE_UNTIL(&f, p->eof);
  stream_say(p, "answer");
  stream_hears(a, "answer");
  part(a, p);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* A dial that waits is not read: what it sends does not gather in the router. */
START_TEST(test_early_data_is_bounded)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *a = dial(&f, "web", member_f);
  char token[TOKEN_MAX + 1];
  pushed(web, 1, token);
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
  struct stream *p = show(&f, false, token, member_s);
  told(p, "web", member_f);
  FIXTURE_UNTIL(&f, p->size == (size_t)count * BULK);
  free(bulk);
  p->size = 0;
  talk(a, p);
  part(a, p);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- Secrets ---- */

static bool message_holds(const struct rpc_message *m, const void *bytes, size_t size)
{
  struct iovec parts[8];
  uint8_t all[1024];
  size_t count = rpc_message_parts(m, parts, 8), total = rpc_message_size(m);
  ck_assert(count <= 8 && total <= sizeof all);
  payload_copy(parts, count, 0, total, all);
  return memmem(all, total, bytes, size) != NULL;
}

START_TEST(test_key_is_kept)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = joined(&f, web, "web", _i == 0);
  told(j.s, "web", member_f);
  ck_assert_uint_eq(j.s->received, 1);
  struct who_bytes b = who_bytes(member_f);
  ck_assert(message_holds(j.s->last, b.id, sizeof b.id));
  ck_assert(!message_holds(j.s->last, b.key, 4));
  stream_drop(j.f);
  stream_drop(j.s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_wrong_key)
{
  struct fixture f;
  fixture_open(&f);
  static const struct who other_thief = {22, 99};
  struct stream *web = created(&f, "web", member_s), *own = created(&f, "own", member_f);
  struct stream *p = parked(&f, member_s);
  stream_closes_saying(dial(&f, "web", other_thief), RPC_PERMISSION_DENIED, "not the member's key");
  stream_closes_saying(park(&f, thief), RPC_PERMISSION_DENIED, "not the member's key");
  ck_assert(!p->headers);
  struct stream *a = dial(&f, "web", member_f);
  told(p, "web", member_f);
  stream_drop(a);
  stream_closes_saying(p, RPC_ABORTED, "the other side is gone");
  stream_drop(own);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- What is refused ---- */

START_TEST(test_unknown_service)
{
  struct fixture f;
  fixture_open(&f);
  stream_closes_saying(dial(&f, "web", member_f), RPC_NOT_FOUND, "service \"web\" does not exist");
  stream_closes_saying(dial(&f, "\xc3\xa9\"", member_f), RPC_NOT_FOUND, "service \"?\" does not exist");
  fixture_close(&f);
}
END_TEST

START_TEST(test_refused_headers)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  enum { DIAL = 1, PARK = 2, TOKEN = 4, MEMBER = 8, KEY = 16, CONNECTION = 32, ATTACH = 64, ESTABLISHED = 128 };
  static const struct {
    int fields;
    const char *why;
  } rows[] = {
      {0, "one of service, attach, park, and token"},
      {MEMBER | KEY, "one of service, attach, park, and token"},
      {DIAL | PARK | MEMBER | KEY | CONNECTION, "one of service, attach, park, and token"},
      {DIAL | TOKEN | MEMBER | KEY | CONNECTION, "one of service, attach, park, and token"},
      {PARK | TOKEN | MEMBER | KEY, "one of service, attach, park, and token"},
      {DIAL | CONNECTION, "its member"},
      {PARK, "its member"},
      {DIAL | MEMBER | CONNECTION, "its key 32"},
      {PARK | KEY, "its key 32"},
      {TOKEN | MEMBER, "its key 32"},
      {DIAL | MEMBER | KEY, "a connection of 16 bytes"},
      {DIAL | ATTACH | MEMBER | KEY | CONNECTION | ESTABLISHED, "one of service, attach, park, and token"},
      {ATTACH | PARK | MEMBER | KEY | CONNECTION | ESTABLISHED, "one of service, attach, park, and token"},
      {ATTACH | TOKEN | MEMBER | KEY | CONNECTION | ESTABLISHED, "one of service, attach, park, and token"},
      {ATTACH | CONNECTION | ESTABLISHED, "its member"},
      {ATTACH | MEMBER | CONNECTION | ESTABLISHED, "its key 32"},
      {ATTACH | MEMBER | KEY | ESTABLISHED, "a connection of 16 bytes"},
      {ATTACH | MEMBER | KEY | CONNECTION, "only an established connection"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct header h = header_of(member_f);
    h.park = (rows[i].fields & PARK) != 0;
    h.has_attach = (rows[i].fields & ATTACH) != 0;
    h.established = (rows[i].fields & ESTABLISHED) != 0;
    h.has_member = (rows[i].fields & MEMBER) != 0;
    h.has_member_key = (rows[i].fields & KEY) != 0;
    h.has_connection = (rows[i].fields & CONNECTION) != 0;
    snprintf(h.service, sizeof h.service, "%s", rows[i].fields & DIAL ? "web" : "");
    snprintf(h.token, sizeof h.token, "%s", rows[i].fields & TOKEN ? "abc" : "");
    stream_closes_saying(connect_with(&f, &h), RPC_INVALID_ARGUMENT, rows[i].why);
  }
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_limit_of_parked)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.parked_per_caller = 2;
  limits.parked = 3;
  fixture_open_with(&f, &limits, NULL);
  stream_closes_saying(park(&f, member_s), RPC_FAILED_PRECONDITION, "has a service");
  struct stream *web = created(&f, "web", member_s), *ssh = created(&f, "ssh", member_f);
  struct stream *a = parked(&f, member_s), *b = parked(&f, member_s);
  stream_closes_saying(park(&f, member_s), RPC_RESOURCE_EXHAUSTED, "park 2 streams");
  struct stream *c = parked(&f, member_f);
  stream_closes_saying(park(&f, member_f), RPC_RESOURCE_EXHAUSTED, "keeps 3 parked streams");
  /* One that is taken makes room, and so does one that goes. */
  struct stream *d = dial(&f, "web", member_f);
  told(b, "web", member_f);
  struct stream *e = parked(&f, member_f);
  stream_closes_saying(park(&f, member_s), RPC_RESOURCE_EXHAUSTED, "keeps 3 parked streams");
  stream_drop(e);
  struct stream *g = NULL;
  do {
    if (g)
      stream_drop(g);
    g = park(&f, member_s);
    FIXTURE_UNTIL(&f, g->closed || g->sent == 1);
    list(&f);
  } while (g->closed);
  part(d, b);
  stream_drop(a);
  stream_drop(c);
  stream_drop(g);
  stream_drop(web);
  stream_drop(ssh);
  fixture_close(&f);
}
END_TEST

/* They are streams of their caller, too. */
START_TEST(test_parked_are_streams)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.streams_per_caller = 2;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct stream *a = parked(&f, member_s), *b = parked(&f, member_s);
  stream_closes_saying(park(&f, member_s), RPC_RESOURCE_EXHAUSTED, "2 streams at once");
  struct stream *c = dial(&f, "web", member_f);
  told(b, "web", member_f);
  stream_closes_saying(park(&f, member_s), RPC_RESOURCE_EXHAUSTED, "2 streams at once");
  part(c, b);
  struct stream *d = NULL;
  do {
    if (d)
      stream_drop(d);
    d = park(&f, member_s);
    FIXTURE_UNTIL(&f, d->closed || d->sent == 1);
    list(&f);
  } while (d->closed);
  stream_drop(a);
  stream_drop(d);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- Ends before there is a partner ---- */

START_TEST(test_parked_goes)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *older = parked(&f, member_s), *newer = parked(&f, member_s);
  stream_end(newer);
  stream_closes(newer, RPC_OK);
  newer = parked(&f, member_s);
  stream_say(newer, "too early");
  stream_closes_saying(newer, RPC_INVALID_ARGUMENT, "before it has a partner");
  struct stream *a = dial(&f, "web", member_f);
  told(older, "web", member_f);
  part(a, older);
  /* By cancellation, of which the router may hear too late: then its forward is told that it went. */
  newer = parked(&f, member_s);
  stream_drop(newer);
  for (;;) {
    a = dial(&f, "web", member_f);
    FIXTURE_UNTIL(&f, a->closed || web->received == 1);
    if (!a->closed)
      break;
    stream_closes(a, RPC_ABORTED);
  }
  stream_drop(a);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_services_go)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s), *ssh = created(&f, "ssh", member_s);
  struct stream *a = parked(&f, member_s), *b = parked(&f, member_s);
  struct stream *c = dial(&f, "web", member_f);
  told(b, "web", member_f);
  stream_drop(web);
  FIXTURE_UNTIL(&f, list(&f).services == 1);
  ck_assert(!a->closed);
  struct stream *d = parked(&f, member_s);
  stream_drop(ssh);
  stream_closes_saying(a, RPC_FAILED_PRECONDITION, "no service any more");
  stream_closes_saying(d, RPC_FAILED_PRECONDITION, "no service any more");
  /* What is connected stays. */
  talk(c, b);
  part(c, b);
  fixture_close(&f);
}
END_TEST

START_TEST(test_drain)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.drain_ms = 3600000;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct stream *a = parked(&f, member_s), *b = parked(&f, member_s);
  struct stream *c = dial(&f, "web", member_f);
  told(b, "web", member_f);
  fixture_drain(&f);
  stream_closes_saying(a, RPC_UNAVAILABLE, "draining");
  stream_closes_saying(dial(&f, "web", member_f), RPC_UNAVAILABLE, "draining");
  stream_closes_saying(park(&f, member_s), RPC_UNAVAILABLE, "draining");
  talk(c, b);
  ck_assert(!web->closed);
  part(c, b);
  stream_closes_saying(web, RPC_UNAVAILABLE, "draining");
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  fixture_close(&f);
}
END_TEST

/* ---- With originals ---- */

START_TEST(test_original_forward)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *p = parked(&f, member_s);
  struct joined j = join(&f, web, "web", true, false);
  stream_say(j.f, "hello");
  stream_hears(j.s, "hello");
  ck_assert_str_eq(j.s->peer, "original");
  ck_assert_uint_eq(j.s->told, 0);
  ck_assert(!p->headers && !p->closed);
  stream_say(j.s, "answer");
  stream_hears(j.f, "answer");
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_drop(p);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_original_service)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", nobody);
  struct stream *a = dial(&f, "web", member_f);
  char token[TOKEN_MAX + 1];
  stream_say(a, "early");
  pushed(web, 1, token);
  struct stream *s = show(&f, true, token, nobody);
  FIXTURE_UNTIL(&f, a->headers);
  ck_assert_str_eq(a->peer, "original");
  stream_hears(s, "early");
  ck_assert_uint_eq(s->received, 1);
  ck_assert_uint_eq(s->told, 0);
  talk(a, s);
  ck_assert_uint_eq(a->told, 0);
  stream_end(a);
  stream_closes(s, RPC_OK);
  stream_closes(a, RPC_OK);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_many_at_once)
{
  struct fixture f;
  fixture_open(&f);
  enum { MANY = 60, PARKED = 16 };
  struct stream *web = created(&f, "web", member_s);
  struct stream *f_side[MANY], *s_side[MANY];
  web->reading = false; /* but for the message that it has asked for: each token is seen */
  for (int i = 0; i < PARKED; i++)
    s_side[i] = parked(&f, member_s);
  for (int i = 0; i < MANY; i++) {
    const struct header h = header_of_dial("web", member_f, (uint8_t)i);
    f_side[i] = connect_with(&f, &h);
    char text[16];
    snprintf(text, sizeof text, "number %d", i);
    stream_say(f_side[i], text);
  }
  for (int i = PARKED; i < MANY; i++) {
    char token[TOKEN_MAX + 1];
    pushed(web, (unsigned)(i - PARKED + 1), token);
    s_side[i] = show(&f, false, token, member_s);
    web->receiving = rpc_call_receive(web->call) == 0;
  }
  for (int i = 0; i < MANY; i++) {
    FIXTURE_UNTIL(&f, s_side[i]->told == 1);
    char text[16];
    snprintf(text, sizeof text, "number %d", s_side[i]->header.connection[0]);
    stream_hears(s_side[i], text);
    stream_say(s_side[i], text);
  }
  for (int i = 0; i < MANY; i++) {
    char text[16];
    snprintf(text, sizeof text, "number %d", i);
    stream_hears(f_side[i], text);
    stream_end(f_side[i]);
    stream_end(s_side[i]);
  }
  for (int i = 0; i < MANY; i++) {
    stream_closes(f_side[i], RPC_OK);
    stream_closes(s_side[i], RPC_OK);
  }
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {
      {test_newest_parked_first, 0}, {test_parked_exhausted, 0}, {test_parked_of_another, 0},
      {test_answer_passes, 2},       {test_early_data, 2},       {test_early_data_is_bounded, 0},
      {test_key_is_kept, 2},         {test_wrong_key, 0},        {test_unknown_service, 0},
      {test_refused_headers, 0},     {test_limit_of_parked, 0},  {test_parked_are_streams, 0},
      {test_parked_goes, 0},         {test_services_go, 0},      {test_drain, 0},
      {test_original_forward, 0},    {test_original_service, 0}, {test_many_at_once, 0}};
  return fixture_suite("dial", tests, sizeof tests / sizeof *tests);
}
