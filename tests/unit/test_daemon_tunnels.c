/* Tunnels whose streams last as long as they do: forwards and services, of ours and of the first version. */
#include "fixture_daemon_tunnels.h"

#include <fcntl.h>

#include "carry/tunnel/hops.h"

#include "runner.h"

static void begin_with_first_version(void)
{
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  begin_connected();
}

/* ---- Forwards ---- */

START_TEST(a_forward_dials_by_name_and_does_not_wait)
{
  begin_connected();
  int fd = forward("web");
  put(fd, "early");
  struct stream *s = stream_at(0);

  WORLD_UNTIL(&w, is(s, "early"));
  ck_assert_str_eq(s->first.service, "web");
  ck_assert_str_eq(s->first.token, "");
  ck_assert(s->ours && s->first.has_member_key && s->first.has_connection);
  ck_assert(!s->first.park && !s->first.has_attach && !s->first.established);
  ck_assert_uint_eq(s->first.limit, LIMIT);
  ck_assert_uint_eq(s->first.epoch, 0);
  ck_assert_int_eq(w.asks, 0);
  ck_assert_str_eq(tunnel_info(last).state, "dialing");
  answer(s, 0);
  WORLD_UNTIL(&w, state_is("open"));
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
  static const uint8_t zeros[HEADER_CONNECTION_SIZE];

  begin_connected();
  int a = forward("web"), b = forward("web");
  struct stream *first = stream_at(0), *second = stream_at(1);

  ck_assert_mem_ne(first->first.connection, zeros, sizeof zeros);
  ck_assert_mem_ne(first->first.connection, second->first.connection, sizeof zeros);
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
  world_settle(&w);
  ck_assert(!s->half_closed);
  stream_say_data(&w, s, "answer", true);
  expect(fd, "answer");
  expect_end(fd);
  WORLD_UNTIL(&w, s->half_closed); /* which says that all was taken */
  ck_assert_str_eq(tunnel_info(last).state, "closing");
  world_settle(&w);
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
  world_settle(&w);
  ck_assert(!s->eof && !s->half_closed);
  answer(s, 0);
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
  ck_assert_ptr_nonnull(strstr(sentence, "no service of that name (NOT_FOUND)"));
  expect_reset(fd);
  ck_assert_uint_eq(tunnels_stats(tunnels, TUNNEL_FORWARD, NULL).failed, 1);
}
END_TEST

START_TEST(a_forward_waits_for_the_router)
{
  world_router_stop(&w);
  begin();
  int fd = forward("web");

  put(fd, "early");
  ck_assert(state_is("waiting"));
  world_router_start(&w);
  struct stream *s = stream_at(0);
  WORLD_UNTIL(&w, is(s, "early"));
  ck_assert(state_is("dialing"));
  answer(s, 0);
  WORLD_UNTIL(&w, state_is("open"));
  ck_assert_int_eq(failed + detached, 0);
  close(fd);
}
END_TEST

START_TEST(a_forward_does_not_wait_for_ever)
{
  options.dial_ms = 1000;
  world_router_stop(&w);
  begin();
  int fd = forward("web");

  WORLD_UNTIL(&w, closed == 1);
  ck_assert_ptr_nonnull(strstr(sentence, "no router for 1 s: "));
  expect_reset(fd);
  ck_assert_uint_eq(tunnels_stats(tunnels, TUNNEL_FORWARD, NULL).failed, 1);
}
END_TEST

START_TEST(one_that_waits_is_cut)
{
  world_router_stop(&w);
  begin();
  int fd = forward("web");

  tunnel_cut(last);
  ck_assert_int_eq(closed, 0);
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
}
END_TEST

/* What F must not take for the answer to its dial. */
static struct header wrong_answer(const struct stream *s, int how)
{
  struct header h = stream_answer(s, 0);

  if (how == 0)
    memcpy(h.connection, connection, sizeof h.connection);
  else if (how == 1)
    h.has_connection = false;
  else if (how == 2)
    h.has_member = false;
  else
    h.epoch++;
  return h;
}

START_TEST(an_answer_for_another_connection_is_refused)
{
  begin_connected();
  int fd = forward("web");
  struct stream *s = stream_at(0);
  const struct header h = wrong_answer(s, _i);

  stream_meet(s, false);
  stream_say_header(&w, s, &h);
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
  WORLD_UNTIL(&w, state_is("open"));
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

START_TEST(one_that_asks_is_cut)
{
  begin_with_first_version();
  int fd = forward("web");

  ck_assert(state_is("dialing"));
  tunnel_cut(last);
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
  ck_assert_int_eq(streams.count, 0);
}
END_TEST

START_TEST(an_original_at_the_other_end_is_cut)
{
  begin_connected();
  int fd = forward("web");
  struct stream *s = stream_at(0);

  stream_meet(s, true);
  WORLD_UNTIL(&w, state_is("open"));
  tunnel_cut(last);
  WORLD_UNTIL(&w, closed == 1 && s->call == NULL);
  ck_assert(!s->reset && !s->eof);
  expect_reset(fd);
}
END_TEST

/* ---- Services ---- */

static void expect_our_header(const struct stream *s)
{
  const struct header *h = &s->latest;

  ck_assert_int_eq(s->headers, 2);
  ck_assert(s->ours && h->has_connection && !h->has_member_key && h->limit == LIMIT && h->epoch == 0);
  ck_assert_mem_eq(h->connection, connection, sizeof connection);
}

START_TEST(a_token_is_answered)
{
  const struct header h = stream_dial("web", connection);

  begin_connected();
  struct stream *s = arrive(&h);
  stream_say_data(&w, s, "question", false);
  int fd = accept_target();
  put(fd, "first word");
  expect(fd, "question");
  WORLD_UNTIL(&w, is(s, "first word"));
  expect_our_header(s);
  ck_assert(state_is("open"));
  ck_assert_uint_eq(tunnels_served(tunnels), 1);
  close(fd);
  WORLD_UNTIL(&w, s->eof);
  stream_say_data_at(&w, s, strlen("question"), "", true);
  WORLD_UNTIL(&w, s->half_closed);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
  ck_assert_uint_eq(tunnels_served(tunnels), 0);
}
END_TEST

START_TEST(a_dial_without_a_connection_is_refused)
{
  const struct header h = stream_dial("web", NULL);

  begin_connected();
  struct stream *s = arrive(&h);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "EPROTO");
  ck_assert_int_eq(s->headers, 1);
  ck_assert_int_eq(opened, 0);
  expect_no_target();
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, streams_live() == 0);
}
END_TEST

/* A connection to our service of one of the first version. Returns the target's end. */
static int open_original(struct stream **out)
{
  answers_start(answers, "web", "a-token");
  *out = stream_at(0);
  stream_meet(*out, true);
  return accept_target();
}

START_TEST(an_original_may_dial)
{
  struct stream *s;

  begin_connected();
  int fd = open_original(&s);
  stream_say_data(&w, s, "question", false);
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

START_TEST(an_original_that_dialled_gives_up)
{
  struct stream *s;

  begin_connected();
  int fd = open_original(&s);
  stream_say_data(&w, s, "question", false);
  expect(fd, "question");
  stream_finish(s, RPC_ABORTED, "the other side is gone");
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed + detached, 0);
  expect_reset(fd);
}
END_TEST

/* A parked stream that is dialled, with some data. */
static struct stream *dial_parked(void)
{
  const struct header h = stream_dial("web", connection);
  int before = streams.count;

  parked_update(parked, true);
  WORLD_UNTIL(&w, streams.count == before + PARKED_COUNT);
  struct stream *s = &streams.all[before + 3];
  stream_meet(s, false);
  stream_say_header(&w, s, &h);
  stream_say_data(&w, s, "early", false);
  return s;
}

START_TEST(a_parked_stream_is_a_connection)
{
  begin_connected();
  struct stream *s = dial_parked();
  int fd = accept_target();
  expect(fd, "early");
  put(fd, "answer");
  WORLD_UNTIL(&w, is(s, "answer"));
  expect_our_header(s);
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
  struct stream *s = dial_parked();

  WORLD_UNTIL(&w, s->reset && s->half_closed);
  expect_our_header(s);
  ck_assert_str_eq(s->code, "ECONNREFUSED");
  ck_assert_ptr_nonnull(strstr(s->reason, "Connection refused"));
  ck_assert_ptr_nonnull(strstr(sentence, "connect to "));
  no_secret();
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

START_TEST(a_service_that_is_gone_was_dialled)
{
  begin_connected();
  stream_target = NULL;
  struct stream *s = dial_parked();

  WORLD_UNTIL(&w, s->reset && s->half_closed);
  expect_our_header(s);
  ck_assert_str_eq(s->code, "ENOENT");
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 1);
}
END_TEST

/* A dial that says that it came through so many, by a connection that we may have dialled ourselves. */
static struct stream *dial_after(uint32_t hops, uint64_t origin, uint8_t first)
{
  uint8_t id[sizeof connection];

  memcpy(id, connection, sizeof id);
  id[0] = first;
  struct header h = stream_dial("web", id);
  h.hops = hops;
  h.origin = origin;
  return arrive(&h);
}

static void expect_loop(struct stream *s)
{
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ELOOP");
  ck_assert_ptr_nonnull(strstr(s->reason, "leads back"));
  ck_assert_ptr_nonnull(strstr(sentence, "refused: it came through 9 services"));
  expect_no_target();
}

START_TEST(what_came_through_too_many_is_refused)
{
  begin_connected();
  dial_after(HOPS_MAX, 0, 1);
  int fd = accept_target();
  WORLD_UNTIL(&w, state_is("open"));
  expect_loop(dial_after(HOPS_MAX + 1, 0, 2));
  /* It comes by what was dialled for the first. */
  expect_loop(dial_after(0, hops_accepted(fd, NULL), 3));
  ck_assert_int_eq(failed, 2);
  close(fd);
}
END_TEST

/* Before anything that the client says. */
START_TEST(the_target_is_told_of_the_client)
{
  begin_connected();
  stream_proxy = PROXY_V1;
  struct header h = stream_dial("web", connection);
  h.ends = (struct end_addresses){.client = end_address_parse("192.0.2.1:4711"),
                                  .client_at = end_address_parse("198.51.100.7:443")};
  struct stream *s = arrive(&h);
  stream_say_data(&w, s, "hello", false);
  int fd = accept_target();
  expect(fd, "PROXY TCP4 192.0.2.1 198.51.100.7 4711 443\r\nhello");
  close(fd);
  stream_proxy = PROXY_OFF;
}
END_TEST

START_TEST(what_was_dialled_here_is_recognised_when_it_comes_to_a_forward)
{
  begin_connected();
  struct stream *dialled = dial_after(2, 0, 1);
  int fd = accept_target(), before = streams.count;
  WORLD_UNTIL(&w, dialled->headers == 2 && state_is("open"));
  tunnels_forward(tunnels, "web", fcntl(fd, F_DUPFD_CLOEXEC, 0), "127.0.0.1:1", NULL);
  struct stream *s = stream_at(before);
  WORLD_UNTIL(&w, s->first.has_connection);
  ck_assert_uint_eq(s->first.hops, 3);
  ck_assert_uint_eq(s->first.origin, hops_accepted(fd, NULL));
  close(fd);
}
END_TEST

START_TEST(closes_with_connections_in_every_state)
{
  struct stream *s;

  begin_connected();
  int a = forward("web"), b = forward("web");
  stream_at(1);
  int c = open_forward(&s);
  answers_start(answers, "web", "a-token");
  stream_at(3);
  dial_parked();
  int d = open_forward(&s);
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  close(a);
  close(b);
  close(c);
  close(d);
}
END_TEST

static void add_forwards(Suite *suite)
{
  TCase *t = add_case(suite, "forwards");

  tcase_add_test(t, a_forward_dials_by_name_and_does_not_wait);
  tcase_add_test(t, no_two_connections_are_named_alike);
  tcase_add_test(t, the_ends_are_said_one_by_one);
  tcase_add_test(t, an_early_end_is_said_once_somebody_answered);
  tcase_add_test(t, the_router_knows_no_such_service);
  tcase_add_test(t, a_forward_waits_for_the_router);
  tcase_add_test(t, a_forward_does_not_wait_for_ever);
  tcase_add_test(t, one_that_waits_is_cut);
  tcase_add_loop_test(t, an_answer_for_another_connection_is_refused, 0, 4);
  tcase_add_test(t, a_reset_of_the_other_side_is_told_and_passed_on);
  tcase_add_test(t, a_reset_of_the_application_is_said);
  tcase_add_test(t, one_that_is_cut_is_reset_on_both_sides);
  tcase_add_test(t, an_original_at_the_other_end_hears_nothing_in_band);
  tcase_add_test(t, one_that_asks_is_cut);
  tcase_add_test(t, an_original_at_the_other_end_is_cut);
  tcase_add_test(t, a_router_of_the_first_version_is_asked_for_a_token);
  tcase_add_test(t, a_router_of_the_first_version_knows_no_such_service);
}

static void add_services(Suite *suite)
{
  TCase *t = add_case(suite, "services");

  tcase_add_test(t, a_token_is_answered);
  tcase_add_test(t, a_dial_without_a_connection_is_refused);
  tcase_add_test(t, an_original_may_dial);
  tcase_add_test(t, an_original_that_dialled_gives_up);
  tcase_add_test(t, a_parked_stream_is_a_connection);
  tcase_add_test(t, a_target_refuses_after_early_data);
  tcase_add_test(t, a_service_that_is_gone_was_dialled);
  tcase_add_test(t, what_came_through_too_many_is_refused);
  tcase_add_test(t, what_was_dialled_here_is_recognised_when_it_comes_to_a_forward);
  tcase_add_test(t, the_target_is_told_of_the_client);
  tcase_add_test(t, closes_with_connections_in_every_state);
}

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon tunnels");

  add_forwards(suite);
  add_services(suite);
  return suite;
}
