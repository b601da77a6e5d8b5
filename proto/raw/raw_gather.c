/* A frame that lies whole in what came is one part. Otherwise its pieces are collected. However small they come, there
 * are few of them: two neighbours that are small become one as soon as the later one is not the smaller. So a byte is
 * copied as often as its piece can double.
 */
#include "raw_gather.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/stream/message.h"
#include "proto/wire/raw.h"

enum { PARTS_FEW = 4, PIECE_SMALL = 16 << 10 };

void raw_gather_put(struct raw_gather *g, struct bytes came)
{
  g->rest = came;
}

static void pass(struct raw_gather *g, size_t size)
{
  g->rest.at += size;
  g->rest.size -= size;
  if (g->rest.size == 0)
    bytes_drop(&g->rest);
}

bool raw_gather_is_even(const struct raw_gather *g)
{
  return g->length_have == 0 && g->rest.size == 0;
}

int raw_gather_keep(struct raw_gather *g)
{
  return g->rest.size > 0 && g->rest.owner == NULL ? bytes_move_out(&g->rest) : 0;
}

static void drop_parts(struct raw_gather *g)
{
  for (uint32_t i = 0; i < g->count; i++)
    bytes_drop(&g->parts[i]);
  free(g->parts);
  g->parts = NULL;
  g->count = g->room = 0;
}

void raw_gather_free(struct raw_gather *g)
{
  bytes_drop(&g->rest);
  drop_parts(g);
}

/* ---- Lengths ---- */

/* 0 as long as it is not known, or -EBADMSG. */
static int read_length(struct raw_gather *g)
{
  while (g->length_have < sizeof g->length) {
    if (g->rest.size == 0)
      return 0;
    g->length[g->length_have++] = g->rest.at[0];
    pass(g, 1);
  }
  int word = raw_word_length(g->length);
  if (word < 0)
    return word;
  g->is_word = word > 0;
  int size = g->is_word ? word : raw_frame_read(g->length);
  if (size > 0)
    g->want = (uint32_t)size;
  return size;
}

/* ---- Pieces ---- */

/* 1: they were merged; 0: they are not to be; or -ENOMEM. */
static int merge_last(struct raw_gather *g)
{
  struct bytes *a = &g->parts[g->count - 2], *b = a + 1, both;
  if (a->size > b->size || a->size + b->size > PIECE_SMALL)
    return 0;
  uint8_t bytes[PIECE_SMALL];
  memcpy(bytes, a->at, a->size);
  memcpy(bytes + a->size, b->at, b->size);
  int error = bytes_copy(&both, bytes, a->size + b->size);
  if (error != 0)
    return error;
  bytes_drop(a);
  bytes_drop(b);
  *a = both;
  g->count--;
  return 1;
}

static int make_room(struct raw_gather *g)
{
  if (g->count < g->room)
    return 0;
  uint32_t room = g->room > 0 ? g->room * 2 : PARTS_FEW;
  struct bytes *parts = realloc(g->parts, room * sizeof *parts);
  if (parts == NULL)
    return -ENOMEM;
  g->parts = parts;
  g->room = room;
  return 0;
}

/* The next bytes of what came, as memory that stays. */
static int cut(struct raw_gather *g, size_t size, struct bytes *out)
{
  if (size <= PIECE_SMALL / 2 || g->rest.owner == NULL)
    return bytes_copy(out, g->rest.at, size);
  *out = bytes_share(&g->rest);
  out->size = size;
  return 0;
}

static int collect(struct raw_gather *g, size_t size)
{
  int error = make_room(g);
  if (error == 0)
    error = cut(g, size, &g->parts[g->count]);
  if (error != 0)
    return error;
  g->count++;
  g->have += (uint32_t)size;
  pass(g, size);
  int merged = 1;
  while (merged > 0 && g->count > 1)
    merged = merge_last(g);
  return merged < 0 ? merged : 0;
}

/* ---- Whole ones ---- */

static struct message *of_pieces(struct raw_gather *g)
{
  struct message *m = message_create(g->count);
  if (m == NULL)
    return NULL;
  memcpy(m->parts, g->parts, g->count * sizeof *m->parts);
  m->size = g->have;
  g->count = 0;
  drop_parts(g);
  return m;
}

static struct message *of_rest(struct raw_gather *g)
{
  struct message *m;
  if (g->want <= RAW_COPY_MAX || g->rest.owner == NULL) {
    m = message_copy(g->rest.at, g->want);
  } else if ((m = message_create(1)) != NULL) {
    m->parts[0] = bytes_share(&g->rest);
    m->parts[0].size = m->size = g->want;
  }
  if (m != NULL)
    pass(g, g->want);
  return m;
}

int raw_gather_next(struct raw_gather *g, struct message **out, bool *is_word)
{
  if (g->want == 0) {
    int size = read_length(g);
    if (size <= 0)
      return size;
  }
  size_t missing = g->want - g->have;
  bool lies_whole = g->count == 0 && g->rest.size >= missing;
  if (!lies_whole && g->rest.size > 0) {
    int error = collect(g, g->rest.size < missing ? g->rest.size : missing);
    if (error != 0)
      return error;
  }
  if (!lies_whole && g->have < g->want)
    return 0;
  *out = lies_whole ? of_rest(g) : of_pieces(g);
  if (*out == NULL)
    return -ENOMEM;
  *is_word = g->is_word;
  g->want = g->have = g->length_have = 0;
  return 1;
}
