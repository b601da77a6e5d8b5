/* Calls that come to us. A few requests for the next call always stand with gRPC; each call that comes is made a struct
 * rpc_call, and its request is posted again.
 *
 * Stopping: gRPC takes no more calls and gives the requests back; the server is freed when gRPC has said that it is
 * shut down, all requests are back, and all calls have closed, in whatever order.
 */
#include "rpc_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <utlist.h>
#include <uv.h>

#include "proto/host/allowed.h"
#include "proto/host/heap.h"
#include "rpc_args.h"
#include "rpc_bind.h"
#include "rpc_certificate.h"
#include "rpc_handed.h"
#include "rpc_trial.h"

enum { REQUESTS = 16, MAX_STREAMS = 1 << 20, HANDSHAKE_MS = 10000 };

struct request {
  struct rpc_tag tag;
  struct rpc_server *server;
  grpc_call *call;
  grpc_call_details details;
  grpc_metadata_array metadata;
};

struct rpc_server {
  struct rpc_queue *queue;
  grpc_server *server;
  rpc_server_call_cb on_call;
  void *arg;
  uint16_t port; /* 0: it does not listen */
  struct rpc_handed handed;
  struct request requests[REQUESTS];
  unsigned posted;        /* requests that are with gRPC */
  struct rpc_call *calls; /* alive, oldest first */
  size_t call_count;
  struct heap_crowd crowd;
  struct rpc_timer *give_back; /* once more, after a crowd */
  struct rpc_peers *peers;
  struct rpc_certificate *certificate; /* NULL: plaintext */
  struct rpc_tag shut_tag;
  bool stopping, shut;
  void (*stopped)(void *arg);
  void *stopped_arg;
};

static void request_complete(struct rpc_tag *tag, bool ok);

static void server_free(struct rpc_server *s)
{
  if (s->server)
    grpc_server_destroy(s->server);
  rpc_peers_close(s->peers);
  rpc_certificate_free(s->certificate);
  rpc_handed_close(&s->handed);
  free(s);
}

static void server_settle(struct rpc_server *s)
{
  if (!s->shut || s->posted > 0 || s->calls)
    return;
  if (s->give_back)
    rpc_timer_cancel(s->give_back);
  grpc_server_destroy(s->server);
  s->server = NULL;
  if (s->stopped)
    s->stopped(s->stopped_arg);
  server_free(s);
}

static void give_back_time(void *arg)
{
  struct rpc_server *s = arg;
  s->give_back = NULL;
  heap_give_back();
}

static void count_calls(struct rpc_server *s)
{
  if (!heap_crowd_is(&s->crowd, s->call_count))
    return;
  if (s->give_back)
    rpc_timer_cancel(s->give_back);
  s->give_back = NULL;
  /* If it cannot be started, the rest stays until the next crowd. */
  rpc_timer_start(&s->give_back, s->queue, HEAP_LATER_MS, give_back_time, s);
}

void rpc_server_call_gone(struct rpc_server *s, struct rpc_call *c)
{
  DL_DELETE(s->calls, c);
  s->call_count--;
  count_calls(s);
  rpc_peer_put(s->peers, c->peer);
  c->peer = NULL;
  server_settle(s);
}

static void request_post(struct request *r)
{
  struct rpc_server *s = r->server;
  grpc_completion_queue *cq = rpc_queue_cq(s->queue);
  r->call = NULL;
  grpc_call_details_init(&r->details);
  grpc_metadata_array_init(&r->metadata);
  r->tag.complete = request_complete;
  rpc_tag_hand_over(&r->tag);
  if (grpc_server_request_call(s->server, &r->call, &r->details, &r->metadata, cq, cq, &r->tag) == GRPC_CALL_OK)
    s->posted++;
}

/* A path with a NUL inside is nobody's method. */
static char *method_of(grpc_slice path)
{
  const uint8_t *bytes = GRPC_SLICE_START_PTR(path);
  size_t size = GRPC_SLICE_LENGTH(path);
  return memchr(bytes, '\0', size) ? strdup("") : strndup((const char *)bytes, size);
}

static struct rpc_peer *peer_of(struct rpc_server *s, grpc_call *call)
{
  char *name = grpc_call_get_peer(call);
  struct rpc_peer *peer = rpc_peer_get(s->peers, name);
  gpr_free(name);
  return peer;
}

static uint64_t now_ms(void)
{
  return uv_hrtime() / 1000000;
}

/* NULL: the call was refused. */
static struct rpc_call *accept_call(struct request *r)
{
  grpc_op over = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
  struct rpc_call *c = rpc_call_new(r->server->queue, r->call);
  if (!c) {
    grpc_call_cancel_with_status(r->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "memory is short", NULL);
    grpc_call_unref(r->call);
    return NULL;
  }
  c->server = r->server;
  c->peer = peer_of(r->server, r->call);
  c->method = method_of(r->details.method);
  over.data.recv_close_on_server.cancelled = &c->cancelled;
  if (!c->method || !c->peer || rpc_call_batch(c, RPC_PART_OVER, &over, 1) != 0) {
    grpc_call_cancel_with_status(r->call, GRPC_STATUS_RESOURCE_EXHAUSTED, "memory is short", NULL);
    rpc_peer_put(r->server->peers, c->peer);
    rpc_call_delete(c);
    return NULL;
  }
  c->metadata = r->metadata;
  c->began = now_ms();
  grpc_metadata_array_init(&r->metadata);
  DL_APPEND(r->server->calls, c);
  r->server->call_count++;
  count_calls(r->server);
  return c;
}

static void request_home(struct rpc_tag *tag, bool ok)
{
  struct request *r = (struct request *)tag;
  struct rpc_server *s = r->server;
  struct rpc_call *c = ok ? accept_call(r) : NULL;
  grpc_call_details_destroy(&r->details);
  grpc_metadata_array_destroy(&r->metadata);
  s->posted--;
  if (!s->stopping)
    request_post(r);
  if (c)
    s->on_call(s, c, s->arg);
  else
    server_settle(s);
}

static void request_complete(struct rpc_tag *tag, bool ok)
{
  rpc_queue_deliver(((struct request *)tag)->server->queue, tag, ok, request_home);
}

/* ---- Starting ---- */

/* NULL when memory is short, or a certificate has no key. */
static grpc_server_credentials *make_credentials(struct rpc_server *s, const struct rpc_server_options *options)
{
  if (!options->cert_pem)
    return grpc_insecure_server_credentials_create();
  if (options->key_pem)
    s->certificate = rpc_certificate_create(options->cert_pem, options->key_pem);
  return s->certificate ? rpc_certificate_credentials(s->certificate) : NULL;
}

int rpc_server_set_certificate(struct rpc_server *s, const char *cert_pem, const char *key_pem)
{
  return s->certificate ? rpc_certificate_replace(s->certificate, cert_pem, key_pem) : -EINVAL;
}

/* Half of what the process may use. Peers of ours stay far below; those that ignore windows, or know none, are slowed
 * down from four fifths of it on, and lose streams when all of it is used, rather than the process its life. */
static size_t memory_for_traffic(void)
{
  return (size_t)(allowed_memory() / 2);
}

static grpc_server *make_server(struct rpc_server *s)
{
  struct rpc_args args = {.count = 0};
  grpc_resource_quota *quota = grpc_resource_quota_create("server");
  grpc_resource_quota_resize(quota, memory_for_traffic());
  rpc_args_add_quota(&args, quota);
  rpc_args_add_common(&args);
  rpc_args_add_keepalive(&args);
  rpc_args_add(&args, GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_MS);
  rpc_args_add(&args, GRPC_ARG_ENABLE_DEADLINE_CHECKS, 0);           /* the client cancels its call by itself */
  rpc_args_add(&args, GRPC_ARG_ALLOW_REUSEPORT, 0);                  /* or a second server takes the port in silence */
  rpc_args_add(&args, GRPC_ARG_MAX_CONCURRENT_STREAMS, MAX_STREAMS); /* more would hang without an error */
  /* Clients may ping too, as often as they like. */
  rpc_args_add(&args, GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1000);
  rpc_args_add(&args, GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  rpc_handed_add_arg(&s->handed, &args);
  grpc_channel_args view = rpc_args_view(&args);
  grpc_server *server = grpc_server_create(&view, NULL);
  grpc_resource_quota_unref(quota);
  return server;
}

static int server_make(struct rpc_server **out, struct rpc_queue *q)
{
  struct rpc_server *s = calloc(1, sizeof *s);
  int error = s ? rpc_handed_open(&s->handed) : -ENOMEM;
  if (error) {
    free(s);
    return error;
  }
  s->queue = q;
  s->peers = rpc_peers_open();
  if (!s->peers) {
    server_free(s);
    return -ENOMEM;
  }
  *out = s;
  return 0;
}

/* The port, or a negative errno. */
static int server_listen(struct rpc_server *s, const char *address, grpc_server_credentials *credentials)
{
  int port = grpc_server_add_http2_port(s->server, address, credentials);
  if (port > 0)
    return port;
  int error = rpc_bind_error(address);
  return error ? error : -EINVAL; /* the address is good: the certificate is not */
}

int rpc_server_start(struct rpc_server **out, struct rpc_queue *q, const struct rpc_server_options *options,
                     rpc_server_call_cb on_call, void *arg, int *port)
{
  struct rpc_server *s = NULL;
  int error = server_make(&s, q);
  if (error)
    return error;
  s->on_call = on_call;
  s->arg = arg;
  grpc_server_credentials *credentials = make_credentials(s, options);
  if (!credentials) {
    server_free(s);
    return -EINVAL;
  }
  s->server = make_server(s);
  grpc_server_register_completion_queue(s->server, rpc_queue_cq(q), NULL);
  int bound = 0;
  if (options->address)
    bound = server_listen(s, options->address, credentials);
  else
    rpc_handed_begin(&s->handed, s->server, credentials);
  grpc_server_credentials_release(credentials);
  if (bound < 0) {
    server_free(s);
    return bound;
  }
  s->port = (uint16_t)bound;
  if (port && options->address)
    *port = bound;
  grpc_server_start(s->server);
  for (int i = 0; i < REQUESTS; i++) {
    s->requests[i].server = s;
    request_post(&s->requests[i]);
  }
  *out = s;
  return 0;
}

bool rpc_server_can_take(const char *cert_pem, const char *key_pem)
{
  return rpc_trial_succeeds(cert_pem, key_pem);
}

void rpc_server_take(struct rpc_server *s, int fd)
{
  rpc_handed_take(&s->handed, fd);
}

/* ---- Stopping ---- */

int rpc_server_leave_address(struct rpc_server *s)
{
  return s->port > 0 ? rpc_bind_release(s->port) : 0;
}

static void shut_home(struct rpc_tag *tag, bool ok)
{
  struct rpc_server *s = (struct rpc_server *)((char *)tag - offsetof(struct rpc_server, shut_tag));
  (void)ok;
  s->shut = true;
  server_settle(s);
}

static void shut_complete(struct rpc_tag *tag, bool ok)
{
  struct rpc_server *s = (struct rpc_server *)((char *)tag - offsetof(struct rpc_server, shut_tag));
  rpc_queue_deliver(s->queue, tag, ok, shut_home);
}

void rpc_server_stop(struct rpc_server *s, void (*stopped)(void *arg), void *arg)
{
  s->stopping = true;
  s->stopped = stopped;
  s->stopped_arg = arg;
  s->shut_tag.complete = shut_complete;
  rpc_handed_end(&s->handed);
  rpc_tag_hand_over(&s->shut_tag);
  grpc_server_shutdown_and_notify(s->server, rpc_queue_cq(s->queue), &s->shut_tag);
}

uint64_t rpc_server_end_old(struct rpc_server *s, uint64_t age_ms, const char *text)
{
  uint64_t now = now_ms();
  struct rpc_call *c;
  DL_FOREACH(s->calls, c)
  {
    if (now - c->began < age_ms)
      return age_ms - (now - c->began);
    rpc_call_cancel(c, RPC_UNAVAILABLE, text);
  }
  return age_ms;
}

void rpc_server_cancel_calls(struct rpc_server *s)
{
  struct rpc_call *c;
  DL_FOREACH(s->calls, c)
  {
    rpc_call_cancel(c, RPC_UNAVAILABLE, "the server stops");
  }
  /* Also connections without a call, which gRPC otherwise waits for. */
  if (s->stopping)
    grpc_server_cancel_all_calls(s->server);
}
