/* Tunnels between sockets of the test and a router that plays the other side. */
#include "test_daemon_streams.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/address.h"
#include "daemon/parked.h"
#include "daemon/tunnels.h"
#include "proto/pump.h"

#define LIMIT (UINT64_C(3) << 20)

static struct world w;
static uv_timer_t tick;
static struct pump_set *pumps;
static struct tunnels *tunnels;
static struct parked *parked;
static bool gone;
static int opened, closed, failed;
static struct tunnel *last;
static char sentence[1024];

/* What answers for a target. */
static int listener;
static struct address target;
static const struct address *parked_target; /* what a parked stream leads to */

static const uint8_t connection[STREAM_CONNECTION_SIZE] = "secret-secret--";

static void on_opened(struct tunnel *t, void *arg)
{
  (void)arg;
  opened++;
  last = t;
}

static void on_closed(struct tunnel *t, void *arg)
{
  (void)arg;
  closed++;
  if (last == t)
    last = NULL;
}

static void on_failed(struct tunnel *t, const char *text, void *arg)
{
  (void)t;
  (void)arg;
  failed++;
  snprintf(sentence, sizeof sentence, "%s", text);
}

static void on_taken(struct pump *pump, const struct header *h, void *arg)
{
  (void)arg;
  tunnels_accept(tunnels, pump, h, parked_target);
}

static const struct tunnels_events events = {.opened = on_opened, .closed = on_closed, .failed = on_failed};

/* The sockets of the test are none of the loop's: somebody must look at them. */
static void on_tick(uv_timer_t *timer)
{
  (void)timer;
}

static void on_gone(void *arg)
{
  (void)arg;
  gone = true;
}

static void open_target(void)
{
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;
  char text[64];
  const char *why;

  listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
  ck_assert_int_eq(listen(listener, 8), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &size), 0);
  snprintf(text, sizeof text, "127.0.0.1:%d", ntohs(at.sin_port));
  ck_assert_int_eq(address_parse_target(text, &target, &why), 0);
  parked_target = &target;
}

/* From now on it refuses. */
static void close_target(void)
{
  close(listener);
  listener = -1;
}

static void setup(void)
{
  const struct pump_limits limits = {.window = LIMIT, .budget = 4 << 20};

  opened = closed = failed = 0;
  sentence[0] = '\0';
  gone = false;
  world_open(&w);
  streams_begin(&w);
  open_target();
  ck_assert_int_eq(uv_timer_init(&w.loop, &tick), 0);
  uv_timer_start(&tick, on_tick, 2, 2);
  ck_assert_int_eq(pump_set_open(&pumps, w.queue, &w.loop, &limits), 0);
}

static void begin(void)
{
  world_link(&w, NULL);
  ck_assert_int_eq(tunnels_open(&tunnels, &w.loop, w.link, pumps, LIMIT, &events, NULL), 0);
  ck_assert_int_eq(parked_open(&parked, &w.loop, w.link, pumps, on_taken, NULL), 0);
}

static void begin_connected(void)
{
  begin();
  WORLD_UNTIL(&w, w.connects == 1);
}

static void begin_with_first_version(void)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  begin_connected();
}

static void teardown(void)
{
  gone = false;
  parked_close(parked, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  gone = false;
  tunnels_close(tunnels, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  ck_assert_int_eq(opened, closed);
  gone = false;
  pump_set_close(pumps, on_gone, NULL);
  WORLD_UNTIL(&w, gone);
  uv_close((uv_handle_t *)&tick, NULL);
  world_close(&w);
  close(listener);
}

/* ---- The application's, or the target's, end ---- */

static ssize_t peek(int fd)
{
  char byte;
  ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

  return n < 0 ? -errno : n;
}

static void expect(int fd, const char *text)
{
  char got[256];
  size_t size = 0;

  while (size < strlen(text)) {
    WORLD_UNTIL(&w, peek(fd) != -EAGAIN);
    ssize_t n = recv(fd, got + size, strlen(text) - size, MSG_DONTWAIT);
    ck_assert_int_gt(n, 0);
    size += (size_t)n;
  }
  ck_assert_mem_eq(got, text, size);
}

static void expect_end(int fd)
{
  WORLD_UNTIL(&w, peek(fd) != -EAGAIN);
  ck_assert_int_eq(peek(fd), 0);
}

/* A socket tells it once. */
static void expect_reset(int fd)
{
  ssize_t n;

  WORLD_UNTIL(&w, (n = peek(fd)) != -EAGAIN);
  ck_assert_int_eq(n, -ECONNRESET);
  close(fd);
}

static void put(int fd, const char *text)
{
  ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static bool accept_target(int *fd)
{
  *fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  return *fd >= 0;
}

/* A connection that a forward accepted. Returns the application's end. */
static int forward(const char *service)
{
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), application, accepted;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof at;

  ck_assert_int_eq(bind(server, (struct sockaddr *)&at, sizeof at), 0);
  ck_assert_int_eq(listen(server, 1), 0);
  ck_assert_int_eq(getsockname(server, (struct sockaddr *)&at, &size), 0);
  application = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ck_assert_int_eq(connect(application, (struct sockaddr *)&at, sizeof at), 0);
  accepted = accept4(server, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  ck_assert_int_ge(accepted, 0);
  close(server);
  tunnels_forward(tunnels, service, accepted, "127.0.0.1:1");
  return application;
}

static struct stream *stream_at(int i)
{
  WORLD_UNTIL(&w, streams.count > i && streams.all[i].headers + streams.all[i].original > 0);
  return &streams.all[i];
}

/* A forward whose other side has answered. */
static int open_forward(struct stream **out)
{
  int fd = forward("web");
  struct stream *s = *out = stream_at(streams.count);

  stream_meet(s, false);
  stream_say_header(&w, s, NULL, s->connection);
  WORLD_UNTIL(&w, strcmp(tunnel_info(last).state, "open") == 0);
  return fd;
}

static bool is(const struct stream *s, const char *text)
{
  return s->size == strlen(text) && memcmp(s->data, text, s->size) == 0;
}

static void no_secret(void)
{
  ck_assert_ptr_null(strstr(sentence, "secret"));
}

/* ---- Forwards ---- */

START_TEST(a_forward_dials_by_name_and_does_not_wait)
{
  begin_connected();
  int fd = forward("web");
  put(fd, "early");
  struct stream *s = stream_at(0);

  WORLD_UNTIL(&w, is(s, "early"));
  ck_assert_str_eq(s->service, "web");
  ck_assert_str_eq(s->token, "");
  ck_assert(!s->park && s->has_member && s->has_key && s->has_connection);
  ck_assert_uint_eq(s->limit, LIMIT);
  ck_assert_int_eq(w.asks, 0);
  ck_assert_str_eq(tunnel_info(last).state, "dialing");
  stream_meet(s, false);
  stream_say_header(&w, s, NULL, s->connection);
  WORLD_UNTIL(&w, strcmp(tunnel_info(last).state, "open") == 0);
  stream_say_data(&w, s, "answer", false);
  expect(fd, "answer");
  put(fd, ", late");
  WORLD_UNTIL(&w, is(s, "early, late"));
  ck_assert_int_eq(s->headers, 1);
  close(fd);
}
END_TEST

START_TEST(no_two_connections_are_named_alike)
{
  static const uint8_t zeros[STREAM_CONNECTION_SIZE];

  begin_connected();
  int a = forward("web"), b = forward("web");
  struct stream *first = stream_at(0), *second = stream_at(1);

  ck_assert_mem_ne(first->connection, zeros, sizeof zeros);
  ck_assert_mem_ne(first->connection, second->connection, sizeof zeros);
  close(a);
  close(b);
}
END_TEST

START_TEST(the_ends_are_said_one_by_one)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  put(fd, "question");
  shutdown(fd, SHUT_WR);
  WORLD_UNTIL(&w, s->eof);
  ck_assert(is(s, "question"));
  world_idle(&w, 20);
  ck_assert(!s->half_closed);
  stream_say_data(&w, s, "answer", true);
  expect(fd, "answer");
  expect_end(fd);
  WORLD_UNTIL(&w, s->half_closed);
  ck_assert_uint_eq(s->taken, strlen("answer") + 1);
  ck_assert_str_eq(tunnel_info(last).state, "closing");
  world_idle(&w, 20);
  ck_assert_int_eq(closed, 0); /* the other side may still be taking what was sent */
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
  const struct tunnels_stats stats = tunnels_stats(tunnels, TUNNEL_FORWARD, "web");
  ck_assert(stats.total == 1 && stats.live == 0 && stats.bytes_out == 8 && stats.bytes_in == 6);
  close(fd);
}
END_TEST

START_TEST(an_early_end_is_said_once_somebody_answered)
{
  begin_connected();
  int fd = forward("web");
  put(fd, "all");
  shutdown(fd, SHUT_WR);
  struct stream *s = stream_at(0);

  WORLD_UNTIL(&w, is(s, "all"));
  world_idle(&w, 20);
  ck_assert(!s->eof && !s->half_closed);
  stream_meet(s, false);
  stream_say_header(&w, s, NULL, s->connection);
  WORLD_UNTIL(&w, s->eof);
  ck_assert(!s->half_closed);
  close(fd);
}
END_TEST

START_TEST(the_router_knows_no_such_service)
{
  begin_connected();
  int fd = forward("web");

  stream_finish(stream_at(0), RPC_NOT_FOUND, "no service of that name");
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_ptr_nonnull(strstr(sentence, "forwards/web: no service of that name (NOT_FOUND)"));
  expect_reset(fd);
  ck_assert_uint_eq(tunnels_stats(tunnels, TUNNEL_FORWARD, NULL).failed, 1);
}
END_TEST

START_TEST(without_a_router_a_forward_resets)
{
  world_router_stop(&w);
  begin();
  int fd = forward("web");

  ck_assert_int_eq(closed, 1);
  ck_assert_ptr_nonnull(strstr(sentence, "no router: "));
  expect_reset(fd);
}
END_TEST

START_TEST(an_answer_for_another_connection_is_refused)
{
  begin_connected();
  int fd = forward("web");
  struct stream *s = stream_at(0);

  stream_meet(s, false);
  stream_say_header(&w, s, NULL, _i == 0 ? connection : NULL);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "EPROTO");
  ck_assert_int_eq(failed, 1);
  no_secret();
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
}
END_TEST

START_TEST(a_reset_of_the_other_side_is_told_and_passed_on)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  stream_say_reset(&w, s, "ECONNREFUSED", "connect to 127.0.0.1:1: Connection refused");
  expect_reset(fd);
  WORLD_UNTIL(&w, s->half_closed);
  ck_assert(!s->reset && !s->eof);
  ck_assert_ptr_nonnull(strstr(sentence, "the other side: connect to 127.0.0.1:1: Connection refused"));
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

START_TEST(a_reset_of_the_application_is_said)
{
  const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(fd);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "");
  ck_assert_int_eq(failed, 0);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

START_TEST(one_that_is_cut_is_reset_on_both_sides)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  tunnel_cut(last);
  ck_assert_int_eq(closed, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ECONNABORTED");
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
}
END_TEST

START_TEST(an_original_at_the_other_end_hears_nothing_in_band)
{
  begin_connected();
  int fd = forward("web");
  put(fd, "early");
  struct stream *s = stream_at(0);

  stream_meet(s, true);
  WORLD_UNTIL(&w, strcmp(tunnel_info(last).state, "open") == 0);
  ck_assert_uint_eq(tunnel_info(last).window, 0);
  stream_say_data(&w, s, "answer", false);
  expect(fd, "answer");
  shutdown(fd, SHUT_WR);
  WORLD_UNTIL(&w, s->half_closed);
  ck_assert(is(s, "early") && !s->eof && !s->reset && s->taken == 0);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  expect_end(fd);
  ck_assert_int_eq(failed, 0);
  close(fd);
}
END_TEST

START_TEST(a_router_of_the_first_version_is_asked_for_a_token)
{
  w.router.token = "the-token";
  begin_with_first_version();
  int fd = forward("web");
  put(fd, "data");
  struct stream *s = stream_at(0);

  WORLD_UNTIL(&w, s->size > 4 && memcmp(s->data + s->size - 4, "data", 4) == 0);
  ck_assert(s->original && s->headers == 0);
  ck_assert_int_eq(w.asks, 1);
  ck_assert_ptr_nonnull(memmem(s->data, s->size, "the-token", 9));
  ck_assert_str_eq(tunnel_info(last).state, "open");
  close(fd);
}
END_TEST

START_TEST(a_router_of_the_first_version_knows_no_such_service)
{
  begin_with_first_version();
  int fd = forward("web");

  WORLD_UNTIL(&w, closed == 1);
  ck_assert_ptr_nonnull(strstr(sentence, "no such service (NOT_FOUND)"));
  ck_assert_int_eq(streams.count, 0);
  expect_reset(fd);
}
END_TEST

/* ---- Services ---- */

START_TEST(a_token_is_answered)
{
  int fd;

  begin_connected();
  tunnels_answer(tunnels, "web", "a-token", &target);
  struct stream *s = stream_at(0);

  ck_assert_str_eq(s->token, "a-token");
  ck_assert(!s->park && s->has_member && s->has_key && !s->has_connection);
  WORLD_UNTIL(&w, accept_target(&fd));
  put(fd, "first word");
  world_idle(&w, 20);
  ck_assert_uint_eq(s->size, 0); /* our header goes first */
  stream_meet(s, false);
  stream_say_header(&w, s, "web", connection);
  stream_say_data(&w, s, "question", false);
  expect(fd, "question");
  WORLD_UNTIL(&w, is(s, "first word"));
  ck_assert_int_eq(s->headers, 2);
  ck_assert(s->has_connection && s->has_member && !s->has_key && s->limit == LIMIT);
  ck_assert_mem_eq(s->connection, connection, sizeof connection);
  ck_assert_str_eq(tunnel_info(last).state, "open");
  close(fd);
  WORLD_UNTIL(&w, s->eof);
  stream_say_eof(&w, s);
  WORLD_UNTIL(&w, s->half_closed);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
}
END_TEST

START_TEST(a_dial_without_a_connection_is_refused)
{
  begin_connected();
  tunnels_answer(tunnels, "web", "a-token", &target);
  struct stream *s = stream_at(0);

  stream_meet(s, false);
  stream_say_header(&w, s, "web", NULL);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "EPROTO");
  ck_assert_int_eq(s->headers, 1);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

START_TEST(an_original_may_dial)
{
  int fd;

  begin_connected();
  tunnels_answer(tunnels, "web", "a-token", &target);
  struct stream *s = stream_at(0);

  stream_meet(s, true);
  stream_say_data(&w, s, "question", false);
  WORLD_UNTIL(&w, accept_target(&fd));
  expect(fd, "question");
  put(fd, "answer");
  WORLD_UNTIL(&w, is(s, "answer"));
  ck_assert_int_eq(s->headers, 1);
  stream_finish(s, RPC_OK, NULL);
  expect_end(fd);
  close(fd);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

/* A parked stream that is dialled, with some data. */
static struct stream *dial_parked(const char *service, const uint8_t *with)
{
  int before = streams.count;

  parked_update(parked, true);
  WORLD_UNTIL(&w, streams.count == before + PARKED_COUNT);
  struct stream *s = &streams.all[before + 3];

  stream_meet(s, false);
  stream_say_header(&w, s, service, with);
  stream_say_data(&w, s, "early", false);
  return s;
}

START_TEST(a_parked_stream_is_a_connection)
{
  int fd;

  begin_connected();
  struct stream *s = dial_parked("web", connection);
  WORLD_UNTIL(&w, accept_target(&fd));
  expect(fd, "early");
  put(fd, "answer");
  WORLD_UNTIL(&w, is(s, "answer"));
  ck_assert_int_eq(s->headers, 2);
  ck_assert(s->has_connection && s->has_member && !s->has_key && s->limit == LIMIT);
  ck_assert_mem_eq(s->connection, connection, sizeof connection);
  struct tunnel_info info = tunnel_info(last);
  ck_assert_str_eq(info.service, "web");
  ck_assert_str_eq(info.state, "open");
  ck_assert_int_eq(info.role, TUNNEL_SERVICE);
  ck_assert(info.bytes_in == 5 && info.bytes_out == 6 && info.window > 0);
  stream_say_eof(&w, s);
  expect_end(fd);
  close(fd);
  WORLD_UNTIL(&w, s->eof && s->half_closed);
  ck_assert_uint_eq(s->taken, strlen("early") + 1);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
}
END_TEST

START_TEST(a_target_refuses_after_early_data)
{
  begin_connected();
  close_target();
  struct stream *s = dial_parked("web", connection);

  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_int_eq(s->headers, 2);
  ck_assert_str_eq(s->code, "ECONNREFUSED");
  ck_assert_ptr_nonnull(strstr(s->reason, "Connection refused"));
  ck_assert_ptr_nonnull(strstr(sentence, "connection to services/web: connect to "));
  no_secret();
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

START_TEST(a_service_that_is_gone_was_dialled)
{
  begin_connected();
  parked_target = NULL;
  struct stream *s = dial_parked("web", connection);

  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_int_eq(s->headers, 2);
  ck_assert_str_eq(s->code, "ENOENT");
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 1);
}
END_TEST

START_TEST(a_parked_stream_is_dialled_without_a_connection)
{
  begin_connected();
  struct stream *s = dial_parked("web", NULL);

  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "EPROTO");
  ck_assert_int_eq(s->headers, 1);
}
END_TEST

START_TEST(who_dialled_gave_up)
{
  int fd;

  begin_connected();
  struct stream *s = dial_parked("web", connection);
  WORLD_UNTIL(&w, accept_target(&fd));
  expect(fd, "early");
  stream_finish(s, RPC_ABORTED, "the other side is gone");
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
  expect_reset(fd);
}
END_TEST

START_TEST(the_router_is_lost)
{
  struct stream *s;
  int fd, target_fd;

  begin_connected();
  fd = open_forward(&s);
  tunnels_answer(tunnels, "web", "a-token", &target);
  s = stream_at(1);
  stream_meet(s, false);
  stream_say_header(&w, s, "web", connection);
  WORLD_UNTIL(&w, accept_target(&target_fd));
  WORLD_UNTIL(&w, strcmp(tunnel_info(last).state, "open") == 0);
  world_router_stop(&w);
  WORLD_UNTIL(&w, closed == 2);
  expect_reset(fd);
  expect_reset(target_fd);
  no_secret();
}
END_TEST

START_TEST(closes_with_connections_in_every_state)
{
  struct stream *s;

  begin_connected();
  int a = forward("web"), b = forward("web");
  stream_at(1);
  int c = open_forward(&s);
  tunnels_answer(tunnels, "web", "a-token", &target);
  stream_at(3);
  dial_parked("web", connection);
  close(a);
  close(b);
  close(c);
}
END_TEST

static void add_forwards(Suite *suite)
{
  TCase *t = tcase_create("forwards");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, a_forward_dials_by_name_and_does_not_wait);
  tcase_add_test(t, no_two_connections_are_named_alike);
  tcase_add_test(t, the_ends_are_said_one_by_one);
  tcase_add_test(t, an_early_end_is_said_once_somebody_answered);
  tcase_add_test(t, the_router_knows_no_such_service);
  tcase_add_test(t, without_a_router_a_forward_resets);
  tcase_add_loop_test(t, an_answer_for_another_connection_is_refused, 0, 2);
  tcase_add_test(t, a_reset_of_the_other_side_is_told_and_passed_on);
  tcase_add_test(t, a_reset_of_the_application_is_said);
  tcase_add_test(t, one_that_is_cut_is_reset_on_both_sides);
  tcase_add_test(t, an_original_at_the_other_end_hears_nothing_in_band);
  tcase_add_test(t, a_router_of_the_first_version_is_asked_for_a_token);
  tcase_add_test(t, a_router_of_the_first_version_knows_no_such_service);
  suite_add_tcase(suite, t);
}

static void add_services(Suite *suite)
{
  TCase *t = tcase_create("services");

  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, a_token_is_answered);
  tcase_add_test(t, a_dial_without_a_connection_is_refused);
  tcase_add_test(t, an_original_may_dial);
  tcase_add_test(t, a_parked_stream_is_a_connection);
  tcase_add_test(t, a_target_refuses_after_early_data);
  tcase_add_test(t, a_service_that_is_gone_was_dialled);
  tcase_add_test(t, a_parked_stream_is_dialled_without_a_connection);
  tcase_add_test(t, who_dialled_gave_up);
  tcase_add_test(t, the_router_is_lost);
  tcase_add_test(t, closes_with_connections_in_every_state);
  suite_add_tcase(suite, t);
}

int main(void)
{
  Suite *suite = suite_create("daemon tunnels");
  SRunner *r;
  int failures;

  add_forwards(suite);
  add_services(suite);
  r = srunner_create(suite);
  srunner_run_all(r, CK_NORMAL);
  failures = srunner_ntests_failed(r);
  srunner_free(r);
  return failures != 0;
}
