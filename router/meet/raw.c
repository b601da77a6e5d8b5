/* A raw connection's end. A word is lost if a socket is closed on which something stands unread, and a dial has often
 * said more than its preamble: so what comes is read, and thrown away, until the client closes, for a while. */
#include "raw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utlist.h>

#include "router/names/passes.h"

enum { LINGERING_MAX = 1024, DRAIN = 1 << 20 };

static struct raw *raw_of_decision(struct errand *e)
{
  return (struct raw *)((char *)e - offsetof(struct raw, decided));
}

void raw_unlist(struct raw *r)
{
  struct raws *all = r->all;
  /* The analyzer does not know that what is in a list has neighbours. */
  if (r->state == RAW_WARM) {
    DL_DELETE(r->pass->warm, r);                  /* NOLINT(clang-analyzer-core.NullDereference) */
    DL_DELETE2(all->warm, r, all_prev, all_next); /* NOLINT(clang-analyzer-core.NullDereference) */
    r->pass->warm_count--;
    all->warm_count--;
  } else if (r->state == RAW_LEG) {
    if (r->pass != NULL)
      DL_DELETE(r->pass->legs, r);                /* NOLINT(clang-analyzer-core.NullDereference) */
    DL_DELETE2(all->legs, r, all_prev, all_next); /* NOLINT(clang-analyzer-core.NullDereference) */
  }
}

void raw_decide(struct raw *r, void (*run)(struct errand *e))
{
  raw_unlist(r);
  r->state = RAW_DECIDED;
  r->keeper = NULL;
  raws_decide(r->all, &r->decided, run);
}

void raw_free(struct raw *r)
{
  poller_deadline_clear(&r->all->slow, &r->slow);
  raw_keys_wipe(&r->keys);
  free(r->text);
  free(r);
}

static void raw_close(struct raw *r)
{
  if (r->watched)
    poller_remove(r->all->poller, -1, &r->watch);
  close(r->fd);
  raw_free(r);
}

void raw_reset(struct errand *e)
{
  raw_close(raw_of_decision(e));
}

/* ---- The last word ---- */

static void linger_forget(struct raw *r)
{
  struct raws *all = r->all;
  poller_deadline_clear(&all->linger, &r->late);
  DL_DELETE2(all->lingering, r, all_prev, all_next); /* NOLINT(clang-analyzer-core.NullDereference) */
  all->lingering_count--;
  raw_close(r);
}

void raw_linger_late(struct poller_deadline *d)
{
  linger_forget((struct raw *)((char *)d - offsetof(struct raw, late)));
}

void raw_linger_close_all(struct raws *all)
{
  /* The analyzer takes what was just freed for still in the list. */
  while (all->lingering != NULL)
    linger_forget(all->lingering); /* NOLINT(clang-analyzer-unix.Malloc) */
}

void raw_linger_ready(struct raw *r)
{
  ssize_t size = recv(r->fd, NULL, DRAIN, MSG_TRUNC | MSG_DONTWAIT);
  if (size > 0)
    poller_again(r->all->poller, &r->watch);
  else if (size == 0 || errno != EAGAIN)
    linger_forget(r);
}

/* What was said last is delivered. */
static void linger(struct raw *r)
{
  static const struct linger in_order = {.l_onoff = 0};
  struct raws *all = r->all;
  (void)setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &in_order, sizeof in_order);
  if (!r->watched)
    r->watched = poller_add(all->poller, r->fd, EPOLLIN | EPOLLRDHUP | EPOLLET, &r->watch) == 0;
  if (!r->watched || shutdown(r->fd, SHUT_WR) != 0) {
    raw_close(r);
    return;
  }
  if (all->lingering_count >= LINGERING_MAX)
    linger_forget(all->lingering);
  r->state = RAW_LINGERS;
  DL_APPEND2(all->lingering, r, all_prev, all_next); /* NOLINT(clang-analyzer-unix.Malloc): the same */
  all->lingering_count++;
  poller_deadline_set(&all->linger, &r->late);
  poller_again(all->poller, &r->watch);
}

static void on_refused(struct errand *e)
{
  struct raw *r = raw_of_decision(e);
  uint8_t word[RAW_WORD_MAX];
  const struct raw_place place = {.counter = r->counter};
  size_t size = raw_word_seal_status(word, &r->keys, &place, r->status, r->text);
  if (send(r->fd, word, size, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size)
    linger(r);
  else
    raw_reset(e);
}

void raw_refuse(struct raw *r, enum rpc_status status, const char *text)
{
  r->status = status;
  r->text = strndup(text, RAW_TEXT_MAX);
  raw_decide(r, r->text != NULL ? on_refused : raw_reset);
}
