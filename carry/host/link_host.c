/* Tunnels and the link do not know each other: this is the one file that knows both. The key that proves which process
 * this is goes from the link into a stream's header here, and the tunnels never have it.
 */
#include "link_host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "carry/link/link.h"
#include "mindmeld.pb-c.h"
#include "proto/pump/pump.h"
#include "proto/rpc/rpc.h"
#include "proto/rpc/rpc_stream.h"
#include "proto/wire/header.h"

enum { TOKEN_MS = 10000, TRACE_MS = 2000 /* dials may wait for it */ };

struct carry_question {
  struct rpc_call *call;
  union {
    carry_token_cb token;
    carry_trace_cb trace;
  } done;
  void *arg;
};

/* It is the first in it. */
static const struct link_host *of(const struct carry_host *host)
{
  return (const struct link_host *)host;
}

static struct carry_way way(const struct carry_host *host)
{
  const struct link *l = of(host)->link;

  return (struct carry_way){.up = link_connected(l),
                            .original = link_original(l),
                            .refused = link_refused(l),
                            .stream_age_ms = link_stream_age(l),
                            .trouble = link_trouble(l)};
}

static bool is_slow(const struct carry_host *host)
{
  return link_is_slow(of(host)->link);
}

static int open_stream(const struct carry_host *host, struct pump_stream **out, const struct header *header,
                       bool original, const struct pump_stream_events *events, void *arg)
{
  struct link *l = of(host)->link;
  struct header whole = *header;
  const struct pump_stream_options options = {.original_router = original, .header = &whole};
  struct stream *stream;

  int err = rpc_stream_create(&stream, link_channel(l), original);
  if (err != 0)
    return err;
  whole.has_member = whole.has_member_key = true;
  memcpy(whole.member, link_member(l), sizeof whole.member);
  memcpy(whole.member_key, link_member_key(l), sizeof whole.member_key);
  err = pump_stream_open(out, of(host)->pumps, stream, &options, events, arg);
  explicit_bzero(&whole, sizeof whole);
  return err;
}

/* ---- Questions. ---- */

/* Takes `q`, which may be NULL, also when it fails. */
static int ask(const struct carry_host *host, struct carry_question **out, struct carry_question *q,
               const struct rpc_call_options *options, const ProtobufCMessage *request,
               void (*done)(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg))
{
  int err = q != NULL ? rpc_unary(&q->call, link_channel(of(host)->link), options, rpc_message_pack(request), done, q)
                      : -ENOMEM;

  if (err != 0) {
    free(q);
    return err;
  }
  *out = q;
  return 0;
}

static struct carry_question *question(void *arg)
{
  struct carry_question *q = calloc(1, sizeof *q);

  if (q != NULL)
    q->arg = arg;
  return q;
}

static void token_came(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct carry_question *q = arg;
  Mindmeld__ForwardToServiceResponse *response = NULL;

  if (status == RPC_OK)
    response = (void *)rpc_message_unpack(answer, &mindmeld__forward_to_service_response__descriptor);
  rpc_message_free(answer);
  bool good = response != NULL && strlen(response->token) <= HEADER_TOKEN_MAX;
  q->done.token(status, text, good ? response->token : NULL, q->arg);
  if (response != NULL)
    mindmeld__forward_to_service_response__free_unpacked(response, NULL);
  free(q);
}

static int ask_token(const struct carry_host *host, struct carry_question **out, const char *service,
                     carry_token_cb done, void *arg)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/ForwardToService",
                                           .deadline_ms = TOKEN_MS};
  Mindmeld__ForwardToServiceRequest request = MINDMELD__FORWARD_TO_SERVICE_REQUEST__INIT;
  struct carry_question *q = question(arg);

  request.name = (char *)(uintptr_t)service;
  if (q != NULL)
    q->done.token = done;
  return ask(host, out, q, &options, &request.base, token_came);
}

static void trace_came(enum rpc_status status, const char *text, struct rpc_message *answer, void *arg)
{
  struct carry_question *q = arg;
  Mindmeld__TraceResponse *response = NULL;

  (void)text;
  if (status == RPC_OK)
    response = (void *)rpc_message_unpack(answer, &mindmeld__trace_response__descriptor);
  rpc_message_free(answer);
  q->done.trace(response != NULL ? response->hops : NULL, response != NULL ? response->n_hops : 0, q->arg);
  if (response != NULL)
    mindmeld__trace_response__free_unpacked(response, NULL);
  free(q);
}

static int trace(const struct carry_host *host, struct carry_question **out, const uint64_t *origins,
                 const uint64_t *dialled, size_t count, carry_trace_cb done, void *arg)
{
  const struct rpc_call_options options = {.method = "/mindmeld.ControlService/Trace", .deadline_ms = TRACE_MS};
  Mindmeld__TraceRequest request = MINDMELD__TRACE_REQUEST__INIT;
  struct carry_question *q = question(arg);

  request.n_origin = request.n_dialled = count;
  request.origin = (uint64_t *)(uintptr_t)origins;
  request.dialled = (uint64_t *)(uintptr_t)dialled;
  if (q != NULL)
    q->done.trace = done;
  return ask(host, out, q, &options, &request.base, trace_came);
}

static void cancel(struct carry_question *question)
{
  rpc_call_cancel(question->call, RPC_CANCELLED, "");
}

void link_host_init(struct link_host *out, struct link *link, struct pump_set *pumps)
{
  *out = (struct link_host){.host = {.member = link_member(link),
                                     .way = way,
                                     .is_slow = is_slow,
                                     .open_stream = open_stream,
                                     .ask_token = ask_token,
                                     .trace = trace,
                                     .cancel = cancel},
                            .link = link,
                            .pumps = pumps};
}
