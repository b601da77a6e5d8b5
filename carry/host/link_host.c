/* Tunnels and the link do not know each other: this is the one file that knows both. The key that proves which process
 * this is goes from the link into a stream's header here, and the tunnels never have it.
 */
#include "link_host.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "carry/link/link.h"
#include "mindmeld.pb-c.h"
#include "proto/pump/pump.h"
#include "proto/raw/raw_line.h"
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

static const struct link_host *of_grpc(const struct carry_host *host)
{
  return (const struct link_host *)((const char *)host - offsetof(struct link_host, grpc));
}

static const struct link_host *of_raw(const struct carry_host *host)
{
  return (const struct link_host *)((const char *)host - offsetof(struct link_host, raw));
}

/* ---- The way. ---- */

static struct carry_way way_of(const struct link_host *h)
{
  const struct link *l = h->link;

  return (struct carry_way){.up = link_connected(l) && h->next != LINK_HOST_UP,
                            .original = link_original(l),
                            .refused = link_refused(l),
                            .stream_age_ms = link_stream_age(l),
                            .trouble = link_trouble(l)};
}

static struct carry_way way(const struct carry_host *host)
{
  return way_of(of(host));
}

static struct carry_way grpc_way(const struct carry_host *host)
{
  return way_of(of_grpc(host));
}

static struct carry_way raw_way(const struct carry_host *host)
{
  const struct link_host *h = of_raw(host);
  struct carry_way way = way_of(h);

  way.up = way.up && h->line != NULL && raw_line_state(h->line) == RAW_UP;
  return way;
}

static bool is_slow(const struct carry_host *host)
{
  return link_is_slow(of(host)->link);
}

/* ---- Streams. ---- */

/* Takes `stream`, also when it fails. */
static int open_one(const struct link_host *h, struct stream *stream, struct pump_stream **out,
                    const struct header *header, bool original, const struct pump_stream_events *events, void *arg)
{
  const struct link *l = h->link;
  struct header whole = *header;
  const struct pump_stream_options options = {.original_router = original, .header = &whole};

  whole.has_member = whole.has_member_key = true;
  memcpy(whole.member, link_member(l), sizeof whole.member);
  memcpy(whole.member_key, link_member_key(l), sizeof whole.member_key);
  int err = pump_stream_open(out, h->pumps, stream, &options, events, arg);
  explicit_bzero(&whole, sizeof whole);
  return err;
}

static int open_by_grpc(const struct link_host *h, struct pump_stream **out, const struct header *header, bool original,
                        const struct pump_stream_events *events, void *arg)
{
  struct stream *stream;
  int err = rpc_stream_create(&stream, link_channel(h->link), original);

  return err == 0 ? open_one(h, stream, out, header, original, events, arg) : err;
}

static int open_by_raw(const struct link_host *h, struct pump_stream **out, const struct header *header,
                       const struct pump_stream_events *events, void *arg)
{
  struct stream *stream = raw_stream_create(h->line, header);

  return stream != NULL ? open_one(h, stream, out, header, false, events, arg) : -ENOMEM;
}

/* What a token is for was dialled by gRPC. */
static int open_stream(const struct carry_host *host, struct pump_stream **out, const struct header *header,
                       bool original, const struct pump_stream_events *events, void *arg)
{
  const struct link_host *h = of(host);

  if (!original && header->token[0] == '\0' && h->line != NULL && raw_line_takes(h->line, header))
    return open_by_raw(h, out, header, events, arg);
  return open_by_grpc(h, out, header, original, events, arg);
}

static int open_grpc_stream(const struct carry_host *host, struct pump_stream **out, const struct header *header,
                            bool original, const struct pump_stream_events *events, void *arg)
{
  return open_by_grpc(of_grpc(host), out, header, original, events, arg);
}

static int open_raw_stream(const struct carry_host *host, struct pump_stream **out, const struct header *header,
                           bool original, const struct pump_stream_events *events, void *arg)
{
  (void)original;
  return raw_way(host).up ? open_by_raw(of_raw(host), out, header, events, arg) : -ENOTCONN;
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

/* ---- The line of raw streams. ---- */

static void line_changed(struct raw_line *line, void *arg)
{
  struct link_host *h = arg;
  enum link_host_news news = h->next;

  (void)line;
  h->next = LINK_HOST_KINDS;
  h->told(news, h->arg);
}

static void close_line(struct link_host *h, enum raw_line_end end)
{
  if (h->line != NULL)
    raw_line_close(h->line, end);
  h->line = NULL;
  h->next = LINK_HOST_KINDS;
}

static void open_line(struct link_host *h, const struct link_streams *streams)
{
  struct raw_line_options options = {.address = streams->address, .changed = line_changed, .arg = h};

  memcpy(options.watch, streams->watch, sizeof options.watch);
  memcpy(options.secret, streams->secret, sizeof options.secret);
  if (raw_line_open(&h->line, h->raws, &options) != 0)
    h->line = NULL;
  explicit_bzero(&options, sizeof options);
}

bool link_host_follow(struct link_host *h)
{
  bool connected = link_connected(h->link), renewed = connected && h->was_connected;
  const char *why;
  const struct link_streams *streams = h->raws != NULL ? link_streams(h->link, &why) : NULL;

  close_line(h, renewed ? RAW_REPLACED : link_went_silent(h->link) ? RAW_SILENT : RAW_LOST);
  if (streams != NULL)
    open_line(h, streams);
  if (h->line != NULL)
    h->next = renewed ? LINK_HOST_RENEWED : LINK_HOST_UP;
  h->was_connected = connected;
  return h->line == NULL;
}

bool link_host_is_raw(const struct link_host *h, const char **why)
{
  *why = "";
  if (!link_connected(h->link))
    return false;
  if (h->raws == NULL)
    *why = "the option raw=off";
  else if (link_streams(h->link, why) == NULL)
    return false;
  else if (h->line == NULL)
    *why = "memory is short";
  else if (raw_line_state(h->line) == RAW_ASKING)
    *why = "not known yet";
  else
    *why = raw_line_trouble(h->line);
  return h->line != NULL && raw_line_state(h->line) == RAW_UP;
}

void link_host_use_raw(struct link_host *h, struct raw_set *raws, void (*told)(enum link_host_news news, void *arg),
                       void *arg)
{
  h->raws = raws;
  h->told = told;
  h->arg = arg;
}

void link_host_close(struct link_host *h)
{
  close_line(h, RAW_REPLACED);
  h->raws = NULL;
}

void link_host_init(struct link_host *out, struct link *link, struct pump_set *pumps)
{
  const uint8_t *member = link_member(link);

  *out = (struct link_host){.host = {.member = member,
                                     .way = way,
                                     .is_slow = is_slow,
                                     .open_stream = open_stream,
                                     .ask_token = ask_token,
                                     .trace = trace,
                                     .cancel = cancel},
                            .grpc = {.member = member, .way = grpc_way, .open_stream = open_grpc_stream},
                            .raw = {.member = member, .way = raw_way, .open_stream = open_raw_stream},
                            .link = link,
                            .pumps = pumps,
                            .next = LINK_HOST_KINDS};
}
