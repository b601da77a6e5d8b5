/* A connection to a service is a tunnel, which has one end of a socket pair; the gate has the other one. It is not
 * asked whether the target answers before the request is on its way: that would cost a round trip. Why there is no
 * answer is read off the tunnel.
 *
 * What comes on an idle connection belongs to no request: it is closed.
 *
 * What a new connection is given is kept until something has reached the target: if it cannot be dialled, another one
 * gets all of it. That is little, so of a long request no more is taken until then.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utlist.h>
#include <uv.h>

#include "carry/host/carrier.h"
#include "carry/tunnel/hops.h"
#include "carry/tunnel/tunnels.h"
#include "gate_internal.h"

enum { OUT_KEPT = 16 * 1024, GIVEN_KEPT = 128 * 1024 };

/* ---- What the tunnel tells ---- */

/* 502: the target refused it, or left; 503: there is no way to it, or nobody serves, so far as the router tells. */
static unsigned status_of(const struct tunnel *t)
{
  struct tunnel_info info = tunnel_info(t);
  return info.reset || info.orderly ? 502 : 503;
}

/* A connection that is not the gate's: nobody waits for it but the drain. */
static void pass(struct tunnel *t, struct gate *g)
{
  tunnel_set_user(t, g);
  g->passed++;
}

static struct upstream *upstream_of(const struct tunnel *t, const struct gate *g)
{
  void *user = tunnel_user(t);
  return user != g ? user : NULL;
}

static void tunnel_opened(struct tunnel *t, void *arg)
{
  struct gate *g = arg;
  tunnel_set_user(t, g->dialling);
  if (g->dialling != NULL)
    g->dialling->tunnel = t;
  else
    pass(t, g);
}

static void tunnel_failed(struct tunnel *t, const char *what, void *arg)
{
  struct gate *g = arg;
  struct upstream *u = upstream_of(t, g);
  char sentence[GATE_WHY_MAX];

  snprintf(sentence, sizeof sentence, "%s: %s", tunnel_info(t).service, what);
  g->events->says(sentence, g->arg);
  if (u != NULL && u->trouble == 0)
    u->trouble = status_of(t);
}

static void tunnel_closed(struct tunnel *t, void *arg)
{
  struct gate *g = arg;
  struct upstream *u = upstream_of(t, g);
  if (tunnel_user(t) == g)
    gate_passed(g);
  if (u == NULL)
    return;
  if (tunnel_info(t).reset || (u->trouble == 0 && !tunnel_info(t).orderly))
    u->trouble = 502;
  u->unreached = tunnel_info(t).unreached;
  u->tunnel = NULL;
}

const struct tunnels_events upstream_events = {
    .opened = tunnel_opened, .closed = tunnel_closed, .failed = tunnel_failed};

bool upstream_is_orderly(const struct upstream *u)
{
  return u->trouble == 0 && (u->tunnel == NULL || !tunnel_info(u->tunnel).reset);
}

bool upstream_is_unreached(const struct upstream *u)
{
  return u->unreached || (u->tunnel != NULL && tunnel_info(u->tunnel).unreached);
}

unsigned upstream_trouble(const struct upstream *u)
{
  if (u->tunnel != NULL && tunnel_info(u->tunnel).reset)
    return 502;
  return u->trouble != 0 ? u->trouble : 502;
}

/* ---- From beginning to end ---- */

static uint64_t now_of(const struct upstream *u)
{
  return uv_now(u->gate->loop);
}

static void leave_pool(struct upstream *u)
{
  poller_deadline_clear(&u->gate->pool, &u->deadline);
  DL_DELETE(u->backend->idle, u);
  u->backend->idle_count--;
  u->idle = false;
}

static void on_ready(struct gate_socket *s)
{
  struct upstream *u = (struct upstream *)s;
  if (u->exchange != NULL)
    u->exchange->side->wake(u->exchange);
  else if (s->hung_up || gate_socket_read(s, u->gate->scratch, 1) > 0 || s->ended || s->read_error != 0)
    upstream_close(u, false);
}

/* Whose is told where it is nobody else's. */
static struct end_addresses ends_of(const struct exchange *x)
{
  struct end_addresses ends;
  (void)hops_accepted(x->client_fd, &ends);
  ends.client = end_address_parse(x->client);
  return ends;
}

static bool is_apart(const struct backend *b, const struct exchange *x)
{
  return x->alone || apart_has(x->gate, b->service);
}

/* From the pool; NULL: there is none. */
static struct upstream *idle_for(const struct backend *b, const struct exchange *x)
{
  bool apart = is_apart(b, x);
  struct upstream *u;
  DL_FOREACH(b->idle, u)
  {
    if (apart ? u->client != NULL && strcmp(u->client, x->client) == 0 : u->client == NULL)
      break;
  }
  return u;
}

/* With a client, only that one's. */
static struct upstream *upstream_create(const struct backend *b, const struct exchange *x)
{
  struct upstream *u = calloc(1, sizeof *u);
  if (u == NULL || !is_apart(b, x))
    return u;
  u->client = strdup(x->client);
  if (u->client != NULL)
    return u;
  free(u);
  return NULL;
}

static void upstream_free(struct upstream *u)
{
  free(u->client);
  free(u);
}

static struct upstream *dial(struct gate *g, struct backend *b, const struct exchange *x)
{
  struct upstream *u = upstream_create(b, x);
  int pair[2];

  if (u == NULL)
    return NULL;
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    upstream_free(u);
    return NULL;
  }
  if (gate_socket_open(&u->socket, g->poller, pair[0], NULL, on_ready) == 0) {
    u->gate = g;
    u->backend = b;
    http1_parser_init(&u->parser, true);
    const struct end_addresses ends = u->client != NULL ? ends_of(x) : (struct end_addresses){0};
    g->dialling = u;
    tunnels_forward(carrier_tunnels(g->carrier), b->service, pair[1], "the gate", &ends);
    g->dialling = NULL;
    if (u->tunnel != NULL) {
      b->count++;
      return u;
    }
    gate_socket_close(&u->socket, false);
  } else {
    close(pair[1]);
  }
  upstream_free(u);
  return NULL;
}

struct upstream *upstream_take(struct backend *b, struct exchange *x, bool fresh)
{
  struct upstream *u = fresh ? NULL : idle_for(b, x);

  if (u != NULL) {
    leave_pool(u);
    u->reused = true;
  } else {
    u = dial(x->gate, b, x);
  }
  if (u == NULL)
    return NULL;
  u->exchange = x;
  u->answers = false;
  u->asked_at = now_of(u);
  health_request(&b->health, u->asked_at);
  return u;
}

static void end_request(struct upstream *u)
{
  health_over(&u->backend->health, u->answers, now_of(u));
  u->exchange = NULL;
}

void upstream_give(struct upstream *u)
{
  end_request(u);
  if (u->backend->idle_count == GATE_POOL_MAX || !u->backend->listed || u->gate->draining || u->socket.hung_up ||
      u->tunnel == NULL) {
    upstream_close(u, false);
    return;
  }
  http1_parser_next(&u->parser, true);
  if (u->socket.out.capacity > OUT_KEPT)
    http1_out_free(&u->socket.out);
  DL_PREPEND(u->backend->idle, u);
  u->backend->idle_count++;
  u->idle = true;
  poller_deadline_set(&u->gate->pool, &u->deadline);
}

static void unhold(struct upstream *u)
{
  if (u->held)
    poller_deadline_clear(&u->gate->reach, &u->deadline);
  u->held = false;
}

void upstream_close(struct upstream *u, bool reset)
{
  struct backend *b = u->backend;

  if (u->idle)
    leave_pool(u);
  unhold(u);
  if (u->exchange != NULL)
    end_request(u);
  if (u->tunnel != NULL) {
    tunnel_set_user(u->tunnel, NULL);
    if (reset)
      tunnel_cut(u->tunnel);
  }
  gate_socket_close(&u->socket, reset);
  http1_parser_free(&u->parser);
  http1_out_free(&u->kept);
  if (--b->count == 0)
    backend_unused(u->gate, b);
  upstream_free(u);
}

void upstream_idle_too_long(struct poller_deadline *d)
{
  upstream_close((struct upstream *)((char *)d - offsetof(struct upstream, deadline)), false);
}

/* ---- Whether the target is reached ---- */

static void reach(struct upstream *u)
{
  u->reached = true;
  unhold(u);
  http1_out_free(&u->kept);
}

void upstream_answered(struct upstream *u)
{
  if (u->answers)
    return;
  u->answers = true;
  health_answered(&u->backend->health, now_of(u) - u->asked_at, now_of(u));
  reach(u);
}

/* That a target closes what it finds idle is no failure. */
void upstream_failed(struct upstream *u)
{
  struct health *h = &u->backend->health;
  if (!u->reached && upstream_is_unreached(u))
    health_dial_failed(h, now_of(u));
  else if (!u->reused || u->answers)
    health_failed(h);
}

void upstream_given(struct upstream *u, size_t before)
{
  const struct http1_out *out = &u->socket.out;
  if (!u->reached)
    http1_out_put(&u->kept, out->bytes + out->at + before, http1_out_waiting(out) - before);
}

bool upstream_has_room(struct upstream *u)
{
  if (!gate_socket_flush(&u->socket))
    return false;
  if (u->reached || http1_out_waiting(&u->kept) < GIVEN_KEPT)
    return true;
  if (!u->held)
    poller_deadline_set(&u->gate->reach, &u->deadline);
  u->held = true;
  return false;
}

/* No event tells it, and few requests are that long. */
void upstream_look(struct poller_deadline *d)
{
  struct upstream *u = (struct upstream *)((char *)d - offsetof(struct upstream, deadline));
  u->held = false;
  if (u->tunnel != NULL) {
    struct tunnel_info info = tunnel_info(u->tunnel);
    if (info.unacked < info.bytes_out)
      reach(u);
  }
  u->exchange->side->wake(u->exchange);
}
