#include "connection.h"

#include <string.h>

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

/* Both ends are said. The stream ends when the slower side has taken everything, however long that takes. */
static unsigned both_ended(struct connection *c, unsigned actions)
{
  move(c, CONNECTION_CLOSING);
  return actions | CONNECTION_CLOSE_SOCKET | CONNECTION_STOP_TIMER;
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
  unsigned word = c->paired && !c->original ? CONNECTION_SAY_RESET : CONNECTION_CANCEL;
  return closing(c, word | CONNECTION_RESET_SOCKET);
}

static unsigned say_local_eof(struct connection *c)
{
  if (!c->local_eof || !c->paired)
    return 0;
  if (c->original)
    return CONNECTION_HALF_CLOSE;
  if (c->remote_eof)
    return both_ended(c, CONNECTION_SAY_EOF);
  return CONNECTION_SAY_EOF;
}

static unsigned open_if_ready(struct connection *c)
{
  if (c->state != CONNECTION_OPENING || !c->paired || !c->has_socket)
    return 0;
  move(c, CONNECTION_OPEN);
  return CONNECTION_STOP_TIMER;
}

static unsigned paired(struct connection *c, bool original)
{
  if (c->paired)
    return 0;
  c->paired = true;
  c->original = original;
  if (c->dial_failed)
    return broken(c);
  unsigned actions = open_if_ready(c);
  return actions | say_local_eof(c);
}

static unsigned remote_eof(struct connection *c)
{
  if (c->remote_eof)
    return 0;
  c->remote_eof = true;
  /* The end of our direction was said when the socket ended, so the stream has only to end. */
  if (c->local_eof && c->paired && !c->original)
    return both_ended(c, 0);
  return c->has_socket ? CONNECTION_SHUTDOWN_SOCKET : 0;
}

static unsigned stream_ok(struct connection *c)
{
  /* In order is: after both ends, or whenever a side of the first version is done. Otherwise something was lost. */
  if (c->local_eof && (c->original || c->remote_eof))
    return gone(c, CONNECTION_CLOSE_SOCKET);
  if (c->original && !c->has_socket)
    return gone(c, 0);
  if (c->original) {
    /* To close a socket with bytes unread would reset it, and destroy what its peer has not taken yet. */
    c->lingering = true;
    return closing(c, CONNECTION_LINGER);
  }
  return gone(c, CONNECTION_RESET_SOCKET);
}

static unsigned step_asking(struct connection *c, enum connection_event event)
{
  switch (event) {
  case CONNECTION_TOKEN:
    move(c, CONNECTION_OPENING);
    return CONNECTION_OPEN_STREAM | CONNECTION_ATTACH | CONNECTION_START_TIMER;
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
    return CONNECTION_ATTACH | (c->remote_eof ? CONNECTION_SHUTDOWN_SOCKET : 0) | open_if_ready(c);
  case CONNECTION_DIAL_FAILED:
    c->dial_failed = true;
    return c->paired ? broken(c) : 0;
  case CONNECTION_PAIRED:
    return paired(c, false);
  case CONNECTION_PAIRED_ORIGINAL:
    return paired(c, true);
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

unsigned connection_start(struct connection *c, enum connection_role role)
{
  memset(c, 0, sizeof *c);
  c->role = role;
  c->has_socket = role == CONNECTION_FORWARD;
  c->state = role == CONNECTION_FORWARD ? CONNECTION_ASKING : CONNECTION_OPENING;
  if (role == CONNECTION_FORWARD)
    return CONNECTION_START_TIMER;
  return CONNECTION_OPEN_STREAM | CONNECTION_DIAL | CONNECTION_START_TIMER;
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
