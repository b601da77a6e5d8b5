/* What the tap reads off the bytes of a connection, and what it keeps of that. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/tap/captures.h"
#include "daemon/tap/dialogue.h"
#include "daemon/tap/record.h"
#include "daemon/tap/written.h"
#include "failing.h"
#include "runner.h"

#define ASKS "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
#define SENDS "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/* ---- What a dialogue tells, as text ---- */

static struct dialogue dialogue;
static char told[2048];
static size_t raw[2];

static void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void tell(const char *format, ...)
{
  size_t used = strlen(told);
  va_list args;
  va_start(args, format);
  vsnprintf(told + used, sizeof told - used, format, args);
  va_end(args);
}

static void began(struct dialogue *d)
{
  const struct http1_head *h = &d->parsers[DIALOGUE_REQUEST].head;
  struct http1_text target = http1_head_text(h, h->target);
  tell("%.*s ", (int)target.size, target.at);
  raw[0] = raw[1] = 0;
}

static void answered(struct dialogue *d)
{
  tell("%u ", d->parsers[DIALOGUE_ANSWER].head.status);
}

static void passed(struct dialogue *d, enum dialogue_way way, const char *bytes, size_t size)
{
  (void)d;
  (void)bytes;
  raw[way] += size;
}

static void over(struct dialogue *d, bool whole)
{
  tell("%u+%u%s ", (unsigned)d->bodies[0], (unsigned)d->bodies[1], whole ? "." : "!");
}

static const struct dialogue_events events = {.began = began, .answered = answered, .passed = passed, .over = over};

static void start(bool middle)
{
  told[0] = '\0';
  dialogue_init(&dialogue, middle, &events);
}

static void asks(const char *text)
{
  dialogue_pass(&dialogue, DIALOGUE_REQUEST, text, strlen(text));
}

static void answers(const char *text)
{
  dialogue_pass(&dialogue, DIALOGUE_ANSWER, text, strlen(text));
}

static void unseen(enum dialogue_way way, size_t size)
{
  dialogue_pass(&dialogue, way, NULL, size);
}

static void has_told(const char *text, enum dialogue_state state)
{
  ck_assert_str_eq(told, text);
  ck_assert_int_eq(dialogue.state, state);
  told[0] = '\0';
}

static void finish(void)
{
  dialogue_close(&dialogue);
  dialogue_free(&dialogue);
}

/* ---- Dialogues ---- */

START_TEST(test_exchanges)
{
  start(false);
  asks(ASKS);
  answers(OK);
  has_told("/a 200 0+2. ", DIALOGUE_IN_STEP);
  ck_assert_uint_eq(raw[0], strlen(ASKS));
  ck_assert_uint_eq(raw[1], strlen(OK));
  asks(SENDS);
  answers("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
  answers("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n");
  has_told("/b 404 4+3. ", DIALOGUE_IN_STEP);
  asks("HEAD /c HTTP/1.1\r\nHost: a\r\n\r\n");
  answers("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n");
  has_told("/c 200 0+0. ", DIALOGUE_IN_STEP);
  finish();
  has_told("", DIALOGUE_SILENT);
}
END_TEST

/* However they are cut into pieces, in whatever order what may overtake does. */
START_TEST(test_pieces)
{
  const char *request = SENDS, *answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
  start(false);
  for (const char *at = request; *at != '\0'; at++)
    dialogue_pass(&dialogue, DIALOGUE_REQUEST, at, 1);
  for (const char *at = answer; *at != '\0'; at++)
    dialogue_pass(&dialogue, DIALOGUE_ANSWER, at, 1);
  has_told("/b 200 4+5. ", DIALOGUE_IN_STEP);
  ck_assert_uint_eq(raw[0], strlen(request));
  ck_assert_uint_eq(raw[1], strlen(answer));
  finish();
}
END_TEST

/* An answer before the end of its request. */
START_TEST(test_early_answers)
{
  start(false);
  asks("PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
  answers("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
  has_told("/b 413 ", DIALOGUE_IN_STEP);
  asks("dy");
  has_told("4+0. ", DIALOGUE_IN_STEP);
  asks("PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo");
  answers("HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
  dialogue_pass(&dialogue, DIALOGUE_ANSWER, "", 0);
  has_told("/c 413 2+0! ", DIALOGUE_SILENT);
  finish();
}
END_TEST

START_TEST(test_ends)
{
  start(false);
  asks(ASKS);
  dialogue_pass(&dialogue, DIALOGUE_REQUEST, "", 0);
  answers("HTTP/1.0 200 OK\r\n\r\nuntil the end");
  dialogue_pass(&dialogue, DIALOGUE_ANSWER, "", 0);
  has_told("/a 200 0+13. ", DIALOGUE_SILENT);
  finish();
  start(false);
  asks(ASKS);
  answers("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  dialogue_pass(&dialogue, DIALOGUE_ANSWER, "", 0);
  has_told("/a 200 0+4! ", DIALOGUE_SILENT);
  finish();
  start(false);
  asks(ASKS);
  finish();
  has_told("/a 0+0! ", DIALOGUE_SILENT);
}
END_TEST

/* From then on nothing is looked at. */
START_TEST(test_silence)
{
  static const char *const unreadable[] = {"\x16\x03\x01", "SSH-2.0-x\r\n", "PRI * HTTP/2.0\r\n\r\n",
                                           "GET / HTTP/1.1\r\n\r\n"};
  for (size_t i = 0; i < sizeof unreadable / sizeof *unreadable; i++) {
    start(false);
    asks(unreadable[i]);
    ck_assert_int_eq(dialogue.state, DIALOGUE_SILENT);
    ck_assert(!dialogue_watches(&dialogue, DIALOGUE_REQUEST, true) &&
              !dialogue_watches(&dialogue, DIALOGUE_ANSWER, true));
    asks(ASKS);
    answers(OK);
    has_told("", DIALOGUE_SILENT);
    finish();
  }
  start(false);
  answers("220 hello\r\n");
  has_told("", DIALOGUE_SILENT);
  finish();
  start(false);
  asks("GET /w HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
  answers("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n\x01\x02");
  has_told("/w 101 0+0. ", DIALOGUE_SILENT);
  finish();
  start(false);
  asks(ASKS);
  answers("no answer\r\n");
  has_told("/a 0+0! ", DIALOGUE_SILENT);
  finish();
  start(false);
  asks(ASKS);
  answers(OK OK);
  has_told("/a 200 0+2. ", DIALOGUE_SILENT);
  finish();
}
END_TEST

/* The first one is told, and then the connection is left alone. */
START_TEST(test_requests_that_do_not_wait)
{
  start(false);
  asks(ASKS ASKS);
  answers(OK);
  has_told("/a 200 0+2. ", DIALOGUE_SILENT);
  finish();
}
END_TEST

START_TEST(test_unseen_bodies)
{
  start(false);
  asks("PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n");
  ck_assert(!dialogue_watches(&dialogue, DIALOGUE_REQUEST, false) &&
            dialogue_watches(&dialogue, DIALOGUE_REQUEST, true));
  unseen(DIALOGUE_REQUEST, 150000);
  ck_assert(dialogue_watches(&dialogue, DIALOGUE_REQUEST, false));
  unseen(DIALOGUE_REQUEST, 50000);
  answers("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
  ck_assert(!dialogue_watches(&dialogue, DIALOGUE_ANSWER, false));
  unseen(DIALOGUE_ANSWER, 100000);
  has_told("/b 200 200000+100000. ", DIALOGUE_IN_STEP);
  asks(ASKS);
  answers("HTTP/1.1 200 OK\r\n\r\n");
  ck_assert(!dialogue_watches(&dialogue, DIALOGUE_ANSWER, false));
  unseen(DIALOGUE_ANSWER, 7);
  dialogue_pass(&dialogue, DIALOGUE_ANSWER, "", 0);
  has_told("/a 200 0+7. ", DIALOGUE_SILENT);
  finish();
}
END_TEST

/* It is in step again with the next request, and in the middle of another connection as well. */
START_TEST(test_lost)
{
  start(false);
  asks("PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  unseen(DIALOGUE_REQUEST, 10);
  has_told("/b 0+0! ", DIALOGUE_LOST);
  asks(ASKS); /* may be a part of the body */
  answers(OK);
  has_told("", DIALOGUE_LOST);
  asks("GET /c HTTP/1.1\r\n");
  asks("Host: a\r\n\r\n");
  answers(OK);
  has_told("/c 200 0+2. ", DIALOGUE_IN_STEP);
  finish();
  start(true);
  asks(ASKS);
  answers(OK);
  has_told("/a 200 0+2. ", DIALOGUE_IN_STEP);
  finish();
  start(true);
  answers("the middle of an answer");
  asks("\x81\x05hello");
  answers("\x81\x05hello");
  asks("GET /c HTTP/1.1\r\n");
  unseen(DIALOGUE_REQUEST, 5);
  asks("Host: a\r\n\r\n");
  has_told("", DIALOGUE_LOST);
  for (int i = 0; i < 6; i++) {
    answers("x");
    asks("\x81\x05hello");
  }
  has_told("", DIALOGUE_SILENT);
  finish();
}
END_TEST

/* ---- Records ---- */

START_TEST(test_a_line)
{
  char line[RECORD_LINE_SIZE];
  struct record r;
  start(false);
  asks("OPTIONS /x?y=%20 HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: [2001:db8::1]:5, 10.0.0.1\r\n\r\n");
  record_begin(&r, 7, &dialogue.parsers[0].head, 1000);
  record_end(&r, 1, 2, true, 1250);
  record_line(&r, line);
  ck_assert_str_eq(line, "7 OPTIONS /x?y=%20 - 250 2 [2001:db8::1]:5");
  r.status = 204;
  memset(r.url, 'u', sizeof r.url - 1);
  memset(r.client, 'c', sizeof r.client - 1);
  memset(r.method, 'M', sizeof r.method - 1);
  r.ms = r.id = r.answer_bytes = UINT64_MAX;
  record_line(&r, line);
  ck_assert_uint_lt(strlen(line), RECORD_LINE_SIZE - 1);
  ck_assert_ptr_nonnull(strstr(line, " 204 "));
  finish();
}
END_TEST

/* ---- What somebody has written ---- */

static const char *why;

static void is_sent_as(const char *written, const char *sent)
{
  struct http1_out out;
  ck_assert_int_eq(written_request(written, strlen(written), &out, &why), 0);
  ck_assert_uint_eq(out.size, strlen(sent));
  ck_assert_mem_eq(out.bytes, sent, out.size);
  http1_out_free(&out);
}

static void is_refused(const char *written, const char *phrase)
{
  struct http1_out out;
  ck_assert_int_eq(written_request(written, strlen(written), &out, &why), -EINVAL);
  ck_assert_ptr_null(out.bytes);
  ck_assert_str_eq(why, phrase);
}

START_TEST(test_written_requests)
{
  is_sent_as(SENDS, SENDS);
  is_sent_as(ASKS, ASKS);
  is_sent_as("GET /a HTTP/1.1\nHost: a\n\n", ASKS);
  is_sent_as("PUT /b HTTP/1.1\r\nHost:  a\nContent-Length: 99\n\nbody", SENDS);
  is_sent_as("PUT /b HTTP/1.1\nHost: a\n\nbody", SENDS);
  is_sent_as("PUT /b HTTP/1.1\nContent-Length: 5\nHost: a\n\n",
             "PUT /b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
  is_sent_as("PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n0\r\n\r\n",
             "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
  is_refused("", "an empty line is missing, which ends the head of a request");
  is_refused("GET / HTTP/1.1\nHost: a\n", "an empty line is missing, which ends the head of a request");
  is_refused("\nGET / HTTP/1.1\nHost: a\n\n", "it is no request");
  is_refused("PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\r\nabc\r\n", "the last chunk is missing");
  is_refused("PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n0\r\n\r\nx", "more follows behind the last chunk");
  is_refused("PUT / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n3\nabc\n", "a line ends with LF alone");
  for (int n = 1; FAILING_WORKS && n < 5; n++) {
    struct http1_out out;
    fail_allocation(n);
    int error = written_request(SENDS, strlen(SENDS), &out, &why);
    bool failed = allocation_failed();
    ck_assert(error == 0 || (failed && out.bytes == NULL));
    http1_out_free(&out);
  }
}
END_TEST

/* ---- Captures ---- */

static struct captures captures;
static struct capture *filled;

static void setup(void)
{
  captures = (struct captures){.here = true};
}

static void teardown(void)
{
  uint64_t id;
  captures.here = true;
  captures_set_limit(&captures, 0);
  while (captures_next_done(&captures, &id) || captures_next_gone(&captures, &id))
    ;
  ck_assert_uint_eq(captures.used, 0);
  ck_assert_uint_eq(captures.leaving, 0);
}

static void keep(uint64_t id, size_t size)
{
  static char bytes[100000];
  struct record record = {.id = id};
  captures_begin(&captures, id, &filled);
  if (filled == NULL)
    return;
  for (size_t at = 0; at < size && filled != NULL; at += 1000)
    captures_add(&captures, filled, DIALOGUE_ANSWER, bytes, size - at < 1000 ? size - at : 1000);
  ck_assert_uint_le(captures.used, captures.limit);
  if (filled != NULL)
    captures_end(&captures, filled, &record);
}

static void tell_all(const char *expected)
{
  uint64_t id;
  told[0] = '\0';
  while (captures_next_done(&captures, &id))
    tell("+%u ", (unsigned)id);
  while (captures_next_gone(&captures, &id))
    tell("-%u ", (unsigned)id);
  ck_assert_str_eq(told, expected);
}

START_TEST(test_the_oldest_go)
{
  keep(1, 10);
  ck_assert_ptr_null(filled);
  captures_set_limit(&captures, 100000);
  for (uint64_t id = 1; id <= 4; id++)
    keep(id, 15000);
  tell_all("+1 +2 +3 +4 ");
  ck_assert_ptr_nonnull(captures_find(&captures, 1));
  keep(5, 15000);
  keep(6, 15000);
  ck_assert_ptr_null(captures_find(&captures, 1));
  tell_all("+5 +6 -1 ");
  keep(7, 90000);
  ck_assert_uint_eq(captures_find(&captures, 7)->sides[DIALOGUE_ANSWER].size, 25000);
  ck_assert(captures_find(&captures, 7)->sides[DIALOGUE_ANSWER].cut);
  captures_set_limit(&captures, 50000);
  ck_assert_uint_le(captures.used, 50000);
  ck_assert_ptr_nonnull(captures_find(&captures, 7));
}
END_TEST

/* One that is still filled goes as others do, and one that nobody heard of goes without a word. */
START_TEST(test_those_that_nobody_knows_go)
{
  struct capture *slow, *told_of;
  captures_set_limit(&captures, 65536);
  captures_begin(&captures, 1, &slow);
  captures_add(&captures, slow, DIALOGUE_REQUEST, "x", 1);
  for (uint64_t id = 2; id < 9; id++)
    keep(id, 10000);
  ck_assert_ptr_null(slow);
  tell_all("+5 +6 +7 +8 ");
  captures_begin(&captures, 9, &told_of);
  captures_drop(&captures, told_of);
  ck_assert_ptr_null(told_of);
  tell_all("");
  keep(10, 10000);
  tell_all("+10 -5 ");
}
END_TEST

/* Elsewhere nothing is freed that the loop's thread may be reading; meanwhile there is no room. */
START_TEST(test_on_another_thread)
{
  captures_set_limit(&captures, 65536);
  for (uint64_t id = 1; id <= 4; id++)
    keep(id, 10000);
  tell_all("+1 +2 +3 +4 ");
  const char *bytes = captures_find(&captures, 1)->sides[DIALOGUE_ANSWER].bytes;
  captures.here = false;
  keep(5, 10000);
  ck_assert_ptr_null(captures_find(&captures, 1));
  ck_assert_int_eq(bytes[0], 0); /* still there */
  ck_assert_uint_le(captures.used, captures.limit);
  captures.here = true;
  uint64_t id;
  while (captures_next_gone(&captures, &id))
    ;
  keep(6, 10000);
  ck_assert_ptr_nonnull(captures_find(&captures, 6));
}
END_TEST

START_TEST(test_short_of_memory)
{
  if (!FAILING_WORKS)
    return;
  captures_set_limit(&captures, 65536);
  fail_allocation(1);
  captures_begin(&captures, 1, &filled);
  ck_assert(allocation_failed() && filled == NULL);
  captures_begin(&captures, 2, &filled);
  fail_allocation(1);
  captures_add(&captures, filled, DIALOGUE_REQUEST, "x", 1);
  ck_assert(allocation_failed() && filled->sides[DIALOGUE_REQUEST].cut);
  captures_add(&captures, filled, DIALOGUE_REQUEST, "y", 1);
  ck_assert_uint_eq(filled->sides[DIALOGUE_REQUEST].size, 0); /* no hole */
  captures_end(&captures, filled, &(struct record){.id = 2});
}
END_TEST

Suite *test_suite(void)
{
  Suite *suite = suite_create("tap");
  TCase *tcase = tcase_create("dialogue");
  tcase_add_test(tcase, test_exchanges);
  tcase_add_test(tcase, test_pieces);
  tcase_add_test(tcase, test_early_answers);
  tcase_add_test(tcase, test_ends);
  tcase_add_test(tcase, test_silence);
  tcase_add_test(tcase, test_requests_that_do_not_wait);
  tcase_add_test(tcase, test_unseen_bodies);
  tcase_add_test(tcase, test_lost);
  tcase_add_test(tcase, test_a_line);
  tcase_add_test(tcase, test_written_requests);
  suite_add_tcase(suite, tcase);
  tcase = tcase_create("captures");
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_the_oldest_go);
  tcase_add_test(tcase, test_those_that_nobody_knows_go);
  tcase_add_test(tcase, test_on_another_thread);
  tcase_add_test(tcase, test_short_of_memory);
  suite_add_tcase(suite, tcase);
  return suite;
}
