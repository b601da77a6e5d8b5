/* Two tables are one list: the rows that every program has, and the program's own. What has no row is refused, with
 * what was probably meant, since a misspelt "insecure" or "key" must never be passed over.
 */
#include "option_list.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/host/plain.h"
#include "proto/host/spelling.h"
#include "settings.h"

int option_refuse(struct option_list *l, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  vsnprintf(l->why, OPTION_WHY_MAX, format, args);
  va_end(args);
  plain_text(l->why);
  return -EINVAL;
}

int option_out_of_memory(struct option_list *l)
{
  option_refuse(l, "memory is short");
  return -ENOMEM;
}

int option_set_text(struct option_list *l, char **slot, const char *text)
{
  char *copy = strdup(text);

  if (copy == NULL)
    return option_out_of_memory(l);
  free(*slot);
  *slot = copy;
  return 0;
}

/* The row of this number in both tables, or NULL after the last. */
static const struct option_row *row_at(const struct option_list *l, size_t i)
{
  if (i < settings_row_count)
    return &settings_rows[i];
  return i - settings_row_count < l->count ? &l->rows[i - settings_row_count] : NULL;
}

static const struct option_row *find_row(const struct option_list *l, const char *name)
{
  const struct option_row *row;

  for (size_t i = 0; (row = row_at(l, i)) != NULL; i++)
    if (row->kind == OPTION_PREFIX ? strncmp(name, row->name, strlen(row->name)) == 0 : strcmp(name, row->name) == 0)
      return row;
  return NULL;
}

static int refuse_unknown(struct option_list *l, const char *name)
{
  const struct option_row *row;

  for (size_t i = 0; (row = row_at(l, i)) != NULL; i++)
    if (row->kind != OPTION_PREFIX && spelling_near(name, strlen(name), row->name))
      return option_refuse(l, "unknown option \"%.200s\"; did you mean \"%s\"?", name, row->name);
  return option_refuse(l, "unknown option \"%.200s\" (%s --help lists them)", name, l->program);
}

/* `text` is one option without its escapes: NAME or NAME=VALUE. */
static int take_option(struct option_list *l, char *text)
{
  const struct option_row *row;
  char *value;

  if (text[0] == '\0')
    return 0;
  value = strchr(text, '=');
  if (value != NULL)
    *value++ = '\0';
  row = find_row(l, text);
  if (row == NULL)
    return l->sloppy ? 0 : refuse_unknown(l, text);
  if (row->kind == OPTION_FLAG && value != NULL)
    return option_refuse(l, "option \"%s\" takes no value", row->name);
  if (row->kind == OPTION_FILE && (value == NULL || value[0] == '\0'))
    return option_refuse(l, "option \"%s\" needs a file: %s=FILE", row->name, row->name);
  if (row->kind == OPTION_SIZE && (value == NULL || value[0] == '\0'))
    return option_refuse(l, "option \"%s\" needs a size: %s=SIZE", row->name, row->name);
  if (row->kind == OPTION_SECONDS && (value == NULL || value[0] == '\0'))
    return option_refuse(l, "option \"%s\" needs a number: %s=SECONDS", row->name, row->name);
  if (row->kind == OPTION_SWITCH && (value == NULL || (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)))
    return option_refuse(l, "option \"%s\" is %s=on or %s=off", row->name, row->name, row->name);
  return row->apply(l, row->name, value);
}

/* Comma-separated; a backslash takes the next character as it is. */
int option_list_take(struct option_list *l, const char *text)
{
  char *item = malloc(strlen(text) + 1);
  size_t size = 0;
  int rc = 0;

  if (item == NULL)
    return option_out_of_memory(l);
  for (const char *c = text; rc == 0; c++) {
    if (*c == ',' || *c == '\0') {
      item[size] = '\0';
      size = 0;
      rc = take_option(l, item);
      if (*c == '\0')
        break;
      continue;
    }
    if (*c == '\\' && (c[1] == ',' || c[1] == '\\'))
      c++; /* any other stays: systemd escapes unit names with one */
    item[size++] = *c;
  }
  free(item);
  return rc;
}

const char *option_list_name(const struct option_list *l, const char *name, const char **value)
{
  const struct option_row *row = find_row(l, name);

  if (row == NULL || row->kind == OPTION_PREFIX)
    return NULL;
  *value = row->kind == OPTION_FILE      ? "=FILE"
           : row->kind == OPTION_SIZE    ? "=SIZE"
           : row->kind == OPTION_SECONDS ? "=SECONDS"
           : row->kind == OPTION_SWITCH  ? "=on"
                                         : "";
  return row->name;
}
