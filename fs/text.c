/* Renderings: text that grows as it is printed. Then the entry and all open handles share it, unchanged. */
#include "fs/fs_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct fs_text *fs_text_new(void)
{
  struct fs_text *text = calloc(1, sizeof(*text));
  if (text != NULL)
    text->references = 1;
  return text;
}

struct fs_text *fs_text_hold(struct fs_text *text)
{
  text->references++;
  return text;
}

void fs_text_release(struct fs_text *text)
{
  if (text == NULL || --text->references > 0)
    return;
  free(text->bytes);
  free(text);
}

static bool make_room(struct fs_text *text, size_t more)
{
  if (text->room - text->size > more)
    return true;
  if (more > SIZE_MAX / 4 || text->room > SIZE_MAX / 4)
    return false;
  size_t room = text->room == 0 ? 128 : text->room * 2;
  if (room <= text->size + more)
    room = text->size + more + 1;
  char *bytes = realloc(text->bytes, room);
  if (bytes == NULL)
    return false;
  text->bytes = bytes;
  text->room = room;
  return true;
}

void fs_printf(struct fs_text *out, const char *format, ...)
{
  if (out->failed)
    return;
  va_list arguments;
  va_list again;
  va_start(arguments, format);
  va_copy(again, arguments);
  int size = vsnprintf(out->bytes == NULL ? NULL : out->bytes + out->size, out->room - out->size, format, arguments);
  if (size < 0) {
    out->failed = true;
  } else if ((size_t)size >= out->room - out->size) {
    if (make_room(out, (size_t)size))
      vsnprintf(out->bytes + out->size, out->room - out->size, format, again);
    else
      out->failed = true;
  }
  if (!out->failed)
    out->size += (size_t)size;
  va_end(again);
  va_end(arguments);
}
