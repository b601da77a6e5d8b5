/* A ring by age, and a hash over its places. */
#include "lost.h"

#include <stdlib.h>
#include <string.h>

#include "table.h"

struct place {
  uint8_t member[HEADER_MEMBER_SIZE];
  UT_hash_handle hh;
};

struct lost {
  struct place *by_member;
  size_t max;
  uint64_t added; /* in all; the latest stands at (added - 1) % max */
  struct place ring[];
};

struct lost *lost_open(size_t max)
{
  struct lost *l = calloc(1, sizeof *l + max * sizeof *l->ring);
  if (l)
    l->max = max;
  return l;
}

void lost_close(struct lost *l)
{
  if (!l)
    return;
  HASH_CLEAR(hh, l->by_member);
  free(l);
}

bool lost_has(const struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE])
{
  struct place *p;
  HASH_FIND(hh, l->by_member, member, HEADER_MEMBER_SIZE, p);
  return p != NULL;
}

bool lost_add(struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE])
{
  if (lost_has(l, member))
    return false;
  struct place *p = &l->ring[l->added % l->max];
  if (p->hh.tbl)
    HASH_DEL(l->by_member, p); /* NOLINT(clang-analyzer-core.NullDereference): what is in a table has neighbours */
  memset(p, 0, sizeof *p);
  memcpy(p->member, member, sizeof p->member);
  HASH_ADD(hh, l->by_member, member, sizeof p->member, p);
  if (!p->hh.tbl)
    return false;
  l->added++;
  return true;
}

bool lost_unseen(const struct lost *l, uint64_t seen)
{
  return seen < l->added;
}

size_t lost_read(const struct lost *l, uint64_t *seen, const uint8_t *out[], size_t max)
{
  size_t count = 0;
  if (l->added > l->max && *seen < l->added - l->max)
    *seen = l->added - l->max;
  while (count < max && *seen < l->added)
    out[count++] = l->ring[(*seen)++ % l->max].member;
  return count;
}
