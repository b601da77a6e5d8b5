#include "tombs.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

struct entry {
  struct tomb tomb;
  uint64_t until;
  char *text; /* both strings, each with its NUL */
  struct entry *prev, *next;
  UT_hash_handle hh;
};

struct tombs {
  struct entry *by_connection, *oldest;
  size_t count;
};

struct tombs *tombs_open(void)
{
  return calloc(1, sizeof(struct tombs));
}

static void forget(struct tombs *ts, struct entry *e)
{
  /* The analyzer does not know that an element of a table or a list has neighbours. */
  HASH_DEL(ts->by_connection, e); /* NOLINT(clang-analyzer-core.NullDereference) */
  DL_DELETE(ts->oldest, e);       /* NOLINT(clang-analyzer-core.NullDereference) */
  ts->count--;
  free(e->text);
  free(e);
}

static void expire(struct tombs *ts, uint64_t now)
{
  while (ts->oldest != NULL && ts->oldest->until <= now)
    forget(ts, ts->oldest);
}

void tombs_close(struct tombs *ts)
{
  if (ts == NULL)
    return;
  expire(ts, UINT64_MAX);
  free(ts);
}

static bool write_text(struct entry *e, const struct tomb *tomb)
{
  size_t code = strlen(tomb->code) + 1, reason = strlen(tomb->reason) + 1;

  e->text = malloc(code + reason);
  if (e->text == NULL)
    return false;
  e->tomb.code = memcpy(e->text, tomb->code, code);
  e->tomb.reason = memcpy(e->text + code, tomb->reason, reason);
  return true;
}

static struct entry *find(const struct tombs *ts, const uint8_t *connection)
{
  struct entry *e;

  HASH_FIND(hh, ts->by_connection, connection, HEADER_CONNECTION_SIZE, e);
  return e;
}

void tombs_add(struct tombs *ts, const struct tomb *tomb, uint64_t now)
{
  expire(ts, now);
  struct entry *e = find(ts, tomb->connection);

  if (e != NULL)
    return;
  e = calloc(1, sizeof *e);
  if (e == NULL)
    return;
  e->tomb = *tomb;
  e->until = now + TOMBS_MS;
  if (tomb->reset && !write_text(e, tomb)) {
    free(e);
    return;
  }
  HASH_ADD(hh, ts->by_connection, tomb.connection, HEADER_CONNECTION_SIZE, e);
  if (e->hh.tbl == NULL) {
    free(e->text);
    free(e);
    return;
  }
  DL_APPEND(ts->oldest, e);
  if (++ts->count > TOMBS_MAX)
    forget(ts, ts->oldest);
}

const struct tomb *tombs_find(struct tombs *ts, const uint8_t connection[HEADER_CONNECTION_SIZE], uint64_t now)
{
  expire(ts, now);
  struct entry *e = find(ts, connection);

  return e != NULL ? &e->tomb : NULL;
}

size_t tombs_count(const struct tombs *ts)
{
  return ts->count;
}
