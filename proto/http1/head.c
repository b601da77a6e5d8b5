#include "head.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_FIRST = 1024, FIELDS_FIRST = 16 };

int http1_head_append(struct http1_head *h, const char *bytes, size_t size)
{
  if (h->size + size > h->capacity) {
    size_t capacity = h->capacity > 0 ? h->capacity : TEXT_FIRST;
    while (capacity < h->size + size)
      capacity *= 2;
    char *text = realloc(h->text, capacity);
    if (text == NULL)
      return -ENOMEM;
    h->text = text;
    h->capacity = capacity;
  }
  if (size > 0)
    memcpy(h->text + h->size, bytes, size);
  h->size += size;
  return 0;
}

int http1_head_add_field(struct http1_head *h, struct http1_span name, struct http1_span value)
{
  if (h->count == h->room) {
    unsigned room = h->room > 0 ? 2 * h->room : FIELDS_FIRST;
    struct http1_field *fields = realloc(h->fields, room * sizeof *fields);
    if (fields == NULL)
      return -ENOMEM;
    h->fields = fields;
    h->room = room;
  }
  h->fields[h->count++] = (struct http1_field){.name = name, .value = value};
  return 0;
}

void http1_head_reset(struct http1_head *h)
{
  *h = (struct http1_head){.text = h->text, .capacity = h->capacity, .fields = h->fields, .room = h->room};
}

void http1_head_free(struct http1_head *h)
{
  free(h->text);
  free(h->fields);
  *h = (struct http1_head){0};
}

struct http1_text http1_head_text(const struct http1_head *h, struct http1_span span)
{
  return (struct http1_text){span.size > 0 ? h->text + span.at : "", span.size};
}

struct http1_text http1_head_name(const struct http1_head *h, unsigned field)
{
  return http1_head_text(h, h->fields[field].name);
}

struct http1_text http1_head_value(const struct http1_head *h, unsigned field)
{
  return http1_head_text(h, h->fields[field].value);
}

unsigned http1_head_find(const struct http1_head *h, const char *name, unsigned from)
{
  unsigned i = from;
  while (i < h->count && (h->fields[i].dropped || !grammar_is_word(http1_head_name(h, i), name)))
    i++;
  return i;
}

void http1_head_drop(struct http1_head *h, const char *name)
{
  for (unsigned i = http1_head_find(h, name, 0); i < h->count; i = http1_head_find(h, name, i + 1))
    h->fields[i].dropped = true;
}
