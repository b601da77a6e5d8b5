/* From the client to the target. A request is written anew: what came is only read. */
#include "exchange.h"

#include <string.h>
#include <uv.h>

#include "gate/balance/choose.h"
#include "gate/paths/page.h"
#include "gate/paths/rewrite.h"
#include "gate_internal.h"
#include "guard.h"

bool exchange_method_is(const struct exchange *x, const char *name)
{
  struct http1_text method = http1_head_text(x->request, x->request->method);
  return method.size == strlen(name) && memcmp(method.at, name, method.size) == 0;
}

void exchange_write_head(struct exchange *x)
{
  struct http1_out *out = &x->upstream->socket.out;
  size_t before = http1_out_waiting(out);
  x->upstream->parser.to_head = x->to_head;
  const struct forwarded_by by = {
      .client = x->client, .peer = x->peer, .https = x->https, .trusted = trust_has(x->gate->options->trust, x->peer)};
  rewrite_request(out, x->request, x->framing, &x->target, guard_fields(x->gate, x->upstream->backend->service), &by);
  upstream_given(x->upstream, before);
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
    exchange_refuse(x, x->tls ? 421 : 404);
    return;
  }
  exchange_refuse(x, sites_know(x->gate->sites, x->target.host, uv_now(x->gate->loop)) ? 503 : 404);
}

static size_t find_services(const struct exchange *x, const char *services[CHOOSE_MAX])
{
  return sites_find(x->gate->sites, x->target.host, x->target.path, services, CHOOSE_MAX);
}

bool exchange_connect(struct exchange *x, bool fresh)
{
  const char *services[CHOOSE_MAX];
  size_t found = find_services(x, services);
  struct backend *b = backends_choose(x->gate, services, found, x);
  x->upstream = b != NULL ? upstream_take(b, x, fresh) : NULL;
  return x->upstream != NULL;
}

void exchange_route(struct exchange *x)
{
  const char *services[CHOOSE_MAX];
  size_t found = find_services(x, services);
  if (found > 0 && !guard_admits(x, services, found))
    return;
  if (exchange_connect(x, false))
    exchange_write_head(x);
  else if (found > 0)
    exchange_refuse(x, 500);
  else if (!waits_enter(x))
    exchange_refuse_unknown(x);
}

static void know_client(struct exchange *x)
{
  const struct trust *t = x->gate->options->trust;
  bool trusted = trust_has(t, x->peer);
  x->client = trusted && trust_client(t, x->request, x->told_client) ? x->told_client : x->peer;
  x->https = trusted ? trust_https(x->request, x->tls) : x->tls;
}

void exchange_begin(struct exchange *x)
{
  struct http1_refusal refusal;

  x->request_over = x->answer_begun = x->switched = x->repeated = false;
  x->failures = 0;
  x->to_head = exchange_method_is(x, "HEAD");
  x->spoiled = x->framing->upgrade && x->framing->body != HTTP1_NO_BODY;
  http1_target_of(x->request, &x->target, &refusal);
  know_client(x);
  if (!own_answer(x))
    exchange_route(x);
}

bool exchange_has_room(struct exchange *x)
{
  return x->upstream != NULL && !x->request_over && upstream_has_room(x->upstream);
}

void exchange_put(struct exchange *x, struct http1_text piece)
{
  struct http1_out *out = &x->upstream->socket.out;
  size_t before = http1_out_waiting(out);
  rewrite_piece(out, piece, x->framing->body == HTTP1_CHUNKED);
  upstream_given(x->upstream, before);
}

void exchange_finish(struct exchange *x, struct http1_head *h, unsigned from)
{
  if (x->framing->body == HTTP1_CHUNKED) {
    struct http1_out *out = &x->upstream->socket.out;
    size_t before = http1_out_waiting(out);
    rewrite_trailers(out, h, from);
    upstream_given(x->upstream, before);
  }
  x->request_over = true;
}

void exchange_drop(struct exchange *x)
{
  waits_leave(x);
  if (x->upstream != NULL)
    upstream_close(x->upstream, true);
  x->upstream = NULL;
}
