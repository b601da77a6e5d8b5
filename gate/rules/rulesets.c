#include "rulesets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct entry {
  UT_hash_handle hh;
  struct ruleset *set;
  bool listed;
  char service[];
};

struct rulesets {
  struct entry *table;
};

struct rulesets *rulesets_create(void)
{
  return calloc(1, sizeof(struct rulesets));
}

static void forget(struct rulesets *r, struct entry *e)
{
  HASH_DEL(r->table, e); /* NOLINT(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc): it has a table */
  ruleset_free(e->set);
  free(e);
}

static void forget_unlisted(struct rulesets *r)
{
  struct entry *e, *next;
  HASH_ITER(hh, r->table, e, next)
  {
    if (!e->listed)
      forget(r, e);
  }
}

void rulesets_begin(struct rulesets *r)
{
  struct entry *e, *next;
  HASH_ITER(hh, r->table, e, next)
  {
    e->listed = false;
  }
}

void rulesets_settle(struct rulesets *r)
{
  forget_unlisted(r);
}

void rulesets_free(struct rulesets *r)
{
  if (r == NULL)
    return;
  rulesets_begin(r);
  forget_unlisted(r);
  free(r);
}

static struct entry *find(const struct rulesets *r, const char *service)
{
  struct entry *e;
  HASH_FIND_STR(r->table, service, e);
  return e;
}

static int add(struct rulesets *r, const char *service, const uint8_t *bytes, size_t size)
{
  size_t length = strlen(service) + 1;
  struct entry *e = calloc(1, sizeof *e + length);
  if (e == NULL)
    return -ENOMEM;
  memcpy(e->service, service, length);
  e->listed = true;
  e->set = ruleset_create(bytes, size);
  if (e->set != NULL) {
    HASH_ADD_KEYPTR(hh, r->table, e->service, length - 1, e);
    if (e->hh.tbl != NULL)
      return 0;
  }
  ruleset_free(e->set);
  free(e);
  return -ENOMEM;
}

int rulesets_put(struct rulesets *r, const char *service, const uint8_t *bytes, size_t size)
{
  struct entry *e = find(r, service);
  if (e != NULL && size > 0 && (e->listed || ruleset_is_of(e->set, bytes, size))) {
    e->listed = true;
    return 0;
  }
  if (e != NULL)
    forget(r, e);
  return size > 0 ? add(r, service, bytes, size) : 0;
}

const struct ruleset *rulesets_find(const struct rulesets *r, const char *service)
{
  const struct entry *e = r->table != NULL ? find(r, service) : NULL;
  return e != NULL ? e->set : NULL;
}
