#include "side.h"

#include <stdio.h>
#include <string.h>

#include "judge.h"

enum { NOTHING = -1, IDLE_STEPS_MAX = 20, STRANGER_LIMIT = 4 << 20 };

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

/* ---- Actions ---- */

static const struct line_events stream_events;

static void demand(const struct side *s, bool it, const char *what)
{
  if (!it)
    broken(s->w, "%s: the machine asks to %s, which cannot be", s->name, what);
}

static int open_stream(struct side *s)
{
  struct label h = {.member = s->process->member,
                    .connection = s->id,
                    .epoch = s->machine.epoch,
                    .limit = flow_grant(&s->flow),
                    .received = s->flow.in_base,
                    .established = s->machine.established,
                    .attach = s->machine.established,
                    .to = s->other};
  demand(s, s->machine.role == CONNECTION_FORWARD && s->next == NULL, "open a stream");
  demand(s, !s->opened_any || s->machine.epoch > s->opened.epoch, "open a stream with an epoch that was used");
  if (h.established)
    h.received = flow_received(&s->flow);
  judge_open(s);
  s->opened_any = true;
  s->opened = h;
  s->open_failed = chance(s->w, s->w->quiet ? 0 : s->w->plan.no_memory);
  if (s->open_failed)
    return CONNECTION_NEXT_LOST;
  s->next = line_open(s->process, &h, &stream_events, s);
  TRACE(s->w, "%s: opens stream %llu, epoch %llu%s", s->name, (unsigned long long)s->next->stream->number,
        (unsigned long long)h.epoch, h.established ? ", established" : "");
  return NOTHING;
}

static void drop_current(struct side *s)
{
  if (s->current == NULL)
    return;
  line_close(s->current);
  s->current = NULL;
}

static void drop_next(struct side *s)
{
  if (s->next != NULL)
    line_close(s->next);
  s->next = NULL;
}

static void refuse_next(struct side *s)
{
  demand(s, s->next != NULL, "refuse a stream");
  struct line *l = s->next;
  s->next = NULL;
  line_say_refused(l);
  process_farewell(s->process, l);
}

static void use_next(struct side *s)
{
  struct label answer = {.answer = true,
                         .member = s->process->member,
                         .connection = s->id,
                         .epoch = s->machine.epoch,
                         .limit = flow_grant(&s->flow)};
  bool answers = s->machine.role == CONNECTION_SERVICE;
  demand(s, s->next != NULL, "use a next stream");
  uint64_t send_from = s->header != NULL ? s->header->received : s->flow.base;
  if (answers) {
    demand(s, s->accepted_epoch == 0 || s->machine.epoch >= s->accepted_epoch, "accept an older epoch");
    s->accepted_epoch = s->machine.epoch + 1;
  }
  judge_use(s);
  struct line *former = s->current;
  s->current = s->next;
  s->next = NULL;
  TRACE(s->w, "%s: stream %llu is current; sends from %llu", s->name, (unsigned long long)s->current->stream->number,
        (unsigned long long)(send_from - s->flow.base));
  flow_attach(&s->flow, s->current, send_from, s->header != NULL ? s->header->limit : 0, answers ? &answer : NULL);
  if (former != NULL)
    line_close(former);
}

/* In the order of the actions' values. */
static int act_on_streams(struct side *s, unsigned actions)
{
  int event = NOTHING;
  demand(s, !(actions & CONNECTION_ASK), "ask for a token");
  if (actions & CONNECTION_OPEN_STREAM)
    event = open_stream(s);
  if (event != NOTHING && actions & CONNECTION_USE_NEXT) /* it cannot be opened at all */
    return CONNECTION_STREAM_FAILED;
  if (actions & CONNECTION_DROP_CURRENT) {
    demand(s, s->current != NULL || s->open_failed, "drop the current stream");
    drop_current(s);
  }
  if (actions & CONNECTION_USE_NEXT)
    use_next(s);
  if (actions & CONNECTION_DROP_NEXT)
    drop_next(s);
  if (actions & CONNECTION_REFUSE_NEXT)
    refuse_next(s);
  return event;
}

static void target_answers(struct world *w, void *subject, uint64_t refuses)
{
  struct side *s = subject;
  s->dialling = false;
  TRACE(w, "%s: the target %s", s->name, refuses ? "refuses" : "is there");
  if (s->gone || s->machine.state != CONNECTION_OPENING)
    return;
  if (refuses)
    judge_excuse(s, "the target refused");
  side_step(s, refuses ? CONNECTION_DIAL_FAILED : CONNECTION_DIALLED);
}

static void dial_target(struct side *s)
{
  struct world *w = s->w;
  demand(s, s->machine.role == CONNECTION_SERVICE && !s->dialling && !s->gave_socket, "dial");
  if (s->pair != NULL && ++s->pair->targets > 1)
    broken(w, "two targets are dialled for one connection");
  s->dialling = true;
  bool refuses = chance(w, w->plan.target_refuses);
  world_after(w, 1 + roll(w, w->plan.target_ms * MS), target_answers, s, refuses);
}

static void say(struct side *s, unsigned actions)
{
  bool half_close = actions & CONNECTION_HALF_CLOSE;
  if (actions & CONNECTION_SAY_EOF)
    flow_send_eof(&s->flow, half_close);
  else if (half_close)
    line_half_close(s->current);
  if (actions & CONNECTION_SAY_RESET)
    line_say_reset(s->current);
  if (actions & CONNECTION_CANCEL)
    line_cancel(s->current);
}

static void bury(struct side *s)
{
  demand(s, s->machine.role == CONNECTION_SERVICE, "leave a tombstone");
  process_bury(s);
}

static void leave(struct side *s)
{
  struct side **at = &s->process->sides;
  drop_current(s);
  drop_next(s);
  flow_close(&s->flow);
  while (*at != s)
    at = &(*at)->next_side;
  *at = s->next_side;
  s->gone = true;
}

static int act(struct side *s, unsigned actions)
{
  unsigned on_current = CONNECTION_HALF_CLOSE | CONNECTION_SAY_RESET | CONNECTION_CANCEL;
  int event = act_on_streams(s, actions);
  if (actions & on_current)
    demand(s, s->current != NULL, "say something without a stream");
  if (actions & CONNECTION_DIAL)
    dial_target(s);
  if (actions & CONNECTION_GIVE_SOCKET) {
    demand(s, !s->gave_socket, "give the socket twice");
    s->gave_socket = true;
    flow_give_socket(&s->flow, &s->application);
  }
  say(s, actions);
  if (actions & CONNECTION_SHUTDOWN_SOCKET)
    flow_shut_socket(&s->flow);
  demand(s, !(actions & CONNECTION_LINGER), "linger");
  if (actions & (CONNECTION_CLOSE_SOCKET | CONNECTION_RESET_SOCKET))
    flow_close_socket(&s->flow, actions & CONNECTION_RESET_SOCKET);
  if (actions & CONNECTION_BURY)
    bury(s);
  if (actions & CONNECTION_FREE)
    leave(s);
  return event;
}

/* ---- Steps ---- */

static void timer(struct world *w, void *subject, uint64_t number)
{
  (void)w;
  struct side *s = subject;
  if (s->gone || s->timer != number)
    return;
  s->armed = NEVER;
  if (s->stepped_at == w->now)
    s->idle_steps++;
  else
    s->idle_steps = 0;
  s->stepped_at = w->now;
  if (s->idle_steps > IDLE_STEPS_MAX)
    broken(w, "%s: its deadline comes again and again", s->name);
  side_step(s, CONNECTION_TIME);
}

static void arm(struct side *s)
{
  uint64_t deadline = connection_deadline(&s->machine);
  if (deadline == s->armed)
    return;
  s->armed = deadline;
  s->timer++;
  if (deadline == UINT64_MAX)
    return;
  world_at(s->w, deadline * MS > s->w->now ? deadline * MS : s->w->now, timer, s, s->timer);
}

static void run(struct side *s, unsigned actions)
{
  int event;
  while ((event = act(s, actions)) != NOTHING) {
    struct connection before = s->machine;
    actions = connection_step(&s->machine, (enum connection_event)event, world_ms(s->w));
    if (s->w->trace)
      trace_step(s, event_names[event], actions);
    judge_step(s, &before, (enum connection_event)event);
  }
  if (s->machine.broken)
    broken(s->w, "%s: the machine made a move that it may not make", s->name);
  if (s->gone)
    return;
  if (s->machine.has_current != (s->current != NULL) || s->machine.has_next != (s->next != NULL))
    broken(s->w, "%s: the machine believes in streams that are not there, or the other way round", s->name);
  judge_streams(s);
  arm(s);
}

void side_step(struct side *s, enum connection_event event)
{
  if (s->gone)
    return;
  s->ended |= event == CONNECTION_END || event == CONNECTION_CUT;
  struct connection before = s->machine;
  unsigned actions = connection_step(&s->machine, event, world_ms(s->w));
  if (s->w->trace)
    trace_step(s, event_names[event], actions);
  judge_step(s, &before, event);
  run(s, actions);
}

/* ---- What calls back ---- */

static void on_local_eof(void *arg)
{
  side_step(arg, CONNECTION_LOCAL_EOF);
}

static void on_socket_failed(void *arg)
{
  judge_excuse(arg, "its application broke it");
  judge_reset(arg);
  side_step(arg, CONNECTION_SOCKET_FAILED);
}

static void on_remote_eof(void *arg)
{
  side_step(arg, CONNECTION_REMOTE_EOF);
}

static const struct flow_events flow_events = {
    .local_eof = on_local_eof, .socket_failed = on_socket_failed, .remote_eof = on_remote_eof};

static bool is_of_this_connection(const struct side *s, const struct label *h)
{
  return h->answer && h->connection == s->id && h->epoch == s->machine.epoch;
}

static void on_header(struct line *l, const struct label *h)
{
  struct side *s = l->owner;
  bool good = is_of_this_connection(s, h);
  if (l == s->current) {
    if (good)
      s->other = h->member;
    flow_greet(&s->flow);
    side_step(s, good ? CONNECTION_ANSWERED : CONNECTION_MISANSWERED);
    return;
  }
  good = good && h->member == s->other && flow_can_send_from(&s->flow, h->received);
  if (!good && s->w->plan.garbled == 0)
    broken(s->w, "%s: the answer of S does not fit", s->name);
  s->header = h;
  side_step(s, good ? CONNECTION_NEXT_ANSWERED : CONNECTION_NEXT_MISANSWERED);
  s->header = NULL;
}

static void on_reset(struct line *l)
{
  struct side *s = l->owner;
  side_step(s, l == s->current ? CONNECTION_REMOTE_RESET : CONNECTION_NEXT_RESET);
}

static void on_refused(struct line *l)
{
  struct side *s = l->owner;
  side_step(s, l == s->current ? CONNECTION_STREAM_LOST : CONNECTION_NEXT_LOST);
}

static void heard(struct side *s)
{
  demand(s, s->pair == NULL || s->pair->forward->machine.other != CONNECTION_UNKNOWN,
         "be heard by who has heard nothing");
  side_step(s, CONNECTION_HEARD);
}

static void on_ended(struct line *l, enum stream_end end)
{
  struct side *s = l->owner;
  if (s->machine.role == CONNECTION_SERVICE && s->flow.heard)
    heard(s);
  enum connection_event event = CONNECTION_NEXT_LOST;
  if (l == s->current && end == STREAM_OK)
    event = CONNECTION_STREAM_OK;
  else if (l == s->current && (end == STREAM_LOST || s->machine.established))
    event = CONNECTION_STREAM_LOST;
  else if (l == s->current)
    event = CONNECTION_STREAM_FAILED;
  side_step(s, event);
}

static const struct line_events stream_events = {
    .header = on_header, .reset = on_reset, .refused = on_refused, .ended = on_ended};

void side_vanish(struct side *s)
{
  s->process->sides = s->next_side;
  s->gone = true;
  if (s->gave_socket)
    application_close(&s->application, true);
  flow_close(&s->flow);
}

/* ---- Beginning ---- */

static void prepare(struct side *s, struct process *p, uint64_t id, struct pair *pair, bool service)
{
  struct world *w = p->w;
  s->w = w;
  s->process = p;
  s->pair = pair;
  s->id = id;
  s->armed = NEVER;
  s->began_at = world_ms(w);
  s->next_side = p->sides;
  p->sides = s;
  snprintf(s->name, sizeof s->name, "%c%u", service ? 'S' : 'F', pair != NULL ? pair->index : 99);
  s->flow.name = s->application.name = s->name;
  s->flow.stock = &p->stock;
  s->flow.own_limit = pair != NULL ? pair->limits[service] : STRANGER_LIMIT;
  s->flow.first_limit = pair != NULL ? pair->limits[!service] : 1000;
  if (s->flow.first_limit > WINDOW_MIN)
    s->flow.first_limit = WINDOW_MIN;
  s->flow.read_size = pair != NULL ? (uint32_t)pair->read_sizes[service] : 100;
  if (pair != NULL) {
    s->flow.base = pair->bases[service];
    s->flow.in_base = pair->bases[!service];
  }
  flow_start(&s->flow, w, &flow_events, s);
}

void side_start_forward(struct side *s, struct pair *pair)
{
  struct process *p = pair->w->forward;
  prepare(s, p, pair->id, pair, false);
  unsigned actions = connection_start_forward(&s->machine, &p->times, world_ms(s->w));
  if (s->w->trace)
    trace_step(s, "accepted", actions);
  run(s, actions);
  if (p->link.instance != NULL)
    side_step(s, CONNECTION_ROUTER_UP);
}

void side_start_service(struct process *p, struct line *l, const struct label *h)
{
  struct world *w = p->w;
  struct side *s = world_alloc(w, sizeof *s);
  struct pair *pair = NULL;
  for (unsigned i = 0; i < w->plan.pairs; i++)
    if (w->pairs[i].id == h->connection)
      pair = &w->pairs[i];
  if (pair != NULL) {
    if (pair->service != NULL && pair->service->process == p)
      broken(w, "a connection begins a second time at S");
    pair->service = s;
    s->application = pair->target;
  } else {
    s->application = (struct application){.w = w,
                                          .origin = UINT32_MAX,
                                          .other = APPLICATION_ANYBODY,
                                          .step = 50,
                                          .pause_us = 20 * MS,
                                          .will_send = roll(w, 200)};
    s->flow.hostile = true;
  }
  prepare(s, p, h->connection, pair, true);
  s->other = h->member;
  s->next = l;
  line_hand_over(l, &stream_events, s);
  s->header = h;
  unsigned actions = connection_start_service(&s->machine, &p->times, false, h->epoch, world_ms(w));
  if (w->trace)
    trace_step(s, "begins", actions);
  run(s, actions);
  s->header = NULL;
}

void side_attach(struct side *s, struct line *l, const struct label *h)
{
  bool possible = h->member == s->other && flow_can_send_from(&s->flow, h->received);
  if (possible && h->established)
    heard(s);
  s->next = l;
  line_hand_over(l, &stream_events, s);
  struct connection before = s->machine;
  s->header = h;
  unsigned actions = connection_attached(&s->machine, h->epoch, possible, world_ms(s->w));
  if (s->w->trace)
    trace_step(s, "attached", actions);
  judge_step(s, &before, CONNECTION_TIME);
  run(s, actions);
  s->header = NULL;
}
