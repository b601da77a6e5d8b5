/* From the target to the client's side of an exchange. */
#include "exchange.h"
#include "gate_internal.h"

/* Its answer is over. */
static void release(struct exchange *x)
{
  struct upstream *u = x->upstream;
  x->upstream = NULL;
  if (x->request_over && !x->spoiled && u->parser.framing.persistent)
    upstream_give(u);
  else
    upstream_close(u, !x->request_over);
}

static void over(struct exchange *x)
{
  struct http1_parser *p = &x->upstream->parser;
  if (p->head.status < 200) {
    http1_parser_next(p, true);
    p->to_head = x->to_head;
    return;
  }
  x->side->finish(x);
  release(x);
}

static void give_up(struct exchange *x, unsigned status)
{
  exchange_drop(x);
  if (x->answer_begun)
    x->side->cut(x);
  else
    exchange_refuse(x, status);
}

static void misanswered(struct exchange *x)
{
  upstream_failed(x->upstream);
  give_up(x, 502);
}

static void head(struct exchange *x)
{
  const struct http1_parser *p = &x->upstream->parser;

  if (p->head.status == 101) {
    x->switched = x->framing->upgrade && p->framing.upgrade && x->request_over && x->side->switched != NULL;
    if (!x->switched)
      misanswered(x);
  } else if (p->head.status < 200) {
    x->side->interim(x);
  } else {
    x->answer_begun = true;
    x->side->head(x);
  }
}

static void handle(struct exchange *x, enum http1_event event)
{
  if (event == HTTP1_HEAD)
    head(x);
  else if (event == HTTP1_BODY)
    x->side->put(x, x->upstream->parser.piece);
  else if (event == HTTP1_END)
    over(x);
  else if (event == HTTP1_REFUSED)
    misanswered(x);
}

static void feed(struct exchange *x, const char *bytes, size_t size)
{
  struct upstream *u = x->upstream;
  enum http1_event event;
  size_t eaten = 0;

  do {
    eaten += http1_parser_feed(&u->parser, bytes + eaten, size - eaten, &event);
    /* What follows an answer is none of ours. */
    if (event == HTTP1_END && u->parser.head.status >= 200)
      x->spoiled |= eaten < size;
    handle(x, event);
  } while (x->upstream == u && !x->switched && event != HTTP1_MORE);
  if (x->switched)
    x->side->switched(x, (struct http1_text){bytes + eaten, size - eaten});
}

static bool ended(struct exchange *x)
{
  struct upstream *u = x->upstream;
  if (!u->socket.ended && u->socket.read_error == 0)
    return false;
  if (u->socket.ended && upstream_is_orderly(u) && http1_parser_close(&u->parser) == HTTP1_END) {
    x->spoiled = true;
    over(x);
  } else {
    upstream_failed(u);
    if (!exchange_retry(x))
      give_up(x, upstream_trouble(u));
  }
  return true;
}

bool exchange_move(struct exchange *x)
{
  if (x->upstream == NULL || x->switched)
    return false;
  gate_socket_flush(&x->upstream->socket); /* the last of a request, too */
  if (!x->side->has_room(x))
    return false;
  size_t size = gate_socket_read(&x->upstream->socket, x->gate->scratch, GATE_READ);
  if (size == 0)
    return ended(x);
  upstream_answered(x->upstream);
  feed(x, x->gate->scratch, size);
  return true;
}
