/* A hash of names, with a count of calls each. gRPC has no handle for a connection that we accepted; but as long as it
 * lives, nobody else has its address and port. */
#include "rpc_peer.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#define HASH_FUNCTION HASH_FNV
#include <uthash.h>
#include <uv.h>

#include "unsent.h"

struct rpc_peer {
  struct unsent unsent;
  size_t calls;
  UT_hash_handle hh;
  char name[];
};

struct rpc_peers {
  struct rpc_peer *by_name;
};

struct rpc_peers *rpc_peers_open(void)
{
  return calloc(1, sizeof(struct rpc_peers));
}

void rpc_peers_close(struct rpc_peers *ps)
{
  free(ps);
}

struct rpc_peer *rpc_peer_get(struct rpc_peers *ps, const char *name)
{
  size_t size = strlen(name);
  struct rpc_peer *p;
  HASH_FIND(hh, ps->by_name, name, size, p);
  if (!p) {
    p = calloc(1, sizeof *p + size + 1);
    if (!p)
      return NULL;
    memcpy(p->name, name, size);
    HASH_ADD_KEYPTR(hh, ps->by_name, p->name, size, p);
    if (!p->hh.tbl) {
      free(p);
      return NULL;
    }
  }
  p->calls++;
  return p;
}

void rpc_peer_put(struct rpc_peers *ps, struct rpc_peer *p)
{
  if (!p || --p->calls > 0)
    return;
  HASH_DEL(ps->by_name, p);
  free(p);
}

const char *rpc_peer_name(const struct rpc_peer *p)
{
  return p->name;
}

void rpc_peer_sends(struct rpc_peer *p, size_t size)
{
  if (size < UNSENT_MESSAGE)
    return;
  uint64_t now = uv_hrtime() / 1000;
  if (unsent_due(&p->unsent, now))
    unsent_follow(&p->unsent, p->name, now);
}
