/* A real router: two streams find each other, whoever they are, and what passes between them. */
#include "fixture_router_clients.h"
#include "runner.h"

enum { SMALL = 100, BULK_MESSAGE = 256 * 1024, BULK_MESSAGES = 512 };

/* Loop tests run through the four pairings. */
#define ORIGINAL_F ((_i & 1) != 0)
#define ORIGINAL_S ((_i & 2) != 0)

START_TEST(test_pairings)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", ORIGINAL_S ? nobody : member_s);
  struct joined j = join(&f, web, "web", ORIGINAL_F, ORIGINAL_S);
  /* A target that speaks first. */
  stream_say(j.s, "welcome");
  stream_hears(j.f, "welcome");
  stream_say(j.f, "request");
  stream_hears(j.s, "request");
  if (!ORIGINAL_F)
    ck_assert_str_eq(j.f->peer, ORIGINAL_S ? "original" : "2");
  if (!ORIGINAL_S)
    ck_assert_str_eq(j.s->peer, ORIGINAL_F ? "original" : "2");
  ck_assert_str_eq(j.f->version, "2");
  for (int i = 0; i < SMALL; i++) {
    char text[32];
    snprintf(text, sizeof text, "message %d", i);
    stream_say(j.f, text);
    stream_hears(j.s, text);
    stream_say(j.s, text);
    stream_hears(j.f, text);
  }
  stream_end(j.f);
  stream_end(j.s);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  ck_assert(!web->closed);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_greeted_before_traffic)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  FIXTURE_UNTIL(&f, j.f->headers && j.s->headers);
  ck_assert_str_eq(j.f->peer, "2");
  ck_assert_str_eq(j.s->version, "2");
  stream_drop(j.f);
  stream_drop(j.s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- The token in the data ---- */

/* Sends bytes in pieces that are cut at `first` and `second`. */
static void send_cut(struct stream *s, const uint8_t *bytes, size_t size, size_t first, size_t second)
{
  stream_send_data(s, bytes, first);
  stream_send_data(s, bytes + first, second - first);
  stream_send_data(s, bytes + second, size - second);
}

START_TEST(test_token_cut)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", nobody);
  static const char traffic[] = "glued", answer[] = "first";
  uint8_t bytes[TOKEN_STREAM_HEADER_MAX];
  /* One test covers a fourth of the cuts, up to and past the end of the token. */
  size_t total = 4 + 2 + 64;
  for (size_t cut = (size_t)_i; cut <= total + 2; cut += 4) {
    struct asked asked = forward(&f, "web");
    unsigned nth = web->received + 1;
    int size = token_stream_write(bytes, sizeof bytes, asked.token);
    ck_assert_uint_eq((size_t)size, total);
    memcpy(bytes + size, traffic, sizeof traffic - 1);
    size_t all = total + sizeof traffic - 1;
    struct joined j;
    j.f = stream_open(&f, PROXY "ProxyConnection");
    send_cut(j.f, bytes, all, cut, cut + 1);
    char token[TOKEN_MAX + 1];
    pushed(web, nth, token);
    j.s = stream_open(&f, PROXY "ProxyConnection");
    token_stream_write(bytes, sizeof bytes, token);
    memcpy(bytes + total, answer, sizeof answer - 1);
    send_cut(j.s, bytes, total + sizeof answer - 1, cut / 2, cut);
    stream_hears(j.s, "glued");
    stream_hears(j.f, "first");
    stream_end(j.s);
    stream_closes(j.f, RPC_OK);
    stream_closes(j.s, RPC_OK);
  }
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_wrong_beginnings)
{
  struct fixture f;
  fixture_open(&f);
  static const char zeroes[] = "\0\0\0\0", endless[] = "\xff\xff\xff\x7f", nonsense[] = "\x03\0\0\0\xff\xff\xff";
  const struct {
    const char *bytes;
    size_t size;
  } rows[] = {{zeroes, 4}, {endless, 4}, {nonsense, 7}, {"GET / HTTP/1.1\r\n", 16}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    struct stream *s = stream_open(&f, PROXY "ProxyConnection");
    stream_send_data(s, rows[i].bytes, rows[i].size);
    stream_closes(s, RPC_INVALID_ARGUMENT);
  }
  /* Each method has its own header. */
  struct stream *s = stream_open(&f, PROXY "Connect");
  stream_say(s, "data");
  stream_closes_saying(s, RPC_INVALID_ARGUMENT, "header");
  s = stream_open(&f, PROXY "Connect");
  stream_send(s, rpc_message_copy("", 0));
  stream_closes(s, RPC_INVALID_ARGUMENT);
  /* A header stands alone. */
  const struct header dials = header_of_dial("web", member_f, 'c');
  uint8_t bytes[HEADER_SIZE_MAX + 8];
  static const char *const beside[] = {"\x12\x01x", "\x18\x01", "\x22\x00", "\x2a\x02\x08\x01",
                                       "\x30\x09",  "\x3a\x00", "\x40\x09"};
  static const size_t beside_size[] = {3, 2, 2, 4, 2, 2, 2};
  for (size_t i = 0; i < sizeof beside / sizeof *beside; i++) {
    size_t size = header_pack(&dials, bytes);
    memcpy(bytes + size, beside[i], beside_size[i]);
    s = stream_open(&f, PROXY "Connect");
    stream_send(s, rpc_message_copy(bytes, size + beside_size[i]));
    stream_closes_saying(s, RPC_INVALID_ARGUMENT, "alone in its message");
  }
  s = stream_open(&f, PROXY "ProxyConnection");
  Mindmeld__Payload payload = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Header header = MINDMELD__HEADER__INIT;
  payload.payload_case = MINDMELD__PAYLOAD__PAYLOAD_HEADER;
  payload.header = &header;
  stream_send_pack(s, &payload.base);
  stream_closes_saying(s, RPC_INVALID_ARGUMENT, "not in a header");
  fixture_close(&f);
}
END_TEST

/* ---- Tokens ---- */

START_TEST(test_tokens)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  char token[TOKEN_MAX + 1];
  memset(token, 'a', 64);
  token[64] = '\0';
  stream_closes_saying(show(&f, true, token, nobody), RPC_NOT_FOUND, "unknown or expired token");
  stream_closes(show(&f, false, token, member_f), RPC_NOT_FOUND);

  struct asked asked = forward(&f, "web");
  /* It cannot be used otherwise, and is not used up. */
  stream_closes_saying(show(&f, false, asked.token, member_f), RPC_INVALID_ARGUMENT, "ProxyConnection");
  struct joined j;
  j.f = show(&f, true, asked.token, nobody);
  pushed(web, 1, token);
  stream_closes(show(&f, true, asked.token, nobody), RPC_NOT_FOUND);
  /* Others cannot use it, and do not use it up. */
  stream_closes(show(&f, false, token, thief), RPC_PERMISSION_DENIED);
  stream_closes(show(&f, false, token, member_f), RPC_PERMISSION_DENIED);
  stream_closes(show(&f, true, token, nobody), RPC_PERMISSION_DENIED);
  j.s = show(&f, false, token, member_s);
  stream_say(j.f, "hello");
  stream_hears(j.s, "hello");
  stream_closes(show(&f, false, token, member_s), RPC_NOT_FOUND);
  stream_drop(j.f);
  stream_drop(j.s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_token_expires)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.token_ms = 1;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct asked asked = forward(&f, "web");
  fixture_linger(&f, 10);
  stream_closes_saying(show(&f, true, asked.token, nobody), RPC_NOT_FOUND, "expired");
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- Waiting ---- */

START_TEST(test_service_does_not_answer)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.dial_ms = 50;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct asked asked = forward(&f, "web");
  stream_closes_saying(_i ? show(&f, true, asked.token, nobody) : dial(&f, "web", member_f), RPC_DEADLINE_EXCEEDED,
                       "service \"web\" did not answer");
  char token[TOKEN_MAX + 1];
  pushed(web, 1, token);
  stream_closes(show(&f, false, token, member_s), RPC_NOT_FOUND);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_service_goes)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct asked late = forward(&f, "web");
  struct stream *s = dial(&f, "web", member_f);
  char token[TOKEN_MAX + 1];
  pushed(web, 1, token);
  stream_drop(web);
  stream_closes_saying(s, RPC_NOT_FOUND, "service \"web\" is gone");
  stream_closes_saying(show(&f, true, late.token, nobody), RPC_NOT_FOUND, "service \"web\" is gone");
  stream_closes(show(&f, false, token, member_s), RPC_NOT_FOUND);
  fixture_close(&f);
}
END_TEST

START_TEST(test_forward_goes)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct stream *s = dial(&f, "web", member_f);
  char token[TOKEN_MAX + 1];
  pushed(web, 1, token);
  stream_drop(s);
  /* The router may hear of the one after the other. */
  struct stream *answer = show(&f, false, token, member_s);
  FIXTURE_UNTIL(&f, answer->closed);
  ck_assert(answer->status == RPC_NOT_FOUND || answer->status == RPC_ABORTED);
  free(answer);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* How much a service that reads nothing lets pass before it is told no more is gRPC's matter. */
START_TEST(test_limit_of_untold)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.unsent = 0;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  stream_closes_saying(dial(&f, "web", member_f), RPC_RESOURCE_EXHAUSTED, "wait for the service");
  struct asked asked = forward(&f, "web");
  stream_closes_saying(show(&f, true, asked.token, nobody), RPC_RESOURCE_EXHAUSTED, "wait for the service");
  ck_assert_uint_eq(web->received, 0);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_limit_of_streams)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  if (_i == 0)
    limits.streams_per_caller = 1;
  else
    limits.streams = 2;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  stream_closes_saying(dial(&f, "web", member_f), RPC_RESOURCE_EXHAUSTED,
                       _i == 0 ? "a caller may have 1 streams" : "carries 2 streams");
  stream_drop(j.f);
  stream_drop(j.s);
  /* They are given back. */
  struct stream *s = NULL;
  do {
    if (s)
      stream_drop(s);
    s = dial(&f, "web", member_f);
    FIXTURE_UNTIL(&f, s->closed || web->received == 2);
  } while (s->closed);
  stream_drop(s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

/* ---- Ends ---- */

START_TEST(test_half_close)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  stream_send(j.f, payload_message("request", 7, true));
  stream_end(j.f);
  stream_hears(j.s, "request");
  FIXTURE_UNTIL(&f, j.s->eof);
  ck_assert(!j.s->ended);
  for (int i = 0; i < SMALL; i++) {
    stream_say(j.s, "answer");
    stream_hears(j.f, "answer");
  }
  ck_assert(!j.f->closed && !j.s->closed);
  stream_send(j.s, payload_message("end", 3, true));
  stream_end(j.s);
  stream_hears(j.f, "end");
  ck_assert(j.f->eof);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_reset_is_passed_on)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", member_s);
  struct joined j = join(&f, web, "web", false, false);
  Mindmeld__Payload payload = MINDMELD__PAYLOAD__INIT;
  Mindmeld__Reset reset = MINDMELD__RESET__INIT;
  reset.code = (char *)(uintptr_t) "ECONNREFUSED";
  payload.reset = &reset;
  stream_send_pack(j.s, &payload.base);
  stream_end(j.s);
  FIXTURE_UNTIL(&f, j.f->reset);
  stream_end(j.f);
  stream_closes(j.f, RPC_OK);
  stream_closes(j.s, RPC_OK);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_broken)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", ORIGINAL_S ? nobody : member_s);
  struct joined j = join(&f, web, "web", ORIGINAL_F, ORIGINAL_S);
  stream_say(j.f, "x");
  stream_hears(j.s, "x");
  stream_drop(j.f);
  if (ORIGINAL_S)
    stream_closes(j.s, RPC_OK);
  else
    stream_closes_saying(j.s, RPC_ABORTED, "the other side is gone");
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_one_end_ends_both)
{
  if (_i == 0)
    return; /* not between ours */
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", ORIGINAL_S ? nobody : member_s);
  struct joined j = join(&f, web, "web", ORIGINAL_F, ORIGINAL_S);
  uint8_t *bulk = calloc(1, BULK_MESSAGE);
  for (int i = 0; i < 8; i++)
    stream_send_data(j.f, bulk, BULK_MESSAGE);
  free(bulk);
  stream_say(j.f, "last words");
  stream_end(j.f);
  FIXTURE_UNTIL(&f, j.s->closed && j.f->closed);
  ck_assert_uint_eq(j.s->size, (size_t)8 * BULK_MESSAGE + strlen("last words"));
  stream_closes(j.s, RPC_OK);
  stream_closes(j.f, RPC_OK);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_original_stops_reading)
{
  struct fixture f;
  struct router_limits limits = fixture_limits();
  limits.leave_ms = 50;
  limits.drain_ms = 3600000;
  fixture_open_with(&f, &limits, NULL);
  struct stream *web = created(&f, "web", nobody);
  struct joined j = join(&f, web, "web", true, true);
  j.f->reading = false;
  uint8_t *bulk = calloc(1, BULK_MESSAGE);
  for (int i = 0; i < 4; i++) /* more than fits on the way */
    stream_send_data(j.s, bulk, BULK_MESSAGE);
  free(bulk);
  stream_end(j.f);
  stream_closes(j.s, RPC_OK);
  /* The router would wait for it. */
  fixture_drain(&f);
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  stream_closes(web, RPC_UNAVAILABLE);
  stream_drop(j.f);
  fixture_close(&f);
}
END_TEST

/* ---- Backpressure ---- */

/* Sends until the router takes no more. Returns how many messages went. */
static unsigned fill(struct fixture *f, struct stream *s, const uint8_t *bulk, unsigned most)
{
  unsigned before = s->sent;
  for (unsigned i = 0; i < most; i++) {
    uint64_t end = uv_hrtime() + 300 * 1000000ull;
    FIXTURE_UNTIL(f, !s->sending || uv_hrtime() >= end);
    if (s->sending)
      break;
    stream_send_data(s, bulk, BULK_MESSAGE);
  }
  return s->sent - before;
}

START_TEST(test_stalled_receiver)
{
  struct fixture f;
  fixture_open(&f);
  struct stream *web = created(&f, "web", ORIGINAL_S ? nobody : member_s);
  struct joined slow = join(&f, web, "web", ORIGINAL_F, ORIGINAL_S);
  stream_say(slow.f, "x");
  stream_hears(slow.s, "x");
  /* One message is asked for already. */
  slow.s->reading = false;
  uint8_t *bulk = calloc(1, BULK_MESSAGE);
  unsigned went = fill(&f, slow.f, bulk, BULK_MESSAGES);
  ck_assert_uint_lt(went, BULK_MESSAGES / 2);
  ck_assert(slow.f->sending);

  /* Nobody else is in its way, not even its own other direction. */
  struct joined quick = join(&f, web, "web", ORIGINAL_F, ORIGINAL_S);
  for (int i = 0; i < 32; i++)
    stream_send_data(quick.f, bulk, BULK_MESSAGE);
  FIXTURE_UNTIL(&f, quick.s->size == (size_t)32 * BULK_MESSAGE);
  for (int i = 0; i < SMALL; i++) {
    stream_say(slow.s, "y");
    stream_hears(slow.f, "y");
  }
  /* When it reads again, all is there. */
  slow.s->reading = true;
  stream_receive(slow.s);
  FIXTURE_UNTIL(&f, !slow.f->sending);
  FIXTURE_UNTIL(&f, slow.s->size == (size_t)(slow.f->sent - 2) * BULK_MESSAGE);
  free(bulk);
  stream_drop(quick.f);
  stream_drop(quick.s);
  stream_drop(slow.f);
  stream_drop(slow.s);
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

START_TEST(test_many)
{
  struct fixture f;
  fixture_open(&f);
  enum { MANY = 100 };
  struct stream *web = created(&f, "web", member_s);
  struct joined j[MANY];
  for (int i = 0; i < MANY; i++)
    j[i] = join(&f, web, "web", false, false);
  for (int i = 0; i < MANY; i++)
    stream_say(j[i].f, "ping");
  for (int i = 0; i < MANY; i++) {
    stream_hears(j[i].s, "ping");
    stream_say(j[i].s, "pong");
    stream_end(j[i].s);
    stream_end(j[i].f);
  }
  for (int i = 0; i < MANY; i++) {
    stream_hears(j[i].f, "pong");
    stream_closes(j[i].f, RPC_OK);
    stream_closes(j[i].s, RPC_OK);
  }
  stream_drop(web);
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{test_pairings, 4},
                                       {test_greeted_before_traffic, 0},
                                       {test_token_cut, 4},
                                       {test_wrong_beginnings, 0},
                                       {test_tokens, 0},
                                       {test_token_expires, 0},
                                       {test_service_does_not_answer, 2},
                                       {test_service_goes, 0},
                                       {test_forward_goes, 0},
                                       {test_limit_of_untold, 0},
                                       {test_limit_of_streams, 2},
                                       {test_half_close, 0},
                                       {test_reset_is_passed_on, 0},
                                       {test_broken, 4},
                                       {test_one_end_ends_both, 4},
                                       {test_original_stops_reading, 0},
                                       {test_stalled_receiver, 4},
                                       {test_many, 0}};
  return fixture_suite("connect", tests, sizeof tests / sizeof *tests);
}
