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

struct life {
  const char *name;
  enum connection_role role;
  struct moment moments[8];
};

#define GONE_WITH(action) ((action) | CONNECTION_STOP_TIMER | CONNECTION_FREE)

static const struct life lives[] = {
    {"forward, both ends, the local one first",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_PAIRED, CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF},
      {CONNECTION_REMOTE_EOF, CONNECTION_CLOSE_SOCKET | CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {CONNECTION_CUT, 0},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"service, both ends, the remote one first",
     CONNECTION_SERVICE,
     {{CONNECTION_PAIRED, 0},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {CONNECTION_REMOTE_EOF, CONNECTION_SHUTDOWN_SOCKET},
      {CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF | CONNECTION_CLOSE_SOCKET | CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"an end is held back until it is known to whom it is said",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_LOCAL_EOF, 0},
      {CONNECTION_PAIRED, CONNECTION_STOP_TIMER | CONNECTION_SAY_EOF},
      {END_OF_LIFE, CONNECTION_OPEN}}},
    {"to a peer of the first version nothing is said in-band, and one end ends both",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_LOCAL_EOF, 0},
      {CONNECTION_PAIRED_ORIGINAL, CONNECTION_STOP_TIMER | CONNECTION_HALF_CLOSE},
      {CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_CLOSE_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a peer of the first version ends",
     CONNECTION_SERVICE,
     {{CONNECTION_DIALLED, CONNECTION_ATTACH},
      {CONNECTION_PAIRED_ORIGINAL, CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, CONNECTION_LINGER | CONNECTION_START_TIMER},
      {CONNECTION_LOCAL_EOF, GONE_WITH(CONNECTION_CLOSE_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a peer of the first version ends, and the target never does",
     CONNECTION_SERVICE,
     {{CONNECTION_DIALLED, CONNECTION_ATTACH},
      {CONNECTION_PAIRED_ORIGINAL, CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, CONNECTION_LINGER | CONNECTION_START_TIMER},
      {CONNECTION_TIMEOUT, GONE_WITH(CONNECTION_CLOSE_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a peer of the first version ends before the target answers",
     CONNECTION_SERVICE,
     {{CONNECTION_PAIRED_ORIGINAL, 0}, {CONNECTION_STREAM_OK, GONE_WITH(0)}, {END_OF_LIFE, CONNECTION_GONE}}},
    {"an end that comes before the target answers is passed on",
     CONNECTION_SERVICE,
     {{CONNECTION_PAIRED, 0},
      {CONNECTION_REMOTE_EOF, 0},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_SHUTDOWN_SOCKET | CONNECTION_STOP_TIMER},
      {CONNECTION_LOCAL_EOF, CONNECTION_SAY_EOF | CONNECTION_CLOSE_SOCKET | CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the target refuses before the pair exists",
     CONNECTION_SERVICE,
     {{CONNECTION_DIAL_FAILED, 0},
      {CONNECTION_PAIRED, CONNECTION_SAY_RESET | CONNECTION_RESET_SOCKET | CONNECTION_START_TIMER},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the target refuses a peer of the first version",
     CONNECTION_SERVICE,
     {{CONNECTION_PAIRED_ORIGINAL, 0},
      {CONNECTION_DIAL_FAILED, CONNECTION_CANCEL | CONNECTION_RESET_SOCKET | CONNECTION_START_TIMER},
      {CONNECTION_STREAM_FAILED, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the router does not know the service",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN_REFUSED, GONE_WITH(CONNECTION_RESET_SOCKET)}, {END_OF_LIFE, CONNECTION_GONE}}},
    {"the other side resets",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_PAIRED, CONNECTION_STOP_TIMER},
      {CONNECTION_REMOTE_RESET, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET | CONNECTION_START_TIMER},
      {CONNECTION_STREAM_OK, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the application resets",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_PAIRED, CONNECTION_STOP_TIMER},
      {CONNECTION_SOCKET_FAILED, CONNECTION_SAY_RESET | CONNECTION_RESET_SOCKET | CONNECTION_START_TIMER},
      {CONNECTION_TIMEOUT, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"a stream that ends well although an end is missing lost something",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_PAIRED, CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_OK, GONE_WITH(CONNECTION_RESET_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"the router is lost in the middle",
     CONNECTION_SERVICE,
     {{CONNECTION_PAIRED, 0},
      {CONNECTION_DIALLED, CONNECTION_ATTACH | CONNECTION_STOP_TIMER},
      {CONNECTION_STREAM_FAILED, GONE_WITH(CONNECTION_RESET_SOCKET)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"nobody comes",
     CONNECTION_FORWARD,
     {{CONNECTION_TOKEN, CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER},
      {CONNECTION_TIMEOUT, CONNECTION_CANCEL | CONNECTION_RESET_SOCKET | CONNECTION_START_TIMER},
      {CONNECTION_STREAM_FAILED, GONE_WITH(0)},
      {END_OF_LIFE, CONNECTION_GONE}}},
    {"cut while the router is asked",
     CONNECTION_FORWARD,
     {{CONNECTION_CUT, GONE_WITH(CONNECTION_RESET_SOCKET)}, {CONNECTION_TOKEN, 0}, {END_OF_LIFE, CONNECTION_GONE}}},
};

START_TEST(test_a_life)
{
  const struct life *life = &lives[_i];
  struct connection c;
  connection_start(&c, life->role);
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
  bool stream, socket_open, socket_attached, said_last, shut, freed;
};

static void check_actions(struct world *w, const struct connection *c, unsigned actions)
{
  ck_assert(!w->freed || actions == 0);
  if (actions & CONNECTION_OPEN_STREAM) {
    ck_assert(!w->stream);
    w->stream = true;
  }
  if (actions & CONNECTION_ATTACH) {
    ck_assert(w->stream && w->socket_open && !w->socket_attached);
    w->socket_attached = true;
  }
  if (actions & (CONNECTION_SAY_EOF | CONNECTION_SAY_RESET))
    ck_assert(w->stream && c->paired && !c->original);
  if (actions & (CONNECTION_SAY_EOF | CONNECTION_HALF_CLOSE)) {
    ck_assert(w->stream && !(w->said_last && actions & CONNECTION_SAY_EOF));
    w->said_last = true;
  }
  if (actions & CONNECTION_SHUTDOWN_SOCKET) {
    ck_assert(!w->shut && w->socket_open && w->socket_attached);
    w->shut = true;
  }
  if (actions & CONNECTION_LINGER)
    ck_assert(w->socket_open && w->socket_attached && c->original);
  if (c->state == CONNECTION_OPEN && c->remote_eof)
    ck_assert(w->shut);
  ck_assert(!(actions & CONNECTION_CLOSE_SOCKET && actions & CONNECTION_RESET_SOCKET));
  if (actions & (CONNECTION_CLOSE_SOCKET | CONNECTION_RESET_SOCKET))
    w->socket_open = false;
  if (actions & CONNECTION_FREE) {
    ck_assert(c->state == CONNECTION_GONE && actions & CONNECTION_STOP_TIMER);
    ck_assert_msg(!w->socket_open, "the socket is left open");
    w->freed = true;
  }
}

/* Events that the world can bring now. */
static bool possible(const struct world *w, const struct connection *c, enum connection_event e, unsigned seen)
{
  if (seen & 1u << e && e != CONNECTION_TIMEOUT && e != CONNECTION_CUT)
    return false;
  switch (e) {
  case CONNECTION_TOKEN:
  case CONNECTION_TOKEN_REFUSED:
    return c->role == CONNECTION_FORWARD && !(seen & (1u << CONNECTION_TOKEN | 1u << CONNECTION_TOKEN_REFUSED));
  case CONNECTION_DIALLED:
  case CONNECTION_DIAL_FAILED:
    return c->role == CONNECTION_SERVICE && !(seen & (1u << CONNECTION_DIALLED | 1u << CONNECTION_DIAL_FAILED));
  case CONNECTION_PAIRED:
  case CONNECTION_PAIRED_ORIGINAL:
    return w->stream && !(seen & (1u << CONNECTION_PAIRED | 1u << CONNECTION_PAIRED_ORIGINAL));
  case CONNECTION_LOCAL_EOF:
  case CONNECTION_SOCKET_FAILED:
    return w->socket_attached && w->socket_open;
  case CONNECTION_REMOTE_EOF:
  case CONNECTION_REMOTE_RESET:
    return c->paired && !c->original;
  case CONNECTION_STREAM_OK:
  case CONNECTION_STREAM_FAILED:
    return w->stream;
  default:
    return true;
  }
}

START_TEST(test_random_schedules)
{
  srand((unsigned)_i);
  for (int round = 0; round < 20000; round++) {
    enum connection_role role = rand() % 2 ? CONNECTION_FORWARD : CONNECTION_SERVICE;
    struct connection c;
    struct world w = {.socket_open = role == CONNECTION_FORWARD};
    unsigned seen = 0;
    check_actions(&w, &c, connection_start(&c, role));
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
