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
 * From every state but CLOSING, trouble leads back to WAITING. An attempt is one call with its own memory, so that an
 * answer which comes after its attempt was given up meets nobody.
 */
#include "link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <uv.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#include "mindmeld.pb-c.h"
#include "proto/rpc.h"
#include "trouble.h"

enum {
  FIRST_ANSWER_MS = 10000,
  POLL_MS = 2000,
  BACKOFF_MIN_MS = 200,
  BACKOFF_MAX_MS = 5000,
  STABLE_MS = 2000, /* a connection that lasted so long was a success */
  HEARTBEAT_MIN_MS = 20,
  HEARTBEAT_MAX_MS = 600000,
  KNOWN_MAX = 100000,
};

enum link_state { LINK_WAITING, LINK_WATCHING, LINK_LISTING, LINK_WATCHED, LINK_POLLED, LINK_CLOSING };

struct known {
  UT_hash_handle hh;
  int64_t seconds;
  int32_t nanos;
  uint64_t seen; /* the round in which it was last told */
  char name[];
};

struct attempt {
  struct link *link;
  struct rpc_call *call;
};

struct link_query {
  struct link *link;
  struct rpc_call *call;
  struct link_query *prev, *next;
  void (*done)(enum rpc_status status, const char *text, bool found, void *arg);
  void *arg;
  char name[];
};

struct link {
  uv_loop_t *loop;
  struct rpc_queue *q;
  struct link_options options;
  char *target, *ca_pem, *key;
  const struct link_events *events;
  void *arg;

  enum link_state state;
  struct rpc_channel *channel;
  struct attempt *attempt;
  unsigned calls; /* attempts and queries that are not closed */
  struct link_query *queries;
  uv_timer_t timer;
  uint64_t backoff_ms, heartbeat_ms, connected_at, connects;
  uint32_t random;
  bool draining;

  struct known *known;
  uint64_t round;       /* counts whole catalogues */
  uint64_t first_round; /* of this connection */

  char trouble[TROUBLE_MAX];
  uint8_t member[LINK_MEMBER_SIZE], member_key[LINK_MEMBER_KEY_SIZE];
  void (*closed)(void *arg);
  void *closed_arg;
};

static void timer_fired(uv_timer_t *timer);
static void lose(struct link *l, enum rpc_status status, const char *text);
static void begin_listing(struct link *l);

/* ---- The catalogue, as far as it takes to tell changes. ---- */

static void catalogue_up(struct link *l, const Mindmeld__Service *s)
{
  int64_t seconds = s->create_time != NULL ? s->create_time->seconds : 0;
  int32_t nanos = s->create_time != NULL ? s->create_time->nanos : 0;
  struct known *k;
  bool news, again;

  HASH_FIND_STR(l->known, s->name, k);
  again = k != NULL;
  news = k == NULL || k->seconds != seconds || k->nanos != nanos || k->seen < l->first_round;
  if (k == NULL) {
    size_t length = strlen(s->name);

    if (HASH_COUNT(l->known) >= KNOWN_MAX)
      return;
    k = malloc(sizeof *k + length + 1);
    if (k == NULL)
      return;
    memcpy(k->name, s->name, length + 1);
    HASH_ADD_KEYPTR(hh, l->known, k->name, length, k);
    if (k->hh.tbl == NULL) {
      free(k);
      return;
    }
  }
  k->seconds = seconds;
  k->nanos = nanos;
  k->seen = l->round;
  if (news && l->events->service_up != NULL)
    l->events->service_up(l, &(struct link_service){.name = k->name, .created = seconds, .again = again}, l->arg);
}

static void catalogue_down(struct link *l, struct known *k)
{
  HASH_DEL(l->known, k); /* NOLINT(clang-analyzer-unix.Malloc) */
  if (l->events->service_down != NULL)
    l->events->service_down(l, k->name, l->arg);
  free(k);
}

static void catalogue_whole(struct link *l)
{
  struct known *k, *next;

  HASH_ITER(hh, l->known, k, next)
  {
    if (k->seen != l->round)
      catalogue_down(l, k);
  }
}

static void catalogue_free(struct link *l)
{
  struct known *k, *next;

  HASH_ITER(hh, l->known, k, next)
  {
    HASH_DEL(l->known, k); /* NOLINT(clang-analyzer-unix.Malloc) */
    free(k);
  }
}

/* ---- Connected, and not. ---- */

static void tell(struct link *l)
{
  if (l->events->state != NULL)
    l->events->state(l, link_connected(l), l->trouble, l->arg);
}

static void connected(struct link *l, enum link_state state)
{
  l->state = state;
  l->connects++;
  l->connected_at = uv_now(l->loop);
  l->trouble[0] = '\0';
  l->first_round = ++l->round;
  tell(l);
}

static void drop_attempt(struct link *l)
{
  struct attempt *a = l->attempt;

  l->attempt = NULL;
  if (a != NULL && a->call != NULL)
    rpc_call_cancel(a->call, RPC_CANCELLED, "given up");
}

static uint64_t jitter(struct link *l, uint64_t ms)
{
  l->random ^= l->random << 13;
  l->random ^= l->random >> 17;
  l->random ^= l->random << 5;
  return ms / 2 + l->random % (ms / 2 + 1);
}

static void start_timer(struct link *l, uint64_t ms)
{
  uv_timer_start(&l->timer, timer_fired, ms, 0);
}

static void wait_and_retry(struct link *l, const char *sentence)
{
  bool was = link_connected(l);
  bool news = was || strcmp(l->trouble, sentence) != 0;

  if (was && uv_now(l->loop) - l->connected_at >= STABLE_MS)
    l->backoff_ms = BACKOFF_MIN_MS;
  snprintf(l->trouble, sizeof l->trouble, "%s", sentence);
  l->state = LINK_WAITING;
  l->draining = false;
  drop_attempt(l);
  start_timer(l, jitter(l, l->backoff_ms));
  l->backoff_ms = l->backoff_ms * 2 < BACKOFF_MAX_MS ? l->backoff_ms * 2 : BACKOFF_MAX_MS;
  if (news)
    tell(l);
}

static void lose(struct link *l, enum rpc_status status, const char *text)
{
  struct trouble_where where = {
      .target = l->target, .tls = l->options.tls, .key = l->key != NULL, .connected = link_connected(l)};
  char sentence[TROUBLE_MAX];

  trouble_sentence(&where, status, text, sentence);
  wait_and_retry(l, sentence);
}

static int reopen_channel(struct link *l, bool keepalive)
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
  catalogue_free(l);
  free(l->target);
  free(l->ca_pem);
  if (l->key != NULL)
    explicit_bzero(l->key, strlen(l->key));
  free(l->key);
  explicit_bzero(l->member_key, sizeof l->member_key);
  free(l);
  closed(arg);
}

/* The call of this attempt is over. True when somebody still waited for it. */
static bool attempt_over(struct attempt *a)
{
  struct link *l = a->link;
  bool current = l->attempt == a;

  if (current)
    l->attempt = NULL;
  l->calls--;
  free(a);
  return current;
}

static struct attempt *attempt_create(struct link *l)
{
  struct attempt *a = calloc(1, sizeof *a);

  if (a == NULL)
    return NULL;
  a->link = l;
  l->attempt = a;
  l->calls++;
  return a;
}

static struct rpc_message *empty_message(void)
{
  return rpc_message_copy("", 0);
}

/* ---- The watch. ---- */

static void watch_news(struct link *l, const Mindmeld__WatchServicesResponse *news)
{
  if (l->state == LINK_WATCHING)
    connected(l, LINK_WATCHED);
  else if (news->restart)
    l->round++;
  for (size_t i = 0; i < news->n_removed; i++) {
    struct known *k;

    HASH_FIND_STR(l->known, news->removed[i], k);
    if (k != NULL)
      catalogue_down(l, k);
  }
  for (size_t i = 0; i < news->n_services; i++)
    catalogue_up(l, news->services[i]);
  if (news->complete)
    catalogue_whole(l);
  if (news->heartbeat_ms != 0) {
    l->heartbeat_ms = news->heartbeat_ms < HEARTBEAT_MIN_MS ? HEARTBEAT_MIN_MS : news->heartbeat_ms;
    l->heartbeat_ms = l->heartbeat_ms > HEARTBEAT_MAX_MS ? HEARTBEAT_MAX_MS : l->heartbeat_ms;
  }
  if (news->draining && !l->draining) {
    l->draining = true;
    if (l->events->draining != NULL)
      l->events->draining(l, l->arg);
  }
}

static void watch_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct attempt *a = arg;
  struct link *l = a->link;
  Mindmeld__WatchServicesResponse *news = NULL;

  if (m != NULL && l->attempt == a)
    news = (Mindmeld__WatchServicesResponse *)rpc_message_unpack(m, &mindmeld__watch_services_response__descriptor);
  rpc_message_free(m);
  if (m == NULL || l->attempt != a)
    return;
  if (news == NULL) {
    wait_and_retry(l, "the router sent a message that cannot be read");
    return;
  }
  watch_news(l, news);
  mindmeld__watch_services_response__free_unpacked(news, NULL);
  /* An event handler may have closed the link. */
  if (l->attempt != a)
    return;
  if (l->heartbeat_ms != 0)
    start_timer(l, 3 * l->heartbeat_ms);
  else
    uv_timer_stop(&l->timer);
  rpc_call_receive(c);
}

static void watch_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct attempt *a = arg;
  struct link *l = a->link;

  (void)c;
  if (!attempt_over(a)) {
    maybe_closed(l);
    return;
  }
  if (status == RPC_UNIMPLEMENTED && l->state == LINK_WATCHING)
    begin_listing(l);
  else if (l->draining)
    lose(l, RPC_UNAVAILABLE, "it said that it is about to stop");
  else if (status == RPC_OK)
    lose(l, RPC_UNAVAILABLE, "it ended the watch");
  else
    lose(l, status, text);
}

static const struct rpc_call_events watch_events = {.message = watch_message, .closed = watch_closed};

static int start_watch(struct link *l)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/WatchServices"};
  struct attempt *a = attempt_create(l);
  int err;

  if (a == NULL)
    return -ENOMEM;
  err = rpc_call_start(&a->call, l->channel, &options, &watch_events, a);
  if (err != 0) {
    attempt_over(a);
    return err;
  }
  struct rpc_message *m = empty_message();

  err = m != NULL ? rpc_call_send(a->call, m) : -ENOMEM;
  if (err == 0)
    err = rpc_call_end(a->call);
  if (err == 0)
    err = rpc_call_receive(a->call);
  /* -EPIPE: it has failed already, and `closed` says why. */
  return err == -EPIPE ? 0 : err;
}

static void begin_watching(struct link *l)
{
  int err = reopen_channel(l, true);

  if (err == 0) {
    l->state = LINK_WATCHING;
    l->heartbeat_ms = 0;
    start_timer(l, FIRST_ANSWER_MS);
    err = start_watch(l);
  }
  if (err != 0)
    lose(l, RPC_INTERNAL, strerror(-err));
}

/* ---- ListServices, for a router of the first version. ---- */

static Mindmeld__ListServicesResponse *unpack_list(const struct rpc_message *answer)
{
  return (Mindmeld__ListServicesResponse *)rpc_message_unpack(answer, &mindmeld__list_services_response__descriptor);
}

static void list_done(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct attempt *a = arg;
  struct link *l = a->link;
  Mindmeld__ListServicesResponse *list = NULL;

  if (!attempt_over(a)) {
    rpc_message_free(answer);
    maybe_closed(l);
    return;
  }
  if (status == RPC_OK)
    list = unpack_list(answer);
  rpc_message_free(answer);
  if (list == NULL) {
    lose(l, status == RPC_OK ? RPC_INTERNAL : status,
         status == RPC_OK ? "it sent a message that cannot be read" : text);
    return;
  }
  start_timer(l, POLL_MS);
  if (l->state == LINK_LISTING)
    connected(l, LINK_POLLED);
  else
    l->round++;
  for (size_t i = 0; i < list->n_services; i++)
    catalogue_up(l, list->services[i]);
  catalogue_whole(l);
  mindmeld__list_services_response__free_unpacked(list, NULL);
}

static int start_list(struct link *l)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/ListServices",
                                           .deadline_ms = FIRST_ANSWER_MS};
  struct rpc_message *request = empty_message();
  struct attempt *a;
  int err;

  if (request == NULL)
    return -ENOMEM;
  a = attempt_create(l);
  if (a == NULL) {
    rpc_message_free(request);
    return -ENOMEM;
  }
  err = rpc_unary(&a->call, l->channel, &options, request, list_done, a);
  if (err != 0)
    attempt_over(a);
  return err;
}

static void begin_listing(struct link *l)
{
  int err = reopen_channel(l, false);

  if (err == 0) {
    l->state = LINK_LISTING;
    uv_timer_stop(&l->timer);
    err = start_list(l);
  }
  if (err != 0)
    lose(l, RPC_INTERNAL, strerror(-err));
}

static void timer_fired(uv_timer_t *timer)
{
  struct link *l = timer->data;
  char text[64];
  int err;

  switch (l->state) {
  case LINK_WAITING:
    begin_watching(l);
    break;
  case LINK_WATCHING:
    lose(l, RPC_DEADLINE_EXCEEDED, "");
    break;
  case LINK_WATCHED:
    snprintf(text, sizeof text, "nothing was heard for %llu ms", (unsigned long long)(3 * l->heartbeat_ms));
    lose(l, RPC_UNAVAILABLE, text);
    break;
  case LINK_POLLED:
    err = l->attempt == NULL ? start_list(l) : 0;
    if (err != 0)
      lose(l, RPC_INTERNAL, strerror(-err));
    break;
  case LINK_LISTING:
  case LINK_CLOSING:
    break;
  }
}

/* ---- Open, close, ask. ---- */

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
  if (err == 0)
    err = fill_random(l->member, sizeof l->member);
  if (err == 0)
    err = fill_random(l->member_key, sizeof l->member_key);
  if (err == 0)
    err = fill_random(&l->random, sizeof l->random);
  if (err == 0)
    err = reopen_channel(l, true);
  if (err == 0)
    err = uv_timer_init(loop, &l->timer);
  if (err != 0)
    goto fail;
  l->random |= 1;
  l->timer.data = l;
  snprintf(l->trouble, sizeof l->trouble, "connecting to %s", l->target);
  l->state = LINK_WAITING;
  start_timer(l, 0);
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
  struct link_query *query, *next;

  l->state = LINK_CLOSING;
  l->closed = closed;
  l->closed_arg = arg;
  drop_attempt(l);
  DL_FOREACH_SAFE(l->queries, query, next)
  {
    link_ask_cancel(query);
  }
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

static void ask_done(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct link_query *query = arg;
  struct link *l = query->link;
  Mindmeld__ListServicesResponse *list = status == RPC_OK ? unpack_list(answer) : NULL;
  bool found = false;

  rpc_message_free(answer);
  if (status == RPC_OK && list == NULL) {
    status = RPC_INTERNAL;
    text = "the router sent a message that cannot be read";
  }
  for (size_t i = 0; list != NULL && !found && i < list->n_services; i++)
    found = strcmp(list->services[i]->name, query->name) == 0;
  if (list != NULL)
    mindmeld__list_services_response__free_unpacked(list, NULL);
  DL_DELETE(l->queries, query);
  query->done(status, text, found, query->arg);
  free(query);
  l->calls--;
  maybe_closed(l);
}

int link_ask(struct link_query **out, struct link *l, const char *name, uint64_t timeout_ms,
             void (*done)(enum rpc_status status, const char *text, bool found, void *arg), void *arg)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/ListServices",
                                           .deadline_ms = timeout_ms};
  size_t length = strlen(name);
  struct link_query *query = calloc(1, sizeof *query + length + 1);
  struct rpc_message *request;
  int err;

  if (query == NULL)
    return -ENOMEM;
  request = empty_message();
  if (request == NULL) {
    free(query);
    return -ENOMEM;
  }
  query->link = l;
  query->done = done;
  query->arg = arg;
  memcpy(query->name, name, length + 1);
  err = rpc_unary(&query->call, l->channel, &options, request, ask_done, query);
  if (err != 0) {
    free(query);
    return err;
  }
  l->calls++;
  DL_APPEND(l->queries, query);
  *out = query;
  return 0;
}

void link_ask_cancel(struct link_query *query)
{
  rpc_call_cancel(query->call, RPC_CANCELLED, "cancelled");
}
