/* Lives of a connection's state machine, told event by event: what comes when, what is done about it, and when the
 * machine wants to be asked again.
 */
#ifndef TEST_DAEMON_CONNECTION_H
#define TEST_DAEMON_CONNECTION_H

#include <check.h>
#include <inttypes.h>
#include <stdint.h>

#include "carry/tunnel/connection.h"

enum { DIAL_MS = 10000, HOLD_MS = 600000, MOMENTS_MAX = 20 };

/* S: attachments, as events. */
enum attachment {
  ATTACHED = 100,      /* with the next higher epoch */
  ATTACHED_HIGH,       /* with one far higher */
  ATTACHED_AGAIN,      /* with the epoch of the latest that was accepted */
  ATTACHED_LOWER,      /* with an older one */
  ATTACHED_IMPOSSIBLE, /* of another member, or with what cannot be */
};

struct moment {
  uint64_t at; /* ms since the beginning, as all times here */
  unsigned event;
  unsigned actions;
  uint64_t deadline; /* 0: none */
};

/* It begins as `after` did, and goes on. The first one of all starts the machine. */
struct life {
  const char *name;
  const struct life *after;
  unsigned (*start)(struct connection *c);
  unsigned started; /* with these actions */
  struct moment moments[MOMENTS_MAX];
  enum connection_state state; /* at the end */
  uint64_t epoch;              /* likewise */
};

static const struct connection_times times = {.dial = DIAL_MS, .hold = HOLD_MS};

#define NONE UINT64_C(0)
#define DIAL (CONNECTION_OPEN_STREAM | CONNECTION_USE_NEXT)
#define DROP_BOTH (CONNECTION_DROP_CURRENT | CONNECTION_DROP_NEXT)
#define DROP_AND_ATTACH (CONNECTION_DROP_CURRENT | CONNECTION_OPEN_STREAM)
#define LAST_WORD_SAID (CONNECTION_HALF_CLOSE | CONNECTION_CLOSE_SOCKET)
#define RESET_BOTH (CONNECTION_SAY_RESET | CONNECTION_RESET_SOCKET)
#define GONE_WITH(actions) ((unsigned)(actions) | CONNECTION_FREE)

static uint64_t deadline_of(const struct connection *c)
{
  uint64_t deadline = connection_deadline(c);

  return deadline == UINT64_MAX ? NONE : deadline;
}

static unsigned happen(struct connection *c, unsigned event, uint64_t at)
{
  switch (event) {
  case ATTACHED:
    return connection_attached(c, c->epoch + 1, true, at);
  case ATTACHED_HIGH:
    return connection_attached(c, c->epoch + 1000, true, at);
  case ATTACHED_AGAIN:
    return connection_attached(c, c->epoch, true, at);
  case ATTACHED_LOWER:
    return connection_attached(c, c->epoch - 1, true, at);
  case ATTACHED_IMPOSSIBLE:
    return connection_attached(c, c->epoch + 1, false, at);
  default:
    return connection_step(c, (enum connection_event)event, at);
  }
}

static void happen_as_told(struct connection *c, const struct life *life, const struct moment *m)
{
  unsigned actions = happen(c, m->event, m->at);
  uint64_t deadline = deadline_of(c);

  ck_assert_msg(actions == m->actions, "%s: event %u at %" PRIu64 " gave %#x, not %#x", life->name, m->event, m->at,
                actions, m->actions);
  ck_assert_msg(deadline == m->deadline, "%s: event %u at %" PRIu64 " left the deadline %" PRIu64 ", not %" PRIu64,
                life->name, m->event, m->at, deadline, m->deadline);
}

/* Moments without actions and a deadline at time 0 are the unused ones at the end. */
static bool is_used(const struct moment *m)
{
  return m->at > 0 || m->actions > 0 || m->deadline > 0;
}

static void live(struct connection *c, const struct life *life)
{
  if (life->after != NULL) {
    live(c, life->after);
  } else {
    unsigned actions = life->start(c);
    ck_assert_msg(actions == life->started, "%s: begins with %#x", life->name, actions);
  }
  for (const struct moment *m = life->moments; m < life->moments + MOMENTS_MAX && is_used(m); m++)
    happen_as_told(c, life, m);
  ck_assert_msg(c->state == life->state, "%s: ended in state %d", life->name, (int)c->state);
  ck_assert_msg(c->epoch == life->epoch, "%s: ended with epoch %" PRIu64, life->name, c->epoch);
}

/* Nothing happens to one that is gone. */
static void check_gone(struct connection *c)
{
  for (unsigned event = CONNECTION_ROUTER_UP; event <= CONNECTION_NEXT_LOST; event++)
    ck_assert_uint_eq(connection_step(c, (enum connection_event)event, 2 * HOLD_MS), 0);
  ck_assert_uint_eq(connection_attached(c, c->epoch + 1, true, 2 * HOLD_MS), CONNECTION_REFUSE_NEXT);
  ck_assert_uint_eq(connection_deadline(c), UINT64_MAX);
}

static void live_to_the_end(const struct life *life)
{
  struct connection c;

  live(&c, life);
  if (c.state == CONNECTION_GONE)
    check_gone(&c);
}

#define TEST_LIVES(group)                                                                                              \
  START_TEST(test_##group)                                                                                             \
  {                                                                                                                    \
    live_to_the_end(&group##_lives[_i]);                                                                               \
  }                                                                                                                    \
  END_TEST

#define ADD_LIVES(tcase, group)                                                                                        \
  tcase_add_loop_test(tcase, test_##group, 0, (int)(sizeof group##_lives / sizeof *group##_lives))

#endif
