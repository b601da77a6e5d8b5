/* What is known of each file is kept beside its certificate, so that one that has not changed is neither read nor
 * complained of again. If two certificates are for the same host, the one that is valid longer is used.
 */
#include "certs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "cert.h"
#include "folder.h"
#include "hello.h"
#include "proto/host/plain.h"

struct host {
  UT_hash_handle hh;
  const struct cert *cert;
  char name[];
};

struct certs {
  struct folder folder;
  struct cert **certs; /* as many as files; NULL: the file cannot be used, and never could */
  struct host *hosts;
  uint64_t mark;
  char *news;
  size_t news_size;
  unsigned count;
};

/* ---- Marks ---- */

/* FNV-1a, of whole numbers. */
static uint64_t mix(uint64_t hash, uint64_t number)
{
  return (hash ^ number) * 0x100000001b3u;
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
  for (; *text != '\0'; text++)
    hash = mix(hash, (unsigned char)*text);
  return mix(hash, 0);
}

static uint64_t mix_mark(uint64_t hash, const struct credential_mark *m)
{
  hash = mix(mix(mix(hash, (uint64_t)m->error), m->mode), m->owner);
  hash = mix(mix(mix(hash, m->device), m->inode), m->size);
  return mix(mix(hash, (uint64_t)m->modified), (uint64_t)m->modified_ns);
}

static uint64_t folder_mark(const struct folder *f)
{
  uint64_t hash = 0xcbf29ce484222325u;
  for (size_t i = 0; i < f->count; i++) {
    hash = mix_text(hash, f->files[i].chain);
    hash = mix_mark(hash, &f->files[i].chain_mark);
    hash = mix_mark(hash, &f->files[i].key_mark);
  }
  return hash != 0 ? hash : 1;
}

uint64_t certs_look(const char *dir)
{
  struct folder f;
  uint64_t mark = folder_list(&f, dir, CERTS_FILES_MAX) == 0 ? folder_mark(&f) : 0;
  folder_free(&f);
  return mark;
}

/* ---- What is said ---- */

static void say(struct certs *s, const char *sentence)
{
  size_t size = strlen(sentence);
  char *news = realloc(s->news, s->news_size + size + 2);
  if (news == NULL)
    return;
  s->news = news;
  stpcpy(stpcpy(news + s->news_size, sentence), "\n");
  s->news_size += size + 1;
}

static void say_both(struct certs *s, const char *one, const char *other)
{
  char sentence[CERTS_WHY_MAX];
  snprintf(sentence, sizeof sentence, "%.500s%s", one, other);
  plain_text(sentence);
  say(s, sentence);
}

/* ---- Hosts ---- */

struct adding {
  struct certs *set;
  const struct cert *cert;
  unsigned count;
};

static int add_host(const char *name, void *arg)
{
  struct adding *a = arg;
  size_t size = strlen(name);
  struct host *h;

  a->count++;
  HASH_FIND(hh, a->set->hosts, name, size, h);
  if (h != NULL) {
    if (h->cert->until < a->cert->until)
      h->cert = a->cert;
    return 0;
  }
  h = calloc(1, sizeof *h + size + 1);
  if (h == NULL)
    return -ENOMEM;
  h->cert = a->cert;
  memcpy(h->name, name, size + 1);
  HASH_ADD_KEYPTR(hh, a->set->hosts, h->name, size, h);
  if (h->hh.tbl != NULL)
    return 0;
  free(h);
  return -ENOMEM;
}

static const struct cert *find(const struct certs *s, const char *name)
{
  struct host *h;
  HASH_FIND(hh, s->hosts, name, strlen(name), h);
  return h != NULL ? h->cert : NULL;
}

const struct cert *certs_find(const struct certs *s, const char *host)
{
  char wild[HELLO_NAME_SIZE + 1];
  const struct cert *found = host[0] != '*' ? find(s, host) : NULL;
  const char *dot = strchr(host, '.');

  if (found != NULL || dot == NULL || dot == host || strlen(dot) + 1 >= sizeof wild)
    return found;
  wild[0] = '*';
  memcpy(wild + 1, dot, strlen(dot) + 1);
  return find(s, wild);
}

/* ---- Loading ---- */

static size_t place_of(const struct certs *s, const char *chain)
{
  size_t low = 0, high = s->folder.count;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (strcmp(s->folder.files[middle].chain, chain) < 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low < s->folder.count && strcmp(s->folder.files[low].chain, chain) == 0 ? low : s->folder.count;
}

static bool is_same(const struct folder_file *a, const struct folder_file *b)
{
  return (a->key == NULL) == (b->key == NULL) && credential_same(&a->chain_mark, &b->chain_mark) &&
         credential_same(&a->key_mark, &b->key_mark);
}

/* What `before` has of the file in its place `old`; NULL: it could not be used then, either. */
static struct cert *former(const struct certs *before, size_t old)
{
  return before != NULL && old < before->folder.count ? before->certs[old] : NULL;
}

/* NULL: it cannot be used. */
static struct cert *load_one(struct certs *s, const struct folder_file *file, const struct certs *before, bool anew)
{
  size_t old = before != NULL ? place_of(before, file->chain) : 0;
  struct cert *kept = former(before, old), *now = NULL;
  char why[CERTS_WHY_MAX];

  if (before != NULL && old < before->folder.count && !anew && is_same(file, &before->folder.files[old])) {
    now = kept;
  } else if (cert_load(&now, file, why) == 0) {
    if (now->until < time(NULL))
      say_both(s, file->chain, ": the certificate has expired");
    return now;
  } else if (why[0] != '\0') {
    say_both(s, why, kept != NULL ? "; the former certificate stays in use" : "");
    now = kept;
  }
  if (now != NULL)
    now->refs++;
  return now;
}

static int load_all(struct certs *s, const struct certs *before, bool anew)
{
  struct adding a = {.set = s};
  int error = 0;

  s->certs = calloc(s->folder.count + 1, sizeof(struct cert *));
  if (s->certs == NULL)
    return -ENOMEM;
  for (size_t i = 0; i < s->folder.count && error == 0; i++) {
    const char *path = s->folder.files[i].chain;
    a.cert = s->certs[i] = load_one(s, &s->folder.files[i], before, anew);
    a.count = 0;
    error = a.cert != NULL ? cert_names(a.cert, add_host, &a) : 0;
    s->count += a.cert != NULL;
    if (a.cert != NULL && a.count == 0)
      say_both(s, path, ": the certificate is for no host");
  }
  if (s->folder.left_out > 0)
    say(s, "there are more than 10000 certificates: the rest is not used");
  return error;
}

int certs_load(struct certs **out, const char *dir, const struct certs *before, bool anew, char why[CERTS_WHY_MAX])
{
  struct certs *s = calloc(1, sizeof *s);
  int error = s != NULL ? folder_list(&s->folder, dir, CERTS_FILES_MAX) : -ENOMEM;

  if (error == 0) {
    s->mark = folder_mark(&s->folder);
    error = load_all(s, before, anew);
  }
  if (error == 0) {
    *out = s;
    return 0;
  }
  snprintf(why, CERTS_WHY_MAX, "the certificates in %.300s: %s", dir, strerror(-error));
  plain_text(why);
  certs_free(s);
  return error;
}

const char *certs_news(const struct certs *s)
{
  return s->news != NULL ? s->news : "";
}

uint64_t certs_mark(const struct certs *s)
{
  return s->mark;
}

unsigned certs_count(const struct certs *s)
{
  return s->count;
}

void certs_free(struct certs *s)
{
  struct host *h, *next;

  if (s == NULL)
    return;
  HASH_ITER(hh, s->hosts, h, next)
  {
    HASH_DEL(s->hosts, h); /* NOLINT(clang-analyzer-core.NullDereference,clang-analyzer-unix.Malloc): it is in it */
    free(h);
  }
  for (size_t i = 0; s->certs != NULL && i < s->folder.count; i++)
    cert_free(s->certs[i]);
  free(s->certs);
  folder_free(&s->folder);
  free(s->news);
  free(s);
}
