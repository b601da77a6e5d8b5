/* A pair in memory: what one end says waits in a queue until the other one asks for it. With more than ROOM in the
 * queue the one that says is held back, as flow control does it. */
#include "fixture_proto_far.h"

#include <check.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <utlist.h>

#include "proto/host/home.h"
#include "proto/stream/stream.h"
#include "proto/wire/payload.h"

enum {
  ROOM = 64 << 10,    /* bytes */
  STEPS_AT_ONCE = 16, /* then the loop has its turn */
};

struct queued {
  struct queued *prev, *next;
  struct message *message;
};

struct way {
  struct queued *all;
  size_t bytes;
  bool saying, hearing, last_said, last_heard;
};

struct pair {
  struct stream near;
  struct far far;
  struct home *home;
  far_arrive_cb arrive;
  struct way up, down; /* from near to far, and back */
  unsigned original;   /* how many times it is to be told */
  bool started, over, near_told, far_told, freed;
  bool more; /* was announced, and is said before the loop has its turn */
  enum rpc_status status;
  const char *text;
  struct errand step;
  bool stepping; /* it is on its way */
};

static struct pair *of(struct stream *s)
{
  return (struct pair *)s;
}

static struct pair *of_far(struct far *f)
{
  return (struct pair *)((char *)f - offsetof(struct pair, far));
}

static void look(struct pair *p)
{
  if (!p->stepping)
    home_send(p->home, &p->step);
  p->stepping = true;
}

/* ---- A way ---- */

static void put(struct way *w, struct message *m)
{
  struct queued *q = calloc(1, sizeof *q);
  q->message = m;
  w->bytes += m->size;
  DL_APPEND(w->all, q);
}

static struct message *take(struct way *w)
{
  struct queued *q = w->all;
  struct message *m = q->message;
  DL_DELETE(w->all, q);
  free(q);
  w->bytes -= m->size;
  return m;
}

static void drop(struct way *w)
{
  while (w->all != NULL)
    message_free(take(w));
}

/* The next message, or the end, if it was asked for: NULL, and false if neither is there. */
static bool next(struct way *w, bool over, struct message **m)
{
  *m = NULL;
  if (!w->hearing || (w->all == NULL && (w->last_heard || !(w->last_said || over))))
    return false;
  w->hearing = false;
  if (w->all != NULL)
    *m = take(w);
  else
    w->last_heard = true;
  return true;
}

static bool is_through(struct way *w, bool over)
{
  if (!w->saying || (w->bytes > ROOM && !over))
    return false;
  w->saying = false;
  return true;
}

/* ---- What is told ---- */

static bool tell_near(struct pair *p)
{
  const struct stream_user *user = p->near.user;
  struct message *m;
  if (p->original > 0) {
    p->original = 0;
    user->original(p->near.arg);
  } else if (is_through(&p->up, p->over)) {
    user->said(p->near.arg, !p->over);
  } else if (next(&p->down, p->over, &m)) {
    user->heard(p->near.arg, m);
  } else if (p->over && p->down.all == NULL && !p->near_told) {
    p->near_told = true;
    user->ended(p->near.arg, p->status, p->text);
  } else {
    return false;
  }
  return true;
}

static bool tell_far(struct pair *p)
{
  struct message *m;
  if (p->far_told)
    return false;
  if (!p->over && is_through(&p->down, false)) {
    p->far.events->sent(p->far.arg);
  } else if (!p->over && next(&p->up, false, &m)) {
    p->far.events->message(p->far.arg, m);
  } else if (p->over && p->down.all == NULL) {
    p->far_told = true;
    p->far.events->closed(p->far.arg);
  } else {
    return false;
  }
  return true;
}

static void free_pair(struct pair *p)
{
  drop(&p->up);
  drop(&p->down);
  free(p);
}

static void step(struct errand *e)
{
  struct pair *p = (struct pair *)((char *)e - offsetof(struct pair, step));
  p->stepping = false;
  ck_assert(!p->more || p->up.saying || p->over);
  for (int i = 0; i < STEPS_AT_ONCE && !p->freed; i++)
    if (!tell_far(p) && !tell_near(p))
      return;
  if (!p->freed)
    look(p);
  else if (!p->stepping)
    free_pair(p);
}

/* ---- The near end ---- */

/* A half-close says that all was taken: only an end, data or a last word stand before it. */
static void check_last(const struct stream_say *what)
{
  struct iovec head = {.iov_base = (void *)(uintptr_t)what->head, .iov_len = what->head_size};
  struct payload payload;
  if (!what->last || what->head_size == 0 || what->body != NULL)
    return;
  ck_assert_int_eq(payload_parse(&head, 1, &payload), 0);
  ck_assert(payload.eof);
}

static enum stream_said said(struct pair *p)
{
  look(p);
  p->up.saying = p->up.bytes > ROOM;
  return p->up.saying ? STREAM_SAYING : STREAM_SAID;
}

static enum stream_said near_start(struct stream *s, const void *first, size_t size, struct errand **later)
{
  (void)later;
  struct pair *p = of(s);
  p->started = true;
  put(&p->up, message_copy(first, size));
  p->arrive(&p->far);
  return said(p);
}

static enum stream_said near_say(struct stream *s, const struct stream_say *what, struct errand **later)
{
  (void)later;
  struct pair *p = of(s);
  ck_assert(p->started && !p->up.saying && !p->up.last_said);
  ck_assert_uint_le(what->head_size, STREAM_HEAD_MAX);
  check_last(what);
  p->more = what->more;
  if (p->over)
    return STREAM_BROKEN;
  p->up.last_said = what->last;
  if (what->head_size > 0 || what->body != NULL) {
    struct message *m = message_create(2);
    ck_assert_int_eq(bytes_copy(&m->parts[0], what->head, what->head_size), 0);
    if (what->body != NULL)
      m->parts[1] = bytes_share(what->body);
    m->size = m->parts[0].size + m->parts[1].size;
    put(&p->up, m);
  }
  return said(p);
}

static bool near_hear(struct stream *s)
{
  struct pair *p = of(s);
  ck_assert(p->started && !p->down.hearing);
  if (p->down.last_heard)
    return false;
  p->down.hearing = true;
  look(p);
  return true;
}

static void end(struct pair *p, enum rpc_status status, const char *text)
{
  if (!p->over) {
    p->status = status;
    p->text = text != NULL ? text : "";
  }
  p->over = true;
  look(p);
}

static void near_cancel(struct stream *s, enum rpc_status status, const char *text)
{
  struct pair *p = of(s);
  ck_assert(p->started);
  drop(&p->up);
  if (!p->over)
    drop(&p->down);
  end(p, status, text);
}

static bool near_has_no_room(struct stream *s)
{
  (void)s;
  return false;
}

static void near_free(struct stream *s)
{
  struct pair *p = of(s);
  ck_assert(!p->started || (p->near_told && !p->up.saying && !p->down.hearing));
  p->freed = true;
  if (p->started && !p->far_told)
    p->far.events->closed(p->far.arg);
  if (!p->stepping)
    free_pair(p);
}

static const struct stream_kind kind = {
    .name = "memory",
    .start = near_start,
    .say = near_say,
    .hear = near_hear,
    .cancel = near_cancel,
    .has_no_room = near_has_no_room,
    .free = near_free,
    .message_max = 1 << 20,
};

/* ---- The far end ---- */

static bool far_send(struct far *f, struct message *m)
{
  struct pair *p = of_far(f);
  ck_assert(!p->down.saying);
  if (p->over) {
    message_free(m);
    return false;
  }
  put(&p->down, m);
  p->down.saying = true;
  look(p);
  return true;
}

static bool far_receive(struct far *f)
{
  struct pair *p = of_far(f);
  if (p->over || p->up.hearing || p->up.last_heard)
    return false;
  p->up.hearing = true;
  look(p);
  return true;
}

static void far_answer(struct far *f, bool original, int times)
{
  struct pair *p = of_far(f);
  (void)times;
  p->original = original;
  look(p);
}

static void far_finish(struct far *f, enum rpc_status status, const char *text)
{
  struct pair *p = of_far(f);
  p->down.saying = false;
  end(p, status, text);
}

static void far_cancel(struct far *f, enum rpc_status status, const char *text)
{
  struct pair *p = of_far(f);
  drop(&p->down);
  far_finish(f, status, text);
}

static const struct far_ops ops = {
    .send = far_send, .receive = far_receive, .answer = far_answer, .finish = far_finish, .cancel = far_cancel};

struct stream *far_memory_create(struct home *home, far_arrive_cb arrive)
{
  struct pair *p = calloc(1, sizeof *p);
  p->near.kind = &kind;
  p->far.ops = &ops;
  p->home = home;
  p->arrive = arrive;
  p->step.run = step;
  return &p->near;
}
