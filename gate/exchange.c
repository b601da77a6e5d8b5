/* From the client to the target. A request is written anew: what came is only read. */
#include "exchange.h"

#include <string.h>
#include <uv.h>

#include "gate/paths/page.h"
#include "gate/paths/rewrite.h"
#include "gate_internal.h"

enum { SERVICES_MAX = 16 };

bool exchange_method_is(const struct exchange *x, const char *name)
{
  struct http1_text method = http1_head_text(x->request, x->request->method);
  return method.size == strlen(name) && memcmp(method.at, name, method.size) == 0;
}

static void write_head(struct exchange *x)
{
  x->upstream->parser.to_head = x->to_head;
  rewrite_request(&x->upstream->socket.out, x->request, x->framing, &x->target, x->client, x->https);
}

void exchange_refuse(struct exchange *x, unsigned status)
{
  x->side->refuse(x, &(struct page){.status = status});
}

/* A client of HTTP/2 asks for all hosts that a certificate of ours has on one connection, those included that we do not
 * read: it is told to make another one. */
void exchange_refuse_unknown(struct exchange *x)
{
  if (sites_have(x->gate->passing, x->target.host)) {
    exchange_refuse(x, x->https ? 421 : 404);
    return;
  }
  exchange_refuse(x, sites_know(x->gate->sites, x->target.host, uv_now(x->gate->loop)) ? 503 : 404);
}

void exchange_route(struct exchange *x)
{
  const char *services[SERVICES_MAX];
  size_t found = sites_find(x->gate->sites, x->target.host, x->target.path, services, SERVICES_MAX);
  if (found == 0) {
    if (!waits_enter(x))
      exchange_refuse_unknown(x);
    return;
  }
  x->upstream = upstream_take(x->gate, services[0], x, false);
  if (x->upstream == NULL)
    exchange_refuse(x, 500);
  else
    write_head(x);
}

void exchange_begin(struct exchange *x)
{
  struct http1_refusal refusal;

  x->request_over = x->answer_begun = x->switched = false;
  x->to_head = exchange_method_is(x, "HEAD");
  x->spoiled = x->framing->upgrade && x->framing->body != HTTP1_NO_BODY;
  http1_target_of(x->request, &x->target, &refusal);
  if (!own_answer(x))
    exchange_route(x);
}

/* Nothing of an answer came, and nothing of the request is gone that we do not have any more. Who closed an idle
 * connection has not read what came later; but a request that must not be made twice is not. */
bool exchange_retry(struct exchange *x)
{
  static const char *const safe[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"};
  struct upstream *old = x->upstream;
  bool is_safe = false;

  for (size_t i = 0; i < sizeof safe / sizeof *safe; i++)
    is_safe |= exchange_method_is(x, safe[i]);
  if (!old->reused || !is_safe || x->answer_begun || !http1_parser_is_idle(&old->parser) ||
      x->framing->body != HTTP1_NO_BODY)
    return false;
  x->upstream = upstream_take(x->gate, old->backend->service, x, true);
  upstream_close(old, true);
  if (x->upstream == NULL)
    exchange_refuse(x, 500);
  else
    write_head(x);
  return true;
}

bool exchange_has_room(struct exchange *x)
{
  return x->upstream != NULL && !x->request_over && gate_socket_flush(&x->upstream->socket);
}

void exchange_put(struct exchange *x, struct http1_text piece)
{
  rewrite_piece(&x->upstream->socket.out, piece, x->framing->body == HTTP1_CHUNKED);
}

void exchange_finish(struct exchange *x, struct http1_head *h, unsigned from)
{
  if (x->framing->body == HTTP1_CHUNKED)
    rewrite_trailers(&x->upstream->socket.out, h, from);
  x->request_over = true;
}

void exchange_drop(struct exchange *x)
{
  waits_leave(x);
  if (x->upstream != NULL)
    upstream_close(x->upstream, true);
  x->upstream = NULL;
}
