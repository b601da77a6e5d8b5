/* The connection's state machine: whole lives event by event, and random schedules with what must always hold. */
#include <check.h>
#include <stdint.h>
#include <stdlib.h>

#include "daemon/connection.h"

#define END_OF_LIFE 0xffff

struct moment {
  enum connection_event event;
  unsigned actions;
};

/* How it begins, and with what. */
struct beginning {
  unsigned (*start)(struct connection *c, bool flag);
  bool flag;
  unsigned actions;
};

static const struct beginning dials = {connection_start_forward, false,
                                       CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER};
static const struct beginning asks = {connection_start_forward, true, CONNECTION_START_TIMER};
static const struct beginning takes_token = {connection_start_service, false,
                                             CONNECTION_OPEN_STREAM | CONNECTION_DIAL | CONNECTION_START_TIMER};
static const struct beginning was_parked = {connection_start_service, true, CONNECTION_DIAL | CONNECTION_START_TIMER};

struct life {
  const char *name;
  const struct beginning *beginning;
  struct moment moments[8];
};

#define GONE_WITH(action) ((action) | CONNECTION_STOP_TIMER | CONNECTION_FREE)
#define BOTH_ENDED_WITH(action) ((action) | CONNECTION_HALF_CLOSE | CONNECTION_CLOSE_SOCKET | CONNECTION_STOP_TIMER)
#define RESET_WITH(action) ((action) | CONNECTION_RESET_SOCKET | CONNECTION_START_TIMER)

static const struct life lives[] = {
    {"forward, both ends, the local one first",
     &dials,
     {{CONNECTION_ANSWERED, CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF},
      {CONNECTION_REMOTE_EOF, BOTH_ENDED_WITH(0)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {CONNECTION_CUT, 0},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"forward through a router of the first version",
     &asks,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_ORIGINAL, CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, CONNECTION_HALF_CLOSE},
      {CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_CLOSE_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"service by a token, both ends, the remote one first",
     &takes_token,
     {{CONNECTION_ANSWERED, CONNECTION_SAY_HEADER},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET},
      {CONNECTION_LOCAL_EOF, BOTH_ENDED_WITH(CONNECTION_SAY_EOF)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"service on a parked stream",
     &was_parked,
     {{CONNECTION_ANSWERED, CONNECTION_SAY_HEADER},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF},
      {CONNECTION_REMOTE_EOF, BOTH_ENDED_WITH(0)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"what the target says waits for our header",
     &takes_token,
     {{CONNECTION_DIALLED, 0},
      {CONNECTION_ANSWERED, CONNECTION_SAY_HEADER | CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {END_OF_LIFE, CONNECTION_OPEN}}},
    {"an end is held back until it is known to whom it is said",
     &dials,
     {{CONNECTION_LOCAL_EOF, 0},
      {CONNECTION_ANSWERED, CONNECTION_STOP_TIMER | CONNECTION_SAY_EOF},
      {END_OF_LIFE, CONNECTION_OPEN}}},
    {"to a peer of the first version nothing is said in-band, and one end ends both",
     &dials,
     {{CONNECTION_LOCAL_EOF, 0},
      {CONNECTION_ORIGINAL, CONNECTION_STOP_TIMER | CONNECTION_HALF_CLOSE},
      {CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_CLOSE_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a peer of the first version ends",
     &takes_token,
     {{CONNECTION_DIALLED, 0},
      {CONNECTION_ORIGINAL, CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, CONNECTION_LINGER | CONNECTION_START_TIMER},
      {CONNECTION_LOCAL_EOF, GONE_WITH(CONNECTION_CLOSE_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a peer of the first version ends, and the target never does",
     &takes_token,
     {{CONNECTION_ORIGINAL, 0},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, CONNECTION_LINGER | CONNECTION_START_TIMER},
      {CONNECTION_TIMEOUT, GONE_WITH(CONNECTION_CLOSE_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a peer of the first version ends before the target answers",
     &takes_token,
     {{CONNECTION_ORIGINAL, 0}, {CONNECTION_STREAM_OK, GONE_WITH(0)}, {END_OF_LIFE, CONNECTION_GONE}}},
    {"an end that comes before the target answers is passed on",
     &was_parked,
     {{CONNECTION_ANSWERED, CONNECTION_SAY_HEADER},
      {CONNECTION_REMOTE_EOF, 0},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_SHUTDOWN_SOCKET | CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, BOTH_ENDED_WITH(CONNECTION_SAY_EOF)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"both have ended, and the other side is slow to take the rest, and then resets",
     &dials,
     {{CONNECTION_ANSWERED, CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF},
      {CONNECTION_REMOTE_EOF, BOTH_ENDED_WITH(0)},
      {CONNECTION_REMOTE_RESET, 0},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"both have ended, and it is cut before the other side has taken the rest",
     &dials,
     {{CONNECTION_ANSWERED, CONNECTION_STOP_TIMER},
      {CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET},
      {CONNECTION_LOCAL_EOF, BOTH_ENDED_WITH(CONNECTION_SAY_EOF)},
      {CONNECTION_CUT, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"one end is said, and the socket breaks in the other direction",
     &dials,
     {{CONNECTION_ANSWERED, CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF},
      {CONNECTION_SOCKET_FAILED, RESET_WITH(CONNECTION_SAY_RESET)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the target refuses before it is known who dialled",
     &takes_token,
     {{CONNECTION_DIAL_FAILED, 0},
      {CONNECTION_ANSWERED, RESET_WITH(CONNECTION_SAY_HEADER | CONNECTION_SAY_RESET)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the target refuses after early data",
     &was_parked,
     {{CONNECTION_ANSWERED, CONNECTION_SAY_HEADER},
      {CONNECTION_DIAL_FAILED, RESET_WITH(CONNECTION_SAY_RESET)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the target refuses a peer of the first version",
     &takes_token,
     {{CONNECTION_ORIGINAL, 0},
      {CONNECTION_DIAL_FAILED, RESET_WITH(CONNECTION_CANCEL)},
      {CONNECTION_STREAM_FAILED, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a service that is not ours any more was dialled",
     &was_parked,
     {{CONNECTION_DIAL_FAILED, 0},
      {CONNECTION_ANSWERED, RESET_WITH(CONNECTION_SAY_HEADER | CONNECTION_SAY_RESET)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the other side's header belongs to another connection",
     &dials,
     {{CONNECTION_MISANSWERED, RESET_WITH(CONNECTION_SAY_RESET)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the other side's header names no connection",
     &takes_token,
     {{CONNECTION_MISANSWERED, RESET_WITH(CONNECTION_SAY_RESET)},
      {CONNECTION_DIALLED, 0},
      {CONNECTION_TIMEOUT, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a router of the first version does not know the service",
     &asks,
     {{CONNECTION_TOKEN_REFUSED, GONE_WITH(CONNECTION_RESET_SOCKET)}, {END_OF_LIFE, CONNECTION_GONE}}},
    {"the router does not know the service",
     &dials,
     {{CONNECTION_LOCAL_EOF, 0},
      {CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_RESET_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the other side resets",
     &dials,
     {{CONNECTION_ANSWERED, CONNECTION_STOP_TIMER},
      {CONNECTION_REMOTE_RESET, RESET_WITH(CONNECTION_HALF_CLOSE)},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the application resets",
     &dials,
     {{CONNECTION_ANSWERED, CONNECTION_STOP_TIMER},
      {CONNECTION_SOCKET_FAILED, RESET_WITH(CONNECTION_SAY_RESET)},
      {CONNECTION_TIMEOUT, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the application resets before anybody answered",
     &dials,
     {{CONNECTION_SOCKET_FAILED, RESET_WITH(CONNECTION_CANCEL)},
      {CONNECTION_ANSWERED, 0},
      {CONNECTION_STREAM_FAILED, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a stream that ends well although an end is missing lost something",
     &dials,
     {{CONNECTION_ANSWERED, CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_RESET_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the router is lost in the middle",
     &was_parked,
     {{CONNECTION_ANSWERED, CONNECTION_SAY_HEADER},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_RESET_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"nobody comes",
     &dials,
     {{CONNECTION_TIMEOUT, RESET_WITH(CONNECTION_CANCEL)},
      {CONNECTION_STREAM_FAILED, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"cut while the router is asked",
     &asks,
     {{CONNECTION_CUT, GONE_WITH(CONNECTION_RESET_SOCKET)}, {CONNECTION_TOKEN, 0}, {END_OF_LIFE, CONNECTION_GONE}}},
};

START_TEST(test_a_life)
{
  const struct life *life = &lives[_i];
  struct connection c;
  unsigned first = life->beginning->start(&c, life->beginning->flag);
  ck_assert_msg(first == life->beginning->actions, "%s: begins with %#x", life->name, first);
  const struct moment *m = life->moments;
  for (; m->event != END_OF_LIFE; m++) {
    unsigned actions = connection_step(&c, m->event);
    ck_assert_msg(actions == m->actions, "%s: event %d gave %#x, not %#x", life->name, (int)m->event, actions,
                  m->actions);
  }
  ck_assert_msg(c.state == m->actions, "%s: ended in state %d", life->name, (int)c.state);
}
END_TEST

/* What the world around the machine has done so far, by its actions. */
struct world {
  bool stream, headed, socket_open, socket_attached, said_eof, half_closed, shut, freed;
};

static void check_words(struct world *w, const struct connection *c, unsigned actions)
{
  if (actions & CONNECTION_SAY_HEADER) {
    ck_assert(w->stream && !w->headed && !w->socket_attached && c->role == CONNECTION_SERVICE);
    w->headed = true;
  }
  if (actions & (CONNECTION_SAY_HEADER | CONNECTION_SAY_EOF | CONNECTION_SAY_RESET))
    ck_assert(w->stream && c->other == CONNECTION_OURS && !w->half_closed);
  if (actions & CONNECTION_SAY_EOF) {
    ck_assert(c->local_eof && !w->said_eof);
    w->said_eof = true;
  }
  if (actions & CONNECTION_HALF_CLOSE) {
    ck_assert(w->stream && !w->half_closed);
    /* Before both ends the other side's acks and ours must still go, unless it is broken or has none. */
    ck_assert((w->said_eof && c->remote_eof) || c->other == CONNECTION_FIRST_VERSION ||
              actions & CONNECTION_RESET_SOCKET);
    w->half_closed = true;
  }
}

static void check_socket(struct world *w, const struct connection *c, unsigned actions)
{
  if (actions & CONNECTION_ATTACH) {
    ck_assert(w->stream && w->socket_open && !w->socket_attached);
    ck_assert(c->role == CONNECTION_FORWARD || w->headed || c->other == CONNECTION_FIRST_VERSION);
    w->socket_attached = true;
  }
  if (actions & CONNECTION_SHUTDOWN_SOCKET) {
    ck_assert(!w->shut && w->socket_open && w->socket_attached);
    w->shut = true;
  }
  if (actions & CONNECTION_LINGER)
    ck_assert(w->socket_open && w->socket_attached && c->other == CONNECTION_FIRST_VERSION);
  if (c->state == CONNECTION_OPEN)
    ck_assert(w->socket_attached && w->shut == c->remote_eof);
  ck_assert(!(actions & CONNECTION_CLOSE_SOCKET && actions & CONNECTION_RESET_SOCKET));
  if (actions & (CONNECTION_CLOSE_SOCKET | CONNECTION_RESET_SOCKET))
    w->socket_open = false;
}

static void check_actions(struct world *w, const struct connection *c, unsigned actions)
{
  ck_assert(!w->freed || actions == 0);
  if (actions & CONNECTION_OPEN_STREAM) {
    ck_assert(!w->stream);
    w->stream = true;
  }
  check_words(w, c, actions);
  check_socket(w, c, actions);
  if (actions & CONNECTION_FREE) {
    ck_assert(c->state == CONNECTION_GONE && actions & CONNECTION_STOP_TIMER);
    ck_assert_msg(!w->socket_open, "the socket is left open");
    w->freed = true;
  }
}

/* Events that the world can bring now. */
static bool possible(const struct world *w, const struct connection *c, enum connection_event e, unsigned seen)
{
  const unsigned meetings = 1u << CONNECTION_ANSWERED | 1u << CONNECTION_MISANSWERED | 1u << CONNECTION_ORIGINAL;

  if (seen & 1u << e && e != CONNECTION_TIMEOUT && e != CONNECTION_CUT)
    return false;
  switch (e) {
  case CONNECTION_TOKEN:
  case CONNECTION_TOKEN_REFUSED:
    return c->state == CONNECTION_ASKING;
  case CONNECTION_DIALLED:
  case CONNECTION_DIAL_FAILED:
    return c->role == CONNECTION_SERVICE && !(seen & (1u << CONNECTION_DIALLED | 1u << CONNECTION_DIAL_FAILED));
  case CONNECTION_ANSWERED:
  case CONNECTION_MISANSWERED:
  case CONNECTION_ORIGINAL:
    return w->stream && !w->headed && !(seen & meetings);
  case CONNECTION_LOCAL_EOF:
  case CONNECTION_SOCKET_FAILED:
    return w->socket_attached && w->socket_open;
  case CONNECTION_REMOTE_EOF:
  case CONNECTION_REMOTE_RESET:
    return c->other == CONNECTION_OURS;
  case CONNECTION_STREAM_OK:
  case CONNECTION_STREAM_FAILED:
    return w->stream;
  default:
    return true;
  }
}

START_TEST(test_random_schedules)
{
  static const struct beginning *const beginnings[] = {&dials, &asks, &takes_token, &was_parked};

  srand((unsigned)_i);
  for (int round = 0; round < 20000; round++) {
    const struct beginning *b = beginnings[rand() % 4];
    struct connection c;
    struct world w = {.socket_open = b == &dials || b == &asks, .stream = b == &was_parked};
    unsigned seen = 0;
    check_actions(&w, &c, b->start(&c, b->flag));
    for (int n = 0; n < 24; n++) {
      enum connection_event e = (enum connection_event)(rand() % (CONNECTION_CUT + 1));
      if ((e == CONNECTION_CUT || e == CONNECTION_TIMEOUT) && rand() % 4)
        continue;
      if (w.freed || !possible(&w, &c, e, seen))
        continue;
      seen |= 1u << e;
      if (e == CONNECTION_DIALLED && c.state == CONNECTION_OPENING)
        w.socket_open = true;
      check_actions(&w, &c, connection_step(&c, e));
    }
    for (int n = 0; n < 2; n++)
      check_actions(&w, &c, connection_step(&c, CONNECTION_TIMEOUT));
    ck_assert_msg(w.freed, "two timeouts do not end it: state %d", (int)c.state);
  }
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("connection");
  TCase *lives_case = tcase_create("lives");
  tcase_add_loop_test(lives_case, test_a_life, 0, (int)(sizeof lives / sizeof *lives));
  suite_add_tcase(suite, lives_case);
  TCase *random_case = tcase_create("random");
  tcase_add_loop_test(random_case, test_random_schedules, 0, 8);
  suite_add_tcase(suite, random_case);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
