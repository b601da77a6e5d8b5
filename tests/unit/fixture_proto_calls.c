#include "fixture_proto_calls.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

struct rpc_message *text_message(const char *text)
{
  return rpc_message_copy(text, strlen(text));
}

/* Into a C string; the message is freed. */
static char *message_text(struct rpc_message *m, char out[TEXT_SIZE])
{
  struct iovec parts[16];
  size_t count = rpc_message_parts(m, parts, 16);
  size_t used = 0;
  ck_assert_uint_le(count, 16);
  for (size_t i = 0; i < count; i++) {
    ck_assert_uint_lt(used + parts[i].iov_len, TEXT_SIZE);
    memcpy(out + used, parts[i].iov_base, parts[i].iov_len);
    used += parts[i].iov_len;
  }
  out[used] = '\0';
  rpc_message_free(m);
  return out;
}

/* ---- The server ---- */

static bool serves(struct rpc_call *c, const char *method)
{
  return strcmp(rpc_call_method(c), method) == 0;
}

static void served_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct served *s = arg;
  char text[TEXT_SIZE], value[64];
  if (!m) {
    s->server->nulls++;
    if (!serves(c, "/t/deaf"))
      ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), 0);
    return;
  }
  if (serves(c, "/t/echo")) {
    ck_assert_int_eq(rpc_call_send(c, m), 0);
  } else if (serves(c, "/t/peer")) {
    rpc_message_free(m);
    ck_assert_int_eq(rpc_call_send(c, text_message(rpc_call_peer(c))), 0);
  } else if (serves(c, "/t/cut")) { /* all but the first two bytes, behind other ones */
    struct rpc_message *cut = rpc_message_cut(m, "--", 2, 2, rpc_message_size(m) - 2);
    rpc_message_free(m);
    ck_assert_int_eq(rpc_call_send(c, cut), 0);
  } else if (serves(c, "/t/stream")) {
    s->left = (int)strtol(message_text(m, text), NULL, 10);
    if (s->left != 0)
      ck_assert_int_eq(rpc_call_send(c, text_message("0")), 0);
    else
      ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), 0);
  } else if (serves(c, "/t/last")) { /* a message and, behind it, the status */
    ck_assert_int_eq(rpc_call_send(c, m), 0);
    ck_assert_int_eq(rpc_call_send(c, text_message("two at once")), -EBUSY);
    ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), 0);
    ck_assert_int_eq(rpc_call_send(c, text_message("after the end")), -EPIPE);
    ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), -EPIPE);
  } else if (serves(c, "/t/status")) {
    int status = (int)strtol(message_text(m, text), NULL, 10);
    ck_assert_int_eq(rpc_call_finish(c, (enum rpc_status)status, "as asked"), 0);
  } else if (serves(c, "/t/cancel")) {
    rpc_message_free(m);
    rpc_call_cancel(c, RPC_ABORTED, "cancelled by the server");
    ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), -EPIPE);
  } else if (serves(c, "/t/metadata")) {
    int length = rpc_call_metadata(c, message_text(m, text), value, sizeof value);
    if (length < 0)
      snprintf(value, sizeof value, "%d", length);
    ck_assert_int_eq(rpc_call_send(c, text_message(value)), 0);
  } else {
    rpc_message_free(m);
    if (serves(c, "/t/headers"))
      ck_assert_int_eq(rpc_call_receive(c), 0);
  }
}

static void served_sent(struct rpc_call *c, void *arg)
{
  struct served *s = arg;
  char text[16];
  if (serves(c, "/t/last"))
    return;
  if (s->left == 1) {
    ck_assert_int_eq(rpc_call_finish(c, RPC_OK, NULL), 0);
  } else if (s->left != 0) {
    s->left -= s->left > 0;
    snprintf(text, sizeof text, "%d", s->left);
    ck_assert_int_eq(rpc_call_send(c, text_message(text)), 0);
  } else {
    int error = rpc_call_receive(c);
    ck_assert(error == 0 || error == -EPIPE);
  }
}

static void served_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct served *s = arg;
  (void)c;
  (void)text;
  s->server->last = (int)status;
  s->server->closed++;
  free(s);
}

void serve_call(struct rpc_server *server, struct rpc_call *c, void *arg)
{
  static const struct rpc_call_events events = {
      .message = served_message, .sent = served_sent, .closed = served_closed};
  static const struct rpc_metadata extra[] = {{"extra", "value"}};
  struct served *s = calloc(1, sizeof *s);
  (void)server;
  ck_assert_ptr_nonnull(s);
  s->server = arg;
  s->server->calls++;
  rpc_call_set_arg(c, &events, s);
  ck_assert(strncmp(rpc_call_peer(c), "ipv", 3) == 0);
  if (strncmp(rpc_call_method(c), "/t/", 3) != 0) {
    ck_assert_int_eq(rpc_call_finish(c, RPC_UNIMPLEMENTED, "no such method"), 0);
    return;
  }
  if (serves(c, "/t/headers")) {
    ck_assert_int_eq(rpc_call_send_headers(c, extra, 1), 0);
    ck_assert_int_eq(rpc_call_send_headers(c, extra, 1), -EPIPE);
  }
  if (serves(c, "/t/first")) { /* what is behind it is asked for once it is sent */
    ck_assert_int_eq(rpc_call_send_first(c, extra, 1, text_message("first")), 0);
    ck_assert_int_eq(rpc_call_send_first(c, extra, 1, text_message("second")), -EPIPE);
    ck_assert_int_eq(rpc_call_send(c, text_message("second")), -EBUSY);
    return;
  }
  if (serves(c, "/t/hang"))
    return;
  ck_assert_int_eq(rpc_call_receive(c), 0);
  ck_assert_int_eq(rpc_call_receive(c), -EBUSY);
}

void *server_thread(void *arg)
{
  struct server *s = arg;
  rpc_queue_run(s->queue);
  return NULL;
}

void server_start_at(struct server *s, const char *address, const char *cert_pem, const char *key_pem)
{
  struct rpc_server_options options = {.address = address, .cert_pem = cert_pem, .key_pem = key_pem};
  *s = (struct server){0};
  ck_assert_int_eq(rpc_queue_create(&s->queue), 0);
  ck_assert_int_eq(rpc_server_start(&s->server, s->queue, &options, serve_call, s, &s->port), 0);
  ck_assert_int_gt(s->port, 0);
  ck_assert_int_eq(pthread_create(&s->thread, NULL, server_thread, s), 0);
}

void server_start(struct server *s, int port, const char *cert_pem, const char *key_pem)
{
  char address[64];
  snprintf(address, sizeof address, "127.0.0.1:%d", port);
  server_start_at(s, address, cert_pem, key_pem);
}

static void server_stopped(void *arg)
{
  struct server *s = arg;
  rpc_queue_stop(s->queue, NULL, NULL);
}

static void server_stop_home(void *arg)
{
  struct server *s = arg;
  rpc_server_stop(s->server, server_stopped, s);
  rpc_server_cancel_calls(s->server);
}

void server_stop(struct server *s)
{
  ck_assert_int_eq(rpc_queue_post(s->queue, server_stop_home, s), 0);
  pthread_join(s->thread, NULL);
  ck_assert_int_eq(s->calls, s->closed);
  rpc_queue_free(s->queue);
}

/* ---- The client ---- */

static void out_of_patience(uv_timer_t *timer)
{
  (void)timer;
  ck_abort_msg("nothing came for %d s", PATIENCE_MS / 1000);
}

void loop_until(uv_loop_t *loop, const int *value, int goal)
{
  uv_timer_t timer;
  ck_assert_int_eq(uv_timer_init(loop, &timer), 0);
  ck_assert_int_eq(uv_timer_start(&timer, out_of_patience, PATIENCE_MS, 0), 0);
  while (*value < goal)
    uv_run(loop, UV_RUN_ONCE);
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(loop, UV_RUN_NOWAIT);
}

void client_open_channel(struct client *c, struct rpc_channel_options options, int port)
{
  char target[64];
  snprintf(target, sizeof target, "127.0.0.1:%d", port);
  options.target = options.target ? options.target : target;
  ck_assert_int_eq(rpc_channel_open(&c->channel, c->queue, &options), 0);
}

void client_start(struct client *c)
{
  *c = (struct client){0};
  ck_assert_int_eq(uv_loop_init(&c->loop), 0);
  ck_assert_int_eq(rpc_queue_create(&c->queue), 0);
  ck_assert_int_eq(rpc_queue_attach(c->queue, &c->loop), 0);
}

void client_open(struct client *c, int port)
{
  client_start(c);
  client_open_channel(c, (struct rpc_channel_options){.keepalive = true}, port);
}

static void client_stopped(void *arg)
{
  struct client *c = arg;
  c->stopped = true;
}

void client_stop(struct client *c)
{
  if (c->channel)
    rpc_channel_close(c->channel);
  rpc_queue_stop(c->queue, client_stopped, c);
  ck_assert(!c->stopped);
  while (!c->stopped)
    uv_run(&c->loop, UV_RUN_ONCE);
  rpc_queue_free(c->queue);
  ck_assert_int_eq(uv_run(&c->loop, UV_RUN_NOWAIT), 0);
  ck_assert_int_eq(uv_loop_close(&c->loop), 0);
}

/* ---- Calls, recorded ---- */

static void record_headers(struct rpc_call *c, void *arg)
{
  struct record *r = arg;
  r->headers++;
  ck_assert_int_eq(r->messages + r->closed, 0);
  if (rpc_call_metadata(c, "extra", r->extra, sizeof r->extra) < 0)
    r->extra[0] = '\0';
}

static void record_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct record *r = arg;
  ck_assert_int_eq(r->closed + r->nulls, 0);
  if (!m) {
    r->nulls++;
    return;
  }
  ck_assert_int_eq(r->headers, 1);
  r->messages++;
  r->bytes += rpc_message_size(m);
  if (rpc_message_size(m) < TEXT_SIZE)
    message_text(m, r->message);
  else
    rpc_message_free(m);
  if (r->keep_receiving) {
    int error = rpc_call_receive(c);
    ck_assert(error == 0 || error == -EPIPE);
  }
}

static void record_sent(struct rpc_call *c, void *arg)
{
  struct record *r = arg;
  (void)c;
  r->sent++;
}

static void record_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct record *r = arg;
  ck_assert_int_eq(r->closed, 0);
  ck_assert_ptr_eq(c, r->call);
  r->closed++;
  r->status = status;
  snprintf(r->text, sizeof r->text, "%s", text);
}

const struct rpc_call_events record_events = {
    .headers = record_headers, .message = record_message, .sent = record_sent, .closed = record_closed};

void record_start(struct record *r, struct client *c, const char *method)
{
  struct rpc_call_options options = {.method = method};
  *r = (struct record){.keep_receiving = true};
  ck_assert_int_eq(rpc_call_start(&r->call, c->channel, &options, &record_events, r), 0);
}

void record_unary(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct record *r = arg;
  ck_assert_int_eq(r->closed, 0);
  ck_assert_int_eq(answer != NULL, status == RPC_OK);
  r->closed++;
  r->status = status;
  snprintf(r->text, sizeof r->text, "%s", text);
  if (answer)
    message_text(answer, r->message);
}

void ask(struct record *r, struct client *c, const char *method, const char *request)
{
  struct rpc_call_options options = {.method = method};
  *r = (struct record){0};
  ck_assert_int_eq(rpc_unary(&r->call, c->channel, &options, text_message(request), record_unary, r), 0);
  loop_until(&c->loop, &r->closed, 1);
}
