/* One tunnel: what calls back, as events for its state machine, and what is told of it. What the machine
 * answers is carried out in tunnel_act.c.
 *
 * A tunnel is gone for everybody when the machine says so; its memory stays until its timer, its dial and its call have
 * called back for the last time.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "carry/net/address.h"
#include "tally.h"
#include "tunnels_internal.h"

enum {
  SENTENCE_SIZE = 512,
  MORE_MS = 5000, /* over a slow line a dial waits longer, by so much each time */
  MOST_MS = 120000,
};

static void unhold(struct tunnel *t)
{
  struct tunnels *ts = t->table;
  if (--t->holds > 0)
    return;
  tunnel_free(t);
  tunnels_release(ts);
}

static uint64_t now_ms(const struct tunnel *t)
{
  return uv_now(t->table->loop);
}

static struct carry_way way_of(const struct tunnel *t)
{
  return t->table->host->way(t->table->host);
}

static bool is_slow(const struct tunnel *t)
{
  return t->table->host->is_slow(t->table->host);
}

/* ---- What went wrong, for the user ---- */

void tunnel_fail(struct tunnel *t, const char *format, ...)
{
  char what[SENTENCE_SIZE];
  va_list args;
  va_start(args, format);
  vsnprintf(what, sizeof what, format, args); /* NOLINT(clang-analyzer-valist.Uninitialized): va_start is above */
  va_end(args);
  t->failed = true;
  t->table->events->failed(t, what, t->table->arg);
}

static void remember_trouble(struct tunnel *t, const char *text)
{
  free(t->trouble);
  t->trouble = text[0] != '\0' ? strdup(text) : NULL;
}

const char *tunnel_trouble(const struct tunnel *t)
{
  struct carry_way way = way_of(t);
  if (way.refused)
    return way.trouble;
  return t->trouble != NULL ? t->trouble : "the stream to the router ended";
}

void tunnel_set_reset(struct tunnel *t, const char *code, const char *reason)
{
  t->reset_code = code;
  t->reset_reason = reason;
}

void tunnel_fail_loop(struct tunnel *t)
{
  tunnel_fail(t, "refused: it came through %u services and forwards already: does the target %s lead back here?",
              t->hops.count, t->peer);
  tunnel_set_reset(t, "ELOOP", "refused: it came through too many services and forwards: a target leads back to one");
}

/* ---- From events to actions ---- */

static void arm(struct tunnel *t)
{
  uint64_t deadline = connection_deadline(&t->machine);
  if (t->renew_at < deadline)
    deadline = t->renew_at;
  if (t->begun_by < deadline && t->machine.state == CONNECTION_OPENING)
    deadline = t->begun_by;
  /* A cut is on its way. */
  if (t->cut || deadline == t->armed_for)
    return;
  t->armed_for = deadline;
  if (deadline == UINT64_MAX)
    uv_timer_stop(&t->timer);
  else
    uv_timer_start(&t->timer, tunnel_timeout, deadline > now_ms(t) ? deadline - now_ms(t) : 0, 0);
}

/* Tells when it loses its stream, and when it has one again. A dial that was not answered yet has lost nothing. */
static void tell_detached(struct tunnel *t)
{
  struct tunnels *ts = t->table;
  bool detached = t->machine.established && connection_detached(&t->machine);
  if (detached == t->told_detached)
    return;
  t->told_detached = detached;
  if (!detached) {
    ts->detached_count--;
    detached_remove(&ts->detached, t);
    if (ts->events->resumed != NULL)
      ts->events->resumed(t, ts->arg);
    return;
  }
  ts->detached_count++;
  if (ts->events->detached != NULL)
    ts->events->detached(t, tunnel_trouble(t), ts->arg);
  if (t->machine.role != CONNECTION_SERVICE)
    return;
  detached_add(&ts->detached, t);
  for (struct tunnel *surplus; (surplus = detached_surplus(&ts->detached, t)) != NULL;)
    tunnel_evict(surplus);
}

static void tell_broken(struct tunnel *t)
{
  if (t->machine.broken)
    tunnel_fail(t, "given up because of a bug in mmfs; please report it");
}

static void carry_out(struct tunnel *t, unsigned actions)
{
  enum connection_event came[TUNNEL_EVENTS_MAX];
  tell_broken(t);
  size_t count = tunnel_act(t, actions, came);
  for (size_t i = 0; i < count && t->machine.state != CONNECTION_GONE; i++)
    carry_out(t, connection_step(&t->machine, came[i], now_ms(t)));
}

void tunnel_run(struct tunnel *t, unsigned actions)
{
  carry_out(t, actions);
  if (t->machine.state == CONNECTION_GONE)
    return;
  arm(t);
  tell_detached(t);
}

void tunnel_step(struct tunnel *t, enum connection_event event)
{
  tunnel_run(t, connection_step(&t->machine, event, now_ms(t)));
}

/* ---- The pump ---- */

static void on_local_eof(struct pump *p, void *arg)
{
  (void)p;
  tunnel_step(arg, CONNECTION_LOCAL_EOF);
}

static void on_socket_failed(struct pump *p, int error, void *arg)
{
  (void)p;
  struct tunnel *t = arg;
  if (error != ECONNRESET && error != EPIPE)
    tunnel_fail(t, "the local socket failed: %s", strerror(error));
  tunnel_set_reset(t, "", "the local socket was reset");
  tunnel_step(t, CONNECTION_SOCKET_FAILED);
}

static void on_remote_eof(struct pump *p, void *arg)
{
  (void)p;
  tunnel_step(arg, CONNECTION_REMOTE_EOF);
}

const struct pump_events tunnel_pump_events = {
    .local_eof = on_local_eof, .socket_failed = on_socket_failed, .remote_eof = on_remote_eof};

/* ---- Streams ---- */

static bool is_current(const struct tunnel *t, const struct pump_stream *s)
{
  return s == t->current_stream;
}

static bool is_of_this_connection(const struct tunnel *t, const struct header *h)
{
  return h->has_connection && h->has_member && h->epoch == t->machine.epoch &&
         memcmp(h->connection, t->connection, sizeof t->connection) == 0;
}

/* F: the answer to a dial. */
static void dial_answered(struct tunnel *t, const struct header *h)
{
  if (is_of_this_connection(t, h)) {
    memcpy(t->member, h->member, sizeof t->member);
    tunnel_step(t, CONNECTION_ANSWERED);
    return;
  }
  tunnel_fail(t, "the other side sent the header of another connection");
  tunnel_set_reset(t, "EPROTO", "the header is of another connection");
  tunnel_step(t, CONNECTION_MISANSWERED);
}

/* F: the other side goes on. */
static void next_answered(struct tunnel *t, const struct header *h)
{
  bool good = is_of_this_connection(t, h) && memcmp(h->member, t->member, sizeof t->member) == 0 &&
              pump_can_send_from(t->pump, h->received);
  t->header = h;
  tunnel_step(t, good ? CONNECTION_NEXT_ANSWERED : CONNECTION_NEXT_MISANSWERED);
  t->header = NULL;
}

static void on_header(struct pump_stream *s, const struct header *h, void *arg)
{
  struct tunnel *t = arg;
  if (is_current(t, s))
    dial_answered(t, h);
  else
    next_answered(t, h);
}

static void on_original(struct pump_stream *s, void *arg)
{
  tunnel_step(arg, is_current(arg, s) ? CONNECTION_ORIGINAL : CONNECTION_NEXT_MISANSWERED);
}

/* F: what S says only if it could not dial. (ETIMEDOUT and ELOOP may end a connection that was open.) */
static bool says_unreached(const struct tunnel *t, const char *code)
{
  static const char *const codes[] = {"ECONNREFUSED", "ENOENT",        "EHOSTUNREACH", "ENETUNREACH", "ENETDOWN",
                                      "EACCES",       "EADDRNOTAVAIL", "EMFILE",       "ENFILE"};
  bool found = strncmp(code, "EAI_", 4) == 0;
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
    found |= strcmp(code, codes[i]) == 0;
  return found && t->machine.role == CONNECTION_FORWARD;
}

static void on_reset(struct pump_stream *s, const char *code, const char *reason, void *arg)
{
  struct tunnel *t = arg;
  t->unreached = says_unreached(t, code);
  if (code[0] != '\0')
    tunnel_fail(t, "the other side: %s", reason);
  tunnel_step(t, is_current(t, s) ? CONNECTION_REMOTE_RESET : CONNECTION_NEXT_RESET);
}

static void on_refused(struct pump_stream *s, const char *reason, void *arg)
{
  struct tunnel *t = arg;
  remember_trouble(t, reason);
  tunnel_step(t, is_current(t, s) ? CONNECTION_STREAM_LOST : CONNECTION_NEXT_LOST);
}

/* Whether a stream that a router or a network ended may fare better when it is opened again. */
static bool may_pass(enum rpc_status status)
{
  return status == RPC_UNAVAILABLE || status == RPC_ABORTED || status == RPC_INTERNAL || status == RPC_UNKNOWN ||
         status == RPC_CANCELLED;
}

static enum connection_event how_it_ended(struct tunnel *t, enum rpc_status status)
{
  bool streams_only = t->machine.established;
  bool over = t->machine.state == CONNECTION_CLOSING;
  /* The router has given the dial up. What an earlier stream has come to is not known. */
  t->unreached |= t->machine.role == CONNECTION_FORWARD && t->machine.epoch == 0 && !streams_only &&
                  (status == RPC_NOT_FOUND || status == RPC_DEADLINE_EXCEEDED);
  if (status == RPC_OK)
    return CONNECTION_STREAM_OK;
  if (streams_only || (t->machine.other == CONNECTION_UNKNOWN && !t->machine.asked && may_pass(status)))
    return CONNECTION_STREAM_LOST;
  /* A peer of the first version that gives up its dial can only cancel, which is no failure here. */
  if (!over && !(status == RPC_ABORTED && t->machine.role == CONNECTION_SERVICE))
    tunnel_fail(t, "%s", tunnel_trouble(t));
  return CONNECTION_STREAM_FAILED;
}

/* F: of a next stream. The router knows when that process of S is over for good. */
static enum connection_event how_next_ended(struct tunnel *t, enum rpc_status status)
{
  if (status != RPC_FAILED_PRECONDITION)
    return CONNECTION_NEXT_LOST;
  tunnel_fail(t, "%s", tunnel_trouble(t));
  return CONNECTION_PEER_LOST;
}

static void on_ended(struct pump_stream *s, enum rpc_status status, const char *text, void *arg)
{
  struct tunnel *t = arg;
  if (t->machine.role == CONNECTION_SERVICE && pump_is_heard(t->pump))
    tunnel_step(t, CONNECTION_HEARD);
  char why[SENTENCE_SIZE];
  snprintf(why, sizeof why, "%s (%s)", text[0] != '\0' ? text : "the stream to the router ended",
           rpc_status_name(status));
  remember_trouble(t, why);
  tunnel_step(t, is_current(t, s) ? how_it_ended(t, status) : how_next_ended(t, status));
}

const struct pump_stream_events tunnel_stream_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

/* ---- The token, the dial, the time ---- */

void tunnel_asked(enum rpc_status status, const char *text, const char *token, void *arg)
{
  struct tunnel *t = arg;
  t->asking = NULL;
  if (t->machine.state == CONNECTION_ASKING && token != NULL) {
    t->token = token;
    tunnel_step(t, CONNECTION_TOKEN);
    t->token = NULL;
  } else if (t->machine.state == CONNECTION_ASKING) {
    if (status == RPC_OK)
      tunnel_fail(t, "the router's answer is malformed");
    else
      tunnel_fail(t, "%s (%s)", text, rpc_status_name(status));
    tunnel_step(t, CONNECTION_TOKEN_REFUSED);
  }
  unhold(t);
}

/* A socket that has just been connected takes so little at once. */
static bool introduce(const struct tunnel *t, int fd)
{
  char header[PROXY_HEADER_MAX];
  size_t size = proxy_header_write(t->proxy, &t->ends, header);
  errno = 0;
  return size == 0 || send(fd, header, size, MSG_NOSIGNAL) == (ssize_t)size;
}

void tunnel_dialled(int fd, const char *why, void *arg)
{
  struct tunnel *t = arg;
  t->dial = NULL;
  if (t->machine.state != CONNECTION_OPENING) {
    if (fd >= 0)
      pump_discard_socket(fd);
  } else if (fd >= 0 && !introduce(t, fd)) {
    pump_discard_socket(fd);
    tunnel_fail(t, "the target takes no PROXY header: %s", strerror(errno));
    tunnel_set_reset(t, "ECONNRESET", "the target takes no PROXY header");
    tunnel_step(t, CONNECTION_DIAL_FAILED);
  } else if (fd >= 0) {
    t->fd = fd;
    hops_dialled(&t->table->dialled, &t->hops, fd);
    trails_add(&t->table->trails, t);
    tunnel_step(t, CONNECTION_DIALLED);
  } else {
    tunnel_fail(t, "%s", why);
    t->why = strdup(why);
    tunnel_set_reset(t, uv_err_name(fd), t->why != NULL ? t->why : strerror(ENOMEM));
    tunnel_step(t, CONNECTION_DIAL_FAILED);
  }
  unhold(t);
}

void tunnel_dial_now(struct tunnel *t, const struct address *target)
{
  int event;
  if (t->machine.state != CONNECTION_OPENING)
    return;
  t->target = target;
  event = tunnel_dial(t);
  t->target = NULL;
  if (event != TUNNEL_NOTHING)
    tunnel_step(t, (enum connection_event)event);
}

/* What the user reads of a time that is over. */
static void tell_timeout(struct tunnel *t)
{
  const struct connection *c = &t->machine;
  const struct connection_times *times = &t->table->times;
  if (c->state == CONNECTION_CLOSING)
    return;
  if (c->state == CONNECTION_WAITING && now_ms(t) >= c->dial_until) {
    tunnel_fail(t, "no router for %" PRIu64 " s: %s", times->dial / 1000, way_of(t).trouble);
  } else if (now_ms(t) >= c->dial_until) {
    tunnel_fail(t, "no answer in %" PRIu64 " s%s%s", (now_ms(t) - t->started_ms) / 1000,
                t->trouble != NULL ? "; the last error was: " : "", t->trouble != NULL ? t->trouble : "");
    tunnel_set_reset(t, "ETIMEDOUT", "no answer in time");
  } else if (now_ms(t) >= c->hold_until) {
    tunnel_fail(t, "given up after %" PRIu64 " s without a way to the other side: %s",
                (c->hold_until - c->shaky_since) / 1000, tunnel_trouble(t));
    tunnel_set_reset(t, "ETIMEDOUT", "the connection had no stream for too long");
  }
}

/* F: a dial that has not even left tries elsewhere. Over a slow line it may only be behind others. */
static void look_for_room(struct tunnel *t)
{
  t->begun_by = UINT64_MAX;
  if (t->machine.state != CONNECTION_OPENING || t->current_stream == NULL || is_slow(t) ||
      !pump_stream_has_no_room(t->current_stream)) {
    arm(t);
    return;
  }
  remember_trouble(t, "the front of the router lets no further stream through");
  tunnel_step(t, CONNECTION_STREAM_LOST);
}

/* F: over a slow line an answer may be behind what others have under way. */
static bool may_come_yet(const struct tunnel *t)
{
  return t->machine.state < CONNECTION_OPEN && now_ms(t) >= t->machine.dial_until &&
         now_ms(t) - t->started_ms < MOST_MS && is_slow(t);
}

void tunnel_timeout(uv_timer_t *timer)
{
  struct tunnel *t = timer->data;
  t->armed_for = UINT64_MAX;
  if (t->cut) {
    t->cut = false;
    tunnel_step(t, CONNECTION_CUT);
    return;
  }
  if (now_ms(t) >= t->begun_by) {
    look_for_room(t);
    return;
  }
  if (now_ms(t) >= t->renew_at) {
    t->renew_at = UINT64_MAX;
    tunnel_step(t, CONNECTION_RENEW);
    return;
  }
  if (may_come_yet(t)) {
    connection_wait_longer(&t->machine, MORE_MS, now_ms(t));
    arm(t);
    return;
  }
  tell_timeout(t);
  tunnel_step(t, CONNECTION_TIME);
}

void tunnel_timer_closed(uv_handle_t *timer)
{
  unhold(timer->data);
}

/* ---- A tunnel is ended ---- */

void tunnel_end(struct tunnel *t, const char *reason)
{
  tunnel_set_reset(t, "ECONNABORTED", reason);
  tunnel_step(t, CONNECTION_END);
}

void tunnel_end_loop(struct tunnel *t)
{
  tunnel_fail_loop(t);
  tunnel_step(t, CONNECTION_CUT);
}

void tunnel_evict(struct tunnel *t)
{
  tunnel_fail(t, "given up while detached: too many others were detached, too");
  tunnel_set_reset(t, "ECONNABORTED", "too many connections were detached");
  tunnel_step(t, CONNECTION_CUT);
}

void tunnel_cut(struct tunnel *t)
{
  tunnel_set_reset(t, "ECONNABORTED", "the connection was cut on the other side");
  /* The machine may be done at once, which its owner must not see inside this call. */
  t->cut = true;
  uv_timer_start(&t->timer, tunnel_timeout, 0, 0);
}
