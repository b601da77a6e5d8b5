/* The sender's messages are a ring that doubles when it is full. An end has the length 1, so that every offset but the
 * last belongs to one message.
 */
#include "sequence.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
  ROOM_MIN = 4,
  ROOM_KEPT = 64, /* a larger ring goes when it is empty */
};

/* ---- The sender ---- */

static struct piece *piece_at(const struct sequence_out *s, size_t index)
{
  return &s->ring[(s->head + index) & (s->room - 1)];
}

static uint64_t end_of(const struct piece *p)
{
  return p->at + (p->size > 0 ? p->size : 1);
}

void sequence_out_start(struct sequence_out *s, void (*drop)(void *body))
{
  *s = (struct sequence_out){.drop = drop};
}

static void drop_first(struct sequence_out *s)
{
  struct piece *p = piece_at(s, 0);
  if (s->drop != NULL && p->size > 0)
    s->drop(p->body);
  s->head = (s->head + 1) & (s->room - 1);
  s->count--;
  if (s->sent > 0)
    s->sent--;
}

static void forget_ring(struct sequence_out *s)
{
  free(s->ring);
  s->ring = NULL;
  s->room = s->head = 0;
}

void sequence_out_free(struct sequence_out *s)
{
  while (s->count > 0)
    drop_first(s);
  forget_ring(s);
}

static int grow(struct sequence_out *s)
{
  size_t room = s->room > 0 ? 2 * s->room : ROOM_MIN;
  struct piece *ring = malloc(room * sizeof *ring);
  if (ring == NULL)
    return -ENOMEM;
  for (size_t i = 0; i < s->count; i++)
    ring[i] = *piece_at(s, i);
  free(s->ring);
  s->ring = ring;
  s->room = room;
  s->head = 0;
  return 0;
}

int sequence_out_add(struct sequence_out *s, uint32_t size, const void *body)
{
  if (s->count == s->room && grow(s) != 0)
    return -ENOMEM;
  struct piece *p = piece_at(s, s->count++);
  p->at = s->added;
  p->size = size;
  if (size > 0)
    memcpy(p->body, body, sizeof p->body);
  s->ended = size == 0;
  s->added = end_of(p);
  return 0;
}

const struct piece *sequence_out_peek(const struct sequence_out *s)
{
  return s->sent < s->count ? piece_at(s, s->sent) : NULL;
}

void sequence_out_sent(struct sequence_out *s)
{
  s->next = end_of(piece_at(s, s->sent++));
}

int sequence_out_acked(struct sequence_out *s, uint64_t taken)
{
  if (taken > s->added)
    return -EPROTO;
  if (taken <= s->acked)
    return 0;
  s->acked = taken;
  while (s->count > 0 && end_of(piece_at(s, 0)) <= taken) {
    if (s->sent == 0)
      s->next = end_of(piece_at(s, 0));
    drop_first(s);
  }
  if (s->count == 0 && s->room > ROOM_KEPT)
    forget_ring(s);
  return 0;
}

bool sequence_out_possible(const struct sequence_out *s, uint64_t received)
{
  return received <= s->added;
}

int sequence_out_resume(struct sequence_out *s, uint64_t received)
{
  if (!sequence_out_possible(s, received))
    return -EPROTO;
  size_t low = 0, high = s->count; /* the first that ends behind it is in [low, high] */
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (end_of(piece_at(s, middle)) <= received)
      low = middle + 1;
    else
      high = middle;
  }
  s->sent = low;
  s->next = low < s->count ? piece_at(s, low)->at : s->added;
  return 0;
}

struct piece *sequence_out_kept(struct sequence_out *s, size_t index)
{
  return index < s->count ? piece_at(s, index) : NULL;
}

/* ---- The receiver ---- */

void sequence_in_attach(struct sequence_in *s)
{
  s->at = 0;
}

/* Of a sequence that has ended nothing can be new. */
static bool fits(const struct sequence_in *s, uint64_t data_end, bool end)
{
  uint64_t known = s->received - s->ended; /* bytes of data */
  if (s->ended)
    return end ? data_end == known : data_end <= known;
  return !end || data_end >= known;
}

int sequence_in_message(struct sequence_in *s, bool has_offset, uint64_t offset, uint64_t size, bool end,
                        uint64_t *skip)
{
  uint64_t at = has_offset ? offset : s->at;
  if (at > s->received || size >= UINT64_MAX - at || !fits(s, at + size, end))
    return -EPROTO;
  s->at = at + size + end;
  bool fresh = s->at > s->received;
  *skip = fresh ? s->received - at : size;
  if (!fresh)
    return 0;
  s->received = s->at;
  s->ended |= end;
  return 1;
}
