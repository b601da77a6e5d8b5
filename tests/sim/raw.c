#include "raw.h"

#include <string.h>
#include <sys/epoll.h>

#include "process.h"
#include "proto/wire/raw.h"
#include "proto/wire/raw_frame.h"
#include "router/splice/splice.h"
#include "tcp.h"

/* Without its seal. */
struct preamble {
  uint64_t counter;
  struct label label;
};

enum {
  WORD_SIZE = RAW_LENGTH_SIZE + RAW_TAG_SIZE + 1 + sizeof(struct label), /* of both kinds */
  FRAME_SIZE = RAW_FRAME_LENGTH_SIZE + sizeof(struct message),
  KIND_AT = RAW_LENGTH_SIZE + RAW_TAG_SIZE,
};

#define OUT_MAX (4 * (size_t)FRAME_SIZE + sizeof(struct preamble))

struct raw {
  struct stream *stream;
  uint64_t registration, counter;
  struct tcp_end *client, *router; /* ends */
  /* The client's: */
  uint8_t out[OUT_MAX];
  size_t out_size;
  bool fin_due, hears_word; /* S: what comes first is a word. F: it may be */
  uint8_t in[WORD_SIZE > FRAME_SIZE ? WORD_SIZE : FRAME_SIZE];
  size_t in_size;
  bool ended_in, gone;
  /* The router's: */
  struct splice *splice; /* it is one of a pair */
  bool opened;           /* its preamble was good */
  struct raw *other;
};

/* ---- The client: out ---- */

static void flush(struct raw *r)
{
  long n = 0;
  while (r->out_size > 0 && (n = tcp_send(r->client, r->out, r->out_size)) > 0) {
    r->out_size -= (size_t)n;
    memmove(r->out, r->out + n, r->out_size);
  }
  if (r->out_size == 0 && r->fin_due)
    tcp_half_close(r->client);
}

static void append(struct raw *r, const void *bytes, size_t size)
{
  if (r->out_size + size > sizeof r->out)
    broken(r->stream->w, "more is said than a raw stream takes");
  memcpy(r->out + r->out_size, bytes, size);
  r->out_size += size;
}

static void check_later(struct world *w, void *subject, uint64_t arg);

/* A half-close alone is no frame. */
static bool says_something(const struct message *m)
{
  return m->has_label || m->has_ack || m->has_window || m->has_reset || m->has_refused || m->eof || m->content.size > 0;
}

void raw_send(struct stream *s, const struct message *m)
{
  struct raw *r = s->raw;
  if (says_something(m)) {
    uint8_t length[RAW_FRAME_LENGTH_SIZE];
    raw_frame_write(length, sizeof *m);
    append(r, length, sizeof length);
    append(r, m, sizeof *m);
  }
  r->fin_due |= m->half_close;
  flush(r);
  s->busy = r->out_size > 0;
  if (r->fin_due)
    world_after(s->w, 0, check_later, r, 0);
}

/* ---- The client: in ---- */

static void end(struct raw *r, enum stream_end how)
{
  if (r->gone)
    return;
  r->gone = true;
  r->client->resets = how != STREAM_OK;
  tcp_close(r->client);
  router_tell_end(r->stream, how);
}

static void check_end(struct raw *r)
{
  if (!r->gone && r->ended_in && r->fin_due && r->out_size == 0)
    end(r, STREAM_OK);
}

static void check_later(struct world *w, void *subject, uint64_t arg)
{
  (void)w, (void)arg;
  check_end(subject);
}

static void take_word(struct raw *r)
{
  struct message *first = world_alloc(r->stream->w, sizeof *first); /* it may be held */
  if (r->in[KIND_AT] == RAW_WORD_STATUS) {
    end(r, (enum stream_end)r->in[KIND_AT + 1]);
    return;
  }
  first->has_label = true;
  memcpy(&first->label, r->in + KIND_AT + 1, sizeof first->label);
  r->hears_word = false;
  r->stream->events->message(r->stream, first);
}

static void take_frame(struct raw *r)
{
  struct message *m = world_alloc(r->stream->w, sizeof *m);
  memcpy(m, r->in + RAW_FRAME_LENGTH_SIZE, sizeof *m);
  r->hears_word = false;
  r->stream->events->message(r->stream, m);
}

/* How much there must be of what comes: first its length. */
static size_t wanted(const struct raw *r)
{
  if (r->in_size < RAW_LENGTH_SIZE)
    return RAW_LENGTH_SIZE;
  if (r->hears_word && raw_word_length(r->in) > 0)
    return WORD_SIZE;
  if (raw_frame_read(r->in) != (int)sizeof(struct message))
    broken(r->stream->w, "stream %llu: what comes is no frame", (unsigned long long)r->stream->number);
  return FRAME_SIZE;
}

static void read_some(struct raw *r)
{
  while (!r->gone && !r->stream->closed) {
    size_t want = wanted(r);
    if (want == r->in_size) {
      bool is_word = want == WORD_SIZE && r->hears_word && raw_word_length(r->in) > 0;
      r->in_size = 0;
      if (is_word)
        take_word(r);
      else
        take_frame(r);
      continue;
    }
    long n = tcp_receive(r->client, r->in + r->in_size, want - r->in_size, false);
    if (n == TCP_AGAIN)
      return;
    if (n <= 0) {
      r->ended_in = n == 0 && r->in_size == 0 && !r->hears_word;
      if (!r->ended_in)
        end(r, STREAM_LOST);
      check_end(r);
      return;
    }
    r->in_size += (size_t)n;
  }
}

static void client_told(struct tcp_end *e, unsigned news)
{
  struct raw *r = e->user;
  struct stream *s = r->stream;
  if (r->gone || s->ended)
    return;
  if (news & EPOLLERR) {
    end(r, STREAM_LOST);
    return;
  }
  read_some(r);
  if (r->gone || s->closed)
    return;
  flush(r);
  check_end(r);
  if (r->gone || r->out_size > 0 || !s->busy)
    return;
  s->busy = false;
  if (!s->over)
    s->events->ready(s);
}

static struct raw *make(struct stream *s)
{
  struct raw *r = world_alloc(s->w, sizeof *r);
  s->raw = r;
  r->stream = s;
  r->client = tcp_open(s->w, s->delay);
  r->router = r->client->peer;
  r->client->user = r;
  r->client->told = client_told;
  r->client->resets = true;
  r->hears_word = true;
  return r;
}

void raw_abandon(struct stream *s)
{
  struct raw *r = s->raw;
  if (r->gone)
    return;
  r->gone = true;
  tcp_close(r->client);
}

/* ---- The router ---- */

static void close_router_end(struct raw *r, bool resets)
{
  if (r->router->closed)
    return;
  r->router->resets = resets;
  r->router->told = NULL;
  tcp_close(r->router);
}

/* No counter is good twice: this is what the router looks at, and what the world remembers. */
static bool is_fresh(struct raw *r, uint64_t counter)
{
  struct process *p = r->stream->client;
  if (p->link.registration != r->registration || !raw_window_use(&p->link.window, counter))
    return false;
  if (p->link.used[counter % LINK_COUNTERS] == counter)
    broken(r->stream->w, "%s: preamble %llu is good twice", process_name(p), (unsigned long long)counter);
  p->link.used[counter % LINK_COUNTERS] = counter;
  return true;
}

static void gone(struct raw *r)
{
  close_router_end(r, true);
  router_raw_over(r->stream);
}

/* Until the pair, the router reads no more than the preamble. */
static void router_told(struct tcp_end *e, unsigned news)
{
  struct raw *r = e->user;
  struct preamble p;
  if (news & EPOLLERR) {
    gone(r);
    return;
  }
  if (r->opened)
    return;
  long n = tcp_receive(e, &p, sizeof p, true);
  if (n == 0 || n == TCP_BROKEN) {
    gone(r);
    return;
  }
  if (n < (long)sizeof p)
    return;
  tcp_receive(e, &p, sizeof p, false);
  if (!is_fresh(r, p.counter)) {
    gone(r);
    return;
  }
  r->opened = true;
  router_arrived(r->stream, &p.label);
}

/* Somebody on the way says the same once more. */
static void replay(struct world *w, void *subject, uint64_t counter)
{
  (void)w;
  struct raw *r = subject;
  if (instance_is_alive(r->stream->instance) && is_fresh(r, counter))
    router_forge(w, &r->stream->label, roll(w, 5 * SECOND));
}

void raw_dial(struct stream *s, const struct label *label)
{
  struct raw *r = make(s);
  struct world *w = s->w;
  struct link *link = &s->client->link;
  struct preamble p;
  memset(&p, 0, sizeof p);
  p.counter = r->counter = ++link->counter;
  p.label = s->label = *label;
  r->registration = link->registration;
  r->router->user = r;
  r->router->told = router_told;
  append(r, &p, sizeof p);
  flush(r);
  if (!w->quiet && s->instance != NULL && chance(w, w->plan.replays))
    world_after(w, roll(w, 10 * SECOND), replay, r, p.counter);
}

void raw_parked(struct stream *s)
{
  make(s);
}

static void over(void *arg, bool orderly)
{
  struct raw *f = arg;
  (void)orderly;
  f->splice = f->other->splice = NULL;
  router_raw_over(f->stream);
  router_raw_over(f->other->stream);
}

static void write_word(uint8_t word[WORD_SIZE], uint8_t kind)
{
  memset(word, 0, WORD_SIZE);
  raw_frame_write(word, WORD_SIZE - RAW_LENGTH_SIZE);
  word[0] |= 0x80;
  word[KIND_AT] = kind;
}

void raw_pair(struct stream *f, struct stream *s, struct splices *splices, const struct label *label)
{
  struct raw *from = f->raw, *to = s->raw;
  uint8_t word[WORD_SIZE];
  write_word(word, RAW_WORD_FIRST);
  memcpy(word + KIND_AT + 1, label, sizeof *label);
  from->other = to;
  to->other = from;
  from->router->told = to->router->told = NULL;
  const struct splice_side sides[2] = {{.fd = from->router->fd},
                                       {.fd = to->router->fd, .first = word, .first_size = sizeof word}};
  if (splice_start(splices, &from->splice, sides, over, from) != 0)
    broken(f->w, "a pair cannot be spliced");
  to->splice = from->splice;
}

void raw_refuse(struct stream *f, enum stream_end how)
{
  struct raw *r = f->raw;
  uint8_t word[WORD_SIZE];
  if (r->router->closed)
    return;
  write_word(word, RAW_WORD_STATUS);
  word[KIND_AT + 1] = (uint8_t)how;
  if (!r->router->reset_in)
    tcp_send(r->router, word, sizeof word);
  tcp_receive(r->router, NULL, SIZE_MAX, false); /* or its close would be a reset */
  close_router_end(r, false);
}

void raw_end(struct stream *s)
{
  if (s->raw->splice != NULL)
    splice_cut(s->raw->splice);
  else
    close_router_end(s->raw, true);
}

void raw_vanish(struct stream *s)
{
  s->raw->splice = NULL;
  close_router_end(s->raw, true);
}

void raw_cut(struct stream *s)
{
  tcp_cut(s->raw->client);
}

void raw_router_notices(struct stream *s)
{
  if (!s->raw->router->closed)
    tcp_break(s->raw->router);
}
