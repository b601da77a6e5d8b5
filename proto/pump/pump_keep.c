/* What was read stays until the other side's socket has taken it, in the slabs that it was read into. A slab is used
 * again once nobody refers to it: what is not taken for long, and is little, moves out of its slab.
 */
#include <string.h>

#include "pump_internal.h"

_Static_assert(sizeof(struct bytes) <= SEQUENCE_BODY_SIZE, "a piece holds them");

/* To measure what keeping costs: connections do not outlive their streams then. */
#ifdef MM_NO_RETENTION
enum { KEEPING = false };
#else
enum { KEEPING = true };
#endif

static struct bytes bytes_of(const struct piece *piece)
{
  struct bytes b;
  memcpy(&b, piece->body, sizeof b);
  return b;
}

static void drop_bytes(void *body)
{
  struct bytes b;
  memcpy(&b, body, sizeof b);
  if (pump_splice_has(&b))
    pump_splice_forget(&b);
  else
    bytes_drop(&b);
}

void pump_keep_init(struct pump *p)
{
  sequence_out_start(&p->up.sequence, drop_bytes);
}

void pump_keep_free(struct pump *p)
{
  sequence_out_free(&p->up.sequence);
  pump_splice_free(p);
}

void pump_keep_sent(struct pump *p)
{
  if (!p->up.windowed || !KEEPING)
    sequence_out_acked(&p->up.sequence, p->up.sequence.next);
}

/* ---- Slabs ---- */

static bool is_in_pipe(const struct piece *piece)
{
  struct bytes b = bytes_of(piece);
  return pump_splice_has(&b);
}

/* How many messages, from this index on, were there at the last rest and lie in one slab; and their bytes. */
static size_t in_one_slab(struct pump *p, size_t index, uint64_t *bytes)
{
  const struct chunk *slab = NULL;
  size_t count = 0;
  *bytes = 0;
  for (struct piece *piece; (piece = sequence_out_kept(&p->up.sequence, index + count)) != NULL; count++) {
    if (piece->at >= p->up.rested_at || piece->size <= PUMP_COPY_MAX || is_in_pipe(piece) ||
        (slab != NULL && bytes_of(piece).owner != slab))
      break;
    slab = bytes_of(piece).owner;
    *bytes += piece->size;
  }
  return count;
}

static void move_out(struct piece *piece)
{
  struct bytes b = bytes_of(piece);
  bytes_move_out(&b); /* without memory for it, it stays */
  memcpy(piece->body, &b, sizeof b);
}

void pump_keep_rest(struct pump *p)
{
  struct piece *piece;
  for (size_t i = 0; (piece = sequence_out_kept(&p->up.sequence, i)) != NULL && piece->at < p->up.rested_at;) {
    uint64_t bytes = 0;
    size_t count = piece->at < p->up.compact ? 0 : in_one_slab(p, i, &bytes);
    for (size_t k = 0; k < count && bytes < SLAB_SMALL / 2; k++)
      move_out(sequence_out_kept(&p->up.sequence, i + k));
    i += count > 0 ? count : 1;
  }
  p->up.compact = p->up.rested_at;
  p->up.rested_at = p->up.sequence.added;
}
