/* From the target to the client. */
#include "gate/paths/rewrite.h"
#include "gate_internal.h"

/* A client of HTTP/1.0 does not know of them. */
static void interim(struct client *c)
{
  if (c->parser.head.minor > 0) {
    rewrite_answer(&c->socket.out, &c->upstream->parser);
    http1_out_puts(&c->socket.out, "\r\n");
  }
}

static void switched(struct client *c)
{
  rewrite_answer(&c->socket.out, &c->upstream->parser);
  http1_out_puts(&c->socket.out, "Connection: Upgrade\r\n\r\n");
  c->state = CLIENT_OPAQUE;
}

static void final(struct client *c)
{
  const struct http1_framing *f = &c->upstream->parser.framing;
  bool unsized = f->body == HTTP1_CHUNKED || f->body == HTTP1_TO_CLOSE;

  c->answer_begun = true;
  c->chunked = unsized && c->parser.head.minor > 0;
  /* An answer that comes early may be all that the target wants to say: the rest of the request may never be read. */
  c->close_after |= !c->request_over || (unsized && !c->chunked) || c->gate->draining;
  rewrite_answer(&c->socket.out, &c->upstream->parser);
  http1_write_framing(&c->socket.out, c->chunked ? HTTP1_CHUNKED : f->body, f->has_length, f->length);
  if (c->close_after)
    http1_out_puts(&c->socket.out, "Connection: close\r\n");
  else if (c->parser.head.minor == 0)
    http1_out_puts(&c->socket.out, "Connection: keep-alive\r\n");
  http1_out_puts(&c->socket.out, "\r\n");
}

static void over(struct client *c)
{
  struct http1_parser *p = &c->upstream->parser;
  if (p->head.status < 200) {
    http1_parser_next(p, true);
    p->to_head = c->to_head;
    return;
  }
  rewrite_body(&c->socket.out, p, HTTP1_END, c->chunked);
  client_exchange_over(c);
}

static void give_up(struct client *c, unsigned status)
{
  if (c->answer_begun)
    client_cut(c);
  else
    client_answer(c, status);
}

static void handle(struct client *c, enum http1_event event)
{
  struct http1_parser *p = &c->upstream->parser;

  if (event == HTTP1_HEAD && p->head.status == 101) {
    if (c->parser.framing.upgrade && p->framing.upgrade && c->request_over)
      switched(c);
    else
      give_up(c, 502);
  } else if (event == HTTP1_HEAD) {
    if (p->head.status < 200)
      interim(c);
    else
      final(c);
  } else if (event == HTTP1_BODY) {
    rewrite_body(&c->socket.out, p, event, c->chunked);
  } else if (event == HTTP1_END) {
    over(c);
  } else if (event == HTTP1_REFUSED) {
    give_up(c, 502);
  }
}

static void feed(struct client *c, const char *bytes, size_t size)
{
  struct upstream *u = c->upstream;
  enum http1_event event;
  size_t eaten = 0;

  do {
    eaten += http1_parser_feed(&u->parser, bytes + eaten, size - eaten, &event);
    /* What follows an answer is none of ours. */
    if (event == HTTP1_END && u->parser.head.status >= 200)
      c->spoiled |= eaten < size;
    handle(c, event);
  } while (c->state == CLIENT_EXCHANGE && c->upstream == u && event != HTTP1_MORE);
  if (c->state == CLIENT_OPAQUE)
    http1_out_put(&c->socket.out, bytes + eaten, size - eaten);
}

static bool ended(struct client *c)
{
  struct upstream *u = c->upstream;
  if (!u->socket.ended && u->socket.read_error == 0)
    return false;
  if (u->socket.ended && upstream_is_orderly(u) && http1_parser_close(&u->parser) == HTTP1_END) {
    c->spoiled = true;
    over(c);
  } else if (!request_retry(c)) {
    give_up(c, upstream_trouble(u));
  }
  return true;
}

bool answer_move(struct client *c)
{
  struct upstream *u = c->upstream;
  if (c->state != CLIENT_EXCHANGE || u == NULL || !gate_socket_flush(&c->socket))
    return false;
  size_t size = gate_socket_read(&u->socket, c->gate->scratch, GATE_READ);
  if (size == 0)
    return ended(c);
  feed(c, c->gate->scratch, size);
  gate_socket_flush(&c->socket);
  return true;
}
