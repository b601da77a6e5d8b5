/* Few hosts are remembered, and the one that was told longest ago makes room. All hosts together have one pace. */
#include "refusals.h"

#include <string.h>

#include "proto/rpc/peer_name.h"

enum { EVERY_MS = 1000 };

static struct refused *find(struct refusals *rs, const char *host)
{
  for (size_t i = 0; i < rs->count; i++) {
    if (strcmp(rs->hosts[i].host, host) == 0)
      return &rs->hosts[i];
  }
  return NULL;
}

static struct refused *make_room(struct refusals *rs)
{
  struct refused *oldest = &rs->hosts[0];
  if (rs->count < REFUSALS_HOSTS)
    return &rs->hosts[rs->count++];
  for (size_t i = 1; i < rs->count; i++) {
    if (rs->hosts[i].told_at < oldest->told_at)
      oldest = &rs->hosts[i];
  }
  return oldest;
}

bool refusals_tell(struct refusals *rs, const char *peer, uint64_t now, uint64_t *since)
{
  char host[REFUSALS_HOST_MAX] = {0};
  size_t size = peer_name_host_size(peer);
  memcpy(host, peer, size < sizeof host ? size : sizeof host - 1);
  struct refused *r = find(rs, host);
  if (r && now - r->told_at < REFUSALS_AGAIN_MS) {
    r->since++;
    return false;
  }
  if (!pace_allows(&rs->pace, now, REFUSALS_AT_ONCE, EVERY_MS)) {
    if (r)
      r->since++;
    return false;
  }
  *since = r ? r->since : 0;
  r = r ? r : make_room(rs);
  memcpy(r->host, host, sizeof host);
  r->told_at = now;
  r->since = 0;
  return true;
}
