/* A leg that is a gRPC call. */
#include <errno.h>

#include "bridge.h"
#include "leg.h"
#include "meet.h"
#include "proto/rpc/rpc.h"
#include "router/door/door.h"
#include "router/door/reply.h"

static const char *call_peer(const struct leg *l, char room[LEG_PEER_MAX])
{
  (void)room;
  return rpc_call_peer(l->call);
}

static void on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct leg_keeper *k = arg;
  bool ended = m == NULL;
  rpc_message_free(m);
  k->said(k, ended);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct leg_keeper *k = arg;
  k->closed(k);
}

static const struct rpc_call_events events = {.message = on_message, .closed = on_closed};

/* That it says something is only noticed if it is asked for. */
static int call_keep(struct leg *l, struct leg_keeper *k)
{
  int error = k->said != NULL ? rpc_call_receive(l->call) : 0;
  if (error && error != -EPIPE)
    return -ENOMEM;
  l->receiving = k->said != NULL && error == 0;
  rpc_call_set_arg(l->call, &events, k);
  return 0;
}

static void call_refuse(const struct leg *l, enum rpc_status status, const char *text)
{
  reply_refuse(l->call, status, "%s", text);
}

static int call_join(struct meet *in, const struct leg *legs, void (*over)(void *arg), void *arg)
{
  return bridge_start(door_queue(meet_door(in)), meet_limits(in), legs, over, arg);
}

const struct leg_kind leg_call = {
    .number = 0, .peer = call_peer, .keep = call_keep, .refuse = call_refuse, .join = call_join};
