/* What a connection says first, and what it says when it was kept warm. A preamble is looked at where it is until it is
 * whole; what is behind it stays there. Nothing is believed of one that was not sealed by its watch, or was used
 * before: such a connection is closed without a word. */
#include "raws.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "first_message.h"
#include "meet.h"
#include "raw.h"
#include "rendezvous.h"
#include "router/door/door.h"
#include "router/names/names.h"
#include "router/names/passes.h"
#include "router/splice/splice.h"

enum {
  EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET,
  PIECE = 16 << 10,
  PIPE_BYTES = 256 << 20,
  PIPES_IDLE = 32,
  LINGER_MS = 2000,
  SLOW_MS = 5000,
  QUESTION_SIZE = 1,
};

static const char draining[] = "the router is draining";

/* ---- Decisions ---- */

static void on_carry_out(struct errand *e)
{
  struct raws *all = (struct raws *)((char *)e - offsetof(struct raws, carry_out));
  rpc_queue_lock(all->queue);
  all->asked = false;
  struct errand *first = errands_take(&all->decisions);
  rpc_queue_unlock(all->queue);
  errands_run(first);
}

void raws_enter(struct raws *all)
{
  rpc_queue_lock(all->queue);
  all->deciding = true;
}

void raws_leave(struct raws *all)
{
  all->deciding = false;
  struct errand *first = errands_take(&all->decisions);
  rpc_queue_unlock(all->queue);
  errands_run(first);
}

void raws_decide(struct raws *all, struct errand *e, void (*run)(struct errand *e))
{
  e->run = run;
  errands_add(&all->decisions, e);
  if (all->deciding || all->asked)
    return;
  all->asked = true;
  poller_post(all->poller, &all->carry_out);
}

/* ---- Preambles ---- */

/* Whether the raw connection is of this pass, which has sealed it. */
static bool preamble_take(struct pass *p, const struct raw_head *head, const uint8_t *preamble,
                          uint8_t first[RAW_FIRST_MAX], int *first_size)
{
  if (!raw_window_is_fresh(&p->window, head->counter))
    return false;
  *first_size = raw_preamble_open(&p->keys, preamble, preamble + RAW_HEAD_SIZE, first);
  return *first_size >= 0 && raw_window_use(&p->window, head->counter);
}

static void greeted(struct raw *r)
{
  struct raws *all = r->all;
  const struct router_limits *limits = meet_limits(all->meet);
  struct pass *p = r->pass;
  r->state = RAW_WARM;
  DL_APPEND(p->warm, r);
  DL_APPEND2(all->warm, r, all_prev, all_next);
  all->warm_count++;
  if (++p->warm_count > limits->warm_per_watch)
    raw_decide(p->warm, raw_reset);
  else if (all->warm_count > limits->warm)
    raw_decide(all->warm, raw_reset);
}

static void leg_begins(struct raw *r, const uint8_t *first, size_t size)
{
  struct raws *all = r->all;
  struct leg leg = {.kind = &leg_raw, .raw = r};
  struct header h;
  const char *why;
  r->state = RAW_LEG;
  r->began = door_now();
  DL_APPEND(r->pass->legs, r);
  DL_APPEND2(all->legs, r, all_prev, all_next);
  enum rpc_status status = first_message_read(first, size, &h, &why);
  if (door_phase(meet_door(all->meet)) != DOOR_SERVING)
    raw_refuse(r, RPC_UNAVAILABLE, draining);
  else if (status != RPC_OK)
    raw_refuse(r, status, why);
  else
    rendezvous_begin(all->meet, &leg, &h);
  explicit_bzero(&h, sizeof h);
}

static void preamble_follow(struct raw *r, uint64_t counter, const uint8_t *first, size_t size)
{
  r->counter = counter;
  if (size == 0)
    greeted(r);
  else if (size == QUESTION_SIZE && first[0] == 0)
    raw_refuse(r, RPC_OK, "");
  else
    leg_begins(r, first, size);
}

/* With the home lock. False: it is not to be had, or wrong. */
static bool preamble_read(struct raws *all, struct raw *r, struct pass *p, const uint8_t *preamble, size_t size)
{
  struct raw_head head;
  uint8_t first[RAW_FIRST_MAX];
  int first_size = 0;
  if (raw_head_read(preamble, &head) != 0)
    return false;
  if (p == NULL)
    p = passes_find(router_names_passes(meet_names(all->meet)), head.watch);
  if (p == NULL || memcmp(p->watch, head.watch, sizeof head.watch) != 0)
    return false;
  if (!preamble_take(p, &head, preamble, first, &first_size)) {
    const struct leg leg = {.raw = r};
    char room[LEG_PEER_MAX];
    door_report(meet_door(all->meet), "%s began a raw stream with what its watch has not sealed, or used before",
                leg_raw.peer(&leg, room));
    return false;
  }
  /* It was seen there already. */
  if (recv(r->fd, NULL, size, MSG_TRUNC) != (ssize_t)size)
    return false;
  r->pass = p;
  r->keys = p->keys;
  preamble_follow(r, head.counter, first, (size_t)first_size);
  explicit_bzero(first, sizeof first);
  return true;
}

/* ---- On the raw thread ---- */

/* A pair is watched by whoever passes it on. */
static void watch_begin(struct raw *r)
{
  if (r->watched || (r->state != RAW_WARM && r->state != RAW_LEG))
    return;
  r->watched = poller_add(r->all->poller, r->fd, EVENTS, &r->watch) == 0;
  if (r->watched)
    return;
  struct leg_keeper *k = r->keeper;
  raw_decide(r, raw_reset);
  if (k != NULL)
    k->closed(k);
}

/* A warm one has said something. */
static void warm_ready(struct raw *r, uint32_t events)
{
  uint8_t bytes[RAW_PREAMBLE_MAX];
  ssize_t size = recv(r->fd, bytes, sizeof bytes, MSG_PEEK);
  if (size < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  int whole = size > 0 ? raw_preamble_size(bytes, (size_t)size) : -EBADMSG;
  if (whole >= 0 && (whole == 0 || size < whole)) {
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
      raw_decide(r, raw_reset);
    else if (r->slow.at == 0)
      poller_deadline_set(&r->all->slow, &r->slow);
    return;
  }
  poller_deadline_clear(&r->all->slow, &r->slow);
  r->slow.at = 0;
  struct pass *p = r->pass;
  raw_unlist(r);
  r->state = RAW_COMES;
  if (whole < 0 || !preamble_read(r->all, r, p, bytes, (size_t)whole))
    raw_decide(r, raw_reset);
}

static void on_slow(struct poller_deadline *d)
{
  struct raw *r = (struct raw *)((char *)d - offsetof(struct raw, slow));
  struct raws *all = r->all;
  raws_enter(all);
  if (r->state == RAW_WARM)
    raw_decide(r, raw_reset);
  raws_leave(all);
}

/* One that waits for its partner has said something, or is gone. */
static void leg_ready(struct raw *r, uint32_t events)
{
  struct leg_keeper *k = r->keeper;
  char byte;
  bool gone = (events & (EPOLLERR | EPOLLHUP)) != 0;
  if (!gone && k->said != NULL) {
    ssize_t size = recv(r->fd, &byte, 1, MSG_PEEK);
    if (size >= 0) {
      k->said(k, size == 0);
      return;
    }
    gone = errno != EAGAIN && errno != EINTR;
  }
  if (!gone)
    return;
  raw_decide(r, raw_reset);
  k->closed(k);
}

/* Something has happened on its descriptor. */
static void raw_ready(struct poller_watch *w, uint32_t events)
{
  struct raw *r = (struct raw *)((char *)w - offsetof(struct raw, watch));
  struct raws *all = r->all;
  raws_enter(all);
  if (r->state == RAW_WARM)
    warm_ready(r, events);
  else if (r->state == RAW_LEG)
    leg_ready(r, events);
  bool lingers = r->state == RAW_LINGERS;
  raws_leave(all);
  if (lingers)
    raw_linger_ready(r);
}

void raws_arrive(struct raws *all, int fd, struct poller_watch *watched, const uint8_t *preamble, size_t size)
{
  struct raw *r = calloc(1, sizeof *r);
  if (r == NULL) {
    if (watched != NULL)
      poller_remove(all->poller, -1, watched);
    close(fd);
    return;
  }
  *r = (struct raw){.watch = {.ready = raw_ready}, .all = all, .fd = fd};
  r->watched = watched != NULL && poller_hand_over(all->poller, fd, EVENTS, watched, &r->watch) == 0;
  if (watched != NULL && !r->watched)
    poller_remove(all->poller, fd, watched);
  raws_enter(all);
  if (preamble_read(all, r, NULL, preamble, size))
    watch_begin(r);
  else
    raw_decide(r, raw_reset);
  raws_leave(all);
}

/* ---- All of them ---- */

int raws_open(struct raws **out, struct meet *in, struct poller *p)
{
  const struct splice_limits limits = {.piece = PIECE, .pipe_bytes = PIPE_BYTES, .pipes_idle = PIPES_IDLE};
  struct raws *all = calloc(1, sizeof *all);
  if (all == NULL)
    return -ENOMEM;
  int error = splices_open(&all->splices, p, &limits);
  if (error) {
    free(all);
    return error;
  }
  all->meet = in;
  all->queue = door_queue(meet_door(in));
  all->poller = p;
  errands_start(&all->decisions);
  all->carry_out.run = on_carry_out;
  all->linger = (struct poller_delay){.ms = LINGER_MS, .due = raw_linger_late};
  all->slow = (struct poller_delay){.ms = SLOW_MS, .due = on_slow};
  poller_delay_add(p, &all->linger);
  poller_delay_add(p, &all->slow);
  meet_set_raws(in, all);
  *out = all;
  return 0;
}

static void leg_ends(struct raw *r, enum rpc_status status, const char *text)
{
  struct leg_keeper *k = r->keeper;
  raw_refuse(r, status, text);
  k->closed(k);
}

void raws_pass_ends(struct raws *all, struct pass *p)
{
  struct raw *r, *next;
  while (p->warm != NULL)
    raw_decide(p->warm, raw_reset);
  DL_FOREACH_SAFE(p->legs, r, next)
  {
    if (r->keeper->said != NULL) {
      leg_ends(r, RPC_UNAVAILABLE, "the watch is over");
    } else {
      DL_DELETE(p->legs, r);
      r->pass = NULL;
    }
  }
  raw_pairs_orphan(all, p);
}

uint64_t raws_end_old(struct raws *all, uint64_t age_ms, enum rpc_status status, const char *text)
{
  uint64_t now = door_now(), left = age_ms;
  struct raw *r, *next;
  DL_FOREACH_SAFE2(all->legs, r, next, all_next)
  {
    uint64_t age = now - r->began;
    if (age < age_ms) {
      left = age_ms - age;
      break;
    }
    leg_ends(r, status, text);
  }
  uint64_t pairs_left = raw_pairs_end_old(all, now, age_ms);
  return pairs_left < left ? pairs_left : left;
}

void raws_end(struct raws *all)
{
  if (all == NULL)
    return;
  raws_enter(all);
  while (all->legs != NULL)
    leg_ends(all->legs, RPC_UNAVAILABLE, draining);
  while (all->warm != NULL)
    raw_decide(all->warm, raw_reset);
  raws_leave(all);
  raw_pairs_end(all);
  raw_linger_close_all(all);
  splices_close(all->splices);
  all->splices = NULL;
  poller_delay_remove(all->poller, &all->linger);
  poller_delay_remove(all->poller, &all->slow);
}

void raws_close(struct raws *all)
{
  free(all);
}
