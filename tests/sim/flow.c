#include "flow_internal.h"

#include <errno.h>
#include <string.h>

_Static_assert(sizeof(struct content) <= SEQUENCE_BODY_SIZE, "it stands in a piece");

/* ---- What the owner is told, through the loop ---- */

static void tell_now(struct world *w, void *subject, uint64_t what)
{
  (void)w;
  struct flow *f = subject;
  if (f->closed)
    return;
  if (what == TOLD_EOF)
    f->events->local_eof(f->arg);
  else if (what == TOLD_FAILED)
    f->events->socket_failed(f->arg);
  else
    f->events->remote_eof(f->arg);
}

void flow_tell(struct flow *f, enum told what, bool *told)
{
  if (*told)
    return;
  *told = true;
  world_after(f->w, chance(f->w, f->w->plan.late_loop) ? roll(f->w, 300) : 0, tell_now, f, what);
}

/* ---- The window ---- */

uint64_t flow_cost(uint64_t bytes)
{
  return bytes + WINDOW_MESSAGE_COST;
}

/* More data is added only as far as the window goes. */
void flow_check_kept(const struct flow *f, uint64_t data)
{
  uint64_t kept = f->out.added - f->out.acked;
  if (data > 0 && kept > f->window.size && !f->original)
    broken(f->w, "%s: %llu bytes are kept, with a window of %llu", f->name, (unsigned long long)kept,
           (unsigned long long)f->window.size);
  if (f->out.added != f->window.sent || f->out.acked != f->window.acked)
    broken(f->w, "%s: the sequence and the window count differently", f->name);
}

void flow_limit(struct flow *f, uint64_t limit)
{
  if (limit > 0)
    window_limit(&f->window, limit);
}

void flow_account(struct flow *f)
{
  struct stock *s = f->stock;
  uint64_t promised = window_promised(f->said, f->queued), excess = f->queued > WINDOW_MIN ? f->queued - WINDOW_MIN : 0;
  s->promised += promised - f->promised;
  s->excess += excess - f->excess;
  f->promised = promised;
  f->excess = excess;
  if (s->promised < s->excess)
    broken(f->w, "%s: more waits than was promised", f->name);
}

uint64_t flow_grant(const struct flow *f)
{
  uint64_t left = f->stock->promised < f->stock->budget ? f->stock->budget - f->stock->promised : 0;
  uint64_t grant = window_grant(f->own_limit, f->promised, left);
  if (grant < f->own_limit && grant < WINDOW_MIN)
    broken(f->w, "%s: grants less than everybody has", f->name);
  if (grant < f->own_limit && grant - WINDOW_MIN > f->promised + left / 2)
    broken(f->w, "%s: grants more than half of what is left", f->name);
  return grant;
}

/* ---- Up ---- */

bool flow_has_more(const struct flow *f)
{
  return sequence_out_peek(&f->out) != NULL;
}

static void add_ack(struct flow *f, struct message *m)
{
  if (!acks_any(&f->acks))
    return;
  m->has_ack = true;
  m->ack = acks_say(&f->acks, f->queued, f->w->now);
  m->ack.limit = flow_grant(f);
}

static void add_window(struct flow *f, struct message *m)
{
  uint64_t meant = window_meant(&f->window);
  if (meant < f->out.added - f->out.acked)
    broken(f->w, "%s: means to have %llu bytes under way, and has more", f->name, (unsigned long long)meant);
  m->has_window = meant != f->window_said;
  m->window = f->window_said = meant;
}

/* Nothing is kept for one of the first version, which never asks for it again. */
static void forget(struct flow *f)
{
  if (sequence_out_acked(&f->out, f->out.next) != 0)
    broken(f->w, "%s: what was sent cannot be forgotten", f->name);
  f->window.acked = f->out.acked;
}

void flow_meet_original(struct flow *f)
{
  f->original = true;
  forget(f);
  flow_run(f);
}

static void send_piece(struct flow *f)
{
  const struct piece *p = sequence_out_peek(&f->out);
  struct message m = {.eof = p->size == 0};
  if (p->size > 0)
    memcpy(&m.content, p->body, sizeof m.content);
  m.has_offset = p->at != f->at && !f->original;
  m.offset = p->at;
  if (!f->original) {
    add_ack(f, &m);
    add_window(f, &m);
  }
  sequence_out_sent(&f->out);
  f->at = f->out.next;
  if (f->original)
    forget(f);
  m.half_close = f->line->half_close_due && !f->line->reset_due && !flow_has_more(f);
  stream_send(f->line->stream, &m);
}

static void add(struct flow *f, const struct content *c)
{
  uint32_t size = c != NULL ? c->size : 0;
  unsigned char body[SEQUENCE_BODY_SIZE] = {0};
  if (c != NULL)
    memcpy(body, c, sizeof *c);
  if (sequence_out_add(&f->out, size, body) != 0)
    broken(f->w, "memory is short");
  window_sent(&f->window, size > 0 ? size : 1, f->w->now);
  flow_check_kept(f, size);
}

static bool read_socket(struct flow *f)
{
  if (f->stopped || f->socket == NULL)
    return false;
  uint64_t room = f->original ? f->read_size : window_room(&f->window);
  uint32_t size = room < f->read_size ? (uint32_t)room : f->read_size;
  struct content c = {.origin = f->socket->origin, .at = f->socket->read};
  int n = size > 0 ? application_read(f->socket, size) : APPLICATION_AGAIN;
  if (n > 0) {
    c.size = (uint32_t)n;
    add(f, &c);
    return true;
  }
  if (n == APPLICATION_AGAIN)
    return false;
  f->stopped = true;
  if (n == 0)
    flow_tell(f, TOLD_EOF, &f->eof_told);
  else
    flow_tell(f, TOLD_FAILED, &f->failed_told);
  return false;
}

static void clock(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct flow *f = subject;
  f->clock_runs = false;
  flow_run(f);
}

static bool can_send(const struct flow *f)
{
  return f->line != NULL && stream_can_send(f->line->stream);
}

static void say_ack(struct flow *f)
{
  struct message m = {0};
  if (f->original)
    return;
  if (can_send(f) && acks_due(&f->acks, f->w->now)) {
    add_ack(f, &m);
    stream_send(f->line->stream, &m);
  }
  if (f->line == NULL || f->line->stream->over || f->clock_runs || !acks_unsaid(&f->acks))
    return;
  f->clock_runs = true;
  world_after(f->w, ACKS_DELAY_US, clock, f, 0);
}

static void greet(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  flow_run(subject);
}

void flow_greet(struct flow *f)
{
  acks_greet(&f->acks, f->w->now);
  world_after(f->w, ACKS_GREETING_US, greet, f, 0);
}

void flow_run(struct flow *f)
{
  if (f->closed)
    return;
  while (can_send(f)) {
    if (line_say_next(f->line))
      continue;
    if (flow_has_more(f))
      send_piece(f);
    else if (!read_socket(f))
      break;
  }
  say_ack(f);
}

/* ---- Streams ---- */

bool flow_can_send_from(const struct flow *f, uint64_t received)
{
  return sequence_out_possible(&f->out, f->base + received);
}

uint64_t flow_received(const struct flow *f)
{
  return f->in.received - f->in_base;
}

void flow_attach(struct flow *f, struct line *l, uint64_t send_from, uint64_t limit, const struct label *answer)
{
  if (sequence_out_resume(&f->out, f->base + send_from) != 0)
    broken(f->w, "%s: cannot go on from byte %llu", f->name, (unsigned long long)send_from);
  sequence_in_attach(&f->in);
  if (f->line != NULL)
    f->line->flow = NULL;
  f->line = l;
  l->flow = f;
  if (l->original && !f->original)
    flow_meet_original(f);
  l->resumes = f->window.sent > f->base;
  f->at = 0;
  window_resume(&f->window);
  if (f->window.sent > f->base)
    f->window_said = 0;
  if (f->acks.taken > f->in_base)
    acks_restart(&f->acks);
  flow_limit(f, limit);
  if (answer != NULL)
    line_answer(l, answer);
  flow_run(f);
  line_feed(l);
}

void flow_detach(struct flow *f)
{
  f->line->flow = NULL;
  f->line = NULL;
}

/* ---- The socket ---- */

static void discard(struct flow *f)
{
  int n;
  while ((n = application_read(f->socket, UINT32_MAX >> 1)) > 0)
    ;
  if (n == 0)
    flow_tell(f, TOLD_EOF, &f->eof_told);
  else if (n == APPLICATION_FAILED)
    flow_tell(f, TOLD_FAILED, &f->failed_told);
}

static void socket_ready(void *arg)
{
  struct flow *f = arg;
  if (f->closed)
    return;
  if (f->discards && f->socket != NULL)
    discard(f);
  flow_write(f);
  if (f->line != NULL)
    line_feed(f->line);
  flow_run(f);
}

static void socket_failed(void *arg)
{
  struct flow *f = arg;
  f->stopped = true;
  flow_drop(f);
  flow_tell(f, TOLD_FAILED, &f->failed_told);
}

void flow_give_socket(struct flow *f, struct application *a)
{
  if (f->socket != NULL)
    broken(f->w, "%s: two sockets are given", f->name);
  f->socket = a;
  application_begin(a, socket_ready, socket_failed, f);
  socket_ready(f);
}

void flow_send_eof(struct flow *f, bool half_close)
{
  if (!f->eof_told || f->out.ended)
    broken(f->w, "%s: an end is said that did not come, or twice", f->name);
  add(f, NULL);
  if (half_close && f->line != NULL)
    f->line->half_close_due = true;
  flow_run(f);
}

void flow_shut_socket(struct flow *f)
{
  if (f->socket != NULL)
    application_shut(f->socket);
}

/* What the socket brings is thrown away, until it ends. */
void flow_linger_socket(struct flow *f)
{
  flow_shut_socket(f);
  f->stopped = f->discards = true;
  socket_ready(f);
}

void flow_close_socket(struct flow *f, bool reset)
{
  struct application *a = f->socket;
  f->stopped = true;
  flow_drop(f);
  f->socket = NULL;
  if (a != NULL)
    application_close(a, reset);
}

/* ---- Life ---- */

void flow_start(struct flow *f, struct world *w, const struct flow_events *events, void *arg)
{
  f->w = w;
  f->events = events;
  f->arg = arg;
  sequence_out_start(&f->out, NULL);
  f->out.acked = f->out.next = f->out.added = f->base;
  f->in.received = f->in_base;
  window_start(&f->window, f->own_limit);
  f->window.sent = f->window.acked = f->window.grown_at = f->base;
  acks_start(&f->acks);
  f->acks.taken = f->acks.said = f->in_base;
  f->window_said = WINDOW_MIN;
}

void flow_close(struct flow *f)
{
  f->closed = true;
  flow_drop(f);
  sequence_out_free(&f->out);
}
