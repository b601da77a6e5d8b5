/* A catalogue has no beginning that can be trusted: the router tells all again after a restart of the watch, and each
 * time when it is polled. So each name remembers the round in which it was last told. One that is told twice is no
 * news, unless the router was lost in between, and one that a whole round did not tell is gone.
 */
#include "known_names.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

enum { KNOWN_MAX = 100000 };

struct known_name {
  UT_hash_handle hh;
  int64_t seconds;
  int32_t nanos;
  uint64_t seen; /* the round in which it was last told */
  char name[];
};

static struct known_name *find(const struct known_names *names, const char *name)
{
  struct known_name *k;

  HASH_FIND_STR(names->table, name, k);
  return k;
}

static void drop(struct known_names *names, struct known_name *k)
{
  HASH_DEL(names->table, k); /* NOLINT(clang-analyzer-unix.Malloc) */
  free(k);
}

static struct known_name *create(struct known_names *names, const char *name)
{
  size_t length = strlen(name);
  struct known_name *k;

  if (HASH_COUNT(names->table) >= KNOWN_MAX)
    return NULL;
  k = malloc(sizeof *k + length + 1);
  if (k == NULL)
    return NULL;
  memcpy(k->name, name, length + 1);
  HASH_ADD_KEYPTR(hh, names->table, k->name, length, k);
  if (k->hh.tbl == NULL) {
    free(k);
    return NULL;
  }
  return k;
}

void known_names_restart(struct known_names *names, bool reconnected)
{
  names->round++;
  if (reconnected)
    names->first_round = names->round;
}

enum known_change known_names_add(struct known_names *names, const char *name, int64_t seconds, int32_t nanos)
{
  struct known_name *k = find(names, name);
  enum known_change change = KNOWN_UNCHANGED;

  if (k == NULL) {
    k = create(names, name);
    if (k == NULL)
      return KNOWN_UNCHANGED;
    change = KNOWN_NEW;
  } else if (k->seconds != seconds || k->nanos != nanos || k->seen < names->first_round) {
    change = KNOWN_AGAIN;
  }
  k->seconds = seconds;
  k->nanos = nanos;
  k->seen = names->round;
  return change;
}

bool known_names_remove(struct known_names *names, const char *name)
{
  struct known_name *k = find(names, name);

  if (k != NULL)
    drop(names, k);
  return k != NULL;
}

void known_names_complete(struct known_names *names, void (*gone)(const char *name, void *arg), void *arg)
{
  struct known_name *k, *next;

  HASH_ITER(hh, names->table, k, next)
  {
    if (k->seen == names->round)
      continue;
    HASH_DEL(names->table, k); /* NOLINT(clang-analyzer-unix.Malloc) */
    gone(k->name, arg);
    free(k);
  }
}

void known_names_free(struct known_names *names)
{
  struct known_name *k, *next;

  HASH_ITER(hh, names->table, k, next)
  {
    drop(names, k);
  }
}
