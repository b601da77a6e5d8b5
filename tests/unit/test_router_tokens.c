/* Tokens expire, are used once, and are bounded; callers hold no more than they may. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/identity.h"
#include "router/door/callers.h"
#include "router/meet/tokens.h"

#include "runner.h"

enum { LIFE = 30000 };

static void on_lost(struct token *t, void *arg)
{
  (void)t;
  ++*(int *)arg;
}

START_TEST(test_once)
{
  int lost = 0;
  struct tokens *ts = tokens_open(10, LIFE, on_lost, &lost);
  struct token *a, *b;
  ck_assert_int_eq(tokens_make(ts, 0, &a), 0);
  ck_assert_int_eq(tokens_make(ts, 0, &b), 0);
  ck_assert_uint_eq(strlen(a->text), TOKEN_DIGITS);
  ck_assert_uint_eq(strspn(a->text, "0123456789abcdef"), TOKEN_DIGITS);
  ck_assert_str_ne(a->text, b->text);
  ck_assert_uint_eq(a->service[0], 0);
  ck_assert_ptr_null(a->dial);
  char text[TOKEN_DIGITS + 2];
  memcpy(text, a->text, TOKEN_DIGITS + 1);
  ck_assert_ptr_eq(tokens_find(ts, 1, text), a);
  tokens_spend(ts, a);
  ck_assert_ptr_null(tokens_find(ts, 1, text));
  ck_assert_ptr_eq(tokens_find(ts, 1, b->text), b);
  ck_assert_int_eq(lost, 0);
  tokens_close(ts);
  ck_assert_int_eq(lost, 1);
}
END_TEST

START_TEST(test_strangers)
{
  int lost = 0;
  struct tokens *ts = tokens_open(10, LIFE, on_lost, &lost);
  struct token *t;
  ck_assert_int_eq(tokens_make(ts, 0, &t), 0);
  char text[TOKEN_DIGITS + 2] = {0};
  memcpy(text, t->text, TOKEN_DIGITS);
  text[TOKEN_DIGITS] = '0';
  ck_assert_ptr_null(tokens_find(ts, 0, text));
  text[TOKEN_DIGITS - 1] = '\0';
  ck_assert_ptr_null(tokens_find(ts, 0, text));
  ck_assert_ptr_null(tokens_find(ts, 0, ""));
  memcpy(text, t->text, TOKEN_DIGITS + 1);
  text[5] ^= 1;
  ck_assert_ptr_null(tokens_find(ts, 0, text));
  tokens_close(ts);
}
END_TEST

START_TEST(test_expiry)
{
  int lost = 0;
  struct tokens *ts = tokens_open(10, LIFE, on_lost, &lost);
  struct token *a, *b;
  ck_assert_int_eq(tokens_make(ts, 1000, &a), 0);
  ck_assert_int_eq(tokens_make(ts, 2000, &b), 0);
  char text[TOKEN_DIGITS + 1];
  memcpy(text, a->text, sizeof text);
  ck_assert_ptr_eq(tokens_find(ts, 1000 + LIFE - 1, text), a);
  ck_assert_ptr_null(tokens_find(ts, 1000 + LIFE, text));
  ck_assert_int_eq(lost, 1);
  ck_assert_uint_eq(tokens_count(ts), 1);
  ck_assert_ptr_eq(tokens_find(ts, 1000 + LIFE, b->text), b);
  tokens_close(ts);
  ck_assert_int_eq(lost, 2);
}
END_TEST

START_TEST(test_bound)
{
  int lost = 0;
  struct tokens *ts = tokens_open(3, LIFE, on_lost, &lost);
  struct token *t;
  for (uint64_t i = 0; i < 3; i++)
    ck_assert_int_eq(tokens_make(ts, i, &t), 0);
  ck_assert_int_eq(tokens_make(ts, 3, &t), -ENOSPC);
  /* The oldest makes room. */
  ck_assert_int_eq(tokens_make(ts, LIFE, &t), 0);
  ck_assert_int_eq(lost, 1);
  ck_assert_int_eq(tokens_make(ts, LIFE, &t), -ENOSPC);
  tokens_spend(ts, t);
  ck_assert_int_eq(tokens_make(ts, LIFE, &t), 0);
  tokens_close(ts);
}
END_TEST

/* ---- Callers ---- */

static const size_t holds[CALLER_HOLDS] = {
    [CALLER_SERVICES] = 2, [CALLER_STREAMS] = 3, [CALLER_PARKED] = 1, [CALLER_TOKENS] = 1};

static struct member member_of(uint8_t id)
{
  struct member m = {.given = true};
  memset(m.id, id, sizeof m.id);
  return m;
}

START_TEST(test_member_read)
{
  uint8_t key[64] = {1}, id[64] = {0};
  struct member m;
  member_of_key(key, id);
  ck_assert_int_eq(member_read(&m, NULL, 0, NULL, 0), 0);
  ck_assert(!m.given);
  ck_assert_int_eq(member_read(&m, id, 16, key, 32), 0);
  ck_assert(m.given);
  ck_assert_mem_eq(m.id, id, 16);
  static const size_t bad[][2] = {{16, 0}, {0, 32}, {15, 32}, {17, 32}, {16, 31}, {16, 33}, {32, 16}, {1, 1}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    ck_assert_int_eq(member_read(&m, id, bad[i][0], key, bad[i][1]), -EINVAL);
  /* It is the hash of all of the key, and all of the hash. */
  for (size_t i = 0; i < 16 + 32; i++) {
    uint8_t *byte = i < 16 ? &id[i] : &key[i - 16];
    *byte ^= 0x80;
    ck_assert_int_eq(member_read(&m, id, 16, key, 32), -EACCES);
    ck_assert(!m.given);
    *byte ^= 0x80;
  }
}
END_TEST

START_TEST(test_member)
{
  struct callers *cs = callers_open(holds);
  struct member m = member_of(1), other = member_of(2), none = {0};
  struct caller *a, *b;
  ck_assert_ptr_null(callers_find(cs, m.id));
  ck_assert_int_eq(callers_hold(cs, &a, &m, "p", CALLER_SERVICES), 0);
  ck_assert(caller_matches(a, &m));
  ck_assert(!caller_matches(a, &other));
  ck_assert(!caller_matches(a, &none));
  ck_assert_ptr_null(*caller_services(a));
  ck_assert_ptr_eq(callers_find(cs, m.id), a);
  ck_assert_ptr_null(callers_find(cs, other.id));
  ck_assert_int_eq(callers_hold(cs, &b, &m, "another connection", CALLER_STREAMS), 0);
  ck_assert_ptr_eq(a, b);
  callers_release(cs, a, CALLER_SERVICES);
  ck_assert_ptr_eq(callers_find(cs, m.id), a);
  callers_release(cs, a, CALLER_STREAMS);
  ck_assert_ptr_null(callers_find(cs, m.id));
  callers_close(cs);
}
END_TEST

START_TEST(test_counts)
{
  struct callers *cs = callers_open(holds);
  struct member m = member_of(1), none = {0};
  struct caller *c, *x, *y;
  for (int i = 0; i < 2; i++)
    ck_assert_int_eq(callers_hold(cs, &c, &m, "p", CALLER_SERVICES), 0);
  ck_assert_int_eq(callers_hold(cs, &c, &m, "p", CALLER_SERVICES), -ENOSPC);
  for (int i = 0; i < 3; i++)
    ck_assert_int_eq(callers_hold(cs, &c, &m, "p", CALLER_STREAMS), 0);
  ck_assert_int_eq(callers_hold(cs, &c, &m, "p", CALLER_STREAMS), -ENOSPC);
  /* Others are not in its way, nor is a connection that happens to be named like a member. */
  ck_assert_int_eq(callers_hold(cs, &x, &none, "p", CALLER_TOKENS), 0);
  ck_assert_int_eq(callers_hold(cs, &y, &none, "p", CALLER_TOKENS), -ENOSPC);
  ck_assert_int_eq(callers_hold(cs, &y, &none, "q", CALLER_TOKENS), 0);
  ck_assert_ptr_ne(x, y);
  ck_assert(caller_matches(x, &m));
  ck_assert(caller_matches(x, &none));
  callers_release(cs, x, CALLER_TOKENS);
  callers_release(cs, y, CALLER_TOKENS);
  for (int i = 0; i < 2; i++)
    callers_release(cs, c, CALLER_SERVICES);
  for (int i = 0; i < 3; i++)
    callers_release(cs, c, CALLER_STREAMS);
  callers_close(cs);
}
END_TEST

START_TEST(test_more)
{
  struct callers *cs = callers_open(holds);
  struct member m = member_of(1);
  struct caller *c;
  ck_assert_int_eq(callers_hold(cs, &c, &m, "p", CALLER_STREAMS), 0);
  ck_assert_uint_eq(caller_holds(c, CALLER_PARKED), 0);
  ck_assert_ptr_null(*caller_parked(c, 0));
  ck_assert_int_eq(callers_hold_more(cs, c, CALLER_PARKED), 0);
  ck_assert_int_eq(callers_hold_more(cs, c, CALLER_PARKED), -ENOSPC);
  ck_assert_uint_eq(caller_holds(c, CALLER_PARKED), 1);
  callers_release(cs, c, CALLER_PARKED);
  ck_assert_int_eq(callers_hold_more(cs, c, CALLER_PARKED), 0);
  callers_release(cs, c, CALLER_STREAMS);
  ck_assert_uint_eq(caller_holds(c, CALLER_PARKED), 1);
  callers_release(cs, c, CALLER_PARKED);
  callers_close(cs);
}
END_TEST

START_TEST(test_nothing_allowed)
{
  const size_t nothing[CALLER_HOLDS] = {0};
  struct callers *cs = callers_open(nothing);
  struct member none = {0};
  struct caller *c;
  ck_assert_int_eq(callers_hold(cs, &c, &none, "p", CALLER_SERVICES), -ENOSPC);
  callers_close(cs);
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("tokens");
  TCase *tcase = tcase_create("tokens");
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_once);
  tcase_add_test(tcase, test_strangers);
  tcase_add_test(tcase, test_expiry);
  tcase_add_test(tcase, test_bound);
  tcase_add_test(tcase, test_member_read);
  tcase_add_test(tcase, test_member);
  tcase_add_test(tcase, test_counts);
  tcase_add_test(tcase, test_more);
  tcase_add_test(tcase, test_nothing_allowed);
  return suite;
}
