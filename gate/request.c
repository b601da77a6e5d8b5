/* Requests of a client of HTTP/1, one after the other. */
#include "gate/paths/page.h"
#include "gate_internal.h"

static void begin(struct client *c)
{
  const struct http1_framing *f = &c->parser.framing;

  c->state = CLIENT_EXCHANGE;
  c->asked = true;
  c->close_after = !f->persistent || c->gate->draining || (f->upgrade && f->body != HTTP1_NO_BODY);
  exchange_begin(&c->exchange);
}

static void handle(struct client *c, enum http1_event event)
{
  if (event == HTTP1_HEAD)
    begin(c);
  else if (event == HTTP1_REFUSED && c->exchange.answer_begun)
    client_cut(c);
  else if (event == HTTP1_REFUSED)
    client_answer(c, &(struct page){.status = c->parser.refusal.status});
  else if (event == HTTP1_BODY)
    exchange_put(&c->exchange, c->parser.piece);
  else if (event == HTTP1_END)
    exchange_finish(&c->exchange, &c->parser.head, c->parser.trailers);
}

static bool wants_more(const struct client *c)
{
  if (c->state == CLIENT_HEAD)
    return http1_out_waiting(&c->socket.out) == 0;
  if (c->state != CLIENT_EXCHANGE || c->exchange.request_over)
    return false;
  return !c->exchange.waits || c->parser.framing.body == HTTP1_NO_BODY;
}

/* All that was given, unless the request is over before. */
static size_t feed(struct client *c, const char *bytes, size_t size)
{
  enum http1_event event;
  size_t eaten = 0;

  do {
    eaten += http1_parser_feed(&c->parser, bytes + eaten, size - eaten, &event);
    handle(c, event);
  } while (wants_more(c) && event != HTTP1_MORE);
  return eaten;
}

/* Whoever leaves between requests is gone. In the middle of one, nothing is left to be answered but a broken head. */
static bool input_ended(struct client *c)
{
  if (!c->socket.ended && c->socket.read_error == 0)
    return false;
  if (c->state == CLIENT_HEAD && c->socket.ended && !http1_parser_is_idle(&c->parser))
    client_answer(c, &(struct page){.status = 400});
  else if (c->state == CLIENT_HEAD)
    c->state = CLIENT_GONE;
  else
    client_cut(c);
  return true;
}

bool request_move(struct client *c)
{
  if (c->state == CLIENT_HEAD ? !gate_socket_flush(&c->socket) : !exchange_has_room(&c->exchange))
    return false;
  size_t waiting = http1_out_waiting(&c->kept);
  if (waiting > 0 && !c->unknown) {
    http1_out_drop(&c->kept, feed(c, c->kept.bytes + c->kept.at, waiting));
  } else {
    size_t size = gate_socket_read(&c->socket, c->gate->scratch, GATE_READ);
    if (size == 0)
      return input_ended(c);
    size_t eaten = client_is_known(c, c->gate->scratch, size) ? feed(c, c->gate->scratch, size) : 0;
    http1_out_put(&c->kept, c->gate->scratch + eaten, size - eaten);
    if (c->kept.failed)
      client_cut(c);
  }
  return true;
}
