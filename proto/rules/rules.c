#include "rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mindmeld.pb-c.h"

static const char *const words[RULE_KINDS] = {
    [RULE_CLIENTS] = "clients", [RULE_HEADERS] = "headers", [RULE_USERS] = "users", [RULE_OFFLINE] = "offline"};

const char *rules_word(enum rule_kind kind)
{
  return words[kind];
}

enum rule_kind rules_kind(const char *word)
{
  enum rule_kind kind = 0;
  while (kind < RULE_KINDS && strcmp(words[kind], word) != 0)
    kind++;
  return kind;
}

size_t rules_size(const struct rules *r)
{
  size_t size = 0;
  for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++)
    size += r->of[kind].size;
  return size;
}

const char *rules_line(const struct rules_text *text, size_t *at, size_t *size)
{
  if (*at >= text->size)
    return NULL;
  const char *line = text->at + *at;
  const char *end = memchr(line, '\n', text->size - *at);
  *size = end != NULL ? (size_t)(end - line) : text->size - *at;
  *at += *size + 1;
  return line;
}

/* How much of a line says what it is about. */
static size_t key_size(enum rule_kind kind, const char *line, size_t size)
{
  const char *colon = kind == RULE_CLIENTS ? NULL : memchr(line, ':', size);
  return colon != NULL ? (size_t)(colon - line) : size;
}

static bool same_key(enum rule_kind kind, const char *a, size_t a_size, const char *b, size_t b_size)
{
  size_t size = key_size(kind, a, a_size);
  if (key_size(kind, b, b_size) != size)
    return false;
  return kind == RULE_HEADERS ? strncasecmp(a, b, size) == 0 : memcmp(a, b, size) == 0;
}

/* Puts a text in place of the one of this kind; takes `at` over. */
static int put(struct rules *r, enum rule_kind kind, char *at, size_t size)
{
  struct rules_text *t = &r->of[kind];
  if (rules_size(r) - t->size + size > RULES_MAX) {
    free(at);
    return -ENOSPC;
  }
  free(t->at);
  *t = (struct rules_text){.at = at, .size = size};
  return 0;
}

int rules_add(struct rules *r, enum rule_kind kind, const char *line, bool replace)
{
  const struct rules_text *t = &r->of[kind];
  size_t length = strlen(line), size = 0, at = 0, one;
  char *text = malloc((replace ? 0 : t->size) + length + 2);
  const char *older;
  bool placed = false;

  if (text == NULL)
    return -ENOMEM;
  while (!replace && (older = rules_line(t, &at, &one)) != NULL) {
    bool same = same_key(kind, older, one, line, length);
    if (same)
      older = line, one = length;
    if (same && placed)
      continue;
    placed |= same;
    memcpy(text + size, older, one);
    size += one;
    text[size++] = '\n';
  }
  if (!placed) {
    memcpy(text + size, line, length + 1);
    size += length;
    text[size++] = '\n';
  }
  return put(r, kind, text, size);
}

int rules_set(struct rules *r, enum rule_kind kind, const void *bytes, size_t size)
{
  char *text = NULL;

  if (size > RULES_MAX)
    return -ENOSPC;
  if (size > 0) {
    text = malloc(size);
    if (text == NULL)
      return -ENOMEM;
    memcpy(text, bytes, size);
  }
  return put(r, kind, text, size);
}

void rules_free(struct rules *r)
{
  for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++)
    free(r->of[kind].at);
  *r = (struct rules){0};
}

/* ---- On the wire ---- */

static ProtobufCBinaryData *field(Mindmeld__Rules *m, enum rule_kind kind)
{
  switch (kind) {
  case RULE_CLIENTS:
    return &m->clients;
  case RULE_HEADERS:
    return &m->headers;
  case RULE_USERS:
    return &m->users;
  default:
    return &m->offline;
  }
}

int rules_pack(const struct rules *r, uint8_t **out, size_t *size)
{
  Mindmeld__Rules m = MINDMELD__RULES__INIT;

  *out = NULL;
  *size = 0;
  if (rules_size(r) == 0)
    return 0;
  for (enum rule_kind kind = 0; kind < RULE_KINDS; kind++)
    *field(&m, kind) = (ProtobufCBinaryData){.len = r->of[kind].size, .data = (uint8_t *)r->of[kind].at};
  *size = mindmeld__rules__get_packed_size(&m);
  *out = malloc(*size);
  if (*out == NULL)
    return -ENOMEM;
  mindmeld__rules__pack(&m, *out);
  return 0;
}

int rules_unpack(struct rules *out, const uint8_t *bytes, size_t size)
{
  int error = 0;

  *out = (struct rules){0};
  if (size > RULES_PACKED_MAX)
    return -EINVAL;
  Mindmeld__Rules *m = mindmeld__rules__unpack(NULL, size, bytes);
  if (m == NULL)
    return -EINVAL;
  for (enum rule_kind kind = 0; error == 0 && kind < RULE_KINDS; kind++)
    error = rules_set(out, kind, field(m, kind)->data, field(m, kind)->len);
  mindmeld__rules__free_unpacked(m, NULL);
  if (error == 0)
    return 0;
  rules_free(out);
  return error == -ENOSPC ? -EINVAL : error;
}
