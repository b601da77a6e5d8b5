/* The actions of a tunnel's state machine, carried out on a socket (through the pump), a stream, a dial and a timer.
 * What they set off calls back in tunnel.c. Those that can fail return the event that says so, or TUNNEL_NOTHING.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dial.h"
#include "link.h"
#include "proto/rpc.h"
#include "tally.h"
#include "tunnels_internal.h"

enum {
  DIAL_MS = 10000,
  CLOSING_MS = 2000, /* for a last word to get through, before the stream is cancelled */
  CLOSING_MS_AT_END = 1000,
  LINGER_MS = 60000,
};

static int fill_header(struct tunnel *t, struct header *h)
{
  struct link *link = t->table->link;
  h->has_member = h->has_member_key = true;
  memcpy(h->member, link_member(link), sizeof h->member);
  memcpy(h->member_key, link_member_key(link), sizeof h->member_key);
  if (t->token != NULL) {
    snprintf(h->token, sizeof h->token, "%s", t->token);
    return 0;
  }
  if (getrandom(t->connection, sizeof t->connection, 0) != sizeof t->connection)
    return -errno;
  snprintf(h->service, sizeof h->service, "%s", tally_service(t->tally));
  h->has_connection = true;
  memcpy(h->connection, t->connection, sizeof h->connection);
  h->limit = t->table->limit;
  return 0;
}

static int open_stream(struct tunnel *t)
{
  struct link *link = t->table->link;
  struct header header = {0};
  const struct pump_options options = {
      .channel = link_channel(link), .original_router = link_original(link), .header = &header};
  int error = fill_header(t, &header);
  if (error == 0)
    error = pump_open(&t->pump, t->table->pumps, &options, &tunnel_pump_events, t);
  explicit_bzero(&header, sizeof header);
  if (error == 0)
    return TUNNEL_NOTHING;
  t->pump = NULL;
  tunnel_fail(t, "cannot open a stream to the router: %s", strerror(-error));
  return CONNECTION_STREAM_FAILED;
}

static void say_header(struct tunnel *t)
{
  struct header header = {.has_member = true, .has_connection = true, .limit = t->table->limit};
  memcpy(header.member, link_member(t->table->link), sizeof header.member);
  memcpy(header.connection, t->connection, sizeof header.connection);
  pump_send_header(t->pump, &header);
}

static int dial_target(struct tunnel *t)
{
  int error = -ENOENT;
  if (t->target != NULL)
    error = dial_start(&t->dial, t->table->loop, t->target, DIAL_MS, tunnel_dialled, t);
  if (error == 0) {
    t->holds++;
    return TUNNEL_NOTHING;
  }
  t->dial = NULL;
  if (t->target == NULL) {
    tunnel_fail(t, "it has no target any more");
    tunnel_set_reset(t, "ENOENT", "the service has no target any more");
  } else {
    tunnel_fail(t, "cannot connect to the target: %s", strerror(-error));
    tunnel_set_reset(t, uv_err_name(error), "cannot connect to the target");
  }
  return CONNECTION_DIAL_FAILED;
}

static int attach(struct tunnel *t)
{
  if (t->pump == NULL)
    return TUNNEL_NOTHING;
  int fd = t->fd;
  t->fd = -1;
  int error = pump_attach(t->pump, fd);
  if (error == 0)
    return TUNNEL_NOTHING;
  tunnel_fail(t, "cannot watch the socket: %s", strerror(-error));
  tunnel_set_reset(t, uv_err_name(error), "out of resources");
  return CONNECTION_SOCKET_FAILED;
}

static void close_socket(struct tunnel *t, bool reset)
{
  if (t->pump != NULL)
    pump_close_socket(t->pump, reset);
  if (t->fd >= 0) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(t->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(t->fd);
    t->fd = -1;
  }
}

static void end_tunnel(struct tunnel *t)
{
  if (t->pump != NULL) {
    struct pump_counters c = pump_counters(t->pump);
    t->bytes_read = c.bytes_read;
    t->bytes_written = c.bytes_written;
    pump_close(t->pump);
    t->pump = NULL;
  }
  if (t->asking != NULL)
    rpc_call_cancel(t->asking, RPC_CANCELLED, "");
  if (t->dial != NULL)
    dial_cancel(t->dial);
  tunnels_remove(t);
  uv_close((uv_handle_t *)&t->timer, tunnel_timer_closed);
}

static uint64_t time_allowed(const struct tunnel *t)
{
  if (t->machine.state != CONNECTION_CLOSING)
    return TUNNEL_OPENING_MS;
  if (t->table->closing)
    return CLOSING_MS_AT_END;
  return t->machine.lingering ? LINGER_MS : CLOSING_MS;
}

int tunnel_act(struct tunnel *t, unsigned actions)
{
  int event = TUNNEL_NOTHING;
  if (actions & CONNECTION_OPEN_STREAM)
    event = open_stream(t);
  if (actions & CONNECTION_SAY_HEADER && t->pump != NULL)
    say_header(t);
  if (actions & CONNECTION_DIAL && event == TUNNEL_NOTHING)
    event = dial_target(t);
  if (actions & CONNECTION_ATTACH && event == TUNNEL_NOTHING)
    event = attach(t);
  if (t->pump != NULL) {
    if (actions & CONNECTION_HALF_CLOSE)
      pump_half_close(t->pump, actions & CONNECTION_SAY_EOF);
    else if (actions & CONNECTION_SAY_EOF)
      pump_send_eof(t->pump);
    if (actions & CONNECTION_SAY_RESET)
      pump_send_reset(t->pump, t->reset_code, t->reset_reason);
    if (actions & CONNECTION_CANCEL)
      pump_cancel(t->pump);
    if (actions & CONNECTION_SHUTDOWN_SOCKET)
      pump_shutdown_socket(t->pump);
    if (actions & CONNECTION_LINGER)
      pump_linger_socket(t->pump);
  }
  if (actions & (CONNECTION_CLOSE_SOCKET | CONNECTION_RESET_SOCKET))
    close_socket(t, actions & CONNECTION_RESET_SOCKET);
  if (t->cut) /* the timer brings it */
    actions &= ~(unsigned)(CONNECTION_START_TIMER | CONNECTION_STOP_TIMER);
  if (actions & CONNECTION_START_TIMER)
    uv_timer_start(&t->timer, tunnel_timeout, time_allowed(t), 0);
  if (actions & CONNECTION_STOP_TIMER)
    uv_timer_stop(&t->timer);
  if (actions & CONNECTION_FREE)
    end_tunnel(t);
  return event;
}
