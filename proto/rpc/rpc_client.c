/* Calls that we make. What is known when a call starts goes out with its first batch. */
#include "rpc_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/alloc.h>

/* With a request: it is sent, and nothing more. Takes the request also when it fails. */
static int start_call(struct rpc_call **out, struct rpc_channel *ch, const struct rpc_call_options *options,
                      struct rpc_message *request)
{
  size_t base_count;
  const grpc_metadata *base = rpc_channel_metadata(ch, &base_count);
  size_t count = base_count + options->metadata_count;
  grpc_op ops[4] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                    {.op = GRPC_OP_RECV_INITIAL_METADATA},
                    {.op = GRPC_OP_SEND_MESSAGE},
                    {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT}};
  grpc_op over = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
  grpc_metadata *metadata = NULL;
  struct rpc_lane *lane = NULL;
  grpc_call *call = NULL;
  struct rpc_call *c = NULL;
  int error = rpc_metadata_join(&metadata, base, base_count, options->metadata, options->metadata_count);
  if (error)
    goto fail;
  error = -ENOMEM;
  lane = rpc_channel_take_lane(ch);
  call = rpc_lane_create_call(lane, options->method, options->deadline_ms);
  if (!call)
    goto fail;
  c = rpc_call_new(rpc_channel_queue(ch), call);
  if (!c)
    goto fail;
  c->lane = lane;
  c->sending = request;
  c->end_wanted = request != NULL;

  ops[0].data.send_initial_metadata.count = count;
  ops[0].data.send_initial_metadata.metadata = metadata;
  ops[1].data.recv_initial_metadata.recv_initial_metadata = &c->metadata;
  ops[2].data.send_message.send_message = rpc_message_buffer(request);
  error = rpc_call_batch(c, RPC_PART_OPEN, ops, request ? 4 : 2);
  rpc_metadata_free(metadata, count);
  if (error) {
    rpc_call_delete(c);
    return error;
  }
  over.data.recv_status_on_client.trailing_metadata = &c->trailers;
  over.data.recv_status_on_client.status = &c->status;
  over.data.recv_status_on_client.status_details = &c->text;
  error = rpc_call_batch(c, RPC_PART_OVER, &over, 1);
  c->over = error != 0; /* then the other batch, failing, frees the call, and nobody is told */
  *out = c;
  return error;

fail:
  if (metadata)
    rpc_metadata_free(metadata, count);
  if (call)
    grpc_call_unref(call);
  if (lane)
    rpc_lane_put(lane, false);
  rpc_message_free(request);
  return error;
}

int rpc_call_start(struct rpc_call **out, struct rpc_channel *ch, const struct rpc_call_options *options,
                   const struct rpc_call_events *events, void *arg)
{
  int error = start_call(out, ch, options, NULL);
  if (!error)
    rpc_call_set_arg(*out, events, arg);
  return error;
}

int rpc_call_remote(const struct rpc_call *c, char *out, size_t size)
{
  char *peer = grpc_call_get_peer(c->call);
  size_t length = peer ? strlen(peer) : 0;
  int rc = -ENOENT;
  if (length >= size) {
    rc = -E2BIG;
  } else if (length > 0) {
    memcpy(out, peer, length + 1);
    rc = (int)length;
  }
  gpr_free(peer);
  return rc;
}

/* ---- One request, one answer ---- */

struct unary {
  void (*done)(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg);
  void *arg;
  struct rpc_message *answer;
};

static void unary_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct unary *u = arg;
  if (u->answer && m) {
    rpc_message_free(m);
    rpc_call_cancel(c, RPC_INTERNAL, "more than one answer came");
    return;
  }
  if (!m)
    return;
  u->answer = m;
  /* gRPC holds the status back behind a second message. If this fails, `closed` comes by itself. */
  (void)rpc_call_receive(c);
}

static void unary_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct unary u = *(struct unary *)arg;
  (void)c;
  free(arg);
  if (status == RPC_OK && !u.answer) {
    status = RPC_INTERNAL;
    text = "no answer came";
  }
  if (status != RPC_OK) {
    rpc_message_free(u.answer);
    u.answer = NULL;
  }
  u.done(status, text, u.answer, u.arg);
}

int rpc_unary(struct rpc_call **out, struct rpc_channel *ch, const struct rpc_call_options *options,
              struct rpc_message *request,
              void (*done)(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg), void *arg)
{
  static const struct rpc_call_events events = {.message = unary_message, .closed = unary_closed};
  struct rpc_call *c;
  struct unary *u = request ? malloc(sizeof *u) : NULL;
  if (!u) {
    rpc_message_free(request);
    return -ENOMEM;
  }
  *u = (struct unary){.done = done, .arg = arg};
  int error = start_call(&c, ch, options, request);
  if (error) {
    free(u);
    return error;
  }
  rpc_call_set_arg(c, &events, u);
  (void)rpc_call_receive(c); /* if this fails, `closed` comes by itself */
  *out = c;
  return 0;
}
