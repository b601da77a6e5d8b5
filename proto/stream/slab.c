/* A slab is one allocation: a chunk, then the bytes. The carver holds one reference, and all that was taken holds
 * another each. */
#include "slab.h"

#include <pthread.h>
#include <stdlib.h>

enum { SLABS_KEPT = 8 };

struct slab {
  struct chunk chunk;
  struct slab_pool *pool;
  struct slab *next;
  uint8_t bytes[];
};

struct slab_pool {
  size_t slab_size;
  pthread_mutex_t lock;
  struct slab *spare;
  size_t spare_count;
  size_t users; /* the owner, and each slab that is out */
};

struct slab_pool *slab_pool_create(size_t slab_size)
{
  struct slab_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL)
    return NULL;
  if (pthread_mutex_init(&pool->lock, NULL) != 0) {
    free(pool);
    return NULL;
  }
  pool->slab_size = slab_size;
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
  if (pool != NULL)
    pool_leave(pool, NULL);
}

static void slab_unused(struct chunk *c)
{
  struct slab *s = (struct slab *)c;
  pool_leave(s->pool, s);
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
  if (s == NULL && (s = malloc(sizeof *s + pool->slab_size)) == NULL) {
    pool_leave(pool, NULL);
    return NULL;
  }
  chunk_begin(&s->chunk, 1, slab_unused);
  s->pool = pool;
  return s;
}

void slab_carver_close(struct slab_carver *c)
{
  if (c->slab != NULL)
    chunk_unref(&c->slab->chunk);
  c->slab = NULL;
}

void *slab_carver_room(struct slab_carver *c, size_t size)
{
  if (c->slab != NULL && c->pool->slab_size - c->used < size)
    slab_carver_close(c);
  if (c->slab == NULL) {
    c->slab = pool_take(c->pool);
    c->used = 0;
  }
  return c->slab != NULL ? c->slab->bytes + c->used : NULL;
}

struct bytes slab_carver_take(struct slab_carver *c, size_t size)
{
  struct bytes b = {.owner = &c->slab->chunk, .at = c->slab->bytes + c->used, .size = size};
  chunk_ref(b.owner);
  c->used += size;
  return b;
}
