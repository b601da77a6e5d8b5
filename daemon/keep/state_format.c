/* The text is checked from the outside in: that it is a state file of a known version, that it is whole, and then each
 * line. So a file that was cut short is reported as such, and not by the line at which it was cut.
 */
#include "state_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "proto/host/plain.h"
#include "proto/rules/rule_line.h"
#include "state_format_internal.h"

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

/* How often a name was met. */
struct seen {
  UT_hash_handle hh;
  char key[72]; /* the line's word, and the name */
  unsigned count;
};

struct parse {
  const struct state_rules *rules;
  struct state_declarations *out;
  size_t room;
  struct seen *seen;
  size_t services, forwards;
  size_t line; /* from 1 */
  char *why;
};

__attribute__((format(printf, 2, 3))) static int damaged(char why[STATE_WHY_MAX], const char *format, ...)
{
  va_list values;

  va_start(values, format);
  vsnprintf(why, STATE_WHY_MAX, format, values);
  va_end(values);
  plain_ascii(why);
  return -EINVAL;
}

static int out_of_memory(char why[STATE_WHY_MAX])
{
  damaged(why, "memory is short");
  return -ENOMEM;
}

/* The first line; *size is its size. */
static int check_head(const char *bytes, size_t size, size_t *head, char why[STATE_WHY_MAX])
{
  const char *end = memchr(bytes, '\n', size);
  size_t length = strlen(HEAD);
  unsigned long version;
  char *rest;
  char digits[12];

  if (size == 0)
    return damaged(why, "the file is empty");
  if (end == NULL || (size_t)(end - bytes) <= length || (size_t)(end - bytes) >= length + sizeof(digits) ||
      memcmp(bytes, HEAD, length) != 0)
    return damaged(why, "the file does not begin with \"" HEAD "%d\"", VERSION);
  snprintf(digits, sizeof(digits), "%.*s", (int)((size_t)(end - bytes) - length), bytes + length);
  version = strtoul(digits, &rest, 10);
  if (digits[0] < '1' || digits[0] > '9' || *rest != '\0')
    return damaged(why, "the file does not begin with \"" HEAD "%d\"", VERSION);
  if (version > VERSION)
    return damaged(why, "a newer mmfs wrote it, in version %s of the format; this one knows version %d", digits,
                   VERSION);
  *head = (size_t)(end - bytes) + 1;
  return 0;
}

/* The last line; *body is the size of all before it. */
static int check_end(const char *bytes, size_t size, size_t *body, char why[STATE_WHY_MAX])
{
  char expected[32];
  size_t at = size - 1;

  if (bytes[size - 1] != '\n')
    return damaged(why, "the file is cut short: it ends within a line");
  while (at > 0 && bytes[at - 1] != '\n')
    at--;
  if (size - at < strlen(END) + 1 || memcmp(bytes + at, END, strlen(END)) != 0)
    return damaged(why, "the file is cut short: its last line is not \"" END "\"");
  *body = at;
  if (size - at == strlen(END) + 1)
    return 0;
  snprintf(expected, sizeof(expected), END " %08" PRIx32 "\n", state_checksum(bytes, at));
  if (size - at != strlen(expected) || memcmp(bytes + at, expected, size - at) != 0)
    return damaged(why, "the checksum in the last line is wrong (if you edited the file, leave out the number there)");
  return 0;
}

static int count_name(struct parse *p, const char *word, const char *name, unsigned *count)
{
  struct seen *seen;
  char key[sizeof(seen->key)];

  snprintf(key, sizeof(key), "%s %s", word, name);
  HASH_FIND_STR(p->seen, key, seen);
  if (seen == NULL) {
    seen = calloc(1, sizeof(*seen));
    if (seen == NULL)
      return out_of_memory(p->why);
    memcpy(seen->key, key, sizeof(key));
    HASH_ADD_STR(p->seen, key, seen);
    if (seen->hh.tbl == NULL) {
      free(seen);
      return out_of_memory(p->why);
    }
  }
  *count = ++seen->count;
  return 0;
}

static const char *const words[] = {[STATE_SERVICE] = "service",
                                    [STATE_FORWARD] = "forward",
                                    [STATE_PUBLIC] = "public",
                                    [STATE_PROXY] = "proxy",
                                    [STATE_RULE] = "rule"};

static const char *what(const struct state_declaration *d)
{
  return d->kind == STATE_PROXY ? "proxy line" : "public name";
}

/* It follows its service, which has no other such line. */
static int check_owned(struct parse *p, const struct state_declaration *d)
{
  for (size_t i = p->out->count; i-- > 0;) {
    const struct state_declaration *before = &p->out->items[i];

    if (strcmp(before->name, d->name) != 0 || before->kind == STATE_FORWARD)
      break;
    if (before->kind == STATE_SERVICE)
      return 0;
    if (d->kind == before->kind && public_name_equal(&before->public_name, &d->public_name))
      return damaged(p->why, "line %zu: service %s has that %s twice", p->line, d->name, what(d));
  }
  return damaged(p->why, "line %zu: a %s stands before its service %s", p->line, what(d), d->name);
}

/* It follows its service, too. That there are not too many is seen when they are declared again. */
static int check_rule(struct parse *p, const struct state_declaration *d)
{
  const struct state_declaration *before = p->out->count > 0 ? &p->out->items[p->out->count - 1] : NULL;

  if (before != NULL && before->kind != STATE_FORWARD && strcmp(before->name, d->name) == 0)
    return 0;
  return damaged(p->why, "line %zu: a rule stands before its service %s", p->line, d->name);
}

static int check_limits(struct parse *p, const struct state_declaration *d)
{
  if (d->kind == STATE_RULE)
    return check_rule(p, d);
  unsigned count;
  bool is_forward = d->kind == STATE_FORWARD;
  int rc = count_name(p, words[d->kind], d->name, &count);

  if (rc != 0)
    return rc;
  if (d->kind == STATE_PUBLIC && count > p->rules->public_names)
    return damaged(p->why, "line %zu: service %s has more than %zu public names", p->line, d->name,
                   p->rules->public_names);
  if (d->kind == STATE_PUBLIC || d->kind == STATE_PROXY)
    return check_owned(p, d);
  if (!is_forward && count > 1)
    return damaged(p->why, "line %zu: service %s is declared twice", p->line, d->name);
  if (is_forward && count > p->rules->listeners)
    return damaged(p->why, "line %zu: forward %s has more than %zu listeners", p->line, d->name, p->rules->listeners);
  p->services += !is_forward;
  p->forwards += is_forward && count == 1;
  if (p->services > p->rules->services)
    return damaged(p->why, "line %zu: there are more than %zu services", p->line, p->rules->services);
  if (p->forwards > p->rules->forwards)
    return damaged(p->why, "line %zu: there are more than %zu forwards", p->line, p->rules->forwards);
  return 0;
}

static int keep(struct parse *p, const struct state_declaration *d)
{
  struct state_declarations *out = p->out;

  if (out->count == p->room) {
    size_t room = p->room * 2 + 16;
    struct state_declaration *larger = realloc(out->items, room * sizeof(*larger));

    if (larger == NULL)
      return out_of_memory(p->why);
    out->items = larger;
    p->room = room;
  }
  out->items[out->count++] = *d;
  return 0;
}

static bool parse_public_word(const char *word, struct state_declaration *d)
{
  d->kind = STATE_PUBLIC;
  for (size_t i = 0; i < STATE_PUBLIC_WORDS; i++) {
    d->public_kind = (enum public_kind)i;
    if (strcmp(word, state_public_words[i]) == 0)
      return true;
  }
  return false;
}

/* True when the word is that of a line. */
static bool parse_word(const char *word, struct state_declaration *d)
{
  if (strcmp(word, "forward") == 0)
    d->kind = STATE_FORWARD;
  else if (strcmp(word, "proxy") == 0)
    d->kind = STATE_PROXY;
  else if (strcmp(word, "rule") == 0)
    d->kind = STATE_RULE;
  else if (strcmp(word, "service") != 0)
    return parse_public_word(word, d);
  return true;
}

static int parse_part(struct state_declaration *d, const char *text, const char **why)
{
  size_t size = strlen(text);

  *why = "a part of a page is 1 to 3072 bytes in base64";
  if (size > LINE_MAX_SIZE)
    return -EINVAL;
  d->text = malloc(size + 1);
  if (d->text == NULL)
    return -ENOMEM;
  if (sodium_base642bin((unsigned char *)d->text, size, text, size, NULL, &d->text_size, NULL, BASE64) != 0)
    return -EINVAL;
  return d->text_size > 0 && d->text_size <= PAGE_PART ? 0 : -EINVAL;
}

/* KIND TEXT */
static int parse_rule(struct state_declaration *d, char *rest, const char **why)
{
  char line[RULE_LINE_SIZE];
  char *text = strchr(rest, ' ');
  int error;

  *why = "it is not clear what is said of requests";
  if (text == NULL)
    return -EINVAL;
  *text++ = '\0';
  d->rule = rules_kind(rest);
  if (d->rule == RULE_KINDS)
    return -EINVAL;
  if (d->rule == RULE_OFFLINE)
    return parse_part(d, text, why);
  error = rule_line_check(d->rule, text, line, why);
  if (error != 0)
    return error;
  d->text = strdup(line);
  return d->text != NULL ? 0 : -ENOMEM;
}

static int parse_rest(struct state_declaration *d, char *rest, const char **why)
{
  if (d->kind == STATE_RULE)
    return parse_rule(d, rest, why);
  if (d->kind == STATE_PUBLIC && d->public_kind == PUBLIC_PORT)
    return public_port_parse(rest, &d->public_name, why);
  if (d->kind == STATE_PUBLIC)
    return public_name_parse(rest, d->public_kind == PUBLIC_TLS, &d->public_name, why);
  *why = "it is v1 or v2";
  if (d->kind == STATE_PROXY)
    return proxy_version_parse(rest, &d->proxy);
  return (d->kind == STATE_FORWARD ? address_parse_listener : address_parse_target)(rest, &d->address, why);
}

/* What follows the name. */
static const char *const wanted[] = {[STATE_SERVICE] = "target",
                                     [STATE_FORWARD] = "listener",
                                     [STATE_PUBLIC] = "host",
                                     [STATE_PROXY] = "version",
                                     [STATE_RULE] = "kind"};

/* WORD NAME [ADDRESS], with one blank between; an address may have blanks within. */
static int take_line(struct parse *p, char *line, struct state_declaration *d)
{
  char *name = strchr(line, ' ');
  char *address = name != NULL ? strchr(name + 1, ' ') : NULL;
  const char *why = "";
  int rc = 0;

  if (name != NULL)
    *name++ = '\0';
  if (address != NULL)
    *address++ = '\0';
  if (name == NULL || !parse_word(line, d))
    return damaged(p->why, "line %zu begins with neither \"service NAME\" nor \"forward NAME\"", p->line);
  rc = p->rules->check_name(name, &why);
  if (rc != 0)
    return damaged(p->why, "line %zu: \"%.70s\": %s", p->line, name, why);
  snprintf(d->name, sizeof(d->name), "%s", name);
  if (d->kind != STATE_SERVICE && address == NULL)
    return damaged(p->why, "line %zu: %s %s has no %s", p->line, line, name, wanted[d->kind]);
  d->has_address = address != NULL && (d->kind == STATE_SERVICE || d->kind == STATE_FORWARD);
  if (address != NULL)
    rc = parse_rest(d, address, &why);
  if (rc == -ENOMEM)
    return out_of_memory(p->why);
  /* A user's line may hold a secret that was never hashed. */
  if (rc != 0 && d->kind == STATE_RULE)
    return damaged(p->why, "line %zu: a rule of %s: %s", p->line, name, why);
  if (rc != 0)
    return damaged(p->why, "line %zu: \"%.300s\": %s", p->line, address, why);
  return check_limits(p, d);
}

static int parse_line(struct parse *p, char *line)
{
  struct state_declaration d = {0};
  int rc = take_line(p, line, &d);

  if (rc == 0)
    rc = keep(p, &d);
  if (rc != 0)
    free(d.text);
  return rc;
}

static int parse_lines(struct parse *p, const char *at, const char *end)
{
  char line[LINE_MAX_SIZE];
  int rc = 0;

  for (p->line = 2; rc == 0 && at < end; p->line++) {
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    size_t size = (size_t)(stop - at);

    if (size >= sizeof(line))
      return damaged(p->why, "line %zu is too long", p->line);
    if (memchr(at, '\0', size) != NULL)
      return damaged(p->why, "line %zu has a NUL byte", p->line);
    memcpy(line, at, size);
    line[size] = '\0';
    rc = parse_line(p, line);
    at = stop + 1;
  }
  return rc;
}

int state_parse(const char *bytes, size_t size, const struct state_rules *rules, struct state_declarations *out,
                char why[STATE_WHY_MAX])
{
  struct parse p = {.rules = rules, .out = out, .why = why};
  struct seen *seen, *next;
  size_t head = 0, body = 0;
  int rc;

  *out = (struct state_declarations){0};
  why[0] = '\0';
  rc = check_head(bytes, size, &head, why);
  if (rc == 0)
    rc = check_end(bytes, size, &body, why);
  if (rc == 0)
    rc = parse_lines(&p, bytes + head, bytes + (body > head ? body : head));
  HASH_ITER(hh, p.seen, seen, next)
  {
    HASH_DEL(p.seen, seen); /* NOLINT(clang-analyzer-unix.Malloc) */
    free(seen);
  }
  if (rc != 0)
    state_declarations_free(out);
  return rc;
}

void state_declarations_free(struct state_declarations *declarations)
{
  for (size_t i = 0; i < declarations->count; i++)
    free(declarations->items[i].text);
  free(declarations->items);
  *declarations = (struct state_declarations){0};
}
