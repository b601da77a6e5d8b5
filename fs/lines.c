/* Cuts what is written to a file into lines.
 *
 * The bytes of a write are put behind what the write before left incomplete. Lines are then taken off one after
 * another, each accepted or refused. The outcome does not depend on how the bytes were cut into writes: a byte that
 * cannot be part of any line (a NUL, or one too many) is refused as soon as it is seen, not when its line is complete.
 *
 * A refusal after accepted lines is a short count: the writer comes again with the rest, and then gets the error. */
#include "fs/fs_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void fs_lines_clear(struct fs_lines *lines)
{
  free(lines->bytes);
  *lines = (struct fs_lines){0};
}

int fs_lines_write(struct fs_lines *lines, const char *bytes, size_t size)
{
  if (size > SIZE_MAX / 2 - lines->size)
    return -ENOMEM;
  char *grown = realloc(lines->bytes, lines->size + size + 1);
  if (grown == NULL)
    return -ENOMEM;
  if (size > 0)
    memcpy(grown + lines->size, bytes, size);
  lines->bytes = grown;
  lines->carried = lines->size;
  lines->size += size;
  lines->done = 0;
  lines->next = 0;
  return 0;
}

static bool is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\r';
}

int fs_lines_next(struct fs_lines *lines, bool flush, struct fs_line *line)
{
  size_t left = lines->size - lines->done;
  if (left == 0)
    return 0;
  char *start = lines->bytes + lines->done;
  size_t window = left < FS_LINE_MAX ? left : FS_LINE_MAX;
  char *newline = memchr(start, '\n', window);
  size_t length = newline != NULL ? (size_t)(newline - start) : window;
  if (memchr(start, '\0', length) != NULL)
    return -EINVAL;
  if (newline == NULL && left > FS_LINE_MAX) {
    if (start[FS_LINE_MAX] != '\n')
      return -E2BIG;
    newline = start + FS_LINE_MAX;
  }
  if (newline == NULL && !flush)
    return 0;

  lines->next = lines->done + length + (newline != NULL ? 1 : 0);
  while (length > 0 && is_blank(start[length - 1]))
    length--;
  while (length > 0 && is_blank(*start)) {
    start++;
    length--;
  }
  start[length] = '\0';
  *line = (struct fs_line){.text = start, .size = length};
  line->more = lines->next < lines->size && memchr(lines->bytes + lines->next, '\n', lines->size - lines->next) != NULL;
  return 1;
}

void fs_lines_accept(struct fs_lines *lines)
{
  lines->done = lines->next;
}

ssize_t fs_lines_end(struct fs_lines *lines)
{
  ssize_t written = (ssize_t)(lines->size - lines->carried);
  size_t rest = lines->size - lines->done;
  if (rest == 0) {
    fs_lines_clear(lines);
    return written;
  }
  memmove(lines->bytes, lines->bytes + lines->done, rest);
  char *shrunk = realloc(lines->bytes, rest + 1);
  if (shrunk != NULL)
    lines->bytes = shrunk;
  lines->size = lines->carried = rest;
  lines->done = lines->next = 0;
  return written;
}

ssize_t fs_lines_refuse(struct fs_lines *lines, int error)
{
  ssize_t taken = (ssize_t)lines->done - (ssize_t)lines->carried;
  fs_lines_clear(lines);
  return taken > 0 ? taken : error;
}
