#include "raw_line.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "proto/host/home.h"
#include "raw_internal.h"

enum { LOST_IDLE_S = 10 };

void raw_line_unref(struct raw_line *l)
{
  if (--l->refs > 0)
    return;
  raw_keys_wipe(&l->keys);
  free(l);
}

/* ---- Connections that are kept ready ---- */

static size_t warm_count(const struct raw_line *l)
{
  size_t count = 0;
  for (size_t i = 0; i < RAW_WARM; i++)
    count += l->warm[i].fd >= 0;
  return count;
}

static void fill_warm(struct raw_line *l)
{
  for (size_t i = 0; i < RAW_WARM && l->dialled && l->state == RAW_UP; i++)
    raw_warm_fill(&l->warm[i]);
}

/* ---- What is done after what is going on ---- */

static void errand_run(struct errand *e)
{
  struct raw_line *l = (struct raw_line *)((char *)e - offsetof(struct raw_line, errand));
  bool telling = !l->told && l->state != RAW_ASKING && !l->closed;
  l->sent = false;
  if (!l->closed && warm_count(l) < RAW_WARM_FEW)
    fill_warm(l);
  l->told |= telling;
  if (telling)
    l->options.changed(l, l->options.arg);
  raw_line_unref(l);
}

static void do_later(struct raw_line *l)
{
  if (l->sent)
    return;
  l->sent = true;
  l->refs++;
  home_send(l->set->home, &l->errand);
}

void raw_line_refill(struct poller_deadline *d)
{
  struct raw_line *l = (struct raw_line *)((char *)d - offsetof(struct raw_line, refill));
  l->refill.at = 0;
  fill_warm(l);
}

void raw_line_keep_warm(struct raw_line *l)
{
  l->dialled = true;
  if (warm_count(l) < RAW_WARM_FEW)
    do_later(l);
  else if (l->refill.at == 0 && !l->closed)
    poller_deadline_set(&l->set->refill, &l->refill);
}

/* ---- Its state ---- */

static void close_warm(struct raw_line *l)
{
  poller_deadline_clear(&l->set->refill, &l->refill);
  l->refill.at = 0;
  for (size_t i = 0; i < RAW_WARM; i++)
    raw_warm_close(&l->warm[i]);
}

void raw_line_fail(struct raw_line *l, const char *why)
{
  if (l->state == RAW_DOWN)
    return;
  l->state = RAW_DOWN;
  l->told = false;
  snprintf(l->trouble, sizeof l->trouble, "%s", why);
  close_warm(l);
  do_later(l);
}

static void answered(struct raw_line *l, const char *why)
{
  l->question = NULL;
  if (why != NULL) {
    raw_line_fail(l, why);
    return;
  }
  l->state = RAW_UP;
  do_later(l);
}

enum raw_line_state raw_line_state(const struct raw_line *l)
{
  return l->state;
}

const char *raw_line_trouble(const struct raw_line *l)
{
  return l->trouble;
}

bool raw_line_takes(const struct raw_line *l, const struct header *h)
{
  return l->state == RAW_UP && !l->closed && !raw_goals_have(&l->goals, raw_goal_of(h));
}

size_t raw_line_seal(struct raw_line *l, const void *first, size_t size, uint8_t out[RAW_PREAMBLE_MAX],
                     uint64_t *counter)
{
  *counter = atomic_fetch_add(&l->counter, 1) + 1;
  return raw_preamble_seal(out, &l->keys, l->options.watch, *counter, first, size);
}

/* ---- Open, close ---- */

int raw_line_open(struct raw_line **out, struct raw_set *set, const struct raw_line_options *options)
{
  struct raw_line *l = calloc(1, sizeof *l);
  if (l == NULL)
    return -ENOMEM;
  *l = (struct raw_line){.set = set, .options = *options, .refs = 1, .errand.run = errand_run};
  l->near = raw_socket_is_near(&options->address);
  raw_keys_derive(&l->keys, options->secret);
  explicit_bzero(l->options.secret, sizeof l->options.secret);
  for (size_t i = 0; i < RAW_WARM; i++)
    raw_warm_init(&l->warm[i], l);
  int error = raw_question_ask(&l->question, l, answered);
  if (error != 0)
    raw_line_fail(l, strerror(-error));
  *out = l;
  return 0;
}

static void end_streams(struct raw_line *l)
{
  struct raw_stream *s;
  DL_FOREACH(l->streams, s)
  {
    s->stream.kind->cancel(&s->stream, RPC_UNAVAILABLE, "nothing was heard of the router any more");
  }
}

static void watch_peers(struct raw_line *l)
{
  const struct raw_stream *s;
  DL_FOREACH(l->streams, s)
  {
    if (s->fd >= 0)
      raw_socket_watch_peer(s->fd, LOST_IDLE_S);
  }
}

void raw_line_close(struct raw_line *l, enum raw_line_end end)
{
  l->closed = true;
  if (l->question != NULL)
    raw_question_drop(l->question);
  l->question = NULL;
  close_warm(l);
  if (end == RAW_SILENT)
    end_streams(l);
  else if (end == RAW_LOST)
    watch_peers(l);
  raw_line_unref(l);
}
