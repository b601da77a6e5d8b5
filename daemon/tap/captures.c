#include "captures.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { ROOM_MIN = 1024 };

static void free_bytes(struct captures *c, struct capture *k)
{
  for (int way = 0; way < 2; way++)
    free(k->sides[way].bytes);
  c->used -= k->cost;
  k->sides[0] = k->sides[1] = (struct capture_side){0};
  k->cost = 0;
}

void captures_drop(struct captures *c, struct capture *k)
{
  if (k->user != NULL)
    *k->user = NULL;
  DL_DELETE(c->oldest, k);
  HASH_DEL(c->by_id, k); /* NOLINT(clang-analyzer-core.NullDereference): it is in it */
  if (k->told) {
    if (c->here)
      free_bytes(c, k);
    c->leaving += k->cost;
    DL_APPEND2(c->gone, k, news_prev, news_next);
    return;
  }
  if (k->done) /* it is not in anybody's hands yet */
    DL_DELETE2(c->done, k, news_prev, news_next);
  free_bytes(c, k);
  free(k);
}

/* False: there is none for it now. */
static bool make_room(struct captures *c, const struct capture *but, size_t more)
{
  if (more > c->limit)
    return false;
  while (c->used - c->leaving > c->limit - more) {
    struct capture *k = but != NULL && c->oldest == but ? but->next : c->oldest;
    if (k == NULL)
      return false;
    captures_drop(c, k); /* NOLINT(clang-analyzer-unix.Malloc): each is in the list once */
  }
  return c->used <= c->limit - more;
}

void captures_set_limit(struct captures *c, size_t limit)
{
  c->limit = limit;
  if (limit > 0) {
    make_room(c, NULL, 0);
    return;
  }
  while (c->oldest != NULL)
    captures_drop(c, c->oldest);
}

void captures_begin(struct captures *c, uint64_t id, struct capture **user)
{
  *user = NULL;
  if (c->limit == 0 || !make_room(c, NULL, CAPTURE_COST))
    return;
  struct capture *k = calloc(1, sizeof *k);
  if (k == NULL)
    return;
  k->id = id;
  HASH_ADD(hh, c->by_id, id, sizeof k->id, k);
  if (k->hh.tbl == NULL) {
    free(k);
    return;
  }
  DL_APPEND(c->oldest, k);
  k->cost = CAPTURE_COST;
  c->used += CAPTURE_COST;
  k->user = user;
  *user = k;
}

/* Up to `size`. False: it stays as it is. */
static bool grow(struct captures *c, struct capture *k, struct capture_side *side, size_t size)
{
  size_t most = c->limit / CAPTURES_SHARE, room = side->room + side->room / 2;
  if (room < ROOM_MIN)
    room = ROOM_MIN;
  if (room < size)
    room = size;
  if (room > most)
    room = most;
  if (room <= side->room || !make_room(c, k, room - side->room))
    return false;
  char *bytes = realloc(side->bytes, room);
  if (bytes == NULL)
    return false;
  c->used += room - side->room;
  k->cost += room - side->room;
  side->bytes = bytes;
  side->room = room;
  return true;
}

void captures_add(struct captures *c, struct capture *k, enum dialogue_way way, const char *bytes, size_t size)
{
  struct capture_side *side = &k->sides[way];
  if (side->size + size > side->room && bytes != NULL)
    grow(c, k, side, side->size + size);
  size_t fits = side->room - side->size < size ? side->room - side->size : size;
  if (bytes == NULL || side->cut)
    fits = 0;
  if (fits > 0)
    memcpy(side->bytes + side->size, bytes, fits);
  side->size += fits;
  side->cut |= fits < size;
}

void captures_end(struct captures *c, struct capture *k, const struct record *record)
{
  k->user = NULL;
  k->record = *record;
  k->done = true;
  DL_APPEND2(c->done, k, news_prev, news_next);
}

struct capture *captures_find(const struct captures *c, uint64_t id)
{
  struct capture *k;
  HASH_FIND(hh, c->by_id, &id, sizeof id, k);
  return k != NULL && k->done ? k : NULL;
}

bool captures_next_done(struct captures *c, uint64_t *id)
{
  struct capture *k = c->done;
  if (k == NULL)
    return false;
  DL_DELETE2(c->done, k, news_prev, news_next);
  k->told = true;
  *id = k->id;
  return true;
}

bool captures_next_gone(struct captures *c, uint64_t *id)
{
  struct capture *k = c->gone;
  if (k == NULL)
    return false;
  DL_DELETE2(c->gone, k, news_prev, news_next);
  *id = k->id;
  c->leaving -= k->cost;
  free_bytes(c, k);
  free(k);
  return true;
}
