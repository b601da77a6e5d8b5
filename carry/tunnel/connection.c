/* The machine: which state follows which, and what an event means in each as long as the connection lives. Its streams
 * are in connection_streams.c, its end is in connection_end.c.
 */
#include "connection_internal.h"
#include "proto/host/bug.h"

enum { GRACE_MS = 5000 /* a router that gives up a dial says more than we could */ };

static const unsigned char allowed[][CONNECTION_GONE + 1] = {
    /* from, to           WAITING ASKING OPENING OPEN CLOSING GONE */
    [CONNECTION_WAITING] = {0, 1, 1, 0, 0, 1}, [CONNECTION_ASKING] = {0, 0, 1, 0, 0, 1},
    [CONNECTION_OPENING] = {0, 0, 0, 1, 1, 1}, [CONNECTION_OPEN] = {0, 0, 0, 0, 1, 1},
    [CONNECTION_CLOSING] = {0, 0, 0, 0, 0, 1}, [CONNECTION_GONE] = {0, 0, 0, 0, 0, 0},
};

void connection_move(struct connection *c, enum connection_state to)
{
  if (c->state == to || allowed[c->state][to]) {
    c->state = to;
    return;
  }
  c->broken = true;
  bug_found();
}

/* What the step made of it may be anything, but it ends. */
static unsigned unless_broken(struct connection *c, unsigned actions)
{
  return c->broken && c->state != CONNECTION_GONE ? connection_abandon(c) : actions;
}

unsigned connection_gone(struct connection *c, unsigned actions)
{
  connection_move(c, CONNECTION_GONE);
  if (c->role == CONNECTION_SERVICE && c->other == CONNECTION_OURS)
    actions |= CONNECTION_BURY;
  return actions | CONNECTION_FREE;
}

/* ---- Before the other side is known ---- */

static unsigned step_waiting(struct connection *c, enum connection_event event, uint64_t now)
{
  switch (event) {
  case CONNECTION_ROUTER_UP:
    connection_move(c, CONNECTION_OPENING);
    c->dial_until += GRACE_MS;
    return connection_dial(c, now);
  case CONNECTION_ROUTER_ORIGINAL:
    connection_move(c, CONNECTION_ASKING);
    c->asked = true;
    c->dial_until += GRACE_MS;
    return CONNECTION_ASK;
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_TIME:
  case CONNECTION_CUT:
  case CONNECTION_END:
    return connection_gone(c, CONNECTION_RESET_SOCKET);
  default:
    return 0;
  }
}

static unsigned step_asking(struct connection *c, enum connection_event event, uint64_t now)
{
  switch (event) {
  case CONNECTION_TOKEN:
    connection_move(c, CONNECTION_OPENING);
    return connection_dial(c, now);
  case CONNECTION_TOKEN_REFUSED:
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_TIME:
  case CONNECTION_CUT:
  case CONNECTION_END:
    return connection_gone(c, CONNECTION_RESET_SOCKET);
  default:
    return 0;
  }
}

/* ---- While it lives ---- */

static unsigned say_local_eof(struct connection *c)
{
  if (!c->local_eof || c->other == CONNECTION_UNKNOWN)
    return 0;
  if (c->other == CONNECTION_FIRST_VERSION)
    return CONNECTION_HALF_CLOSE;
  return c->remote_eof ? connection_end_both(c, CONNECTION_SAY_EOF) : CONNECTION_SAY_EOF;
}

/* F: somebody is there. */
static unsigned met(struct connection *c, enum connection_other other, uint64_t now)
{
  if (c->other != CONNECTION_UNKNOWN)
    return 0;
  c->other = other;
  c->established = other == CONNECTION_OURS;
  c->dial_until = NEVER;
  c->backoff = BACKOFF_MIN_MS;
  c->shaky_since = NEVER;
  connection_move(c, CONNECTION_OPEN);
  return say_local_eof(c) | connection_renew_if_due(c, now);
}

static unsigned remote_eof(struct connection *c)
{
  if (c->remote_eof)
    return 0;
  c->remote_eof = true;
  return c->local_eof && c->other == CONNECTION_OURS ? connection_end_both(c, 0) : CONNECTION_SHUTDOWN_SOCKET;
}

static unsigned stream_ok(struct connection *c, uint64_t now)
{
  if (c->other != CONNECTION_FIRST_VERSION)
    return connection_detach(c, now);
  if (c->local_eof || !c->has_socket)
    return connection_gone(c, connection_drop_streams(c) | CONNECTION_CLOSE_SOCKET);
  return connection_linger(c, now);
}

static unsigned stream_lost(struct connection *c, uint64_t now)
{
  if (c->other == CONNECTION_FIRST_VERSION || c->asked)
    return connection_abandon(c);
  return connection_detach(c, now);
}

/* Whatever is due, one thing at a time: the edge asks for the deadline anew after each. */
static unsigned live_time(struct connection *c, uint64_t now)
{
  if (now >= c->dial_until || now >= c->hold_until) {
    c->reset = true;
    return connection_abandon(c);
  }
  return connection_streams_time(c, now);
}

static unsigned dialled(struct connection *c)
{
  c->has_socket = true;
  connection_move(c, CONNECTION_OPEN);
  /* An end without data may have come before. */
  return CONNECTION_GIVE_SOCKET | (c->remote_eof ? CONNECTION_SHUTDOWN_SOCKET : 0);
}

static unsigned misanswered(struct connection *c, uint64_t now)
{
  if (c->other != CONNECTION_UNKNOWN)
    return 0;
  c->other = CONNECTION_OURS;
  c->reset_heard = true; /* it may say what it likes from now on */
  return connection_break(c, now);
}

static unsigned step_live(struct connection *c, enum connection_event event, uint64_t now)
{
  switch (event) {
  case CONNECTION_ROUTER_UP:
    return connection_router_up(c, now);
  case CONNECTION_ROUTER_ORIGINAL:
  case CONNECTION_ROUTER_DOWN:
  case CONNECTION_ROUTER_REFUSED:
    connection_router_down(c);
    return 0;
  case CONNECTION_RENEW:
    return connection_renew(c, now);
  case CONNECTION_DIALLED:
    return dialled(c);
  case CONNECTION_ANSWERED:
    return met(c, CONNECTION_OURS, now);
  case CONNECTION_MISANSWERED:
    return misanswered(c, now);
  case CONNECTION_ORIGINAL:
    return met(c, CONNECTION_FIRST_VERSION, now);
  case CONNECTION_LOCAL_EOF:
    c->local_eof = true;
    return say_local_eof(c);
  case CONNECTION_REMOTE_EOF:
    return remote_eof(c);
  case CONNECTION_REMOTE_RESET:
    return connection_remote_reset(c, now);
  case CONNECTION_END:
    c->ending = true;
    return connection_break(c, now);
  case CONNECTION_DIAL_FAILED:
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_CUT:
    return connection_break(c, now);
  case CONNECTION_STREAM_OK:
    return stream_ok(c, now);
  case CONNECTION_STREAM_LOST:
    return stream_lost(c, now);
  case CONNECTION_STREAM_FAILED:
    return c->established ? stream_lost(c, now) : connection_abandon(c);
  case CONNECTION_NEXT_ANSWERED:
    return connection_next_answered(c, now);
  case CONNECTION_NEXT_MISANSWERED:
  case CONNECTION_NEXT_LOST:
    return connection_lose_next(c, now);
  case CONNECTION_NEXT_RESET:
  case CONNECTION_PEER_LOST:
    c->reset_heard = true;
    return connection_abandon(c);
  case CONNECTION_TIME:
    return live_time(c, now);
  default:
    return 0;
  }
}

/* ---- The machine ---- */

static void start(struct connection *c, enum connection_role role, const struct connection_times *times)
{
  *c = (struct connection){
      .role = role,
      .times = times,
      .backoff = BACKOFF_MIN_MS,
      .patience = 1,
      .dial_until = NEVER,
      .next_until = NEVER,
      .retry_at = NEVER,
      .hold_until = NEVER,
      .close_until = NEVER,
      .shaky_since = NEVER,
      .refused_at = NEVER,
  };
}

unsigned connection_start_forward(struct connection *c, const struct connection_times *times, uint64_t now)
{
  start(c, CONNECTION_FORWARD, times);
  c->state = CONNECTION_WAITING;
  c->has_socket = true;
  c->dial_until = now + times->dial;
  return CONNECTION_GIVE_SOCKET;
}

unsigned connection_start_service(struct connection *c, const struct connection_times *times, bool original,
                                  uint64_t epoch, uint64_t now)
{
  start(c, CONNECTION_SERVICE, times);
  c->state = CONNECTION_OPENING;
  c->other = original ? CONNECTION_FIRST_VERSION : CONNECTION_OURS;
  c->established = !original;
  c->epoch = epoch;
  return connection_use_next(c, now) | CONNECTION_DIAL;
}

static unsigned step(struct connection *c, enum connection_event event, uint64_t now)
{
  switch (c->state) {
  case CONNECTION_WAITING:
    return step_waiting(c, event, now);
  case CONNECTION_ASKING:
    return step_asking(c, event, now);
  case CONNECTION_OPENING:
  case CONNECTION_OPEN:
    return step_live(c, event, now);
  case CONNECTION_CLOSING:
    return connection_step_closing(c, event, now);
  case CONNECTION_GONE:
    break;
  }
  return 0;
}

unsigned connection_step(struct connection *c, enum connection_event event, uint64_t now)
{
  if (event <= CONNECTION_ROUTER_REFUSED)
    connection_admit(c, event, now);
  if (event == CONNECTION_ROUTER_UP)
    c->router = true;
  c->heard |= event == CONNECTION_HEARD;
  return unless_broken(c, step(c, event, now));
}

unsigned connection_attached(struct connection *c, uint64_t epoch, bool possible, uint64_t now)
{
  bool alive = c->state != CONNECTION_GONE && !c->ending && c->other == CONNECTION_OURS;
  if (!alive || !possible || epoch <= c->epoch)
    return CONNECTION_REFUSE_NEXT;
  c->epoch = epoch;
  c->close_until = NEVER;
  unsigned actions = connection_use_next(c, now);
  return unless_broken(c, c->state == CONNECTION_CLOSING ? actions | connection_say_last_word(c, now) : actions);
}

void connection_wait_longer(struct connection *c, uint64_t ms, uint64_t now)
{
  if (c->dial_until != NEVER)
    c->dial_until = now + ms;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
  return a < b ? a : b;
}

uint64_t connection_deadline(const struct connection *c)
{
  uint64_t streams = earlier(c->next_until, c->retry_at);
  uint64_t ends = earlier(earlier(c->dial_until, c->hold_until), c->close_until);
  return c->state == CONNECTION_GONE ? NEVER : earlier(streams, ends);
}

bool connection_detached(const struct connection *c)
{
  return c->hold_until != NEVER && !(c->has_next && c->in_time);
}
