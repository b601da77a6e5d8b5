/* The services that requests are passed on to, each with its health, and with its connections that are idle. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>
#include <uv.h>

#include "gate/balance/choose.h"
#include "gate_internal.h"

static struct backend *find(struct gate *g, const char *service)
{
  struct backend *b;
  HASH_FIND(hh, g->backends, service, strlen(service), b);
  return b;
}

/* Made if there is none. NULL: out of memory. */
static struct backend *backend_of(struct gate *g, const char *service)
{
  size_t size = strlen(service);
  struct backend *b = find(g, service);
  if (b != NULL)
    return b;
  b = calloc(1, sizeof *b + size + 1);
  if (b == NULL)
    return NULL;
  memcpy(b->service, service, size + 1);
  health_init(&b->health);
  b->listed = true;
  HASH_ADD_KEYPTR(hh, g->backends, b->service, size, b);
  if (b->hh.tbl == NULL) {
    free(b);
    return NULL;
  }
  b->id = ++g->backends_made;
  return b;
}

void backend_unused(struct gate *g, struct backend *b)
{
  if (b->listed)
    return;
  HASH_DEL(g->backends, b); /* NOLINT(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc): it is in it */
  free(b);
}

/* ---- The choice ---- */

/* xorshift64* (S. Vigna): nobody is to guess it, and nothing depends on that nobody can. */
static uint64_t random_number(struct gate *g)
{
  g->random ^= g->random >> 12;
  g->random ^= g->random << 25;
  g->random ^= g->random >> 27;
  return g->random * UINT64_C(0x2545f4914f6cdd1d);
}

static bool has_failed(const struct backend *b, const struct exchange *x)
{
  for (unsigned i = 0; x != NULL && i < x->failures; i++) {
    if (x->failed_by[i] == b->id)
      return true;
  }
  return false;
}

struct backend *backends_choose(struct gate *g, const char *const *services, size_t count, const struct exchange *x)
{
  struct backend *all[CHOOSE_MAX];
  struct health *healths[CHOOSE_MAX];
  size_t found = 0;

  for (size_t i = 0; i < count && i < CHOOSE_MAX; i++) {
    struct backend *b = backend_of(g, services[i]);
    if (b == NULL || has_failed(b, x))
      continue;
    healths[found] = &b->health;
    all[found++] = b;
  }
  return found > 0 ? all[choose(healths, found, random_number(g), uv_now(g->loop))] : NULL;
}

/* ---- The list ---- */

void backends_begin(struct gate *g)
{
  struct backend *b, *next;
  HASH_ITER(hh, g->backends, b, next)
  {
    b->listed = false;
  }
}

void backends_keep(struct gate *g, const char *service)
{
  struct backend *b = find(g, service);
  if (b != NULL)
    b->listed = true;
}

/* It is there until the last of its connections is closed. */
static void drop_pool(struct gate *g, struct backend *b)
{
  struct upstream *u, *next;

  b->count++;
  DL_FOREACH_SAFE(b->idle, u, next)
  {
    upstream_close(u, false);
  }
  if (--b->count == 0)
    backend_unused(g, b);
}

void backends_settle(struct gate *g)
{
  struct backend *b, *next;
  HASH_ITER(hh, g->backends, b, next)
  {
    if (!b->listed)
      drop_pool(g, b);
  }
}

void backends_close(struct gate *g)
{
  backends_begin(g);
  backends_settle(g);
}
