#include "detached.h"

#include <string.h>
#include <sys/resource.h>
#include <utlist.h>

#include "tunnels_internal.h"

void detached_remove(struct detached_list *list, struct tunnel *t)
{
  if (!t->detached.listed)
    return;
  t->detached.listed = false;
  DL_DELETE2(list->oldest, t, detached.prev, detached.next);
  list->count--;
  list->bytes -= t->detached.bytes;
}

/* Half of our descriptors stay for those that are of use. */
static size_t most_in_all(void)
{
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 2 > DETACHED_MAX)
    return DETACHED_MAX;
  return (size_t)files.rlim_cur / 2;
}

static struct tunnel *oldest_of_peer_if_many(const struct detached_list *list, const struct tunnel *t)
{
  struct tunnel *oldest = NULL, *other;
  size_t count = 0;
  DL_FOREACH2(list->oldest, other, detached.next)
  {
    if (memcmp(other->member, t->member, sizeof t->member) != 0)
      continue;
    oldest = oldest != NULL ? oldest : other;
    count++;
  }
  return count > DETACHED_PER_PEER_MAX ? oldest : NULL;
}

void detached_add(struct detached_list *list, struct tunnel *t)
{
  struct pump_counters c = tunnel_counters(t);
  t->detached = (struct detached){.listed = true, .bytes = c.unacked + c.queued};
  DL_APPEND2(list->oldest, t, detached.prev, detached.next);
  list->count++;
  list->bytes += t->detached.bytes;
}

struct tunnel *detached_surplus(const struct detached_list *list, const struct tunnel *t)
{
  if (list->count > most_in_all() || list->bytes > DETACHED_BYTES_MAX)
    return list->oldest;
  return list->count > DETACHED_PER_PEER_MAX ? oldest_of_peer_if_many(list, t) : NULL;
}
