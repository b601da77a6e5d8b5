/* Memory by reference: bytes that several hold at once, on any thread, and that go when the last of them lets go. */
#ifndef PROTO_BYTES_H
#define PROTO_BYTES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The head of whatever owns memory. */
struct chunk {
  atomic_uint refs;
  void (*unused)(struct chunk *c); /* frees it: on the thread of the last one */
};

static inline void chunk_begin(struct chunk *c, unsigned refs, void (*unused)(struct chunk *c))
{
  atomic_init(&c->refs, refs);
  c->unused = unused;
}

static inline void chunk_ref(struct chunk *c)
{
  atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

static inline void chunk_unref(struct chunk *c)
{
  if (atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
    c->unused(c);
}

/* A part of what a chunk owns, and one reference of it. */
struct bytes {
  struct chunk *owner; /* NULL: nobody, the bytes stay for ever */
  const uint8_t *at;
  size_t size;
};

/* Copies them into a chunk of their own. -ENOMEM. */
int bytes_copy(struct bytes *out, const void *from, size_t size);
/* Leaves the owner for one of their own. -ENOMEM: nothing has changed. */
int bytes_move_out(struct bytes *b);
/* The same bytes, with a reference more. */
static inline struct bytes bytes_share(const struct bytes *b)
{
  if (b->owner != NULL)
    chunk_ref(b->owner);
  return *b;
}
/* Lets go; then there are none. Without any, harmless. */
void bytes_drop(struct bytes *b);

#endif
