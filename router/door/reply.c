/* Of a call that is refused nothing is kept: nobody is told of its last events. A status is not held up by its caller's
 * windows, as a message is: answers are counted until they are gone. */
#include "reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <utlist.h>

#include "state.h"

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
  struct router *router;
  struct rpc_call *call;
  size_t size;
  struct answer *prev, *next;
};

static void answer_forget(struct answer *a)
{
  struct router *r = a->router;
  DL_DELETE(r->answers, a); /* NOLINT(clang-analyzer-core.NullDereference): what is in a list has neighbours */
  r->answer_count--;
  r->answer_bytes -= a->size;
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

/* Who asks, and takes no answer, does not fill the memory. */
static void answers_bound(struct router *r)
{
  while (r->answer_count > 1 && (r->answer_count > r->limits.answers || r->answer_bytes > r->limits.answer_bytes)) {
    /* The analyzer takes what was just freed for still in the list. */
    struct rpc_call *c = r->answers->call; /* NOLINT(clang-analyzer-unix.Malloc) */
    answer_forget(r->answers);
    rpc_call_set_arg(c, &answered, NULL);
    rpc_call_cancel(c, RPC_RESOURCE_EXHAUSTED, "the answer was not taken in time");
  }
}

void reply_answer(struct router *r, struct rpc_call *c, struct rpc_message *m)
{
  struct answer *a = m ? malloc(sizeof *a) : NULL;
  if (!a) {
    rpc_message_free(m);
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  *a = (struct answer){.router = r, .call = c, .size = rpc_message_size(m)};
  DL_APPEND(r->answers, a);
  r->answer_count++;
  r->answer_bytes += a->size;
  rpc_call_set_arg(c, &answering, a);
  int error = rpc_call_send(c, m);
  if (error && error != -EPIPE)
    reply_finish(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  else
    reply_finish(c, RPC_OK, "");
  answers_bound(r);
}
