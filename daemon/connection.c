#include "connection.h"

static const unsigned char allowed[][CONNECTION_GONE + 1] = {
    /* from, to          ASKING OPENING OPEN CLOSING GONE */
    [CONNECTION_ASKING] = {0, 1, 0, 0, 1},  [CONNECTION_OPENING] = {0, 0, 1, 1, 1}, [CONNECTION_OPEN] = {0, 0, 0, 1, 1},
    [CONNECTION_CLOSING] = {0, 0, 0, 0, 1}, [CONNECTION_GONE] = {0, 0, 0, 0, 0},
};

static void move(struct connection *c, enum connection_state to)
{
  if (allowed[c->state][to])
    c->state = to;
}

static unsigned gone(struct connection *c, unsigned actions)
{
  move(c, CONNECTION_GONE);
  return actions | CONNECTION_STOP_TIMER | CONNECTION_FREE;
}

/* Both ends are said, and our socket has taken everything. The stream ends when the other side's has, too, however long
 * that takes. */
static unsigned both_ended(struct connection *c, unsigned actions)
{
  move(c, CONNECTION_CLOSING);
  return actions | CONNECTION_HALF_CLOSE | CONNECTION_CLOSE_SOCKET | CONNECTION_STOP_TIMER;
}

/* Our last word is `actions`; what is left is to see the stream end, soon. */
static unsigned closing(struct connection *c, unsigned actions)
{
  move(c, CONNECTION_CLOSING);
  return actions | CONNECTION_START_TIMER;
}

/* The connection breaks on our side: the other one is told, if it understands. */
static unsigned broken(struct connection *c)
{
  unsigned word = c->other == CONNECTION_OURS ? CONNECTION_SAY_RESET : CONNECTION_CANCEL;
  return closing(c, word | CONNECTION_RESET_SOCKET);
}

static unsigned say_local_eof(struct connection *c)
{
  if (!c->local_eof || c->other == CONNECTION_UNKNOWN)
    return 0;
  if (c->other == CONNECTION_FIRST_VERSION)
    return CONNECTION_HALF_CLOSE;
  return c->remote_eof ? both_ended(c, CONNECTION_SAY_EOF) : CONNECTION_SAY_EOF;
}

static unsigned open_if_ready(struct connection *c)
{
  if (c->state != CONNECTION_OPENING || c->other == CONNECTION_UNKNOWN || !c->has_socket)
    return 0;
  move(c, CONNECTION_OPEN);
  unsigned actions = CONNECTION_STOP_TIMER | (c->remote_eof ? CONNECTION_SHUTDOWN_SOCKET : 0);
  /* F's socket was given to the stream when that was opened. */
  return c->role == CONNECTION_SERVICE ? actions | CONNECTION_ATTACH : actions;
}

static unsigned met(struct connection *c, enum connection_other other)
{
  if (c->other != CONNECTION_UNKNOWN)
    return 0;
  c->other = other;
  unsigned actions = c->role == CONNECTION_SERVICE && other == CONNECTION_OURS ? CONNECTION_SAY_HEADER : 0;
  if (c->dial_failed)
    return actions | broken(c);
  actions |= open_if_ready(c);
  return actions | say_local_eof(c);
}

static unsigned misanswered(struct connection *c)
{
  if (c->other != CONNECTION_UNKNOWN)
    return 0;
  c->other = CONNECTION_OURS;
  return broken(c);
}

static unsigned remote_eof(struct connection *c)
{
  if (c->remote_eof)
    return 0;
  c->remote_eof = true;
  if (c->local_eof && c->other == CONNECTION_OURS)
    return both_ended(c, 0);
  return c->state == CONNECTION_OPEN ? CONNECTION_SHUTDOWN_SOCKET : 0;
}

static unsigned stream_ok(struct connection *c)
{
  bool original = c->other == CONNECTION_FIRST_VERSION;
  /* In order is: after both ends, or whenever a side of the first version is done. Otherwise something was lost. */
  if (c->local_eof && (original || c->remote_eof))
    return gone(c, CONNECTION_CLOSE_SOCKET);
  if (original && !c->has_socket)
    return gone(c, 0);
  if (original) {
    /* To close a socket with bytes unread would reset it, and destroy what its peer has not taken yet. */
    c->lingering = true;
    return closing(c, CONNECTION_LINGER);
  }
  return gone(c, CONNECTION_RESET_SOCKET);
}

/* What our socket brings flows at once, whoever may answer. */
static unsigned dial(struct connection *c)
{
  move(c, CONNECTION_OPENING);
  return CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER;
}

static unsigned step_asking(struct connection *c, enum connection_event event)
{
  switch (event) {
  case CONNECTION_TOKEN:
    return dial(c);
  case CONNECTION_TOKEN_REFUSED:
  case CONNECTION_TIMEOUT:
  case CONNECTION_CUT:
    return gone(c, CONNECTION_RESET_SOCKET);
  default:
    return 0;
  }
}

static unsigned step_live(struct connection *c, enum connection_event event)
{
  switch (event) {
  case CONNECTION_DIALLED:
    c->has_socket = true;
    return open_if_ready(c);
  case CONNECTION_DIAL_FAILED:
    c->dial_failed = true;
    return c->other != CONNECTION_UNKNOWN ? broken(c) : 0;
  case CONNECTION_ANSWERED:
    return met(c, CONNECTION_OURS);
  case CONNECTION_MISANSWERED:
    return misanswered(c);
  case CONNECTION_ORIGINAL:
    return met(c, CONNECTION_FIRST_VERSION);
  case CONNECTION_LOCAL_EOF:
    c->local_eof = true;
    return say_local_eof(c);
  case CONNECTION_REMOTE_EOF:
    return remote_eof(c);
  case CONNECTION_REMOTE_RESET:
    return closing(c, CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET);
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_TIMEOUT:
  case CONNECTION_CUT:
    return broken(c);
  case CONNECTION_STREAM_OK:
    return stream_ok(c);
  case CONNECTION_STREAM_FAILED:
    return gone(c, CONNECTION_RESET_SOCKET);
  default:
    return 0;
  }
}

static unsigned step_closing(struct connection *c, enum connection_event event)
{
  switch (event) {
  case CONNECTION_LOCAL_EOF:
  case CONNECTION_SOCKET_FAILED:
    return c->lingering ? gone(c, CONNECTION_CLOSE_SOCKET) : 0;
  case CONNECTION_STREAM_OK:
  case CONNECTION_STREAM_FAILED:
  case CONNECTION_TIMEOUT:
    return gone(c, c->lingering ? CONNECTION_CLOSE_SOCKET : 0);
  case CONNECTION_CUT:
    return gone(c, c->lingering ? CONNECTION_RESET_SOCKET : 0);
  default:
    return 0;
  }
}

unsigned connection_start_forward(struct connection *c, bool asks)
{
  *c = (struct connection){.role = CONNECTION_FORWARD, .has_socket = true, .state = CONNECTION_ASKING};
  return asks ? CONNECTION_START_TIMER : dial(c);
}

unsigned connection_start_service(struct connection *c, bool parked)
{
  *c = (struct connection){.role = CONNECTION_SERVICE, .state = CONNECTION_OPENING};
  return (parked ? 0 : CONNECTION_OPEN_STREAM) | CONNECTION_DIAL | CONNECTION_START_TIMER;
}

unsigned connection_step(struct connection *c, enum connection_event event)
{
  switch (c->state) {
  case CONNECTION_ASKING:
    return step_asking(c, event);
  case CONNECTION_OPENING:
  case CONNECTION_OPEN:
    return step_live(c, event);
  case CONNECTION_CLOSING:
    return step_closing(c, event);
  case CONNECTION_GONE:
    break;
  }
  return 0;
}
