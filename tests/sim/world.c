/* The queue is a binary heap; what is due at the same time runs in the order in which it was asked for. Memory is
 * carved from chunks that are used again for the next seed.
 */
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "memory.h"
#include "side.h"

enum { CHUNK_SIZE = 1 << 20, ROOM_MIN = 1024 };

struct event {
  uint64_t at, order;
  world_event run;
  void *subject;
  uint64_t arg;
};

struct chunk {
  struct chunk *next;
  size_t used;
  _Alignas(16) unsigned char bytes[CHUNK_SIZE];
};

static void *must(void *memory)
{
  if (memory != NULL)
    return memory;
  fprintf(stderr, "sim: out of memory\n");
  exit(2);
}

/* ---- Dice: xoroshiro128+ ---- */

static uint64_t split_mix(uint64_t *x)
{
  uint64_t z = (*x += UINT64_C(0x9e3779b97f4a7c15));
  z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
  return z ^ (z >> 31);
}

static uint64_t rotated(uint64_t x, int by)
{
  return (x << by) | (x >> (64 - by));
}

static uint64_t draw(struct world *w)
{
  uint64_t a = w->dice[0], b = w->dice[1], result = a + b;
  b ^= a;
  w->dice[0] = rotated(a, 24) ^ b ^ (b << 16);
  w->dice[1] = rotated(b, 37);
  return result;
}

uint64_t roll(struct world *w, uint64_t sides)
{
  return sides == 0 ? 0 : (draw(w) >> 11) % sides;
}

uint64_t between(struct world *w, uint64_t low, uint64_t high)
{
  return low + roll(w, high - low + 1);
}

bool chance(struct world *w, unsigned per_mille)
{
  return per_mille > 0 && roll(w, 1000) < per_mille;
}

/* ---- Life ---- */

void world_start(struct world *w, uint64_t seed)
{
  struct chunk *last = w->chunks;
  uint64_t x = seed;
  while (last != NULL) {
    struct chunk *next = last->next;
    last->used = 0;
    last->next = w->spare;
    w->spare = last;
    last = next;
  }
  bool trace = w->trace;
  memory_of(w);
  *w = (struct world){.seed = seed, .heap = w->heap, .room = w->room, .spare = w->spare, .trace = trace};
  w->dice[0] = split_mix(&x);
  w->dice[1] = split_mix(&x);
}

static void free_chunks(struct chunk *c)
{
  while (c != NULL) {
    struct chunk *next = c->next;
    __real_free(c);
    c = next;
  }
}

void world_clear(struct world *w)
{
  free_chunks(w->chunks);
  free_chunks(w->spare);
  __real_free(w->heap);
  *w = (struct world){0};
}

static struct chunk *new_chunk(struct world *w)
{
  struct chunk *c = w->spare;
  if (c != NULL) {
    w->spare = c->next;
  } else {
    c = must(__real_malloc(sizeof *c));
    c->used = 0;
  }
  c->next = w->chunks;
  w->chunks = c;
  return c;
}

void *world_alloc(struct world *w, size_t size)
{
  struct chunk *c = w->chunks;
  size = (size + 15) / 16 * 16;
  if (size > CHUNK_SIZE)
    broken(w, "something grows without end");
  if (c == NULL || c->used + size > CHUNK_SIZE)
    c = new_chunk(w);
  void *memory = c->bytes + c->used;
  c->used += size;
  return memset(memory, 0, size);
}

/* ---- What is to happen ---- */

static bool earlier(const struct event *a, const struct event *b)
{
  return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void world_at(struct world *w, uint64_t at, world_event run, void *subject, uint64_t arg)
{
  if (w->events == w->room) {
    w->room = w->room > 0 ? 2 * w->room : ROOM_MIN;
    w->heap = must(realloc(w->heap, w->room * sizeof *w->heap));
  }
  struct event e = {at, w->order++, run, subject, arg};
  size_t i = w->events++;
  for (; i > 0 && earlier(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
    w->heap[i] = w->heap[(i - 1) / 2];
  w->heap[i] = e;
}

void world_after(struct world *w, uint64_t us, world_event run, void *subject, uint64_t arg)
{
  world_at(w, w->now + us, run, subject, arg);
}

static struct event pop(struct world *w)
{
  struct event first = w->heap[0], e = w->heap[--w->events];
  size_t i = 0;
  for (size_t child = 1; child < w->events; child = 2 * i + 1) {
    if (child + 1 < w->events && earlier(&w->heap[child + 1], &w->heap[child]))
      child++;
    if (!earlier(&w->heap[child], &e))
      break;
    w->heap[i] = w->heap[child];
    i = child;
  }
  w->heap[i] = e;
  return first;
}

bool world_next(struct world *w)
{
  if (w->events == 0)
    return false;
  struct event e = pop(w);
  w->now = e.at;
  w->ran++;
  e.run(w, e.subject, e.arg);
  sides_check(w);
  return true;
}

uint64_t world_ms(const struct world *w)
{
  return w->now / MS;
}

/* ---- Words ---- */

static void print_time(const struct world *w, FILE *to)
{
  fprintf(to, "%10llu.%03llu ms  ", (unsigned long long)(w->now / MS), (unsigned long long)(w->now % MS));
}

void world_trace(const struct world *w, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  print_time(w, stdout);
  vprintf(format, args);
  putchar('\n');
  va_end(args);
}

void broken(const struct world *w, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  fflush(stdout);
  print_time(w, stderr);
  vfprintf(stderr, format, args);
  fprintf(stderr, "\nsim: seed %llu is broken; see: sim --seed %llu", (unsigned long long)w->seed,
          (unsigned long long)w->seed);
  if (w->plan.attacks > 0)
    fprintf(stderr, " --attacks %llu", (unsigned long long)w->plan.attacks);
  fprintf(stderr, " --trace\n");
  va_end(args);
  fflush(stderr);
  _exit(1);
}
