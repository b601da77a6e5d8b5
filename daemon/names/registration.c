/* A router of ours says by its initial metadata that the name is registered. One of the first version says nothing: it
 * is asked for its list until the name is there, twice, so that a refusal of the registration itself comes first.
 *
 * The stream stays open as long as the name is wanted, because the router asks for connections over it. The memory is
 * freed when both the stream and the question for the list have called back for the last time.
 */
#include "registration.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "carry/link/link.h"
#include "mindmeld.pb-c.h"
#include "proto/host/plain.h"
#include "proto/rpc/rpc.h"
#include "services_internal.h"

enum { SEEN_ENOUGH = 2 };

struct registration {
  const struct registration_events *events;
  struct services *owner;
  struct service *service; /* NULL: not wanted any more */
  struct link *link;
  struct rpc_call *call;
  struct link_query *query;
  struct public_name asked[PUBLIC_GRANTED_MAX];
  size_t asked_count;
  unsigned seen; /* how often the name was on the list */
};

static void unref(struct registration *r)
{
  void (*gone)(struct services *) = r->events->gone;
  struct services *owner = r->owner;

  if (r->call != NULL || r->query != NULL)
    return;
  free(r);
  gone(owner);
}

/* ---- The list. ---- */

static void list_answer(enum rpc_status status, const char *text, bool found, void *arg)
{
  struct registration *r = arg;

  (void)text;
  r->query = NULL;
  if (r->service != NULL) {
    r->seen = status == RPC_OK && found ? r->seen + 1 : 0;
    if (r->seen >= SEEN_ENOUGH)
      r->events->registered(r->service, r);
    else
      r->events->unlisted(r->service);
  }
  unref(r);
}

int registration_look(struct registration *r)
{
  if (r->query != NULL)
    return 0;
  return link_ask(&r->query, r->link, service_name(r->service), SERVICE_VERDICT_MS, list_answer, r);
}

/* ---- The stream. ---- */

static void call_headers(struct rpc_call *c, void *arg)
{
  struct registration *r = arg;
  char version[16];

  /* A refusal has headers, too, but does not say this. */
  if (r->service == NULL || rpc_call_metadata(c, "mindmeld-version", version, sizeof version) <= 0)
    return;
  r->events->registered(r->service, r);
  if (r->service != NULL && r->asked_count > 0 && rpc_call_metadata(c, "mindmeld-public", version, sizeof version) < 0)
    r->events->publics(r->service, r->asked, NULL, 0);
}

static void take_answers(struct registration *r, const Mindmeld__CreateServiceResponse *response)
{
  struct public_answer answers[PUBLIC_GRANTED_MAX];

  if (response->n_public_answers == 0 || response->n_public_answers != r->asked_count)
    return;
  for (size_t i = 0; i < r->asked_count; i++) {
    const Mindmeld__PublicAnswer *given = response->public_answers[i];
    int error = -rpc_status_errno((enum rpc_status)given->status);

    answers[i] = (struct public_answer){.host = given->host, .url = given->url, .error = error, .why = given->reason};
    plain_ascii(given->host);
    plain_ascii(given->url);
    plain_ascii(given->reason);
  }
  r->events->publics(r->service, r->asked, answers, r->asked_count);
}

static void call_message(struct rpc_call *c, struct rpc_message *m, void *arg)
{
  struct registration *r = arg;
  Mindmeld__CreateServiceResponse *response = NULL;

  if (m == NULL)
    return;
  if (r->service != NULL)
    response = (Mindmeld__CreateServiceResponse *)rpc_message_unpack(m, &mindmeld__create_service_response__descriptor);
  rpc_message_free(m);
  if (r->service == NULL)
    return;
  r->events->registered(r->service, r);
  if (response != NULL) {
    if (r->service != NULL)
      take_answers(r, response);
    if (r->service != NULL && response->token[0] != '\0')
      r->events->token(r->service, response->token);
    mindmeld__create_service_response__free_unpacked(response, NULL);
  }
  if (r->service != NULL)
    rpc_call_receive(c);
}

static void call_closed(struct rpc_call *c, enum rpc_status status, const char *text, void *arg)
{
  struct registration *r = arg;
  struct service *s = r->service;

  (void)c;
  r->call = NULL;
  r->service = NULL;
  if (r->query != NULL)
    link_ask_cancel(r->query);
  if (s != NULL)
    r->events->ended(s, r, status, text);
  unref(r);
}

static struct rpc_message *request_for(struct registration *r)
{
  Mindmeld__CreateServiceRequest request = MINDMELD__CREATE_SERVICE_REQUEST__INIT;
  Mindmeld__PublicName names[PUBLIC_GRANTED_MAX], *pointers[PUBLIC_GRANTED_MAX];
  uint8_t member[LINK_MEMBER_SIZE], key[LINK_MEMBER_KEY_SIZE];
  struct rpc_message *m;
  int error = 0;

  request.name = (char *)(uintptr_t)service_name(r->service);
  if (!link_original(r->link)) {
    memcpy(member, link_member(r->link), sizeof member);
    memcpy(key, link_member_key(r->link), sizeof key);
    request.member = (ProtobufCBinaryData){.len = sizeof member, .data = member};
    request.member_key = (ProtobufCBinaryData){.len = sizeof key, .data = key};
  }
  for (size_t i = 0; i < r->asked_count; i++) {
    mindmeld__public_name__init(&names[i]);
    names[i].host = r->asked[i].host;
    names[i].path = r->asked[i].path;
    names[i].tls = r->asked[i].tls;
    names[i].per_client = service_proxy(r->service) != PROXY_OFF;
    pointers[i] = &names[i];
  }
  if (r->asked_count > 0)
    error = rules_pack(&r->service->rules, &request.rules.data, &request.rules.len);
  if (request.rules.len > 0) {
    request.n_ruled_names = r->asked_count;
    request.ruled_names = pointers;
  } else {
    request.n_public_names = r->asked_count;
    request.public_names = pointers;
  }
  m = error == 0 ? rpc_message_pack(&request.base) : NULL;
  free(request.rules.data);
  explicit_bzero(key, sizeof key);
  return m;
}

static int start_call(struct registration *r)
{
  static const struct rpc_call_events events = {
      .headers = call_headers, .message = call_message, .closed = call_closed};
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/CreateService"};
  struct rpc_message *request = request_for(r);
  int err;

  if (request == NULL)
    return -ENOMEM;
  err = rpc_call_start(&r->call, link_channel(r->link), &options, &events, r);
  if (err != 0) {
    rpc_message_free(request);
    return err;
  }
  err = rpc_call_send(r->call, request);
  if (err == 0)
    err = rpc_call_end(r->call);
  if (err == 0)
    err = rpc_call_receive(r->call);
  /* Once it is started, `closed` tells what became of it. */
  if (err != 0 && err != -EPIPE)
    rpc_call_cancel(r->call, RPC_INTERNAL, strerror(-err));
  return 0;
}

static void ask_publics(struct registration *r)
{
  const struct publics *p = &r->service->publics;
  const struct public_item *item = NULL;

  while (r->asked_count < PUBLIC_GRANTED_MAX && (item = publics_next(p, item)) != NULL)
    r->asked[r->asked_count++] = *publics_name(item);
}

int registration_start(struct registration **out, struct services *ss, struct service *s, struct link *link,
                       const struct registration_events *events)
{
  struct registration *r = calloc(1, sizeof *r);
  int err;

  if (r == NULL)
    return -ENOMEM;
  r->events = events;
  r->owner = ss;
  r->service = s;
  r->link = link;
  ask_publics(r);
  err = start_call(r);
  if (err != 0) {
    free(r);
    return err;
  }
  s->rules_changed = false;
  *out = r;
  return 0;
}

void registration_drop(struct registration *r)
{
  r->service = NULL;
  rpc_call_cancel(r->call, RPC_CANCELLED, "withdrawn");
  if (r->query != NULL)
    link_ask_cancel(r->query);
}
