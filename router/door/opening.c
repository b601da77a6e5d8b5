/* A call that was let in waits here for its first message. Its method's own file decides what follows. */
#include "opening.h"

#include <errno.h>
#include <stdlib.h>

#include <utlist.h>

#include "door.h"
#include "proto/wire/token_stream.h"
#include "reply.h"

struct opening {
  struct openings *all;
  void *room;
  struct rpc_call *call;
  opening_cb begin;
  struct rpc_timer *late;
  struct token_stream *token;
  struct opening *prev, *next;
};

struct openings {
  struct door *door;
  struct opening *oldest;
  size_t count;
};

struct openings *openings_open(struct door *d)
{
  struct openings *os = calloc(1, sizeof *os);
  if (os)
    os->door = d;
  return os;
}

void openings_close(struct openings *os)
{
  free(os);
}

static void opening_free(struct opening *o)
{
  if (o->late)
    rpc_timer_cancel(o->late);
  DL_DELETE(o->all->oldest, o);
  o->all->count--;
  free(o->token);
  free(o);
}

void *opening_room(const struct opening *o)
{
  return o->room;
}

struct token_stream *opening_token(struct opening *o)
{
  if (!o->token)
    o->token = calloc(1, sizeof *o->token);
  return o->token;
}

struct rpc_call *opening_take(struct opening *o)
{
  struct rpc_call *c = o->call;
  opening_free(o);
  return c;
}

void opening_refuse(struct opening *o, enum rpc_status status, const char *text)
{
  reply_refuse(opening_take(o), status, "%s", text);
}

void opening_more(struct opening *o)
{
  int error = rpc_call_receive(o->call);
  if (error && error != -EPIPE)
    opening_refuse(o, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
}

static void on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct opening *o = arg;
  if (m)
    o->begin(o, m);
  else
    opening_refuse(o, RPC_INVALID_ARGUMENT, "the stream ended before it said what it is for");
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  opening_free(arg);
}

static const struct rpc_call_events events = {.message = on_message, .closed = on_closed};

static void on_late(void *arg)
{
  struct opening *o = arg;
  o->late = NULL;
  opening_refuse(o, RPC_DEADLINE_EXCEEDED, "the stream did not say in time what it is for");
}

void opening_start(struct openings *os, struct rpc_call *c, opening_cb begin, void *room)
{
  const struct router_limits *limits = door_limits(os->door);
  /* An honest caller sends its message at once. Callers that send nothing do not keep others out. */
  if (os->count >= limits->openings)
    opening_refuse(os->oldest, RPC_RESOURCE_EXHAUSTED, "too many calls do not say what they want");
  struct opening *o = calloc(1, sizeof *o);
  if (!o || rpc_timer_start(&o->late, door_queue(os->door), limits->opening_ms, on_late, o) != 0) {
    free(o);
    reply_refuse(c, RPC_RESOURCE_EXHAUSTED, "the router is short of memory");
    return;
  }
  o->all = os;
  o->room = room;
  o->call = c;
  o->begin = begin;
  /* The analyzer takes what was just freed for still in the list. */
  DL_APPEND(os->oldest, o); /* NOLINT(clang-analyzer-unix.Malloc) */
  os->count++;
  rpc_call_set_arg(c, &events, o);
  opening_more(o);
}

void openings_refuse_all(struct openings *os, enum rpc_status status, const char *text)
{
  struct opening *o, *next;
  DL_FOREACH_SAFE(os->oldest, o, next)
  {
    opening_refuse(o, status, text);
  }
}
