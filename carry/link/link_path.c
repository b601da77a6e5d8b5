/* One way to the router. First of all the address is looked for that answers, of those which the router's name has now,
 * or its proxy's (dial.h); gRPC is told to connect to that one. Then WatchServices is called: its first answer means
 * that the router is there and of our kind, and has a challenge. That is signed, and only who has joined goes on with
 * the watch; until then its first message is kept, and no other is received. A router of the first version answers
 * UNIMPLEMENTED; it dies of keepalive pings, so the channel is opened again without them, and ListServices is polled.
 * Behind the same channel a router of ours may take its place some day, so WatchServices is asked for each time again.
 *
 * The memory stays until the calls and the timers have called back for the last time, so that an answer which comes
 * after the path was dropped meets nobody.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry/net/dial.h"
#include "link_internal.h"
#include "network.h"

enum {
  SEEK_MS = 20000,
  MOST_MS = 60000, /* however slow the way may be */
  CALL_MS = 10000,
  POLL_MS = 2000,
  HEARTBEAT_MIN_MS = 20,
  HEARTBEAT_MAX_MS = 600000,
  AGE_MIN_MS = 1000,
  AGE_MAX_MS = 2000000000,
  PEER_MAX = 128,
};

static void timer_fired(uv_timer_t *timer);
static void begin_listing(struct link_path *p);
static int start_list(struct link_path *p);

static void start_timer(struct link_path *p, uint64_t ms)
{
  uv_timer_start(&p->timer, timer_fired, ms, 0);
}

static void unref(struct link_path *p)
{
  struct link *l = p->link;

  if (--p->refs > 0)
    return;
  free(p);
  link_call_over(l);
}

static void drop_first(struct link_path *p)
{
  if (p->first == NULL)
    return;
  if (p->first->stream_secret.len > 0)
    explicit_bzero(p->first->stream_secret.data, p->first->stream_secret.len);
  mindmeld__watch_services_response__free_unpacked(p->first, NULL);
  p->first = NULL;
}

static int open_channel(struct link_path *p, bool keepalive)
{
  struct link *l = p->link;
  const struct rpc_proxy proxy = {.login = l->proxy.login[0] != '\0' ? l->proxy.login : NULL};
  const struct rpc_channel_options options = {.target = l->target,
                                              .address = (const struct sockaddr *)&p->at.bytes,
                                              .proxy = l->proxied ? &proxy : NULL,
                                              .tls = l->options.tls,
                                              .ca_pem = l->ca_pem,
                                              .bearer = l->key,
                                              .keepalive = keepalive};
  struct rpc_channel *fresh;
  int err = rpc_channel_open(&fresh, l->q, &options);

  if (err != 0)
    return err;
  if (p->channel != NULL)
    rpc_channel_close(p->channel);
  p->channel = fresh;
  if (p->lent)
    l->channel = fresh;
  return 0;
}

/* ---- The watch, once it is known who we are. ---- */

/* Between 80 and 90 % of the age that a stream may reach: not all at the same time. */
static void start_age(struct link_path *p, uint64_t age_ms)
{
  uint64_t percent = 80 + link_random(p->link) % 11;

  uv_timer_start(&p->age, timer_fired, age_ms * percent / 100, 0);
}

/* What is said of an age, within what can be worked with; 0: there is none. */
static uint64_t sane_age(uint64_t age_ms)
{
  if (age_ms == 0 || age_ms > AGE_MAX_MS)
    return 0;
  return age_ms > AGE_MIN_MS ? age_ms : AGE_MIN_MS;
}

static void take_news(struct link_path *p, Mindmeld__WatchServicesResponse *news)
{
  uint32_t heartbeat_ms = news->heartbeat_ms;

  p->since = uv_now(p->link->loop);
  link_line_look(&p->line, rpc_channel_traffic(p->channel).bytes, p->since);
  link_tell_news(p, news);
  mindmeld__watch_services_response__free_unpacked(news, NULL);
  if (p->state == PATH_OVER)
    return;
  if (heartbeat_ms != 0) {
    p->heartbeat_ms = heartbeat_ms < HEARTBEAT_MIN_MS ? HEARTBEAT_MIN_MS : heartbeat_ms;
    p->heartbeat_ms = p->heartbeat_ms > HEARTBEAT_MAX_MS ? HEARTBEAT_MAX_MS : p->heartbeat_ms;
  }
  if (p->stream_age_ms != 0 && !uv_is_active((uv_handle_t *)&p->age))
    start_age(p, p->stream_age_ms);
  if (p->heartbeat_ms != 0)
    start_timer(p, p->heartbeat_ms * 5 / 2);
  else
    uv_timer_stop(&p->timer);
  if (p->call != NULL)
    rpc_call_receive(p->call);
}

static void enter_watched(struct link_path *p)
{
  struct link *l = p->link;
  Mindmeld__WatchServicesResponse *first = p->first;
  char peer[PEER_MAX];

  p->first = NULL;
  p->state = PATH_WATCHED;
  p->stream_age_ms = sane_age(first->stream_age_ms);
  link_streams_take(p, first);
  if (l->network != NULL && p->call != NULL && rpc_call_remote(p->call, peer, sizeof peer) > 0)
    network_watch(l->network, peer);
  link_up(l, p);
  if (p->state != PATH_OVER)
    take_news(p, first);
  else
    mindmeld__watch_services_response__free_unpacked(first, NULL);
}

/* ---- Join. ---- */

static void join_decided(struct link_path *p, enum rpc_status status, const char *text)
{
  struct link *l = p->link;
  char sentence[TROUBLE_MAX];

  switch (status) {
  case RPC_FAILED_PRECONDITION:
    link_supersede(l);
    if (p->state == PATH_JOINING)
      enter_watched(p);
    break;
  case RPC_OK:
    if (l->events->joined != NULL)
      l->events->joined(l, l->arg);
    if (p->state == PATH_JOINING)
      enter_watched(p);
    break;
  case RPC_UNIMPLEMENTED:
    enter_watched(p);
    break;
  case RPC_INVALID_ARGUMENT:
  case RPC_PERMISSION_DENIED:
    snprintf(sentence, sizeof sentence, "the router does not accept the identity of this mount: %.200s", text);
    link_fail(l, p, sentence);
    break;
  default:
    link_lose(l, p, status, text);
    break;
  }
}

static void join_done(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct link_path *p = arg;

  p->join = NULL;
  if (p->state == PATH_JOINING) {
    if (status == RPC_OK)
      link_forget_removed(p->first, answer);
    join_decided(p, status, text);
  }
  rpc_message_free(answer);
  unref(p);
}

/* The first message has come. Who was superseded has nothing to prove any more. */
static void join(struct link_path *p)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/Join", .deadline_ms = MOST_MS};
  struct link *l = p->link;

  if (l->path != NULL && p->first->draining) {
    link_fail(l, p, "the router is about to stop");
    return;
  }
  if (p->first->challenge.len != IDENTITY_CHALLENGE_SIZE || l->superseded) {
    enter_watched(p);
    return;
  }
  p->state = PATH_JOINING;
  int err = rpc_unary(&p->join, p->channel, &options, link_pack_join(l, &p->first->challenge), join_done, p);
  if (err != 0)
    link_fail(l, p, strerror(-err));
  else
    p->refs++;
}

/* ---- The watch as a call. ---- */

static void watch_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct link_path *p = arg;
  Mindmeld__WatchServicesResponse *news = NULL;

  (void)c;
  if (m != NULL && p->state != PATH_OVER)
    news = (Mindmeld__WatchServicesResponse *)rpc_message_unpack(m, &mindmeld__watch_services_response__descriptor);
  rpc_message_free(m);
  if (m == NULL || p->state == PATH_OVER)
    return;
  if (news == NULL) {
    link_fail(p->link, p, "the router sent a message that cannot be read");
  } else if (p->state == PATH_WATCHING) {
    p->first = news;
    join(p);
  } else if (p->state == PATH_WATCHED) {
    take_news(p, news);
  } else {
    mindmeld__watch_services_response__free_unpacked(news, NULL);
    link_fail(p->link, p, "a router that speaks the second version has taken its place");
  }
}

static void watch_over(struct link_path *p, enum rpc_status status, const char *text)
{
  struct link *l = p->link;
  const struct link_path *attempt = l->attempt;

  if (status == RPC_UNIMPLEMENTED && p->state == PATH_WATCHING && l->path == NULL) {
    begin_listing(p);
  } else if (status == RPC_UNIMPLEMENTED && p->state == PATH_POLLED) {
    if (start_list(p) != 0)
      link_fail(l, p, strerror(ENOMEM));
  } else if (p == l->path && status == RPC_ABORTED && attempt != NULL && attempt->state == PATH_JOINING) {
    p->replaced = true;
    uv_timer_stop(&p->timer);
  } else if (p == l->path && l->draining) {
    link_lose(l, p, RPC_UNAVAILABLE, "it said that it is about to stop");
  } else if (status == RPC_OK) {
    link_lose(l, p, RPC_UNAVAILABLE, "it ended the watch");
  } else {
    link_lose(l, p, status, text);
  }
}

static void watch_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct link_path *p = arg;

  (void)c;
  p->call = NULL;
  if (p->state != PATH_OVER)
    watch_over(p, status, text);
  unref(p);
}

static struct rpc_message *pack_watch(const struct link *l)
{
  Mindmeld__WatchServicesRequest request = MINDMELD__WATCH_SERVICES_REQUEST__INIT;
  Mindmeld__Gate gate = MINDMELD__GATE__INIT;

  gate.http_port = l->gate.http_port;
  gate.https_port = l->gate.https_port;
  gate.ports = l->gate.ports;
  request.gate = l->is_gate ? &gate : NULL;
  return rpc_message_pack(&request.base);
}

static int start_watch(struct link_path *p)
{
  static const struct rpc_call_events events = {.message = watch_message, .closed = watch_closed};
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/WatchServices"};
  int err = rpc_call_start(&p->call, p->channel, &options, &events, p);

  if (err != 0) {
    p->call = NULL;
    return err;
  }
  p->refs++;
  struct rpc_message *m = pack_watch(p->link);

  err = m != NULL ? rpc_call_send(p->call, m) : -ENOMEM;
  if (err == 0)
    err = rpc_call_end(p->call);
  if (err == 0)
    err = rpc_call_receive(p->call);
  /* -EPIPE: it has failed already, and `closed` says why. */
  return err == -EPIPE ? 0 : err;
}

/* ---- ListServices, for a router of the first version. ---- */

static void take_list(struct link_path *p, const Mindmeld__ListServicesResponse *list)
{
  start_timer(p, POLL_MS);
  if (p->state == PATH_LISTING) {
    p->state = PATH_POLLED;
    link_up(p->link, p);
  }
  if (p->state != PATH_OVER)
    link_tell_list(p, list);
}

static void list_done(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct link_path *p = arg;
  Mindmeld__ListServicesResponse *list = status == RPC_OK ? link_unpack_list(answer) : NULL;

  p->call = NULL;
  if (p->state != PATH_OVER) {
    if (list != NULL)
      take_list(p, list);
    else
      link_lose(p->link, p, status == RPC_OK ? RPC_INTERNAL : status,
                status == RPC_OK ? "it sent a message that cannot be read" : text);
  }
  if (list != NULL)
    mindmeld__list_services_response__free_unpacked(list, NULL);
  unref(p);
}

static int start_list(struct link_path *p)
{
  int err = link_list(p->channel, &p->call, CALL_MS, list_done, p);

  if (err == 0)
    p->refs++;
  else
    p->call = NULL;
  return err;
}

static void begin_listing(struct link_path *p)
{
  int err = open_channel(p, false);

  p->state = PATH_LISTING;
  uv_timer_stop(&p->timer);
  if (err == 0)
    err = start_list(p);
  if (err != 0)
    link_fail(p->link, p, strerror(-err));
}

/* ---- Beginning and end. ---- */

static void poll_again(struct link_path *p)
{
  if (p->call != NULL) {
    link_lose(p->link, p, RPC_DEADLINE_EXCEEDED, "");
    return;
  }
  start_timer(p, CALL_MS);
  if (start_watch(p) != 0)
    link_fail(p->link, p, strerror(ENOMEM));
}

/* An attempt that is not answered yet may be on its way: handshakes are many round trips, and one of them may be
 * seconds beside an upload. To begin anew would be to begin with the first of them again. */
static bool comes_on(struct link_path *p)
{
  uint64_t moved = rpc_channel_traffic(p->channel).bytes;
  bool more = moved > p->moved && uv_now(p->link->loop) - p->since < MOST_MS;

  p->moved = moved;
  return more;
}

bool link_path_is_slow(const struct link_path *p)
{
  if (p->state != PATH_WATCHED)
    return p->moved > 0;
  struct rpc_traffic traffic = rpc_channel_traffic(p->channel);

  /* Where packets are not long under way, there is little traffic because little is said. */
  return traffic.rtt_us >= LINE_SLOW_RTT_US && link_line_is_slow(&p->line, traffic.bytes, uv_now(p->link->loop));
}

static void timer_fired(uv_timer_t *timer)
{
  struct link_path *p = timer->data;
  struct link *l = p->link;
  char text[64];

  if (timer == &p->age) {
    link_begin_renewal(l);
    return;
  }
  switch (p->state) {
  case PATH_WATCHING:
  case PATH_JOINING:
    if (comes_on(p)) {
      start_timer(p, l->options.answer_ms);
      break;
    }
    l->unanswered = true;
    link_lose(l, p, RPC_DEADLINE_EXCEEDED, "");
    break;
  case PATH_WATCHED:
    if (link_path_is_slow(p) && uv_now(l->loop) - p->since < MOST_MS) {
      start_timer(p, p->heartbeat_ms);
      break;
    }
    l->silent = true;
    snprintf(text, sizeof text, "nothing was heard for %" PRIu64 " ms", p->heartbeat_ms * 5 / 2);
    link_lose(l, p, RPC_UNAVAILABLE, text);
    break;
  case PATH_POLLED:
    poll_again(p);
    break;
  case PATH_SEEKING:
  case PATH_LISTING:
  case PATH_OVER:
    break;
  }
}

static void timer_closed(uv_handle_t *handle)
{
  unref(handle->data);
}

static int begin_watch(struct link_path *p)
{
  int err = open_channel(p, true);

  if (err != 0)
    return err;
  link_use_attempt(p->link);
  p->state = PATH_WATCHING;
  p->since = uv_now(p->link->loop);
  /* After one that had no answer at all the way may be a long one. */
  start_timer(p, p->link->options.answer_ms * (p->link->unanswered ? 2 : 1));
  return start_watch(p);
}

static void found(int error, const struct endpoint *at, const char *why, unsigned causes, void *arg)
{
  struct link_path *p = arg;
  struct link *l = p->link;

  p->dial = NULL;
  if (p->state == PATH_SEEKING) {
    if (error == 0) {
      p->at = *at;
      error = begin_watch(p);
      if (error != 0)
        link_fail(l, p, strerror(-error));
    } else {
      link_not_found(l, p, why, causes);
    }
  }
  unref(p);
}

int link_path_open(struct link_path **out, struct link *l)
{
  struct link_path *p = calloc(1, sizeof *p);
  int err;

  if (p == NULL)
    return -ENOMEM;
  p->link = l;
  err = dial_find(&p->dial, l->lookups, l->proxied ? &l->proxy.address : &l->router, SEEK_MS, found, p);
  if (err != 0) {
    free(p);
    return err;
  }
  /* These do not fail. */
  uv_timer_init(l->loop, &p->timer);
  uv_timer_init(l->loop, &p->age);
  p->timer.data = p->age.data = p;
  p->refs = 3;
  l->calls++;
  *out = p;
  return 0;
}

void link_path_drop(struct link_path *p)
{
  p->state = PATH_OVER;
  drop_first(p);
  explicit_bzero(&p->streams, sizeof p->streams);
  if (p->call != NULL)
    rpc_call_cancel(p->call, RPC_CANCELLED, "given up");
  if (p->join != NULL)
    rpc_call_cancel(p->join, RPC_CANCELLED, "given up");
  if (p->dial != NULL)
    dial_cancel(p->dial);
  if (p->channel != NULL && !p->lent)
    rpc_channel_close(p->channel);
  p->channel = NULL;
  uv_close((uv_handle_t *)&p->timer, timer_closed);
  uv_close((uv_handle_t *)&p->age, timer_closed);
}
