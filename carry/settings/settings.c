/* One row for each option that all of the programs have: what it takes, and what it does. */
#include "settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "option_list.h"

enum { DIAL_TIMEOUT_MAX = 600, HOLD_MAX = 86400 };
enum { ROUTER_PORT = 443, ROUTER_PORT_LOOPBACK = 7000 };

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static int apply_insecure(struct option_list *l, const char *name, const char *value)
{
  (void)name, (void)value;
  l->settings->insecure = true;
  return 0;
}

static int apply_cafile(struct option_list *l, const char *name, const char *value)
{
  (void)name;
  return option_set_text(l, &l->settings->cafile, value);
}

static int apply_key(struct option_list *l, const char *name, const char *value)
{
  (void)name;
  return option_set_text(l, &l->settings->key_file, value);
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

static int apply_window(struct option_list *l, const char *name, const char *value)
{
  uint64_t size = parse_size(value);

  if (size < 256 * KIB || size > 64 * MIB)
    return option_refuse(l, "option \"%s\": \"%.40s\" is not a size from 256K to 64M", name, value);
  l->settings->window = size;
  return 0;
}

static int apply_budget(struct option_list *l, const char *name, const char *value)
{
  uint64_t size = parse_size(value);

  if (size < MIB || size > 64 * GIB)
    return option_refuse(l, "option \"%s\": \"%.40s\" is not a size from 1M to 64G", name, value);
  l->settings->budget = size;
  return 0;
}

uint64_t settings_seconds(const char *text, uint64_t most)
{
  uint64_t seconds = 0;

  for (const char *c = text; *c != '\0'; c++) {
    if (*c < '0' || *c > '9')
      return most + 1;
    seconds = seconds * 10 + (uint64_t)(*c - '0');
    if (seconds > most)
      return most + 1;
  }
  return seconds;
}

static int apply_dial_timeout(struct option_list *l, const char *name, const char *value)
{
  uint64_t seconds = settings_seconds(value, DIAL_TIMEOUT_MAX);

  if (seconds < 1 || seconds > DIAL_TIMEOUT_MAX)
    return option_refuse(l, "option \"%s\": \"%.40s\" is not a number of seconds from 1 to 600", name, value);
  l->settings->dial_ms = seconds * 1000;
  return 0;
}

static int apply_hold(struct option_list *l, const char *name, const char *value)
{
  uint64_t seconds = settings_seconds(value, HOLD_MAX);

  if (seconds > HOLD_MAX)
    return option_refuse(l, "option \"%s\": \"%.40s\" is not a number of seconds from 0 to 86400", name, value);
  l->settings->hold_ms = seconds * 1000;
  return 0;
}

static int apply_raw(struct option_list *l, const char *name, const char *value)
{
  (void)name;
  l->settings->no_raw = strcmp(value, "off") == 0;
  return 0;
}

const struct option_row settings_rows[] = {
    {"insecure", OPTION_FLAG, apply_insecure}, {"cafile", OPTION_FILE, apply_cafile},
    {"key", OPTION_FILE, apply_key},           {"window", OPTION_SIZE, apply_window},
    {"budget", OPTION_SIZE, apply_budget},     {"dial_timeout", OPTION_SECONDS, apply_dial_timeout},
    {"hold", OPTION_SECONDS, apply_hold},      {"raw", OPTION_SWITCH, apply_raw},
};
const size_t settings_row_count = sizeof settings_rows / sizeof settings_rows[0];

/* HOST[:PORT]; or the same as https://HOST[:PORT]/, as platforms print it, which says that it is TLS. */
static int read_router(struct option_list *l, const char *router, bool *https)
{
  static const char scheme[] = "https://";
  struct settings *out = l->settings;
  const char *phrase;
  char *text = strdup(router);

  if (text == NULL)
    return option_out_of_memory(l);
  char *host = text;
  *https = strncmp(text, scheme, strlen(scheme)) == 0;
  if (*https) {
    host += strlen(scheme);
    if (host[0] != '\0' && host[strlen(host) - 1] == '/')
      host[strlen(host) - 1] = '\0';
  }
  int rc = address_parse_router(host, 0, &out->router, &phrase);
  free(text);
  if (rc != 0)
    return option_refuse(l, "router \"%.300s\": %s", router, phrase);
  if (out->router.port == 0)
    out->router.port = address_is_loopback(&out->router) && !*https ? ROUTER_PORT_LOOPBACK : ROUTER_PORT;
  return 0;
}

int settings_settle(struct option_list *l, const char *router)
{
  struct settings *out = l->settings;
  bool https = false;
  int rc = read_router(l, router, &https);

  if (rc != 0)
    return rc;
  bool loopback = address_is_loopback(&out->router);
  if (out->insecure && out->cafile != NULL)
    return option_refuse(l, "cafile=FILE and insecure contradict each other: with insecure there is no TLS");
  if (out->insecure && https)
    return option_refuse(l, "insecure and a router of https:// contradict each other: with insecure there is no TLS");
  if (out->insecure && out->key_file != NULL && !loopback)
    return option_refuse(
        l, "key=FILE and insecure contradict each other: the key is sent over TLS only, except to loopback");
  out->tls = !out->insecure && (!loopback || https || out->cafile != NULL);
  return 0;
}

void settings_default(struct settings *out)
{
  *out = (struct settings){.window = SETTINGS_WINDOW_DEFAULT,
                           .budget = SETTINGS_BUDGET_DEFAULT,
                           .dial_ms = SETTINGS_DIAL_MS_DEFAULT,
                           .hold_ms = SETTINGS_HOLD_MS_DEFAULT};
}

void settings_free(struct settings *s)
{
  free(s->cafile);
  free(s->key_file);
  memset(s, 0, sizeof *s);
}
