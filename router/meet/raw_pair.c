/* Two raw connections joined. The service is told what the forward began with; from then on what comes on one goes out
 * on the other, unread.
 *
 * As long as a watch is there, gRPC's pings tell whether its machine is. A pair that outlives a watch has nobody who
 * would: then TCP asks. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <utlist.h>

#include "proto/rpc/rpc.h"
#include "raw.h"
#include "router/names/passes.h"
#include "router/splice/splice.h"

enum { FORWARD, SERVICE, PARTS_MAX = 4, IDLE_S = 10, INTERVAL_S = 5, PROBES = 3, ANSWER_MS = 25000 };

struct raw_pair {
  struct errand begin, cut;
  struct raws *all;
  struct raw *sides[2]; /* until it begins */
  struct rpc_message *first;
  struct splice *splice; /* the raw thread's */
  bool cutting, ended;
  uint64_t began; /* the older one of the two; ms */
  void (*over)(void *arg);
  void *arg;
  struct raw_end ends[2];
  struct raw_pair *prev, *next;
};

/* ---- Without a watch ---- */

static void fd_ask(int fd)
{
  static const int on = 1, idle = IDLE_S, interval = INTERVAL_S, probes = PROBES, answer = ANSWER_MS;
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
  (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &answer, sizeof answer);
  (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* Their pairs are there, and so are their descriptors, which are closed on this thread. */
static void on_adopt(struct errand *e)
{
  struct raws *all = (struct raws *)((char *)e - offsetof(struct raws, adopt));
  raws_enter(all);
  all->adopting = false;
  while (all->orphans != NULL) {
    struct raw_end *end = all->orphans;
    DL_DELETE(all->orphans, end);
    end->prev = NULL;
    fd_ask(end->fd);
  }
  raws_leave(all);
}

static void orphans_adopt(struct raws *all)
{
  if (all->orphans == NULL || all->adopting)
    return;
  all->adopting = true;
  raws_decide(all, &all->adopt, on_adopt);
}

/* ---- Pairs ---- */

static void end_unlist(struct raw_end *end, struct raws *all, bool is_orphan)
{
  /* The analyzer does not know that what is in a list has neighbours. */
  if (end->pass != NULL)
    DL_DELETE(end->pass->ends, end); /* NOLINT(clang-analyzer-core.NullDereference) */
  else if (is_orphan)
    DL_DELETE(all->orphans, end); /* NOLINT(clang-analyzer-core.NullDereference) */
}

/* On the raw thread. */
static void pair_over(struct raw_pair *p)
{
  struct raws *all = p->all;
  raws_enter(all);
  DL_DELETE(all->pairs, p); /* NOLINT(clang-analyzer-core.NullDereference) */
  for (size_t i = 0; i < 2; i++)
    end_unlist(&p->ends[i], all, p->ends[i].prev != NULL);
  p->over(p->arg);
  p->ended = true;
  bool cutting = p->cutting;
  raws_leave(all);
  if (!cutting)
    free(p);
}

static void on_over(void *arg, bool orderly)
{
  (void)orderly;
  pair_over(arg);
}

static size_t word_make(const struct raw_pair *p, uint8_t out[RAW_WORD_MAX])
{
  const struct raw *service = p->sides[SERVICE];
  const struct raw_place place = {.counter = service->counter};
  struct iovec parts[PARTS_MAX];
  uint8_t first[RAW_FIRST_MAX];
  size_t count = rpc_message_parts(p->first, parts, PARTS_MAX), size = 0;
  for (size_t i = 0; i < count && i < PARTS_MAX && size + parts[i].iov_len <= sizeof first; i++) {
    memcpy(first + size, parts[i].iov_base, parts[i].iov_len);
    size += parts[i].iov_len;
  }
  return raw_word_seal_first(out, &service->keys, &place, first, size);
}

static void on_begin(struct errand *e)
{
  struct raw_pair *p = (struct raw_pair *)((char *)e - offsetof(struct raw_pair, begin));
  uint8_t word[RAW_WORD_MAX];
  struct splice_side sides[2] = {{.first = NULL}, {.first = word, .first_size = word_make(p, word)}};
  for (size_t i = 0; i < 2; i++) {
    sides[i].fd = p->sides[i]->fd;
    sides[i].resets = true;
    sides[i].watched = p->sides[i]->watched ? &p->sides[i]->watch : NULL;
  }
  int error = splice_start(p->all->splices, &p->splice, sides, on_over, p);
  rpc_message_free(p->first);
  p->first = NULL;
  for (size_t i = 0; i < 2; i++) {
    if (error)
      raw_reset(&p->sides[i]->decided);
    else
      raw_free(p->sides[i]);
  }
  if (error)
    pair_over(p);
}

int raw_pair_join(struct raws *all, const struct leg legs[2], void (*over)(void *arg), void *arg)
{
  struct raw_pair *p = calloc(1, sizeof *p);
  if (p == NULL)
    return -ENOMEM;
  p->all = all;
  p->first = legs[FORWARD].first;
  p->over = over;
  p->arg = arg;
  for (size_t i = 0; i < 2; i++) {
    struct raw *r = legs[i].raw;
    p->sides[i] = r;
    p->began = i == 0 || r->began < p->began ? r->began : p->began;
    p->ends[i] = (struct raw_end){.pass = r->pass, .fd = r->fd};
    raw_unlist(r);
    r->state = RAW_DECIDED;
    r->keeper = NULL;
    if (r->pass != NULL)
      DL_APPEND(r->pass->ends, &p->ends[i]);
    else
      DL_APPEND(all->orphans, &p->ends[i]);
  }
  DL_APPEND(all->pairs, p);
  raws_decide(all, &p->begin, on_begin);
  orphans_adopt(all);
  return 0;
}

void raw_pairs_orphan(struct raws *all, struct pass *p)
{
  while (p->ends != NULL) {
    struct raw_end *end = p->ends;
    DL_DELETE(p->ends, end);
    end->pass = NULL;
    DL_APPEND(all->orphans, end);
  }
  orphans_adopt(all);
}

/* ---- Ends that are not their own ---- */

static void on_cut(struct errand *e)
{
  struct raw_pair *p = (struct raw_pair *)((char *)e - offsetof(struct raw_pair, cut));
  if (!p->ended)
    splice_cut(p->splice);
  free(p);
}

uint64_t raw_pairs_end_old(struct raws *all, uint64_t now, uint64_t age_ms)
{
  uint64_t left = age_ms;
  struct raw_pair *p;
  DL_FOREACH(all->pairs, p)
  {
    uint64_t age = now - p->began;
    if (age >= age_ms && !p->cutting) {
      p->cutting = true;
      raws_decide(all, &p->cut, on_cut);
    } else if (age < age_ms && age_ms - age < left) {
      left = age_ms - age;
    }
  }
  return left;
}

void raw_pairs_end(struct raws *all)
{
  while (all->pairs != NULL)
    splice_cut(all->pairs->splice);
}
