/* A call that is answered keeps no state here: nobody is told of its last events. */
#include "reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

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

void reply_answer(struct rpc_call *c, struct rpc_message *m)
{
  if (!m) {
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  rpc_call_set_arg(c, &answered, NULL);
  int error = rpc_call_send(c, m);
  if (error && error != -EPIPE)
    reply_finish(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
  else
    reply_finish(c, RPC_OK, "");
}
