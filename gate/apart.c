/* The services whose connections each serve one client, because their targets are told who that is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gate_internal.h"

struct apart {
  UT_hash_handle hh;
  char service[];
};

void apart_clear(struct gate *g)
{
  struct apart *a, *next;
  HASH_ITER(hh, g->apart, a, next)
  {
    HASH_DEL(g->apart, a); /* NOLINT(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc): it is in it */
    free(a);
  }
}

bool apart_has(const struct gate *g, const char *service)
{
  struct apart *a;
  HASH_FIND_STR(g->apart, service, a);
  return a != NULL;
}

int apart_add(struct gate *g, const char *service)
{
  size_t size = strlen(service);
  if (apart_has(g, service))
    return 0;
  struct apart *a = calloc(1, sizeof *a + size + 1);
  if (a == NULL)
    return -ENOMEM;
  memcpy(a->service, service, size + 1);
  HASH_ADD_KEYPTR(hh, g->apart, a->service, size, a);
  if (a->hh.tbl != NULL)
    return 0;
  free(a);
  return -ENOMEM;
}
