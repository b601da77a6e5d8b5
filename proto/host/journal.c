/* The lines lie one after the other in one buffer of fixed size, so that they can be read in place. To make room, the
 * older half is dropped at once, up to the end of a line: dropping single lines would move the whole text for each new
 * one, and would confuse a reader that follows.
 */
#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log_line.h"

enum { LINE_MAX_SIZE = 1024 };

struct journal {
  size_t size;
  size_t capacity;
  char *label; /* NULL: no echo */
  enum log_line_style style;
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
  j->style = log_line_style(STDERR_FILENO);
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

static void clean(char *text)
{
  while (*text != '\0') {
    size_t size = log_line_character((const unsigned char *)text);

    if (size == 0)
      *text = '?';
    text += size == 0 ? 1 : size;
  }
}

static void echo(const struct journal *j, time_t now, const char *text)
{
  char line[LOG_LINE_MAX];

  log_line_write(line, j->style, j->label, now, text);
  fputs(line, stderr);
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
    echo(j, now, line + begin);
  line[size++] = '\n';
  if (size > j->capacity)
    return;
  if (size > j->capacity - j->size)
    drop_older(j, size);
  memcpy(j->bytes + j->size, line, size);
  j->size += size;
}
