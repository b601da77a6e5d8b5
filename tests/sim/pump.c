#include "pump.h"

#include <errno.h>

#include "judge.h"
#include "memory.h"
#include "name.h"
#include "process.h"

/* ---- Headers ---- */

struct label pump_label(const struct header *h)
{
  return (struct label){.attach = h->has_attach,
                        .established = h->established,
                        .answer = !h->has_attach && h->service[0] == '\0' && h->token[0] == '\0',
                        .token = h->token[0] != '\0',
                        .member = (uint32_t)name_get(h->member),
                        .to = (uint32_t)name_get(h->attach),
                        .connection = name_get(h->connection),
                        .epoch = h->epoch,
                        .received = h->received,
                        .limit = h->limit};
}

struct header pump_header(const struct label *l)
{
  struct header h = {.has_member = true,
                     .has_connection = true,
                     .has_attach = l->attach,
                     .established = l->established,
                     .epoch = l->epoch,
                     .received = l->received,
                     .limit = l->limit};
  name_put(l->member, h.member);
  name_put(l->connection, h.connection);
  name_put(l->to, h.attach);
  if (!l->attach && !l->answer)
    memcpy(h.service, PROCESS_SERVICE, sizeof PROCESS_SERVICE);
  return h;
}

/* ---- Streams ---- */

static void on_header(struct line *l, const struct label *label)
{
  struct pump_stream *s = l->owner;
  struct header h = pump_header(label);
  if (l->flow != NULL)
    flow_greet(l->flow);
  s->events->header(s, &h, s->arg);
}

static void on_original(struct line *l)
{
  struct pump_stream *s = l->owner;
  s->events->original(s, s->arg);
}

static void on_reset(struct line *l)
{
  struct pump_stream *s = l->owner;
  s->events->reset(s, "ECONNRESET", "as simulated", s->arg);
}

static void on_refused(struct line *l)
{
  struct pump_stream *s = l->owner;
  s->events->refused(s, "as simulated", s->arg);
}

static void on_ended(struct line *l, enum stream_end end)
{
  static const enum rpc_status statuses[] = {
      [STREAM_OK] = RPC_OK, [STREAM_LOST] = RPC_UNAVAILABLE, [STREAM_FAILED] = RPC_NOT_FOUND};
  struct pump_stream *s = l->owner;
  s->events->ended(s, statuses[end], "as simulated", s->arg);
}

static const struct line_events line_events = {
    .header = on_header, .original = on_original, .reset = on_reset, .refused = on_refused, .ended = on_ended};

struct pump_stream *pump_stream_of(struct line *l)
{
  struct pump_stream *s = world_alloc(l->stream->w, sizeof *s);
  s->line = l;
  line_hand_over(l, &line_events, s);
  return s;
}

struct pump_stream *pump_stream_dial(struct process *p, const struct label *first, bool raw,
                                     const struct pump_stream_events *events, void *arg)
{
  struct pump_stream *s = world_alloc(p->w, sizeof *s);
  *s = (struct pump_stream){.events = events, .arg = arg};
  s->line = line_open(p, first, raw, &line_events, s);
  return s;
}

void pump_stream_hand_over(struct pump_stream *s, const struct pump_stream_events *events, void *arg)
{
  s->events = events;
  s->arg = arg;
}

void pump_stream_send_header(struct pump_stream *s, const struct header *h)
{
  struct label answer = pump_label(h);
  line_answer(s->line, &answer);
}

void pump_stream_send_reset(struct pump_stream *s, const char *code, const char *reason)
{
  (void)code, (void)reason;
  line_say_reset(s->line);
}

void pump_stream_send_refused(struct pump_stream *s, const char *reason)
{
  (void)reason;
  line_say_refused(s->line);
}

void pump_stream_half_close(struct pump_stream *s)
{
  line_half_close(s->line);
}

void pump_stream_cancel(struct pump_stream *s)
{
  line_cancel(s->line);
}

bool pump_stream_has_no_room(struct pump_stream *s)
{
  struct world *w = s->line->stream->w;
  return !s->line->stream->began && chance(w, w->plan.no_room);
}

const char *pump_stream_kind(const struct pump_stream *s)
{
  return s->line->stream->raw != NULL ? "raw" : "grpc";
}

void pump_stream_close(struct pump_stream *s)
{
  line_close(s->line);
}

/* ---- Sockets ---- */

/* The glue of one process is called at a time; a descriptor is of one world. */
void pump_discard_socket(int fd)
{
  application_close(application_of(memory_world(), fd), true);
}

/* ---- Pumps ---- */

static void local_eof(void *arg)
{
  struct pump *p = arg;
  p->events->local_eof(p, p->arg);
}

static void socket_failed(void *arg)
{
  struct pump *p = arg;
  judge_excuse(p->side, "its application broke it");
  judge_reset(p->side);
  p->events->socket_failed(p, ECONNRESET, p->arg);
}

static void remote_eof(void *arg)
{
  struct pump *p = arg;
  p->events->remote_eof(p, p->arg);
}

static const struct flow_events flow_events = {
    .local_eof = local_eof, .socket_failed = socket_failed, .remote_eof = remote_eof};

int pump_create(struct pump **out, struct pump_set *set, const struct pump_events *events, void *arg)
{
  struct pump *p = world_alloc(set->process->w, sizeof *p);
  p->process = set->process;
  p->events = events;
  p->arg = arg;
  *out = p;
  return 0;
}

void pump_begin(struct pump *p, struct side *side)
{
  p->side = side;
  p->flow.stock = &p->process->stock;
  flow_start(&p->flow, p->process->w, &flow_events, p);
}

int pump_attach(struct pump *p, struct pump_stream *s, const struct pump_attachment *a)
{
  struct world *w = p->process->w;
  struct label answer;
  if (!flow_can_send_from(&p->flow, a->send_from))
    return -EPROTO;
  if (!w->quiet && chance(w, w->plan.attach_fails)) {
    p->side->attach_failed = true;
    p->side->lost_stream |= p->flow.line == NULL; /* as soon as it was there */
    return -EPROTO;
  }
  side_uses(p->side, s);
  s->line->original |= a->original;
  if (a->answer != NULL)
    answer = pump_label(a->answer);
  flow_attach(&p->flow, s->line, a->send_from, a->limit, a->answer != NULL ? &answer : NULL);
  return 0;
}

bool pump_can_send_from(struct pump *p, uint64_t received)
{
  return flow_can_send_from(&p->flow, received);
}

void pump_detach(struct pump *p)
{
  if (p->flow.line != NULL)
    flow_detach(&p->flow);
}

uint64_t pump_received(struct pump *p)
{
  return flow_received(&p->flow);
}

uint64_t pump_limit(const struct pump *p)
{
  return flow_grant(&p->flow);
}

bool pump_is_heard(struct pump *p)
{
  return p->flow.heard;
}

int pump_give_socket(struct pump *p, int fd)
{
  struct world *w = p->process->w;
  if (p->has_socket)
    broken(w, "%s: the socket is given twice", p->flow.name);
  p->has_socket = p->side->gave_socket = true;
  if (chance(w, w->quiet ? 0 : w->plan.no_memory)) {
    judge_excuse(p->side, "its socket cannot be watched");
    pump_discard_socket(fd);
    return -ENOMEM;
  }
  flow_give_socket(&p->flow, application_of(w, fd));
  return 0;
}

void pump_observe(struct pump *p, struct pump_observer *o)
{
  (void)p;
  (void)o;
}

void pump_send_eof(struct pump *p, bool half_close)
{
  flow_send_eof(&p->flow, half_close);
}

void pump_shutdown_socket(struct pump *p)
{
  flow_shut_socket(&p->flow);
}

void pump_linger_socket(struct pump *p)
{
  flow_linger_socket(&p->flow);
}

void pump_close_socket(struct pump *p, bool reset)
{
  flow_close_socket(&p->flow, reset);
}

void pump_close(struct pump *p)
{
  if (p->closed)
    broken(p->process->w, "%s: its pump is closed twice", p->flow.name);
  p->closed = true;
  if (p->side == NULL)
    return;
  flow_close_socket(&p->flow, true);
  flow_close(&p->flow);
}

struct pump_counters pump_counters(struct pump *p)
{
  const struct flow *f = &p->flow;
  return (struct pump_counters){.bytes_read = f->out.added - f->base,
                                .bytes_written = f->in.received - f->in_base,
                                .window = f->window.size,
                                .unacked = f->out.added - f->out.acked,
                                .queued = f->queued};
}
