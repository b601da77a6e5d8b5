#include "ruleset.h"

#include <stdlib.h>
#include <string.h>

#include "proto/rules/network.h"
#include "proto/rules/rule_line.h"

struct ruleset {
  uint8_t *bytes; /* as they came */
  size_t size;
  bool broken; /* they are none */
  struct rules rules;
  struct network *clients;
  size_t client_count;
  struct rewrite_field *fields;
  struct rewrite_fields all_fields;
};

static size_t count_lines(const struct rules_text *t)
{
  size_t count = 0, at = 0, size;
  while (rules_line(t, &at, &size) != NULL)
    count++;
  return count;
}

static bool read_clients(struct ruleset *r)
{
  const struct rules_text *t = &r->rules.of[RULE_CLIENTS];
  const char *line, *why;
  size_t at = 0, size;

  r->clients = calloc(count_lines(t) + 1, sizeof *r->clients);
  if (r->clients == NULL)
    return false;
  while ((line = rules_line(t, &at, &size)) != NULL)
    r->client_count += network_parse(line, size, &r->clients[r->client_count], &why) == 0;
  return true;
}

/* ---- Fields ---- */

static char *copy_of(struct http1_text t, bool lower)
{
  char *copy = malloc(t.size + 1);
  if (copy == NULL)
    return NULL;
  for (size_t i = 0; i < t.size; i++)
    copy[i] = (char)(lower && t.at[i] >= 'A' && t.at[i] <= 'Z' ? t.at[i] | 0x20 : t.at[i]);
  copy[t.size] = '\0';
  return copy;
}

/* False: out of memory. What is no field is left out. */
static bool read_field(struct ruleset *r, const char *line, size_t size)
{
  struct rewrite_field *f = &r->fields[r->all_fields.count];
  char text[RULE_LINE_SIZE], kept[RULE_LINE_SIZE];
  struct http1_text name, value;
  const char *why;

  if (size >= sizeof text)
    return true;
  memcpy(text, line, size);
  text[size] = '\0';
  if (rule_line_check(RULE_HEADERS, text, kept, &why) != 0 || !rule_line_split(line, size, &name, &value))
    return true;
  *f = (struct rewrite_field){.name = copy_of(name, false), .lower = copy_of(name, true), .value = grammar_trim(value)};
  r->all_fields.count++;
  return f->name != NULL && f->lower != NULL;
}

static bool read_fields(struct ruleset *r)
{
  const struct rules_text *t = &r->rules.of[RULE_HEADERS];
  const char *line;
  size_t at = 0, size;

  r->fields = calloc(count_lines(t) + 1, sizeof *r->fields);
  r->all_fields.all = r->fields;
  if (r->fields == NULL)
    return false;
  while ((line = rules_line(t, &at, &size)) != NULL) {
    if (!read_field(r, line, size))
      return false;
  }
  return true;
}

/* ---- The whole ---- */

struct ruleset *ruleset_create(const uint8_t *bytes, size_t size)
{
  struct ruleset *r = calloc(1, sizeof *r);
  if (r == NULL)
    return NULL;
  r->bytes = malloc(size + 1);
  r->size = size;
  int error = r->bytes != NULL ? rules_unpack(&r->rules, bytes, size) : -1;
  /* Whom users are is not asked yet: so they are not let in. */
  r->broken = error != 0 || r->rules.of[RULE_USERS].size > 0;
  if (r->bytes == NULL || !read_clients(r) || !read_fields(r)) {
    ruleset_free(r);
    return NULL;
  }
  memcpy(r->bytes, bytes, size);
  return r;
}

void ruleset_free(struct ruleset *r)
{
  if (r == NULL)
    return;
  for (size_t i = 0; i < r->all_fields.count; i++) {
    free((char *)(uintptr_t)r->fields[i].name);
    free((char *)(uintptr_t)r->fields[i].lower);
  }
  free(r->fields);
  free(r->clients);
  free(r->bytes);
  rules_free(&r->rules);
  free(r);
}

bool ruleset_is_of(const struct ruleset *r, const uint8_t *bytes, size_t size)
{
  return r->size == size && memcmp(r->bytes, bytes, size) == 0;
}

bool ruleset_has_clients(const struct ruleset *r)
{
  return r->broken || r->rules.of[RULE_CLIENTS].size > 0;
}

bool ruleset_admits(const struct ruleset *r, const char *client)
{
  struct network address;

  if (!ruleset_has_clients(r))
    return true;
  if (!network_of_client(client, &address))
    return false;
  for (size_t i = 0; i < r->client_count; i++) {
    if (network_has(&r->clients[i], &address))
      return true;
  }
  return false;
}

const struct rewrite_fields *ruleset_fields(const struct ruleset *r)
{
  return &r->all_fields;
}
