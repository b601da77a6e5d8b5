/* Both families are asked for at the same time, and apart: some nameservers answer for one and are silent for the
 * other, which getaddrinfo would wait for.
 */
#include "resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "address.h"
#include "lookups.h"
#include "names.h"

struct family {
  struct name_wait wait;
  struct resolve *resolve;
  bool known;
  struct name_answer answer;
};

struct resolve {
  struct family v6, v4;
  struct address address;
  bool calling, forgotten;
  resolve_cb done;
  void *arg;
};

bool resolve_literal(const struct address *a, struct endpoints *out)
{
  static const struct in6_addr v6_loopback = IN6ADDR_LOOPBACK_INIT;
  const struct in_addr v4_loopback = {.s_addr = htonl(INADDR_LOOPBACK)};
  struct in_addr v4;
  struct in6_addr v6;

  out->count = 0;
  if (a->kind == ADDRESS_UNIX) {
    endpoints_add_unix(out, a->path);
  } else if (inet_pton(AF_INET, a->host, &v4) == 1) {
    endpoints_add_v4(out, &v4, a->port);
  } else if (inet_pton(AF_INET6, a->host, &v6) == 1) {
    endpoints_add_v6(out, &v6, 0, a->port);
  } else if (address_is_localhost(a)) {
    endpoints_add_v6(out, &v6_loopback, 0, a->port);
    endpoints_add_v4(out, &v4_loopback, a->port);
  }
  return out->count > 0;
}

/* How much a failure tells: that a name has no such address tells next to nothing. */
static int weight(const struct name_answer *answer)
{
  switch (answer->status) {
  case EAI_NODATA:
  case EAI_ADDRFAMILY:
    return 0;
  case EAI_NONAME:
    return 1;
  default:
    return answer->error == 0 ? 2 : 3;
  }
}

static int explain(const struct resolve *r, char why[RESOLVE_WHY_MAX])
{
  const struct name_answer *a = &r->v4.answer;
  const char *reason;

  if (weight(&r->v6.answer) > weight(a))
    a = &r->v6.answer;
  if (a->status == 0)
    reason = gai_strerror(EAI_NODATA);
  else
    reason = a->error != 0 ? strerror(-a->error) : gai_strerror(a->status);
  snprintf(why, RESOLVE_WHY_MAX, "%s does not resolve: %s", r->address.host, reason);
  return a->error != 0 ? a->error : -EADDRNOTAVAIL;
}

static void add_family(const struct resolve *r, const struct family *f, struct endpoints *out)
{
  for (unsigned i = 0; f->known && i < f->answer.found.count; i++) {
    struct endpoint e = f->answer.found.at[i];

    endpoint_set_port(&e, r->address.port);
    endpoints_add(out, &e);
  }
}

static void drop(struct resolve *r)
{
  names_forget(&r->v4.wait);
  names_forget(&r->v6.wait);
  free(r);
}

static void told(struct name_wait *wait, const struct name_answer *answer)
{
  struct family *f = (struct family *)wait;
  struct resolve *r = f->resolve;
  char why[RESOLVE_WHY_MAX] = "";
  struct endpoints found = {.count = 0};

  f->known = true;
  f->answer = *answer;
  bool complete = r->v4.known && r->v6.known;

  add_family(r, &r->v6, &found);
  add_family(r, &r->v4, &found);
  if (!complete && found.count == 0)
    return;
  r->calling = true;
  r->done(found.count > 0 ? 0 : explain(r, why), why, &found, complete, r->arg);
  r->calling = false;
  if (complete || r->forgotten)
    drop(r);
}

int resolve_start(struct resolve **out, struct lookups *lookups, const struct address *a, resolve_cb done, void *arg)
{
  struct resolve *r = calloc(1, sizeof(*r));
  int rc;

  if (r == NULL)
    return -ENOMEM;
  r->address = *a;
  r->done = done;
  r->arg = arg;
  r->v4.resolve = r->v6.resolve = r;
  r->v4.wait.told = r->v6.wait.told = told;
  rc = names_ask(lookups->names, &r->v6.wait, a->host, AF_INET6);
  if (rc == 0)
    rc = names_ask(lookups->names, &r->v4.wait, a->host, AF_INET);
  if (rc != 0) {
    drop(r);
    return rc;
  }
  *out = r;
  return 0;
}

void resolve_forget(struct resolve *r)
{
  if (r->calling)
    r->forgotten = true;
  else
    drop(r);
}
