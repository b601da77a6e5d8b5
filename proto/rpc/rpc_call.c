/* A call, on either side.
 *
 * A call is a handful of batches, each running at most once at a time. RPC_PART_OVER runs from the beginning to the end
 * of the call; when it is done, nothing more can be started, and when everything else is done too, `closed` is told and
 * the call freed. A batch that comes back failed is not an event: what went wrong stands in RPC_PART_OVER, and only
 * there.
 */
#include "rpc_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/slice.h>
#include <grpc/support/alloc.h>

static void batch_complete(struct rpc_tag *tag, bool ok);

/* ---- Metadata ---- */

static const char version_key[] = "mindmeld-version";

grpc_metadata rpc_metadata_version(void)
{
  return (grpc_metadata){.key = grpc_slice_from_static_string(version_key),
                         .value = grpc_slice_from_static_string("2")};
}

int rpc_metadata_join(grpc_metadata **out, const grpc_metadata *base, size_t base_count,
                      const struct rpc_metadata *more, size_t more_count)
{
  grpc_metadata *array = calloc(base_count + more_count + 1, sizeof *array);
  bool legal = true;
  if (!array)
    return -ENOMEM;
  for (size_t i = 0; i < base_count; i++) {
    array[i].key = grpc_slice_ref(base[i].key);
    array[i].value = grpc_slice_ref(base[i].value);
  }
  for (size_t i = 0; i < more_count; i++) {
    grpc_metadata *to = &array[base_count + i];
    to->key = grpc_slice_from_copied_string(more[i].key);
    to->value = grpc_slice_from_copied_string(more[i].value);
    legal = legal && grpc_header_key_is_legal(to->key) && !grpc_is_binary_header(to->key) &&
            grpc_header_nonbin_value_is_legal(to->value);
  }
  if (legal) {
    *out = array;
    return 0;
  }
  rpc_metadata_free(array, base_count + more_count);
  return -EINVAL;
}

void rpc_metadata_free(grpc_metadata *array, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    grpc_slice_unref(array[i].key);
    grpc_slice_unref(array[i].value);
  }
  free(array);
}

int rpc_call_metadata(const struct rpc_call *c, const char *key, char *value, size_t size)
{
  for (size_t i = 0; i < c->metadata.count; i++) {
    grpc_slice found = c->metadata.metadata[i].value;
    size_t length = GRPC_SLICE_LENGTH(found);
    if (grpc_slice_str_cmp(c->metadata.metadata[i].key, key) != 0)
      continue;
    if (length >= size)
      return -E2BIG;
    memcpy(value, GRPC_SLICE_START_PTR(found), length);
    value[length] = '\0';
    return (int)length;
  }
  return -ENOENT;
}

void rpc_call_forget_metadata(struct rpc_call *c)
{
  grpc_metadata_array_destroy(&c->metadata);
  grpc_metadata_array_init(&c->metadata);
}

/* ---- Life ---- */

struct rpc_call *rpc_call_new(struct rpc_queue *q, grpc_call *call)
{
  struct rpc_call *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->queue = q;
  c->call = call;
  c->text = grpc_empty_slice();
  c->cancel_text = grpc_empty_slice();
  grpc_metadata_array_init(&c->metadata);
  grpc_metadata_array_init(&c->trailers);
  for (int part = 0; part < RPC_PART_COUNT; part++) {
    c->batches[part].call = c;
    c->batches[part].tag.complete = batch_complete;
  }
  return c;
}

void rpc_call_delete(struct rpc_call *c)
{
  rpc_message_free(c->sending);
  if (c->received)
    grpc_byte_buffer_destroy(c->received);
  grpc_metadata_array_destroy(&c->metadata);
  grpc_metadata_array_destroy(&c->trailers);
  grpc_slice_unref(c->text);
  grpc_slice_unref(c->cancel_text);
  grpc_call_unref(c->call);
  if (c->lane)
    rpc_lane_put(c->lane, false);
  free(c->method);
  free(c);
}

static enum rpc_status closing_status(const struct rpc_call *c)
{
  if (c->server)
    return c->finished && !c->cancelled ? RPC_OK : RPC_CANCELLED;
  if (c->cancel_status != RPC_OK) /* also when the server's had come already */
    return c->cancel_status;
  return c->status >= 0 && c->status <= GRPC_STATUS_UNAUTHENTICATED ? (enum rpc_status)c->status : RPC_UNKNOWN;
}

static void call_close(struct rpc_call *c)
{
  enum rpc_status status = closing_status(c);
  if (c->null_due && status == RPC_OK)
    c->events.message(c, NULL, c->arg);
  char *text = c->server ? NULL : grpc_slice_to_c_string(c->cancel_status != RPC_OK ? c->cancel_text : c->text);
  if (c->events.closed)
    c->events.closed(c, status, text ? text : "", c->arg);
  gpr_free(text);
  struct rpc_server *server = c->server;
  if (server)
    rpc_server_call_gone(server, c);
  rpc_call_delete(c);
}

/* ---- Batches ---- */

int rpc_call_batch(struct rpc_call *c, enum rpc_part part, const grpc_op *ops, size_t count)
{
  struct rpc_batch *batch = &c->batches[part];
  int error = rpc_start_batch(c->call, ops, count, &batch->tag);
  if (error) {
    rpc_call_cancel(c, RPC_INTERNAL, "gRPC refused an operation");
    return error;
  }
  batch->running = true;
  c->running++;
  return 0;
}

static int send_end(struct rpc_call *c)
{
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
  if (!c->server) {
    grpc_op end = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    return rpc_call_batch(c, RPC_PART_END, &end, 1);
  }
  /* Without metadata, so that status and initial metadata are one: nothing was accepted. */
  ops[1].data.send_status_from_server.status = c->status;
  ops[1].data.send_status_from_server.status_details = &c->text;
  bool alone = c->headers_sent;
  c->headers_sent = true;
  return rpc_call_batch(c, RPC_PART_END, alone ? ops + 1 : ops, alone ? 1 : 2);
}

static void tell_headers(struct rpc_call *c)
{
  if (c->headers_told || c->cancel_status != RPC_OK)
    return;
  c->headers_told = true;
  if (c->events.headers)
    c->events.headers(c, c->arg);
}

static void open_done(struct rpc_call *c, bool ok)
{
  char version[8];
  /* gRPC has none also when the server's answer is nothing but a status. */
  if (ok && !c->server && rpc_call_metadata(c, version_key, version, sizeof version) >= 0)
    tell_headers(c);
}

static void send_done(struct rpc_call *c, bool ok)
{
  rpc_message_free(c->sending);
  c->sending = NULL;
  if (!ok || c->broken) {
    c->broken = true;
    return;
  }
  if (c->end_wanted)
    send_end(c);
  if (c->events.sent)
    c->events.sent(c, c->arg);
}

static void receive_done(struct rpc_call *c, bool ok)
{
  struct rpc_message *m = rpc_message_from_buffer(c->received);
  c->received = NULL;
  if (!ok || c->cancel_status != RPC_OK || !c->events.message) {
    c->in_ended = c->in_ended || !m;
    rpc_message_free(m);
    return;
  }
  if (m) {
    if (!c->server)
      tell_headers(c);
    c->events.message(c, m, c->arg);
    return;
  }
  c->in_ended = true;
  if (!c->server)
    c->null_due = true;
  else if (!grpc_call_failed_before_recv_message(c->call))
    c->events.message(c, NULL, c->arg);
}

static void batch_done(struct rpc_call *c, enum rpc_part part, bool ok)
{
  switch (part) {
  case RPC_PART_OPEN:
    open_done(c, ok);
    break;
  case RPC_PART_SEND:
    send_done(c, ok);
    break;
  case RPC_PART_RECEIVE:
    receive_done(c, ok);
    break;
  case RPC_PART_END:
    c->finished = ok;
    break;
  case RPC_PART_OVER:
    c->over = c->broken = true;
    break;
  case RPC_PART_COUNT:
    break;
  }
}

static void batch_home(struct rpc_tag *tag, bool ok)
{
  struct rpc_batch *batch = (struct rpc_batch *)tag;
  struct rpc_call *c = batch->call;
  batch->running = false;
  batch_done(c, (enum rpc_part)(batch - c->batches), ok);
  if (--c->running == 0 && c->over)
    call_close(c);
}

static void batch_complete(struct rpc_tag *tag, bool ok)
{
  rpc_queue_deliver(((struct rpc_batch *)tag)->call->queue, tag, ok, batch_home);
}

/* ---- What both sides do ---- */

void rpc_call_set_arg(struct rpc_call *c, const struct rpc_call_events *events, void *arg)
{
  c->events = *events;
  c->arg = arg;
}

static int may_send(const struct rpc_call *c)
{
  if (c->broken || c->end_wanted)
    return -EPIPE;
  return c->batches[RPC_PART_SEND].running ? -EBUSY : 0;
}

/* With metadata in front, unless that has gone already. */
static int send_message(struct rpc_call *c, grpc_metadata *metadata, size_t count, struct rpc_message *m)
{
  grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}};
  int error = may_send(c);
  if (!error) {
    bool alone = !c->server || c->headers_sent;
    ops[0].data.send_initial_metadata.count = count;
    ops[0].data.send_initial_metadata.metadata = metadata;
    ops[1].data.send_message.send_message = rpc_message_buffer(m);
    c->headers_sent = true;
    if (c->peer)
      rpc_peer_sends(c->peer, rpc_message_size(m));
    else
      rpc_lane_sends(c->lane, c->call, rpc_message_size(m));
    error = rpc_call_batch(c, RPC_PART_SEND, alone ? ops + 1 : ops, alone ? 1 : 2);
  }
  if (error)
    rpc_message_free(m);
  else
    c->sending = m;
  return error;
}

int rpc_call_send(struct rpc_call *c, struct rpc_message *m)
{
  grpc_metadata version = rpc_metadata_version();
  return send_message(c, &version, 1, m);
}

int rpc_call_receive(struct rpc_call *c)
{
  grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
  if (c->broken || c->in_ended)
    return -EPIPE;
  if (c->batches[RPC_PART_RECEIVE].running)
    return -EBUSY;
  op.data.recv_message.recv_message = &c->received;
  return rpc_call_batch(c, RPC_PART_RECEIVE, &op, 1);
}

void rpc_call_cancel(struct rpc_call *c, enum rpc_status status, const char *text)
{
  c->broken = true;
  if (c->cancel_status != RPC_OK)
    return;
  c->cancel_status = status != RPC_OK ? status : RPC_CANCELLED;
  c->cancel_text = grpc_slice_from_copied_string(text ? text : "");
  grpc_call_cancel_with_status(c->call, (grpc_status_code)c->cancel_status, text ? text : "", NULL);
}

static int end_after_sending(struct rpc_call *c)
{
  c->end_wanted = true;
  return c->batches[RPC_PART_SEND].running ? 0 : send_end(c);
}

int rpc_call_end(struct rpc_call *c)
{
  return c->broken || c->end_wanted ? -EPIPE : end_after_sending(c);
}

/* ---- What a server does ---- */

const char *rpc_call_method(const struct rpc_call *c)
{
  return c->method;
}

const char *rpc_call_peer(const struct rpc_call *c)
{
  return c->peer ? rpc_peer_name(c->peer) : "";
}

int rpc_call_send_headers(struct rpc_call *c, const struct rpc_metadata *metadata, size_t count)
{
  grpc_metadata version = rpc_metadata_version();
  grpc_op op = {.op = GRPC_OP_SEND_INITIAL_METADATA};
  if (c->broken || c->headers_sent)
    return -EPIPE;
  grpc_metadata *joined;
  int error = rpc_metadata_join(&joined, &version, 1, metadata, count);
  if (error)
    return error;
  op.data.send_initial_metadata.count = count + 1;
  op.data.send_initial_metadata.metadata = joined;
  c->headers_sent = true;
  error = rpc_call_batch(c, RPC_PART_OPEN, &op, 1);
  rpc_metadata_free(joined, count + 1);
  return error;
}

int rpc_call_send_first(struct rpc_call *c, const struct rpc_metadata *metadata, size_t count, struct rpc_message *m)
{
  grpc_metadata version = rpc_metadata_version();
  grpc_metadata *joined;
  int error = c->headers_sent ? -EPIPE : rpc_metadata_join(&joined, &version, 1, metadata, count);
  if (error) {
    rpc_message_free(m);
    return error;
  }
  error = send_message(c, joined, count + 1, m);
  rpc_metadata_free(joined, count + 1);
  return error;
}

int rpc_call_finish(struct rpc_call *c, enum rpc_status status, const char *text)
{
  if (c->broken || c->end_wanted)
    return -EPIPE;
  c->status = (grpc_status_code)status;
  c->text = grpc_slice_from_copied_string(text ? text : "");
  return end_after_sending(c);
}
