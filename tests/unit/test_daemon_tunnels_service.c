/* Connections to our services whose streams go: who may go on with one, and what is told of one that is over. */
#include "fixture_daemon_tunnels.h"

#include <sys/resource.h>

#include "carry/tunnel/tunnels_internal.h"

#include "failing.h"
#include "runner.h"

static struct stream *attach(uint64_t epoch, uint64_t received)
{
  const struct header h = attachment(epoch, received);

  return arrive(&h);
}

/* A connection that has received "one " and sent "eins ". Returns the target's end. */
static int open_busy(struct stream **out)
{
  int fd = open_service(out);

  stream_say_data(&w, *out, "one ", false);
  expect(fd, "one ");
  put(fd, "eins ");
  WORLD_UNTIL(&w, is(*out, "eins "));
  return fd;
}

static void expect_answer(const struct stream *s, uint64_t epoch, uint64_t received)
{
  const struct header *h = &s->latest;

  WORLD_UNTIL(&w, s->headers == 2);
  ck_assert(s->ours && h->has_connection && !h->has_member_key && !h->has_attach);
  ck_assert_mem_eq(h->connection, connection, sizeof connection);
  ck_assert_uint_eq(h->epoch, epoch);
  ck_assert_uint_eq(h->received, received);
}

/* ---- It goes on ---- */

START_TEST(it_is_detached_and_goes_on)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  ck_assert(state_is("detached 0s"));
  ck_assert_uint_eq(tunnels_detached(tunnels), 1);
  put(fd, "zwei");
  s = attach(1, strlen("eins "));
  expect_answer(s, 1, strlen("one "));
  WORLD_UNTIL(&w, is(s, "zwei"));
  ck_assert_uint_eq(s->offset, strlen("eins "));
  stream_say_data_at(&w, s, strlen("one "), "two", false);
  expect(fd, "two");
  ck_assert_int_eq(resumed, 1);
  ck_assert_uint_eq(tunnels_detached(tunnels), 0);
  ck_assert_int_eq(opened, 1);
  expect_no_target();
  no_secret();
  close(fd);
}
END_TEST

/* For that it is held longer. By an ack of something, or of nothing. */
START_TEST(the_other_side_has_heard_of_it)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  if (_i == 0) {
    stream_say_ack(&w, s, strlen("eins "), 1);
    WORLD_UNTIL(&w, tunnel_info(last).unacked == 0);
  } else if (_i == 1) {
    stream_say_ack(&w, s, 0, 0);
    stream_say_data_at(&w, s, strlen("one "), "two", false);
    expect(fd, "two");
  }
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  ck_assert_int_eq(last->machine.heard, _i < 2);
  s = attach(1, 0);
  WORLD_UNTIL(&w, resumed == 1);
  ck_assert(last->machine.heard);
  close(fd);
}
END_TEST

START_TEST(what_did_not_arrive_is_sent_again)
{
  static const char all[] = "eins zwei";
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  put(fd, "zwei");
  s = attach(5, (uint64_t)_i);
  WORLD_UNTIL(&w, s->offset + s->size == strlen(all));
  ck_assert_uint_le(s->offset, (unsigned)_i);
  ck_assert(is(s, all + s->offset));
  close(fd);
}
END_TEST

START_TEST(dialled_again_it_does_not_dial_its_target_again)
{
  struct header h = stream_dial("web", connection);
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  if (_i == 0)
    lose(s); /* otherwise only the other side has lost it */
  h.epoch = 1;
  struct stream *next = arrive(&h);
  stream_say_data(&w, next, "one two", false);
  expect_answer(next, 1, strlen("one "));
  WORLD_UNTIL(&w, is(next, "eins "));
  expect(fd, "two");
  WORLD_UNTIL(&w, s->call == NULL);
  expect_no_target();
  ck_assert_int_eq(opened, 1);
  close(fd);
}
END_TEST

static size_t fails_at; /* the Nth allocation */

static void memory_becomes_short(void)
{
  fail_allocation(fails_at);
}

static void memory_is_enough(void)
{
  fail_allocation(0);
}

/* Its stream ends, and who dials tries again: what begins is found by who comes back to it. */
START_TEST(memory_is_short_when_it_comes)
{
  struct header h = stream_dial("web", connection);

  begin_connected();
  opening_begins = memory_becomes_short;
  opening_ends = memory_is_enough;
  for (fails_at = FAILING_WORKS; opened == 0; fails_at++, h.epoch++) {
    struct stream *s = arrive(&h);
    WORLD_UNTIL(&w, opened == 1 || s->call == NULL);
  }
  ck_assert(!FAILING_WORKS || h.epoch > 4);
  opening_begins = opening_ends = NULL;
  int fd = accept_target();
  expect_answer(attach(h.epoch, 0), h.epoch, 0);
  put(fd, "eins");
  WORLD_UNTIL(&w, is(&streams.all[streams.count - 1], "eins"));
  expect_no_target();
  close(fd);
}
END_TEST

START_TEST(dialled_again_while_its_target_is_dialled)
{
  struct header h = stream_dial("web", connection);

  begin_connected();
  struct stream *s = arrive(&h);
  WORLD_UNTIL(&w, s->headers == 2);
  h.epoch = 3;
  struct stream *next = arrive(&h);
  expect_answer(next, 3, 0);
  int fd = accept_target();
  stream_say_data(&w, next, "question", false);
  expect(fd, "question");
  expect_no_target();
  close(fd);
}
END_TEST

START_TEST(it_moves_to_another_stream)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  struct stream *next = attach(1, strlen("eins "));
  expect_answer(next, 1, strlen("one "));
  WORLD_UNTIL(&w, s->call == NULL);
  stream_say_data_at(&w, next, strlen("one "), "two", true);
  expect(fd, "two");
  expect_end(fd);
  put(fd, "zwei");
  WORLD_UNTIL(&w, is(next, "zwei"));
  ck_assert_int_eq(detached + resumed, 0);
  close(fd);
}
END_TEST

START_TEST(the_router_is_lost_and_comes_back)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  world_router_stop(&w);
  WORLD_UNTIL(&w, detached == 1);
  world_router_start(&w);
  WORLD_UNTIL(&w, w.connects == 2);
  s = attach(1, strlen("eins "));
  expect_answer(s, 1, strlen("one "));
  put(fd, "zwei");
  WORLD_UNTIL(&w, is(s, "zwei"));
  close(fd);
}
END_TEST

/* ---- It does not ---- */

/* Attachments that have no part in it. */
static struct header intruder(int how)
{
  struct header h = attachment(7, strlen("eins "));

  if (how == 0)
    h.member[0] = OTHER_MEMBER;
  else if (how == 1)
    h.epoch = 2;
  else if (how == 2)
    h.epoch = 1;
  else if (how == 3)
    h.received = strlen("eins ") + 1;
  else
    h = stream_dial("web", connection);
  return h;
}

START_TEST(the_live_stream_is_not_disturbed)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  s = attach(2, strlen("eins "));
  expect_answer(s, 2, strlen("one "));
  const struct header h = intruder(_i);
  struct stream *other = arrive(&h);
  WORLD_UNTIL(&w, other->refused && other->half_closed);
  ck_assert_int_eq(other->headers, 1);
  ck_assert_uint_eq(other->size, 0);
  stream_finish(other, RPC_OK, NULL);
  put(fd, "zwei");
  WORLD_UNTIL(&w, is(s, "zwei"));
  stream_say_data_at(&w, s, strlen("one "), "two", false);
  expect(fd, "two");
  ck_assert_int_eq(detached + failed, 0);
  expect_no_target();
  close(fd);
}
END_TEST

START_TEST(one_that_is_refused_does_not_make_it_less_detached)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  s = attach(2, strlen("eins "));
  expect_answer(s, 2, strlen("one "));
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  const struct header h = intruder(_i);
  s = arrive(&h);
  WORLD_UNTIL(&w, s->refused && s->half_closed);
  ck_assert(state_is("detached"));
  ck_assert_int_eq(resumed, 0);
  s = attach(8, 0);
  expect_answer(s, 8, strlen("one "));
  WORLD_UNTIL(&w, is(s, "eins "));
  close(fd);
}
END_TEST

START_TEST(one_that_is_not_known_is_reset)
{
  begin_connected();
  struct stream *s = attach(1, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ECONNRESET");
  ck_assert_int_eq(opened, 0);
  expect_no_target();
}
END_TEST

/* ---- The end, and after it ---- */

/* Both ends are said, and heard. */
static void end_well(int fd, struct stream *s)
{
  stream_say_eof(&w, s);
  expect_end(fd);
  close(fd);
  WORLD_UNTIL(&w, s->eof && s->half_closed);
}

START_TEST(one_that_ended_well_has_a_tombstone)
{
  struct stream *s;

  begin_connected();
  int fd = open_service(&s);
  end_well(fd, s);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  s = attach(1, 1);
  expect_answer(s, 1, 1);
  WORLD_UNTIL(&w, s->half_closed);
  ck_assert(!s->reset && !s->refused);
  const struct header again = stream_dial("web", connection);
  s = arrive(&again);
  WORLD_UNTIL(&w, s->half_closed);
  ck_assert_int_eq(opened, 1);
  expect_no_target();
}
END_TEST

START_TEST(a_tombstone_is_for_who_dialled)
{
  struct stream *s;

  begin_connected();
  int fd = open_service(&s);
  end_well(fd, s);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  struct header h = attachment(1, 0);
  h.member[0] = OTHER_MEMBER;
  s = arrive(&h);
  WORLD_UNTIL(&w, s->refused && s->half_closed);
  ck_assert_int_eq(s->headers, 1);
}
END_TEST

START_TEST(a_tombstone_tells_why_it_was_reset)
{
  const struct header h = stream_dial("web", connection);

  begin_connected();
  close_target();
  struct stream *s = arrive(&h);
  WORLD_UNTIL(&w, s->reset);
  lose(s);
  WORLD_UNTIL(&w, closed == 1);
  s = attach(1, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_int_eq(s->headers, 2);
  ck_assert_str_eq(s->code, "ECONNREFUSED");
  ck_assert_ptr_nonnull(strstr(s->reason, "Connection refused"));
}
END_TEST

START_TEST(a_last_word_that_is_lost_is_said_again)
{
  struct stream *s;

  begin_connected();
  int fd = open_service(&s);
  end_well(fd, s);
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  s = attach(1, 0);
  expect_answer(s, 1, 1);
  WORLD_UNTIL(&w, s->half_closed);
  ck_assert(s->eof && !s->reset);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
}
END_TEST

START_TEST(both_end_while_it_is_detached)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  stream_say_eof(&w, s);
  expect_end(fd);
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  put(fd, "zwei");
  close(fd);
  s = attach(1, strlen("eins "));
  expect_answer(s, 1, strlen("one ") + 1);
  WORLD_UNTIL(&w, is(s, "zwei") && s->eof && s->half_closed);
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1);
  ck_assert_int_eq(failed, 0);
}
END_TEST

START_TEST(cut_while_it_is_detached)
{
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  lose(s);
  WORLD_UNTIL(&w, detached == 1);
  tunnel_cut(last);
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
  s = attach(1, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ECONNABORTED");
}
END_TEST

START_TEST(cut_while_its_target_is_dialled)
{
  const struct header h = stream_dial("web", connection);

  begin_connected();
  cut_at_once = true;
  struct stream *s = arrive(&h);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ECONNABORTED");
  int fd = accept_target();
  stream_finish(s, RPC_OK, NULL);
  WORLD_UNTIL(&w, closed == 1 && peek(fd) != -EAGAIN);
  close(fd);
}
END_TEST

START_TEST(nobody_goes_on_with_it)
{
  struct stream *s;

  options.hold_ms = 1000;
  begin_connected();
  int fd = open_busy(&s);
  lose(s);
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
  ck_assert_ptr_nonnull(strstr(sentence, "given up after 1 s without a way to the other side: lost"));
  s = attach(1, 0);
  WORLD_UNTIL(&w, s->reset && s->half_closed);
  ck_assert_str_eq(s->code, "ETIMEDOUT");
}
END_TEST

START_TEST(the_peer_is_lost)
{
  const uint8_t lost[HEADER_MEMBER_SIZE] = {7}, another[HEADER_MEMBER_SIZE] = {OTHER_MEMBER};
  struct stream *s;

  begin_connected();
  int fd = open_busy(&s);
  if (_i == 0)
    lose(s);
  WORLD_UNTIL(&w, _i != 0 || detached == 1);
  tunnels_peer_lost(tunnels, another);
  ck_assert_int_eq(closed, 0);
  tunnels_peer_lost(tunnels, lost);
  ck_assert_int_eq(closed, 1);
  expect_reset(fd);
  ck_assert_uint_eq(tunnels_detached(tunnels), 0);
}
END_TEST

START_TEST(an_original_that_is_lost_is_over)
{
  begin_connected();
  answers_start(answers, "web", "a-token");
  struct stream *s = stream_at(0);
  stream_meet(s, true);
  int fd = accept_target();
  WORLD_UNTIL(&w, state_is("open"));
  lose(s);
  WORLD_UNTIL(&w, closed == 1);
  expect_reset(fd);
  ck_assert_int_eq(detached, 0);
}
END_TEST

/* ---- Caps ---- */

enum { HELD = 3 };

static void limit_files(rlim_t most)
{
  struct rlimit files;

  ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
  files.rlim_cur = most;
  ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
}

/* HELD connections. */
static void open_some(struct stream **s, int *fd)
{
  for (int i = 0; i < HELD; i++) {
    struct header h = stream_dial("web", connection);

    h.connection[15] = (uint8_t)i;
    s[i] = arrive(&h);
    fd[i] = accept_target();
    WORLD_UNTIL(&w, s[i]->headers == 2 && state_is("open"));
  }
}

/* One less may be detached: the first is given up. */
static void lose_all(struct stream **s)
{
  struct rlimit files;

  ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
  limit_files(UINT64_C(2) * (HELD - 1));
  for (int i = 0; i < HELD; i++) {
    lose(s[i]);
    WORLD_UNTIL(&w, detached == i + 1);
  }
  limit_files(files.rlim_cur);
  ck_assert_int_eq(closed, 1);
  ck_assert_uint_eq(tunnels_detached(tunnels), HELD - 1);
  ck_assert_ptr_nonnull(strstr(sentence, "given up while detached"));
}

START_TEST(the_oldest_is_given_up)
{
  struct stream *s[HELD];
  int fd[HELD];

  begin_connected();
  open_some(s, fd);
  lose_all(s);
  expect_reset(fd[0]);
  struct stream *late = attach(1, 0);
  WORLD_UNTIL(&w, late->reset && late->half_closed);
  ck_assert_str_eq(late->code, "ECONNABORTED");
  for (int i = 1; i < HELD; i++)
    close(fd[i]);
}
END_TEST

/* One that has said its last word is given up as any other. */
START_TEST(one_that_ended_is_given_up)
{
  struct stream *s[HELD];
  int fd[HELD];

  begin_connected();
  open_some(s, fd);
  end_well(fd[0], s[0]);
  lose_all(s);
  for (int i = 1; i < HELD; i++)
    close(fd[i]);
}
END_TEST

static void add_attachments(Suite *suite)
{
  TCase *t = add_case(suite, "attachments");

  tcase_add_test(t, it_is_detached_and_goes_on);
  tcase_add_loop_test(t, the_other_side_has_heard_of_it, 0, 3);
  tcase_add_loop_test(t, what_did_not_arrive_is_sent_again, 0, 6);
  tcase_add_loop_test(t, dialled_again_it_does_not_dial_its_target_again, 0, 2);
  tcase_add_test(t, memory_is_short_when_it_comes);
  tcase_add_test(t, dialled_again_while_its_target_is_dialled);
  tcase_add_test(t, it_moves_to_another_stream);
  tcase_add_test(t, the_router_is_lost_and_comes_back);
  tcase_add_loop_test(t, the_live_stream_is_not_disturbed, 0, 5);
  tcase_add_loop_test(t, one_that_is_refused_does_not_make_it_less_detached, 0, 5);
  tcase_add_test(t, one_that_is_not_known_is_reset);
}

static void add_ends(Suite *suite)
{
  TCase *t = add_case(suite, "ends");

  tcase_add_test(t, one_that_ended_well_has_a_tombstone);
  tcase_add_test(t, a_tombstone_is_for_who_dialled);
  tcase_add_test(t, a_tombstone_tells_why_it_was_reset);
  tcase_add_test(t, a_last_word_that_is_lost_is_said_again);
  tcase_add_test(t, both_end_while_it_is_detached);
  tcase_add_test(t, cut_while_it_is_detached);
  tcase_add_test(t, cut_while_its_target_is_dialled);
  tcase_add_test(t, nobody_goes_on_with_it);
  tcase_add_loop_test(t, the_peer_is_lost, 0, 2);
  tcase_add_test(t, an_original_that_is_lost_is_over);
  tcase_add_test(t, the_oldest_is_given_up);
  tcase_add_test(t, one_that_ended_is_given_up);
}

Suite *test_suite(void)
{
  Suite *suite = suite_create("daemon tunnels, services that survive");

  add_attachments(suite);
  add_ends(suite);
  return suite;
}
