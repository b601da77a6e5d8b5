/* A hash of those who hold something. */
#include "callers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/wire/identity.h"
#include "table.h"

struct caller {
  bool is_member, parks_raw;
  size_t held[CALLER_HOLDS];
  struct parked *parked[CALLER_PARKED_KINDS];
  struct service *services;
  struct presence *presence;
  UT_hash_handle hh;
  size_t name_size;
  char name[]; /* 'm' and the member, or 'p' and the peer */
};

struct callers {
  struct caller *by_name;
  size_t max[CALLER_HOLDS];
};

enum { NAME_MAX_SIZE = 1 + 255 };

int member_read(struct member *out, const void *id, size_t id_size, const void *key, size_t key_size)
{
  memset(out, 0, sizeof *out);
  if (id_size == 0 && key_size == 0)
    return 0;
  if (id_size != HEADER_MEMBER_SIZE || key_size != HEADER_MEMBER_KEY_SIZE)
    return -EINVAL;
  member_of_key(key, out->id);
  out->given = memcmp(out->id, id, HEADER_MEMBER_SIZE) == 0;
  return out->given ? 0 : -EACCES;
}

struct callers *callers_open(const size_t max[CALLER_HOLDS])
{
  struct callers *cs = calloc(1, sizeof *cs);
  if (!cs)
    return NULL;
  memcpy(cs->max, max, sizeof cs->max);
  return cs;
}

void callers_close(struct callers *cs)
{
  free(cs);
}

static size_t name_write(char out[NAME_MAX_SIZE], const struct member *m, const char *peer)
{
  if (m->given) {
    out[0] = 'm';
    memcpy(out + 1, m->id, HEADER_MEMBER_SIZE);
    return 1 + HEADER_MEMBER_SIZE;
  }
  size_t size = strnlen(peer, NAME_MAX_SIZE - 1);
  out[0] = 'p';
  memcpy(out + 1, peer, size);
  return 1 + size;
}

static struct caller *caller_add(struct callers *cs, const struct member *m, const char *name, size_t name_size)
{
  struct caller *c = calloc(1, sizeof *c + name_size);
  if (!c)
    return NULL;
  c->is_member = m->given;
  memcpy(c->name, name, name_size);
  c->name_size = name_size;
  HASH_ADD_KEYPTR(hh, cs->by_name, c->name, c->name_size, c);
  if (!c->hh.tbl) {
    free(c);
    return NULL;
  }
  return c;
}

static bool holds_nothing(const struct caller *c)
{
  for (size_t i = 0; i < CALLER_HOLDS; i++) {
    if (c->held[i])
      return false;
  }
  return true;
}

int callers_hold(struct callers *cs, struct caller **out, const struct member *m, const char *peer,
                 enum caller_holds kind)
{
  char name[NAME_MAX_SIZE];
  size_t name_size = name_write(name, m, peer);
  struct caller *c;
  HASH_FIND(hh, cs->by_name, name, name_size, c);
  if ((c ? c->held[kind] : 0) >= cs->max[kind])
    return -ENOSPC;
  if (!c)
    c = caller_add(cs, m, name, name_size);
  if (!c)
    return -ENOMEM;
  *out = c;
  return callers_hold_more(cs, c, kind);
}

struct caller *callers_find(const struct callers *cs, const uint8_t member[HEADER_MEMBER_SIZE])
{
  struct member m = {.given = true};
  char name[NAME_MAX_SIZE];
  memcpy(m.id, member, sizeof m.id);
  size_t name_size = name_write(name, &m, "");
  struct caller *c;
  HASH_FIND(hh, cs->by_name, name, name_size, c);
  return c;
}

int callers_hold_more(struct callers *cs, struct caller *c, enum caller_holds kind)
{
  if (c->held[kind] >= cs->max[kind])
    return -ENOSPC;
  c->held[kind]++;
  return 0;
}

void callers_release(struct callers *cs, struct caller *c, enum caller_holds kind)
{
  c->held[kind]--;
  if (!holds_nothing(c))
    return;
  HASH_DEL(cs->by_name, c);
  free(c);
}

size_t caller_holds(const struct caller *c, enum caller_holds kind)
{
  return c->held[kind];
}

struct parked **caller_parked(struct caller *c, unsigned kind)
{
  return &c->parked[kind];
}

struct service **caller_services(struct caller *c)
{
  return &c->services;
}

struct presence **caller_presence(struct caller *c)
{
  return &c->presence;
}

bool caller_joined(const struct caller *c)
{
  return c->presence != NULL;
}

bool caller_parks_raw(const struct caller *c)
{
  return c->parks_raw;
}

void caller_set_parks_raw(struct caller *c, bool does)
{
  c->parks_raw = does;
}

const uint8_t *caller_member(const struct caller *c)
{
  return c->is_member ? (const uint8_t *)c->name + 1 : NULL;
}

bool caller_matches(const struct caller *c, const struct member *m)
{
  return !c->is_member || (m->given && memcmp(c->name + 1, m->id, HEADER_MEMBER_SIZE) == 0);
}
