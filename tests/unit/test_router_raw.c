/* Raw streams at the router, over real sockets: how they begin, whom they meet, and how they end. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture_router_raw.h"
#include "runner.h"

enum { CROWD = 500 };

/* A process that has joined and has a service, and its passport. */
struct party {
  struct fixture *f;
  struct stream *watch, *web;
  struct passport p;
};

static void party_come(struct party *s, struct fixture *f)
{
  s->f = f;
  s->watch = member_joins(f, member_s, 's', 1);
  passport_take(&s->p, f, s->watch);
  s->web = created(f, "web", member_s);
}

static void party_leave(struct party *s)
{
  stream_drop(s->web);
  stream_drop(s->watch);
}

static void open_party(struct fixture *f, struct party *s, const struct router_limits *limits)
{
  fixture_open_with(f, limits, NULL);
  party_come(s, f);
}

static void close_party(struct fixture *f, struct party *s)
{
  party_leave(s);
  fixture_close(f);
}

/* A pair, of F and S. */
struct two {
  int f, s;
};

static struct two pair(struct party *s)
{
  struct two t;
  struct header h;
  t.s = raw_park(&s->p, member_s);
  uint64_t counter = s->p.counter;
  t.f = raw_dial(&s->p, "web", member_f);
  raw_begins(&s->p, t.s, counter, &h);
  return t;
}

static void both_hear(struct party *s, struct two t)
{
  raw_send(t.f, "to the service", 14);
  raw_hears(s->f, t.s, "to the service");
  raw_send(t.s, "to the forward", 14);
  raw_hears(s->f, t.f, "to the forward");
}

static void both_end(struct party *s, struct two t)
{
  shutdown(t.f, SHUT_WR);
  shutdown(t.s, SHUT_WR);
  raw_ends(s->f, t.f);
  raw_ends(s->f, t.s);
}

/* As the answer to its latest preamble. */
static void refused(const struct passport *p, int fd, enum rpc_status status, const char *part)
{
  raw_refused(p, fd, p->counter, status, part);
}

static void is_answered(struct passport *p)
{
  uint8_t bytes[RAW_PREAMBLE_MAX];
  int fd = raw_connect(p);
  raw_send(fd, bytes, raw_preamble_make(p, bytes, "", 1));
  raw_refused(p, fd, p->counter, RPC_OK, "");
}

/* ---- Offers ---- */

START_TEST(test_offered)
{
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  ck_assert_str_eq(s.p.address, ":");
  is_answered(&s.p);
  close_party(&f, &s);
}
END_TEST

START_TEST(test_a_port_of_their_own)
{
  struct fixture f;
  struct party s;
  fixture_open_streams(&f, "127.0.0.1:0");
  party_come(&s, &f);
  ck_assert_int_ne(s.p.port, 0);
  ck_assert_str_ne(s.p.address, ":");
  is_answered(&s.p);
  close_party(&f, &s);
}
END_TEST

/* ---- Pairs ---- */

START_TEST(test_pair)
{
  struct fixture f;
  struct party s;
  struct header h;
  open_party(&f, &s, NULL);
  int parked = raw_park(&s.p, member_s);
  uint64_t counter = s.p.counter;
  struct two t = {.f = raw_dial(&s.p, "web", member_f), .s = parked};
  raw_begins(&s.p, t.s, counter, &h);
  struct who_bytes who = who_bytes(member_f);
  ck_assert_str_eq(h.service, "web");
  ck_assert_mem_eq(h.member, who.id, sizeof who.id);
  ck_assert(!h.has_member_key);
  ck_assert_uint_eq(h.hops, 3);
  both_hear(&s, t);
  shutdown(t.f, SHUT_WR);
  raw_send(t.s, "still", 5);
  raw_hears(&f, t.f, "still");
  both_end(&s, t);
  close_party(&f, &s);
}
END_TEST

/* What stands behind the preamble is the pair's, a half-close too. */
START_TEST(test_early_data)
{
  struct fixture f;
  struct party s;
  struct header h;
  static const char early[] = {'e', 'a', 'r', 'l', 'y'};
  uint8_t bytes[RAW_PREAMBLE_MAX + sizeof early];
  open_party(&f, &s, NULL);
  const struct header dial = header_of_dial("web", member_f, 'c');
  int fd = raw_connect(&s.p);
  size_t size = raw_preamble_of(&s.p, bytes, &dial);
  memcpy(bytes + size, early, sizeof early);
  raw_send(fd, bytes, size + sizeof early);
  shutdown(fd, SHUT_WR);
  int parked = raw_park(&s.p, member_s);
  raw_begins(&s.p, parked, s.p.counter, &h);
  raw_hears(&f, parked, "early");
  raw_send(parked, "late", 4);
  raw_hears(&f, fd, "late");
  raw_ends(&f, parked);
  raw_ends(&f, fd);
  close_party(&f, &s);
}
END_TEST

START_TEST(test_a_reset_goes_through)
{
  static const struct linger at_once = {.l_onoff = 1};
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  struct two t = pair(&s);
  both_hear(&s, t);
  setsockopt(t.f, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(t.f);
  raw_is_reset(&f, t.s);
  close_party(&f, &s);
}
END_TEST

/* Greeted, and only later dialled on. */
START_TEST(test_warm)
{
  struct fixture f;
  struct party s;
  struct header h;
  uint8_t bytes[RAW_PREAMBLE_MAX];
  open_party(&f, &s, NULL);
  int fd = raw_greet(&s.p), parked = raw_park(&s.p, member_s);
  uint64_t counter = s.p.counter;
  is_answered(&s.p);
  ck_assert(raw_is_silent(fd));
  const struct header dial = header_of_dial("web", member_f, 'c');
  size_t size = raw_preamble_of(&s.p, bytes, &dial);
  for (size_t i = 0; i < size; i++)
    raw_send(fd, &bytes[i], 1);
  raw_begins(&s.p, parked, counter, &h);
  struct two t = {.f = fd, .s = parked};
  both_hear(&s, t);
  both_end(&s, t);
  close_party(&f, &s);
}
END_TEST

/* It has begun to say something, and ends. */
START_TEST(test_warm_and_cut)
{
  struct fixture f;
  struct party s;
  uint8_t bytes[RAW_PREAMBLE_MAX];
  open_party(&f, &s, NULL);
  const struct header dial = header_of_dial("web", member_f, 'c');
  size_t size = raw_preamble_of(&s.p, bytes, &dial);
  for (size_t part = 1; part < size; part += 20) {
    int fd = raw_greet(&s.p);
    raw_send(fd, bytes, part);
    shutdown(fd, SHUT_WR);
    raw_ends(&f, fd);
  }
  close_party(&f, &s);
}
END_TEST

START_TEST(test_few_are_warm)
{
  struct fixture f;
  struct party s;
  struct router_limits limits = fixture_limits();
  limits.warm_per_watch = 2;
  open_party(&f, &s, &limits);
  int oldest = raw_greet(&s.p), others[2] = {raw_greet(&s.p), raw_greet(&s.p)};
  raw_ends(&f, oldest);
  ck_assert(raw_is_silent(others[0]) && raw_is_silent(others[1]));
  close(others[0]);
  close(others[1]);
  close_party(&f, &s);
}
END_TEST

/* ---- Waiting ---- */

/* Nobody has parked but once: all wait, and each gets one. */
START_TEST(test_a_crowd)
{
  struct fixture f;
  struct party s;
  struct header h;
  int *dials = calloc(CROWD, sizeof *dials), *parked = calloc(CROWD, sizeof *parked);
  struct router_limits limits = fixture_limits();
  limits.dial_ms = 60000;
  open_party(&f, &s, &limits);
  both_end(&s, pair(&s));
  for (size_t i = 0; i < CROWD; i++)
    dials[i] = raw_dial(&s.p, "web", member_f);
  uint64_t counter = s.p.counter;
  for (size_t i = 0; i < CROWD; i++)
    parked[i] = raw_park(&s.p, member_s);
  for (size_t i = 0; i < CROWD; i++) {
    raw_begins(&s.p, parked[i], counter + 1 + i, &h);
    raw_send(parked[i], "you", 3);
  }
  for (size_t i = 0; i < CROWD; i++) {
    raw_hears(&f, dials[i], "you");
    close(dials[i]);
    close(parked[i]);
  }
  free(dials);
  free(parked);
  close_party(&f, &s);
}
END_TEST

/* The service comes later, and parks a raw stream later still. */
START_TEST(test_waits_for_a_service)
{
  struct fixture f;
  struct party s;
  struct header h;
  struct router_limits limits = fixture_limits();
  limits.young_ms = 60000;
  fixture_open_with(&f, &limits, NULL);
  struct stream *watch = member_joins(&f, member_f, 'f', 1);
  struct passport p;
  passport_take(&p, &f, watch);
  int fd = raw_dial(&p, "web", member_f);
  is_answered(&p);
  party_come(&s, &f);
  int parked = raw_park(&s.p, member_s);
  raw_begins(&s.p, parked, s.p.counter, &h);
  struct two t = {.f = fd, .s = parked};
  both_hear(&s, t);
  both_end(&s, t);
  party_leave(&s);
  stream_drop(watch);
  fixture_close(&f);
}
END_TEST

/* A connection goes on with a process, which has parked no stream yet. */
START_TEST(test_attach)
{
  struct fixture f;
  struct party s;
  struct header h;
  open_party(&f, &s, NULL);
  struct header attach = header_of_dial("", member_f, 'c');
  struct who_bytes who = who_bytes(member_s);
  attach.has_attach = attach.established = true;
  memcpy(attach.attach, who.id, sizeof attach.attach);
  int fd = raw_open_with(&s.p, &attach), parked = raw_park(&s.p, member_s);
  raw_begins(&s.p, parked, s.p.counter, &h);
  ck_assert(!h.has_attach);
  struct two t = {.f = fd, .s = parked};
  both_hear(&s, t);
  both_end(&s, t);
  close_party(&f, &s);
}
END_TEST

/* A pair is of one kind. */
START_TEST(test_kinds_do_not_meet)
{
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  struct stream *grpc = parked(&f, member_s);
  int fd = raw_dial(&s.p, "web", member_f);
  raw_refused(&s.p, fd, s.p.counter, RPC_UNIMPLEMENTED, "use gRPC");
  int raw = raw_park(&s.p, member_s);
  struct stream *dialled = dial(&f, "web", member_f);
  stream_say(dialled, "hello");
  FIXTURE_UNTIL(&f, grpc->told == 1);
  ck_assert(raw_is_silent(raw));
  close(raw);
  stream_drop(dialled);
  stream_drop(grpc);
  close_party(&f, &s);
}
END_TEST

/* ---- Refusals ---- */

START_TEST(test_refusals)
{
  struct fixture f;
  struct party s;
  struct header h;
  open_party(&f, &s, NULL);
  refused(&s.p, raw_dial(&s.p, "nobody", member_f), RPC_NOT_FOUND, "\"nobody\" does not exist");
  refused(&s.p, raw_dial(&s.p, "web", thief), RPC_PERMISSION_DENIED, "not the member's key");
  refused(&s.p, raw_park(&s.p, member_f), RPC_FAILED_PRECONDITION, "has joined");
  h = header_of(member_s);
  refused(&s.p, raw_open_with(&s.p, &h), RPC_INVALID_ARGUMENT, "one of service");
  snprintf(h.token, sizeof h.token, "%064d", 1);
  refused(&s.p, raw_open_with(&s.p, &h), RPC_UNIMPLEMENTED, "answered by gRPC");
  uint8_t bytes[RAW_PREAMBLE_MAX];
  int fd = raw_connect(&s.p);
  raw_send(fd, bytes, raw_preamble_make(&s.p, bytes, "no payload", 10));
  raw_refused(&s.p, fd, s.p.counter, RPC_INVALID_ARGUMENT, "");
  close_party(&f, &s);
}
END_TEST

/* The status arrives though much was said behind the preamble. */
START_TEST(test_a_refusal_is_heard)
{
  static const uint8_t much[1 << 18];
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  int fd = raw_dial(&s.p, "nobody", member_f);
  ssize_t sent = send(fd, much, sizeof much, MSG_NOSIGNAL | MSG_DONTWAIT);
  ck_assert(sent > 0 || errno == EPIPE || errno == ECONNRESET);
  raw_refused(&s.p, fd, s.p.counter, RPC_NOT_FOUND, "nobody");
  close_party(&f, &s);
}
END_TEST

START_TEST(test_parked_says_nothing)
{
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  int fd = raw_park(&s.p, member_s);
  raw_send(fd, "x", 1);
  raw_refused(&s.p, fd, s.p.counter, RPC_INVALID_ARGUMENT, "says nothing");
  fd = raw_park(&s.p, member_s);
  shutdown(fd, SHUT_WR);
  raw_refused(&s.p, fd, s.p.counter, RPC_OK, "");
  close_party(&f, &s);
}
END_TEST

/* What is gone, or was refused, is not counted any more. */
START_TEST(test_counts)
{
  static const struct linger at_once = {.l_onoff = 1};
  struct fixture f;
  struct party s;
  struct router_limits limits = fixture_limits();
  limits.streams = 2;
  open_party(&f, &s, &limits);
  for (int i = 0; i < 3; i++) {
    struct two t = pair(&s);
    refused(&s.p, raw_dial(&s.p, "web", member_f), RPC_RESOURCE_EXHAUSTED, "2 streams");
    both_end(&s, t);
    refused(&s.p, raw_dial(&s.p, "nobody", member_f), RPC_NOT_FOUND, "nobody");
    int parked = raw_park(&s.p, member_s);
    is_answered(&s.p);
    setsockopt(parked, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(parked);
    is_answered(&s.p);
  }
  close_party(&f, &s);
}
END_TEST

/* ---- Ends ---- */

START_TEST(test_the_watch_ends)
{
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  struct two t = pair(&s);
  int warm = raw_greet(&s.p), parked = raw_park(&s.p, member_s);
  uint64_t counter = s.p.counter;
  is_answered(&s.p);
  stream_drop(s.watch);
  raw_ends(&f, warm);
  raw_refused(&s.p, parked, counter, RPC_UNAVAILABLE, "watch is over");
  both_hear(&s, t);
  raw_is_reset(&f, raw_greet(&s.p));
  both_end(&s, t);
  stream_drop(s.web);
  fixture_close(&f);
}
END_TEST

static void rekey(void *arg)
{
  struct fixture *f = arg;
  ck_assert_int_eq(router_set_key(f->router, "second"), 0);
}

START_TEST(test_rekey)
{
  struct fixture f;
  struct party s;
  fixture_open_with(&f, NULL, "first");
  party_come(&s, &f);
  struct two t = pair(&s);
  int warm = raw_greet(&s.p), parked = raw_park(&s.p, member_s);
  is_answered(&s.p);
  ck_assert_int_eq(rpc_queue_post(f.router_queue, rekey, &f), 0);
  raw_ends(&f, warm);
  raw_refused(&s.p, parked, s.p.counter - 1, RPC_UNAVAILABLE, "");
  both_hear(&s, t);
  both_end(&s, t);
  stream_closes(s.web, RPC_UNAVAILABLE);
  stream_closes(s.watch, RPC_UNAVAILABLE);
  fixture_close(&f);
}
END_TEST

START_TEST(test_drain)
{
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  struct two t = pair(&s);
  int warm = raw_greet(&s.p), parked = raw_park(&s.p, member_s);
  uint64_t counter = s.p.counter;
  is_answered(&s.p);
  fixture_drain(&f);
  raw_refused(&s.p, parked, counter, RPC_UNAVAILABLE, "draining");
  uint8_t bytes[RAW_PREAMBLE_MAX];
  const struct header dial = header_of_dial("web", member_f, 'c');
  raw_send(warm, bytes, raw_preamble_of(&s.p, bytes, &dial));
  raw_refused(&s.p, warm, s.p.counter, RPC_UNAVAILABLE, "draining");
  both_hear(&s, t);
  both_end(&s, t); /* the last one: the router ends */
  stream_closes(s.web, RPC_UNAVAILABLE);
  stream_closes(s.watch, RPC_UNAVAILABLE);
  FIXTURE_UNTIL(&f, atomic_load(&f.router_over));
  fixture_close(&f);
}
END_TEST

START_TEST(test_the_end_cuts)
{
  struct fixture f;
  struct party s;
  open_party(&f, &s, NULL);
  struct two t = pair(&s);
  int parked = raw_park(&s.p, member_s), warm = raw_greet(&s.p);
  is_answered(&s.p);
  fixture_drain(&f);
  fixture_drain(&f);
  raw_is_reset(&f, t.f);
  raw_is_reset(&f, t.s);
  raw_ends(&f, warm);
  close(parked);
  stream_closes(s.web, RPC_UNAVAILABLE);
  stream_closes(s.watch, RPC_UNAVAILABLE);
  fixture_close(&f);
}
END_TEST

START_TEST(test_age)
{
  struct fixture f;
  struct party s;
  struct router_limits limits = fixture_limits();
  limits.stream_age_ms = 1000;
  open_party(&f, &s, &limits);
  struct two t = pair(&s);
  int parked = raw_park(&s.p, member_s);
  uint64_t counter = s.p.counter;
  raw_is_reset(&f, t.f);
  raw_is_reset(&f, t.s);
  struct raw_word word = raw_word_read(&s.p, parked, counter);
  ck_assert_int_eq(word.status, RPC_UNAVAILABLE);
  close(parked);
  stream_closes(s.web, RPC_UNAVAILABLE);
  stream_closes(s.watch, RPC_UNAVAILABLE);
  fixture_close(&f);
}
END_TEST

/* ---- Attacks ---- */

/* A dial with one bit of each byte flipped, in turn. */
START_TEST(test_flipped)
{
  struct fixture f;
  struct party s;
  uint8_t bytes[RAW_PREAMBLE_MAX];
  open_party(&f, &s, NULL);
  const struct header dial = header_of_dial("web", member_f, 'c');
  size_t size = raw_preamble_of(&s.p, bytes, &dial);
  for (size_t i = RAW_MAGIC_SIZE; i < size; i++) {
    int fd = raw_connect(&s.p);
    bytes[i] ^= (uint8_t)(1 << i % 8);
    raw_send(fd, bytes, size);
    /* A size that is too large leaves it a stranger. */
    if (i == RAW_MAGIC_SIZE || i == RAW_MAGIC_SIZE + 1)
      shutdown(fd, SHUT_WR);
    raw_ends(&f, fd);
    bytes[i] ^= (uint8_t)(1 << i % 8);
  }
  /* The counter is good still. */
  int fd = raw_connect(&s.p);
  raw_send(fd, bytes, size);
  raw_refused(&s.p, fd, s.p.counter, RPC_UNIMPLEMENTED, "use gRPC");
  close_party(&f, &s);
}
END_TEST

START_TEST(test_replayed)
{
  struct fixture f;
  struct party s;
  uint8_t bytes[RAW_PREAMBLE_MAX];
  open_party(&f, &s, NULL);
  const struct header dial = header_of_dial("nobody", member_f, 'c');
  size_t size = raw_preamble_of(&s.p, bytes, &dial);
  int fd = raw_connect(&s.p);
  raw_send(fd, bytes, size);
  raw_refused(&s.p, fd, s.p.counter, RPC_NOT_FOUND, "");
  fd = raw_connect(&s.p);
  raw_send(fd, bytes, size);
  raw_is_reset(&f, fd);
  fd = raw_greet(&s.p);
  raw_send(fd, bytes, size);
  raw_is_reset(&f, fd);
  close_party(&f, &s);
}
END_TEST

/* Another watch's: its own keys and our name; or on a connection that is ours. */
START_TEST(test_another_watch)
{
  struct fixture f;
  struct party s;
  struct passport other;
  uint8_t bytes[RAW_PREAMBLE_MAX];
  open_party(&f, &s, NULL);
  struct stream *watch = member_joins(&f, member_f, 'f', 1);
  passport_take(&other, &f, watch);
  struct passport forged = other;
  memcpy(forged.watch, s.p.watch, sizeof forged.watch);
  forged.counter = 1000;
  raw_is_reset(&f, raw_dial(&forged, "web", member_f));
  int fd = raw_greet(&s.p);
  const struct header dial = header_of_dial("web", member_f, 'c');
  raw_send(fd, bytes, raw_preamble_of(&other, bytes, &dial));
  raw_is_reset(&f, fd);
  memset(forged.watch, 7, sizeof forged.watch);
  raw_is_reset(&f, raw_dial(&forged, "web", member_f));
  is_answered(&s.p);
  stream_drop(watch);
  close_party(&f, &s);
}
END_TEST

START_TEST(test_noise)
{
  struct fixture f;
  struct party s;
  uint8_t bytes[RAW_PREAMBLE_MAX];
  unsigned seed = (unsigned)_i;
  open_party(&f, &s, NULL);
  for (int n = 0; n < 300; n++) {
    int fd = raw_connect(&s.p);
    size_t size = (size_t)rand_r(&seed) % sizeof bytes + 1;
    for (size_t i = 0; i < size; i++)
      bytes[i] = (uint8_t)rand_r(&seed);
    if (n % 2 == 0)
      memcpy(bytes, RAW_MAGIC, size < RAW_MAGIC_SIZE ? size : RAW_MAGIC_SIZE);
    if (n % 4 == 0 && size > RAW_HEAD_SIZE)
      memcpy(bytes + RAW_MAGIC_SIZE + 2, s.p.watch, RAW_WATCH_SIZE);
    raw_send(fd, bytes, size);
    close(fd);
  }
  struct two t = pair(&s);
  both_hear(&s, t);
  both_end(&s, t);
  close_party(&f, &s);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {{test_offered, 0},
                                       {test_a_port_of_their_own, 0},
                                       {test_pair, 0},
                                       {test_early_data, 0},
                                       {test_a_reset_goes_through, 0},
                                       {test_warm, 0},
                                       {test_warm_and_cut, 0},
                                       {test_few_are_warm, 0},
                                       {test_a_crowd, 0},
                                       {test_waits_for_a_service, 0},
                                       {test_attach, 0},
                                       {test_kinds_do_not_meet, 0},
                                       {test_refusals, 0},
                                       {test_a_refusal_is_heard, 0},
                                       {test_parked_says_nothing, 0},
                                       {test_counts, 0},
                                       {test_the_watch_ends, 0},
                                       {test_rekey, 0},
                                       {test_drain, 0},
                                       {test_the_end_cuts, 0},
                                       {test_age, 0},
                                       {test_flipped, 0},
                                       {test_replayed, 0},
                                       {test_another_watch, 0},
                                       {test_noise, 4}};
  return fixture_suite("raw", tests, sizeof tests / sizeof *tests);
}
