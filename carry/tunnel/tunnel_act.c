/* The actions of a tunnel's state machine, carried out on a socket (through the pump), streams, a dial and a tombstone.
 * What they set off calls back in tunnel.c. Those that can fail return the event that says so, or TUNNEL_NOTHING. One
 * that fails does not keep the others from being carried out.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "carry/net/dial.h"
#include "tally.h"
#include "tombs.h"
#include "tunnels_internal.h"

enum { BEGUN_MS = 2000, DIAL_MS = 10000 };

/* A router of the first version is asked for a token. */
static int ask(struct tunnel *t)
{
  const struct carry_host *host = t->table->host;
  int error = host->ask_token(host, &t->asking, tally_service(t->tally), tunnel_asked, t);
  if (error == 0) {
    t->holds++;
    return TUNNEL_NOTHING;
  }
  t->asking = NULL;
  tunnel_fail(t, "cannot ask the router: %s", strerror(-error));
  return CONNECTION_TOKEN_REFUSED;
}

/* ---- Streams ---- */

static void say_which(const struct tunnel *t, struct header *h)
{
  h->has_connection = true;
  memcpy(h->connection, t->connection, sizeof h->connection);
  h->limit = pump_limit(t->pump);
  h->epoch = t->machine.epoch;
}

static void fill_header(const struct tunnel *t, struct header *h)
{
  if (t->token != NULL) {
    snprintf(h->token, sizeof h->token, "%s", t->token);
    return;
  }
  say_which(t, h);
  if (t->machine.established) {
    h->established = h->has_attach = true;
    memcpy(h->attach, t->member, sizeof h->attach);
    h->received = pump_received(t->pump);
  } else {
    snprintf(h->service, sizeof h->service, "%s", tally_service(t->tally));
    h->hops = t->hops.count;
    h->origin = t->hops.socket;
    h->ends = t->ends;
  }
}

static int open_stream(struct tunnel *t, bool first)
{
  struct header header = {0};
  const struct carry_host *host = t->table->host;
  fill_header(t, &header);
  int error = host->open_stream(host, &t->next_stream, &header, t->token != NULL, &tunnel_stream_events, t);
  explicit_bzero(&header, sizeof header);
  if (error == 0)
    return TUNNEL_NOTHING;
  t->next_stream = NULL;
  if (!first)
    return CONNECTION_NEXT_LOST;
  tunnel_fail(t, "cannot open a stream to the router: %s", strerror(-error));
  return CONNECTION_STREAM_FAILED;
}

static void drop_current(struct tunnel *t)
{
  if (t->current_stream == NULL)
    return;
  pump_detach(t->pump);
  pump_stream_close(t->current_stream);
  t->current_stream = NULL;
}

static void drop_next(struct tunnel *t)
{
  if (t->next_stream != NULL)
    pump_stream_close(t->next_stream);
  t->next_stream = NULL;
}

static void refuse_next(struct tunnel *t)
{
  tunnels_refuse(t->table, t->next_stream);
  t->next_stream = NULL;
}

/* The moment at which this stream should make room for another: all streams of many connections must not move at once.
 */
static uint64_t renewal_time(const struct tunnel *t)
{
  uint64_t age = t->table->host->way(t->table->host).stream_age_ms;
  uint16_t part = 0;
  if (age == 0 || t->machine.role != CONNECTION_FORWARD)
    return UINT64_MAX;
  if (getrandom(&part, sizeof part, GRND_NONBLOCK) != sizeof part)
    part = 0;
  return uv_now(t->table->loop) + age * 8 / 10 + age / 10 * part / UINT16_MAX;
}

static int use_next(struct tunnel *t)
{
  bool original = t->machine.other == CONNECTION_FIRST_VERSION || t->machine.asked;
  bool answers = t->machine.role == CONNECTION_SERVICE && !original;
  struct header answer = {.has_member = true};
  struct pump_attachment a = {.original = original, .answer = answers ? &answer : NULL};
  if (t->header != NULL) {
    a.send_from = t->header->received;
    a.limit = t->header->limit;
  }
  if (answers) {
    memcpy(answer.member, t->table->host->member, sizeof answer.member);
    say_which(t, &answer);
  }
  if (pump_attach(t->pump, t->next_stream, &a) != 0) {
    drop_next(t);
    return CONNECTION_STREAM_LOST;
  }
  struct pump_stream *former = t->current_stream;
  t->current_stream = t->next_stream;
  t->next_stream = NULL;
  t->renew_at = renewal_time(t);
  t->begun_by = t->machine.role == CONNECTION_FORWARD ? uv_now(t->table->loop) + BEGUN_MS : UINT64_MAX;
  if (former != NULL)
    pump_stream_close(former);
  return TUNNEL_NOTHING;
}

/* In the order of the actions' values. */
static int act_on_streams(struct tunnel *t, unsigned actions)
{
  int event = TUNNEL_NOTHING;
  if (actions & CONNECTION_ASK)
    event = ask(t);
  if (actions & CONNECTION_OPEN_STREAM)
    event = open_stream(t, actions & CONNECTION_USE_NEXT);
  if (actions & CONNECTION_DROP_CURRENT)
    drop_current(t);
  if (actions & CONNECTION_USE_NEXT && t->next_stream != NULL)
    event = use_next(t);
  if (actions & CONNECTION_DROP_NEXT)
    drop_next(t);
  if (actions & CONNECTION_REFUSE_NEXT)
    refuse_next(t);
  return event;
}

/* ---- The socket ---- */

int tunnel_dial(struct tunnel *t)
{
  /* Each round would open two sockets here, and a stream: nobody means that. */
  if (t->hops.count > HOPS_MAX) {
    tunnel_fail_loop(t);
    return CONNECTION_DIAL_FAILED;
  }
  int error = -ENOENT;
  if (t->target != NULL)
    error = dial_start(&t->dial, t->table->lookups, t->target, DIAL_MS, tunnel_dialled, t);
  if (error == 0) {
    t->holds++;
    return TUNNEL_NOTHING;
  }
  t->dial = NULL;
  if (t->target == NULL) {
    tunnel_fail(t, "the service has no target any more");
    tunnel_set_reset(t, "ENOENT", "the service has no target any more");
  } else {
    tunnel_fail(t, "cannot connect to the target: %s", strerror(-error));
    tunnel_set_reset(t, uv_err_name(error), "cannot connect to the target");
  }
  return CONNECTION_DIAL_FAILED;
}

static int dial_target(struct tunnel *t)
{
  bool held = t->target != NULL && t->hops.count <= HOPS_MAX && trails_hold(&t->table->trails, t, t->target);
  return held ? TUNNEL_NOTHING : tunnel_dial(t);
}

static int give_socket(struct tunnel *t)
{
  int fd = t->fd;
  t->fd = -1;
  int error = pump_give_socket(t->pump, fd);
  if (error == 0)
    return TUNNEL_NOTHING;
  tunnel_fail(t, "cannot watch the socket: %s", strerror(-error));
  tunnel_set_reset(t, uv_err_name(error), "out of resources");
  return CONNECTION_SOCKET_FAILED;
}

static void close_socket(struct tunnel *t, bool reset)
{
  pump_close_socket(t->pump, reset);
  if (t->fd >= 0)
    pump_discard_socket(t->fd);
  t->fd = -1;
}

/* ---- Words, and the end ---- */

static void say(struct tunnel *t, unsigned actions)
{
  struct pump_stream *s = t->current_stream;
  bool half_close = actions & CONNECTION_HALF_CLOSE;
  if (actions & CONNECTION_SAY_EOF)
    pump_send_eof(t->pump, half_close);
  else if (half_close && s != NULL)
    pump_stream_half_close(s);
  if (actions & CONNECTION_SAY_RESET && s != NULL)
    pump_stream_send_reset(s, t->reset_code, t->reset_reason);
  if (actions & CONNECTION_CANCEL && s != NULL)
    pump_stream_cancel(s);
}

static void bury(struct tunnel *t)
{
  struct tomb tomb = {.received = pump_received(t->pump),
                      .reset = t->machine.reset || t->machine.reset_heard,
                      .code = t->reset_code,
                      .reason = t->reset_reason};
  memcpy(tomb.connection, t->connection, sizeof tomb.connection);
  memcpy(tomb.member, t->member, sizeof tomb.member);
  tombs_add(t->table->tombs, &tomb, uv_now(t->table->loop));
}

static void end_tunnel(struct tunnel *t)
{
  struct pump_counters c = pump_counters(t->pump);
  t->bytes_read = c.bytes_read;
  t->bytes_written = c.bytes_written;
  drop_current(t);
  drop_next(t);
  pump_close(t->pump);
  t->pump = NULL;
  if (t->asking != NULL)
    t->table->host->cancel(t->asking);
  if (t->dial != NULL)
    dial_cancel(t->dial);
  trails_forget(&t->table->trails, t);
  tunnels_remove(t);
  uv_close((uv_handle_t *)&t->timer, tunnel_timer_closed);
}

static size_t add(enum connection_event came[TUNNEL_EVENTS_MAX], size_t count, int event)
{
  if (event == TUNNEL_NOTHING)
    return count;
  came[count] = (enum connection_event)event;
  return count + 1;
}

size_t tunnel_act(struct tunnel *t, unsigned actions, enum connection_event came[TUNNEL_EVENTS_MAX])
{
  size_t count = add(came, 0, act_on_streams(t, actions));
  if (actions & CONNECTION_DIAL)
    count = add(came, count, dial_target(t));
  if (actions & CONNECTION_GIVE_SOCKET)
    count = add(came, count, give_socket(t));
  say(t, actions);
  if (actions & CONNECTION_SHUTDOWN_SOCKET)
    pump_shutdown_socket(t->pump);
  if (actions & CONNECTION_LINGER)
    pump_linger_socket(t->pump);
  if (actions & (CONNECTION_CLOSE_SOCKET | CONNECTION_RESET_SOCKET))
    close_socket(t, actions & CONNECTION_RESET_SOCKET);
  if (actions & CONNECTION_BURY)
    bury(t);
  if (actions & CONNECTION_FREE)
    end_tunnel(t);
  return count;
}
