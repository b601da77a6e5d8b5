/* Each name is completed, asked of the grants, and held; the first of these that says no is its answer. */
#include "publics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grants.h"
#include "proto/rpc/rpc.h"
#include "proto/wire/public_label.h"
#include "proto/wire/public_name.h"

enum { AUTO_ATTEMPTS = 16, URL_SIZE = PUBLIC_TEXT_SIZE + 16 };

struct item {
  struct public_name name; /* whole, when it is granted */
  struct host *host;       /* NULL: it is refused */
  bool chosen;             /* a port that was left to us */
  enum rpc_status status;
  const char *why;
  Mindmeld__PublicName message;
};

struct publics {
  size_t count, granted_count;
  struct item *items;
  Mindmeld__PublicName **granted;
  const char *domain; /* the grants' */
};

/* ---- Claiming ---- */

static enum rpc_status refusal(int error, bool is_port, const char **why)
{
  switch (error) {
  case -EEXIST:
    *why = is_port ? "another identity has that port: choose another one, or 0"
                   : "another identity has that host: choose another one, or auto";
    return RPC_ALREADY_EXISTS;
  case -EBUSY:
    *why = "one host is either for http or for tls, and yours is for the other one: remove it there first";
    return RPC_ALREADY_EXISTS;
  case -ENOSPC:
    *why = "your identity has as many hosts and ports as it may: remove one first";
    return RPC_RESOURCE_EXHAUSTED;
  default:
    *why = "the router is short of memory: try again";
    return RPC_RESOURCE_EXHAUSTED;
  }
}

/* A label becomes a host. False: there is no domain, or the host is too long. */
static bool complete(struct public_name *n, const char *label, const char *domain)
{
  char host[PUBLIC_HOST_SIZE];
  if (domain == NULL)
    return false;
  int size = snprintf(host, sizeof host, "%s.%s", label, domain);
  if (size < 0 || (size_t)size >= sizeof host)
    return false;
  memcpy(n->host, host, (size_t)size + 1);
  return true;
}

static void claim_whole(const struct publics_claim *c, struct item *i)
{
  if (public_name_kind(&i->name) == PUBLIC_PORT)
    i->status = grants_port(c->grants, c->as->identity, public_name_port(&i->name), &i->why);
  else
    i->status = grants_host(c->grants, c->as->identity, i->name.host, &i->why);
  if (i->status != RPC_OK)
    return;
  struct host *h;
  int error = hosts_hold(c->hosts, i->name.host, i->name.tls, c->as, &h);
  if (error == 0)
    i->host = h;
  else
    i->status = refusal(error, public_name_kind(&i->name) == PUBLIC_PORT, &i->why);
}

/* The first label that is nobody else's. */
static void claim_auto(const struct publics_claim *c, struct item *i)
{
  char label[PUBLIC_LABEL_SIZE];
  for (uint32_t attempt = 0; attempt < AUTO_ATTEMPTS; attempt++) {
    public_label_make(c->as->identity, c->service, i->name.tls, attempt, label);
    if (!complete(&i->name, label, c->grants->domain))
      return;
    claim_whole(c, i);
    if (i->status != RPC_ALREADY_EXISTS)
      return;
  }
}

/* What was chosen for the same service before, or 0. */
static uint16_t port_before(const struct publics *former)
{
  for (size_t k = 0; former != NULL && k < former->count; k++) {
    if (former->items[k].chosen && former->items[k].host != NULL)
      return public_name_port(&former->items[k].name);
  }
  return 0;
}

/* FNV-1a: where to begin, so that a service finds its port again. */
static uint32_t port_hash(const uint8_t identity[IDENTITY_SIZE], const char *service)
{
  uint32_t hash = 0x811c9dc5u;
  for (size_t k = 0; k < IDENTITY_SIZE; k++)
    hash = (hash ^ identity[k]) * 0x01000193u;
  for (; *service != '\0'; service++)
    hash = (hash ^ (uint8_t)*service) * 0x01000193u;
  return hash;
}

/* The one that it had, or the first that nobody has: also no other service of the same identity. */
static void claim_free_port(const struct publics_claim *c, struct item *i)
{
  const struct grants *g = c->grants;
  uint32_t count = (uint32_t)(g->last_port - g->first_port) + 1, begin = port_hash(c->as->identity, c->service);
  uint16_t before = port_before(c->former);
  i->chosen = true;
  public_name_set_port(&i->name, before != 0 ? before : g->first_port);
  i->status = grants_port(g, c->as->identity, public_name_port(&i->name), &i->why);
  if (i->status != RPC_OK)
    return;
  if (before != 0) {
    claim_whole(c, i);
    return;
  }
  for (uint32_t k = 0; k < count; k++) {
    public_name_set_port(&i->name, (uint16_t)(g->first_port + (begin + k) % count));
    if (hosts_is_held(c->hosts, i->name.host))
      continue;
    claim_whole(c, i);
    if (i->status != RPC_ALREADY_EXISTS)
      return;
  }
  i->status = RPC_RESOURCE_EXHAUSTED;
  i->why = "all public ports of this router are taken";
}

static void claim_port(const struct publics_claim *c, struct item *i)
{
  if (public_name_port(&i->name) == 0)
    claim_free_port(c, i);
  else
    claim_whole(c, i);
}

static void claim_one(const struct publics_claim *c, const Mindmeld__PublicName *asked, struct item *i)
{
  char text[PUBLIC_TEXT_SIZE];
  int size = snprintf(text, sizeof text, "%s%s%s", asked->host,
                      asked->path[0] == '\0' || asked->path[0] == '/' ? "" : "/", asked->path);
  i->status = RPC_INVALID_ARGUMENT;
  i->why = "the name is too long";
  if (size < 0 || (size_t)size >= sizeof text || public_name_told(text, asked->tls, &i->name, &i->why) != 0)
    return;
  i->name.per_client = asked->per_client;
  i->status = RPC_PERMISSION_DENIED;
  i->why = "only who has joined the router as an identity may have public names";
  if (c->as == NULL)
    return;
  if (public_name_kind(&i->name) == PUBLIC_PORT) {
    claim_port(c, i);
    return;
  }
  i->why = "this router has no domain for names of one label (mmrouter --domain): write a whole host";
  if (public_name_is_auto(&i->name))
    claim_auto(c, i);
  else if (!public_name_is_label(&i->name) || complete(&i->name, i->name.host, c->grants->domain))
    claim_whole(c, i);
}

static void message_fill(struct item *i)
{
  mindmeld__public_name__init(&i->message);
  i->message.host = i->name.host;
  i->message.path = i->name.path;
  i->message.tls = i->name.tls;
  i->message.per_client = i->name.per_client;
}

static bool granted_before(const struct publics *p, const struct item *i)
{
  for (size_t k = 0; k < p->granted_count; k++) {
    if (strcmp(p->granted[k]->host, i->name.host) == 0 && strcmp(p->granted[k]->path, i->name.path) == 0)
      return true;
  }
  return false;
}

struct publics *publics_claim(const struct publics_claim *claim, Mindmeld__PublicName *const *asked, size_t count)
{
  struct publics *p = calloc(1, sizeof *p);
  if (p == NULL)
    return NULL;
  p->items = calloc(count + 1, sizeof *p->items);
  p->granted = calloc(count + 1, sizeof(Mindmeld__PublicName *));
  if (p->items == NULL || p->granted == NULL) {
    publics_leave(p, claim->hosts, claim->as);
    return NULL;
  }
  p->count = count;
  p->domain = claim->grants->domain;
  for (size_t k = 0; k < count; k++) {
    struct item *i = &p->items[k];
    claim_one(claim, asked[k], i);
    message_fill(i);
    if (i->host != NULL && !granted_before(p, i))
      p->granted[p->granted_count++] = &i->message;
  }
  return p;
}

void publics_leave(struct publics *p, struct hosts *hosts, const struct host_claim *as)
{
  if (p == NULL)
    return;
  for (size_t k = 0; k < p->count; k++) {
    if (p->items[k].host != NULL)
      hosts_leave(hosts, p->items[k].host, as);
  }
  free(p->items);
  free(p->granted);
  free(p);
}

/* ---- Telling ---- */

Mindmeld__PublicName **publics_granted(struct publics *p, size_t *count)
{
  *count = p != NULL ? p->granted_count : 0;
  return p != NULL ? p->granted : NULL;
}

bool publics_same(const struct publics *a, const struct publics *b)
{
  size_t a_count = a != NULL ? a->granted_count : 0, b_count = b != NULL ? b->granted_count : 0;
  if (a_count != b_count)
    return false;
  for (size_t k = 0; k < a_count; k++) {
    const Mindmeld__PublicName *x = a->granted[k], *y = b->granted[k];
    if (strcmp(x->host, y->host) != 0 || strcmp(x->path, y->path) != 0 || x->tls != y->tls ||
        x->per_client != y->per_client)
      return false;
  }
  return true;
}

bool publics_any_refused(const struct publics *p)
{
  for (size_t k = 0; p != NULL && k < p->count; k++) {
    if (p->items[k].host == NULL)
      return true;
  }
  return false;
}

/* What a port is called among hosts. */
static void shown_write(const struct publics *p, const struct item *i, char out[URL_SIZE])
{
  bool is_port = public_name_kind(&i->name) == PUBLIC_PORT;
  snprintf(out, URL_SIZE, "%s%s", is_port && p->domain != NULL ? p->domain : "", i->name.host);
}

/* Empty when no gate serves it. */
static void url_write(const struct item *i, const char *shown, const struct gate_ports *gates, char out[URL_SIZE])
{
  if (public_name_kind(&i->name) == PUBLIC_PORT) {
    snprintf(out, URL_SIZE, "%s%s", gates->tcp ? "tcp://" : "", gates->tcp ? shown : "");
    return;
  }
  bool sealed = gates->https != 0;
  unsigned port = sealed ? gates->https : gates->http;
  out[0] = '\0';
  if (port == 0 || (i->name.tls && !sealed))
    return;
  if (port == (sealed ? 443 : 80))
    snprintf(out, URL_SIZE, "%s://%s%s", sealed ? "https" : "http", i->name.host, i->name.path);
  else
    snprintf(out, URL_SIZE, "%s://%s:%u%s", sealed ? "https" : "http", i->name.host, port, i->name.path);
}

/* The messages of one response, which live until it is packed. */
struct answers {
  Mindmeld__PublicAnswer *messages;
  Mindmeld__PublicAnswer **pointers;
  char (*urls)[URL_SIZE];
  char (*shown)[URL_SIZE];
};

static struct rpc_message *answers_pack(struct answers *a, const struct publics *p, const struct gate_ports *gates)
{
  for (size_t k = 0; k < p->count; k++) {
    struct item *i = &p->items[k];
    Mindmeld__PublicAnswer *m = a->pointers[k] = &a->messages[k];
    mindmeld__public_answer__init(m);
    if (i->host != NULL) {
      shown_write(p, i, a->shown[k]);
      url_write(i, a->shown[k], gates, a->urls[k]);
      m->url = a->urls[k];
      m->host = a->shown[k];
    } else {
      m->status = i->status;
      m->reason = (char *)(uintptr_t)i->why; /* packing only reads it */
    }
  }
  Mindmeld__CreateServiceResponse response = MINDMELD__CREATE_SERVICE_RESPONSE__INIT;
  response.n_public_answers = p->count;
  response.public_answers = a->pointers;
  return rpc_message_pack(&response.base);
}

struct rpc_message *publics_answer(const struct publics *p, const struct gate_ports *gates)
{
  struct answers a = {.messages = calloc(p->count + 1, sizeof *a.messages),
                      .pointers = calloc(p->count + 1, sizeof(Mindmeld__PublicAnswer *)),
                      .urls = calloc(p->count + 1, sizeof *a.urls),
                      .shown = calloc(p->count + 1, sizeof *a.shown)};
  struct rpc_message *m = NULL;
  if (a.messages != NULL && a.pointers != NULL && a.urls != NULL && a.shown != NULL)
    m = answers_pack(&a, p, gates);
  free(a.messages);
  free(a.pointers);
  free(a.urls);
  free(a.shown);
  return m;
}
