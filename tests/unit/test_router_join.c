/* A real router: who joins, what a newer process takes over, and who hears that a member is over. */
#include "fixture_router_joining.h"
#include "runner.h"

START_TEST(test_join)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f);
  ck_assert(!may_park(&f, first));
  joins(&f, w, first, 'a', 1);
  ck_assert(may_park(&f, first));
  ck_assert(!may_park(&f, second));
  struct watch *other = watch(&f);
  joins(&f, other, second, 'b', 0);
  ck_assert_int_ne(memcmp(w->challenge, other->challenge, sizeof w->challenge), 0);
  ck_assert_uint_eq(w->supersessions + other->supersessions, 0);
  ck_assert_uint_eq(w->lost_count + other->lost_count, 0);
  watch_drop(w);
  watch_drop(other);
  /* It is over with its watch. */
  FIXTURE_UNTIL(&f, !may_park(&f, first));
  fixture_close(&f);
}
END_TEST

START_TEST(test_challenge_is_used_up)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f), *open = watch(&f);
  const struct request q = request_of(w, first, 'a', 1);
  joins_as(&f, &q);
  refused_as(&f, &q, RPC_PERMISSION_DENIED, "challenge");
  struct request unknown = request_of(w, first, 'a', 1);
  uint8_t bytes[IDENTITY_CHALLENGE_SIZE] = {1};
  unknown.challenge = bytes;
  refused_as(&f, &unknown, RPC_PERMISSION_DENIED, "challenge");
  /* Of a watch that is closed it is as good as none. */
  memcpy(bytes, open->challenge, sizeof bytes);
  watch_drop(open);
  refused_as(&f, &unknown, RPC_PERMISSION_DENIED, "challenge");
  ck_assert(may_park(&f, first));
  watch_drop(w);
  fixture_close(&f);
}
END_TEST

START_TEST(test_forged)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *owner = watch(&f);
  joins(&f, owner, first, 'a', 5);
  struct stream *web = created(&f, "web", first);
  /* Any byte of the signature, and an instance that was not signed. */
  for (int at = 0; at <= IDENTITY_SIGNATURE_SIZE; at += 8) {
    struct watch *w = watch(&f);
    struct request q = request_of(w, second, 'a', 6);
    q.spoiled = at;
    refused_as(&f, &q, RPC_PERMISSION_DENIED, "signature");
    /* It had one try. */
    q.spoiled = -1;
    refused_as(&f, &q, RPC_PERMISSION_DENIED, "challenge");
    watch_drop(w);
  }
  struct watch *w = watch(&f);
  refused(&f, w, (struct who){31, 32}, 'a', 6, RPC_PERMISSION_DENIED, "member's key");
  /* A signature is for one member: with its own key, another's claim is worth nothing. */
  ck_assert(!owner->supersessions && !web->closed && may_park(&f, first));
  joins(&f, w, second, 'b', 9); /* what was malformed did not use up the challenge */
  watch_drop(w);
  stream_drop(web);
  watch_drop(owner);
  fixture_close(&f);
}
END_TEST

START_TEST(test_malformed)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *w = watch(&f);
  struct request q = request_of(w, first, 'a', 1);
  q.former = 5;
  for (q.cut = 1; q.cut <= 6; q.cut++)
    refused_as(&f, &q, RPC_INVALID_ARGUMENT, q.cut == 6 ? "former" : "16 bytes");
  static const char *const bad[] = {"\xff\xff\xff", "\x0a\x7f", "\x07"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct stream *s = stream_open(&f, CONTROL "Join");
    stream_send(s, rpc_message_copy(bad[i], strlen(bad[i])));
    stream_closes(s, RPC_INVALID_ARGUMENT);
  }
  struct stream *s = stream_open(&f, CONTROL "Join");
  stream_end(s);
  stream_closes(s, RPC_INVALID_ARGUMENT);
  s = stream_open(&f, CONTROL "Join");
  stream_send(s, rpc_message_copy("", 0)); /* an empty request says nobody */
  stream_closes(s, RPC_INVALID_ARGUMENT);
  q.cut = 0;
  joins_as(&f, &q);
  watch_drop(w);
  fixture_close(&f);
}
END_TEST

/* ---- Two processes of one identity ---- */

START_TEST(test_older_or_equal_instance)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *owner = watch(&f);
  joins(&f, owner, first, 'a', 5);
  static const uint64_t instances[] = {0, 4, 5};
  for (size_t i = 0; i < sizeof instances / sizeof *instances; i++) {
    struct watch *w = watch(&f);
    refused(&f, w, second, 'a', instances[i], RPC_FAILED_PRECONDITION, "newer process");
    ck_assert(!may_park(&f, second));
    watch_drop(w);
  }
  ck_assert_uint_eq(owner->supersessions, 0);
  ck_assert(may_park(&f, first));
  /* A member is of one identity. */
  struct watch *w = watch(&f);
  refused(&f, w, first, 'b', 1, RPC_INVALID_ARGUMENT, "one identity");
  watch_drop(w);
  watch_drop(owner);
  fixture_close(&f);
}
END_TEST

START_TEST(test_same_member_again)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *older = watch(&f);
  joins(&f, older, first, 'a', 5);
  struct stream *web = created(&f, "web", first), *parked = park(&f, first);
  struct watch *newer = watch(&f);
  joins(&f, newer, first, 'a', 5);
  /* What was parked may be dead without our knowing it. */
  stream_closes_saying(parked, RPC_ABORTED, "joined anew");
  stream_drop(web);
  watch_drop(older);
  for (int i = 0; i < 10; i++)
    ck_assert(may_park(&f, first));
  ck_assert_uint_eq(newer->supersessions, 0);
  ck_assert_uint_eq(newer->lost_count, 0);
  watch_drop(newer);
  FIXTURE_UNTIL(&f, !may_park(&f, first));
  fixture_close(&f);
}
END_TEST

START_TEST(test_take_over)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *older = watch(&f), *other = watch(&f);
  joins(&f, older, first, 'a', 5);
  struct stream *services[3], *parked[3];
  for (int i = 0; i < 3; i++) {
    char name[8];
    snprintf(name, sizeof name, "n%d", i);
    services[i] = created(&f, name, first);
    parked[i] = park(&f, first);
  }
  struct stream *others = created(&f, "other", member_s);
  struct watch *newer = watch(&f);
  const struct request q = request_of(newer, second, 'a', 6);
  struct asked asked = ask_claim(&f, &q);
  ck_assert_str_eq(asked.names, "n0 n1 n2");
  for (int i = 0; i < 3; i++) {
    stream_closes_saying(services[i], RPC_ABORTED, "newer process");
    stream_closes_saying(parked[i], RPC_ABORTED, "newer process");
  }
  FIXTURE_UNTIL(&f, older->supersessions == 1 && heard_lost(other, first) && heard_lost(newer, first));
  ck_assert(!older->stream->closed && !others->closed);
  /* Its names are free for the newer. */
  struct stream *again = created(&f, "n0", second);
  ck_assert(may_park(&f, second));
  /* The older one is over for good, even when the newer goes. */
  ck_assert(!may_park(&f, first));
  stream_closes_saying(create(&f, "n1", first), RPC_FAILED_PRECONDITION, "newer process");
  stream_drop(again);
  watch_drop(newer);
  FIXTURE_UNTIL(&f, !may_park(&f, second));
  struct watch *back = watch(&f);
  refused(&f, back, first, 'a', 7, RPC_FAILED_PRECONDITION, "newer process");
  ck_assert(heard_lost(back, first));
  ck_assert_uint_eq(older->supersessions, 1);
  ck_assert_uint_eq(other->lost_count, 1);
  watch_drop(back);
  watch_drop(older);
  watch_drop(other);
  stream_drop(others);
  fixture_close(&f);
}
END_TEST

/* Each newer process supersedes the one before. */
START_TEST(test_many_take_over)
{
  struct fixture f;
  enum { MANY = 20 };
  struct watch *watches[MANY];
  fixture_open(&f);
  for (unsigned i = 0; i < MANY; i++) {
    struct who who = {(uint8_t)(100 + i), (uint8_t)(100 + i)};
    watches[i] = watch(&f);
    joins(&f, watches[i], who, 'a', i);
  }
  struct watch *late = watch(&f);
  for (unsigned i = 0; i + 1 < MANY; i++) {
    struct who who = {(uint8_t)(100 + i), (uint8_t)(100 + i)};
    FIXTURE_UNTIL(&f, watches[i]->supersessions == 1 && heard_lost(watches[0], who));
    ck_assert(heard_lost(late, who));
  }
  ck_assert_uint_eq(late->lost_count, MANY - 1);
  ck_assert_uint_eq(watches[MANY - 1]->supersessions, 0);
  for (int i = 0; i < MANY; i++)
    watch_drop(watches[i]);
  watch_drop(late);
  fixture_close(&f);
}
END_TEST

START_TEST(test_former)
{
  struct fixture f;
  fixture_open(&f);
  struct watch *other = watch(&f), *w = watch(&f);
  /* A ghost: its streams are still there, its watch is not. */
  struct stream *ghost = created(&f, "web", first), *parked = park(&f, first);
  struct request q = request_of(w, second, 'a', 6);
  q.former = first.key;
  ck_assert_str_eq(ask_claim(&f, &q).names, "web");
  stream_closes_saying(ghost, RPC_ABORTED, "newer process");
  stream_closes(parked, RPC_FAILED_PRECONDITION);
  FIXTURE_UNTIL(&f, heard_lost(other, first) && heard_lost(w, first));
  /* Told again, it is no news; and a process is not its own predecessor. */
  struct watch *newer = watch(&f);
  q.challenge = newer->challenge;
  joins_as(&f, &q);
  struct watch *third_watch = watch(&f);
  q = request_of(third_watch, second, 'a', 6);
  q.former = second.key;
  joins_as(&f, &q);
  ck_assert(may_park(&f, second));
  struct watch *late = watch(&f);
  ck_assert(heard_lost(late, first));
  ck_assert_uint_eq(late->lost_count, 1);
  ck_assert_uint_eq(other->lost_count, 1);
  watch_drop(w);
  watch_drop(newer);
  watch_drop(third_watch);
  watch_drop(late);
  watch_drop(other);
  fixture_close(&f);
}
END_TEST

/* More than a message holds, and more than is kept; what somebody who is there has said is kept all the same. */
START_TEST(test_many_lost)
{
  struct fixture f;
  enum { PAGE = 4, KEPT = 11, MANY = 30 };
  struct router_limits limits = router_limits_default();
  limits.lost = KEPT;
  limits.page = PAGE;
  fixture_open_with(&f, &limits, NULL);
  struct watch *early = watch(&f), *holder = watch(&f);
  struct request q = request_of(holder, second, 'h', 2);
  q.former = third.key;
  joins_as(&f, &q);
  for (unsigned i = 0; i < MANY; i++) {
    struct watch *w = watch(&f);
    q = request_of(w, first, 's', 1);
    q.former = (uint8_t)(100 + i);
    joins_as(&f, &q);
    watch_drop(w);
  }
  FIXTURE_UNTIL(&f, early->lost_count == MANY + 1);
  struct watch *late = watch(&f);
  FIXTURE_UNTIL(&f, late->lost_count == KEPT);
  ck_assert_uint_eq(late->largest, PAGE);
  ck_assert(heard_lost(late, third));
  watch_drop(late);
  watch_drop(holder);
  watch_drop(early);
  fixture_close(&f);
}
END_TEST

Suite *test_suite(void)
{
  const struct fixture_test tests[] = {
      {test_join, 0},      {test_challenge_is_used_up, 0},    {test_forged, 0},
      {test_malformed, 0}, {test_older_or_equal_instance, 0}, {test_same_member_again, 0},
      {test_take_over, 0}, {test_many_take_over, 0},          {test_former, 0},
      {test_many_lost, 0},
  };
  return fixture_suite("join", tests, sizeof tests / sizeof *tests);
}
