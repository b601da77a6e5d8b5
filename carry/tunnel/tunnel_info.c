/* What is told of one tunnel. */
#include <inttypes.h>
#include <stdio.h>

#include "tally.h"
#include "tunnels_internal.h"

struct pump_counters tunnel_counters(const struct tunnel *t)
{
  if (t->pump != NULL)
    return pump_counters(t->pump);
  return (struct pump_counters){.bytes_read = t->bytes_read, .bytes_written = t->bytes_written};
}

static const char *state_name(const struct tunnel *t)
{
  switch (t->machine.state) {
  case CONNECTION_WAITING:
    return "waiting";
  case CONNECTION_ASKING:
  case CONNECTION_OPENING:
    return "dialing";
  case CONNECTION_OPEN:
    return "open";
  default:
    return "closing";
  }
}

struct tunnel_info tunnel_info(const struct tunnel *t)
{
  struct pump_counters c = tunnel_counters(t);
  uint64_t now = uv_now(t->table->loop);
  struct tunnel_info info = {
      .id = t->id,
      .role = t->machine.role == CONNECTION_FORWARD ? TUNNEL_FORWARD : TUNNEL_SERVICE,
      .service = tally_service(t->tally),
      .peer = t->peer,
      .stream = t->current_stream != NULL ? pump_stream_kind(t->current_stream) : NULL,
      .bytes_in = c.bytes_written,
      .bytes_out = c.bytes_read,
      .spliced = c.spliced,
      .age_s = (now - t->started_ms) / 1000,
      .orderly = t->machine.remote_eof && !t->failed && !t->machine.reset && !t->machine.reset_heard,
      .reset = t->machine.reset_heard,
      .unreached = t->unreached,
      .window = c.window,
      .unacked = c.unacked,
      .queued = c.queued,
      .rate = c.rate,
      .rtt_us = c.rtt_us,
  };
  if (t->told_detached)
    info.trouble = tunnel_trouble(t);
  if (t->told_detached)
    snprintf(info.state, sizeof info.state, "detached %" PRIu64 "s", (now - t->machine.detached_at) / 1000);
  else
    snprintf(info.state, sizeof info.state, "%s", state_name(t));
  return info;
}

void tunnel_set_user(struct tunnel *t, void *user)
{
  t->user = user;
}

void tunnel_observe(struct tunnel *t, struct pump_observer *o)
{
  t->observer = o;
  if (t->pump != NULL)
    pump_observe(t->pump, o);
}

struct pump_observer *tunnel_observer(const struct tunnel *t)
{
  return t->observer;
}

void *tunnel_user(const struct tunnel *t)
{
  return t->user;
}
