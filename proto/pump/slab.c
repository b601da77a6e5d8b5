/* A slab is one allocation: a header, then the bytes. The carver holds one reference of the slice that covers it, each
 * slice that was taken holds another; gRPC counts them, and hands the slab back to the pool. */
#include "slab.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

#include "proto/rpc/rpc_tsan.h"

enum { SLABS_KEPT = 8 };

struct slab {
  struct slab_pool *pool;
  struct slab *next;
  void *refcount; /* gRPC's */
  unsigned char bytes[SLAB_SIZE];
};

struct slab_pool {
  pthread_mutex_t lock;
  struct slab *spare;
  size_t spare_count;
  size_t users; /* the owner, and each slab that is out */
};

struct slab_pool *slab_pool_create(void)
{
  struct slab_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL)
    return NULL;
  if (pthread_mutex_init(&pool->lock, NULL) != 0) {
    free(pool);
    return NULL;
  }
  pool->users = 1;
  return pool;
}

static void pool_leave(struct slab_pool *pool, struct slab *back)
{
  pthread_mutex_lock(&pool->lock);
  if (back != NULL && pool->spare_count < SLABS_KEPT) {
    back->next = pool->spare;
    pool->spare = back;
    pool->spare_count++;
    back = NULL;
  }
  size_t users = --pool->users;
  pthread_mutex_unlock(&pool->lock);
  free(back);
  if (users > 0)
    return;
  while (pool->spare != NULL) {
    struct slab *s = pool->spare;
    pool->spare = s->next;
    free(s);
  }
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

void slab_pool_release(struct slab_pool *pool)
{
  pool_leave(pool, NULL);
}

static struct slab *pool_take(struct slab_pool *pool)
{
  pthread_mutex_lock(&pool->lock);
  struct slab *s = pool->spare;
  if (s != NULL) {
    pool->spare = s->next;
    pool->spare_count--;
  }
  pool->users++;
  pthread_mutex_unlock(&pool->lock);
  if (s == NULL && (s = malloc(sizeof *s)) == NULL) {
    pool_leave(pool, NULL);
    return NULL;
  }
  s->pool = pool;
  return s;
}

static void slab_unused(void *arg)
{
  struct slab *s = arg;
  RPC_TSAN_ACQUIRE(s);
  RPC_TSAN_ACQUIRE(s->refcount);
  pool_leave(s->pool, s);
}

void slab_carver_close(struct slab_carver *c)
{
  if (!c->has_slab)
    return;
  RPC_TSAN_RELEASE(GRPC_SLICE_START_PTR(c->slab) - offsetof(struct slab, bytes));
  grpc_slice_unref(c->slab);
  c->has_slab = 0;
}

void *slab_carver_room(struct slab_carver *c, size_t size)
{
  if (c->has_slab && SLAB_SIZE - c->used < size)
    slab_carver_close(c);
  if (!c->has_slab) {
    struct slab *s = pool_take(c->pool);
    if (s == NULL)
      return NULL;
    c->slab = grpc_slice_new_with_user_data(s->bytes, SLAB_SIZE, slab_unused, s);
    s->refcount = c->slab.refcount;
    c->used = 0;
    c->has_slab = 1;
  }
  return GRPC_SLICE_START_PTR(c->slab) + c->used;
}

grpc_slice slab_carver_take(struct slab_carver *c, size_t size)
{
  grpc_slice s = grpc_slice_sub(c->slab, c->used, c->used + size);
  c->used += size;
  return s;
}

grpc_slice slab_slice_copy(grpc_slice s)
{
  grpc_slice own = grpc_slice_from_copied_buffer((const char *)GRPC_SLICE_START_PTR(s), GRPC_SLICE_LENGTH(s));
  RPC_TSAN_RELEASE(s.refcount);
  grpc_slice_unref(s);
  return own;
}
