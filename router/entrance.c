/* Whether gRPC can be handed connections is tried out first, so that a router which cannot listen has not begun
 * anything. */
#include "entrance.h"

#include <stddef.h>

#include "router/front/front.h"

enum { STRANGERS_MAX = 1024, STRANGER_MS = 5000 };

static void on_grpc(int fd, void *arg)
{
  const struct entrance *e = arg;
  rpc_server_take(e->server, fd);
}

static int front_begin(struct entrance *e, const char *address)
{
  const struct front_config config = {.address = address};
  const struct strangers_config strangers = {.max = STRANGERS_MAX, .ms = STRANGER_MS, .grpc = on_grpc, .arg = e};
  const char *refused;
  int error = front_open(&e->front, &config, &refused);
  if (error)
    return error;
  e->port = front_port(e->front);
  return front_start(e->front, &strangers);
}

int entrance_open(struct entrance *e, struct rpc_queue *q, const struct rpc_server_options *options,
                  rpc_server_call_cb on_call, void *arg)
{
  struct rpc_server_options handed = *options;
  *e = (struct entrance){.front = NULL};
  if (!rpc_server_can_take(options->cert_pem, options->key_pem))
    return rpc_server_start(&e->server, q, options, on_call, arg, &e->port);
  handed.address = NULL;
  int error = front_begin(e, options->address);
  if (!error)
    error = rpc_server_start(&e->server, q, &handed, on_call, arg, NULL);
  if (error)
    entrance_close(e);
  return error;
}

void entrance_admit(struct entrance *e)
{
  if (e->front != NULL)
    front_admit(e->front);
}

int entrance_leave(struct entrance *e)
{
  if (e->front == NULL)
    return rpc_server_leave_address(e->server);
  front_leave_address(e->front);
  return 0;
}

void entrance_close(struct entrance *e)
{
  front_close(e->front);
  e->front = NULL;
}
