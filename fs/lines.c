/* Cuts what is written to a file into lines.
 *
 * The bytes of a write are put behind what the write before left incomplete. Lines are then taken off one after
 * another, each accepted or refused; those that say nothing (blank, or a comment) are passed over. The outcome does not
 * depend on how the bytes were cut into writes: a byte that cannot be part of any line (a NUL, or one too many) is
 * refused as soon as it is seen, not when its line is complete.
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
  size_t room = lines->size + size + 1;
  if (room > lines->room && room < lines->room + lines->room / 2)
    room = lines->room + lines->room / 2;
  if (room > lines->room) {
    char *grown = realloc(lines->bytes, room);
    if (grown == NULL)
      return -ENOMEM;
    lines->bytes = grown;
    lines->room = room;
  }
  if (size > 0)
    memcpy(lines->bytes + lines->size, bytes, size);
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

/* The byte order mark of editors that think of files, and so of every file in what `cat` puts together. */
static const char mark[] = "\xef\xbb\xbf";
enum { MARK_SIZE = sizeof(mark) - 1 };

struct piece {
  size_t start, size; /* trimmed */
  size_t next;
};

static void trim(const struct fs_lines *lines, struct piece *piece)
{
  const char *bytes = lines->bytes;
  for (;;) {
    size_t skip = 0;
    if (piece->size > 0 && is_blank(bytes[piece->start]))
      skip = 1;
    else if (piece->size >= MARK_SIZE && memcmp(bytes + piece->start, mark, MARK_SIZE) == 0)
      skip = MARK_SIZE;
    if (skip == 0)
      break;
    piece->start += skip;
    piece->size -= skip;
  }
  while (piece->size > 0 && is_blank(bytes[piece->start + piece->size - 1]))
    piece->size--;
}

static bool says_nothing(const struct fs_lines *lines, const struct piece *piece)
{
  return piece->size == 0 || lines->bytes[piece->start] == '#';
}

/* The line at `at`: 1; 0 when it is not complete; or why it is refused. */
static int cut(const struct fs_lines *lines, size_t at, bool flush, struct piece *piece)
{
  size_t left = lines->size - at;
  if (left == 0)
    return 0;
  const char *start = lines->bytes + at;
  size_t window = left < FS_LINE_MAX ? left : FS_LINE_MAX;
  const char *newline = memchr(start, '\n', window);
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
  *piece = (struct piece){.start = at, .size = length, .next = at + length + (newline != NULL ? 1 : 0)};
  trim(lines, piece);
  return 1;
}

/* The same of the first line from *at that says something. */
static int cut_next(const struct fs_lines *lines, size_t *at, bool flush, struct piece *piece)
{
  int result = cut(lines, *at, flush, piece);
  while (result > 0 && says_nothing(lines, piece)) {
    *at = piece->next;
    result = cut(lines, *at, flush, piece);
  }
  return result;
}

int fs_lines_next(struct fs_lines *lines, bool flush, struct fs_line *line)
{
  struct piece piece;
  int result = cut_next(lines, &lines->done, flush, &piece);
  if (result <= 0)
    return result;
  lines->next = piece.next;
  *line = (struct fs_line){.text = lines->bytes + piece.start, .size = piece.size};
  lines->bytes[piece.start + piece.size] = '\0';
  return 1;
}

bool fs_lines_rest(struct fs_lines *lines, struct fs_line *line)
{
  struct piece piece = {.start = lines->done, .size = lines->size - lines->done};
  trim(lines, &piece);
  const char *text = lines->bytes + piece.start;
  if (says_nothing(lines, &piece) || (piece.size < MARK_SIZE && memcmp(text, mark, piece.size) == 0))
    return false;
  *line = (struct fs_line){.text = text, .size = lines->size - piece.start};
  lines->bytes[lines->size] = '\0';
  return true;
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
  if (lines->done > 0) {
    memmove(lines->bytes, lines->bytes + lines->done, rest);
    char *shrunk = realloc(lines->bytes, rest + 1);
    if (shrunk != NULL) {
      lines->bytes = shrunk;
      lines->room = rest + 1;
    }
  }
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
