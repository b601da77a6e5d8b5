/* One row for each option that may follow -o: what it takes, and what it does. mount(8) and fstab pass on whatever
 * stands in the line, so the options that are theirs have rows too, which do nothing; what has no row is refused, since
 * a misspelt "insecure" or "key" must never be passed over.
 */

#include "options_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/host/spelling.h"

enum { DIAL_TIMEOUT_MAX = 600, SECONDS_MAX = 86400, KEEPALIVE_MAX = 32767 /* the kernel's */ };

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

enum option_kind {
  OPTION_FLAG,    /* name */
  OPTION_FILE,    /* name=FILE */
  OPTION_SIZE,    /* name=SIZE */
  OPTION_SECONDS, /* name=SECONDS */
  OPTION_OPEN,    /* name or name=ANYTHING */
  OPTION_PREFIX,  /* nameANYTHING */
};

struct option_row {
  const char *name;
  enum option_kind kind;
  int (*apply)(struct parse *p, const char *name, const char *value);
};

int options_refuse(struct parse *p, const char *format, ...)
{
  va_list args;

  va_start(args, format);
  vsnprintf(p->why, OPTIONS_WHY_MAX, format, args);
  va_end(args);
  for (char *c = p->why; *c != '\0'; c++)
    if ((unsigned char)*c < 0x20 || *c == 0x7f)
      *c = '?';
  return -EINVAL;
}

int options_out_of_memory(struct parse *p)
{
  options_refuse(p, "memory is short");
  return -ENOMEM;
}

int options_set_text(struct parse *p, char **slot, const char *text)
{
  char *copy = strdup(text);

  if (copy == NULL)
    return options_out_of_memory(p);
  free(*slot);
  *slot = copy;
  return 0;
}

static int apply_insecure(struct parse *p, const char *name, const char *value)
{
  (void)name, (void)value;
  p->insecure = true;
  return 0;
}

static int apply_cafile(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return options_set_text(p, &p->out->cafile, value);
}

static int apply_key(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return options_set_text(p, &p->out->key_file, value);
}

static int apply_identity(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return options_set_text(p, &p->out->identity_file, value);
}

static int apply_state(struct parse *p, const char *name, const char *value)
{
  (void)name;
  return options_set_text(p, &p->out->state_file, value);
}

static int apply_allow_other(struct parse *p, const char *name, const char *value)
{
  (void)name, (void)value;
  p->out->allow_other = true;
  return 0;
}

/* Digits, and perhaps K, M or G. 0 for anything else, and for what is too large for any option. */
static uint64_t parse_size(const char *text)
{
  uint64_t size = 0, unit = 1;
  const char *c = text;

  for (; *c >= '0' && *c <= '9'; c++) {
    size = size * 10 + (uint64_t)(*c - '0');
    if (size > 64 * GIB)
      return 0;
  }
  if (*c == 'K' || *c == 'k')
    unit = KIB;
  else if (*c == 'M' || *c == 'm')
    unit = MIB;
  else if (*c == 'G' || *c == 'g')
    unit = GIB;
  if (unit != 1)
    c++;
  return *c == '\0' && size <= 64 * GIB / unit ? size * unit : 0;
}

static int apply_window(struct parse *p, const char *name, const char *value)
{
  uint64_t size = parse_size(value);

  if (size < 256 * KIB || size > 64 * MIB)
    return options_refuse(p, "option \"%s\": \"%.40s\" is not a size from 256K to 64M", name, value);
  p->out->window = size;
  return 0;
}

static int apply_budget(struct parse *p, const char *name, const char *value)
{
  uint64_t size = parse_size(value);

  if (size < MIB || size > 64 * GIB)
    return options_refuse(p, "option \"%s\": \"%.40s\" is not a size from 1M to 64G", name, value);
  p->out->budget = size;
  return 0;
}

/* Digits. SECONDS_MAX + 1 for anything else, and for what is larger. */
static uint64_t parse_seconds(const char *text)
{
  uint64_t seconds = 0;

  for (const char *c = text; *c != '\0'; c++) {
    if (*c < '0' || *c > '9')
      return SECONDS_MAX + 1;
    seconds = seconds * 10 + (uint64_t)(*c - '0');
    if (seconds > SECONDS_MAX)
      return SECONDS_MAX + 1;
  }
  return seconds;
}

static int apply_dial_timeout(struct parse *p, const char *name, const char *value)
{
  uint64_t seconds = parse_seconds(value);

  if (seconds < 1 || seconds > DIAL_TIMEOUT_MAX)
    return options_refuse(p, "option \"%s\": \"%.40s\" is not a number of seconds from 1 to 600", name, value);
  p->out->dial_ms = seconds * 1000;
  return 0;
}

static int apply_hold(struct parse *p, const char *name, const char *value)
{
  uint64_t seconds = parse_seconds(value);

  if (seconds > SECONDS_MAX)
    return options_refuse(p, "option \"%s\": \"%.40s\" is not a number of seconds from 0 to 86400", name, value);
  p->out->hold_ms = seconds * 1000;
  return 0;
}

static int apply_keepalive(struct parse *p, const char *name, const char *value)
{
  uint64_t seconds = parse_seconds(value);

  if (seconds > KEEPALIVE_MAX)
    return options_refuse(p, "option \"%s\": \"%.40s\" is not a number of seconds from 0 to 32767", name, value);
  p->out->keepalive_s = (unsigned)seconds;
  return 0;
}

static int apply_ignore(struct parse *p, const char *name, const char *value)
{
  (void)p, (void)name, (void)value;
  return 0;
}

static int apply_remount(struct parse *p, const char *name, const char *value)
{
  (void)value;
  return options_refuse(p, "option \"%s\": unmount the tree, and mount it anew", name);
}

static int apply_pass_on(struct parse *p, const char *name, const char *value)
{
  char *old = p->out->mount_options;
  char *joined;

  (void)value;
  if (old == NULL)
    return options_set_text(p, &p->out->mount_options, name);
  if (asprintf(&joined, "%s,%s", old, name) < 0)
    return options_out_of_memory(p);
  free(old);
  p->out->mount_options = joined;
  return 0;
}

static const struct option_row rows[] = {
    {"insecure", OPTION_FLAG, apply_insecure},
    {"cafile", OPTION_FILE, apply_cafile},
    {"key", OPTION_FILE, apply_key},
    {"window", OPTION_SIZE, apply_window},
    {"budget", OPTION_SIZE, apply_budget},
    {"dial_timeout", OPTION_SECONDS, apply_dial_timeout},
    {"hold", OPTION_SECONDS, apply_hold},
    {"keepalive", OPTION_SECONDS, apply_keepalive},
    {"identity", OPTION_FILE, apply_identity},
    {"state", OPTION_FILE, apply_state},
    {"allow_other", OPTION_FLAG, apply_allow_other},

    {"rw", OPTION_FLAG, apply_pass_on},
    {"ro", OPTION_FLAG, apply_pass_on},
    {"suid", OPTION_FLAG, apply_pass_on},
    {"nosuid", OPTION_FLAG, apply_pass_on},
    {"dev", OPTION_FLAG, apply_pass_on},
    {"nodev", OPTION_FLAG, apply_pass_on},
    {"exec", OPTION_FLAG, apply_pass_on},
    {"noexec", OPTION_FLAG, apply_pass_on},
    {"atime", OPTION_FLAG, apply_pass_on},
    {"noatime", OPTION_FLAG, apply_pass_on},
    {"sync", OPTION_FLAG, apply_pass_on},
    {"async", OPTION_FLAG, apply_pass_on},
    {"dirsync", OPTION_FLAG, apply_pass_on},

    /* The kernel's default, without effect, or always on; libfuse refuses most of them. */
    {"nodiratime", OPTION_FLAG, apply_ignore},
    {"relatime", OPTION_FLAG, apply_ignore},
    {"diratime", OPTION_FLAG, apply_ignore},
    {"default_permissions", OPTION_FLAG, apply_ignore},

    {"remount", OPTION_FLAG, apply_remount},

    {"defaults", OPTION_FLAG, apply_ignore},
    {"auto", OPTION_FLAG, apply_ignore},
    {"noauto", OPTION_FLAG, apply_ignore},
    {"nofail", OPTION_FLAG, apply_ignore},
    {"_netdev", OPTION_FLAG, apply_ignore},
    {"user", OPTION_OPEN, apply_ignore},
    {"nouser", OPTION_FLAG, apply_ignore},
    {"users", OPTION_FLAG, apply_ignore},
    {"nousers", OPTION_FLAG, apply_ignore},
    {"owner", OPTION_FLAG, apply_ignore},
    {"noowner", OPTION_FLAG, apply_ignore},
    {"group", OPTION_FLAG, apply_ignore},
    {"nogroup", OPTION_FLAG, apply_ignore},
    {"comment", OPTION_OPEN, apply_ignore},
    {"x-", OPTION_PREFIX, apply_ignore},
    {"X-", OPTION_PREFIX, apply_ignore},
};

static const struct option_row *find_row(const char *name)
{
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
    const struct option_row *row = &rows[i];

    if (row->kind == OPTION_PREFIX ? strncmp(name, row->name, strlen(row->name)) == 0 : strcmp(name, row->name) == 0)
      return row;
  }
  return NULL;
}

/* With what was probably meant. */
static int refuse_unknown(struct parse *p, const char *name)
{
  for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
    if (rows[i].kind != OPTION_PREFIX && spelling_near(name, strlen(name), rows[i].name))
      return options_refuse(p, "unknown option \"%.200s\"; did you mean \"%s\"?", name, rows[i].name);
  return options_refuse(p, "unknown option \"%.200s\" (mmfs --help lists them)", name);
}

/* `text` is one option without its escapes: NAME or NAME=VALUE. */
static int parse_option(struct parse *p, char *text)
{
  const struct option_row *row;
  char *value;

  if (text[0] == '\0')
    return 0;
  value = strchr(text, '=');
  if (value != NULL)
    *value++ = '\0';
  row = find_row(text);
  if (row == NULL)
    return p->sloppy ? 0 : refuse_unknown(p, text);
  if (row->kind == OPTION_FLAG && value != NULL)
    return options_refuse(p, "option \"%s\" takes no value", row->name);
  if (row->kind == OPTION_FILE && (value == NULL || value[0] == '\0'))
    return options_refuse(p, "option \"%s\" needs a file: %s=FILE", row->name, row->name);
  if (row->kind == OPTION_SIZE && (value == NULL || value[0] == '\0'))
    return options_refuse(p, "option \"%s\" needs a size: %s=SIZE", row->name, row->name);
  if (row->kind == OPTION_SECONDS && (value == NULL || value[0] == '\0'))
    return options_refuse(p, "option \"%s\" needs a number: %s=SECONDS", row->name, row->name);
  return row->apply(p, row->name, value);
}

/* Comma-separated; a backslash takes the next character as it is. */
int options_take_list(struct parse *p, const char *list)
{
  char *item = malloc(strlen(list) + 1);
  size_t size = 0;
  int rc = 0;

  if (item == NULL)
    return options_out_of_memory(p);
  for (const char *c = list; rc == 0; c++) {
    if (*c == ',' || *c == '\0') {
      item[size] = '\0';
      size = 0;
      rc = parse_option(p, item);
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

const char *options_mount_name(const char *name, const char **value)
{
  const struct option_row *row = find_row(name);

  if (row == NULL || row->kind == OPTION_PREFIX)
    return NULL;
  *value = row->kind == OPTION_FILE      ? "=FILE"
           : row->kind == OPTION_SIZE    ? "=SIZE"
           : row->kind == OPTION_SECONDS ? "=SECONDS"
                                         : "";
  return row->name;
}
