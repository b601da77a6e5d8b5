/* Few names belong to a service, so they are compared as they stand. */
#include "routes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "link.h"
#include "proto/wire/public_name.h"

struct route_service {
  UT_hash_handle hh;
  char *service;
  struct public_name *names;
  size_t count;
  uint8_t *rules;
  size_t rules_size;
  uint64_t until; /* 0: it is there */
};

static void service_free(struct route_service *s)
{
  free(s->service);
  free(s->names);
  free(s->rules);
  free(s);
}

static struct route_service *find(const struct routes *r, const char *service)
{
  struct route_service *s;

  HASH_FIND_STR(r->table, service, s);
  return s;
}

static bool same(const struct route_service *s, const struct link_public *is)
{
  if (s->count != is->count || s->rules_size != is->rules_size)
    return false;
  for (size_t i = 0; i < is->count; i++) {
    if (!public_name_equal(&s->names[i], &is->names[i]) || s->names[i].per_client != is->names[i].per_client)
      return false;
  }
  return is->rules_size == 0 || memcmp(s->rules, is->rules, is->rules_size) == 0;
}

static void add(struct routes *r, const char *service, const struct link_public *is)
{
  struct route_service *s = calloc(1, sizeof *s);

  if (s == NULL)
    return;
  s->service = strdup(service);
  s->names = calloc(is->count, sizeof *s->names);
  s->count = is->count;
  s->rules = is->rules_size > 0 ? malloc(is->rules_size) : NULL;
  s->rules_size = is->rules_size;
  if (s->service != NULL && s->names != NULL && (s->rules != NULL || s->rules_size == 0)) {
    memcpy(s->names, is->names, is->count * sizeof *s->names);
    if (s->rules != NULL)
      memcpy(s->rules, is->rules, s->rules_size);
    HASH_ADD_KEYPTR(hh, r->table, s->service, strlen(service), s);
    if (s->hh.tbl != NULL)
      return;
  }
  service_free(s);
}

bool routes_put(struct routes *r, const char *service, const struct link_public *is)
{
  struct route_service *s = find(r, service);
  bool had;

  if (s != NULL && same(s, is)) {
    s->until = 0;
    return false;
  }
  had = routes_drop(r, service);
  if (is->count > 0)
    add(r, service, is);
  return had || is->count > 0;
}

bool routes_drop(struct routes *r, const char *service)
{
  struct route_service *s = find(r, service);

  if (s == NULL)
    return false;
  HASH_DEL(r->table, s); /* NOLINT(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc): it has a table */
  service_free(s);
  return true;
}

void routes_doubt(struct routes *r, const char *service, uint64_t until)
{
  struct route_service *s = find(r, service);

  if (s != NULL)
    s->until = until;
}

bool routes_expire(struct routes *r, uint64_t now, uint64_t *next)
{
  struct route_service *s, *after;
  bool any = false;

  *next = 0;
  HASH_ITER(hh, r->table, s, after)
  {
    if (s->until == 0)
      continue;
    if (s->until <= now) {
      any = true;
      routes_drop(r, s->service);
    } else if (*next == 0 || s->until < *next) {
      *next = s->until;
    }
  }
  return any;
}

static int by_name(const void *a, const void *b)
{
  const struct link_route *x = a, *y = b;
  int order = strcmp(x->host, y->host);

  if (order == 0)
    order = strcmp(x->path, y->path);
  return order != 0 ? order : strcmp(x->service, y->service);
}

static struct link_route route_of(const struct route_service *s, const struct public_name *name)
{
  return (struct link_route){.host = name->host,
                             .path = name->path,
                             .service = s->service,
                             .tls = name->tls,
                             .per_client = name->per_client,
                             .port = public_name_kind(name) == PUBLIC_PORT ? public_name_port(name) : 0,
                             .rules = s->rules,
                             .rules_size = s->rules_size};
}

int routes_list(struct routes *r, const struct link_route **out, size_t *count)
{
  struct route_service *s, *next;
  struct link_route *list;
  size_t size = 0;

  HASH_ITER(hh, r->table, s, next)
  {
    size += s->count;
  }
  list = calloc(size + 1, sizeof *list);
  if (list == NULL)
    return -ENOMEM;
  *count = 0;
  HASH_ITER(hh, r->table, s, next)
  {
    for (size_t i = 0; i < s->count; i++)
      list[(*count)++] = route_of(s, &s->names[i]);
  }
  qsort(list, *count, sizeof *list, by_name);
  free(r->list);
  *out = r->list = list;
  return 0;
}

void routes_free(struct routes *r)
{
  struct route_service *s, *next;

  HASH_ITER(hh, r->table, s, next)
  {
    routes_drop(r, s->service);
  }
  free(r->list);
  *r = (struct routes){0};
}
