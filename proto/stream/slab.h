/* Read buffers: slabs, carved from front to back, taken back by a last-in first-out pool when the last reference
 * of one is gone. That may be on any thread; carving is for one thread at a time. */
#ifndef PROTO_SLAB_H
#define PROTO_SLAB_H

#include <stddef.h>

#include "bytes.h"

/* A slab stays as long as anything is in it, be it little: so it should be no larger than reads make it. */
enum { SLAB_SMALL = 256 << 10, SLAB_LARGE = 1 << 20 };

struct slab;
struct slab_pool;

struct slab_pool *slab_pool_create(size_t slab_size); /* NULL when memory is short */
/* The pool, or NULL: it goes when its last slab is unused. */
void slab_pool_release(struct slab_pool *pool);

/* A slab that is being carved. Zeroed before first use. */
struct slab_carver {
  struct slab_pool *pool;
  struct slab *slab;
  size_t used;
};

/* At least `size` bytes (up to the size of a slab) of room that nobody else sees; NULL when memory is short. */
void *slab_carver_room(struct slab_carver *c, size_t size);
/* The first `size` bytes of the room, which the caller drops. */
struct bytes slab_carver_take(struct slab_carver *c, size_t size);
void slab_carver_close(struct slab_carver *c);

#endif
