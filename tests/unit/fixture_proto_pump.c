#include "fixture_proto_pump.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mindmeld.pb-c.h"
#include "proto/host/home.h"

struct here here;

struct side sides[SIDES_MAX];

static void on_header(struct pump_stream *stream, const struct header *h, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(!s->header && !s->original);
  s->header = true;
  s->said = *h;
}

static void on_original(struct pump_stream *stream, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(!s->header && !s->original);
  s->original = true;
}

static void on_local_eof(struct pump *p, void *arg)
{
  struct side *s = arg;
  ck_assert(!s->local_eof);
  s->local_eof = true;
  if (!s->original)
    pump_send_eof(p, s->remote_eof);
  else
    pump_stream_half_close(s->current);
}

static void on_socket_failed(struct pump *p, int error, void *arg)
{
  struct side *s = arg;
  ck_assert_int_eq(s->socket_error, 0);
  s->socket_error = error;
  if (!s->breaks)
    return;
  pump_stream_send_reset(s->current, "", "broken");
  pump_close_socket(p, true);
}

static void on_remote_eof(struct pump *p, void *arg)
{
  struct side *s = arg;
  ck_assert(!s->remote_eof);
  s->remote_eof = true;
  pump_shutdown_socket(p);
  if (s->local_eof && s->current != NULL)
    pump_stream_half_close(s->current);
}

static void on_reset(struct pump_stream *stream, const char *code, const char *reason, void *arg)
{
  struct side *s = arg;
  ck_assert(s->reset_code[0] == '\0' && !s->refused && !s->ended);
  snprintf(s->reset_code, sizeof s->reset_code, "%s", code);
  snprintf(s->reset_reason, sizeof s->reset_reason, "%s", reason);
  if (s->pump != NULL && s->current == stream)
    pump_close_socket(s->pump, true);
}

static void on_refused(struct pump_stream *stream, const char *reason, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(s->reset_code[0] == '\0' && !s->refused && !s->ended);
  s->refused = true;
  snprintf(s->reset_reason, sizeof s->reset_reason, "%s", reason);
}

static void on_ended(struct pump_stream *stream, enum rpc_status status, const char *text, void *arg)
{
  (void)stream;
  struct side *s = arg;
  ck_assert(!s->ended);
  s->ended = true;
  s->status = status;
  snprintf(s->text, sizeof s->text, "%s", text);
}

static const struct pump_events pump_events = {
    .local_eof = on_local_eof, .socket_failed = on_socket_failed, .remote_eof = on_remote_eof};

const struct pump_stream_events stream_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

/* Not everything that is waited for wakes the loop. */
static void tick(uv_timer_t *timer)
{
  (void)timer;
  ck_assert_msg(here.ticks-- > 0, "what was waited for did not happen");
}

void start_patience(void)
{
  here.ticks = PATIENCE_MS / TICK_MS;
  uv_timer_start(&here.patience, tick, TICK_MS, TICK_MS);
}

void stop_patience(void)
{
  uv_timer_stop(&here.patience);
}

void create_pump(int side)
{
  ck_assert_int_eq(pump_create(&sides[side].pump, here.set, &pump_events, &sides[side]), 0);
}

struct stream *make_stream(const struct header *h)
{
  struct stream *stream;
  if (here.make != NULL)
    return here.make(h);
  if (here.queue == NULL)
    return far_memory_create(here.home, others_arrive);
  ck_assert_int_eq(rpc_stream_create(&stream, here.channel, false), 0);
  return stream;
}

void open_stream_with(int side, const struct header *h)
{
  const struct pump_stream_options options = {.header = h};
  ck_assert_int_eq(
      pump_stream_open(&sides[side].stream, here.set, make_stream(h), &options, &stream_events, &sides[side]), 0);
}

void open_stream(int side, const char *token)
{
  struct header h = {.has_member = true, .member = {1}, .has_member_key = true, .member_key = {2}, .limit = LIMIT};
  snprintf(h.token, sizeof h.token, "%s", token);
  open_stream_with(side, &h);
}

void use_stream(int side, int stream, const struct pump_attachment *a)
{
  ck_assert_int_eq(pump_attach(sides[side].pump, sides[stream].stream, a), 0);
  sides[side].current = sides[stream].stream;
}

void open_pump(int side, const char *token)
{
  const struct pump_attachment first = {0};
  create_pump(side);
  open_stream(side, token);
  use_stream(side, side, &first);
}

void open_silent(int side)
{
  open_pump(side, "silent");
  WAIT_FOR(seen_by(side).begun);
}

void open_answered(int side, const char *token)
{
  open_pump(side, token);
  WAIT_FOR(sides[side].header || sides[side].original);
}

int make_socket(int side, bool small)
{
  struct sockaddr_storage a;
  socklen_t size = sizeof a;
  int listener = socket(AF_INET, SOCK_STREAM, 0), pumped, little = 4096;
  ck_assert_int_eq(listen(listener, 1), 0);
  ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&a, &size), 0);
  sides[side].fd = socket(AF_INET, SOCK_STREAM, 0);
  if (small)
    ck_assert_int_eq(setsockopt(sides[side].fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little), 0);
  ck_assert_int_eq(connect(sides[side].fd, (struct sockaddr *)&a, size), 0);
  pumped = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
  ck_assert_int_ge(pumped, 0);
  if (small)
    ck_assert_int_eq(setsockopt(pumped, SOL_SOCKET, SO_SNDBUF, &little, sizeof little), 0);
  close(listener);
  fcntl(sides[side].fd, F_SETFL, O_NONBLOCK);
  return pumped;
}

void give_socket(int side)
{
  ck_assert_int_eq(pump_give_socket(sides[side].pump, make_socket(side, false)), 0);
}

void give_small_socket(int side)
{
  ck_assert_int_eq(pump_give_socket(sides[side].pump, make_socket(side, true)), 0);
}

void reset_socket(int side)
{
  struct linger at_once = {1, 0};
  setsockopt(sides[side].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  close(sides[side].fd);
  sides[side].fd = -1;
}

struct pump_counters counters(int side)
{
  return pump_counters(sides[side].pump);
}

/* ---- Before and after each test ---- */

static void set_flag(void *arg)
{
  *(bool *)arg = true;
}

void close_stream(int side)
{
  struct pump_stream *stream = sides[side].stream;
  sides[side].stream = NULL;
  for (int i = 0; i < SIDES_MAX; i++)
    if (sides[i].current == stream)
      sides[i].current = NULL;
  if (stream != NULL)
    pump_stream_close(stream);
}

void close_pump(int side)
{
  close_stream(side);
  if (sides[side].pump != NULL)
    pump_close(sides[side].pump);
  if (sides[side].fd >= 0)
    close(sides[side].fd);
  sides[side].pump = NULL;
  sides[side].current = NULL;
  sides[side].fd = -1;
}

static void close_set(void)
{
  bool closed = false;
  for (int i = 0; i < SIDES_MAX; i++)
    close_stream(i);
  for (int i = 0; i < SIDES_MAX; i++)
    close_pump(i);
  pump_set_close(here.set, set_flag, &closed);
  WAIT_FOR(closed);
}

static void open_set(uint64_t window, uint64_t budget)
{
  const struct pump_limits limits = {.window = window, .budget = budget, .near_us = here.near_us};
  ck_assert_int_eq(pump_set_open(&here.set, here.home, &here.loop, &limits), 0);
}

void use_pump_limits(const struct pump_limits *limits)
{
  close_set();
  ck_assert_int_eq(pump_set_open(&here.set, here.home, &here.loop, limits), 0);
}

void use_limits(uint64_t window, uint64_t budget)
{
  close_set();
  open_set(window, budget);
}

static void begin(bool in_memory)
{
  memset(&here, 0, sizeof here);
  memset(sides, 0, sizeof sides);
  for (int i = 0; i < SIDES_MAX; i++)
    sides[i].fd = -1;
  uv_loop_init(&here.loop);
  uv_timer_init(&here.loop, &here.patience);

  others_start(in_memory);
}

void setup(void)
{
  begin(true);
  ck_assert_int_eq(home_open(&here.home, &here.loop), 0);
  open_set(WINDOW_MAX, 4 * (uint64_t)WINDOW_MAX);
}

void setup_rpc(void)
{
  begin(false);
  char target[32];
  snprintf(target, sizeof target, "127.0.0.1:%d", remote.port);
  const struct rpc_channel_options options = {.target = target};
  ck_assert_int_eq(rpc_queue_create(&here.queue), 0);
  ck_assert_int_eq(rpc_queue_attach(here.queue, &here.loop), 0);
  ck_assert_int_eq(rpc_channel_open(&here.channel, here.queue, &options), 0);
  here.home = rpc_queue_home(here.queue);
  open_set(WINDOW_MAX, 4 * (uint64_t)WINDOW_MAX);
}

void teardown(void)
{
  bool stopped = false;
  close_set();
  if (here.queue != NULL) {
    rpc_channel_close(here.channel);
    rpc_queue_stop(here.queue, set_flag, &stopped);
  } else {
    home_close(here.home, set_flag, &stopped);
  }
  WAIT_FOR(stopped);
  if (here.queue != NULL)
    rpc_queue_free(here.queue);

  others_stop();

  uv_close((uv_handle_t *)&here.patience, NULL);
  uv_run(&here.loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&here.loop), 0);
}

/* ---- What flows ---- */

void turn(void)
{
  uv_run(&here.loop, UV_RUN_NOWAIT);
}

void turn_for(int ms)
{
  for (int i = 0; i < ms; i++) {
    turn();
    struct timespec one = {0, 1000000};
    nanosleep(&one, NULL);
  }
}

static void settled(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  (void)text;
  ck_assert_int_eq(status, RPC_UNIMPLEMENTED);
  ck_assert_ptr_null(answer);
  *(bool *)arg = true;
}

static void ask_others(void)
{
  const struct rpc_call_options options = {.method = FAR_UNKNOWN};
  struct rpc_call *call;
  bool answered = false;
  ck_assert_int_eq(rpc_unary(&call, here.channel, &options, rpc_message_copy("", 0), settled, &answered), 0);
  WAIT_FOR(answered);
}

void settle(void)
{
  enum { ROUNDS = 5, TURNS = 50 };
  for (int i = 0; i < ROUNDS && here.queue != NULL; i++) {
    ask_others();
    turn();
  }
  for (int i = 0; i < TURNS && here.queue == NULL; i++)
    turn();
}

void echo(int side, size_t total)
{
  static uint8_t out[300000], in[300000];
  size_t sent = 0, got = 0, wrong = 0;
  start_patience();
  while (got < total) {
    size_t portion = (size_t)rand() % sizeof out + 1;
    if (portion > total - sent)
      portion = total - sent;
    fill_bytes(out, sent, portion);
    ssize_t n = send(sides[side].fd, out, portion, MSG_NOSIGNAL);
    if (n > 0)
      sent += (size_t)n;
    turn();
    n = recv(sides[side].fd, in, (size_t)rand() % sizeof in + 1, 0);
    holds(n != 0);
    if (n < 0)
      continue;
    wrong += !are_bytes(in, got, (size_t)n);
    got += (size_t)n;
  }
  stop_patience();
  ck_assert_uint_eq(wrong, 0);
}

size_t push(int side)
{
  static const uint8_t out[1 << 16];
  ssize_t n = send(sides[side].fd, out, sizeof out, MSG_NOSIGNAL);
  turn();
  return n > 0 ? (size_t)n : 0;
}

void push_until_held_back(int side)
{
  int idle = 0;
  start_patience();
  while (idle < 200) {
    idle = push(side) > 0 ? 0 : idle + 1;
    struct timespec ms = {0, 1000000};
    nanosleep(&ms, NULL);
  }
  stop_patience();
}

void hear(int side, size_t at, size_t total)
{
  static uint8_t in[1 << 16];
  size_t wrong = 0;
  start_patience();
  for (size_t got = 0; got < total;) {
    size_t most = total - got < sizeof in ? total - got : sizeof in;
    ssize_t n = recv(sides[side].fd, in, most, 0);
    holds(n > 0 || (n < 0 && errno == EAGAIN));
    if (n < 0)
      n = 0;
    wrong += !are_bytes(in, at + got, (size_t)n);
    got += (size_t)n;
    turn();
  }
  stop_patience();
  ck_assert_uint_eq(wrong, 0);
}

void hear_end(int side)
{
  uint8_t byte;
  ssize_t n;
  start_patience();
  while ((n = recv(sides[side].fd, &byte, 1, 0)) < 0 && errno == EAGAIN)
    turn();
  stop_patience();
  ck_assert_int_eq(n, 0);
}
