/* The pump against a server of the test's own: echo, ends, resets, malformed messages, a server that floods, and a
 * socket that stalls. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "mindmeld.pb-c.h"
#include "proto/pump.h"
#include "proto/rpc.h"

enum { PATIENCE_MS = 20000, FINITE = 32 << 20 /* more than sockets hold */ };

/* ---- The server: its own queue, in a thread of its own. What a stream does is chosen by its token. ---- */

struct peer {
  struct rpc_call *call;
  char token[32];
  bool headed, finishing;
  struct rpc_message *waiting; /* to be echoed once the one before is sent */
  bool sending, ended;
};

static struct {
  struct rpc_queue *queue;
  struct rpc_server *server;
  pthread_t thread;
  pthread_barrier_t started;
  int port;
  bool joined;
  atomic_uint_fast64_t flooded;
  char reset_code[64], reset_reason[300]; /* the last that a stream brought; read after the thread has ended */
} remote;

static struct rpc_message *payload_of_data(size_t size)
{
  uint8_t *bytes = calloc(1, size);
  Mindmeld__Payload p = MINDMELD__PAYLOAD__INIT;
  p.payload_case = MINDMELD__PAYLOAD__PAYLOAD_DATA;
  p.data = (ProtobufCBinaryData){size, bytes};
  struct rpc_message *m = rpc_message_pack(&p.base);
  free(bytes);
  return m;
}

static void peer_send(struct peer *peer, struct rpc_message *m)
{
  peer->sending = true;
  ck_assert_int_eq(rpc_call_send(peer->call, m), 0);
}

static void peer_sent(struct rpc_call *c, void *arg)
{
  struct peer *peer = arg;
  peer->sending = false;
  if (strcmp(peer->token, "flood") == 0) {
    atomic_fetch_add(&remote.flooded, 1 << 16);
    peer_send(peer, payload_of_data(1 << 16));
  } else if (strcmp(peer->token, "finite") == 0) {
    if (atomic_fetch_add(&remote.flooded, 1 << 16) + (1 << 16) < FINITE)
      peer_send(peer, payload_of_data(1 << 16));
  } else if (peer->waiting != NULL) {
    struct rpc_message *m = peer->waiting;
    peer->waiting = NULL;
    peer_send(peer, m);
    rpc_call_receive(c);
  } else if (peer->ended) {
    rpc_call_finish(c, RPC_OK, "");
  }
}

static void peer_begin(struct peer *peer, struct rpc_message *m)
{
  Mindmeld__Payload *p = (void *)rpc_message_unpack(m, &mindmeld__payload__descriptor);
  ck_assert_ptr_nonnull(p);
  ck_assert_int_eq(p->payload_case, MINDMELD__PAYLOAD__PAYLOAD_HEADER);
  ck_assert_uint_eq(p->header->member.len, 16);
  ck_assert_uint_eq(p->header->member_key.len, 32);
  snprintf(peer->token, sizeof peer->token, "%s", p->header->token);
  mindmeld__payload__free_unpacked(p, NULL);
  rpc_message_free(m);
  peer->headed = true;
  bool original = strcmp(peer->token, "original") == 0;
  const struct rpc_metadata metadata = {"mindmeld-peer", original ? "original" : "2"};
  ck_assert_int_eq(rpc_call_send_headers(peer->call, &metadata, 1), 0);
  if (strcmp(peer->token, "refuse") == 0) {
    rpc_call_finish(peer->call, RPC_NOT_FOUND, "unknown or expired token");
  } else if (strcmp(peer->token, "malformed") == 0) {
    peer_send(peer, rpc_message_copy("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11));
  } else if (strcmp(peer->token, "reset") == 0) {
    Mindmeld__Payload out = MINDMELD__PAYLOAD__INIT;
    Mindmeld__Reset reset = MINDMELD__RESET__INIT;
    char code[] = "ECONNREFUSED", reason[] = "connect to nowhere: refused";
    reset.code = code;
    reset.reason = reason;
    out.reset = &reset;
    peer_send(peer, rpc_message_pack(&out.base));
  } else if (strcmp(peer->token, "flood") == 0 || strcmp(peer->token, "finite") == 0) {
    peer_send(peer, payload_of_data(1 << 16));
  } else if (strcmp(peer->token, "data-then-end") == 0) {
    peer->ended = true;
    peer_send(peer, payload_of_data(100000));
    return;
  }
  rpc_call_receive(peer->call);
}

static void keep_reset(const struct rpc_message *m)
{
  Mindmeld__Payload *p = (void *)rpc_message_unpack(m, &mindmeld__payload__descriptor);
  ck_assert_ptr_nonnull(p);
  if (p->reset != NULL) {
    snprintf(remote.reset_code, sizeof remote.reset_code, "%s", p->reset->code);
    snprintf(remote.reset_reason, sizeof remote.reset_reason, "%s", p->reset->reason);
  }
  mindmeld__payload__free_unpacked(p, NULL);
}

static void peer_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct peer *peer = arg;
  if (m == NULL) {
    peer->ended = true;
    if (!peer->sending)
      rpc_call_finish(c, RPC_OK, "");
  } else if (!peer->headed) {
    peer_begin(peer, m);
  } else if (strcmp(peer->token, "swallow") == 0 || strcmp(peer->token, "reset") == 0) {
    keep_reset(m);
    rpc_message_free(m);
    rpc_call_receive(c);
  } else if (peer->sending) {
    peer->waiting = m;
  } else {
    peer_send(peer, m);
    rpc_call_receive(c);
  }
}

static void peer_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  (void)c;
  (void)status;
  (void)text;
  struct peer *peer = arg;
  rpc_message_free(peer->waiting);
  free(peer);
}

static const struct rpc_call_events peer_events = {.message = peer_message, .sent = peer_sent, .closed = peer_closed};

static void on_call(struct rpc_server *s, struct rpc_call *c, void *arg)
{
  (void)s;
  (void)arg;
  struct peer *peer = calloc(1, sizeof *peer);
  peer->call = c;
  rpc_call_set_arg(c, &peer_events, peer);
  ck_assert_int_eq(rpc_call_receive(c), 0);
}

static void server_stopped(void *arg)
{
  (void)arg;
  rpc_queue_stop(remote.queue, NULL, NULL);
}

static void stop_server(void *arg)
{
  (void)arg;
  rpc_server_stop(remote.server, server_stopped, NULL);
  rpc_server_cancel_calls(remote.server);
}

static void *serve(void *arg)
{
  (void)arg;
  const struct rpc_server_options options = {.address = "127.0.0.1:0"};
  ck_assert_int_eq(rpc_server_start(&remote.server, remote.queue, &options, on_call, NULL, &remote.port), 0);
  pthread_barrier_wait(&remote.started);
  rpc_queue_run(remote.queue);
  return NULL;
}

/* ---- The pump's side ---- */

static struct {
  uv_loop_t loop;
  uv_timer_t patience;
  struct rpc_queue *queue;
  struct rpc_channel *channel;
  struct pump_set *set;
  struct pump *pump;
  int fd; /* our end of the socket */
  bool paired, original, local_eof, remote_eof, ended, stopped;
  int socket_error;
  char reset_code[64], reset_reason[256], text[256];
  enum rpc_status status;
} here;

static void on_paired(struct pump *p, bool original, void *arg)
{
  (void)p;
  (void)arg;
  here.paired = true;
  here.original = original;
}

static void on_local_eof(struct pump *p, void *arg)
{
  (void)arg;
  ck_assert(!here.local_eof);
  here.local_eof = true;
  if (here.original)
    pump_half_close(p);
  else
    pump_send_eof(p);
}

static void on_socket_failed(struct pump *p, int error, void *arg)
{
  (void)p;
  (void)arg;
  ck_assert_int_eq(here.socket_error, 0);
  here.socket_error = error;
}

static void on_remote_eof(struct pump *p, void *arg)
{
  (void)arg;
  ck_assert(!here.remote_eof);
  here.remote_eof = true;
  pump_shutdown_socket(p);
}

static void on_remote_reset(struct pump *p, const char *code, const char *reason, void *arg)
{
  (void)arg;
  snprintf(here.reset_code, sizeof here.reset_code, "%s", code);
  snprintf(here.reset_reason, sizeof here.reset_reason, "%s", reason);
  pump_close_socket(p, true);
}

static void on_ended(struct pump *p, enum rpc_status status, const char *text, void *arg)
{
  (void)p;
  (void)arg;
  ck_assert(!here.ended);
  here.ended = true;
  here.status = status;
  snprintf(here.text, sizeof here.text, "%s", text);
}

static const struct pump_events events = {.paired = on_paired,
                                          .local_eof = on_local_eof,
                                          .socket_failed = on_socket_failed,
                                          .remote_eof = on_remote_eof,
                                          .remote_reset = on_remote_reset,
                                          .ended = on_ended};

static void out_of_patience(uv_timer_t *timer)
{
  (void)timer;
  ck_abort_msg("what was waited for did not happen");
}

#define WAIT_FOR(condition)                                                                                            \
  do {                                                                                                                 \
    uv_timer_start(&here.patience, out_of_patience, PATIENCE_MS, 0);                                                   \
    while (!(condition))                                                                                               \
      uv_run(&here.loop, UV_RUN_ONCE);                                                                                 \
    uv_timer_stop(&here.patience);                                                                                     \
  } while (0)

static void open_pump(const char *token)
{
  static const uint8_t member[16] = {1}, member_key[32] = {2};
  const struct pump_options options = {
      .channel = here.channel, .token = token, .member = member, .member_key = member_key};
  ck_assert_int_eq(pump_open(&here.pump, here.set, &options, &events, NULL), 0);
}

/* A real TCP connection, since resets are TCP's. Returns the end that a pump may have. */
static int make_socket(void)
{
  struct sockaddr_storage a;
  socklen_t size = sizeof a;
  int listener = socket(AF_INET, SOCK_STREAM, 0), pumped;
  ck_assert_int_eq(listen(listener, 1), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&a, &size), 0);
  here.fd = socket(AF_INET, SOCK_STREAM, 0);
  ck_assert_int_eq(connect(here.fd, (struct sockaddr *)&a, size), 0);
  pumped = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  ck_assert_int_ge(pumped, 0);
  close(listener);
  fcntl(here.fd, F_SETFL, O_NONBLOCK);
  return pumped;
}

static void attach(void)
{
  ck_assert_int_eq(pump_attach(here.pump, make_socket()), 0);
}

static void reset_socket(void)
{
  struct linger at_once = {1, 0};
  setsockopt(here.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(here.fd);
  here.fd = -1;
}

static void setup(void)
{
  memset(&here, 0, sizeof here);
  here.fd = -1;
  pthread_barrier_init(&remote.started, NULL, 2);
  ck_assert_int_eq(rpc_queue_create(&remote.queue), 0);
  atomic_store(&remote.flooded, 0);
  ck_assert_int_eq(pthread_create(&remote.thread, NULL, serve, NULL), 0);
  pthread_barrier_wait(&remote.started);

  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%d", remote.port);
  const struct rpc_channel_options options = {.target = target};
  uv_loop_init(&here.loop);
  uv_timer_init(&here.loop, &here.patience);
  ck_assert_int_eq(rpc_queue_create(&here.queue), 0);
  ck_assert_int_eq(rpc_queue_attach(here.queue, &here.loop), 0);
  ck_assert_int_eq(rpc_channel_open(&here.channel, here.queue, &options), 0);
  ck_assert_int_eq(pump_set_open(&here.set, here.queue, &here.loop), 0);
}

static void set_flag(void *arg)
{
  *(bool *)arg = true;
}

static void teardown(void)
{
  bool set_closed = false, queue_stopped = false;
  if (here.pump != NULL)
    pump_close(here.pump);
  if (here.fd >= 0)
    close(here.fd);
  pump_set_close(here.set, set_flag, &set_closed);
  WAIT_FOR(set_closed);
  rpc_channel_close(here.channel);
  rpc_queue_stop(here.queue, set_flag, &queue_stopped);
  WAIT_FOR(queue_stopped);
  rpc_queue_free(here.queue);
  uv_close((uv_handle_t *)&here.patience, NULL);
  uv_run(&here.loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&here.loop), 0);

  if (!remote.joined) {
    ck_assert_int_eq(rpc_queue_post(remote.queue, stop_server, NULL), 0);
    pthread_join(remote.thread, NULL);
  }
  pthread_barrier_destroy(&remote.started);
  rpc_queue_free(remote.queue);
}

static void turn(void)
{
  uv_run(&here.loop, UV_RUN_NOWAIT);
}

static uint8_t byte_at(size_t at)
{
  return (uint8_t)(at * 31 + (at >> 8));
}

/* Sends `total` bytes in random portions, and reads them back. */
static void echo(size_t total)
{
  static uint8_t out[300000], in[300000];
  size_t sent = 0, got = 0, wrong = 0;
  uv_timer_start(&here.patience, out_of_patience, PATIENCE_MS, 0);
  while (got < total) {
    size_t portion = (size_t)rand() % sizeof out + 1;
    if (portion > total - sent)
      portion = total - sent;
    for (size_t i = 0; i < portion; i++)
      out[i] = byte_at(sent + i);
    ssize_t n = send(here.fd, out, portion, MSG_NOSIGNAL);
    if (n > 0)
      sent += (size_t)n;
    turn();
    n = recv(here.fd, in, (size_t)rand() % sizeof in + 1, 0);
    ck_assert_int_ne(n, 0);
    for (ssize_t i = 0; i < n; i++, got++)
      wrong += in[i] != byte_at(got);
  }
  uv_timer_stop(&here.patience);
  ck_assert_uint_eq(wrong, 0);
}

START_TEST(test_echo_and_both_ends)
{
  open_pump("echo");
  attach();
  WAIT_FOR(here.paired);
  ck_assert(!here.original);
  echo(1);
  echo(20 << 20);
  ck_assert_uint_eq(pump_counters(here.pump).bytes_read, (20 << 20) + 1);
  ck_assert_uint_eq(pump_counters(here.pump).bytes_written, (20 << 20) + 1);
  shutdown(here.fd, SHUT_WR);
  WAIT_FOR(here.ended);
  ck_assert(here.local_eof && here.remote_eof);
  ck_assert_int_eq(here.status, RPC_OK);
  char byte;
  ck_assert_int_eq(recv(here.fd, &byte, 1, 0), 0);
}
END_TEST

START_TEST(test_original_peer_is_told_nothing)
{
  open_pump("original");
  attach();
  WAIT_FOR(here.paired);
  ck_assert(here.original);
  echo(100000);
  shutdown(here.fd, SHUT_WR);
  WAIT_FOR(here.ended);
  ck_assert(here.local_eof && !here.remote_eof);
  ck_assert_int_eq(here.status, RPC_OK);
}
END_TEST

START_TEST(test_refused)
{
  open_pump("refuse");
  attach();
  WAIT_FOR(here.ended);
  ck_assert_int_eq(here.status, RPC_NOT_FOUND);
  ck_assert_str_eq(here.text, "unknown or expired token");
}
END_TEST

START_TEST(test_remote_reset)
{
  open_pump("reset");
  attach();
  WAIT_FOR(here.reset_code[0] != '\0');
  ck_assert_str_eq(here.reset_code, "ECONNREFUSED");
  ck_assert_str_eq(here.reset_reason, "connect to nowhere: refused");
  char byte;
  ck_assert_int_eq(recv(here.fd, &byte, 1, 0), -1);
  ck_assert_int_eq(errno, ECONNRESET);
  pump_half_close(here.pump);
  WAIT_FOR(here.ended);
  ck_assert_int_eq(here.status, RPC_OK);
}
END_TEST

START_TEST(test_malformed_message)
{
  open_pump("malformed");
  attach();
  WAIT_FOR(here.ended);
  ck_assert_int_eq(here.status, RPC_INTERNAL);
}
END_TEST

START_TEST(test_local_reset)
{
  open_pump("echo");
  attach();
  WAIT_FOR(here.paired);
  echo(1000);
  struct linger at_once = {1, 0};
  setsockopt(here.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(here.fd);
  here.fd = -1;
  WAIT_FOR(here.socket_error != 0);
  ck_assert_int_eq(here.socket_error, ECONNRESET);
  ck_assert(!here.local_eof);
  pump_send_reset(here.pump, "", "the application went away");
  WAIT_FOR(here.ended);
}
END_TEST

/* What is said is said whole, whatever stood in memory before, and cut to what fits. */
START_TEST(test_reset_is_said_in_words)
{
  char reason[400];
  memset(reason, 'x', sizeof reason - 1);
  reason[sizeof reason - 1] = '\0';
  if (_i == 0)
    snprintf(reason, sizeof reason, "connect to localhost:8080: Connection refused");
  open_pump("swallow");
  WAIT_FOR(here.paired);
  pump_send_reset(here.pump, "ECONNREFUSED", reason);
  WAIT_FOR(here.ended);
  ck_assert_int_eq(here.status, RPC_OK);
  ck_assert_int_eq(rpc_queue_post(remote.queue, stop_server, NULL), 0);
  pthread_join(remote.thread, NULL);
  remote.joined = true;
  ck_assert_str_eq(remote.reset_code, "ECONNREFUSED");
  reason[255] = '\0';
  ck_assert_str_eq(remote.reset_reason, reason);
}
END_TEST

START_TEST(test_data_waits_for_the_socket)
{
  open_pump("data-then-end");
  WAIT_FOR(here.paired);
  for (int i = 0; i < 50; i++)
    turn();
  ck_assert(!here.ended);
  attach();
  WAIT_FOR(here.ended);
  ck_assert_int_eq(here.status, RPC_OK);
  static uint8_t in[100001];
  size_t got = 0;
  uv_timer_start(&here.patience, out_of_patience, PATIENCE_MS, 0);
  while (got < 100000) {
    ssize_t n = recv(here.fd, in, sizeof in, 0);
    ck_assert(n != 0);
    if (n > 0)
      got += (size_t)n;
    turn();
  }
  ck_assert_uint_eq(got, 100000);
}
END_TEST

/* A server that sends without end to a socket that is not read must come to a stop, and the pump must still close. */
START_TEST(test_stalled_socket_stops_the_sender)
{
  open_pump("flood");
  attach();
  uint_fast64_t before;
  uv_timer_start(&here.patience, out_of_patience, PATIENCE_MS, 0);
  int quiet = 0;
  do {
    before = atomic_load(&remote.flooded);
    for (int i = 0; i < 100; i++) {
      turn();
      struct timespec ms = {0, 1000000};
      nanosleep(&ms, NULL);
    }
    quiet = before > 0 && atomic_load(&remote.flooded) == before ? quiet + 1 : 0;
  } while (quiet < 3);
  uv_timer_stop(&here.patience);
  ck_assert_uint_lt(atomic_load(&remote.flooded), 64 << 20);
}
END_TEST

/* Until nothing more is taken. */
static void send_until_held_back(void)
{
  static uint8_t out[1 << 16];
  int idle = 0;
  uv_timer_start(&here.patience, out_of_patience, PATIENCE_MS, 0);
  while (idle < 200) {
    idle = send(here.fd, out, sizeof out, MSG_NOSIGNAL) > 0 ? 0 : idle + 1;
    turn();
    struct timespec ms = {0, 1000000};
    nanosleep(&ms, NULL);
  }
  uv_timer_stop(&here.patience);
}

/* Reads until `total` bytes have come. */
static void hear(size_t total)
{
  static uint8_t in[1 << 16];
  uv_timer_start(&here.patience, out_of_patience, PATIENCE_MS, 0);
  for (size_t got = 0; got < total;) {
    ssize_t n = recv(here.fd, in, sizeof in, 0);
    ck_assert(n > 0 || (n < 0 && errno == EAGAIN));
    got += n > 0 ? (size_t)n : 0;
    turn();
  }
  uv_timer_stop(&here.patience);
}

/* The other way round: a server that does not read what comes stops the reading of the socket. */
START_TEST(test_socket_failure_is_seen_while_sending_is_held_back)
{
  open_pump("flood");
  WAIT_FOR(here.paired);
  attach();
  send_until_held_back();
  reset_socket();
  WAIT_FOR(here.socket_error != 0);
  pump_send_reset(here.pump, "", "gone"); /* cannot get through */
  pump_cancel(here.pump);
  WAIT_FOR(here.ended);
  ck_assert_int_eq(here.status, RPC_CANCELLED);
}
END_TEST

/* And when the socket, full before, has taken all that came. */
START_TEST(test_socket_failure_is_seen_when_nothing_is_to_be_done)
{
  open_pump("finite");
  WAIT_FOR(here.paired);
  attach();
  send_until_held_back();
  hear(FINITE);
  reset_socket();
  WAIT_FOR(here.socket_error != 0);
}
END_TEST

/* A socket tells of a reset once; who reads it after that sees an end. */
START_TEST(test_a_reset_is_not_taken_for_an_end)
{
  int error = 0;
  socklen_t size = sizeof error;
  open_pump("swallow");
  WAIT_FOR(here.paired);
  int fd = make_socket();
  reset_socket();
  while (error == 0)
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
  ck_assert_int_eq(pump_attach(here.pump, fd), 0);
  WAIT_FOR(here.socket_error != 0 || here.local_eof);
  ck_assert_int_eq(here.socket_error, ECONNRESET);
}
END_TEST

/* A socket that brings bytes which nobody wants any more is not reset under what it was given. */
START_TEST(test_linger)
{
  enum { TOTAL = 100000 };
  static uint8_t out[1 << 16];
  open_pump("data-then-end");
  attach();
  WAIT_FOR(here.ended);
  ck_assert_int_gt(send(here.fd, out, sizeof out, MSG_NOSIGNAL), 0);
  pump_linger_socket(here.pump);
  for (int i = 0; i < 100; i++) {
    send(here.fd, out, sizeof out, MSG_NOSIGNAL);
    turn();
  }
  ck_assert(!here.local_eof);
  shutdown(here.fd, SHUT_WR);
  WAIT_FOR(here.local_eof);
  pump_close_socket(here.pump, false);
  hear(TOTAL);
  uint8_t byte;
  ck_assert_int_eq(recv(here.fd, &byte, 1, 0), 0);
}
END_TEST

START_TEST(test_close_at_once)
{
  open_pump("echo");
}
END_TEST

START_TEST(test_unreachable)
{
  const struct rpc_channel_options nowhere = {.target = "127.0.0.1:1"};
  rpc_channel_close(here.channel);
  ck_assert_int_eq(rpc_channel_open(&here.channel, here.queue, &nowhere), 0);
  open_pump("echo");
  attach();
  WAIT_FOR(here.ended);
  ck_assert_int_eq(here.status, RPC_UNAVAILABLE);
  ck_assert(!here.paired);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("pump");
  TCase *tcase = tcase_create("pump");
  tcase_set_timeout(tcase, 60);
  tcase_add_checked_fixture(tcase, setup, teardown);
  tcase_add_test(tcase, test_echo_and_both_ends);
  tcase_add_test(tcase, test_original_peer_is_told_nothing);
  tcase_add_test(tcase, test_refused);
  tcase_add_test(tcase, test_remote_reset);
  tcase_add_test(tcase, test_malformed_message);
  tcase_add_test(tcase, test_local_reset);
  tcase_add_loop_test(tcase, test_reset_is_said_in_words, 0, 2);
  tcase_add_test(tcase, test_data_waits_for_the_socket);
  tcase_add_test(tcase, test_stalled_socket_stops_the_sender);
  tcase_add_test(tcase, test_socket_failure_is_seen_while_sending_is_held_back);
  tcase_add_test(tcase, test_socket_failure_is_seen_when_nothing_is_to_be_done);
  tcase_add_test(tcase, test_a_reset_is_not_taken_for_an_end);
  tcase_add_test(tcase, test_linger);
  tcase_add_test(tcase, test_close_at_once);
  tcase_add_test(tcase, test_unreachable);
  suite_add_tcase(suite, tcase);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed == 0 ? 0 : 1;
}
