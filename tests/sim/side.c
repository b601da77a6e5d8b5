#include "side.h"

#include <stdio.h>
#include <string.h>

#include "carry/tunnel/tunnels_internal.h"
#include "judge.h"
#include "name.h"
#include "pump.h"

enum { IDLE_STEPS_MAX = 20, STRANGER_LIMIT = 4 << 20 };

/* ---- Words for the trace ---- */

static const char *const event_names[] = {
    [CONNECTION_ROUTER_UP] = "router up",
    [CONNECTION_ROUTER_ORIGINAL] = "router original",
    [CONNECTION_ROUTER_DOWN] = "router down",
    [CONNECTION_TOKEN] = "token",
    [CONNECTION_TOKEN_REFUSED] = "token refused",
    [CONNECTION_RENEW] = "renew",
    [CONNECTION_DIALLED] = "dialled",
    [CONNECTION_DIAL_FAILED] = "dial failed",
    [CONNECTION_HEARD] = "heard",
    [CONNECTION_LOCAL_EOF] = "local eof",
    [CONNECTION_SOCKET_FAILED] = "socket failed",
    [CONNECTION_REMOTE_EOF] = "remote eof",
    [CONNECTION_PEER_LOST] = "peer lost",
    [CONNECTION_CUT] = "cut",
    [CONNECTION_END] = "end",
    [CONNECTION_TIME] = "time",
    [CONNECTION_ANSWERED] = "answered",
    [CONNECTION_MISANSWERED] = "misanswered",
    [CONNECTION_ORIGINAL] = "original",
    [CONNECTION_REMOTE_RESET] = "remote reset",
    [CONNECTION_STREAM_OK] = "stream ok",
    [CONNECTION_STREAM_LOST] = "stream lost",
    [CONNECTION_STREAM_FAILED] = "stream failed",
    [CONNECTION_NEXT_ANSWERED] = "next answered",
    [CONNECTION_NEXT_MISANSWERED] = "next misanswered",
    [CONNECTION_NEXT_RESET] = "next reset",
    [CONNECTION_NEXT_LOST] = "next lost",
};

static const struct {
  unsigned action;
  const char *name;
} action_names[] = {
    {CONNECTION_ASK, "ask"},
    {CONNECTION_OPEN_STREAM, "open-stream"},
    {CONNECTION_DROP_CURRENT, "drop-current"},
    {CONNECTION_USE_NEXT, "use-next"},
    {CONNECTION_DROP_NEXT, "drop-next"},
    {CONNECTION_REFUSE_NEXT, "refuse-next"},
    {CONNECTION_DIAL, "dial"},
    {CONNECTION_GIVE_SOCKET, "give-socket"},
    {CONNECTION_SAY_EOF, "say-eof"},
    {CONNECTION_HALF_CLOSE, "half-close"},
    {CONNECTION_SAY_RESET, "say-reset"},
    {CONNECTION_CANCEL, "cancel"},
    {CONNECTION_SHUTDOWN_SOCKET, "shutdown-socket"},
    {CONNECTION_CLOSE_SOCKET, "close-socket"},
    {CONNECTION_RESET_SOCKET, "reset-socket"},
    {CONNECTION_LINGER, "linger"},
    {CONNECTION_BURY, "bury"},
    {CONNECTION_FREE, "free"},
};

static const char *const state_names[] = {
    [CONNECTION_WAITING] = "WAITING", [CONNECTION_ASKING] = "ASKING",   [CONNECTION_OPENING] = "OPENING",
    [CONNECTION_OPEN] = "OPEN",       [CONNECTION_CLOSING] = "CLOSING", [CONNECTION_GONE] = "GONE",
};

static void trace_step(const struct side *s, const char *what, unsigned actions)
{
  char text[256] = "";
  size_t used = 0;
  for (size_t i = 0; i < sizeof action_names / sizeof *action_names; i++)
    if (actions & action_names[i].action && used < sizeof text - 20)
      used += (size_t)snprintf(text + used, sizeof text - used, " %s", action_names[i].name);
  TRACE(s->w, "%s: %s ->%s  [%s, epoch %llu]", s->name, what, text, state_names[s->machine.state],
        (unsigned long long)s->machine.epoch);
}

/* ---- The machine is watched: the linker puts these between it and the glue (--wrap) ---- */

unsigned __real_connection_step(struct connection *c, enum connection_event event, uint64_t now);
unsigned __real_connection_attached(struct connection *c, uint64_t epoch, bool possible, uint64_t now);
unsigned __wrap_connection_step(struct connection *c, enum connection_event event, uint64_t now);
unsigned __wrap_connection_attached(struct connection *c, uint64_t epoch, bool possible, uint64_t now);

static struct side *side_of(struct connection *c)
{
  struct tunnel *t = (struct tunnel *)((char *)c - offsetof(struct tunnel, machine));
  return tunnel_user(t);
}

static void demand(const struct side *s, bool it, const char *what)
{
  if (!it)
    broken(s->w, "%s: the machine asks to %s, which cannot be", s->name, what);
}

struct pump_stream *side_current(const struct side *s)
{
  return s->tunnel != NULL ? s->tunnel->current_stream : NULL;
}

/* What the glue was to do before it took the next step is done. */
static void look(struct side *s)
{
  if (s->gone)
    return;
  s->machine = s->tunnel->machine;
  judge_streams(s);
  if (s->stepped)
    return;
  s->stepped = true;
  s->next_stepped = s->w->stepped;
  s->w->stepped = s;
}

static void count_idle(struct side *s)
{
  s->idle_steps = s->stepped_at == s->w->now ? s->idle_steps + 1 : 0;
  s->stepped_at = s->w->now;
  if (s->idle_steps > IDLE_STEPS_MAX)
    broken(s->w, "%s: its deadline comes again and again", s->name);
}

static void check(struct side *s, const struct connection *before, enum connection_event event, unsigned actions)
{
  const struct connection *c = &s->machine;
  judge_step(s, before, event);
  if (c->broken)
    broken(s->w, "%s: the machine made a move that it may not make", s->name);
  if (actions & (CONNECTION_HALF_CLOSE | CONNECTION_SAY_RESET | CONNECTION_CANCEL))
    demand(s, c->has_current, "say something without a stream");
  if (actions & CONNECTION_BURY) {
    demand(s, c->role == CONNECTION_SERVICE, "leave a tombstone");
    if (s->pair != NULL)
      s->pair->buried_at = s->w->now;
  }
}

unsigned __wrap_connection_step(struct connection *c, enum connection_event event, uint64_t now)
{
  struct side *s = side_of(c);
  look(s);
  if (s->gone && __real_connection_step(c, event, now) != 0)
    broken(s->w, "%s: goes on after its end", s->name);
  if (s->gone)
    return 0;
  s->ended |= event == CONNECTION_END || event == CONNECTION_CUT;
  if (event == CONNECTION_TIME)
    count_idle(s);
  if (event == CONNECTION_HEARD)
    demand(s, s->pair == NULL || s->pair->forward->machine.other != CONNECTION_UNKNOWN,
           "be heard by who has heard nothing");
  struct connection before = *c;
  unsigned actions = __real_connection_step(c, event, now);
  s->machine = *c;
  if (s->w->trace)
    trace_step(s, event_names[event], actions);
  check(s, &before, event, actions);
  return actions;
}

unsigned __wrap_connection_attached(struct connection *c, uint64_t epoch, bool possible, uint64_t now)
{
  struct side *s = side_of(c);
  look(s);
  struct connection before = *c;
  unsigned actions = __real_connection_attached(c, epoch, possible, now);
  s->machine = *c;
  if (s->w->trace)
    trace_step(s, "attached", actions);
  check(s, &before, CONNECTION_TIME, actions);
  return actions;
}

void sides_check(struct world *w)
{
  for (struct side *s; (s = w->stepped) != NULL;) {
    w->stepped = s->next_stepped;
    s->stepped = false;
    if (s->gone)
      continue;
    const struct tunnel *t = s->tunnel;
    if (t->machine.has_current != (t->current_stream != NULL) || t->machine.has_next != (t->next_stream != NULL))
      broken(w, "%s: the machine believes in streams that are not there, or the other way round", s->name);
    s->machine = t->machine;
    judge_streams(s);
  }
}

/* ---- What it asks for ---- */

bool side_opens(struct side *s, const struct label *h)
{
  struct world *w = s->w;
  demand(s, s->machine.role == CONNECTION_FORWARD && s->tunnel->next_stream == NULL, "open a stream");
  demand(s, !s->opened_any || h->epoch > s->opened.epoch, "open a stream with an epoch that was used");
  judge_open(s);
  s->opened_any = true;
  s->opened = *h;
  return !chance(w, w->quiet ? 0 : w->plan.no_memory);
}

void side_uses(struct side *s, const struct pump_stream *stream)
{
  uint64_t epoch = s->tunnel->machine.epoch;
  if (s->machine.role == CONNECTION_SERVICE) {
    demand(s, s->accepted_epoch == 0 || epoch >= s->accepted_epoch, "accept an older epoch");
    s->accepted_epoch = epoch + 1;
  }
  if (s->tunnel->header != NULL)
    judge_use(s);
  TRACE(s->w, "%s: stream %llu is current", s->name, (unsigned long long)stream->line->stream->number);
}

void side_dials(struct side *s)
{
  demand(s, s->machine.role == CONNECTION_SERVICE && !s->dialled && !s->gave_socket, "dial");
  s->dialled = true;
  if (s->pair != NULL && ++s->pair->targets > 1 && s->w->plan.original == ORIGINAL_NOBODY)
    broken(s->w, "two targets are dialled for one connection");
}

/* ---- Beginning and end ---- */

static struct pair *pair_of(const struct world *w, uint64_t id)
{
  for (unsigned i = 0; i < w->plan.pairs; i++)
    if (w->pairs[i].id == id)
      return &w->pairs[i];
  return NULL;
}

static struct side *new_service(struct process *p, struct pair *pair)
{
  struct world *w = p->w;
  struct side *s = world_alloc(w, sizeof *s);
  if (pair != NULL) {
    if (pair->service != NULL && pair->service->process == p && w->plan.original == ORIGINAL_NOBODY)
      broken(w, "a connection begins a second time at S");
    s->former = pair->service;
    pair->service = s;
    s->application = pair->target;
  } else {
    s->application = (struct application){.w = w,
                                          .origin = UINT32_MAX,
                                          .other = APPLICATION_ANYBODY,
                                          .step = 50,
                                          .pause_us = 20 * MS,
                                          .will_send = roll(w, 200)};
  }
  return s;
}

static void set_up_flow(struct side *s, bool service)
{
  struct flow *f = s->flow = &s->tunnel->pump->flow;
  struct pair *pair = s->pair;
  f->name = s->application.name = s->name;
  f->hostile = pair == NULL;
  f->own_limit = pair != NULL ? pair->limits[service] : STRANGER_LIMIT;
  f->first_limit = pair != NULL ? pair->limits[!service] : 1000;
  if (f->first_limit > WINDOW_MIN)
    f->first_limit = WINDOW_MIN;
  f->read_size = pair != NULL ? (uint32_t)pair->read_sizes[service] : 100;
  if (pair != NULL) {
    f->base = pair->bases[service];
    f->in_base = pair->bases[!service];
  }
  pump_begin(s->tunnel->pump, s);
}

void side_opened(struct process *p, struct tunnel *t)
{
  struct world *w = p->w;
  bool service = t->machine.role == CONNECTION_SERVICE;
  bool original = service && w->plan.original != ORIGINAL_NOBODY;
  struct pair *pair = pair_of(w, original ? p->next_connection : name_get(t->connection));
  struct side *s = service ? new_service(p, pair) : pair->forward;
  s->w = w;
  s->process = p;
  s->pair = pair;
  s->tunnel = t;
  s->machine = t->machine;
  s->began_at = s->good_at = world_ms(w);
  s->next_side = p->sides;
  p->sides = s;
  tunnel_set_user(t, s);
  snprintf(s->name, sizeof s->name, "%c%u", service ? 'S' : 'F', pair != NULL ? pair->index : 99);
  set_up_flow(s, service);
  if (w->plan.original != ORIGINAL_NOBODY)
    judge_excuse(s, "it speaks the first version");
  if (w->trace)
    trace_step(s, "begins", 0);
}

static void leave(struct side *s)
{
  struct side **at = &s->process->sides;
  while (*at != s)
    at = &(*at)->next_side;
  *at = s->next_side;
  s->gone = true;
}

void side_closed(struct tunnel *t)
{
  struct side *s = tunnel_user(t);
  s->machine = t->machine;
  if (t->current_stream != NULL || t->next_stream != NULL)
    broken(s->w, "%s: is gone, and leaves a stream", s->name);
  leave(s);
  s->tunnel = NULL;
}

void side_vanish(struct side *s)
{
  application_close(&s->application, true);
  flow_close(s->flow);
  s->machine = s->tunnel->machine;
  leave(s);
  s->tunnel = NULL;
}
