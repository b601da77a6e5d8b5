/* A hash by text, and a list by age: all live equally long, so the oldest expires first. */
#include "tokens.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <utlist.h>

struct tokens {
  struct token *by_text;
  struct token *by_age;
  size_t max;
  uint64_t lifetime;
  void (*lost)(struct token *t, void *arg);
  void *arg;
};

struct tokens *tokens_open(size_t max, uint64_t lifetime_ms, void (*lost)(struct token *t, void *arg), void *arg)
{
  struct tokens *ts = calloc(1, sizeof *ts);
  if (!ts)
    return NULL;
  ts->max = max;
  ts->lifetime = lifetime_ms;
  ts->lost = lost;
  ts->arg = arg;
  return ts;
}

static void expire_oldest(struct tokens *ts)
{
  struct token *t = ts->by_age;
  ts->lost(t, ts->arg);
  tokens_spend(ts, t);
}

void tokens_close(struct tokens *ts)
{
  if (!ts)
    return;
  while (ts->by_age)
    expire_oldest(ts);
  free(ts);
}

void tokens_expire(struct tokens *ts, uint64_t now)
{
  while (ts->by_age && ts->by_age->expires <= now)
    expire_oldest(ts);
}

static int text_draw(char out[TOKEN_DIGITS + 1])
{
  uint8_t bytes[TOKEN_DIGITS / 2];
  ssize_t got = getrandom(bytes, sizeof bytes, 0);
  if (got != sizeof bytes)
    return got < 0 ? -errno : -EAGAIN;
  static const char digits[] = "0123456789abcdef";
  for (size_t i = 0; i < sizeof bytes; i++) {
    out[2 * i] = digits[bytes[i] >> 4];
    out[2 * i + 1] = digits[bytes[i] & 15];
  }
  out[TOKEN_DIGITS] = '\0';
  return 0;
}

int tokens_make(struct tokens *ts, uint64_t now, struct token **out)
{
  tokens_expire(ts, now);
  if (tokens_count(ts) >= ts->max)
    return -ENOSPC;
  struct token *t = calloc(1, sizeof *t);
  if (!t)
    return -ENOMEM;
  int error = text_draw(t->text);
  if (error == 0) {
    HASH_ADD(hh, ts->by_text, text, TOKEN_DIGITS, t);
    if (!t->hh.tbl)
      error = -ENOMEM;
  }
  if (error) {
    free(t);
    return error;
  }
  t->expires = now + ts->lifetime;
  DL_APPEND(ts->by_age, t);
  *out = t;
  return 0;
}

struct token *tokens_find(struct tokens *ts, uint64_t now, const char *text)
{
  tokens_expire(ts, now);
  if (strnlen(text, TOKEN_DIGITS + 1) != TOKEN_DIGITS)
    return NULL;
  struct token *t;
  HASH_FIND(hh, ts->by_text, text, TOKEN_DIGITS, t);
  return t;
}

void tokens_spend(struct tokens *ts, struct token *t)
{
  HASH_DEL(ts->by_text, t); /* NOLINT(clang-analyzer-core.NullDereference): what is in a table has neighbours */
  DL_DELETE(ts->by_age, t);
  explicit_bzero(t->text, sizeof t->text);
  free(t);
}

size_t tokens_count(const struct tokens *ts)
{
  return HASH_COUNT(ts->by_text);
}
