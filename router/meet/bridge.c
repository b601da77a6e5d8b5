/* The happy path: a message comes, and its forwarding is started before the next is asked for. Both streams end, each
 * after the last message to it, with OK.
 *
 * Between two of ours an end is said in-band, and a half-closed stream only means that nothing follows. An original
 * knows one end, of both directions: what is under way is delivered, then both streams get OK. An original may have
 * stopped reading, the more so if it ended, and has a limited time; one of ours reads on, or breaks. If a stream
 * breaks, its partner is told with ABORTED, after what is under way (which may be the reason); an original, which knows
 * no difference, with OK.
 */
#include "bridge.h"

#include <errno.h>
#include <stdlib.h>

#include "router/door/limits.h"
#include "router/door/reply.h"

struct side {
  struct bridge *bridge;
  struct side *other;
  struct rpc_call *call;
  bool original;
  bool receiving;
  bool sending;
  struct rpc_message *waiting; /* to be sent here next */
  bool ended;                  /* sends no more */
  bool finished;               /* was given its status, or has closed */
  bool closed;
  enum rpc_status status; /* to be given */
  const char *text;
  struct rpc_timer *late;
};

struct bridge {
  struct side sides[2];
  struct rpc_queue *queue;
  const struct router_limits *limits;
  bool ending;
  void (*over)(void *arg);
  void *arg;
};

static void side_drop(struct side *s)
{
  rpc_message_free(s->waiting);
  s->waiting = NULL;
}

static void side_cancel(struct side *s, enum rpc_status status, const char *text)
{
  side_drop(s);
  s->finished = true;
  rpc_call_cancel(s->call, status, text);
}

static void on_late(void *arg)
{
  struct side *s = arg;
  s->late = NULL;
  side_cancel(s, s->status == RPC_OK ? RPC_ABORTED : s->status, s->status == RPC_OK ? "the stream is stuck" : s->text);
}

/* Once the last message to a side is sent, its status may follow. (One waits only while another is being sent.) */
static void side_settle(struct side *s)
{
  if (!s->bridge->ending || s->finished || s->sending)
    return;
  s->finished = true;
  reply_finish(s->call, s->status, s->text);
}

/* `ms` 0: it may take as long as it takes. */
static void side_end(struct side *s, enum rpc_status status, const char *text, uint64_t ms)
{
  if (s->closed)
    return;
  s->status = status;
  s->text = text;
  if (ms > 0 && rpc_timer_start(&s->late, s->bridge->queue, ms, on_late, s) != 0) {
    side_cancel(s, status, text);
    return;
  }
  side_settle(s);
}

/* The router itself cannot go on with this pair. */
static void bridge_break(struct bridge *b)
{
  static const char why[] = "the router is short of memory";
  b->ending = true;
  for (size_t i = 0; i < 2; i++) {
    if (!b->sides[i].closed)
      side_cancel(&b->sides[i], RPC_RESOURCE_EXHAUSTED, why);
  }
}

static void side_send(struct side *s, struct rpc_message *m)
{
  int error = rpc_call_send(s->call, m);
  s->sending = error == 0;
  if (error && error != -EPIPE)
    bridge_break(s->bridge);
}

static void side_receive(struct side *s)
{
  if (s->bridge->ending || s->receiving || s->ended || s->closed || s->other->waiting)
    return;
  int error = rpc_call_receive(s->call);
  s->receiving = error == 0;
  if (error && error != -EPIPE)
    bridge_break(s->bridge);
}

static void side_ended(struct side *s)
{
  struct bridge *b = s->bridge;
  s->ended = true;
  if (b->ending)
    return;
  if (s->original || s->other->original) {
    b->ending = true;
    side_end(s, RPC_OK, "", s->original ? b->limits->leave_ms : 0);
    side_end(s->other, RPC_OK, "", s->other->original ? b->limits->linger_ms : 0);
  } else if (s->other->ended) {
    b->ending = true;
    side_end(s, RPC_OK, "", 0);
    side_end(s->other, RPC_OK, "", 0);
  }
}

static void side_pass(struct side *to, struct rpc_message *m)
{
  if (to->bridge->ending)
    rpc_message_free(m);
  else if (to->sending)
    to->waiting = m;
  else
    side_send(to, m);
}

static void on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct side *s = arg;
  s->receiving = false;
  if (!m) {
    side_ended(s);
    return;
  }
  side_pass(s->other, m);
  side_receive(s);
}

static void on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  struct side *s = arg;
  struct rpc_message *next = s->waiting;
  s->sending = false;
  s->waiting = NULL;
  if (next)
    side_send(s, next);
  side_receive(s->other);
  side_settle(s);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct side *s = arg;
  struct bridge *b = s->bridge;
  s->closed = s->finished = true;
  s->receiving = s->sending = false;
  side_drop(s);
  if (s->late)
    rpc_timer_cancel(s->late);
  s->late = NULL;
  if (s->other->closed) {
    b->over(b->arg);
    free(b);
    return;
  }
  if (b->ending)
    return;
  b->ending = true;
  if (s->other->original)
    side_end(s->other, RPC_OK, "", b->limits->linger_ms);
  else
    side_end(s->other, RPC_ABORTED, "the other side is gone", b->limits->reset_ms);
}

static const struct rpc_call_events events = {.message = on_message, .sent = on_sent, .closed = on_closed};

/* Tells one of ours that the pair exists, and with whom; then `first`, if there is any. */
static void side_begin(struct side *s, struct rpc_message *first)
{
  const struct rpc_metadata peer = {"mindmeld-peer", s->other->original ? "original" : "2"};
  int error = 0;
  if (s->bridge->ending) {
    rpc_message_free(first);
  } else if (!s->original && first) {
    error = rpc_call_send_first(s->call, &peer, 1, first);
    s->sending = error == 0;
  } else if (!s->original) {
    error = rpc_call_send_headers(s->call, &peer, 1);
  } else if (first) {
    side_send(s, first);
  }
  if (error && error != -EPIPE)
    bridge_break(s->bridge);
}

int bridge_start(struct rpc_queue *q, const struct router_limits *limits, const struct leg legs[2],
                 void (*over)(void *arg), void *arg)
{
  struct bridge *b = calloc(1, sizeof *b);
  if (!b)
    return -ENOMEM;
  b->queue = q;
  b->limits = limits;
  b->over = over;
  b->arg = arg;
  for (size_t i = 0; i < 2; i++) {
    b->sides[i] = (struct side){.bridge = b,
                                .other = &b->sides[1 - i],
                                .call = legs[i].call,
                                .original = legs[i].original,
                                .receiving = legs[i].receiving};
    rpc_call_set_arg(legs[i].call, &events, &b->sides[i]);
  }
  for (size_t i = 0; i < 2; i++)
    side_begin(&b->sides[i], legs[1 - i].first);
  for (size_t i = 0; i < 2; i++)
    side_receive(&b->sides[i]);
  return 0;
}
