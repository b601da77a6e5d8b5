/* A client of HTTP/2: an exchange for each of its streams.
 *
 *     socket --> session --> streams with news --> exchanges --> targets
 *     socket <-- session <-- streams           <-- exchanges <-- targets
 *
 * A stream waits for nobody but its own target and the socket. Its window is given back as the target takes the bytes;
 * its answer is read while nothing of it waits. So of each stream at most a window and a read are held.
 */
#include <stdlib.h>
#include <uv.h>

#include "gate/http2/session.h"
#include "gate/paths/page.h"
#include "gate_internal.h"
#include "proto/http1/clean.h"

enum { STREAMS_A_TURN = 2 * HTTP2_STREAMS_MAX };

struct streaming {
  struct exchange exchange; /* first */
  struct client *client;
  struct http2_stream *stream;
  size_t passed; /* bytes of the body that are on their way to the target */
  uint64_t left; /* that are to be passed on, of a body with a length */
  bool begun, waits;
  struct poller_deadline deadline;
};

static struct streaming *of(struct exchange *x)
{
  return (struct streaming *)x;
}

static void arm(struct streaming *e, bool waits)
{
  if (e->waits)
    poller_deadline_clear(&e->client->gate->stream, &e->deadline);
  if (waits)
    poller_deadline_set(&e->client->gate->stream, &e->deadline);
  e->waits = waits;
}

static void release(struct streaming *e)
{
  arm(e, false);
  exchange_drop(&e->exchange);
  e->stream->user = NULL;
  free(e);
}

/* ---- The client's side of an exchange ---- */

static bool has_room(struct exchange *x)
{
  const struct streaming *e = of(x);
  return !e->stream->closed && http1_out_waiting(&e->stream->answer) == 0 &&
         http1_out_waiting(&e->client->socket.out) < GATE_READ;
}

static void interim(struct exchange *x)
{
  http1_clean_head(&x->upstream->parser.head, false);
  http2_stream_interim(of(x)->stream, &x->upstream->parser.head);
}

static void head(struct exchange *x)
{
  struct http1_parser *p = &x->upstream->parser;
  http1_clean_head(&p->head, false);
  http2_stream_head(of(x)->stream, &p->head, &p->framing);
}

static void put(struct exchange *x, struct http1_text piece)
{
  http2_stream_put(of(x)->stream, piece);
}

static void finish(struct exchange *x)
{
  struct http1_parser *p = &x->upstream->parser;
  http1_clean_trailers(&p->head, p->trailers);
  http2_stream_finish(of(x)->stream, &p->head, p->trailers);
}

/* A page is written as an answer of HTTP/1, and read as one that a target gives. */
static void refuse(struct exchange *x, const struct page *page)
{
  struct http2_stream *t = of(x)->stream;
  struct http1_out written = {0};
  struct http1_parser p;
  enum http1_event event = HTTP1_MORE;

  exchange_drop(x);
  http1_parser_init(&p, true);
  p.to_head = x->to_head;
  page_write(&written, page, x->to_head, false);
  for (size_t at = 0; event != HTTP1_END && event != HTTP1_REFUSED && !written.failed;) {
    at += http1_parser_feed(&p, written.bytes + at, written.size - at, &event);
    if (event == HTTP1_HEAD) {
      http1_clean_head(&p.head, false);
      http2_stream_head(t, &p.head, &p.framing);
    } else if (event == HTTP1_BODY) {
      http2_stream_put(t, p.piece);
    }
  }
  if (event == HTTP1_END)
    http2_stream_finish(t, &p.head, p.trailers);
  else
    http2_stream_reset(t, false);
  http1_parser_free(&p);
  http1_out_free(&written);
}

static void cut(struct exchange *x)
{
  http2_stream_reset(of(x)->stream, false);
}

static void wake(struct exchange *x)
{
  http2_stream_wake(of(x)->stream);
  client_run(of(x)->client);
}

static const struct exchange_side stream_side = {.has_room = has_room,
                                                 .interim = interim,
                                                 .head = head,
                                                 .put = put,
                                                 .finish = finish,
                                                 .refuse = refuse,
                                                 .cut = cut,
                                                 .wake = wake};

/* ---- One stream ---- */

static struct streaming *create(struct client *c, struct http2_stream *t)
{
  struct streaming *e = calloc(1, sizeof *e);
  if (e == NULL) {
    http2_stream_reset(t, false);
    return NULL;
  }
  e->client = c;
  e->stream = t;
  e->left = t->framing.length;
  e->exchange = (struct exchange){.gate = c->gate,
                                  .side = &stream_side,
                                  .request = &t->head,
                                  .framing = &t->framing,
                                  .peer = c->peer,
                                  .client_fd = c->socket.fd,
                                  .tls = c->exchange.tls};
  t->user = e;
  return e;
}

/* A request that has data beyond its length is none: its end is waited for, as is that of a body below. */
static void begin(struct streaming *e)
{
  const struct http2_stream *t = e->stream;

  if (t->refusal == 0 && t->framing.body == HTTP1_NO_BODY && !t->ended)
    return;
  e->begun = true;
  if (t->refusal == 0) {
    exchange_begin(&e->exchange);
  } else {
    e->exchange.to_head = exchange_method_is(&e->exchange, "HEAD");
    exchange_refuse(&e->exchange, t->refusal);
  }
}

static void took(struct streaming *e)
{
  http2_stream_took(e->stream, e->passed);
  e->passed = 0;
}

static size_t passable(const struct streaming *e)
{
  const struct http2_stream *t = e->stream;
  size_t waiting = http1_out_waiting(&t->body);
  bool is_all = t->framing.body == HTTP1_SIZED && waiting > 0 && waiting >= e->left;
  return is_all && !t->ended ? waiting - 1 : waiting;
}

static bool move_request(struct streaming *e)
{
  struct http2_stream *t = e->stream;
  size_t size = passable(e);

  if (!exchange_has_room(&e->exchange))
    return false;
  took(e);
  if (size > 0) {
    exchange_put(&e->exchange, (struct http1_text){t->body.bytes + t->body.at, size});
    http1_out_drop(&t->body, size);
    e->left -= size;
    e->passed = size;
    if (exchange_has_room(&e->exchange))
      took(e);
  }
  if (t->ended)
    exchange_finish(&e->exchange, &t->trailers, 0);
  return size > 0 || t->ended;
}

static bool waits_for_client(const struct streaming *e)
{
  const struct upstream *u = e->exchange.upstream;
  if (http1_out_waiting(&e->stream->answer) > 0 || !e->begun)
    return true;
  return u != NULL && !e->stream->ended && http1_out_waiting(&u->socket.out) == 0;
}

static void move_stream(struct client *c, struct http2_stream *t)
{
  struct streaming *e = t->user;

  if (t->closed) {
    if (e != NULL)
      release(e);
    http2_stream_free(t);
    return;
  }
  if (e == NULL)
    e = create(c, t);
  if (e == NULL)
    return;
  if (!e->begun)
    begin(e);
  bool moved = move_request(e);
  moved |= exchange_move(&e->exchange);
  arm(e, waits_for_client(e));
  if (moved)
    http2_stream_wake(t);
}

void streams_due(struct poller_deadline *d)
{
  struct streaming *e = (struct streaming *)((char *)d - offsetof(struct streaming, deadline));
  struct client *c = e->client;

  e->waits = false;
  e->begun = true;
  if (!e->exchange.answer_begun && http1_out_waiting(&e->stream->answer) == 0)
    exchange_refuse(&e->exchange, 408);
  else
    http2_stream_reset(e->stream, true);
  client_run(c);
}

/* ---- All of them ---- */

int streams_open(struct client *c)
{
  return http2_session_open(&c->session, uv_now(c->gate->loop));
}

void streams_close(struct client *c)
{
  struct http2_stream *t = c->session != NULL ? http2_session_streams(c->session) : NULL;
  for (; t != NULL; t = t->next)
    if (t->user != NULL)
      release(t->user);
  http2_session_free(c->session);
  c->session = NULL;
}

/* What was asked for as a whole is answered. */
static void input_ended(struct client *c)
{
  struct http2_stream *t = http2_session_streams(c->session);
  for (; t != NULL; t = t->next)
    if (!t->ended)
      http2_stream_reset(t, true);
  if (http2_session_streams(c->session) == NULL)
    http2_session_end(c->session);
}

static bool read_client(struct client *c)
{
  size_t kept = http1_out_waiting(&c->kept);
  if (kept > 0) {
    http2_session_feed(c->session, c->kept.bytes + c->kept.at, kept, uv_now(c->gate->loop));
    http1_out_free(&c->kept);
    return true;
  }
  if (http1_out_waiting(&c->socket.out) >= GATE_READ)
    return false;
  size_t size = gate_socket_read(&c->socket, c->gate->scratch, GATE_READ);
  if (size > 0)
    http2_session_feed(c->session, c->gate->scratch, size, uv_now(c->gate->loop));
  else if (c->socket.read_error != 0)
    client_cut(c);
  else if (c->socket.ended)
    input_ended(c);
  return size > 0;
}

/* Those that had no room while the socket was full have not asked to be told. */
static void wake_all(struct client *c)
{
  for (struct http2_stream *t = http2_session_streams(c->session); t != NULL; t = t->next)
    http2_stream_wake(t);
}

static bool write_client(struct client *c)
{
  size_t before = http1_out_waiting(&c->socket.out);
  http2_session_pull(c->session, &c->socket.out, GATE_READ);
  size_t waiting = http1_out_waiting(&c->socket.out);
  gate_socket_flush(&c->socket);
  size_t left = http1_out_waiting(&c->socket.out);
  if (before >= GATE_READ && left < GATE_READ)
    wake_all(c);
  return waiting > before || left < waiting;
}

bool streams_move(struct client *c)
{
  struct http2_stream *t;
  bool moved = read_client(c);

  if (c->state == CLIENT_GONE)
    return true;
  if (c->gate->draining)
    http2_session_drain(c->session);
  for (unsigned i = 0; i < STREAMS_A_TURN && (t = http2_session_next(c->session)) != NULL; i++) {
    move_stream(c, t);
    moved = true;
  }
  moved |= write_client(c);
  if (http2_session_is_over(c->session)) {
    streams_close(c);
    c->state = CLIENT_LINGER;
    return true;
  }
  return moved;
}

struct poller_delay *streams_delay(struct client *c)
{
  struct http2_session *s = c->session;
  if (http2_session_in_head(s))
    return &c->gate->head;
  if (http2_session_is_draining(s))
    return &c->gate->linger;
  return http2_session_streams(s) == NULL || http1_out_waiting(&c->socket.out) > 0 ? &c->gate->idle : NULL;
}

void streams_late(struct client *c)
{
  if (http1_out_waiting(&c->socket.out) > 0)
    client_cut(c);
  else if (!http2_session_in_head(c->session) && http2_session_is_draining(c->session))
    http2_session_drain_now(c->session);
  else
    http2_session_end(c->session);
}
