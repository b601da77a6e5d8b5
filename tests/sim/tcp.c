#include "tcp.h"

#include <string.h>
#include <sys/epoll.h>

#include "world.h"

enum { DESCRIPTOR_FIRST = 2 << 20, ROOM_MIN = 64 };

/* ---- Bytes ---- */

static void put(struct world *w, struct bytes_queue *q, const uint8_t *bytes, size_t size)
{
  if (q->count + size > q->room) {
    size_t room = q->room > 0 ? q->room : ROOM_MIN;
    while (room < q->count + size)
      room *= 2;
    uint8_t *larger = world_alloc(w, room);
    for (size_t i = 0; i < q->count; i++)
      larger[i] = q->bytes[(q->head + i) % q->room];
    *q = (struct bytes_queue){.bytes = larger, .count = q->count, .room = room};
  }
  for (size_t i = 0; i < size; i++)
    q->bytes[(q->head + q->count + i) % q->room] = bytes[i];
  q->count += size;
}

static size_t take(struct bytes_queue *q, uint8_t *out, size_t size, bool peek)
{
  size_t n = size < q->count ? size : q->count;
  for (size_t i = 0; i < n && out != NULL; i++)
    out[i] = q->bytes[(q->head + i) % q->room];
  if (peek)
    return n;
  q->head = q->room > 0 ? (q->head + n) % q->room : 0;
  q->count -= n;
  return n;
}

/* ---- What an end is told: edges, and several at once ---- */

static void tell_now(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  struct tcp_end *e = subject;
  unsigned news = e->news;
  e->told_due = false;
  e->news = 0;
  if (!e->closed && e->told != NULL && news != 0)
    e->told(e, news);
}

static void news(struct tcp_end *e, unsigned what)
{
  e->news |= what;
  if (e->told_due)
    return;
  e->told_due = true;
  world_after(e->w, roll(e->w, 50), tell_now, e, 0);
}

static size_t room_to(const struct tcp_end *e)
{
  size_t used = e->peer->in.count + e->peer->flight, most = e->w->plan.tcp_room;
  return used < most ? most - used : 0;
}

void tcp_tell(struct tcp_end *e)
{
  unsigned what = 0;
  if (e->in.count > 0 || e->fin_in)
    what |= EPOLLIN;
  if (e->fin_in)
    what |= EPOLLRDHUP;
  if (e->reset_in)
    what |= EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLRDHUP;
  if (room_to(e) > 0)
    what |= EPOLLOUT;
  if (what != 0)
    news(e, what);
}

/* ---- What is on its way ---- */

enum kind { SEGMENT, FIN, RESET };

struct segment {
  struct tcp_end *to;
  enum kind kind;
  size_t size;
  uint8_t bytes[];
};

static void arrive(struct world *w, void *subject, uint64_t arg)
{
  (void)arg;
  struct segment *s = subject;
  struct tcp_end *e = s->to;
  e->flight -= s->size;
  if (e->cut || e->reset_in)
    return;
  if (s->kind == SEGMENT && e->closed) { /* nobody is there to read it */
    if (!e->peer->cut && !e->peer->reset_in)
      tcp_break(e->peer);
    return;
  }
  if (s->kind == SEGMENT)
    put(w, &e->in, s->bytes, s->size);
  e->fin_in |= s->kind == FIN;
  e->reset_in |= s->kind == RESET;
  news(e, s->kind == SEGMENT ? EPOLLIN : s->kind == FIN ? EPOLLIN | EPOLLRDHUP : EPOLLERR | EPOLLHUP | EPOLLIN);
}

static void send_segment(struct tcp_end *from, enum kind kind, const void *bytes, size_t size)
{
  struct world *w = from->w;
  struct tcp_end *to = from->peer;
  if (from->cut)
    return;
  struct segment *s = world_alloc(w, sizeof *s + size);
  s->to = to;
  s->kind = kind;
  s->size = size;
  if (size > 0)
    memcpy(s->bytes, bytes, size);
  to->flight += size;
  uint64_t delay = w->quiet && to->delay > 20 * MS ? 20 * MS : to->delay;
  uint64_t at = w->now + 1 + roll(w, delay);
  to->last = at > to->last ? at : to->last + 1;
  world_at(w, to->last, arrive, s, 0);
}

/* ---- For both ends ---- */

long tcp_send(struct tcp_end *e, const void *bytes, size_t size)
{
  if (e->closed || e->fin_out)
    broken(e->w, "something is sent on a connection that is closed");
  if (e->reset_in)
    return TCP_BROKEN;
  size_t room = e->cut ? size : room_to(e), n = size < room ? size : room;
  if (n == 0 && size > 0) {
    e->starved = true;
    return TCP_AGAIN;
  }
  if (n > 1 && chance(e->w, 200))
    n = 1 + roll(e->w, n);
  if (n < size)
    e->starved = true;
  size_t first = chance(e->w, 300) ? roll(e->w, n + 1) : n; /* it travels in pieces */
  if (first > 0)
    send_segment(e, SEGMENT, bytes, first);
  if (first < n)
    send_segment(e, SEGMENT, (const uint8_t *)bytes + first, n - first);
  /* A socket that took less than it was given will say when there is room. */
  if (n < size && room_to(e) > 0)
    news(e, EPOLLOUT);
  return (long)n;
}

long tcp_receive(struct tcp_end *e, void *out, size_t size, bool peek)
{
  if (e->closed)
    broken(e->w, "a connection is read that is closed");
  if (e->reset_in)
    return TCP_BROKEN;
  if (e->in.count == 0)
    return e->fin_in ? 0 : TCP_AGAIN;
  size_t n = take(&e->in, out, size, peek);
  if (!peek && e->peer->starved && room_to(e->peer) > 0) {
    e->peer->starved = false;
    news(e->peer, EPOLLOUT);
  }
  return (long)n;
}

void tcp_half_close(struct tcp_end *e)
{
  if (e->fin_out || e->closed)
    return;
  e->fin_out = true;
  send_segment(e, FIN, NULL, 0);
}

void tcp_close(struct tcp_end *e)
{
  if (e->closed)
    broken(e->w, "a connection is closed twice");
  bool resets = e->resets || e->in.count > 0;
  if (resets && !e->reset_in)
    send_segment(e, RESET, NULL, 0);
  else if (!e->fin_out)
    send_segment(e, FIN, NULL, 0);
  e->closed = true;
  if (e->fd != 0)
    e->w->descriptors_open--;
}

void tcp_cut(struct tcp_end *e)
{
  e->cut = e->peer->cut = true;
}

void tcp_break(struct tcp_end *e)
{
  e->reset_in = true;
  news(e, EPOLLERR | EPOLLHUP | EPOLLIN);
}

/* ---- Descriptors ---- */

struct tcp_end *tcp_open(struct world *w, uint64_t delay)
{
  struct tcp_end *pair = world_alloc(w, 2 * sizeof *pair);
  for (int i = 0; i < 2; i++) {
    pair[i].w = w;
    pair[i].peer = &pair[!i];
    pair[i].delay = delay;
  }
  if (w->tcp_count == w->tcp_room) {
    size_t room = w->tcp_room > 0 ? 2 * w->tcp_room : 32;
    struct tcp_end **all = world_alloc(w, room * sizeof(struct tcp_end *));
    for (size_t i = 0; i < w->tcp_count; i++)
      all[i] = w->tcps[i];
    w->tcps = all;
    w->tcp_room = room;
  }
  pair[1].fd = DESCRIPTOR_FIRST + (int)w->tcp_count;
  w->tcps[w->tcp_count++] = &pair[1];
  w->descriptors_open++;
  return pair;
}

struct tcp_end *tcp_of(const struct world *w, int fd)
{
  size_t index = (size_t)(fd - DESCRIPTOR_FIRST);
  if (fd < DESCRIPTOR_FIRST || index >= w->tcp_count)
    return NULL;
  return w->tcps[index];
}
