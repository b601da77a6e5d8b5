/* One tunnel: how it begins, what calls back, as events for its state machine, and what is told of it. What the machine
 * answers is carried out in tunnel_act.c.
 *
 * A tunnel is gone for everybody when the machine says so; its memory stays until its timer, its dial and its call have
 * called back for the last time.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"
#include "link.h"
#include "mindmeld.pb-c.h"
#include "proto/rpc.h"
#include "tally.h"
#include "tunnels_internal.h"

enum { ASK_MS = 10000, SENTENCE_SIZE = 512 };

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

void tunnel_fail(struct tunnel *t, const char *format, ...)
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

void tunnel_set_reset(struct tunnel *t, const char *code, const char *reason)
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
    tunnel_fail(t, "the other side's header is not that of this connection");
    tunnel_set_reset(t, "EPROTO", "the header is not that of this connection");
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
    tunnel_fail(t, "the local socket failed: %s", strerror(error));
  tunnel_set_reset(t, "", "the local socket was reset");
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
    tunnel_fail(t, "the other side: %s", reason);
  step(t, CONNECTION_REMOTE_RESET);
}

static void on_ended(struct pump *p, enum rpc_status status, const char *text, void *arg)
{
  (void)p;
  struct tunnel *t = arg;
  bool live = t->machine.state != CONNECTION_CLOSING;
  /* Who dials and gives up before our header came can only cancel. That is as usual as a reset, and no failure here. */
  bool given_up = status == RPC_ABORTED && t->machine.role == CONNECTION_SERVICE;
  if (status != RPC_OK && live && !given_up)
    tunnel_fail(t, "%s (%s)", text[0] != '\0' ? text : "the stream to the router ended", rpc_status_name(status));
  step(t, status == RPC_OK ? CONNECTION_STREAM_OK : CONNECTION_STREAM_FAILED);
}

const struct pump_events tunnel_pump_events = {
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
      tunnel_fail(t, "the router's answer is malformed");
    else
      tunnel_fail(t, "%s (%s)", text, rpc_status_name(status));
    step(t, CONNECTION_TOKEN_REFUSED);
  }
  if (response != NULL)
    mindmeld__forward_to_service_response__free_unpacked(response, NULL);
  unhold(t);
}

void tunnel_dialled(int fd, const char *why, void *arg)
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
    tunnel_fail(t, "%s", why);
    t->why = strdup(why);
    tunnel_set_reset(t, uv_err_name(fd), t->why != NULL ? t->why : strerror(ENOMEM));
    step(t, CONNECTION_DIAL_FAILED);
  }
  unhold(t);
}

void tunnel_timeout(uv_timer_t *timer)
{
  struct tunnel *t = timer->data;
  if (t->cut) {
    t->cut = false;
    step(t, CONNECTION_CUT);
    return;
  }
  if (t->machine.state == CONNECTION_OPENING) {
    tunnel_fail(t, "nobody answered in %d s", TUNNEL_OPENING_MS / 1000);
    tunnel_set_reset(t, "ETIMEDOUT", "no answer in time");
  }
  step(t, CONNECTION_TIMEOUT);
}

void tunnel_timer_closed(uv_handle_t *timer)
{
  unhold(timer->data);
}

/* ---- From events to actions ---- */

static void run(struct tunnel *t, unsigned actions)
{
  int event;
  while ((event = tunnel_act(t, actions)) != TUNNEL_NOTHING)
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
  tunnel_fail(t, "cannot ask the router: %s", strerror(-error));
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
    tunnel_fail(t, "no router: %s", link_trouble(link));
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
  pump_hand_over(pump, &tunnel_pump_events, t);
  t->target = target;
  begin(t, connection_start_service(&t->machine, true));
  t->target = NULL;
  on_header(pump, h, t);
}

void tunnel_end(struct tunnel *t, const char *reason)
{
  tunnel_set_reset(t, "ECONNABORTED", reason);
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
  tunnel_set_reset(t, "ECONNABORTED", "the connection was cut on the other side");
  /* The machine may be done at once, which its owner must not see inside this call. */
  t->cut = true;
  uv_timer_start(&t->timer, tunnel_timeout, 0, 0);
}
