/* A list, oldest first: a name stays on it for as long as a router may take to notice that its stream was cancelled. */
#include "left_names.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { LEFT_MS = 2000 };

struct left_name {
  struct left_name *prev, *next;
  uint64_t at;
  char name[];
};

static void drop(struct left_names *names, struct left_name *l)
{
  DL_DELETE(names->first, l);
  free(l);
}

static void prune(struct left_names *names, uint64_t now)
{
  while (names->first != NULL && names->first->at + LEFT_MS < now)
    drop(names, names->first);
}

void left_names_add(struct left_names *names, const char *name, uint64_t now)
{
  size_t size = strlen(name) + 1;
  struct left_name *l = calloc(1, sizeof *l + size);

  prune(names, now);
  if (l == NULL)
    return;
  l->at = now;
  memcpy(l->name, name, size);
  DL_APPEND(names->first, l);
}

bool left_names_has(struct left_names *names, const char *name, uint64_t now)
{
  const struct left_name *l;

  prune(names, now);
  DL_FOREACH(names->first, l)
  {
    if (strcmp(l->name, name) == 0)
      return true;
  }
  return false;
}

void left_names_free(struct left_names *names)
{
  while (names->first != NULL)
    drop(names, names->first);
}
