#include "fixture_daemon_lives.h"

#include <check.h>
#include <inttypes.h>

const struct connection_times life_times = {.dial = DIAL_MS, .hold = HOLD_MS};

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

void live(struct connection *c, const struct life *life)
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
    ck_assert_uint_eq(connection_step(c, (enum connection_event)event, 2 * (uint64_t)HOLD_MS), 0);
  ck_assert_uint_eq(connection_attached(c, c->epoch + 1, true, 2 * (uint64_t)HOLD_MS), CONNECTION_REFUSE_NEXT);
  ck_assert_uint_eq(connection_deadline(c), UINT64_MAX);
}

void live_to_the_end(const struct life *life)
{
  struct connection c;

  live(&c, life);
  if (c.state == CONNECTION_GONE)
    check_gone(&c);
}
