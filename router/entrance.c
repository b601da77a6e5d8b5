/* Whether gRPC can be handed connections is tried out first, so that a router which cannot listen has not begun
 * anything. */
#include "entrance.h"

#include <stddef.h>

#include "router/front/front.h"
#include "router/meet/raws.h"

enum { STRANGERS_MAX = 1024, STRANGER_MS = 5000 };

int entrance_listen(struct entrance *e, const struct entrance_config *config, const char **refused)
{
  const struct rpc_server_options *server = &config->server;
  *e = (struct entrance){.config = *config};
  *refused = server->address;
  e->grpc_listens = !rpc_server_can_take(server->cert_pem, server->key_pem);
  const struct front_config front = {.address = e->grpc_listens ? NULL : server->address, .streams = config->streams};
  if (front.address == NULL && front.streams == NULL)
    return 0;
  int error = front_open(&e->front, &front, refused);
  if (error)
    return error;
  e->port = front_port(e->front);
  e->streams_port = front_streams_port(e->front);
  return 0;
}

struct poller *entrance_poller(const struct entrance *e)
{
  return e->front != NULL ? front_poller(e->front) : NULL;
}

static void on_grpc(int fd, void *arg)
{
  const struct entrance *e = arg;
  rpc_server_take(e->server, fd);
}

static void on_raw(int fd, struct poller_watch *watched, const uint8_t *preamble, size_t size, void *arg)
{
  const struct entrance *e = arg;
  raws_arrive(e->raws, fd, watched, preamble, size);
}

int entrance_serve(struct entrance *e, struct rpc_queue *q, struct raws *raws, rpc_server_call_cb on_call, void *arg)
{
  struct rpc_server_options server = e->config.server;
  const struct strangers_config strangers = {
      .max = STRANGERS_MAX, .ms = STRANGER_MS, .grpc = on_grpc, .raw = raws != NULL ? on_raw : NULL, .arg = e};
  e->raws = raws;
  int error = e->front != NULL ? front_start(e->front, &strangers) : 0;
  if (error)
    return error;
  if (e->grpc_listens)
    return rpc_server_start(&e->server, q, &server, on_call, arg, &e->port);
  server.address = NULL;
  return rpc_server_start(&e->server, q, &server, on_call, arg, NULL);
}

void entrance_admit(struct entrance *e)
{
  if (e->front != NULL)
    front_admit(e->front);
}

int entrance_leave(struct entrance *e)
{
  if (e->front != NULL)
    front_leave_address(e->front);
  return e->grpc_listens ? rpc_server_leave_address(e->server) : 0;
}

void entrance_stop(struct entrance *e)
{
  if (e->front != NULL)
    front_stop(e->front);
}

void entrance_close(struct entrance *e)
{
  front_close(e->front);
  e->front = NULL;
}
