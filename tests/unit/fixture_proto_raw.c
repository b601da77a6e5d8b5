#include "fixture_proto_raw.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/host/home.h"
#include "proto/wire/raw_frame.h"

enum { TURNS_MAX = 20000 }; /* of a millisecond, or less */

void raw_turn(struct raw_end *e, int turns, const char *what)
{
  ck_assert_msg(turns < TURNS_MAX, "it does not come: %s", what);
  uv_run(&e->loop, UV_RUN_NOWAIT);
  if (turns > 100)
    poll(NULL, 0, 1);
}

/* ---- The end ---- */

static void changed(struct raw_line *l, void *arg)
{
  struct raw_end *e = arg;
  (void)l;
  e->changes++;
}

static void listen_here(struct raw_end *e)
{
  struct sockaddr_in *at = (struct sockaddr_in *)&e->options.address;
  socklen_t size = sizeof *at;
  at->sin_family = AF_INET;
  at->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  e->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  ck_assert_int_ge(e->listener, 0);
  ck_assert_int_eq(bind(e->listener, (struct sockaddr *)at, size), 0);
  ck_assert_int_eq(listen(e->listener, 64), 0);
  ck_assert_int_eq(getsockname(e->listener, (struct sockaddr *)at, &size), 0);
}

void raw_end_open(struct raw_end *e)
{
  memset(e, 0, sizeof *e);
  memset(e->options.watch, 'w', sizeof e->options.watch);
  memset(e->options.secret, 's', sizeof e->options.secret);
  raw_keys_derive(&e->keys, e->options.secret);
  e->options.changed = changed;
  e->options.arg = e;
  listen_here(e);
  ck_assert_int_eq(uv_loop_init(&e->loop), 0);
  ck_assert_int_eq(home_open(&e->home, &e->loop), 0);
  ck_assert_int_eq(raw_set_open(&e->set, e->home), 0);
}

void raw_end_ask(struct raw_end *e)
{
  ck_assert_int_eq(raw_line_open(&e->line, e->set, &e->options), 0);
}

void raw_end_line(struct raw_end *e)
{
  uint8_t first[RAW_FIRST_MAX];
  raw_end_ask(e);
  int fd = raw_router_accept(e);
  ck_assert_uint_eq(raw_router_preamble(e, fd, first), 1);
  ck_assert_uint_eq(first[0], 0);
  raw_router_status(e, fd, RPC_OK, "");
  RAW_UNTIL(e, e->changes == 1);
  ck_assert_int_eq(raw_line_state(e->line), RAW_UP);
  close(fd);
}

static void closed(void *arg)
{
  ((struct raw_end *)arg)->closed++;
}

void raw_end_close(struct raw_end *e)
{
  if (e->line != NULL)
    raw_line_close(e->line, RAW_REPLACED);
  for (int i = 0; i < 3; i++)
    uv_run(&e->loop, UV_RUN_NOWAIT);
  raw_set_close(e->set, closed, e);
  RAW_UNTIL(e, e->closed == 1);
  home_close(e->home, closed, e);
  RAW_UNTIL(e, e->closed == 2);
  uv_run(&e->loop, UV_RUN_DEFAULT);
  ck_assert_int_eq(uv_loop_close(&e->loop), 0);
  close(e->listener);
}

/* ---- The router ---- */

int raw_router_accept(struct raw_end *e)
{
  int fd = -1;
  RAW_UNTIL(e, (fd = accept4(e->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
  return fd;
}

bool raw_router_has_none(struct raw_end *e)
{
  struct pollfd p = {.fd = e->listener, .events = POLLIN};
  return poll(&p, 1, 0) == 0;
}

static bool read_some(int fd, uint8_t *out, size_t size, size_t *have)
{
  ssize_t n = recv(fd, out + *have, size - *have, MSG_DONTWAIT);
  ck_assert_msg(n > 0 || (n < 0 && errno == EAGAIN), "the connection ended: %s", n < 0 ? strerror(errno) : "in order");
  *have += n > 0 ? (size_t)n : 0;
  return *have == size;
}

void raw_router_read(struct raw_end *e, int fd, void *out, size_t size)
{
  size_t have = 0;
  RAW_UNTIL(e, size == 0 || read_some(fd, out, size, &have));
}

size_t raw_router_preamble(struct raw_end *e, int fd, uint8_t first[RAW_FIRST_MAX])
{
  uint8_t bytes[RAW_PREAMBLE_MAX];
  struct raw_head head;
  raw_router_read(e, fd, bytes, RAW_HEAD_SIZE);
  ck_assert_int_eq(raw_head_read(bytes, &head), 0);
  ck_assert_mem_eq(head.watch, e->options.watch, sizeof head.watch);
  raw_router_read(e, fd, bytes + RAW_HEAD_SIZE, head.sealed);
  int size = raw_preamble_open(&e->keys, bytes, bytes + RAW_HEAD_SIZE, first);
  ck_assert_int_ge(size, 0);
  e->last_counter = head.counter;
  return (size_t)size;
}

size_t raw_router_frame(struct raw_end *e, int fd, uint8_t *out, size_t max)
{
  uint8_t length[RAW_FRAME_LENGTH_SIZE];
  raw_router_read(e, fd, length, sizeof length);
  int size = raw_frame_read(length);
  ck_assert_int_gt(size, 0);
  ck_assert_uint_le((size_t)size, max);
  raw_router_read(e, fd, out, (size_t)size);
  return (size_t)size;
}

static bool write_some(int fd, const uint8_t *bytes, size_t size, size_t *done)
{
  ssize_t n = send(fd, bytes + *done, size - *done, MSG_DONTWAIT | MSG_NOSIGNAL);
  ck_assert(n >= 0 || errno == EAGAIN);
  *done += n > 0 ? (size_t)n : 0;
  return *done == size;
}

void raw_router_say(struct raw_end *e, int fd, const void *bytes, size_t size)
{
  size_t done = 0;
  RAW_UNTIL(e, write_some(fd, bytes, size, &done));
}

void raw_router_status(struct raw_end *e, int fd, enum rpc_status status, const char *text)
{
  uint8_t bytes[RAW_WORD_MAX];
  const struct raw_place place = {.counter = e->last_counter};
  raw_router_say(e, fd, bytes, raw_word_seal_status(bytes, &e->keys, &place, status, text));
}

void raw_router_first(struct raw_end *e, int fd, const void *first, size_t size)
{
  uint8_t bytes[RAW_WORD_MAX];
  const struct raw_place place = {.counter = e->last_counter};
  raw_router_say(e, fd, bytes, raw_word_seal_first(bytes, &e->keys, &place, first, size));
}

void raw_router_say_frame(struct raw_end *e, int fd, const void *bytes, size_t size)
{
  uint8_t length[RAW_FRAME_LENGTH_SIZE];
  raw_frame_write(length, size);
  raw_router_say(e, fd, length, sizeof length);
  raw_router_say(e, fd, bytes, size);
}

bool raw_router_sees_end(int fd)
{
  char byte;
  return recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

bool raw_router_sees_reset(int fd)
{
  char byte;
  return recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == ECONNRESET;
}

void raw_router_reset(int fd)
{
  const struct linger linger = {.l_onoff = 1};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  close(fd);
}

/* ---- A user: what it is told may come while memory is short, when Check would end ---- */

static void said(void *arg, bool ok)
{
  struct raw_user *u = arg;
  u->said_good += ok;
  u->said_bad += !ok;
}

static void heard(void *arg, struct message *m)
{
  struct raw_user *u = arg;
  if (u->nothing_more || (m != NULL && u->heard_count == RAW_HEARD_MAX))
    ck_abort_msg("more was heard than can be");
  if (m == NULL) {
    u->nothing_more = true;
    return;
  }
  u->heard[u->heard_count++] = m;
  if (u->greedy > 0) {
    u->greedy--;
    raw_user_hear(u);
  }
}

static void original(void *arg)
{
  (void)arg;
  ck_abort_msg("raw streams have no first version");
}

static void ended(void *arg, enum rpc_status status, const char *text)
{
  struct raw_user *u = arg;
  u->ended++;
  u->status = status;
  snprintf(u->text, sizeof u->text, "%s", text);
}

static const struct stream_user user = {.said = said, .heard = heard, .original = original, .ended = ended};

const struct stream_user *raw_user_events(void)
{
  return &user;
}

enum stream_said raw_user_start(struct raw_user *u, struct raw_end *e, const struct header *h)
{
  uint8_t first[HEADER_SIZE_MAX];
  struct errand *later = NULL;
  u->stream = raw_stream_create(e->line, h);
  ck_assert_ptr_nonnull(u->stream);
  u->stream->user = &user;
  u->stream->arg = u;
  enum stream_said so = u->stream->kind->start(u->stream, first, header_pack(h, first), &later);
  ck_assert_ptr_null(later);
  return so;
}

static enum stream_said say(struct raw_user *u, const struct stream_say *what)
{
  struct errand *later = NULL;
  return u->stream->kind->say(u->stream, what, &later);
}

enum stream_said raw_user_say(struct raw_user *u, const void *bytes, size_t size, bool last)
{
  const struct stream_say what = {.head = bytes, .head_size = size, .last = last};
  return say(u, &what);
}

enum stream_said raw_user_say_body(struct raw_user *u, const char *head, const struct bytes *body, bool last)
{
  const struct stream_say what = {.head = head, .head_size = strlen(head), .body = body, .last = last};
  return say(u, &what);
}

void raw_user_hear(struct raw_user *u)
{
  if (!u->stream->kind->hear(u->stream) && !u->nothing_more && u->ended == 0)
    ck_abort_msg("nothing more is to come, but that was not told");
}

bool raw_user_heard(const struct raw_user *u, size_t i, const void *bytes, size_t size)
{
  const struct message *m = i < u->heard_count ? u->heard[i] : NULL;
  size_t at = 0;
  bool same = m != NULL && m->size == size;
  for (size_t k = 0; same && k < m->count; k++) {
    same = at + m->parts[k].size <= size && memcmp(m->parts[k].at, (const uint8_t *)bytes + at, m->parts[k].size) == 0;
    at += m->parts[k].size;
  }
  return same && at == size;
}

void raw_user_free(struct raw_user *u)
{
  for (size_t i = 0; i < u->heard_count; i++)
    message_free(u->heard[i]);
  u->stream->kind->free(u->stream);
}
