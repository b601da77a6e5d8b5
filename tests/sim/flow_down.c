/* What comes from the other side: checked, queued, and written to the socket. */
#include "flow_internal.h"

static void append(struct flow *f, const struct content *c, bool eof)
{
  if (f->count == f->room) {
    size_t room = f->room > 0 ? 2 * f->room : 8;
    struct waiting *queue = world_alloc(f->w, room * sizeof *queue);
    for (size_t i = 0; i < f->count; i++)
      queue[i] = f->queue[(f->head + i) % f->room];
    f->queue = queue;
    f->room = room;
    f->head = 0;
  }
  f->queue[(f->head + f->count++) % f->room] = (struct waiting){*c, eof};
  uint64_t before = f->stock->excess;
  f->queued += flow_cost(c->size);
  flow_account(f);
  if (f->stock->excess > before + 3 * (uint64_t)WINDOW_MESSAGE_COST && before > 2 * f->stock->budget)
    broken(f->w, "%s: more is taken, though the budget is overrun by %llu bytes", f->name,
           (unsigned long long)(before - f->stock->budget));
}

void flow_drop(struct flow *f)
{
  f->drop = true;
  f->count = 0;
  f->queued = 0;
  f->said = 0;
  flow_account(f);
}

/* A part of the first of the queue. False: the socket takes nothing now. */
static bool write_first(struct flow *f)
{
  struct waiting *first = &f->queue[f->head];
  if (first->content.size > 0 && f->socket == NULL)
    return false;
  int n = first->content.size > 0 ? application_write(f->socket, &first->content) : 0;
  if (n == APPLICATION_AGAIN)
    return false;
  if (n == APPLICATION_FAILED) {
    flow_tell(f, TOLD_FAILED, &f->failed_told);
    flow_drop(f);
    return false;
  }
  first->content.at += (uint64_t)n;
  first->content.size -= (uint32_t)n;
  f->queued -= (uint64_t)n;
  flow_account(f);
  bool whole = first->content.size == 0, eof = whole && first->eof;
  acks_taken(&f->acks, (uint64_t)n + eof, whole, f->w->now);
  if (!whole)
    return true;
  f->queued -= WINDOW_MESSAGE_COST;
  flow_account(f);
  f->head = (f->head + 1) % f->room;
  f->count--;
  if (eof) {
    flow_tell(f, TOLD_REMOTE, &f->remote_told);
    f->drop = true;
  }
  return true;
}

void flow_write(struct flow *f)
{
  while (f->count > 0 && write_first(f))
    ;
  if (f->line != NULL)
    line_check_end(f->line);
}

bool flow_is_empty(const struct flow *f)
{
  return f->count == 0;
}

static void protocol_error(struct flow *f, const char *what)
{
  if (!f->hostile)
    broken(f->w, "%s: %s", f->name, what);
  TRACE(f->w, "%s: %s", f->name, what);
  line_cancel(f->line);
}

static bool take_ack(struct flow *f, const struct ack *ack)
{
  f->heard = true;
  if (window_acked(&f->window, ack, UINT64_MAX, f->w->now) != 0 || sequence_out_acked(&f->out, ack->taken) != 0) {
    protocol_error(f, "an ack that cannot be");
    return false;
  }
  if (ack->limit > 0 && f->window.size > ack->limit)
    broken(f->w, "%s: its window is larger than the limit that it heard", f->name);
  flow_check_kept(f, 0);
  return true;
}

static void take_original(struct flow *f, const struct message *m)
{
  f->in.received += m->content.size;
  if (m->content.size > 0 && !f->drop)
    append(f, &m->content, false);
  flow_write(f);
}

static bool take_data(struct flow *f, const struct message *m)
{
  struct content c = m->content;
  uint64_t skip = 0;
  struct sequence_in before = f->in;
  int news = sequence_in_message(&f->in, m->has_offset, m->offset, c.size, m->eof, &skip);
  if (news < 0) {
    protocol_error(f, "a gap, or something behind the end");
    return false;
  }
  c.at += skip;
  c.size -= (uint32_t)skip;
  uint64_t most = f->own_limit > f->first_limit ? f->own_limit : f->first_limit, queued = f->queued + flow_cost(c.size);
  bool takes = news > 0 && !f->drop;
  if (takes && window_overrun(most, queued, 0, f->stock->budget)) {
    protocol_error(f, "the other side sent more than it may");
    return false;
  }
  if (takes && window_overrun(most, queued, f->stock->excess, f->stock->budget)) {
    TRACE(f->w, "%s: the budget is overrun", f->name);
    f->in = before;
    line_cancel(f->line);
    return false;
  }
  if (takes)
    append(f, &c, m->eof);
  if (!f->hostile && window_overrun(f->said > WINDOW_MIN ? f->said : WINDOW_MIN, f->queued, 0, 0))
    broken(f->w, "%s: has more than the other side said it means to have", f->name);
  flow_write(f);
  return true;
}

bool flow_hears(const struct flow *f)
{
  return f->closed || window_hears(!f->original, f->count == 0);
}

void flow_message(struct flow *f, const struct message *m)
{
  if (f->original) {
    if (!f->closed)
      take_original(f, m);
    return;
  }
  if (f->closed || f->line->stream->ended)
    return;
  if (m->has_window && !f->drop)
    f->said = m->window < f->own_limit ? m->window : f->own_limit;
  flow_account(f);
  if (m->has_ack && !take_ack(f, &m->ack))
    return;
  if ((m->content.size > 0 || m->eof) && !take_data(f, m))
    return;
  flow_run(f);
}
