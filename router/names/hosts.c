/* A hash by name. Those that nobody holds are in a list, oldest first, and go when they are old or too many. */
#include "hosts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "router/door/table.h"

enum { LEFT_MAX = 4096 };

struct owner {
  UT_hash_handle hh;
  uint8_t identity[IDENTITY_SIZE];
  size_t count; /* of hosts that it holds */
};

struct host {
  UT_hash_handle hh;
  struct owner *owner; /* NULL: it was left */
  bool tls;
  size_t holds;
  struct host_claim left;
  struct host *prev, *next; /* of those that were left */
  char name[];
};

struct hosts {
  struct host *by_name;
  struct owner *owners;
  struct host *left;
  size_t left_count, max;
  uint64_t kept_ms;
  bool (*stayed)(const uint8_t member[HEADER_MEMBER_SIZE], uint64_t since, void *arg);
  void *arg;
};

struct hosts *hosts_open(size_t max, uint64_t kept_ms,
                         bool (*stayed)(const uint8_t member[HEADER_MEMBER_SIZE], uint64_t since, void *arg), void *arg)
{
  struct hosts *hs = calloc(1, sizeof *hs);
  if (hs != NULL)
    *hs = (struct hosts){.max = max, .kept_ms = kept_ms, .stayed = stayed, .arg = arg};
  return hs;
}

/* Of one that was left. */
static void forget(struct hosts *hs, struct host *h)
{
  /* The analyzer does not know that what is in a list has neighbours. */
  DL_DELETE(hs->left, h);   /* NOLINT(clang-analyzer-core.NullDereference) */
  HASH_DEL(hs->by_name, h); /* NOLINT(clang-analyzer-core.NullDereference) */
  hs->left_count--;
  free(h);
}

void hosts_close(struct hosts *hs)
{
  if (hs == NULL)
    return;
  while (hs->left != NULL)
    forget(hs, hs->left);
  free(hs);
}

/* ---- Owners ---- */

static struct owner *owner_find(const struct hosts *hs, const uint8_t identity[IDENTITY_SIZE])
{
  struct owner *o;
  HASH_FIND(hh, hs->owners, identity, IDENTITY_SIZE, o);
  return o;
}

static int owner_take(struct hosts *hs, const uint8_t identity[IDENTITY_SIZE], struct owner **out)
{
  struct owner *o = owner_find(hs, identity);
  if (o == NULL) {
    o = calloc(1, sizeof *o);
    if (o == NULL)
      return -ENOMEM;
    memcpy(o->identity, identity, sizeof o->identity);
    HASH_ADD(hh, hs->owners, identity, IDENTITY_SIZE, o);
    if (o->hh.tbl == NULL) {
      free(o);
      return -ENOMEM;
    }
  } else if (o->count >= hs->max) {
    return -ENOSPC;
  }
  o->count++;
  *out = o;
  return 0;
}

static void owner_give(struct hosts *hs, struct owner *o)
{
  if (--o->count > 0)
    return;
  HASH_DEL(hs->owners, o); /* NOLINT(clang-analyzer-unix.Malloc) */
  free(o);
}

/* ---- Hosts ---- */

static void forget_old(struct hosts *hs, uint64_t now)
{
  while (hs->left != NULL && (hs->left_count > LEFT_MAX || now - hs->left->left.now >= hs->kept_ms))
    forget(hs, hs->left);
}

/* Whether one that was left is still its former identity's. */
static bool is_kept(const struct hosts *hs, const struct host *h, const struct host_claim *claim)
{
  if (memcmp(h->left.identity, claim->identity, sizeof claim->identity) == 0)
    return false;
  return !hs->stayed(h->left.member, h->left.now, hs->arg);
}

static struct host *host_create(struct hosts *hs, const char *name)
{
  size_t size = strlen(name);
  struct host *h = calloc(1, sizeof *h + size + 1);
  if (h == NULL)
    return NULL;
  memcpy(h->name, name, size + 1);
  HASH_ADD_KEYPTR(hh, hs->by_name, h->name, size, h);
  if (h->hh.tbl == NULL) {
    free(h);
    return NULL;
  }
  /* Until it is held, as it would be when it was left. */
  DL_APPEND(hs->left, h);
  hs->left_count++;
  return h;
}

static int host_begin(struct hosts *hs, struct host *h, bool tls, const struct host_claim *claim)
{
  int error = owner_take(hs, claim->identity, &h->owner);
  if (error != 0)
    return error;
  h->tls = tls;
  h->holds = 1;
  DL_DELETE(hs->left, h);
  hs->left_count--;
  return 0;
}

int hosts_hold(struct hosts *hs, const char *name, bool tls, const struct host_claim *claim, struct host **out)
{
  struct host *h;
  forget_old(hs, claim->now);
  HASH_FIND_STR(hs->by_name, name, h);
  *out = h;
  if (h != NULL && h->owner != NULL) {
    if (memcmp(h->owner->identity, claim->identity, sizeof claim->identity) != 0)
      return -EEXIST;
    if (h->tls != tls)
      return -EBUSY;
    h->holds++;
    return 0;
  }
  if (h != NULL && is_kept(hs, h, claim))
    return -EEXIST;
  bool fresh = h == NULL;
  if (fresh)
    *out = h = host_create(hs, name);
  if (h == NULL)
    return -ENOMEM;
  int error = host_begin(hs, h, tls, claim);
  if (error != 0 && fresh)
    forget(hs, h);
  return error;
}

bool hosts_is_held(const struct hosts *hs, const char *name)
{
  struct host *h;
  HASH_FIND_STR(hs->by_name, name, h);
  return h != NULL && h->owner != NULL;
}

void hosts_leave(struct hosts *hs, struct host *h, const struct host_claim *claim)
{
  if (--h->holds > 0)
    return;
  owner_give(hs, h->owner);
  h->owner = NULL;
  h->left = *claim;
  DL_APPEND(hs->left, h);
  hs->left_count++;
  forget_old(hs, claim->now);
}
