/* Read buffers that become slices: large slabs, carved from front to back, taken back by a last-in first-out pool when
 * the last slice of one is gone. A pool's slices may be released on any thread; carving is for one thread at a time. */
#ifndef PROTO_SLAB_H
#define PROTO_SLAB_H

#include <grpc/slice.h>
#include <stddef.h>

enum { SLAB_SIZE = 1 << 20 };

struct slab_pool;

struct slab_pool *slab_pool_create(void); /* NULL when memory is short */
/* The pool goes when its last slice is gone. */
void slab_pool_release(struct slab_pool *pool);

/* A slab that is being carved. Zeroed before first use. */
struct slab_carver {
  struct slab_pool *pool;
  grpc_slice slab;
  size_t used;
  int has_slab;
};

/* At least `size` bytes (up to SLAB_SIZE) of room that nobody else sees; NULL when memory is short. */
void *slab_carver_room(struct slab_carver *c, size_t size);
/* The first `size` bytes of the room, as a slice that the caller unrefs. */
grpc_slice slab_carver_take(struct slab_carver *c, size_t size);
/* A slice of its own with the same bytes; unrefs that one. */
grpc_slice slab_slice_copy(grpc_slice s);
void slab_carver_close(struct slab_carver *c);

#endif
