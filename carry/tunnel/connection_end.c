/* How a connection ends: both directions in order, or broken on one side; and what it does from then on, until the
 * other side has heard its last word or nobody can.
 */
#include "connection_internal.h"

enum {
  CLOSING_MS = 2000, /* for a last word to get through, before its stream is given up */
  ENDING_MS = 1000,  /* the same, at the end of the program */
  LINGER_MS = 60000, /* for an application to take what it was given */
};

/* If the current stream can carry the rest, a next one is of no use any more. */
static unsigned closing(struct connection *c)
{
  unsigned actions = c->has_current && c->has_next ? CONNECTION_DROP_NEXT : 0;
  connection_move(c, CONNECTION_CLOSING);
  if (c->has_current) {
    c->has_next = false;
    c->next_until = c->retry_at = NEVER;
  }
  return actions;
}

/* Both ends are said, and our socket has taken everything. */
unsigned connection_end_both(struct connection *c, unsigned actions)
{
  return closing(c) | actions | (c->has_current ? CONNECTION_HALF_CLOSE : 0) | CONNECTION_CLOSE_SOCKET;
}

/* Says our reset on the present stream; to a peer of the first version, by cancelling the stream. Until the peer's
 * version is known, the reset waits. */
static unsigned say_reset(struct connection *c, uint64_t now)
{
  if (!c->has_current || c->other == CONNECTION_UNKNOWN)
    return 0;
  c->close_until = now + (c->ending ? ENDING_MS : CLOSING_MS * c->patience);
  return c->other == CONNECTION_OURS ? CONNECTION_SAY_RESET : CONNECTION_CANCEL;
}

/* The connection breaks on our side. The other side is told as soon as possible. */
unsigned connection_break(struct connection *c, uint64_t now)
{
  c->reset = true;
  c->reset_until = now + c->times->hold;
  bool nobody = !c->has_current && (c->role == CONNECTION_SERVICE || c->ending);
  if (nobody || (c->other == CONNECTION_UNKNOWN && (c->ending || c->asked)))
    return connection_gone(c, connection_drop_streams(c) | CONNECTION_RESET_SOCKET);
  return closing(c) | say_reset(c, now) | CONNECTION_RESET_SOCKET;
}

unsigned connection_remote_reset(struct connection *c, uint64_t now)
{
  c->reset_heard = true;
  c->close_until = now + CLOSING_MS;
  return closing(c) | CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET;
}

unsigned connection_abandon(struct connection *c)
{
  return connection_gone(c, connection_drop_streams(c) | CONNECTION_RESET_SOCKET);
}

/* To close a socket with bytes unread would reset it, and destroy what its peer has not taken yet. */
unsigned connection_linger(struct connection *c, uint64_t now)
{
  c->lingering = true;
  c->close_until = now + LINGER_MS;
  return closing(c) | CONNECTION_LINGER;
}

/* On a stream that has just become current. */
unsigned connection_say_last_word(struct connection *c, uint64_t now)
{
  if (c->reset)
    return say_reset(c, now);
  if (c->reset_heard)
    c->close_until = now + CLOSING_MS;
  return CONNECTION_HALF_CLOSE;
}

/* F's reset came before anybody had answered. */
static unsigned closing_met(struct connection *c, enum connection_other other, uint64_t now)
{
  if (c->other != CONNECTION_UNKNOWN)
    return 0;
  c->other = other;
  c->established = other == CONNECTION_OURS;
  c->dial_until = NEVER;
  return say_reset(c, now);
}

/* Whether our last word was heard will never be known. A side that asks the tombstone has not heard it, and may lack
 * data that we do not have any more. */
static unsigned unheard(struct connection *c)
{
  c->reset = true;
  return connection_gone(c, connection_drop_streams(c));
}

/* The stream with our last word on it is lost: whether that was heard is not known. */
static unsigned closing_lost(struct connection *c, uint64_t now)
{
  bool silent = c->reset_heard || c->ending || c->asked || c->other == CONNECTION_FIRST_VERSION;
  bool given_up = c->reset && (c->role == CONNECTION_SERVICE || now >= c->reset_until);
  if (silent || given_up)
    return unheard(c);
  return connection_detach(c, now);
}

static unsigned closing_time(struct connection *c, uint64_t now)
{
  if (now >= c->dial_until || now >= c->hold_until)
    return unheard(c);
  if (now >= c->close_until) {
    connection_grow_patient(c);
    return closing_lost(c, now);
  }
  return connection_streams_time(c, now);
}

static unsigned closing_end(struct connection *c, uint64_t now)
{
  c->ending = true;
  if (!c->has_current || c->other == CONNECTION_UNKNOWN)
    return unheard(c);
  c->close_until = now + ENDING_MS;
  return 0;
}

/* Both ends are said, but the other side may take its time, and need not get it. */
static unsigned closing_cut(struct connection *c, uint64_t now)
{
  if (c->role == CONNECTION_SERVICE && !c->has_current)
    return unheard(c);
  return c->reset || c->reset_heard ? 0 : connection_break(c, now);
}

static unsigned step_lingering(struct connection *c, enum connection_event event)
{
  switch (event) {
  case CONNECTION_LOCAL_EOF:
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_TIME:
  case CONNECTION_END: /* the kernel goes on giving it what it has */
    return connection_gone(c, connection_drop_streams(c) | CONNECTION_CLOSE_SOCKET);
  case CONNECTION_CUT:
    return connection_gone(c, connection_drop_streams(c) | CONNECTION_RESET_SOCKET);
  default:
    return 0;
  }
}

unsigned connection_step_closing(struct connection *c, enum connection_event event, uint64_t now)
{
  if (c->lingering)
    return step_lingering(c, event);
  switch (event) {
  case CONNECTION_ROUTER_UP:
    return connection_router_up(c, now);
  case CONNECTION_ROUTER_ORIGINAL:
  case CONNECTION_ROUTER_DOWN:
  case CONNECTION_ROUTER_REFUSED:
    connection_router_down(c);
    return 0;
  case CONNECTION_ANSWERED:
    return closing_met(c, CONNECTION_OURS, now);
  case CONNECTION_ORIGINAL:
    return closing_met(c, CONNECTION_FIRST_VERSION, now);
  case CONNECTION_STREAM_LOST:
    return closing_lost(c, now);
  case CONNECTION_STREAM_FAILED:
    return c->established ? closing_lost(c, now) : connection_gone(c, connection_drop_streams(c));
  case CONNECTION_NEXT_ANSWERED:
    return connection_use_next(c, now) | connection_say_last_word(c, now);
  case CONNECTION_NEXT_MISANSWERED:
  case CONNECTION_NEXT_LOST:
    return connection_lose_next(c, now);
  case CONNECTION_STREAM_OK:
  case CONNECTION_REMOTE_RESET:
  case CONNECTION_NEXT_RESET:
  case CONNECTION_PEER_LOST:
  case CONNECTION_MISANSWERED:
    return connection_gone(c, connection_drop_streams(c));
  case CONNECTION_CUT:
    return closing_cut(c, now);
  case CONNECTION_END:
    return closing_end(c, now);
  case CONNECTION_TIME:
    return closing_time(c, now);
  default:
    return 0;
  }
}
