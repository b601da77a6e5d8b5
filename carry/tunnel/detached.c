#include "detached.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <utlist.h>

#include "tunnels_internal.h"

/* One other side, as long as something is held for it. */
struct detached_peer {
  uint8_t member[HEADER_MEMBER_SIZE];
  struct tunnel *oldest;
  size_t count;
  UT_hash_handle hh;
};

/* NULL when memory is short. */
static struct detached_peer *peer_of(struct detached_list *list, const struct tunnel *t)
{
  struct detached_peer *p;
  HASH_FIND(hh, list->peers, t->member, sizeof t->member, p);
  if (p != NULL)
    return p;
  p = calloc(1, sizeof *p);
  if (p == NULL)
    return NULL;
  memcpy(p->member, t->member, sizeof p->member);
  HASH_ADD(hh, list->peers, member, sizeof p->member, p);
  if (p->hh.tbl != NULL)
    return p;
  free(p);
  return NULL;
}

static void leave_peer(struct detached_list *list, struct tunnel *t)
{
  struct detached_peer *p = t->detached.peer;
  if (p == NULL)
    return;
  DL_DELETE2(p->oldest, t, detached.peer_prev, detached.peer_next);
  t->detached.peer = NULL;
  if (--p->count > 0)
    return;
  HASH_DEL(list->peers, p);
  free(p);
}

void detached_remove(struct detached_list *list, struct tunnel *t)
{
  if (!t->detached.listed)
    return;
  t->detached.listed = false;
  DL_DELETE2(list->oldest, t, detached.prev, detached.next);
  leave_peer(list, t);
  list->count--;
  list->bytes -= t->detached.bytes;
}

/* Half of our descriptors stay free for connections that are in use. */
static size_t most_in_all(void)
{
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 2 > DETACHED_MAX)
    return DETACHED_MAX;
  return (size_t)files.rlim_cur / 2;
}

void detached_add(struct detached_list *list, struct tunnel *t)
{
  struct pump_counters c = tunnel_counters(t);
  struct detached_peer *p = peer_of(list, t);
  t->detached = (struct detached){.listed = true, .peer = p, .bytes = c.unacked + c.queued};
  DL_APPEND2(list->oldest, t, detached.prev, detached.next);
  list->count++;
  list->bytes += t->detached.bytes;
  if (p == NULL)
    return;
  DL_APPEND2(p->oldest, t, detached.peer_prev, detached.peer_next);
  p->count++;
}

struct tunnel *detached_surplus(const struct detached_list *list, const struct tunnel *t)
{
  const struct detached_peer *p = t->detached.peer;
  if (list->count > most_in_all() || list->bytes > DETACHED_BYTES_MAX)
    return list->oldest;
  return p != NULL && p->count > DETACHED_PER_PEER_MAX ? p->oldest : NULL;
}
