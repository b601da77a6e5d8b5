/* A list by age, and a hash over it. */
#include "lost.h"

#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "router/door/table.h"

struct place {
  uint8_t member[HEADER_MEMBER_SIZE];
  bool held;
  uint64_t number;
  UT_hash_handle hh;
  struct place *prev, *next;
};

struct lost {
  struct place *by_member;
  struct place *by_age;
  size_t max;
  uint64_t added; /* in all; the number of the latest */
};

struct lost *lost_open(size_t max)
{
  struct lost *l = calloc(1, sizeof *l);
  if (l)
    l->max = max;
  return l;
}

static void forget(struct lost *l, struct place *p)
{
  /* The analyzer does not know that what is in a list has neighbours. */
  HASH_DEL(l->by_member, p); /* NOLINT(clang-analyzer-core.NullDereference) */
  DL_DELETE(l->by_age, p);   /* NOLINT(clang-analyzer-core.NullDereference) */
  free(p);
}

void lost_close(struct lost *l)
{
  if (!l)
    return;
  while (l->by_age)
    forget(l, l->by_age);
  free(l);
}

static struct place *find(const struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE])
{
  struct place *p;
  HASH_FIND(hh, l->by_member, member, HEADER_MEMBER_SIZE, p);
  return p;
}

bool lost_has(const struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE])
{
  return find(l, member) != NULL;
}

static void forget_one(struct lost *l)
{
  struct place *p = l->by_age;
  while (p && p->held)
    p = p->next;
  forget(l, p ? p : l->by_age);
}

bool lost_add(struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE])
{
  if (lost_has(l, member))
    return false;
  struct place *p = calloc(1, sizeof *p);
  if (!p)
    return false;
  memcpy(p->member, member, sizeof p->member);
  HASH_ADD(hh, l->by_member, member, sizeof p->member, p);
  if (!p->hh.tbl) {
    free(p);
    return false;
  }
  if (HASH_COUNT(l->by_member) > l->max)
    forget_one(l);
  p->number = ++l->added;
  DL_APPEND(l->by_age, p);
  return true;
}

void lost_hold(struct lost *l, const uint8_t member[HEADER_MEMBER_SIZE], bool held)
{
  struct place *p = find(l, member);
  if (p)
    p->held = held;
}

bool lost_unseen(const struct lost *l, uint64_t seen)
{
  return seen < l->added;
}

static const struct place *first_after(const struct lost *l, uint64_t seen)
{
  const struct place *p = l->by_age ? l->by_age->prev : NULL;
  if (!p || p->number <= seen)
    return NULL;
  while (p != l->by_age && p->prev->number > seen)
    p = p->prev;
  return p;
}

size_t lost_read(const struct lost *l, uint64_t *seen, const uint8_t *out[], size_t max)
{
  size_t count = 0;
  for (const struct place *p = first_after(l, *seen); p && count < max; p = p->next) {
    out[count++] = p->member;
    *seen = p->number;
  }
  return count;
}
