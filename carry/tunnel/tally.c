/* The bytes of a living tunnel are counted by its pump alone, so that carrying them costs nothing here: they are added
 * up when somebody asks, and once more for good when the tunnel ends.
 */
#include "tally.h"

#include <stdio.h>
#include <stdlib.h>

#include <utlist.h>

#include "tunnels_internal.h"

enum { KEY_SIZE = TUNNEL_NAME_SIZE + 1 };

struct tally {
  char key[KEY_SIZE]; /* the role, then the name */
  struct tunnel *live;
  struct tunnels_stats ended;
  UT_hash_handle hh;
};

static char letter(enum tunnel_role role)
{
  return role == TUNNEL_FORWARD ? 'f' : 's';
}

static bool make_key(enum tunnel_role role, const char *service, char key[KEY_SIZE])
{
  int n = snprintf(key, KEY_SIZE, "%c%s", letter(role), service);

  return n >= 0 && n < KEY_SIZE;
}

static struct tally *find(const struct tally *tallies, const char *key)
{
  struct tally *tally;

  HASH_FIND_STR(tallies, key, tally);
  return tally;
}

struct tally *tally_get(struct tally **tallies, enum tunnel_role role, const char *service)
{
  char key[KEY_SIZE];
  struct tally *tally;

  if (!make_key(role, service, key))
    return NULL;
  tally = find(*tallies, key);
  if (tally != NULL)
    return tally;
  tally = calloc(1, sizeof *tally);
  if (tally == NULL)
    return NULL;
  memcpy(tally->key, key, sizeof tally->key);
  HASH_ADD_STR(*tallies, key, tally);
  if (tally->hh.tbl == NULL) {
    free(tally);
    return NULL;
  }
  return tally;
}

const char *tally_service(const struct tally *tally)
{
  return tally->key + 1;
}

static void add_bytes(struct tunnels_stats *stats, const struct tunnel *t)
{
  struct pump_counters c = tunnel_counters(t);

  stats->bytes_in += c.bytes_written;
  stats->bytes_out += c.bytes_read;
}

void tally_add(struct tally *tally, struct tunnel *t)
{
  DL_APPEND2(tally->live, t, tally_prev, tally_next);
}

void tally_remove(struct tally *tally, struct tunnel *t)
{
  DL_DELETE2(tally->live, t, tally_prev, tally_next);
  tally->ended.total++;
  tally->ended.failed += t->failed;
  add_bytes(&tally->ended, t);
}

static struct tunnels_stats stats_of(const struct tally *tally)
{
  struct tunnels_stats stats = tally->ended;
  const struct tunnel *t;

  DL_FOREACH2(tally->live, t, tally_next)
  {
    stats.live++;
    stats.total++;
    stats.failed += t->failed;
    add_bytes(&stats, t);
  }
  return stats;
}

struct tunnels_stats tally_stats(const struct tally *tallies, enum tunnel_role role, const char *service)
{
  struct tunnels_stats sum = {0};
  char key[KEY_SIZE];

  if (service != NULL) {
    const struct tally *tally = make_key(role, service, key) ? find(tallies, key) : NULL;

    return tally != NULL ? stats_of(tally) : sum;
  }
  for (const struct tally *tally = tallies; tally != NULL; tally = tally->hh.next) {
    if (tally->key[0] != letter(role))
      continue;
    struct tunnels_stats one = stats_of(tally);

    sum.live += one.live;
    sum.total += one.total;
    sum.failed += one.failed;
    sum.bytes_in += one.bytes_in;
    sum.bytes_out += one.bytes_out;
  }
  return sum;
}

struct tunnel *tally_next(const struct tally *tallies, enum tunnel_role role, const char *service,
                          const struct tunnel *t)
{
  char key[KEY_SIZE];

  if (t != NULL)
    return t->tally_next;
  const struct tally *tally = make_key(role, service, key) ? find(tallies, key) : NULL;
  return tally != NULL ? tally->live : NULL;
}

void tally_free_all(struct tally **tallies)
{
  struct tally *tally, *next;

  HASH_ITER(hh, *tallies, tally, next)
  {
    HASH_DEL(*tallies, tally); /* NOLINT(clang-analyzer-unix.Malloc) */
    free(tally);
  }
}
