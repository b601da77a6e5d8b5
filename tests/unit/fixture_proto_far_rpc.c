#include "fixture_proto_far.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "proto/rpc/rpc.h"

struct rpc_far {
  struct far far;
  struct rpc_call *call;
};

static struct {
  struct rpc_queue *queue;
  struct rpc_server *server;
  pthread_t thread;
  pthread_barrier_t started;
  far_arrive_cb arrive;
  int port;
} server;

static struct rpc_call *call_of(struct far *f)
{
  return ((struct rpc_far *)f)->call;
}

static struct rpc_message *to_rpc(const struct message *m)
{
  uint8_t *bytes = malloc(m->size + 1);
  size_t used = 0;
  for (size_t i = 0; i < m->count; used += m->parts[i++].size)
    memcpy(bytes + used, m->parts[i].at, m->parts[i].size);
  struct rpc_message *out = rpc_message_copy(bytes, used);
  free(bytes);
  return out;
}

static struct message *from_rpc(struct rpc_message *m)
{
  enum { PARTS_MAX = 2048 };
  struct iovec parts[PARTS_MAX];
  size_t count = rpc_message_parts(m, parts, PARTS_MAX);
  ck_assert_uint_le(count, PARTS_MAX);
  struct message *out = message_create(count);
  for (size_t i = 0; i < count; i++)
    ck_assert_int_eq(bytes_copy(&out->parts[i], parts[i].iov_base, parts[i].iov_len), 0);
  out->size = rpc_message_size(m);
  rpc_message_free(m);
  return out;
}

static bool far_send(struct far *f, struct message *m)
{
  bool sent = rpc_call_send(call_of(f), to_rpc(m)) == 0;
  message_free(m);
  return sent;
}

static bool far_receive(struct far *f)
{
  return rpc_call_receive(call_of(f)) == 0;
}

static void far_answer(struct far *f, bool original, int times)
{
  const char *said = original ? "original" : "2";
  const struct rpc_metadata metadata[] = {{"mindmeld-peer", said}, {"mindmeld-peer", said}};
  rpc_call_send_headers(call_of(f), metadata, (size_t)times); /* one that failed needs none */
}

static void far_finish(struct far *f, enum rpc_status status, const char *text)
{
  rpc_call_finish(call_of(f), status, text);
}

static void far_cancel(struct far *f, enum rpc_status status, const char *text)
{
  rpc_call_cancel(call_of(f), status, text);
}

static const struct far_ops ops = {
    .send = far_send, .receive = far_receive, .answer = far_answer, .finish = far_finish, .cancel = far_cancel};

static void on_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  (void)c;
  struct rpc_far *f = arg;
  f->far.events->message(f->far.arg, m != NULL ? from_rpc(m) : NULL);
}

static void on_sent(struct rpc_call *c, void *arg)
{
  (void)c;
  struct rpc_far *f = arg;
  f->far.events->sent(f->far.arg);
}

static void on_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c, (void)status, (void)text;
  struct rpc_far *f = arg;
  f->far.events->closed(f->far.arg);
  free(f);
}

static void unknown_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c, (void)status, (void)text, (void)arg;
}

static void on_call(struct rpc_server *s, struct rpc_call *c, void *arg)
{
  static const struct rpc_call_events events = {.message = on_message, .sent = on_sent, .closed = on_closed};
  (void)s, (void)arg;
  if (strcmp(rpc_call_method(c), FAR_UNKNOWN) == 0) {
    static const struct rpc_call_events over = {.closed = unknown_closed};
    rpc_call_set_arg(c, &over, NULL);
    ck_assert_int_eq(rpc_call_finish(c, RPC_UNIMPLEMENTED, "unknown"), 0);
    return;
  }
  struct rpc_far *f = calloc(1, sizeof *f);
  f->far.ops = &ops;
  f->call = c;
  rpc_call_set_arg(c, &events, f);
  server.arrive(&f->far);
}

/* ---- Start and stop ---- */

static void server_stopped(void *arg)
{
  (void)arg;
  rpc_queue_stop(server.queue, NULL, NULL);
}

static void stop_server(void *arg)
{
  (void)arg;
  rpc_server_stop(server.server, server_stopped, NULL);
  rpc_server_cancel_calls(server.server);
}

static void *serve(void *arg)
{
  (void)arg;
  const struct rpc_server_options options = {.address = "127.0.0.1:0"};
  ck_assert_int_eq(rpc_server_start(&server.server, server.queue, &options, on_call, NULL, &server.port), 0);
  pthread_barrier_wait(&server.started);
  rpc_queue_run(server.queue);
  return NULL;
}

int far_rpc_start(far_arrive_cb arrive)
{
  server.arrive = arrive;
  pthread_barrier_init(&server.started, NULL, 2);
  ck_assert_int_eq(rpc_queue_create(&server.queue), 0);
  ck_assert_int_eq(pthread_create(&server.thread, NULL, serve, NULL), 0);
  pthread_barrier_wait(&server.started);
  return server.port;
}

void far_rpc_post(void (*cb)(void *arg), void *arg)
{
  ck_assert_int_eq(rpc_queue_post(server.queue, cb, arg), 0);
}

void far_rpc_stop(void)
{
  far_rpc_post(stop_server, NULL);
  pthread_join(server.thread, NULL);
  pthread_barrier_destroy(&server.started);
  rpc_queue_free(server.queue);
}
