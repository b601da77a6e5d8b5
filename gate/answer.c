/* An answer, as a client of HTTP/1 gets it. */
#include "gate/paths/rewrite.h"
#include "gate_internal.h"

static struct client *client_of(struct exchange *x)
{
  return (struct client *)((char *)x - offsetof(struct client, exchange));
}

static bool has_room(struct exchange *x)
{
  return gate_socket_flush(&client_of(x)->socket);
}

/* A client of HTTP/1.0 does not know of them. */
static void interim(struct exchange *x)
{
  struct client *c = client_of(x);
  if (c->parser.head.minor > 0) {
    rewrite_answer(&c->socket.out, &x->upstream->parser);
    http1_out_puts(&c->socket.out, "\r\n");
  }
}

static void switched(struct exchange *x, struct http1_text rest)
{
  struct client *c = client_of(x);
  rewrite_answer(&c->socket.out, &x->upstream->parser);
  http1_out_puts(&c->socket.out, "Connection: Upgrade\r\n\r\n");
  http1_out_text(&c->socket.out, rest);
  c->state = CLIENT_OPAQUE;
}

static void head(struct exchange *x)
{
  struct client *c = client_of(x);
  const struct http1_framing *f = &x->upstream->parser.framing;
  bool unsized = f->body == HTTP1_CHUNKED || f->body == HTTP1_TO_CLOSE;

  c->chunked = unsized && c->parser.head.minor > 0;
  /* An answer that comes early may be all that the target wants to say: the rest of the request may never be read. */
  c->close_after |= !x->request_over || (unsized && !c->chunked) || c->gate->draining;
  rewrite_answer(&c->socket.out, &x->upstream->parser);
  http1_write_framing(&c->socket.out, c->chunked ? HTTP1_CHUNKED : f->body, f->has_length, f->length);
  if (c->close_after)
    http1_out_puts(&c->socket.out, "Connection: close\r\n");
  else if (c->parser.head.minor == 0)
    http1_out_puts(&c->socket.out, "Connection: keep-alive\r\n");
  http1_out_puts(&c->socket.out, "\r\n");
}

static void put(struct exchange *x, struct http1_text piece)
{
  struct client *c = client_of(x);
  rewrite_piece(&c->socket.out, piece, c->chunked);
}

static void finish(struct exchange *x)
{
  struct client *c = client_of(x);
  struct http1_parser *p = &x->upstream->parser;
  if (c->chunked)
    rewrite_trailers(&c->socket.out, &p->head, p->trailers);
  client_exchange_over(c);
}

static void refuse(struct exchange *x, const struct page *page)
{
  client_answer(client_of(x), page);
}

static void cut(struct exchange *x)
{
  client_cut(client_of(x));
}

static void wake(struct exchange *x)
{
  client_run(client_of(x));
}

const struct exchange_side client_side = {.has_room = has_room,
                                          .interim = interim,
                                          .head = head,
                                          .put = put,
                                          .finish = finish,
                                          .switched = switched,
                                          .refuse = refuse,
                                          .cut = cut,
                                          .wake = wake};
