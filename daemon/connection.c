/* Every event is handled in one of three ways: before the other side is known to be there, while the connection lives,
 * and when its last word is said. What streams do is the same in all of them, and stands first.
 */
#include "connection.h"

#define NEVER UINT64_MAX

enum {
  BACKOFF_MIN_MS = 50,
  BACKOFF_MAX_MS = 1000,
  GRACE_MS = 5000,   /* a router that gives up a dial says more than we could */
  NEXT_MS = 5000,    /* the router may have found a stream whose other end is dead without a word */
  CLOSING_MS = 2000, /* for a last word to get through, before its stream is given up */
  ENDING_MS = 1000,
  LASTING_MS = 1000, /* a stream that was current for so long was worth having */
  LINGER_MS = 60000,
};

static const unsigned char allowed[][CONNECTION_GONE + 1] = {
    /* from, to           WAITING ASKING OPENING OPEN CLOSING GONE */
    [CONNECTION_WAITING] = {0, 1, 1, 0, 0, 1}, [CONNECTION_ASKING] = {0, 0, 1, 0, 0, 1},
    [CONNECTION_OPENING] = {0, 0, 0, 1, 1, 1}, [CONNECTION_OPEN] = {0, 0, 0, 0, 1, 1},
    [CONNECTION_CLOSING] = {0, 0, 0, 0, 0, 1}, [CONNECTION_GONE] = {0, 0, 0, 0, 0, 0},
};

static void move(struct connection *c, enum connection_state to)
{
  if (allowed[c->state][to])
    c->state = to;
}

static unsigned gone(struct connection *c, unsigned actions)
{
  move(c, CONNECTION_GONE);
  if (c->role == CONNECTION_SERVICE && c->other == CONNECTION_OURS)
    actions |= CONNECTION_BURY;
  return actions | CONNECTION_FREE;
}

/* ---- Streams ---- */

static unsigned current_is(struct connection *c, uint64_t now)
{
  if (!c->has_current)
    c->current_at = now;
  c->has_current = true;
  c->has_next = false;
  c->next_until = c->hold_until = c->retry_at = NEVER;
  return CONNECTION_USE_NEXT;
}

static unsigned open_next(struct connection *c, uint64_t now)
{
  c->epoch++;
  c->has_next = true;
  c->in_time = c->has_current;
  c->renew_due = false;
  c->retry_at = NEVER;
  c->next_until = now + NEXT_MS;
  return CONNECTION_OPEN_STREAM;
}

/* By name: data goes out at once, so that the stream is current from the beginning. */
static unsigned dial(struct connection *c, uint64_t now)
{
  c->renew_due = false;
  c->retry_at = NEVER;
  return CONNECTION_OPEN_STREAM | current_is(c, now);
}

static unsigned open_again(struct connection *c, uint64_t now)
{
  if (c->established)
    return open_next(c, now);
  c->epoch++;
  return dial(c, now);
}

static void retry_later(struct connection *c, uint64_t now)
{
  c->retry_at = c->router ? now + c->backoff : NEVER;
  c->backoff = c->backoff * 2 < BACKOFF_MAX_MS ? c->backoff * 2 : BACKOFF_MAX_MS;
}

static bool wants_stream(const struct connection *c)
{
  return c->role == CONNECTION_FORWARD && !c->has_current && !c->has_next && !c->asked;
}

/* Streams that are lost as soon as they are there do not keep a connection alive, nor are they opened in a hurry. */
static unsigned detach(struct connection *c, uint64_t now)
{
  bool lasted = now - c->current_at >= LASTING_MS;
  c->has_current = false;
  c->renew_due &= c->has_next;
  c->close_until = NEVER;
  c->detached_at = now;
  if (lasted || c->shaky_since == NEVER) {
    c->shaky_since = now;
    c->backoff = BACKOFF_MIN_MS;
  }
  c->hold_until = c->shaky_since + c->times->hold;
  if (!wants_stream(c))
    return CONNECTION_DROP_CURRENT;
  if (c->router && c->established && c->shaky_since == now)
    return CONNECTION_DROP_CURRENT | open_next(c, now);
  retry_later(c, now);
  return CONNECTION_DROP_CURRENT;
}

/* Make before break. */
static unsigned renew_if_due(struct connection *c, uint64_t now)
{
  bool can = c->state == CONNECTION_OPEN && c->established && c->has_current && !c->has_next && c->router;
  return c->role == CONNECTION_FORWARD && c->renew_due && can ? open_next(c, now) : 0;
}

static unsigned next_lost(struct connection *c, uint64_t now)
{
  if (!c->has_next)
    return 0;
  if (c->renew_due) /* since it was opened: there is another way now */
    c->backoff = BACKOFF_MIN_MS;
  c->has_next = false;
  c->next_until = NEVER;
  c->renew_due = c->has_current && !c->router;
  retry_later(c, now);
  return CONNECTION_DROP_NEXT;
}

static unsigned streams_time(struct connection *c, uint64_t now)
{
  if (now >= c->next_until)
    return next_lost(c, now);
  return now >= c->retry_at ? open_again(c, now) : 0;
}

static unsigned router_up(struct connection *c, uint64_t now)
{
  c->router = true;
  return wants_stream(c) ? open_again(c, now) : renew_if_due(c, now);
}

static void router_down(struct connection *c)
{
  c->router = false;
  c->renew_due |= c->has_current && c->retry_at != NEVER;
  c->retry_at = NEVER;
}

/* ---- Last words ---- */

static unsigned drop_streams(struct connection *c)
{
  unsigned actions = (c->has_current ? CONNECTION_DROP_CURRENT : 0) | (c->has_next ? CONNECTION_DROP_NEXT : 0);
  c->has_current = c->has_next = false;
  return actions;
}

/* A next stream has no use any more, if the current one can carry what is left to say. */
static unsigned closing(struct connection *c)
{
  unsigned actions = c->has_current && c->has_next ? CONNECTION_DROP_NEXT : 0;
  move(c, CONNECTION_CLOSING);
  if (c->has_current) {
    c->has_next = false;
    c->next_until = c->retry_at = NEVER;
  }
  return actions;
}

/* Both ends are said, and our socket has taken everything. */
static unsigned both_ended(struct connection *c, unsigned actions)
{
  return closing(c) | actions | (c->has_current ? CONNECTION_HALF_CLOSE : 0) | CONNECTION_CLOSE_SOCKET;
}

/* Our reset is to be said, on the stream there is: to one of the first version, by cancelling that. As long as it is
 * not known who is there, it waits. */
static unsigned say_reset(struct connection *c, uint64_t now)
{
  if (!c->has_current || c->other == CONNECTION_UNKNOWN)
    return 0;
  c->close_until = now + (c->ending ? ENDING_MS : CLOSING_MS);
  return c->other == CONNECTION_OURS ? CONNECTION_SAY_RESET : CONNECTION_CANCEL;
}

/* The connection breaks on our side: the other one is told, when it can be. */
static unsigned broken(struct connection *c, uint64_t now)
{
  c->reset = true;
  c->reset_until = now + c->times->hold;
  bool nobody = !c->has_current && (c->role == CONNECTION_SERVICE || c->ending);
  if (nobody || (c->other == CONNECTION_UNKNOWN && (c->ending || c->asked)))
    return gone(c, drop_streams(c) | CONNECTION_RESET_SOCKET);
  return closing(c) | say_reset(c, now) | CONNECTION_RESET_SOCKET;
}

static unsigned remote_reset(struct connection *c, uint64_t now)
{
  c->reset_heard = true;
  c->close_until = now + CLOSING_MS;
  return closing(c) | CONNECTION_HALF_CLOSE | CONNECTION_RESET_SOCKET;
}

static unsigned all_over(struct connection *c)
{
  return gone(c, drop_streams(c) | CONNECTION_RESET_SOCKET);
}

/* ---- Before the other side is known ---- */

static unsigned step_waiting(struct connection *c, enum connection_event event, uint64_t now)
{
  switch (event) {
  case CONNECTION_ROUTER_UP:
    move(c, CONNECTION_OPENING);
    c->dial_until += GRACE_MS;
    return dial(c, now);
  case CONNECTION_ROUTER_ORIGINAL:
    move(c, CONNECTION_ASKING);
    c->asked = true;
    c->dial_until += GRACE_MS;
    return CONNECTION_ASK;
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_TIME:
  case CONNECTION_CUT:
  case CONNECTION_END:
    return gone(c, CONNECTION_RESET_SOCKET);
  default:
    return 0;
  }
}

static unsigned step_asking(struct connection *c, enum connection_event event, uint64_t now)
{
  switch (event) {
  case CONNECTION_TOKEN:
    move(c, CONNECTION_OPENING);
    return dial(c, now);
  case CONNECTION_TOKEN_REFUSED:
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_TIME:
  case CONNECTION_CUT:
  case CONNECTION_END:
    return gone(c, CONNECTION_RESET_SOCKET);
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
  return c->remote_eof ? both_ended(c, CONNECTION_SAY_EOF) : CONNECTION_SAY_EOF;
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
  move(c, CONNECTION_OPEN);
  return say_local_eof(c) | renew_if_due(c, now);
}

static unsigned remote_eof(struct connection *c)
{
  if (c->remote_eof)
    return 0;
  c->remote_eof = true;
  return c->local_eof && c->other == CONNECTION_OURS ? both_ended(c, 0) : CONNECTION_SHUTDOWN_SOCKET;
}

static unsigned stream_ok(struct connection *c, uint64_t now)
{
  if (c->other != CONNECTION_FIRST_VERSION)
    return detach(c, now);
  if (c->local_eof || !c->has_socket)
    return gone(c, drop_streams(c) | CONNECTION_CLOSE_SOCKET);
  /* To close a socket with bytes unread would reset it, and destroy what its peer has not taken yet. */
  c->lingering = true;
  c->close_until = now + LINGER_MS;
  return closing(c) | CONNECTION_LINGER;
}

static unsigned stream_lost(struct connection *c, uint64_t now)
{
  if (c->other == CONNECTION_FIRST_VERSION || c->asked)
    return all_over(c);
  return detach(c, now);
}

/* Whatever is due, one thing at a time: the edge asks for the deadline anew after each. */
static unsigned live_time(struct connection *c, uint64_t now)
{
  if (now >= c->dial_until || now >= c->hold_until) {
    c->reset = true;
    return all_over(c);
  }
  return streams_time(c, now);
}

static unsigned renew(struct connection *c, uint64_t now)
{
  c->renew_due = true;
  return renew_if_due(c, now);
}

static unsigned dialled(struct connection *c)
{
  c->has_socket = true;
  move(c, CONNECTION_OPEN);
  /* An end without data may have come before. */
  return CONNECTION_GIVE_SOCKET | (c->remote_eof ? CONNECTION_SHUTDOWN_SOCKET : 0);
}

static unsigned next_answered(struct connection *c, uint64_t now)
{
  unsigned actions = current_is(c, now);
  if (c->renew_due)
    c->retry_at = now; /* it was asked for while this one was on its way */
  c->renew_due = false;
  return actions;
}

static unsigned misanswered(struct connection *c, uint64_t now)
{
  if (c->other != CONNECTION_UNKNOWN)
    return 0;
  c->other = CONNECTION_OURS;
  c->reset_heard = true; /* it may say what it likes from now on */
  return broken(c, now);
}

static unsigned step_live(struct connection *c, enum connection_event event, uint64_t now)
{
  switch (event) {
  case CONNECTION_ROUTER_UP:
    return router_up(c, now);
  case CONNECTION_ROUTER_ORIGINAL:
  case CONNECTION_ROUTER_DOWN:
    router_down(c);
    return 0;
  case CONNECTION_RENEW:
    return renew(c, now);
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
    return remote_reset(c, now);
  case CONNECTION_END:
    c->ending = true;
    return broken(c, now);
  case CONNECTION_DIAL_FAILED:
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_CUT:
    return broken(c, now);
  case CONNECTION_STREAM_OK:
    return stream_ok(c, now);
  case CONNECTION_STREAM_LOST:
    return stream_lost(c, now);
  case CONNECTION_STREAM_FAILED:
    return c->established ? stream_lost(c, now) : all_over(c);
  case CONNECTION_NEXT_ANSWERED:
    return next_answered(c, now);
  case CONNECTION_NEXT_MISANSWERED:
  case CONNECTION_NEXT_LOST:
    return next_lost(c, now);
  case CONNECTION_NEXT_RESET:
  case CONNECTION_PEER_LOST:
    c->reset_heard = true;
    return all_over(c);
  case CONNECTION_TIME:
    return live_time(c, now);
  default:
    return 0;
  }
}

/* ---- When the last word is said ---- */

/* On a stream that has just become current. */
static unsigned last_word(struct connection *c, uint64_t now)
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

/* Whether our last word was heard will never be known. Who asks the tombstone has not heard it, and may miss some of
 * what we have no more. */
static unsigned unheard(struct connection *c)
{
  c->reset = true;
  return gone(c, drop_streams(c));
}

/* The stream with our last word on it is lost: whether that was heard is not known. */
static unsigned closing_lost(struct connection *c, uint64_t now)
{
  bool silent = c->reset_heard || c->ending || c->asked || c->other == CONNECTION_FIRST_VERSION;
  bool given_up = c->reset && (c->role == CONNECTION_SERVICE || now >= c->reset_until);
  if (silent || given_up)
    return unheard(c);
  return detach(c, now);
}

static unsigned closing_time(struct connection *c, uint64_t now)
{
  if (now >= c->dial_until || now >= c->hold_until)
    return unheard(c);
  if (now >= c->close_until)
    return closing_lost(c, now);
  return streams_time(c, now);
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
  return c->reset || c->reset_heard ? 0 : broken(c, now);
}

static unsigned step_lingering(struct connection *c, enum connection_event event)
{
  switch (event) {
  case CONNECTION_LOCAL_EOF:
  case CONNECTION_SOCKET_FAILED:
  case CONNECTION_TIME:
    return gone(c, drop_streams(c) | CONNECTION_CLOSE_SOCKET);
  case CONNECTION_CUT:
  case CONNECTION_END:
    return gone(c, drop_streams(c) | CONNECTION_RESET_SOCKET);
  default:
    return 0;
  }
}

static unsigned step_closing(struct connection *c, enum connection_event event, uint64_t now)
{
  if (c->lingering)
    return step_lingering(c, event);
  switch (event) {
  case CONNECTION_ROUTER_UP:
    return router_up(c, now);
  case CONNECTION_ROUTER_ORIGINAL:
  case CONNECTION_ROUTER_DOWN:
    router_down(c);
    return 0;
  case CONNECTION_ANSWERED:
    return closing_met(c, CONNECTION_OURS, now);
  case CONNECTION_ORIGINAL:
    return closing_met(c, CONNECTION_FIRST_VERSION, now);
  case CONNECTION_STREAM_LOST:
    return closing_lost(c, now);
  case CONNECTION_STREAM_FAILED:
    return c->established ? closing_lost(c, now) : gone(c, drop_streams(c));
  case CONNECTION_NEXT_ANSWERED:
    return current_is(c, now) | last_word(c, now);
  case CONNECTION_NEXT_MISANSWERED:
  case CONNECTION_NEXT_LOST:
    return next_lost(c, now);
  case CONNECTION_STREAM_OK:
  case CONNECTION_REMOTE_RESET:
  case CONNECTION_NEXT_RESET:
  case CONNECTION_PEER_LOST:
  case CONNECTION_MISANSWERED:
    return gone(c, drop_streams(c));
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

/* ---- The machine ---- */

static void start(struct connection *c, enum connection_role role, const struct connection_times *times)
{
  *c = (struct connection){
      .role = role,
      .times = times,
      .backoff = BACKOFF_MIN_MS,
      .dial_until = NEVER,
      .next_until = NEVER,
      .retry_at = NEVER,
      .hold_until = NEVER,
      .close_until = NEVER,
      .shaky_since = NEVER,
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
  return current_is(c, now) | CONNECTION_DIAL;
}

unsigned connection_step(struct connection *c, enum connection_event event, uint64_t now)
{
  if (event == CONNECTION_ROUTER_UP)
    c->router = true;
  switch (c->state) {
  case CONNECTION_WAITING:
    return step_waiting(c, event, now);
  case CONNECTION_ASKING:
    return step_asking(c, event, now);
  case CONNECTION_OPENING:
  case CONNECTION_OPEN:
    return step_live(c, event, now);
  case CONNECTION_CLOSING:
    return step_closing(c, event, now);
  case CONNECTION_GONE:
    break;
  }
  return 0;
}

unsigned connection_attached(struct connection *c, uint64_t epoch, bool possible, uint64_t now)
{
  bool alive = c->state != CONNECTION_GONE && !c->ending && c->other == CONNECTION_OURS;
  if (!alive || !possible || epoch <= c->epoch)
    return CONNECTION_REFUSE_NEXT;
  c->epoch = epoch;
  c->close_until = NEVER;
  unsigned actions = current_is(c, now);
  return c->state == CONNECTION_CLOSING ? actions | last_word(c, now) : actions;
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
