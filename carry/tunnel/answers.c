#include "answers.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "carry_host.h"
#include "proto/pump/pump.h"
#include "proto/wire/header.h"
#include "waiting.h"

enum { ANSWER_MS = 15000, BEGUN_MS = 2000, LOOK_MS = 1000, WHY_SIZE = 256 };

struct answer {
  struct waiting waiting; /* first, so that one is the other */
  uint64_t until_ms;
  char service[HEADER_SERVICE_MAX + 1];
  char token[HEADER_TOKEN_MAX + 1];
};

struct answers {
  struct waiting_set set;
  const struct answers_events *events;
  void *arg;
  void (*closed)(void *arg);
  void *closed_arg;
};

static void forget(struct answer *a)
{
  explicit_bzero(a->token, sizeof a->token);
  free(a);
}

static void give_up(struct answer *a)
{
  pump_stream_close(waiting_take(&a->waiting));
  forget(a);
}

static void fail(struct answer *a, const char *text)
{
  struct answers *as = a->waiting.set->owner;
  as->events->failed(a->service, text, as->arg);
  give_up(a);
}

/* ---- What becomes of one ---- */

static void taken(struct answer *a, const struct header *h)
{
  struct answers *as = a->waiting.set->owner;
  struct pump_stream *s = waiting_take(&a->waiting);
  forget(a);
  as->events->taken(s, h, as->arg);
}

static void taken_original(struct answer *a)
{
  struct answers *as = a->waiting.set->owner;
  struct pump_stream *s = waiting_take(&a->waiting);
  char service[sizeof a->service];
  memcpy(service, a->service, sizeof service);
  forget(a);
  as->events->taken_original(s, service, as->arg);
}

/* The other side may have given up its dial before we came. */
static void ended(struct answer *a, enum rpc_status status, const char *text)
{
  char why[WHY_SIZE];
  if (status == RPC_NOT_FOUND || status == RPC_ABORTED || status == RPC_OK) {
    give_up(a);
    return;
  }
  /* Not to be taken for what the target did. */
  snprintf(why, sizeof why, "%s%s (%s)",
           status == RPC_UNAVAILABLE ? "the stream to the router was lost before it began: " : "",
           text[0] != '\0' ? text : "the stream to the router ended", rpc_status_name(status));
  fail(a, why);
}

static struct header header_of(const struct answer *a)
{
  struct header header = {0};
  snprintf(header.token, sizeof header.token, "%s", a->token);
  return header;
}

/* The token of one that has not even left is still good, and is shown on another connection. */
static void look_for_room(struct answer *a)
{
  uint64_t now = uv_now(a->waiting.set->loop);
  uint64_t look_ms = LOOK_MS;
  if (now >= a->until_ms) {
    fail(a, "the router did not say in time what the token was for");
    return;
  }
  if (pump_stream_has_no_room(a->waiting.stream)) {
    struct header header = header_of(a);
    if (waiting_open_again(&a->waiting, &header) == 0)
      look_ms = BEGUN_MS;
    explicit_bzero(&header, sizeof header);
  }
  waiting_extend(&a->waiting, look_ms < a->until_ms - now ? look_ms : a->until_ms - now);
}

static void came(struct waiting *w, const struct waiting_news *news)
{
  struct answer *a = (struct answer *)w;
  switch (news->what) {
  case WAITING_HEADER:
    taken(a, news->header);
    break;
  case WAITING_ORIGINAL:
    taken_original(a);
    break;
  case WAITING_RESET:
  case WAITING_REFUSED:
    fail(a, news->text);
    break;
  case WAITING_ENDED:
    ended(a, news->status, news->text);
    break;
  case WAITING_DUE:
    look_for_room(a);
    break;
  }
}

void answers_start(struct answers *as, const char *service, const char *token)
{
  struct answer *a = strlen(token) <= HEADER_TOKEN_MAX ? calloc(1, sizeof *a) : NULL;
  int error = -ENOMEM;
  if (a != NULL) {
    a->until_ms = uv_now(as->set.loop) + ANSWER_MS;
    snprintf(a->service, sizeof a->service, "%s", service);
    snprintf(a->token, sizeof a->token, "%s", token);
    struct header header = header_of(a);
    error = waiting_open_stream(&as->set, &a->waiting, &header, BEGUN_MS);
    explicit_bzero(&header, sizeof header);
  }
  if (error == 0)
    return;
  if (a != NULL)
    forget(a);
  as->events->failed(service, strerror(-error), as->arg);
}

/* ---- Open and close ---- */

int answers_open(struct answers **out, struct uv_loop_s *loop, const struct carry_host *host,
                 const struct answers_events *events, void *arg)
{
  struct answers *as = malloc(sizeof *as);
  if (as == NULL)
    return -ENOMEM;
  *as = (struct answers){.set = {.loop = loop, .host = host, .came = came, .owner = as}, .events = events, .arg = arg};
  int error = waiting_set_open(&as->set);
  if (error != 0)
    free(as);
  else
    *out = as;
  return error;
}

static void set_closed(void *owner)
{
  struct answers *as = owner;
  void (*closed)(void *) = as->closed;
  void *arg = as->closed_arg;
  free(as);
  closed(arg);
}

void answers_close(struct answers *as, void (*closed)(void *arg), void *arg)
{
  for (struct waiting *w; (w = as->set.oldest) != NULL;)
    give_up((struct answer *)w); /* NOLINT(clang-analyzer-unix.Malloc): what was freed is not in the list any more */
  as->closed = closed;
  as->closed_arg = arg;
  waiting_set_close(&as->set, set_closed);
}
