#include "line.h"

#include "flow.h"
#include "process.h"

struct held {
  struct held *next;
  const struct message *message;
  bool told; /* its words are */
};

enum told { TOLD_HEADER, TOLD_ORIGINAL, TOLD_RESET, TOLD_REFUSED, TOLD_ENDED, TOLD_MASK = 7, TOLD_BITS = 3 };

/* ---- What the owner is told ---- */

static void tell_now(struct line *l, uint64_t arg)
{
  if (l->closed || l->stream->client->dead)
    return;
  switch (arg & TOLD_MASK) {
  case TOLD_HEADER:
    l->events->header(l, &l->heard);
    break;
  case TOLD_ORIGINAL:
    l->events->original(l);
    break;
  case TOLD_RESET:
    l->events->reset(l);
    break;
  case TOLD_REFUSED:
    l->events->refused(l);
    break;
  default:
    l->events->ended(l, (enum stream_end)(arg >> TOLD_BITS));
  }
}

static void tell_late(struct world *w, void *subject, uint64_t arg)
{
  (void)w;
  struct line *l = subject;
  l->untold--;
  tell_now(l, arg);
}

static void tell(struct line *l, enum told what, unsigned detail)
{
  struct world *w = l->stream->w;
  uint64_t arg = what | (uint64_t)detail << TOLD_BITS;
  if (l->untold == 0 && !chance(w, w->plan.late_loop)) {
    tell_now(l, arg);
    return;
  }
  l->untold++;
  l->told_at = (l->told_at > w->now ? l->told_at : w->now) + roll(w, 300);
  world_at(w, l->told_at, tell_late, l, arg);
}

/* ---- What comes ---- */

void line_meet_original(struct line *l)
{
  l->original = true;
  if (l->flow != NULL)
    flow_meet_original(l->flow);
  tell(l, TOLD_ORIGINAL, 0);
}

static void meet_original(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct line *l = subject;
  if (!l->closed)
    line_meet_original(l);
}

static void hold(struct line *l, const struct message *m, bool told)
{
  struct held *h = world_alloc(l->stream->w, sizeof *h);
  h->message = m;
  h->told = told;
  *l->held_end = h;
  l->held_end = &h->next;
}

static bool is_for_flow(const struct message *m)
{
  return m->content.size > 0 || m->eof || m->has_ack || m->has_window;
}

static void take(struct line *l, const struct message *m, bool told)
{
  if (m->has_label && !told) {
    l->heard = m->label;
    if (l->flow != NULL)
      flow_limit(l->flow, m->label.limit);
    tell(l, TOLD_HEADER, 0);
  }
  if (m->original && !told)
    line_meet_original(l);
  if (is_for_flow(m)) {
    if (l->flow != NULL)
      flow_message(l->flow, m);
    else
      hold(l, m, true);
  }
  if (m->has_reset && !told)
    tell(l, TOLD_RESET, 0);
  if (m->has_refused && !told)
    tell(l, TOLD_REFUSED, 0);
}

static void on_message(struct stream *s, const struct message *m)
{
  struct line *l = s->owner;
  if (l->flow != NULL && (l->held != NULL || !flow_hears(l->flow)))
    hold(l, m, false);
  else
    take(l, m, false);
}

void line_feed(struct line *l)
{
  while (l->held != NULL && l->flow != NULL && flow_hears(l->flow)) {
    struct held *h = l->held;
    l->held = h->next;
    if (l->held == NULL)
      l->held_end = &l->held;
    take(l, h->message, h->told);
  }
  line_check_end(l);
}

/* ---- What goes ---- */

static void part(struct line *l, struct message *m)
{
  m->half_close = true;
  l->answer_due = l->reset_due = l->refused_due = l->half_close_due = false;
  stream_send(l->stream, m);
}

bool line_say_next(struct line *l)
{
  struct message m = {0};
  if (!stream_can_send(l->stream))
    return false;
  if (l->answer_due) {
    l->answer_due = false;
    m.has_label = true;
    m.label = l->answer;
    if (l->flow != NULL)
      m.label.received = flow_received(l->flow);
    stream_send(l->stream, &m);
    return true;
  }
  bool waits = !l->refused_due && l->flow != NULL && !l->resumes && flow_has_more(l->flow);
  if ((l->reset_due || l->refused_due) && !waits) {
    m.has_reset = l->reset_due;
    m.has_refused = l->refused_due;
    part(l, &m);
    return true;
  }
  if (l->half_close_due && (l->flow == NULL || !flow_has_more(l->flow))) {
    part(l, &m);
    return true;
  }
  return false;
}

static void run(struct line *l)
{
  if (l->flow != NULL)
    flow_run(l->flow);
  else
    while (line_say_next(l))
      ;
}

static void on_ready(struct stream *s)
{
  run(s->owner);
}

/* Of a first version, one that ended well is over when all that came is written. */
void line_check_end(struct line *l)
{
  bool waits = l->original && l->end == STREAM_OK && (l->held != NULL || (l->flow != NULL && !flow_is_empty(l->flow)));
  if (!l->end_due || waits)
    return;
  l->end_due = false;
  tell(l, TOLD_ENDED, l->end);
}

static void on_ended(struct stream *s, enum stream_end end)
{
  struct line *l = s->owner;
  l->end_due = true;
  l->end = end;
  if (l->original && end != STREAM_OK && l->flow != NULL)
    flow_drop(l->flow);
  line_check_end(l);
}

static const struct stream_events events_of_stream = {.message = on_message, .ready = on_ready, .ended = on_ended};

void line_answer(struct line *l, const struct label *h)
{
  l->answer = *h;
  l->answer_due = true;
  run(l);
}

/* A stream that was half-closed can only be cancelled. */
void line_say_reset(struct line *l)
{
  l->reset_due = true;
  if (l->stream->over)
    stream_cancel(l->stream);
  else
    run(l);
}

void line_say_refused(struct line *l)
{
  l->refused_due = true;
  run(l);
}

void line_half_close(struct line *l)
{
  l->half_close_due = true;
  run(l);
}

void line_cancel(struct line *l)
{
  stream_cancel(l->stream);
}

/* ---- Life ---- */

static struct line *make(struct world *w, const struct line_events *events, void *owner)
{
  struct line *l = world_alloc(w, sizeof *l);
  l->events = events;
  l->owner = owner;
  l->held_end = &l->held;
  return l;
}

struct line *line_open(struct process *p, const struct label *label, bool raw, const struct line_events *events,
                       void *owner)
{
  struct line *l = make(p->w, events, owner);
  struct message first = {.has_label = true, .label = *label};
  l->stream = stream_open(p, &first, raw, &events_of_stream, l);
  if (label->token)
    world_after(p->w, 0, meet_original, l, 0);
  return l;
}

struct line *line_parked(struct stream *s, const struct line_events *events, void *owner)
{
  struct line *l = make(s->w, events, owner);
  l->stream = s;
  l->original = s->w->plan.original != ORIGINAL_NOBODY;
  s->events = &events_of_stream;
  s->owner = l;
  return l;
}

void line_hand_over(struct line *l, const struct line_events *events, void *owner)
{
  l->events = events;
  l->owner = owner;
}

void line_close(struct line *l)
{
  if (l->closed)
    broken(l->stream->w, "a stream is dropped twice");
  if (l->flow != NULL)
    flow_detach(l->flow);
  l->closed = true;
  stream_close(l->stream);
}
