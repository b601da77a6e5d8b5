/* Forwards whose streams and routers go: what they say on the next stream, and when they give up. */
#include "fixture_daemon_tunnels.h"
#include "runner.h"

/* An open forward that has sent "one " and received "eins ", and then lost its stream. */
static int open_and_lose(struct stream **next)
{
  struct stream *s;
  int fd = open_forward(&s);

  put(fd, "one ");
  stream_say_data(&w, s, "eins ", false);
  expect(fd, "eins ");
  WORLD_UNTIL(&w, is(s, "one "));
  lose(s);
  *next = stream_at(1);
  return fd;
}

static void expect_attachment(const struct stream *s, const struct stream *former, uint64_t epoch, uint64_t received)
{
  const struct header *h = &s->first;

  ck_assert(s->ours && h->has_member_key && h->has_connection && h->has_attach && h->established && !h->park);
  ck_assert_str_eq(h->service, "");
  ck_assert_str_eq(h->token, "");
  ck_assert_mem_eq(h->connection, former->first.connection, sizeof h->connection);
  ck_assert_uint_eq(h->attach[0], 7);
  ck_assert_uint_eq(h->epoch, epoch);
  ck_assert_uint_eq(h->received, received);
  ck_assert_uint_eq(h->limit, LIMIT);
}

/* ---- Before an answer ---- */

START_TEST(lost_before_an_answer_it_dials_again)
{
  begin_connected();
  int fd = forward("web");
  put(fd, "early");
  struct stream *first = stream_at(0);
  WORLD_UNTIL(&w, is(first, "early"));
  lose(first);
  struct stream *s = stream_at(1);
  ck_assert_str_eq(s->first.service, "web");
  ck_assert(!s->first.established && !s->first.has_attach && s->first.epoch == 1);
  ck_assert_mem_eq(s->first.connection, first->first.connection, sizeof s->first.connection);
  WORLD_UNTIL(&w, is(s, "early"));
  ck_assert_uint_eq(s->offset, 0);
  answer(s, 0);
  WORLD_UNTIL(&w, state_is("open"));
  ck_assert_int_eq(detached + resumed + failed, 0);
  close(fd);
}
END_TEST

START_TEST(nobody_answers)
{
  options.dial_ms = 500;
  begin_connected();
  int fd = forward("web");
  stream_at(0);
  world_router_stop(&w);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_ptr_nonnull(strstr(sentence, "no answer in "));
  ck_assert_ptr_nonnull(strstr(sentence, "the last error was: "));
  expect_reset(fd);
}
END_TEST

START_TEST(cut_before_an_answer_it_says_so_later)
{
  begin_connected();
  int fd = forward("web");
  struct stream *s = stream_at(0);
  tunnel_cut(last);
  expect_reset(fd);
  ck_assert_int_eq(closed, 0);
  lose(s);
  s = stream_at(1);
  ck_assert(!s->reset);
  answer(s, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ECONNABORTED");
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

/* Whoever has more than one service to ask may ask another one. */
START_TEST(it_is_known_when_no_target_got_anything)
{
  static const struct {
    const char *code; /* NULL: the router gives it up */
    bool lost, unreached;
    enum rpc_status status;
  } cases[] = {{.code = "ECONNREFUSED", .unreached = true},
               {.code = "EAI_NONAME", .unreached = true},
               {.code = "ENOENT", .unreached = true, .lost = true},
               {.code = ""},
               {.code = "ETIMEDOUT"},
               {.code = "ECONNABORTED"},
               {.status = RPC_NOT_FOUND, .unreached = true},
               {.status = RPC_DEADLINE_EXCEEDED, .unreached = true},
               {.status = RPC_NOT_FOUND, .lost = true},
               {.status = RPC_RESOURCE_EXHAUSTED}};
  begin_connected();
  int fd = forward("web");
  put(fd, "early");
  struct stream *s = stream_at(0);
  if (cases[_i].lost) {
    lose(s);
    s = stream_at(1);
  }
  stream_meet(s, false);
  if (cases[_i].code != NULL)
    stream_say_reset(&w, s, cases[_i].code, "a reason");
  else
    stream_finish(s, cases[_i].status, "a reason");
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(unreached, cases[_i].unreached);
  close(fd);
}
END_TEST

/* ---- Detached and resumed ---- */

START_TEST(it_is_detached_and_goes_on)
{
  struct stream *s;

  begin_connected();
  int fd = open_and_lose(&s);
  ck_assert_int_eq(detached, 1);
  ck_assert_uint_eq(tunnels_detached(tunnels), 1);
  ck_assert_ptr_nonnull(strstr(why_detached, "lost (UNAVAILABLE)"));
  ck_assert(state_is("detached 0s"));
  expect_attachment(s, &streams.all[0], 1, strlen("eins "));
  put(fd, "two");
  world_settle(&w);
  ck_assert_uint_eq(s->size, 0); /* the other side says first from where */
  answer(s, strlen("one "));
  WORLD_UNTIL(&w, is(s, "two"));
  ck_assert_uint_eq(s->offset, strlen("one "));
  stream_say_data_at(&w, s, strlen("eins "), "zwei", false);
  expect(fd, "zwei");
  ck_assert_int_eq(resumed, 1);
  ck_assert_uint_eq(tunnels_detached(tunnels), 0);
  ck_assert(state_is("open"));
  ck_assert_int_eq(failed, 0);
  no_secret();
  close(fd);
}
END_TEST

START_TEST(what_did_not_arrive_is_sent_again)
{
  static const char all[] = "one two";
  struct stream *s;

  begin_connected();
  int fd = open_and_lose(&s);
  put(fd, "two");
  answer(s, (uint64_t)_i);
  WORLD_UNTIL(&w, s->offset + s->size == strlen(all));
  ck_assert_uint_le(s->offset, (unsigned)_i); /* what is before that is dropped there */
  ck_assert(is(s, all + s->offset));
  close(fd);
}
END_TEST

START_TEST(what_came_already_is_not_taken_twice)
{
  static const char all[] = "eins zwei";
  struct stream *s;

  begin_connected();
  int fd = open_and_lose(&s);
  answer(s, strlen("one "));
  stream_say_data_at(&w, s, (uint64_t)_i, all + _i, true);
  expect(fd, "zwei");
  expect_end(fd);
  close(fd);
}
END_TEST

START_TEST(the_router_goes_and_comes_back)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  world_router_stop(&w);
  WORLD_UNTIL(&w, detached == 1);
  put(fd, "hello");
  world_router_start(&w);
  s = stream_at(1);
  answer(s, 0);
  WORLD_UNTIL(&w, is(s, "hello"));
  ck_assert_int_eq(resumed, 1);
  close(fd);
}
END_TEST

START_TEST(with_a_router_of_the_first_version_it_waits)
{
  struct stream *s;

  options.hold_ms = 20000;
  begin_connected();
  int fd = open_forward(&s);
  world_router_stop(&w);
  WORLD_UNTIL(&w, detached == 1);
  w.router.watch_status = RPC_UNIMPLEMENTED;
  w.router.first_version = true;
  world_router_start(&w);
  WORLD_UNTIL(&w, w.connects == 2);
  world_settle(&w);
  ck_assert_int_eq(streams.count, 1);
  ck_assert(state_is("detached"));
  close(fd);
}
END_TEST

START_TEST(it_is_given_up_in_the_end)
{
  struct stream *s;

  options.hold_ms = 1000;
  begin_connected();
  int fd = open_forward(&s);
  world_router_stop(&w);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_ptr_nonnull(strstr(sentence, "given up after 1 s without a way to the other side: "));
  expect_reset(fd);
  ck_assert_uint_eq(tunnels_detached(tunnels), 0);
  no_secret();
}
END_TEST

/* ---- Attachments that fail ---- */

/* Each in its way does not let it go on. */
static void turn_away(struct stream *s, int how)
{
  struct header h = stream_answer(s, 0);

  if (how == 0) {
    stream_finish(s, RPC_NOT_FOUND, "that member is not here");
    return;
  }
  if (how == 1) {
    stream_say_refused(&w, s, "not now");
    return;
  }
  if (how == 2)
    h.member[0] = OTHER_MEMBER;
  else if (how == 3)
    h.epoch--;
  else if (how == 4)
    h.received = strlen("one ") + 1;
  else
    memcpy(h.connection, connection, sizeof h.connection);
  stream_meet(s, false);
  stream_say_header(&w, s, &h);
}

START_TEST(one_that_fails_is_tried_again)
{
  struct stream *s;

  begin_connected();
  int fd = open_and_lose(&s);
  turn_away(s, _i);
  struct stream *next = stream_at(2);
  WORLD_UNTIL(&w, s->call == NULL);
  expect_attachment(next, &streams.all[0], 2, strlen("eins "));
  answer(next, strlen("one "));
  put(fd, "two");
  WORLD_UNTIL(&w, is(next, "two"));
  ck_assert_int_eq(failed, 0);
  ck_assert(detached == 1 && resumed == 1);
  close(fd);
}
END_TEST

START_TEST(the_other_side_does_not_know_it_any_more)
{
  struct stream *s;

  begin_connected();
  int fd = open_and_lose(&s);
  stream_meet(s, false);
  stream_say_reset(&w, s, "ECONNRESET", "this side does not know the connection any more");
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
  ck_assert_ptr_nonnull(strstr(sentence, "the other side: this side does not know the connection any more"));
}
END_TEST

/* ---- Last words ---- */

START_TEST(a_last_word_that_is_lost_is_said_again)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  put(fd, "all");
  shutdown(fd, SHUT_WR);
  WORLD_UNTIL(&w, s->eof);
  stream_say_data(&w, s, "done", true);
  expect(fd, "done");
  expect_end(fd);
  WORLD_UNTIL(&w, s->half_closed);
  lose(s);
  s = stream_at(1);
  expect_attachment(s, &streams.all[0], 1, strlen("done") + 1);
  answer(s, (uint64_t)_i);
  WORLD_UNTIL(&w, s->half_closed);
  ck_assert_int_eq(s->eof, _i < 4);
  ck_assert(!s->eof || (s->offset <= (unsigned)_i && is(s, &"all"[s->offset])));
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
  close(fd);
}
END_TEST

START_TEST(both_end_while_it_is_detached)
{
  struct stream *s;

  begin_connected();
  int fd = open_and_lose(&s);
  put(fd, "two");
  shutdown(fd, SHUT_WR);
  answer(s, strlen("one "));
  WORLD_UNTIL(&w, is(s, "two") && s->eof);
  stream_say_data_at(&w, s, strlen("eins "), "", true);
  WORLD_UNTIL(&w, s->half_closed);
  expect_end(fd);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  close(fd);
}
END_TEST

START_TEST(a_reset_that_may_be_lost_is_said_again)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  tunnel_cut(last);
  WORLD_UNTIL(&w, s->reset);
  expect_reset(fd);
  lose(s);
  s = stream_at(1);
  answer(s, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ECONNABORTED");
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
}
END_TEST

START_TEST(cut_while_it_is_detached_it_says_so_later)
{
  struct stream *s;

  begin_connected();
  int fd = open_forward(&s);
  world_router_stop(&w);
  WORLD_UNTIL(&w, detached == 1);
  tunnel_cut(last);
  expect_reset(fd);
  ck_assert_int_eq(closed, 0);
  world_router_start(&w);
  s = stream_at(1);
  answer(s, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
}
END_TEST

/* ---- Make before break ---- */

START_TEST(it_moves_to_another_stream)
{
  struct stream *s, *next;

  begin_connected();
  int fd = open_forward(&s);
  put(fd, "one ");
  WORLD_UNTIL(&w, is(s, "one "));
  link_renew(w.link);
  next = stream_at(1);
  ck_assert_int_eq(w.renewals, 1);
  expect_attachment(next, s, 1, 0);
  stream_say_data(&w, s, "eins ", false);
  expect(fd, "eins ");
  put(fd, "two ");
  WORLD_UNTIL(&w, is(s, "one two ")); /* the former one works on */
  answer(next, strlen("one two "));
  WORLD_UNTIL(&w, s->call == NULL);
  put(fd, "three");
  WORLD_UNTIL(&w, is(next, "three"));
  ck_assert_uint_eq(next->offset, strlen("one two "));
  stream_say_data_at(&w, next, strlen("eins "), "zwei", false);
  expect(fd, "zwei");
  ck_assert_int_eq(detached + resumed + failed, 0);
  close(fd);
}
END_TEST

START_TEST(it_moves_before_its_stream_is_too_old)
{
  struct stream *s, *next;

  w.router.stream_age_ms = 1500;
  begin_connected();
  w.on_renewed = NULL;
  int fd = open_forward(&s);
  next = stream_at(1);
  ck_assert_ptr_nonnull(s->call);
  answer(next, 0);
  WORLD_UNTIL(&w, s->call == NULL);
  put(fd, "hello");
  WORLD_UNTIL(&w, is(next, "hello"));
  ck_assert_int_eq(detached, 0);
  close(fd);
}
END_TEST

START_TEST(the_former_stream_is_lost_before_the_next_is_there)
{
  struct stream *s, *next;

  begin_connected();
  int fd = open_forward(&s);
  tunnels_renew(tunnels);
  next = stream_at(1);
  lose(s);
  WORLD_UNTIL(&w, s->call == NULL);
  put(fd, "hello");
  answer(next, 0);
  WORLD_UNTIL(&w, is(next, "hello"));
  ck_assert_int_eq(detached + resumed, 0); /* not worth a word */
  ck_assert_int_eq(streams.count, 2);
  close(fd);
}
END_TEST

START_TEST(the_next_stream_is_lost_while_the_former_works)
{
  struct stream *s, *next;

  begin_connected();
  int fd = open_forward(&s);
  tunnels_renew(tunnels);
  next = stream_at(1);
  lose(next);
  next = stream_at(2);
  put(fd, "one ");
  WORLD_UNTIL(&w, is(s, "one "));
  answer(next, strlen("one "));
  WORLD_UNTIL(&w, s->call == NULL);
  put(fd, "two");
  WORLD_UNTIL(&w, is(next, "two"));
  ck_assert_int_eq(detached, 0);
  close(fd);
}
END_TEST

/* ---- The other side's process ---- */

START_TEST(the_peer_is_lost)
{
  const uint8_t lost[HEADER_MEMBER_SIZE] = {7}, another[HEADER_MEMBER_SIZE] = {OTHER_MEMBER};
  struct stream *s;

  begin_connected();
  int fd = _i == 0 ? open_forward(&s) : open_and_lose(&s);
  tunnels_peer_lost(tunnels, another);
  ck_assert_int_eq(closed, 0);
  tunnels_peer_lost(tunnels, lost);
  ck_assert_int_eq(closed, 1);
  expect_reset(fd);
  ck_assert_ptr_nonnull(strstr(sentence, "the mmfs at the other side was started again"));
  WORLD_UNTIL(&w, streams_live() == 0);
}
END_TEST

START_TEST(the_one_that_is_lost_may_not_be_ours)
{
  const uint8_t lost[HEADER_MEMBER_SIZE] = {0};

  begin_connected();
  int fd = forward("web");
  stream_at(0);
  tunnels_peer_lost(tunnels, lost);
  ck_assert_int_eq(closed, 0);
  close(fd);
}
END_TEST

static void add_streams(Suite *suite)
{
  TCase *t = add_case(suite, "streams");

  tcase_add_test(t, lost_before_an_answer_it_dials_again);
  tcase_add_test(t, nobody_answers);
  tcase_add_test(t, cut_before_an_answer_it_says_so_later);
  tcase_add_loop_test(t, it_is_known_when_no_target_got_anything, 0, 10);
  tcase_add_test(t, it_is_detached_and_goes_on);
  tcase_add_loop_test(t, what_did_not_arrive_is_sent_again, 0, 5);
  tcase_add_loop_test(t, what_came_already_is_not_taken_twice, 0, 6);
  tcase_add_test(t, the_router_goes_and_comes_back);
  tcase_add_test(t, with_a_router_of_the_first_version_it_waits);
  tcase_add_test(t, it_is_given_up_in_the_end);
  tcase_add_loop_test(t, one_that_fails_is_tried_again, 0, 6);
  tcase_add_test(t, the_other_side_does_not_know_it_any_more);
}

static void add_ends(Suite *suite)
{
  TCase *t = add_case(suite, "ends");

  tcase_add_loop_test(t, a_last_word_that_is_lost_is_said_again, 0, 5);
  tcase_add_test(t, both_end_while_it_is_detached);
  tcase_add_test(t, a_reset_that_may_be_lost_is_said_again);
  tcase_add_test(t, cut_while_it_is_detached_it_says_so_later);
  tcase_add_test(t, it_moves_to_another_stream);
  tcase_add_test(t, it_moves_before_its_stream_is_too_old);
  tcase_add_test(t, the_former_stream_is_lost_before_the_next_is_there);
  tcase_add_test(t, the_next_stream_is_lost_while_the_former_works);
  tcase_add_loop_test(t, the_peer_is_lost, 0, 2);
  tcase_add_test(t, the_one_that_is_lost_may_not_be_ours);
}

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon tunnels, forwards that survive");

  add_streams(suite);
  add_ends(suite);
  return suite;
}
