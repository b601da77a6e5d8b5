/* The streams of a connection: one is lost, another one is opened, a newer one takes its place. All of it is the same
 * before the other side is known, while the connection lives, and when its last word is said.
 */
#include "connection_internal.h"

enum {
  BACKOFF_MAX_MS = 1000,
  NEXT_MS = 5000,    /* the router may have found a stream whose other end is dead without a word */
  PATIENCE_MAX = 8,  /* or it is far away: those that are waited for in vain are waited for longer and longer */
  LASTING_MS = 1000, /* a stream that was current for so long was worth having */
  DIALS_MS = 60000,  /* few who dial take longer until they give up */
};

unsigned connection_drop_streams(struct connection *c)
{
  unsigned actions = (c->has_current ? CONNECTION_DROP_CURRENT : 0) | (c->has_next ? CONNECTION_DROP_NEXT : 0);
  c->has_current = c->has_next = false;
  return actions;
}

unsigned connection_use_next(struct connection *c, uint64_t now)
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
  c->next_until = now + NEXT_MS * c->patience;
  return CONNECTION_OPEN_STREAM;
}

/* By name: data goes out at once, so that the stream is current from the beginning. */
unsigned connection_dial(struct connection *c, uint64_t now)
{
  c->renew_due = false;
  c->retry_at = NEVER;
  return CONNECTION_OPEN_STREAM | connection_use_next(c, now);
}

static unsigned open_again(struct connection *c, uint64_t now)
{
  if (c->established)
    return open_next(c, now);
  c->epoch++;
  return connection_dial(c, now);
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

static uint64_t longest_hold(const struct connection *c)
{
  uint64_t dials = c->times->dial > DIALS_MS ? c->times->dial : DIALS_MS;
  return c->role == CONNECTION_FORWARD || c->heard || c->times->hold < dials ? c->times->hold : dials;
}

/* A router that refuses us is not waited for as long as one that is lost. */
static uint64_t hold_end(const struct connection *c)
{
  uint64_t end = c->shaky_since + longest_hold(c);
  uint64_t since = c->refused_at > c->detached_at ? c->refused_at : c->detached_at;
  return c->refused_at != NEVER && since + c->times->refused < end ? since + c->times->refused : end;
}

void connection_admit(struct connection *c, enum connection_event event, uint64_t now)
{
  if (event != CONNECTION_ROUTER_REFUSED)
    c->refused_at = NEVER;
  else if (c->refused_at == NEVER)
    c->refused_at = now;
  if (c->hold_until != NEVER)
    c->hold_until = hold_end(c);
}

/* Streams that are lost as soon as they are there do not keep a connection alive, nor are they opened in a hurry. */
unsigned connection_detach(struct connection *c, uint64_t now)
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
  c->hold_until = hold_end(c);
  if (!wants_stream(c))
    return CONNECTION_DROP_CURRENT;
  if (c->router && c->established && c->shaky_since == now)
    return CONNECTION_DROP_CURRENT | open_next(c, now);
  retry_later(c, now);
  return CONNECTION_DROP_CURRENT;
}

/* Make before break. */
unsigned connection_renew_if_due(struct connection *c, uint64_t now)
{
  bool can = c->state == CONNECTION_OPEN && c->established && c->has_current && !c->has_next && c->router;
  return c->role == CONNECTION_FORWARD && c->renew_due && can ? open_next(c, now) : 0;
}

unsigned connection_renew(struct connection *c, uint64_t now)
{
  c->renew_due = true;
  return connection_renew_if_due(c, now);
}

unsigned connection_lose_next(struct connection *c, uint64_t now)
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

unsigned connection_next_answered(struct connection *c, uint64_t now)
{
  unsigned actions = connection_use_next(c, now);
  c->patience = 1;
  if (c->renew_due)
    c->retry_at = now; /* it was asked for while this one was on its way */
  c->renew_due = false;
  return actions;
}

void connection_grow_patient(struct connection *c)
{
  c->patience = c->patience < PATIENCE_MAX ? c->patience * 2 : PATIENCE_MAX;
}

unsigned connection_streams_time(struct connection *c, uint64_t now)
{
  if (now >= c->next_until) {
    connection_grow_patient(c);
    return connection_lose_next(c, now);
  }
  return now >= c->retry_at ? open_again(c, now) : 0;
}

unsigned connection_router_up(struct connection *c, uint64_t now)
{
  c->router = true;
  if (wants_stream(c))
    return open_again(c, now);
  /* A dial on the way to a router that was lost is of no use any more, even if it is not known to be lost, too. One
   * that a peer of the first version has answered is the connection. */
  if (c->renew_due && c->other == CONNECTION_UNKNOWN && !c->asked && c->has_current)
    return connection_detach(c, now);
  return connection_renew_if_due(c, now);
}

void connection_router_down(struct connection *c)
{
  c->router = false;
  c->renew_due |= c->has_current && c->retry_at != NEVER;
  c->retry_at = NEVER;
}
