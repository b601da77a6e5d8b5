/* From the client to the target. A request is written anew: what came is only read. */
#include <string.h>
#include <uv.h>

#include "gate/paths/rewrite.h"
#include "gate_internal.h"

enum { SERVICES_MAX = 16 };

static bool method_is(const struct client *c, const char *name)
{
  struct http1_text method = http1_head_text(&c->parser.head, c->parser.head.method);
  return method.size == strlen(name) && memcmp(method.at, name, method.size) == 0;
}

static void write_head(struct client *c)
{
  c->upstream->parser.to_head = c->to_head;
  rewrite_request(&c->upstream->socket.out, &c->parser, &c->target, c->peer, false);
}

static void begin(struct client *c)
{
  const char *services[SERVICES_MAX];
  struct http1_refusal refusal;
  const struct http1_framing *f = &c->parser.framing;

  c->state = CLIENT_EXCHANGE;
  c->request_over = c->answer_begun = false;
  c->to_head = method_is(c, "HEAD");
  c->close_after = !f->persistent || c->gate->draining || (f->upgrade && f->body != HTTP1_NO_BODY);
  c->spoiled = f->upgrade && f->body != HTTP1_NO_BODY;
  http1_target_of(&c->parser.head, &c->target, &refusal);
  size_t found = sites_find(c->gate->sites, c->target.host, c->target.path, services, SERVICES_MAX);
  if (found == 0) {
    client_answer(c, sites_know(c->gate->sites, c->target.host, uv_now(c->gate->loop)) ? 503 : 404);
    return;
  }
  c->upstream = upstream_take(c->gate, services[0], c, false);
  if (c->upstream == NULL) {
    client_answer(c, 500);
    return;
  }
  write_head(c);
}

/* Nothing of an answer came, and nothing of the request is gone that we do not have any more. Who closed an idle
 * connection has not read what came later; but a request that must not be made twice is not. */
bool request_retry(struct client *c)
{
  static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"};
  struct upstream *old = c->upstream;
  bool is_safe = false;

  for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
    is_safe |= method_is(c, safe[i]);
  if (!old->reused || !is_safe || c->answer_begun || !http1_parser_is_idle(&old->parser) ||
      c->parser.framing.body != HTTP1_NO_BODY)
    return false;
  c->upstream = upstream_take(c->gate, old->backend->service, c, true);
  upstream_close(old, true);
  if (c->upstream == NULL) {
    client_answer(c, 500);
    return true;
  }
  write_head(c);
  return true;
}

static void pass_on(struct client *c, enum http1_event event)
{
  rewrite_body(&c->upstream->socket.out, &c->parser, event, c->parser.framing.body == HTTP1_CHUNKED);
  c->request_over = event == HTTP1_END;
}

static void handle(struct client *c, enum http1_event event)
{
  if (event == HTTP1_HEAD)
    begin(c);
  else if (event == HTTP1_REFUSED && c->answer_begun)
    client_cut(c);
  else if (event == HTTP1_REFUSED)
    client_answer(c, c->parser.refusal.status);
  else if (event != HTTP1_MORE)
    pass_on(c, event);
}

static bool wants_more(const struct client *c)
{
  if (c->state == CLIENT_HEAD)
    return http1_out_waiting(&c->socket.out) == 0;
  return c->state == CLIENT_EXCHANGE && !c->request_over;
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
    client_answer(c, 400);
  else if (c->state == CLIENT_HEAD)
    c->state = CLIENT_GONE;
  else
    client_cut(c);
  return true;
}

bool request_move(struct client *c)
{
  struct upstream *u = c->upstream;
  if (c->state == CLIENT_HEAD && !gate_socket_flush(&c->socket))
    return false;
  if (!wants_more(c) || (c->state == CLIENT_EXCHANGE && (u == NULL || !gate_socket_flush(&u->socket))))
    return false;
  size_t waiting = http1_out_waiting(&c->kept);
  if (waiting > 0) {
    http1_out_drop(&c->kept, feed(c, c->kept.bytes + c->kept.at, waiting));
  } else {
    size_t size = gate_socket_read(&c->socket, c->gate->scratch, GATE_READ);
    if (size == 0)
      return input_ended(c);
    size_t eaten = feed(c, c->gate->scratch, size);
    http1_out_put(&c->kept, c->gate->scratch + eaten, size - eaten);
    if (c->kept.failed)
      client_cut(c);
  }
  if (c->upstream != NULL)
    gate_socket_flush(&c->upstream->socket);
  return true;
}
