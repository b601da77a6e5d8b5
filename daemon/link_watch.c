/* The call by which the link learns the catalogue: the watch of a router of ours, which goes on until it is lost, or
 * one ListServices of a router of the first version, again and again. An attempt is one call with its own memory, so
 * that an answer which comes after its attempt was given up meets nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "link_internal.h"

enum {
  FIRST_ANSWER_MS = 10000,
  POLL_MS = 2000,
  HEARTBEAT_MIN_MS = 20,
  HEARTBEAT_MAX_MS = 600000,
};

struct link_attempt {
  struct link *link;
  struct rpc_call *call;
};

/* ---- Attempts. ---- */

/* The call of this attempt is over. True when somebody still waited for it; else the link may be freed now. */
static bool attempt_over(struct link_attempt *a)
{
  struct link *l = a->link;
  bool current = l->attempt == a;

  if (current)
    l->attempt = NULL;
  free(a);
  link_call_over(l);
  return current;
}

static struct link_attempt *attempt_create(struct link *l)
{
  struct link_attempt *a = calloc(1, sizeof *a);

  if (a == NULL)
    return NULL;
  a->link = l;
  l->attempt = a;
  l->calls++;
  return a;
}

void link_drop_attempt(struct link *l)
{
  struct link_attempt *a = l->attempt;

  l->attempt = NULL;
  if (a != NULL && a->call != NULL)
    rpc_call_cancel(a->call, RPC_CANCELLED, "given up");
}

/* ---- The catalogue, to those who want to hear of it. ---- */

static void tell_up(struct link *l, const Mindmeld__Service *s)
{
  int64_t seconds = s->create_time != NULL ? s->create_time->seconds : 0;
  int32_t nanos = s->create_time != NULL ? s->create_time->nanos : 0;
  enum known_change change = known_names_add(&l->names, s->name, seconds, nanos);
  const struct link_service service = {.name = s->name, .created = seconds, .again = change == KNOWN_AGAIN};

  if (change != KNOWN_UNCHANGED && l->events->service_up != NULL)
    l->events->service_up(l, &service, l->arg);
}

static void tell_down(const char *name, void *arg)
{
  struct link *l = arg;

  if (l->events->service_down != NULL)
    l->events->service_down(l, name, l->arg);
}

/* ---- The watch. ---- */

static void watch_news(struct link *l, const Mindmeld__WatchServicesResponse *news)
{
  if (l->state == LINK_WATCHING)
    link_enter(l, LINK_WATCHED);
  else if (news->restart)
    known_names_restart(&l->names, false);
  for (size_t i = 0; i < news->n_removed; i++) {
    if (known_names_remove(&l->names, news->removed[i]))
      tell_down(news->removed[i], l);
  }
  for (size_t i = 0; i < news->n_services; i++)
    tell_up(l, news->services[i]);
  if (news->complete)
    known_names_complete(&l->names, tell_down, l);
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
  struct link_attempt *a = arg;
  struct link *l = a->link;
  Mindmeld__WatchServicesResponse *news = NULL;

  if (m != NULL && l->attempt == a)
    news = (Mindmeld__WatchServicesResponse *)rpc_message_unpack(m, &mindmeld__watch_services_response__descriptor);
  rpc_message_free(m);
  if (m == NULL || l->attempt != a)
    return;
  if (news == NULL) {
    link_retry(l, "the router sent a message that cannot be read");
    return;
  }
  watch_news(l, news);
  mindmeld__watch_services_response__free_unpacked(news, NULL);
  /* An event handler may have closed the link. */
  if (l->attempt != a)
    return;
  if (l->heartbeat_ms != 0)
    link_start_timer(l, 3 * l->heartbeat_ms);
  else
    uv_timer_stop(&l->timer);
  rpc_call_receive(c);
}

static void watch_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct link_attempt *a = arg;
  struct link *l = a->link;

  (void)c;
  if (!attempt_over(a))
    return;
  if (status == RPC_UNIMPLEMENTED && l->state == LINK_WATCHING)
    link_begin_listing(l);
  else if (l->draining)
    link_lose(l, RPC_UNAVAILABLE, "it said that it is about to stop");
  else if (status == RPC_OK)
    link_lose(l, RPC_UNAVAILABLE, "it ended the watch");
  else
    link_lose(l, status, text);
}

static const struct rpc_call_events watch_events = {.message = watch_message, .closed = watch_closed};

static int start_watch(struct link *l)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/WatchServices"};
  struct link_attempt *a = attempt_create(l);
  int err;

  if (a == NULL)
    return -ENOMEM;
  err = rpc_call_start(&a->call, l->channel, &options, &watch_events, a);
  if (err != 0) {
    attempt_over(a);
    return err;
  }
  struct rpc_message *m = rpc_message_copy("", 0);

  err = m != NULL ? rpc_call_send(a->call, m) : -ENOMEM;
  if (err == 0)
    err = rpc_call_end(a->call);
  if (err == 0)
    err = rpc_call_receive(a->call);
  /* -EPIPE: it has failed already, and `closed` says why. */
  return err == -EPIPE ? 0 : err;
}

void link_begin_watching(struct link *l)
{
  int err = link_reopen_channel(l, true);

  if (err == 0) {
    l->state = LINK_WATCHING;
    l->heartbeat_ms = 0;
    link_start_timer(l, FIRST_ANSWER_MS);
    err = start_watch(l);
  }
  if (err != 0)
    link_lose(l, RPC_INTERNAL, strerror(-err));
}

/* ---- ListServices, for a router of the first version. ---- */

static void list_done(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct link_attempt *a = arg;
  struct link *l = a->link;
  Mindmeld__ListServicesResponse *list = NULL;

  if (!attempt_over(a)) {
    rpc_message_free(answer);
    return;
  }
  if (status == RPC_OK)
    list = link_unpack_list(answer);
  if (list == NULL) {
    link_lose(l, status == RPC_OK ? RPC_INTERNAL : status,
              status == RPC_OK ? "it sent a message that cannot be read" : text);
    return;
  }
  link_start_timer(l, POLL_MS);
  if (l->state == LINK_LISTING)
    link_enter(l, LINK_POLLED);
  else
    known_names_restart(&l->names, false);
  for (size_t i = 0; i < list->n_services; i++)
    tell_up(l, list->services[i]);
  known_names_complete(&l->names, tell_down, l);
  mindmeld__list_services_response__free_unpacked(list, NULL);
}

static int start_list(struct link *l)
{
  struct link_attempt *a = attempt_create(l);
  int err;

  if (a == NULL)
    return -ENOMEM;
  err = link_list(l, &a->call, FIRST_ANSWER_MS, list_done, a);
  if (err != 0)
    attempt_over(a);
  return err;
}

void link_poll(struct link *l)
{
  int err = l->attempt == NULL ? start_list(l) : 0;

  if (err != 0)
    link_lose(l, RPC_INTERNAL, strerror(-err));
}

void link_begin_listing(struct link *l)
{
  int err = link_reopen_channel(l, false);

  if (err == 0) {
    l->state = LINK_LISTING;
    uv_timer_stop(&l->timer);
    err = start_list(l);
  }
  if (err != 0)
    link_lose(l, RPC_INTERNAL, strerror(-err));
}
