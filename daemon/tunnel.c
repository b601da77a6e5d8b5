/* One tunnel: the actions of its state machine, carried out on a socket (through the pump), a dial, a call and a timer.
 *
 * A tunnel is gone for everybody when the machine says so; its memory stays until its timer, its dial and its call have
 * called back for the last time.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "address.h"
#include "dial.h"
#include "link.h"
#include "mindmeld.pb-c.h"
#include "proto/rpc.h"
#include "tally.h"
#include "tunnels_internal.h"

enum {
  ASK_MS = 10000,
  DIAL_MS = 10000,
  OPENING_MS = 15000,
  CLOSING_MS = 2000, /* for a last word to get through, before the stream is cancelled */
  CLOSING_MS_AT_END = 1000,
  LINGER_MS = 60000,
  SENTENCE_SIZE = 512,
  NOTHING = -1,
};

static void step(struct tunnel *t, enum connection_event event);

static void unhold(struct tunnel *t)
{
  struct tunnels *ts = t->table;
  if (--t->holds > 0)
    return;
  tunnel_free(t);
  tunnels_release(ts);
}

/* ---- What went wrong, for the user ---- */

static void fail(struct tunnel *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail(struct tunnel *t, const char *format, ...)
{
  char what[SENTENCE_SIZE], sentence[SENTENCE_SIZE + TUNNEL_NAME_SIZE + ADDRESS_TEXT_MAX + 64];
  const char *service = tally_service(t->tally);
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args);
  va_end(args);
  t->failed = true;
  if (t->machine.role == CONNECTION_FORWARD)
    snprintf(sentence, sizeof sentence, "connection from %s through forwards/%s: %s", t->peer, service, what);
  else
    snprintf(sentence, sizeof sentence, "connection to services/%s: %s", service, what);
  t->table->events->failed(t, sentence, t->table->arg);
}

/* Both live as long as the tunnel. */
static void set_reset(struct tunnel *t, const char *code, const char *reason)
{
  t->reset_code = code;
  t->reset_reason = reason;
}

/* ---- Edges: what calls back, as events for the machine ---- */

static void on_header(struct pump *p, const struct header *h, void *arg)
{
  (void)p;
  struct tunnel *t = arg;
  bool ours = h->has_connection;
  if (ours && t->machine.role == CONNECTION_FORWARD)
    ours = memcmp(h->connection, t->connection, sizeof t->connection) == 0;
  if (!ours) {
    fail(t, "the other side's header is not that of this connection");
    set_reset(t, "EPROTO", "the header is not that of this connection");
    step(t, CONNECTION_MISANSWERED);
    return;
  }
  memcpy(t->connection, h->connection, sizeof t->connection);
  step(t, CONNECTION_ANSWERED);
}

static void on_original(struct pump *p, void *arg)
{
  (void)p;
  step(arg, CONNECTION_ORIGINAL);
}

static void on_local_eof(struct pump *p, void *arg)
{
  (void)p;
  step(arg, CONNECTION_LOCAL_EOF);
}

static void on_socket_failed(struct pump *p, int error, void *arg)
{
  (void)p;
  struct tunnel *t = arg;
  if (error != ECONNRESET && error != EPIPE)
    fail(t, "the local socket failed: %s", strerror(error));
  set_reset(t, "", "the local socket was reset");
  step(t, CONNECTION_SOCKET_FAILED);
}

static void on_remote_eof(struct pump *p, void *arg)
{
  (void)p;
  step(arg, CONNECTION_REMOTE_EOF);
}

static void on_remote_reset(struct pump *p, const char *code, const char *reason, void *arg)
{
  (void)p;
  struct tunnel *t = arg;
  if (code[0] != '\0')
    fail(t, "the other side: %s", reason);
  step(t, CONNECTION_REMOTE_RESET);
}

static void on_ended(struct pump *p, enum rpc_status status, const char *text, void *arg)
{
  (void)p;
  struct tunnel *t = arg;
  bool live = t->machine.state != CONNECTION_CLOSING;
  if (status != RPC_OK && live)
    fail(t, "%s (%s)", text[0] != '\0' ? text : "the stream to the router ended", rpc_status_name(status));
  step(t, status == RPC_OK ? CONNECTION_STREAM_OK : CONNECTION_STREAM_FAILED);
}

static const struct pump_events pump_callbacks = {
    .header = on_header,
    .original = on_original,
    .local_eof = on_local_eof,
    .socket_failed = on_socket_failed,
    .remote_eof = on_remote_eof,
    .remote_reset = on_remote_reset,
    .ended = on_ended,
};

static void on_asked(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct tunnel *t = arg;
  t->asking = NULL;
  Mindmeld__ForwardToServiceResponse *response = NULL;
  if (t->machine.state == CONNECTION_ASKING && status == RPC_OK)
    response = (void *)rpc_message_unpack(answer, &mindmeld__forward_to_service_response__descriptor);
  rpc_message_free(answer);
  if (response != NULL && strlen(response->token) <= HEADER_TOKEN_MAX) {
    t->token = response->token;
    step(t, CONNECTION_TOKEN);
    t->token = NULL;
  } else if (t->machine.state == CONNECTION_ASKING) {
    if (status == RPC_OK)
      fail(t, "the router's answer is malformed");
    else
      fail(t, "%s (%s)", text, rpc_status_name(status));
    step(t, CONNECTION_TOKEN_REFUSED);
  }
  if (response != NULL)
    mindmeld__forward_to_service_response__free_unpacked(response, NULL);
  unhold(t);
}

static void on_dialled(int fd, const char *why, void *arg)
{
  struct tunnel *t = arg;
  t->dial = NULL;
  if (t->machine.state != CONNECTION_OPENING) {
    if (fd >= 0)
      close(fd);
  } else if (fd >= 0) {
    t->fd = fd;
    step(t, CONNECTION_DIALLED);
  } else {
    fail(t, "%s", why);
    t->why = strdup(why);
    set_reset(t, uv_err_name(fd), t->why != NULL ? t->why : strerror(ENOMEM));
    step(t, CONNECTION_DIAL_FAILED);
  }
  unhold(t);
}

static void on_timeout(uv_timer_t *timer)
{
  struct tunnel *t = timer->data;
  if (t->cut) {
    t->cut = false;
    step(t, CONNECTION_CUT);
    return;
  }
  if (t->machine.state == CONNECTION_OPENING) {
    fail(t, "nobody answered in %d s", OPENING_MS / 1000);
    set_reset(t, "ETIMEDOUT", "no answer in time");
  }
  step(t, CONNECTION_TIMEOUT);
}

static void on_timer_closed(uv_handle_t *timer)
{
  unhold(timer->data);
}

/* ---- Actions. Those that can fail return the event that says so, or NOTHING. ---- */

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
    error = pump_open(&t->pump, t->table->pumps, &options, &pump_callbacks, t);
  explicit_bzero(&header, sizeof header);
  if (error == 0)
    return NOTHING;
  t->pump = NULL;
  fail(t, "cannot open a stream to the router: %s", strerror(-error));
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
    error = dial_start(&t->dial, t->table->loop, t->target, DIAL_MS, on_dialled, t);
  if (error == 0) {
    t->holds++;
    return NOTHING;
  }
  t->dial = NULL;
  if (t->target == NULL) {
    fail(t, "it has no target any more");
    set_reset(t, "ENOENT", "the service has no target any more");
  } else {
    fail(t, "cannot connect to the target: %s", strerror(-error));
    set_reset(t, uv_err_name(error), "cannot connect to the target");
  }
  return CONNECTION_DIAL_FAILED;
}

static int attach(struct tunnel *t)
{
  if (t->pump == NULL)
    return NOTHING;
  int fd = t->fd;
  t->fd = -1;
  int error = pump_attach(t->pump, fd);
  if (error == 0)
    return NOTHING;
  fail(t, "cannot watch the socket: %s", strerror(-error));
  set_reset(t, uv_err_name(error), "out of resources");
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
  uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

static uint64_t time_allowed(const struct tunnel *t)
{
  if (t->machine.state != CONNECTION_CLOSING)
    return OPENING_MS;
  if (t->table->closing)
    return CLOSING_MS_AT_END;
  return t->machine.lingering ? LINGER_MS : CLOSING_MS;
}

/* Returns the event that came of it, or NOTHING. */
static int act(struct tunnel *t, unsigned actions)
{
  int event = NOTHING;
  if (actions & CONNECTION_OPEN_STREAM)
    event = open_stream(t);
  if (actions & CONNECTION_SAY_HEADER && t->pump != NULL)
    say_header(t);
  if (actions & CONNECTION_DIAL && event == NOTHING)
    event = dial_target(t);
  if (actions & CONNECTION_ATTACH && event == NOTHING)
    event = attach(t);
  if (t->pump != NULL) {
    if (actions & CONNECTION_SAY_EOF)
      pump_send_eof(t->pump);
    if (actions & CONNECTION_HALF_CLOSE)
      pump_half_close(t->pump);
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
    uv_timer_start(&t->timer, on_timeout, time_allowed(t), 0);
  if (actions & CONNECTION_STOP_TIMER)
    uv_timer_stop(&t->timer);
  if (actions & CONNECTION_FREE)
    end_tunnel(t);
  return event;
}

static void run(struct tunnel *t, unsigned actions)
{
  int event;
  while ((event = act(t, actions)) != NOTHING)
    actions = connection_step(&t->machine, (enum connection_event)event);
}

static void step(struct tunnel *t, enum connection_event event)
{
  run(t, connection_step(&t->machine, event));
}

/* ---- A tunnel begins and ends ---- */

struct tunnel *tunnel_create(struct tunnels *ts, const char *peer)
{
  struct tunnel *t = calloc(1, sizeof *t);
  if (t == NULL)
    return NULL;
  t->peer = strdup(peer);
  if (t->peer == NULL) {
    free(t);
    return NULL;
  }
  t->table = ts;
  t->fd = -1;
  t->started_ms = uv_now(ts->loop);
  t->reset_code = t->reset_reason = "";
  uv_timer_init(ts->loop, &t->timer);
  t->timer.data = t;
  t->holds = 1;
  return t;
}

void tunnel_free(struct tunnel *t)
{
  free(t->peer);
  free(t->why);
  free(t);
}

static void begin(struct tunnel *t, unsigned actions)
{
  t->table->events->opened(t, t->table->arg);
  run(t, actions);
}

/* A router of the first version is asked for a token. */
static void ask(struct tunnel *t)
{
  Mindmeld__ForwardToServiceRequest request = MINDMELD__FORWARD_TO_SERVICE_REQUEST__INIT;
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/ForwardToService",
                                           .deadline_ms = ASK_MS};
  request.name = (char *)(uintptr_t)tally_service(t->tally);
  struct rpc_message *message = rpc_message_pack(&request.base);
  int error =
      message == NULL ? -ENOMEM : rpc_unary(&t->asking, link_channel(t->table->link), &options, message, on_asked, t);
  if (error == 0) {
    t->holds++;
    return;
  }
  t->asking = NULL;
  fail(t, "cannot ask the router: %s", strerror(-error));
  step(t, CONNECTION_TOKEN_REFUSED);
}

void tunnel_start_forward(struct tunnel *t, int fd)
{
  struct link *link = t->table->link;
  bool connected = link_connected(link);
  bool asks = !connected || link_original(link);
  t->fd = fd;
  begin(t, connection_start_forward(&t->machine, asks));
  if (!asks)
    return;
  if (connected) {
    ask(t);
  } else {
    fail(t, "no router: %s", link_trouble(link));
    step(t, CONNECTION_TOKEN_REFUSED);
  }
}

void tunnel_start_service(struct tunnel *t, const char *token, const struct address *target)
{
  t->token = token;
  t->target = target;
  begin(t, connection_start_service(&t->machine, false));
  t->token = NULL;
  t->target = NULL;
}

void tunnel_start_parked(struct tunnel *t, struct pump *pump, const struct header *h, const struct address *target)
{
  t->pump = pump;
  pump_hand_over(pump, &pump_callbacks, t);
  t->target = target;
  begin(t, connection_start_service(&t->machine, true));
  t->target = NULL;
  on_header(pump, h, t);
}

void tunnel_end(struct tunnel *t, const char *reason)
{
  set_reset(t, "ECONNABORTED", reason);
  step(t, CONNECTION_CUT);
}

struct pump_counters tunnel_counters(const struct tunnel *t)
{
  if (t->pump != NULL)
    return pump_counters(t->pump);
  return (struct pump_counters){.bytes_read = t->bytes_read, .bytes_written = t->bytes_written};
}

/* ---- For the tree ---- */

static const char *state_name(const struct tunnel *t)
{
  switch (t->machine.state) {
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
  return (struct tunnel_info){
      .id = t->id,
      .role = t->machine.role == CONNECTION_FORWARD ? TUNNEL_FORWARD : TUNNEL_SERVICE,
      .service = tally_service(t->tally),
      .peer = t->peer,
      .state = state_name(t),
      .bytes_in = c.bytes_written,
      .bytes_out = c.bytes_read,
      .age_s = (uv_now(t->table->loop) - t->started_ms) / 1000,
      .window = c.window,
      .unacked = c.unacked,
      .queued = c.queued,
      .rate = c.rate,
      .rtt_us = c.rtt_us,
  };
}

void tunnel_set_user(struct tunnel *t, void *user)
{
  t->user = user;
}

void *tunnel_user(const struct tunnel *t)
{
  return t->user;
}

void tunnel_cut(struct tunnel *t)
{
  set_reset(t, "ECONNABORTED", "the connection was cut on the other side");
  /* The machine may be done at once, which its owner must not see inside this call. */
  t->cut = true;
  uv_timer_start(&t->timer, on_timeout, 0, 0);
}
