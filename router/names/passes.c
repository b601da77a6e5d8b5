/* A hash by name. */
#include "passes.h"

#include <stdlib.h>
#include <string.h>

#include "proto/wire/identity.h"

struct passes {
  struct pass *by_watch;
};

struct passes *passes_open(void)
{
  return calloc(1, sizeof(struct passes));
}

void passes_close(struct passes *ps)
{
  free(ps);
}

struct pass *pass_create(struct passes *ps)
{
  struct pass *p = calloc(1, sizeof *p);
  if (p == NULL)
    return NULL;
  identity_random(p->watch, sizeof p->watch);
  HASH_ADD(hh, ps->by_watch, watch, RAW_WATCH_SIZE, p);
  if (p->hh.tbl == NULL) {
    free(p);
    return NULL;
  }
  identity_random(p->secret, sizeof p->secret);
  raw_keys_derive(&p->keys, p->secret);
  return p;
}

void pass_end(struct passes *ps, struct pass *p)
{
  HASH_DEL(ps->by_watch, p); /* NOLINT(clang-analyzer-core.NullDereference): what is in a table has neighbours */
  pass_told(p);
  raw_keys_wipe(&p->keys);
  free(p);
}

void pass_told(struct pass *p)
{
  explicit_bzero(p->secret, sizeof p->secret);
}

struct pass *passes_find(const struct passes *ps, const uint8_t watch[RAW_WATCH_SIZE])
{
  struct pass *p;
  HASH_FIND(hh, ps->by_watch, watch, RAW_WATCH_SIZE, p);
  return p;
}
