/* Nothing is kept of a refused call, and nobody is told its last events. Unlike a message, a status is not held up by
 * the caller's windows. Answers are counted until they are gone. */
#include "reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <utlist.h>

#include "door.h"

enum { SENTENCE_MAX = 256 };

static const struct rpc_call_events answered = {.closed = NULL};

void reply_finish(struct rpc_call *c, enum rpc_status status, const char *text)
{
  int error = rpc_call_finish(c, status, text);
  if (error && error != -EPIPE)
    rpc_call_cancel(c, status, text);
}

void reply_refuse(struct rpc_call *c, enum rpc_status status, const char *format, ...)
{
  char sentence[SENTENCE_MAX];
  va_list values;
  va_start(values, format);
  vsnprintf(sentence, sizeof sentence, format, values);
  va_end(values);
  rpc_call_set_arg(c, &answered, NULL);
  reply_finish(c, status, sentence);
}

/* ---- Answers ---- */

struct answer {
  struct replies *all;
  struct rpc_call *call;
  size_t size;
  struct answer *prev, *next;
};

struct replies {
  const struct router_limits *limits;
  struct answer *oldest;
  size_t count, bytes;
};

struct replies *replies_open(const struct router_limits *limits)
{
  struct replies *as = calloc(1, sizeof *as);
  if (as)
    as->limits = limits;
  return as;
}

void replies_close(struct replies *as)
{
  free(as);
}

static void answer_forget(struct answer *a)
{
  struct replies *as = a->all;
  DL_DELETE(as->oldest, a); /* NOLINT(clang-analyzer-core.NullDereference): what is in a list has neighbours */
  as->count--;
  as->bytes -= a->size;
  free(a);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  answer_forget(arg);
}

static const struct rpc_call_events answering = {.closed = on_closed};

/* A caller that asks and does not read the answers cannot fill the memory. */
static void answers_bound(struct replies *as)
{
  while (as->count > 1 && (as->count > as->limits->answers || as->bytes > as->limits->answer_bytes)) {
    /* The analyzer takes what was just freed for still in the list. */
    struct rpc_call *c = as->oldest->call; /* NOLINT(clang-analyzer-unix.Malloc) */
    answer_forget(as->oldest);
    rpc_call_set_arg(c, &answered, NULL);
    rpc_call_cancel(c, RPC_RESOURCE_EXHAUSTED, "the answer was not taken in time");
  }
}

void reply_answer(struct door *d, struct rpc_call *c, struct rpc_message *m)
{
  struct answer *a = m ? malloc(sizeof *a) : NULL;
  if (!a) {
    rpc_message_free(m);
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  struct replies *as = door_replies(d);
  *a = (struct answer){.all = as, .call = c, .size = rpc_message_size(m)};
  DL_APPEND(as->oldest, a);
  as->count++;
  as->bytes += a->size;
  rpc_call_set_arg(c, &answering, a);
  int error = rpc_call_send(c, m);
  if (error && error != -EPIPE)
    reply_finish(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  else
    reply_finish(c, RPC_OK, "");
  answers_bound(as);
}
