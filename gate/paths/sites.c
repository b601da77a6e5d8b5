/* The list is in the order of hosts, so that one is found by halving. Paths are compared as they are written: only
 * whole segments count, and what comes behind "?" does not.
 */
#include "sites.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

struct site {
  char *host, *path, *service;
};

struct list {
  struct site *all;
  size_t count, room;
};

/* A host that has nothing any more. */
struct left {
  UT_hash_handle hh;
  uint64_t until;
  char host[];
};

struct sites {
  struct list now, former; /* the latter only while a new list is made */
  struct left *left;       /* the oldest first */
  bool told;
};

struct sites *sites_create(void)
{
  return calloc(1, sizeof(struct sites));
}

static void site_free(struct site *s)
{
  free(s->host);
  free(s->path);
  free(s->service);
}

static void list_free(struct list *l)
{
  for (size_t i = 0; i < l->count; i++)
    site_free(&l->all[i]);
  free(l->all);
  *l = (struct list){0};
}

static void left_forget(struct sites *r, struct left *l)
{
  HASH_DEL(r->left, l); /* NOLINT(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc): it has a table */
  free(l);
}

void sites_free(struct sites *r)
{
  struct left *l, *next;
  if (r == NULL)
    return;
  HASH_ITER(hh, r->left, l, next)
  {
    left_forget(r, l);
  }
  list_free(&r->now);
  list_free(&r->former);
  free(r);
}

/* ---- The list ---- */

/* As strcmp does, but that the host may be in upper case. */
static int compare(struct http1_text host, const char *with)
{
  size_t size = strlen(with);
  for (size_t i = 0; i < host.size && i < size; i++) {
    unsigned char c = (unsigned char)host.at[i];
    if (c >= 'A' && c <= 'Z')
      c |= 0x20;
    if (c != (unsigned char)with[i])
      return c < (unsigned char)with[i] ? -1 : 1;
  }
  return host.size == size ? 0 : host.size < size ? -1 : 1;
}

/* The first one of this host, or where it would be. */
static size_t place_of(const struct list *l, struct http1_text host)
{
  size_t low = 0, high = l->count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (compare(host, l->all[middle].host) > 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static bool has_host(const struct list *l, struct http1_text host)
{
  size_t at = place_of(l, host);
  return at < l->count && compare(host, l->all[at].host) == 0;
}

void sites_begin(struct sites *r)
{
  list_free(&r->former);
  r->former = r->now;
  r->now = (struct list){0};
}

static bool make_room(struct list *l)
{
  if (l->count < l->room)
    return true;
  size_t room = l->room > 0 ? 2 * l->room : 16;
  struct site *all = realloc(l->all, room * sizeof *all);
  if (all == NULL)
    return false;
  l->all = all;
  l->room = room;
  return true;
}

int sites_add(struct sites *r, const char *host, const char *path, const char *service)
{
  if (!make_room(&r->now))
    return -ENOMEM;
  struct site *s = &r->now.all[r->now.count];
  *s = (struct site){.host = strdup(host), .path = strdup(path), .service = strdup(service)};
  if (s->host != NULL && s->path != NULL && s->service != NULL) {
    r->now.count++;
    return 0;
  }
  site_free(s);
  return -ENOMEM;
}

/* ---- What is not there any more ---- */

static void remember(struct sites *r, const char *host, uint64_t now)
{
  size_t size = strlen(host);
  struct left *l;

  HASH_FIND(hh, r->left, host, size, l);
  if (l != NULL)
    left_forget(r, l); /* it becomes the youngest */
  l = calloc(1, sizeof *l + size + 1);
  if (l == NULL)
    return;
  memcpy(l->host, host, size + 1);
  l->until = now + SITES_LEFT_MS;
  HASH_ADD_KEYPTR(hh, r->left, l->host, size, l);
  if (l->hh.tbl == NULL)
    free(l);
}

void sites_settle(struct sites *r, uint64_t now)
{
  struct left *l, *next;

  r->told = true;
  for (size_t i = 0; i < r->former.count; i++) {
    const char *host = r->former.all[i].host;
    if (!has_host(&r->now, (struct http1_text){host, strlen(host)}))
      remember(r, host, now);
  }
  list_free(&r->former);
  size_t over = HASH_COUNT(r->left) > SITES_LEFT_MAX ? HASH_COUNT(r->left) - SITES_LEFT_MAX : 0;
  HASH_ITER(hh, r->left, l, next)
  {
    if (l->until > now && over == 0)
      break;
    over -= over > 0;
    left_forget(r, l);
  }
}

/* ---- Questions ---- */

static bool begins_with(struct http1_text path, const char *start)
{
  size_t size = strlen(start);
  if (path.size < size || memcmp(path.at, start, size) != 0)
    return false;
  return size == 0 || path.size == size || path.at[size] == '/' || path.at[size] == '?';
}

size_t sites_find(const struct sites *r, struct http1_text host, struct http1_text path, const char **services,
                  size_t most)
{
  size_t longest = 0, found = 0;
  for (size_t i = place_of(&r->now, host); i < r->now.count; i++) {
    const struct site *one = &r->now.all[i];
    size_t size = strlen(one->path);
    if (compare(host, one->host) != 0)
      break;
    if ((found > 0 && size < longest) || !begins_with(path, one->path))
      continue;
    if (size > longest)
      found = 0;
    longest = size;
    if (found < most)
      services[found++] = one->service;
  }
  return found;
}

bool sites_have(const struct sites *r, struct http1_text host)
{
  return has_host(&r->now, host);
}

bool sites_know(const struct sites *r, struct http1_text host, uint64_t now)
{
  char lower[256];
  struct left *l;

  if (!r->told || has_host(&r->now, host))
    return true;
  if (host.size >= sizeof lower)
    return false;
  for (size_t i = 0; i < host.size; i++)
    lower[i] = (char)(host.at[i] >= 'A' && host.at[i] <= 'Z' ? host.at[i] | 0x20 : host.at[i]);
  HASH_FIND(hh, r->left, lower, host.size, l);
  return l != NULL && l->until > now;
}
