/* The lines lie one after the other in one buffer of fixed size, so that they can be read where they lie. What makes
 * room is dropping the older half at once, at the end of a line: dropping line by line would move the whole text for
 * each new one, and would confuse a reader that follows.
 */
#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LINE_MAX_SIZE = 1024 };

struct journal {
  size_t size;
  size_t capacity;
  char *label; /* NULL: no echo */
  char bytes[];
};

struct journal *journal_create(size_t capacity)
{
  struct journal *j = calloc(1, sizeof(*j) + capacity);

  if (j != NULL)
    j->capacity = capacity;
  return j;
}

void journal_free(struct journal *j)
{
  if (j == NULL)
    return;
  free(j->label);
  free(j);
}

void journal_echo(struct journal *j, const char *label)
{
  free(j->label);
  j->label = label != NULL ? strdup(label) : NULL;
}

const char *journal_bytes(const struct journal *j, size_t *size)
{
  *size = j->size;
  return j->bytes;
}

/* Drops lines from the front until half the capacity, and room for `needed` more bytes, is free. */
static void drop_older(struct journal *j, size_t needed)
{
  size_t keep = j->capacity / 2;
  size_t drop;
  const char *end;

  if (keep > j->capacity - needed)
    keep = j->capacity - needed;
  if (j->size <= keep)
    return;
  drop = j->size - keep;
  end = memchr(j->bytes + drop - 1, '\n', keep + 1);
  drop = end != NULL ? (size_t)(end - j->bytes) + 1 : j->size;
  memmove(j->bytes, j->bytes + drop, j->size - drop);
  j->size -= drop;
}

/* How many bytes the UTF-8 character at `s`, before a NUL, has. 0: it is none, or a control character. */
static size_t character_size(const unsigned char *s)
{
  static const struct {
    unsigned char mask, lead;
    unsigned least; /* smaller ones are controls, or written too long */
  } shapes[] = {{0x80, 0x00, 0x20}, {0xe0, 0xc0, 0xa0}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

  for (size_t more = 0; more < sizeof(shapes) / sizeof(shapes[0]); more++) {
    unsigned point = s[0] & ~(unsigned)shapes[more].mask & 0xff;

    if ((s[0] & shapes[more].mask) != shapes[more].lead)
      continue;
    for (size_t i = 1; i <= more; i++) {
      if ((s[i] & 0xc0) != 0x80)
        return 0;
      point = point << 6 | (s[i] & 0x3f);
    }
    bool character = point >= shapes[more].least && point != 0x7f && point <= 0x10ffff && (point & ~0x7ffU) != 0xd800;
    return character ? more + 1 : 0;
  }
  return 0;
}

static void clean(char *text)
{
  while (*text != '\0') {
    size_t size = character_size((const unsigned char *)text);

    if (size == 0)
      *text = '?';
    text += size == 0 ? 1 : size;
  }
}

void journal_add(struct journal *j, const char *format, ...)
{
  char line[LINE_MAX_SIZE + 1];
  struct tm tm = {0};
  time_t now = time(NULL);
  size_t begin;
  size_t size;
  va_list args;

  gmtime_r(&now, &tm);
  begin = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ ", &tm);
  va_start(args, format);
  if (vsnprintf(line + begin, sizeof(line) - 1 - begin, format, args) < 0)
    line[begin] = '\0';
  va_end(args);
  clean(line + begin);
  size = begin + strlen(line + begin);
  if (j->label != NULL)
    fprintf(stderr, "%s: %s\n", j->label, line + begin);
  line[size++] = '\n';
  if (size > j->capacity)
    return;
  if (size > j->capacity - j->size)
    drop_older(j, size);
  memcpy(j->bytes + j->size, line, size);
  j->size += size;
}
