/* Requests that the gate answers itself, before it looks for a service: the challenges of ACME, and those that come
 * without TLS to a host that is there with TLS.
 *
 * A challenge of which the webroot knows nothing may be one for the service.
 */
#include <stdio.h>
#include <string.h>

#include "gate/paths/page.h"
#include "gate/tls/certs.h"
#include "gate/tls/challenge.h"
#include "gate/tls/hello.h"
#include "gate/tls/tls.h"
#include "gate_internal.h"

static bool answer_challenge(struct exchange *x)
{
  const char *webroot = x->gate->options->webroot;
  struct http1_text path = x->target.path;
  char token[CHALLENGE_TOKEN_MAX + 1], contents[CHALLENGE_SIZE_MAX];
  size_t size;

  if (webroot == NULL || !challenge_is(path.at, path.size, token) || !(exchange_method_is(x, "GET") || x->to_head) ||
      challenge_read(webroot, token, contents, &size) != 0)
    return false;
  x->side->refuse(x, &(struct page){.status = 200, .type = "text/plain", .body = {contents, size}});
  return true;
}

/* Ours, or that of a service with TLS of its own. */
static bool has_certificate(struct gate *g, struct http1_text host)
{
  char lower[HELLO_NAME_SIZE];

  if (sites_have(g->passing, host))
    return true;
  if (host.size == 0 || host.size >= sizeof lower)
    return false;
  for (size_t i = 0; i < host.size; i++)
    lower[i] = (char)(host.at[i] >= 'A' && host.at[i] <= 'Z' ? host.at[i] | 0x20 : host.at[i]);
  lower[host.size] = '\0';
  return certs_find(tls_context_certs(g->tls), lower) != NULL;
}

static bool redirect(struct exchange *x)
{
  struct gate *g = x->gate;
  struct http1_out location = {0};
  struct http1_text path = x->target.path;
  char port[8] = "";

  if (x->https || g->tls == NULL || g->ports.https_port == 0 || (path.size == 1 && path.at[0] == '*') ||
      !has_certificate(g, x->target.host))
    return false;
  if (g->ports.https_port != 443)
    snprintf(port, sizeof port, ":%u", g->ports.https_port);
  http1_out_puts(&location, "https://");
  http1_out_text(&location, x->target.host);
  http1_out_puts(&location, port);
  http1_out_puts(&location, path.size == 0 || path.at[0] != '/' ? "/" : "");
  http1_out_text(&location, path);
  struct page page = {.status = 308, .field = "Location", .value = {location.bytes, location.size}};
  if (location.failed)
    page = (struct page){.status = 500};
  x->side->refuse(x, &page);
  http1_out_free(&location);
  return true;
}

bool own_answer(struct exchange *x)
{
  return answer_challenge(x) || redirect(x);
}
