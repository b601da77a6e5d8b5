/* The register: a hash by name, and a list by latest change, over the same nodes. */
#include "registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "router/door/table.h"

struct node {
  char name[REGISTRY_NAME_MAX + 1];
  struct registry_time created;
  void *owner; /* NULL: gone */
  uint64_t change;
  struct registry_leave leave; /* once it is gone */
  UT_hash_handle hh;
  struct node *prev, *next;           /* by change */
  struct node *gone_prev, *gone_next; /* the same order, of those that are gone */
};

struct registry {
  struct node *by_name;
  struct node *by_change;
  struct node *gone;
  uint64_t changes;   /* how many there were; the number of the latest */
  uint64_t forgotten; /* changes up to this one may be missing from the list */
  size_t max, memory, count, gone_count;
};

bool registry_name_valid(const char *name)
{
  size_t size = strlen(name);
  if (size < 1 || size > REGISTRY_NAME_MAX || name[0] == '-' || name[size - 1] == '-')
    return false;
  return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

struct registry *registry_open(size_t max, size_t memory)
{
  struct registry *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->max = max;
  r->memory = memory;
  return r;
}

static void gone_delete(struct registry *r, struct node *n)
{
  DL_DELETE2(r->gone, n, gone_prev, gone_next);
  r->gone_count--;
}

static void node_free(struct registry *r, struct node *n)
{
  /* The analyzer does not know that what is in a list has neighbours. */
  HASH_DEL(r->by_name, n);    /* NOLINT(clang-analyzer-core.NullDereference) */
  DL_DELETE(r->by_change, n); /* NOLINT(clang-analyzer-core.NullDereference) */
  free(n);
}

void registry_close(struct registry *r)
{
  if (!r)
    return;
  while (r->by_change)
    node_free(r, r->by_change);
  free(r);
}

static struct node *find(const struct registry *r, const char *name)
{
  struct node *n;
  HASH_FIND_STR(r->by_name, name, n);
  return n;
}

static void node_changed(struct registry *r, struct node *n)
{
  n->change = ++r->changes;
  DL_APPEND(r->by_change, n);
}

int registry_add(struct registry *r, const char *name, struct registry_time created, void *owner)
{
  struct node *n = find(r, name);
  if (n && n->owner)
    return -EEXIST;
  if (r->count >= r->max)
    return -ENOSPC;
  if (n) {
    DL_DELETE(r->by_change, n);
    gone_delete(r, n);
  } else {
    n = calloc(1, sizeof *n);
    if (!n)
      return -ENOMEM;
    memcpy(n->name, name, strlen(name) + 1);
    HASH_ADD_STR(r->by_name, name, n);
    if (!n->hh.tbl) {
      free(n);
      return -ENOMEM;
    }
  }
  n->created = created;
  n->owner = owner;
  r->count++;
  node_changed(r, n);
  return 0;
}

static void forget_oldest(struct registry *r)
{
  struct node *n = r->gone;
  r->forgotten = n->change;
  gone_delete(r, n);
  node_free(r, n);
}

void registry_remove(struct registry *r, const char *name, const struct registry_leave *how)
{
  struct node *n = find(r, name);
  if (!n || !n->owner)
    return;
  n->owner = NULL;
  n->leave = *how;
  r->count--;
  DL_DELETE(r->by_change, n);
  node_changed(r, n);
  DL_APPEND2(r->gone, n, gone_prev, gone_next);
  r->gone_count++;
  if (r->gone_count > r->memory)
    forget_oldest(r);
}

void registry_touch(struct registry *r, const char *name)
{
  struct node *n = find(r, name);
  if (!n || !n->owner)
    return;
  DL_DELETE(r->by_change, n);
  node_changed(r, n);
}

void *registry_find(const struct registry *r, const char *name)
{
  const struct node *n = find(r, name);
  return n ? n->owner : NULL;
}

const struct registry_leave *registry_left(const struct registry *r, const char *name)
{
  const struct node *n = find(r, name);
  return n && !n->owner ? &n->leave : NULL;
}

size_t registry_count(const struct registry *r)
{
  return r->count;
}

uint64_t registry_changes(const struct registry *r)
{
  return r->changes;
}

static int by_name(const void *a, const void *b)
{
  const struct registry_entry *x = a, *y = b;
  return strcmp(x->name, y->name);
}

static struct registry_entry entry(const struct node *n)
{
  return (struct registry_entry){.name = n->name, .created = n->created, .gone = !n->owner, .owner = n->owner};
}

void registry_list(const struct registry *r, struct registry_entry *out)
{
  size_t count = 0;
  const struct node *n;
  DL_FOREACH(r->by_change, n)
  {
    if (n->owner)
      out[count++] = entry(n);
  }
  qsort(out, count, sizeof *out, by_name);
}

static const struct node *first_after(const struct registry *r, uint64_t change)
{
  const struct node *n = r->by_change ? r->by_change->prev : NULL;
  if (!n || n->change <= change)
    return NULL;
  while (n != r->by_change && n->prev->change > change)
    n = n->prev;
  return n;
}

size_t registry_read(const struct registry *r, struct registry_cursor *c, struct registry_entry *out, size_t max,
                     bool *restart, bool *complete)
{
  /* Names that went before a catalogue was begun are not missing from it. */
  uint64_t known = c->seen > c->whole ? c->seen : c->whole;
  *restart = !c->started || known < r->forgotten;
  if (*restart)
    *c = (struct registry_cursor){.started = true, .whole = r->changes};

  size_t count = 0;
  const struct node *n = first_after(r, c->seen);
  for (; n && count < max; n = n->next) {
    if (n->owner || n->change > c->whole)
      out[count++] = entry(n);
    c->seen = n->change;
  }
  if (!n)
    c->seen = r->changes;
  *complete = !n;
  return count;
}
