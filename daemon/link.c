/* One channel, one watch, and a back-off of our own.
 *
 * All goes well: a channel is opened, WatchServices is called first, and its first answer means that the router is
 * there and of our kind. From then on messages carry changes of the catalogue, and the silence of three heartbeats
 * means that the router is lost. A router of the first version answers UNIMPLEMENTED; it dies of keepalive pings, so
 * the channel is opened again without them, and ListServices is polled.
 *
 *     WAITING --timer--> WATCHING --first answer--> WATCHED
 *                           |
 *                     UNIMPLEMENTED
 *                           v
 *                        LISTING --first answer--> POLLED
 *
 * From every state but CLOSING, trouble leads back to WAITING. The calls are made in link_watch.c; here are the states.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "link_internal.h"
#include "proto/identity.h"

enum {
  BACKOFF_MIN_MS = 200,
  BACKOFF_MAX_MS = 5000,
  STABLE_MS = 2000, /* a connection that lasted so long was a success */
};

static void timer_fired(uv_timer_t *timer);

/* ---- Connected, and not. ---- */

static void tell(struct link *l)
{
  if (l->events->state != NULL)
    l->events->state(l, link_connected(l), l->trouble, l->arg);
}

void link_enter(struct link *l, enum link_state state)
{
  l->state = state;
  l->connects++;
  l->connected_at = uv_now(l->loop);
  l->trouble[0] = '\0';
  known_names_restart(&l->names, true);
  tell(l);
}

static uint64_t jitter(struct link *l, uint64_t ms)
{
  l->random ^= l->random << 13;
  l->random ^= l->random >> 17;
  l->random ^= l->random << 5;
  return ms / 2 + l->random % (ms / 2 + 1);
}

void link_start_timer(struct link *l, uint64_t ms)
{
  uv_timer_start(&l->timer, timer_fired, ms, 0);
}

void link_retry(struct link *l, const char *sentence)
{
  bool was = link_connected(l);
  bool news = was || strcmp(l->trouble, sentence) != 0;

  if (was && uv_now(l->loop) - l->connected_at >= STABLE_MS)
    l->backoff_ms = BACKOFF_MIN_MS;
  snprintf(l->trouble, sizeof l->trouble, "%s", sentence);
  l->state = LINK_WAITING;
  l->draining = false;
  link_drop_attempt(l);
  link_start_timer(l, jitter(l, l->backoff_ms));
  l->backoff_ms = l->backoff_ms * 2 < BACKOFF_MAX_MS ? l->backoff_ms * 2 : BACKOFF_MAX_MS;
  if (news)
    tell(l);
}

void link_lose(struct link *l, enum rpc_status status, const char *text)
{
  struct trouble_where where = {
      .target = l->target, .tls = l->options.tls, .key = l->key != NULL, .connected = link_connected(l)};
  char sentence[TROUBLE_MAX];

  trouble_sentence(&where, status, text, sentence);
  link_retry(l, sentence);
}

int link_reopen_channel(struct link *l, bool keepalive)
{
  const struct rpc_channel_options options = {
      .target = l->target, .tls = l->options.tls, .ca_pem = l->ca_pem, .bearer = l->key, .keepalive = keepalive};
  struct rpc_channel *fresh;
  int err = rpc_channel_open(&fresh, l->q, &options);

  if (err != 0)
    return err;
  if (l->channel != NULL)
    rpc_channel_close(l->channel);
  l->channel = fresh;
  return 0;
}

static void maybe_closed(struct link *l)
{
  if (l->state != LINK_CLOSING || l->calls > 0 || !uv_is_closing((uv_handle_t *)&l->timer) || l->timer.data != NULL)
    return;
  void (*closed)(void *) = l->closed;
  void *arg = l->closed_arg;

  if (l->channel != NULL)
    rpc_channel_close(l->channel);
  known_names_free(&l->names);
  free(l->target);
  free(l->ca_pem);
  if (l->key != NULL)
    explicit_bzero(l->key, strlen(l->key));
  free(l->key);
  explicit_bzero(l->member_key, sizeof l->member_key);
  free(l);
  closed(arg);
}

void link_call_over(struct link *l)
{
  l->calls--;
  maybe_closed(l);
}

static void timer_fired(uv_timer_t *timer)
{
  struct link *l = timer->data;
  char text[64];

  switch (l->state) {
  case LINK_WAITING:
    link_begin_watching(l);
    break;
  case LINK_WATCHING:
    link_lose(l, RPC_DEADLINE_EXCEEDED, "");
    break;
  case LINK_WATCHED:
    snprintf(text, sizeof text, "nothing was heard for %" PRIu64 " ms", 3 * l->heartbeat_ms);
    link_lose(l, RPC_UNAVAILABLE, text);
    break;
  case LINK_POLLED:
    link_poll(l);
    break;
  case LINK_LISTING:
  case LINK_CLOSING:
    break;
  }
}

/* ---- Open, close. ---- */

static int fill_random(void *out, size_t size)
{
  return getrandom(out, size, 0) == (ssize_t)size ? 0 : -EAGAIN;
}

static int copy_options(struct link *l, const struct link_options *options)
{
  l->options = *options;
  l->target = strdup(options->target);
  l->ca_pem = options->ca_pem != NULL ? strdup(options->ca_pem) : NULL;
  l->key = options->key != NULL ? strdup(options->key) : NULL;
  if (l->target == NULL || (options->ca_pem != NULL && l->ca_pem == NULL) || (options->key != NULL && l->key == NULL))
    return -ENOMEM;
  return 0;
}

int link_open(struct link **out, struct uv_loop_s *loop, struct rpc_queue *q, const struct link_options *options,
              const struct link_events *events, void *arg)
{
  struct link *l = calloc(1, sizeof *l);
  int err;

  if (l == NULL)
    return -ENOMEM;
  l->loop = loop;
  l->q = q;
  l->events = events;
  l->arg = arg;
  l->backoff_ms = BACKOFF_MIN_MS;
  err = copy_options(l, options);
  identity_random(l->member_key, sizeof l->member_key);
  member_of_key(l->member_key, l->member);
  if (err == 0)
    err = fill_random(&l->random, sizeof l->random);
  if (err == 0)
    err = link_reopen_channel(l, true);
  if (err == 0)
    err = uv_timer_init(loop, &l->timer);
  if (err != 0)
    goto fail;
  l->random |= 1;
  l->timer.data = l;
  snprintf(l->trouble, sizeof l->trouble, "connecting to %s", l->target);
  l->state = LINK_WAITING;
  link_start_timer(l, 0);
  *out = l;
  return 0;

fail:
  if (l->channel != NULL)
    rpc_channel_close(l->channel);
  free(l->target);
  free(l->ca_pem);
  free(l->key);
  free(l);
  return err;
}

static void timer_closed(uv_handle_t *handle)
{
  struct link *l = handle->data;

  handle->data = NULL;
  maybe_closed(l);
}

void link_close(struct link *l, void (*closed)(void *arg), void *arg)
{
  l->state = LINK_CLOSING;
  l->closed = closed;
  l->closed_arg = arg;
  link_drop_attempt(l);
  link_cancel_queries(l);
  uv_close((uv_handle_t *)&l->timer, timer_closed);
}

bool link_connected(const struct link *l)
{
  return l->state == LINK_WATCHED || l->state == LINK_POLLED;
}

bool link_original(const struct link *l)
{
  return l->state == LINK_POLLED;
}

const char *link_trouble(const struct link *l)
{
  return l->trouble;
}

uint64_t link_connects(const struct link *l)
{
  return l->connects;
}

struct rpc_channel *link_channel(struct link *l)
{
  return l->channel;
}

const uint8_t *link_member(const struct link *l)
{
  return l->member;
}

const uint8_t *link_member_key(const struct link *l)
{
  return l->member_key;
}

uint64_t link_stream_age(const struct link *l)
{
  (void)l;
  return 0;
}
